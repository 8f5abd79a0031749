"""Files of text: how they are read piece by piece, and which of them are refused."""

import gzip
import random

import pytest

from sslx.data import text_files
from sslx.data.text_files import document_of, lines_of
from sslx.types import UserError


def lines(path):
  """The words of each line that has some."""
  made = [[]]
  for words, ends in lines_of(str(path)):
    made[-1] += words
    if ends:
      made.append([])
  assert made[-1] == []  # the last line ends
  return [line for line in made if line]


TEXT = "One line.\r\n\r\nDon\u2019t\tstop\rhere\u2028caf\u00e9 \u4e2d\u6587\n\n  \n123\nthe end"
LINES = [["one", "line"], ["don't", "stop"], ["here"], ["caf\u00e9", "\u4e2d\u6587"], ["the", "end"]]


@pytest.mark.parametrize("block", [16, 17, 18, 19, 64, 1 << 20])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "gzip_by_its_first_bytes.txt"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_are_the_same_at_any_size_of_pieces(tmp_path, monkeypatch, block, name, mark):
  content = mark + TEXT.encode()
  path = tmp_path / name
  path.write_bytes(gzip.compress(content) if "gz" in name else content)
  monkeypatch.setattr(text_files, "_BLOCK", block)
  assert lines(path) == LINES
  assert document_of(str(path)) == [word for line in LINES for word in line]


def test_a_long_line_comes_in_pieces_that_are_no_longer_than_what_is_read(tmp_path, monkeypatch):
  draw = random.Random(0)
  words = ["".join(draw.choices("ab\u00e9", k=draw.randint(1, 9))) for _ in range(2000)]
  path = tmp_path / "a.txt"
  path.write_text(f"{' '.join(words)}\nnext", "utf-8")
  monkeypatch.setattr(text_files, "_BLOCK", 100)
  pieces = list(lines_of(str(path)))
  assert max(len(piece.words) for piece in pieces) <= 100
  assert len(pieces) > 50
  assert lines(path) == [words, ["next"]]


def test_a_word_without_end_is_read_too(tmp_path, monkeypatch):
  path = tmp_path / "a.txt"
  path.write_text("a" * 1000)
  monkeypatch.setattr(text_files, "_BLOCK", 100)
  assert "".join(lines(path)[0]) == "a" * 1000


ENGLISH = "The quick brown fox jumps over the lazy dog.\n" * 20
BAD = {
  "empty": (b"", "empty file; delete it"),
  "zip": (b"PK\x03\x04\x14\x00" + bytes(range(256)), r"no text, as its byte 2 is 0x03, .*binary"),
  "zero": (ENGLISH.encode() + b"\0", r"no text, as its byte 900 is 0x00"),
  "utf-16": (ENGLISH.encode("utf-16"), "is UTF-16, as its first bytes say; convert it: iconv -f UTF-16 -t UTF-8"),
  "utf-16 big": (b"\xfe\xff" + ENGLISH.encode("utf-16-be"), "is UTF-16, as"),
  "utf-32": (ENGLISH.encode("utf-32"), "is UTF-32, as its first bytes say"),
  "no mark": (ENGLISH.encode("utf-16-le"), "looks like UTF-16LE, as every second byte is 0"),
  "no mark, big": (ENGLISH.encode("utf-16-be"), "looks like UTF-16BE"),
  "latin-1": ((ENGLISH + "caf\u00e9 au lait").encode("latin-1"), r"not UTF-8, as its byte 903 \(0xe9\) shows; it looks "
              "like Latin-1: convert it: iconv -f ISO-8859-1 -t UTF-8"),
  "windows": ((ENGLISH + "\u201cno\u201d \u00e9t\u00e9").encode("cp1252"), "not UTF-8, .*Windows-1252: .*WINDOWS"),
  "russian": (("\u043c\u0438\u0440 " * 99).encode("koi8-r"), "not UTF-8, .*find out what it is, and convert it"),
  "cut off": ("caf\u00e9".encode()[:-1], "its last bytes are not UTF-8: it was cut off, or is of another encoding"),
}  # fmt: skip


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_text_is_named_with_its_cure(tmp_path, case, compressed):
  content, message = BAD[case]
  path = tmp_path / ("a.txt.gz" if compressed else "a.txt")
  path.write_bytes(gzip.compress(content) if compressed and content else content)
  for read in (lines, lambda path: document_of(str(path))):
    with pytest.raises(UserError, match=f"^{path}: {message}") as error:
      read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("block", [100, 101, 102, 103])
def test_the_place_of_a_wrong_byte_is_told_in_later_blocks(tmp_path, monkeypatch, block):
  monkeypatch.setattr(text_files, "_BLOCK", block)
  path = tmp_path / "a.txt"
  path.write_bytes("\u4e2d\u6587 ".encode() * 50 + b"\xe9t\xe9 of 1999 and so on, in letters of ASCII" * 3)
  with pytest.raises(UserError, match=r"its byte 350 \(0xe9\)"):
    lines(path)


def test_damaged_and_wrongly_named_gzip_is_told(tmp_path):
  content = gzip.compress(random.Random(0).randbytes(5000).hex().encode())
  path = tmp_path / "a.txt.gz"
  for wrong in (content[:2000], content[:1000] + b"\xff\x00" + content[1002:], content[:-8] + bytes(8)):
    path.write_bytes(wrong)
    with pytest.raises(UserError, match=rf"^{path}: damaged \(.*\); compress it again"):
      lines(path)
  path.write_text("plain text")
  with pytest.raises(UserError, match=f"^{path}: is not compressed by gzip, as its name says"):
    lines(path)


def test_what_is_no_file_is_told(tmp_path):
  with pytest.raises(UserError, match=r"none.txt: cannot be read \(No such file"):
    lines(tmp_path / "none.txt")
  with pytest.raises(UserError, match="not a file, but a folder"):
    lines(tmp_path)


def test_a_document_without_words_is_told(tmp_path):
  (tmp_path / "a.txt").write_text("1, 2, 3\n")
  with pytest.raises(UserError, match=r"a.txt: holds no word; delete it"):
    document_of(str(tmp_path / "a.txt"))
