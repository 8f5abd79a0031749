"""Files of text, plain or compressed by gzip, read piece by piece: as lines of words, or as one document."""

import codecs
import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from sslx.data.tree import Kind
from sslx.data.words import Line, words_of
from sslx.types import UserError

TEXTS = Kind("text", (".txt", ".txt.gz"))
_BLOCK = 1 << 20  # bytes that are read at a time
_GZIP = b"\x1f\x8b"
_MARKS = {  # what a file of another encoding begins with; the longer ones begin as the shorter ones do
  codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
  codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
_CONTROLS = bytes({*range(32)} - {*b"\t\n\v\f\r\x1a\x1b"})  # bytes that plain text has in no encoding
_FIRST = 1 << 12  # bytes that tell of UTF-16
_MANY = 0.3  # of the bytes: so many letters beyond ASCII has no western text


def lines_of(path: str) -> Iterator[Line]:
  """The words of each line. A line that is longer than what is read at a time comes in several pieces.

  Raises:
    UserError: naming the file: it cannot be read, is damaged, is binary, or is not UTF-8, and then what it looks like.
  """
  rest = ""
  for block in decoded(path):
    lines = (rest + block).splitlines()
    rest = "" if block[-1:].splitlines() == [""] else lines.pop()
    for line in lines:
      yield Line(words_of(line))
    if len(rest) >= _BLOCK:
      start, _, end = rest.rpartition(" ")  # the last word may go on in the next block
      yield Line(words_of(start or end), ends=False)
      rest = end if start else ""
  yield Line(words_of(rest))


def document_of(path: str) -> list[str]:
  """The words of a whole file. Raises UserError as `lines_of` does, and where it holds no word."""
  words = words_of("".join(decoded(path)))
  if not words:
    raise UserError(f"{path}: holds no word; delete it, or put a text there")
  return words


def decoded(path: str) -> Iterator[str]:
  """A file of UTF-8 as text, piece by piece. Raises UserError as `lines_of` does."""
  decoder = codecs.getincrementaldecoder("utf-8-sig")()
  read = 0
  try:
    with _opened(path) as file:
      while block := file.read(_BLOCK):
        if not read:
          _refuse_wide(path, block)
        _refuse_binary(path, block, read)
        start = read - len(decoder.getstate()[0])  # bytes of a letter that begins in the block before
        read += len(block)
        try:
          text = decoder.decode(block)
        except UnicodeDecodeError as error:
          raise _other_encoding(path, error, start) from error
        if text:
          yield text
    if decoder.getstate()[0]:
      raise UserError(
        f"{path}: its last bytes are not UTF-8: it was cut off, or is of another encoding, such as Latin-1; "
        f"{_conversion(path, 'ISO-8859-1')}"
      )
  except (EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise UserError(f"{path}: damaged ({str(error).rstrip('.')}); compress it again, or delete it") from error
  except OSError as error:
    raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _opened(path: str) -> BinaryIO:
  """The file, decompressed where its first bytes are those of gzip."""
  if not stat.S_ISREG(os.stat(path).st_mode):
    raise UserError(f"{path}: not a file, but a folder, pipe or device; give a file of text")
  with open(path, "rb") as file:
    compressed = file.read(len(_GZIP)) == _GZIP
    size = os.path.getsize(path)
  if not size:
    raise UserError(f"{path}: empty file; delete it, or put a text there")
  if compressed:
    return cast("BinaryIO", gzip.open(path))
  if path.lower().endswith(".gz"):
    raise UserError(f"{path}: is not compressed by gzip, as its name says; rename it, or repair it")
  return open(path, "rb")


def _refuse_wide(path: str, start: bytes) -> None:
  """Raises UserError for UTF-16 and UTF-32: by the mark that they begin with, or as every second byte of them is 0."""
  for mark, encoding in _MARKS.items():
    if start.startswith(mark):
      raise UserError(f"{path}: is {encoding}, as its first bytes say; {_conversion(path, encoding)}")
  start = start[: min(len(start), _FIRST) // 2 * 2]
  even, odd = start[::2].count(0), start[1::2].count(0)
  if len(start) > 8 and max(even, odd) > 0.8 * len(start) / 2 and not min(even, odd):
    encoding = "UTF-16LE" if odd else "UTF-16BE"
    raise UserError(f"{path}: looks like {encoding}, as every second byte is 0; {_conversion(path, encoding)}")


def _refuse_binary(path: str, block: bytes, read: int) -> None:
  if len(block.translate(None, _CONTROLS)) != len(block):
    place = next(i for i, byte in enumerate(block) if byte in _CONTROLS)
    raise UserError(
      f"{path}: no text, as its byte {read + place:,} is {block[place]:#04x}, which is in binary files alone; give a "
      "file of plain text"
    )


def _other_encoding(path: str, error: UnicodeDecodeError, start: int) -> UserError:
  """What a file seems to be that is not UTF-8: Latin-1 has no signs from 0x80 to 0x9f, where Windows has dashes."""
  content: bytes = error.object
  wrong = f"{path}: not UTF-8, as its byte {start + error.start:,} ({content[error.start]:#04x}) shows"
  if sum(byte >= 0x80 for byte in content) > _MANY * len(content):
    return UserError(f"{wrong}; find out what it is, and {_conversion(path, 'ENCODING')}")
  windows = any(0x80 <= byte <= 0x9F for byte in content)
  name, encoding = ("Windows-1252", "WINDOWS-1252") if windows else ("Latin-1", "ISO-8859-1")
  return UserError(f"{wrong}; it looks like {name}: {_conversion(path, encoding)}")


def _conversion(path: str, encoding: str) -> str:
  return f"convert it: iconv -f {encoding} -t UTF-8 {path} > NEW.txt"
