"""Images that stand in shards, as bytes of their files, and their labels: what the loaders of such formats share.

A loader says how the bytes of row i are read, and what its label is. Decoding, sizes, splits, classes, and what
stays on the disk are decided here, by the rules of `folder:`.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import NamedTuple

import numpy as np

from sslx.data.files import common_shape, tell
from sslx.data.images import Header, brightest, decode, header, streamed, within
from sslx.data.labels import places
from sslx.data.lazy import LazyArray, Rows, joined, take
from sslx.data.shards import File, below_common
from sslx.data.types import Dataset, Request, Split, image_classes
from sslx.data.warn import say
from sslx.types import UserError

NO_LABEL = -1
ALL = 10_000  # images, up to which every header is looked at: they have to be read for it
_PLACES, _TOGETHER = 8, 128  # of more images so many are looked at, in so many places of the data
_PIECE = 256  # images read by one thread at a time
_WORDS = {  # a word of a file's or folder's name -> the split that it is of, as Hugging Face names them
  "train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
  "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
  "unlabeled": "unlabeled", "unlabelled": "unlabeled", "unsupervised": "unlabeled",
}  # fmt: skip


class Samples(NamedTuple):
  """The examples of one split. Its functions can be pickled, and open what they read in the process that reads."""

  count: int
  read: Callable[[np.ndarray], list[bytes]]
  """Rows i64 [B] in [0, count) -> the image files of these. Thread-safe."""
  called: Callable[[int], str]
  """Row -> what a message calls it: its shard, and where it is in there."""
  labels: np.ndarray
  """i64 [count], NO_LABEL of what has none."""
  files: tuple[str, ...]
  """What it is read from, absolute paths or URLs."""
  how: str = ""
  """Which of what these files hold is read."""
  blocks: tuple[int, ...] = ()
  """See LazyArray."""
  stamps: tuple[File, ...] = ()
  """In place of `files`: each with its stamp, where to ask for so many would take long."""


def part_of(names: Sequence[str]) -> str | None:
  """train, test, validation or unlabeled, as the words of these names say; the last name that says one counts."""
  for name in reversed(names):
    words = [_WORDS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in _WORDS]
    if words:
      return words[0]
  return None


def by_part(files: Sequence[str]) -> dict[str, list[str]]:
  """The files of each split by their names, and by the folders that not all of them are in; train where none says."""
  parts: dict[str, list[str]] = {}
  for file, names in zip(files, below_common(files), strict=True):
    parts.setdefault(part_of(names) or "train", []).append(file)
  return parts


def dataset_of(
  request: Request,
  parts: Mapping[str, Samples],
  names: Sequence[str] | None = None,
  texts: Sequence[str] | None = None,
) -> Dataset:
  """The data set of these splits: train, test, validation, unlabeled, or some of them.

  The test split is `test` where it has labels, else `validation`. Images of train without a label are of unlabeled.
  Where none of train has one, the data set has no labels.

  names: of the classes, where the data declares them.
  texts: what labels are places in, where they are texts: those that occur in training are the classes.

  Raises:
    UserError: no image to train on, images of two sizes while --image_size is not given, labels that fit no class, or
      an image that cannot be decoded.
  """
  parts = {part: samples for part, samples in parts.items() if samples.count}
  if not {"train", "unlabeled"} & set(parts):
    there = " and ".join(parts) or "nothing"
    raise UserError(f"--dataset={request.spec}: holds {there}, and no image to train on; give files of train too")
  labelled = "train" in parts and bool((parts["train"].labels != NO_LABEL).any())
  parts = _with_one_test(parts, labelled, request)
  shape = _shape(parts, request)
  x = {part: within(_lazy(samples, shape, request), request.in_memory_limit) for part, samples in parts.items()}
  if not labelled:
    first, rest = [Split(x[part], None) for part in ("train", "unlabeled") if part in x], x.get("test")
    return image_classes(request.spec, (), first[0], None if rest is None else Split(rest, None), *first[1:])
  y = {part: parts[part].labels if part in parts else np.zeros(0, np.int64) for part in ("train", "test")}
  known = np.flatnonzero(y["train"] != NO_LABEL)
  if "test" in x:
    rows = np.flatnonzero(y["test"] != NO_LABEL)
    x["test"], y["test"] = _chosen(x["test"], rows), y["test"][rows]
  train, unlabeled = x["train"], None if "unlabeled" not in x else Split(x["unlabeled"], None)
  if len(known) < len(train):
    others = Split(_chosen(train, np.flatnonzero(y["train"] == NO_LABEL)), None)
    unlabeled = others if unlabeled is None else Split(joined(others.x, unlabeled.x), None)
  first, last = y["train"][known], y["test"]
  if texts is not None:
    names, first, last = _occurring(request.spec, texts, first, last)
  class_names, first, last = places(request.spec, first, last, names)
  test = Split(x["test"], last) if "test" in x else None
  return image_classes(request.spec, class_names, Split(_chosen(train, known), first), test, unlabeled)


def _occurring(
  spec: str, texts: Sequence[str], train: np.ndarray, test: np.ndarray
) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
  """(names of the classes, labels of train, of test): without the texts that only other splits have."""
  values = np.unique(train)
  unknown = np.setdiff1d(test, values)
  if unknown.size:
    raise UserError(f"{spec}: test class {texts[unknown[0]]!r} never occurs in the training split")
  return [str(texts[i]) for i in values.tolist()], np.searchsorted(values, train), np.searchsorted(values, test)


def _with_one_test(parts: Mapping[str, Samples], labelled: bool, request: Request) -> dict[str, Samples]:
  """The parts with the one that models are tested on as `test`; what is passed over is told."""
  usable = [p for p in ("test", "validation") if p in parts and (not labelled or (parts[p].labels >= 0).any())]
  rest = {part: samples for part, samples in parts.items() if part not in ("test", "validation")}
  for part in ("test", "validation"):
    if part in parts and part not in usable[:1]:
      why = "" if part in usable else ", which has no labels,"
      say(request.spec, f"its {part} split{why} is passed over ({parts[part].count:,} images)")
  return {**rest, "test": parts[usable[0]]} if usable else rest


def _chosen(x: Rows, rows: np.ndarray) -> Rows:
  return x if len(rows) == len(x) else take(x, rows)


def _shape(parts: Mapping[str, Samples], request: Request) -> tuple[int, int, int]:
  """(H, W, C) of all images by the headers that are looked at; what is lost of these is told."""
  total = sum(samples.count for samples in parts.values())
  pieces = [(part, rows) for part, samples in parts.items() for rows in _looked_at(samples.count, total)]
  kept: dict[str, bytes] = {}  # of sixteen bits

  def look(piece: tuple[str, np.ndarray]) -> list[tuple[str, str, Header]]:
    part, rows = piece
    seen = []
    for row, content in zip(rows.tolist(), parts[part].read(rows), strict=True):
      name = parts[part].called(row)
      found = header(content, request.background, request.image_size, request.in_memory_limit, name)
      if found.sixteen_bits:
        kept[name] = content
      seen.append((part, name, found))
    return seen

  with futures.ThreadPoolExecutor() as pool:
    found = [each for seen in pool.map(look, pieces) for each in seen]
  headers = {name: each for _, name, each in found}
  names = {part: [name for of, name, _ in found if of == part] for part in parts}
  tell(names, headers, request, lambda name: brightest(kept[name], name))
  return common_shape(headers, request.image_size)


def _looked_at(count: int, total: int) -> list[np.ndarray]:
  """Pieces of the rows whose headers are looked at: all, or some of several places, of which each may be one block."""
  if total <= ALL:
    return [np.arange(start, min(start + _PIECE, count)) for start in range(0, count, _PIECE)]
  starts = np.unique(np.linspace(0, max(0, count - _TOGETHER), _PLACES).astype(np.int64))
  return [np.arange(start, min(start + _TOGETHER, count)) for start in starts]


def _lazy(samples: Samples, shape: tuple[int, int, int], request: Request) -> LazyArray:
  how = functools.partial(
    decode, background=request.background, bits=request.bits, in_memory_limit=request.in_memory_limit
  )
  fetch = functools.partial(_fetch, samples.read, samples.called, how, shape, request.image_size)
  images = LazyArray(
    (samples.count, *shape), fetch, files=samples.files, how=f"{request.decoding} {samples.how}".rstrip(),
    blocks=samples.blocks, parents=(_listing(samples.stamps),) if samples.stamps else (),
  )  # fmt: skip
  return streamed(images, request.in_memory_limit, request.spec)


def _listing(files: Sequence[File]) -> np.ndarray:
  """u8: names below their common folder, and stamps: what tells these files from others (`data.fingerprint`)."""
  names = below_common([file.path for file in files])
  lines = [f"{'/'.join(name)}\0{file.stamp}\0" for name, file in zip(names, files, strict=True)]
  return np.frombuffer("".join(lines).encode("utf-8", "surrogateescape"), np.uint8)


def _fetch(
  read: Callable[[np.ndarray], list[bytes]],
  called: Callable[[int], str],
  how: Callable[..., np.ndarray],
  shape: tuple[int, int, int],
  image_size: int | None,
  rows: np.ndarray,
) -> np.ndarray:
  out = np.empty((len(rows), *shape), np.uint8)
  for i, (row, content) in enumerate(zip(rows.tolist(), read(rows), strict=True)):
    image = how(content, shape[2], image_size, called(row))
    if image.shape != shape:
      size, others = (f"{each[0]}x{each[1]}" for each in (image.shape, shape))
      raise UserError(
        f"{called(row)} is {size} but others are {others} (height x width): give --image_size to resize them all"
      )
    out[i] = image
  return out


def coded(texts: Sequence[str | None]) -> tuple[np.ndarray, list[str] | None]:
  """(labels i64 [N], the texts that they are places in) of labels as texts; None is NO_LABEL. Where all are whole
  numbers, they are taken as such, and there are no texts."""
  different = sorted({text for text in texts if text is not None})
  if all(re.fullmatch(r"-?(0|[1-9]\d{0,17})", text) for text in different):
    return np.array([NO_LABEL if text is None else int(text) for text in texts], np.int64), None
  codes = {text: i for i, text in enumerate(different)}
  return np.array([NO_LABEL if text is None else codes[text] for text in texts], np.int64), different
