"""`text:FILE|DIR`: a corpus without labels, or documents with classes.

A corpus is FILE, or all *.txt and *.txt.gz in DIR, a paragraph a line: it becomes one stream of ids, one PAD between
two lines, cut into rows. Documents are DIR/train/CLASS/*.txt, [DIR/test/CLASS/*.txt] and [DIR/unlabeled/*.txt], which
may be all there is: each file becomes a row, PAD behind its end. Rules of words are told in `sslx.data.words`.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.data.fingerprint import digest_of, stamps
from sslx.data.images import within
from sslx.data.kept import Layout, Parts, find, kept_as_made
from sslx.data.lazy import LazyArray
from sslx.data.text_files import TEXTS, document_of, lines_of
from sslx.data.tree import class_folders, is_kind, listed
from sslx.data.types import Dataset, Request, Split, text_classes, text_corpus
from sslx.data.warn import warn
from sslx.data.words import BLOCK, Counts, Line, blocks, counted, padded, stream, vocabulary_of
from sslx.ops.text import Vocabulary
from sslx.types import UserError

LONGEST = 256
"""Words of a document that are kept at most, unless --max_length says otherwise."""
READER = 1
"""Version of all that turns a file into ids: one more where the same file gives others."""
FOLDER = "sslx_text"  # in data_dir
_LARGE = 64 << 20  # bytes of ids: where making them takes seconds, they are kept


class _Ids(NamedTuple):
  x: np.ndarray


class _Saved(NamedTuple):
  json: np.ndarray


def load_text(request: Request) -> Dataset:
  """Texts i32 [N,T] of a corpus (the task is none) or of documents (classification).

  Files are read twice, piece by piece: their words are counted, and then turned into ids; the text is never in memory.
  The ids of a large corpus are kept in data_dir, and stay there beyond `request.in_memory_limit`.

  Raises:
    UserError: naming the file, folder or flag: missing, without texts, empty, binary, of another encoding, damaged,
      with fewer than two different words, or fewer than two that are frequent enough; or a --max_length of a corpus.
  """
  root = Path(request.argument).expanduser()
  if not root.exists():
    raise UserError(f"{root}: no such file or folder")
  if (root / "train").is_dir() or ((root / "unlabeled").is_dir() and not _texts_in(root)):
    return _documents(root, request)
  if request.labels_file is not None:
    raise UserError(
      f"--labels_file={request.labels_file}: is for documents, DIR/train/ and DIR/unlabeled/, and {request.spec} is a "
      "corpus; leave it out"
    )
  if request.max_length is not None:
    raise UserError(
      f"--max_length={request.max_length}: is for documents, and {request.spec} is a corpus, whose lines are kept "
      "whole; leave it out"
    )
  return _corpus(str(root), request, _files_of(root) if root.is_dir() else [str(root)])


# ---- a corpus --------------------------------------------------------------------------------------------------------


def _texts_in(folder: Path) -> list[str]:
  return [str(folder / name) for name in listed(folder) if is_kind(name, TEXTS)] if folder.is_dir() else []


def _files_of(root: Path) -> list[str]:
  files = _texts_in(root)
  if not files:
    raise UserError(
      f"{root}: holds no texts ({', '.join(TEXTS.extensions)}); text:DIR needs them, or DIR/train/CLASS/ or "
      "DIR/unlabeled/ with them"
    )
  return files


def _corpus(place: str, request: Request, files: Sequence[str]) -> Dataset:
  facts = {
    "reader": READER, "block": BLOCK, "min_count": request.min_count, "max_words": request.max_words,
    "files": digest_of(stamps(tuple(map(os.path.abspath, files)))),
  }  # fmt: skip
  arrays = find(request, FOLDER, facts)
  if arrays is None:
    counts = counted(_lines(files))
    vocabulary = checked_vocabulary(place, counts, request)
    rows = -(-(counts.words.total() + counts.total - 1) // BLOCK)
    size = rows * BLOCK * 4
    pieces = blocks(stream(_lines(files), vocabulary), BLOCK)
    if size <= min(request.in_memory_limit, _LARGE):
      return text_corpus(request.spec, vocabulary, np.concatenate(list(pieces)))
    arrays = kept_as_made(request, FOLDER, facts, lambda: _parts(vocabulary, rows, files), size, "read")
  saved = np.asarray(arrays["vocabulary"]["json"]).tobytes()
  return text_corpus(request.spec, Vocabulary.read(json.loads(saved)), arrays["corpus"]["x"])


def _lines(files: Sequence[str]) -> Iterator[Line]:
  for path in files:
    yield from lines_of(path)


def _parts(vocabulary: Vocabulary, rows: int, files: Sequence[str]) -> tuple[Layout, Parts]:
  saved = np.frombuffer(json.dumps(vocabulary.to_json()).encode(), np.uint8)
  layout = {"vocabulary": {"json": ("|u1", saved.shape)}, "corpus": {"x": ("<i4", (rows, BLOCK))}}
  ids = (_Ids(piece) for piece in blocks(stream(_lines(files), vocabulary), BLOCK))
  return layout, iter([("vocabulary", iter([_Saved(saved)])), ("corpus", ids)])


# ---- documents -------------------------------------------------------------------------------------------------------


def _documents(root: Path, request: Request) -> Dataset:
  classes = class_folders(root, request.spec, TEXTS, request.labels_file)
  limit = request.max_length or LONGEST
  lengths: list[int] = []

  def lines() -> Iterator[Line]:
    for part, paths in classes.files.items():
      for path in paths:
        words = document_of(path)
        lengths.append(len(words))
        if part != "test":
          yield Line(words[:limit])

  vocabulary = checked_vocabulary(str(root), counted(lines()), request)
  length = min(max(lengths), limit) if request.max_length is None else limit
  _tell_cut(request, lengths, length)
  splits = {
    part: Split(within(_texts(paths, vocabulary, length), request.in_memory_limit), classes.labels[part], paths)
    for part, paths in classes.files.items()
  }
  train, test, unlabeled = splits["train"], splits.get("test"), splits.get("unlabeled")
  return text_classes(request.spec, vocabulary, classes.names, train, test, unlabeled)


def _texts(paths: Sequence[str], vocabulary: Vocabulary, length: int) -> LazyArray:
  """Documents i32 [N,length] of files, read when they are asked for."""

  def fetch(rows: np.ndarray) -> np.ndarray:
    return np.stack([padded(vocabulary.encode(document_of(paths[int(row)])[:length]), length) for row in rows])

  files = tuple(map(os.path.abspath, paths))
  return LazyArray((len(paths), length), fetch, np.dtype(np.int32), files=files, how=f"words {vocabulary.digest}")


def _tell_cut(request: Request, lengths: Sequence[int], length: int) -> None:
  cut, longest = sum(each > length for each in lengths), max(lengths)
  if cut:
    more = "" if request.max_length is not None else f"; --max_length={longest} keeps all"
    are = "is" if cut == 1 else "are"
    warn(
      request.spec,
      f"{cut:,} of {len(lengths):,} texts {are} cut at {length:,} words; the longest is of {longest:,}{more}",
    )


# ---- their words -----------------------------------------------------------------------------------------------------


def checked_vocabulary(place: str, counts: Counts, request: Request) -> Vocabulary:
  """The vocabulary of counted words.

  Raises:
    UserError: naming the place where the text is from: no word, one word only, or fewer than two that are frequent.
  """
  different = len(counts.words)
  if different < 2:
    has = "no word" if not different else f"one word only, {next(iter(counts.words))!r}"
    raise UserError(f"{place}: holds {has}; at least two different ones are needed")
  vocabulary = vocabulary_of(counts, request.min_count, request.max_words)
  if len(vocabulary) < 2:
    second = sorted(counts.words.values())[-2]
    stand = "no word stands" if not len(vocabulary) else "one word only stands"
    raise UserError(
      f"--min_count={request.min_count}: {stand} so often in {place}, and at least two are needed; give --min_count="
      f"{second}"
    )
  return vocabulary
