"""Reads splits from sets that TFDS has prepared as array_record, without TensorFlow. Import it inside functions only.

TFDS's own np decoding takes 3 s for MNIST's 60,000 records; reading the raw records and parsing them here takes 1 s.
"""

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from sslx.data.fingerprint import digest_of, stamps
from sslx.data.images import decode
from sslx.data.types import LazyArray, Request, Split, in_memory
from sslx.types import UserError

_Example: Any = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
_DIGITS = 32  # of a digest
_CHUNK = 4096  # records held at once beside the result


def read_split(builder: Any, split: str, keys: tuple[str, str], request: Request) -> Split:
  """One split of the set that a TFDS `builder` has prepared; `keys` name its image and label features.

  Images whose decoded bytes exceed `request.in_memory_limit` stay lazy, labels never do.

  Raises:
    UserError: naming the folder, if a record is damaged, or images vary in size and --image_size is not given.
  """
  image_key, label_key = keys
  folder = Path(builder.data_dir)
  try:
    source = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
  except Exception as error:  # its dataset_info.json is gone, or names no such split
    raise UserError(f"{folder}: damaged ({_line(error)}); delete it and run again") from error
  shape, decode_one = _decoder(builder.info.features[image_key], request)

  def features(rows):
    try:
      records = source.__getitems__(rows.tolist())
      parsed = [_Example.FromString(record).features.feature for record in records]
    except Exception as error:  # array_record raises bare RuntimeError, IndexError, ValueError ...
      raise UserError(f"{folder}: damaged ({_line(error)}); delete it and run again") from error
    if not all(parsed):
      raise UserError(f"{folder}: damaged (empty records); delete it and run again")
    return parsed

  def pixels(records):
    return np.stack([decode_one(value(record, image_key, "bytes_list")) for record in records])

  def numbers(records):
    try:
      return np.array([value(record, label_key, "int64_list") for record in records], np.int32)
    except OverflowError as error:
      raise UserError(f"{folder}: damaged ({_line(error)}); delete it and run again") from error

  def value(record, key, kind):
    values = getattr(record[key], kind).value
    if len(values) != 1:
      raise UserError(f"{folder}: damaged ({len(values)} values of {key!r} in a record); delete it and run again")
    return values[0]

  files = tuple(os.path.abspath(path) for path in builder.info.splits[split].filepaths)
  images = LazyArray((len(source), *shape), lambda rows: pixels(features(rows)), files=files, how=request.decoding)
  if images.nbytes > request.in_memory_limit:
    cache = folder / f"sslx-labels-{split}.npy"
    return Split(images, _cached(cache, len(source), files, lambda rows: numbers(features(rows))))
  if isinstance(builder.info.features[image_key], tfds.features.Image):  # decoding dominates: use threads
    return Split(in_memory(images), _all(len(source), lambda rows: numbers(features(rows))))
  out, labels = np.empty(images.shape, np.uint8), np.empty(len(source), np.int32)
  for rows in _chunks(len(source)):  # one pass for both
    records = features(rows)
    out[rows], labels[rows] = pixels(records), numbers(records)
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
