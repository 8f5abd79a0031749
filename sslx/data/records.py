"""Reads splits from sets that TFDS has prepared as array_record, without TensorFlow. Import it inside functions only.

TFDS's own np decoding takes 3 s for MNIST's 60,000 records; reading the raw records and parsing them here takes 1 s.
"""

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from sslx.data.fingerprint import digest_of, stamps
from sslx.data.images import decode
from sslx.data.lazy import LazyArray, in_memory
from sslx.data.types import Request, Split
from sslx.types import UserError

_Example: Any = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
_DIGITS = 32  # of a digest
_CHUNK = 4096  # records held at once beside the result


class Records(NamedTuple):
  """One split of a prepared set."""

  folder: Path
  name: str
  """Of the split."""
  files: tuple[str, ...]
  n: int
  parsed: Callable[[np.ndarray], list[Any]]
  """Rows -> the features of each, by their names. Raises UserError where one is damaged."""

  def damaged(self, why: str) -> UserError:
    """What is raised of a record that cannot be what it says."""
    return UserError(f"{self.folder}: damaged ({why}); delete it and run again")

  def value(self, record: Any, key: str, kind: str) -> Any:
    """The one value of a feature, in a field such as int64_list. Raises UserError where it has none, or several."""
    values = getattr(record[key], kind).value
    if len(values) != 1:
      raise self.damaged(f"{len(values)} values of {key!r} in a record")
    return values[0]

  def numbers(self, records: list[Any], key: str) -> np.ndarray:
    """The values i32 of a feature of each."""
    try:
      return np.array([self.value(record, key, "int64_list") for record in records], np.int32)
    except OverflowError as error:
      raise self.damaged(_line(error)) from error

  def labels(self, key: str, keep: bool) -> np.ndarray:
    """The values i32 [n] of a feature; keep: beside the records, for the next time."""

    def read(rows: np.ndarray) -> np.ndarray:
      return self.numbers(self.parsed(rows), key)

    return _cached(self.folder / f"sslx-labels-{self.name}.npy", self.n, self.files, read) if keep else self.all(read)

  def all(self, read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What `read` makes of rows, of all of them."""
    return _all(self.n, read)


def records_of(builder: Any, split: str) -> Records:
  """The records of a split of the set that a TFDS `builder` has prepared.

  Raises:
    UserError: naming the folder, if it is damaged.
  """
  folder = Path(builder.data_dir)
  try:
    source = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
  except Exception as error:  # its dataset_info.json is gone, or names no such split
    raise UserError(f"{folder}: damaged ({_line(error)}); delete it and run again") from error

  def parsed(rows: np.ndarray) -> list[Any]:
    try:
      records = source.__getitems__(rows.tolist())
      features = [_Example.FromString(record).features.feature for record in records]
    except Exception as error:  # array_record raises bare RuntimeError, IndexError, ValueError ...
      raise UserError(f"{folder}: damaged ({_line(error)}); delete it and run again") from error
    if not all(features):
      raise UserError(f"{folder}: damaged (empty records); delete it and run again")
    return features

  files = tuple(os.path.abspath(path) for path in builder.info.splits[split].filepaths)
  return Records(folder, split, files, len(source), parsed)


def read_split(builder: Any, split: str, keys: tuple[str, str], request: Request) -> Split:
  """One split of the set that a TFDS `builder` has prepared; `keys` name its image and label features.

  Images whose decoded bytes exceed `request.in_memory_limit` stay lazy, labels never do.

  Raises:
    UserError: naming the folder, if a record is damaged, or images vary in size and --image_size is not given.
  """
  image_key, label_key = keys
  records = records_of(builder, split)
  shape, decode_one = _decoder(builder.info.features[image_key], request)

  def pixels(examples: list[Any]) -> np.ndarray:
    return np.stack([decode_one(records.value(example, image_key, "bytes_list")) for example in examples])

  def fetch(rows: np.ndarray) -> np.ndarray:
    return pixels(records.parsed(rows))

  images = LazyArray((records.n, *shape), fetch, files=records.files, how=request.decoding)
  if images.nbytes > request.in_memory_limit:
    return Split(images, records.labels(label_key, keep=True))
  if isinstance(builder.info.features[image_key], tfds.features.Image):  # decoding dominates: use threads
    return Split(in_memory(images), records.labels(label_key, keep=False))
  out, labels = np.empty(images.shape, np.uint8), np.empty(records.n, np.int32)
  for rows in _chunks(records.n):  # one pass for both
    examples = records.parsed(rows)
    out[rows], labels[rows] = pixels(examples), records.numbers(examples, label_key)
  return Split(out, labels)


def _decoder(feature: Any, request: Request) -> tuple[tuple[int, int, int], Callable[[bytes], np.ndarray]]:
  """(H, W, C) and bytes -> u8[H,W,C] for a feature of sslx's builders (raw bytes) or the catalogue's (PNG, JPEG)."""
  shape, dtype = tuple(feature.shape), np.dtype(feature.np_dtype)
  if not isinstance(feature, tfds.features.Image):
    return shape, lambda data: np.frombuffer(data, np.uint8).reshape(shape)
  if dtype != np.uint8:
    raise UserError(f"{request.spec}: its images are {dtype}; only 8-bit images are supported")
  channels = 1 if shape[2] == 1 else 3
  size = request.image_size
  if size is None and None in shape[:2]:
    raise UserError(f"{request.spec}: its images vary in size; give --image_size to resize them all")
  shape = (size, size, channels) if size is not None else (*shape[:2], channels)

  def decode_one(data: bytes) -> np.ndarray:
    image = decode(
      data, channels, size, request.spec,
      background=request.background, bits=request.bits, in_memory_limit=request.in_memory_limit,
    )  # fmt: skip
    if image.shape != shape:  # one that was turned upright
      raise UserError(f"{request.spec}: its images vary in size; give --image_size to resize them all")
    return image

  return shape, decode_one


def _cached(path: Path, n: int, files: tuple[str, ...], read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
  """Labels i32[n]. Reading them means reading every record, minutes for a large set, so they are kept beside it.

  What is kept ends with a digest of itself and of the names, sizes and times of the `files`: a cache that is damaged,
  or that belongs to other records, is not believed, and the labels are read anew.
  """
  try:
    content = path.read_bytes()
    body, end = content[:-_DIGITS], content[-_DIGITS:]
    if end == _seal(body, files):
      labels = np.load(io.BytesIO(body), allow_pickle=False)
      if labels.shape == (n,) and labels.dtype == np.int32:
        return labels
  except OSError:
    pass
  labels = _all(n, read)
  partial = path.with_name(f"{path.stem}.{os.getpid()}.npy")
  buffer = io.BytesIO()
  np.save(buffer, labels)
  body = buffer.getvalue()
  try:
    partial.write_bytes(body + _seal(body, files))
    partial.replace(path)
  except OSError:  # a read-only folder, a full disk: they are read again next time
    with contextlib.suppress(OSError):
      partial.unlink(missing_ok=True)
  return labels


def _seal(body: bytes, files: tuple[str, ...]) -> bytes:
  return digest_of([body, *stamps(files)]).encode()


def _all(n: int, read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
  return np.concatenate([read(rows) for rows in _chunks(n)] or [np.empty(0, np.int32)])


def _chunks(n: int) -> list[np.ndarray]:
  return [np.arange(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK)]


def _line(error: Exception) -> str:
  return (str(error).splitlines() or [type(error).__name__])[0][:200]
