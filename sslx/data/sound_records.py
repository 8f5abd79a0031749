"""Reads sound from sets that TFDS has prepared as array_record. Import it inside functions only."""

from typing import Any

import numpy as np

from sslx.data.images import within
from sslx.data.recordings import FRAME, Header, decoding, lazy, length_of, needed, rate_of, row_of
from sslx.data.records import Records, records_of
from sslx.data.types import Request, Split
from sslx.types import UserError


def read_sounds(
  builder: Any, splits: tuple[str, str], keys: tuple[str, str], request: Request
) -> tuple[int, list[Split]]:
  """(samples a second, the splits) of the set that a TFDS `builder` has prepared; `keys` name its audio and label.

  All records are passed through once, for the lengths of their recordings.

  Raises:
    UserError: naming the folder, if a record is damaged; or sound of another kind than samples of 16 bits at a known
      rate.
  """
  audio, label = keys
  feature = builder.info.features[audio]
  given = int(feature.sample_rate or 0)
  if given < 1:
    raise UserError(f"{request.spec}: does not say how many samples a second its recordings have")
  if np.dtype(feature.np_dtype).kind not in "iu":
    raise UserError(f"{request.spec}: its recordings are {feature.np_dtype}; only integers of 16 bits are supported")
  channels = feature.shape[1] if len(feature.shape) > 1 else 1
  every = [records_of(builder, split) for split in splits]
  headers = [Header(int(n), given) for each in every for n in _frames(each, audio, channels)]
  rate = rate_of({request.spec: headers[0]}, request.sample_rate)
  length = length_of(request.spec, headers, rate, request.seconds)
  made = []
  for records in every:
    x = lazy(records.n, length, _reader(records, audio, channels, (given, rate, length)), records.files, decoding(rate))
    made.append(Split(within(x, request.in_memory_limit), records.labels(label, x.nbytes > request.in_memory_limit)))
  return rate, made


def _frames(records: Records, key: str, channels: int) -> np.ndarray:
  """Samples of each recording, i64 [n]: they are counted, not decoded."""

  def count(rows: np.ndarray) -> np.ndarray:
    return np.array([len(record[key].int64_list.value) // channels for record in records.parsed(rows)], np.int64)

  return records.all(count)


def _reader(records: Records, key: str, channels: int, rates: tuple[int, int, int]) -> Any:
  """Row -> i16 [length]; rates: that of the records, that which is asked for, and the length."""
  given, rate, length = rates

  def row(place: int) -> np.ndarray:
    (record,) = records.parsed(np.array([place]))
    values = record[key].int64_list.value
    if len(values) < FRAME * given * channels:
      raise records.damaged(f"{len(values)} samples of {key!r} in a record")
    samples = np.array(values[: needed(given, rate, length) * channels], np.int64).reshape(-1, channels)
    if np.abs(samples).max() > 1 << 15:
      raise UserError(f"{records.folder}: a recording has samples beyond 16 bits; only these are supported")
    return row_of((samples.mean(axis=1) / (1 << 15)).astype(np.float32), given, rate, length)

  return row
