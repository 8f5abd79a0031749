"""`array_record:GLOB`: ArrayRecord files whose records are tf.train.Example, read without TensorFlow, in any order.

What `tfds:NAME` has prepared lies in such files, too. Labels stand in the records, beside the images: they are read
once and kept in data_dir. Files behind URLs are copied into data_dir: ArrayRecord reads those of this machine alone.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sslx.data.kept_index import Found, Index, index_of
from sslx.data.samples import Samples, by_part, dataset_of
from sslx.data.shards import File, copied, matching, stamped
from sslx.data.types import Dataset, Request
from sslx.data.urls import first_line, is_url
from sslx.types import UserError

KIND = r"\.array_?record(-\d+-of-\d+)?$"
IMAGES = ("image", "image/encoded", "jpg", "png")
"""Keys of the image file in a record, the first that is there."""
LABELS = ("label", "image/class/label", "image/class/text", "cls")
"""Likewise of its label."""
_CHUNK = 1024  # records held at once while labels are read


def load_array_record(request: Request) -> Dataset:
  """An image is the bytes at `image` or `image/encoded`, a label the number or text at `label` or `image/class/label`.

  Splits are told by the files' names, see `samples.by_part`.

  Raises:
    UserError: no file, one that is damaged, records of another kind, and what `samples.dataset_of` refuses.
  """
  files = stamped(matching(request.argument, KIND, request.spec))
  local = dict(zip(files, files, strict=True))
  if urls := [file for file in files if is_url(file.path)]:
    local |= {url: File(path, url.stamp) for url, path in zip(urls, copied(urls, request)[1], strict=True)}
  index, texts = index_of(request, "array_record", files, lambda file: _look_through(local[file]), "labels are read")
  numbers = {file.path: i for i, file in enumerate(files)}
  parts = {
    part: _samples(files, [local[file] for file in files], index, [numbers[path] for path in shards])
    for part, shards in by_part([file.path for file in files]).items()
  }
  return dataset_of(request, parts, texts=texts)


def _samples(files: Sequence[File], local: Sequence[File], index: Index, shards: Sequence[int]) -> Samples:
  rows = np.flatnonzero(np.isin(index.shard, shards))
  shard, number = index.shard[rows], index.start[rows]
  read = functools.partial(_read, tuple(local), shard, number)
  called = functools.partial(_called, tuple(file.path for file in files), shard, number)
  return Samples(len(rows), read, called, index.label[rows], tuple(files[i].path for i in shards))


def _called(paths: Sequence[str], shard: np.ndarray, number: np.ndarray, row: int) -> str:
  return f"{paths[shard[row]]}, record {number[row]}"


def _read(files: Sequence[File], shard: np.ndarray, number: np.ndarray, rows: np.ndarray) -> list[bytes]:
  out: list[bytes] = [b""] * len(rows)
  for each in np.unique(shard[rows]).tolist():
    places = np.flatnonzero(shard[rows] == each)
    records = _records(files[each], number[rows[places]].tolist())
    for i, record in zip(places.tolist(), records, strict=True):
      out[i] = _image(record, files[each])
  return out


def _look_through(file: File) -> Found:
  """The label of every record."""
  count = len(_source(file))
  labels: list[str | None] = []
  for start in range(0, count, _CHUNK):
    labels += [_label(record, file) for record in _records(file, range(start, min(start + _CHUNK, count)))]
  return Found(range(count), [0] * count, labels)


@functools.lru_cache(maxsize=256)
def _source(file: File) -> Any:
  """A file's records, opened when they are first read in this process. Raises UserError where it is damaged."""
  from array_record.python.array_record_data_source import ArrayRecordDataSource

  try:
    return ArrayRecordDataSource([file.path])
  except Exception as error:  # array_record raises bare RuntimeError, ValueError ...
    raise _damaged(file, error) from error


def _records(file: File, numbers: Sequence[int]) -> list[Mapping[str, Any]]:
  """The features of these records."""
  from tensorflow_datasets.proto import tf_example_pb2

  example: Any = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
  try:
    return [example.FromString(record).features.feature for record in _source(file).__getitems__(list(numbers))]
  except UserError:
    raise
  except Exception as error:
    raise _damaged(file, error) from error


def _damaged(file: File, error: Exception) -> UserError:
  return UserError(f"{file.path}: no whole ArrayRecord file of tf.train.Example ({first_line(error)}); copy it anew")


def _image(record: Mapping[str, Any], file: File) -> bytes:
  for key in IMAGES:
    if key in record and len(record[key].bytes_list.value) == 1:
      return record[key].bytes_list.value[0]
  there = ", ".join(sorted(record)) or "nothing"
  raise UserError(f"{file.path}: a record holds no image file at {' or '.join(IMAGES[:2])}; it holds {there[:200]}")


def _label(record: Mapping[str, Any], file: File) -> str | None:
  for key in LABELS:
    if key in record:
      values = [*record[key].int64_list.value, *record[key].bytes_list.value]
      if len(values) != 1:
        raise UserError(
          f"{file.path}: a record holds {len(values)} whole numbers or texts at {key!r}, instead of one label"
        )
      return values[0].decode("utf-8", "replace") if isinstance(values[0], bytes) else str(values[0])
  return None
