"""The data set `python_docs`: docstrings of Python's standard library and of the packages that sslx requires.

Each paragraph is a text, and stands there once. Documents, the paragraphs of 15 words and more in the eight packages
that have most of them, are for classification: which package is it of? All others are `unlabeled`. A fifth of the
modules of the eight packages is the test split, of which nothing else is read; it has equally many documents of each
class, and none that equals one of training. What is read is kept in data_dir, as reading takes a while; it changes with
the packages' versions, which `Dataset.origin` tells.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np

from sslx.data.docstrings import READER, Package, packages_beside, paragraphs_of, without_collection
from sslx.data.fingerprint import digest_of
from sslx.data.images import within
from sslx.data.kept import Layout, Parts, kept_as_made
from sslx.data.lazy import LazyArray, Rows
from sslx.data.text import checked_vocabulary
from sslx.data.types import Dataset, Request, Split, text_classes
from sslx.data.words import Counts
from sslx.ops.text import PAD, Vocabulary
from sslx.types import UserError

CLASSES = 8
SHORTEST = 15
"""Words of a document at least."""
LONGEST = 128
"""Words of a text that are kept at most, unless --max_length says otherwise."""
HELD_OUT = 5  # of so many modules, one is of the test split
FOLDER = "sslx_python_docs"  # in data_dir


class Paragraphs(NamedTuple):
  """Different paragraphs of modules, those of held-out modules behind all others."""

  words: np.ndarray
  """u1: all different words, a line each, in UTF-8."""
  ids: np.ndarray
  """i32: the line of each word of all paragraphs, one paragraph after another."""
  ends: np.ndarray
  """i64 [P]: the place in `ids` behind each."""
  packages: np.ndarray
  """i32 [P]: which package each is of."""
  held_out: np.ndarray
  """u1 [P]: 1 where it is of a module that is held out for the test split."""


def load_python_docs(request: Request, packages: Sequence[Package] | None = None) -> Dataset:
  """Texts i32 [N,T] of docstrings, and the package that each is of.

  packages: in place of those that sslx requires.

  Raises:
    UserError: fewer than two packages have documents in both splits, a vocabulary of fewer than two words, or a
      data_dir that the user named and that cannot be written.
  """
  packages = packages_beside() if packages is None else packages
  facts = {"reader": READER, "held_out": HELD_OUT, "packages": [_stamp(package) for package in packages]}
  how = f"docstrings of {len(packages)} packages are read"
  made = kept_as_made(request, FOLDER, facts, lambda: _parts(read_paragraphs(packages)), 0, how)
  arrays = {name: np.asarray(array) for name, array in made["text"].items()}
  return _dataset(request, packages, Paragraphs(**arrays))


def read_paragraphs(packages: Sequence[Package]) -> Paragraphs:
  """The different paragraphs of all packages; of one that is repeated, the first. Modules that are held out come last,
  so that none of their paragraphs stands in another module."""
  modules = [
    (_is_held_out(package.name, place), number, path)
    for number, package in enumerate(packages)
    for place, path in package.modules
  ]
  modules.sort(key=lambda each: each[0])  # in which the order of the others is kept
  words: dict[str, int] = {}
  seen: set[bytes] = set()
  pieces: list[np.ndarray] = []
  where: list[tuple[int, bool]] = []
  with without_collection():
    for held_out, number, path in modules:
      for paragraph in paragraphs_of(path):
        ids = np.array([words.setdefault(word, len(words)) for word in paragraph], np.int32)
        if (content := ids.tobytes()) not in seen:
          seen.add(content)
          pieces.append(ids)
          where.append((number, held_out))
  numbers, held = np.array(where, np.int32).reshape(-1, 2).T
  letters = np.frombuffer("\n".join(words).encode(), np.uint8)
  ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
  return Paragraphs(letters, np.concatenate([np.zeros(0, np.int32), *pieces]), ends, numbers, held.astype(np.uint8))


def _is_held_out(package: str, place: str) -> bool:
  """Whether a module is of the test split: by its name alone, so that other modules change nothing of it."""
  digest = hashlib.blake2b(f"{package}/{place}".encode(), digest_size=8).digest()
  return int.from_bytes(digest, "big") % HELD_OUT == 0


def _stamp(package: Package) -> list[str]:
  """What tells that a package is the same: its version, and the names and sizes of its modules."""
  names = (f"{place} {os.path.getsize(path)}\n".encode() for place, path in package.modules if os.path.isfile(path))
  return [package.name, package.version, digest_of(names)]


def _parts(paragraphs: Paragraphs) -> tuple[Layout, Parts]:
  layout = {"text": {name: (array.dtype.str, array.shape) for name, array in paragraphs._asdict().items()}}
  return layout, iter([("text", cast("Iterator[NamedTuple]", iter([paragraphs])))])


# ---- the data set ----------------------------------------------------------------------------------------------------


def _dataset(request: Request, packages: Sequence[Package], all_of: Paragraphs) -> Dataset:
  long, held_out = np.diff(all_of.ends, prepend=0) >= SHORTEST, all_of.held_out.astype(bool)
  classes = _largest(packages, all_of.packages, long & ~held_out, long & held_out)
  places = np.full(len(packages), -1, np.int32)
  places[classes] = np.arange(len(classes))
  y = places[all_of.packages]
  is_class = y >= 0
  train, test = (np.flatnonzero(is_class & long & which) for which in (~held_out, held_out))
  unlabeled = np.flatnonzero(~is_class | (~long & ~held_out))

  length = request.max_length or LONGEST
  words = all_of.words.tobytes().decode().split("\n")
  counts = _counted(all_of, words, np.concatenate([train, unlabeled]), length)
  vocabulary = checked_vocabulary("python_docs", counts, request)
  ids = vocabulary.encode(words)[all_of.ids]

  def texts(rows: np.ndarray) -> Rows:
    return within(_texts(all_of.ends, ids, vocabulary, rows, length), request.in_memory_limit)

  x, rest = texts(train), texts(unlabeled)
  test = _balanced(test[_new(texts(test), [x, rest])], y)
  names = [packages[i].name for i in classes]
  splits = Split(x, y[train]), Split(texts(test), y[test]), Split(rest, None) if len(rest) else None
  return text_classes(request.spec, vocabulary, names, *splits, origin=_origin(packages, classes, all_of))


def _origin(packages: Sequence[Package], classes: Sequence[int], all_of: Paragraphs) -> str:
  """The versions of the packages that are classes, and a digest of all that was read."""
  named = ", ".join(f"{packages[i].name} {packages[i].version}" for i in classes)
  more = f" and {len(packages) - len(classes)} more" if len(packages) > len(classes) else ""
  return f"{named}{more}; digest {digest_of(np.ascontiguousarray(array).tobytes() for array in all_of)[:12]}"


def _largest(packages: Sequence[Package], of: np.ndarray, train: np.ndarray, test: np.ndarray) -> list[int]:
  """The packages with most documents, by name."""
  counts = [np.bincount(of[which], minlength=len(packages)) for which in (train, test)]
  there = [i for i in range(len(packages)) if min(counts[0][i], counts[1][i]) > 0]
  there.sort(key=lambda i: (-(counts[0][i] + counts[1][i]), packages[i].name))
  if len(there) < 2:
    raise UserError(
      f"python_docs: {len(there)} packages have docstrings of {SHORTEST} words and more; at least two are needed. "
      "Python may be installed without sources, or leave docstrings out"
    )
  return sorted(there[:CLASSES], key=lambda i: packages[i].name)


def _counted(all_of: Paragraphs, words: Sequence[str], rows: np.ndarray, length: int) -> Counts:
  """The words of some paragraphs, up to the length at which they are cut."""
  lengths = np.diff(all_of.ends, prepend=0)
  of = np.repeat(np.arange(len(lengths)), lengths)
  place = np.arange(len(of)) - np.repeat(all_of.ends - lengths, lengths)
  chosen = np.zeros(len(lengths), bool)
  chosen[rows] = True
  chosen = chosen[of] & (place < length)
  ids, of = all_of.ids[chosen], of[chosen]
  pairs = np.sort(of * len(words) + ids)
  once = pairs[np.diff(pairs, prepend=-1) > 0] % len(words)
  numbers = (np.bincount(each, minlength=len(words)).tolist() for each in (ids, once))
  often, holders = (Counter(dict(zip(words, each, strict=True))) for each in numbers)
  return Counts(often, holders, len(rows))


def _texts(ends: np.ndarray, ids: np.ndarray, vocabulary: Vocabulary, rows: np.ndarray, length: int) -> LazyArray:
  """Some paragraphs, i32 [N,length], of the ids of all of them."""
  starts = ends - np.diff(ends, prepend=0)

  def fetch(asked: np.ndarray) -> np.ndarray:
    place = starts[rows[asked]][:, None] + np.arange(length)
    inside = place < ends[rows[asked]][:, None]
    return np.where(inside, ids[np.where(inside, place, 0)], PAD).astype(np.int32)

  # A vocabulary with its counts tells of the text that it was made of, and `rows` of what is taken of it.
  return LazyArray((len(rows), length), fetch, np.dtype(np.int32), parents=(rows,), how=f"words {vocabulary.digest}")


def _new(test: Rows, others: Sequence[Rows]) -> np.ndarray:
  """bool [N]: which rows of `test` are none of the others: texts may differ only in words that are too rare for ids."""
  seen = {row.tobytes() for rows in others for row in np.asarray(rows)}
  return np.array([row.tobytes() not in seen for row in np.asarray(test)], bool)


def _balanced(rows: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Of each class as many rows as the smallest has, evenly spread over its modules; in their order."""
  by_class = [rows[y[rows] == label] for label in range(y.max() + 1)]
  smallest = min(map(len, by_class))
  return np.sort(np.concatenate([each[np.arange(smallest) * len(each) // smallest] for each in by_class]))
