"""Which data is it? A fingerprint of all that a result depends on, so that results of other data are not taken for it.

What is in memory is read in full. A lazy array is too large for that: it is told apart by the names, sizes and times of
its files, or, where it says of no files, by rows that are spread evenly over it.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent import futures

import numpy as np

from sslx.data.lazy import LazyArray, Rows
from sslx.data.types import Dataset
from sslx.data.urls import changes
from sslx.types import UserError

_PIECE = 8 << 20  # bytes hashed by one thread at a time; another number makes other fingerprints
_SAMPLE = 5000  # rows of a lazy array without files


def fingerprint(dataset: Dataset) -> str:
  """32 hexadecimal digits of the data: x and y of every split, whole videos with their masks, modality, sample rate,
  vocabulary, task and class names; not of its name.

  The same data in memory and lazy (--in_memory_limit) have two fingerprints.

  Raises:
    UserError: a file of a lazy split is gone, or cannot be decoded.
  """
  parts = [dataset.modality.name, dataset.task.name, str(dataset.task.outputs), *dataset.task.names]
  parts += [f"rate {dataset.rate}"] if dataset.rate else []
  parts += [f"words {dataset.vocabulary.digest}"] if dataset.vocabulary else []
  for name, split in _splits(dataset):
    parts += [name, fingerprint_of(split.x), "" if split.y is None else fingerprint_of(split.y)]
  for part, videos in sorted(dataset.videos.items()):
    for video in videos:
      parts += [f"video {part}", *map(fingerprint_of, (video.frames, video.masks, video.annotated))]
  return digest_of([json.dumps(parts).encode()])


def fingerprint_of(x: Rows) -> str:
  """32 hexadecimal digits of one array: its shape, dtype and values, or of a lazy one what tells of its values.

  Raises:
    UserError: a file of a lazy array is gone, or cannot be decoded.
  """
  facts = f"{list(x.shape)} {x.dtype.str} ".encode()
  if isinstance(x, np.ndarray):
    return digest_of([facts, *_pieces(x)])
  facts += x.how.encode()
  if x.parents:
    return digest_of([facts, b"parents", *(fingerprint_of(parent).encode() for parent in x.parents)])
  if x.files:
    return digest_of([facts, b"files", *stamps(x.files)])
  every = -(-len(x) // _SAMPLE) or 1
  return digest_of([facts, b"rows", *_pieces(x[np.arange(0, len(x), every)])])


def described(dataset: Dataset) -> str | None:
  """One sentence: which splits' x were not read in full, and what stands in for that. None where all of it was read."""
  ways: dict[str, list[str]] = {}
  for name, split in _splits(dataset):
    for way in dict.fromkeys(_ways(split.x)):
      ways.setdefault(way, []).append(name)
  for name, videos in dataset.videos.items():
    for way in dict.fromkeys(way for video in videos for way in _ways(video.frames)):
      ways.setdefault(way, []).append(f"the {name} videos")
  if not ways:
    return None
  told = "; ".join(f"{' and '.join(names)} by {way}" for way, names in ways.items())
  return f"{dataset.name} is too large to be read in full, so its data is told from other data so: {told}."


def _splits(dataset: Dataset) -> list[tuple]:
  splits = [("train", dataset.train), ("test", dataset.test), ("unlabeled", dataset.unlabeled)]
  return [(name, split) for name, split in splits if split is not None]


def _ways(x: Rows) -> Iterator[str]:
  if isinstance(x, LazyArray):
    for parent in x.parents:
      yield from _ways(parent)
    if not x.parents:
      yield "the names, sizes and times of its files" if x.files else f"about {_SAMPLE:,} of its rows"


def digest_of(parts: Iterable[bytes]) -> str:
  """32 hexadecimal digits of the bytes, one after another."""
  digest = hashlib.blake2b(digest_size=16)
  for part in parts:
    digest.update(part)
  return digest.hexdigest()


def _pieces(x: np.ndarray) -> list[bytes]:
  """The digests of x piece by piece, in threads: hashing releases the GIL."""
  rows = max(1, _PIECE // max(1, x[:1].nbytes))

  def one(start: int) -> bytes:
    piece = np.ascontiguousarray(x[start : start + rows]).reshape(-1).view(np.uint8)
    return hashlib.blake2b(piece.data, digest_size=16).digest()

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    return list(pool.map(one, range(0, len(x), rows)))


def stamps(files: tuple[str, ...]) -> Iterator[bytes]:
  """Name (below the folder that all share, so that a set may be moved), size and time of each file, in their order.

  Raises:
    UserError: naming the file that is gone.
  """
  root = os.path.commonpath([os.path.dirname(file) for file in files])
  try:
    for file, stamp in zip(files, changes(files), strict=True):
      yield os.fsencode(os.path.relpath(file, root)) + f"\0{stamp}\0".encode()
  except OSError as error:
    why = error.strerror or error
    raise UserError(f"{error.filename}: cannot be read ({why}); load the data set again") from error
