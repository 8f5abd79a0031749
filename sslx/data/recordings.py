"""Recordings as rows of one array: resampled, rounded to 16 bits, cut or padded to one length."""

from collections.abc import Callable

import numpy as np

from sslx.data.types import LazyArray
from sslx.ops.sound import RAW_PAD

FRAME = 0.025  # seconds: what is shorter says nothing of its frequencies
RATES = (4000, 192_000)  # of --sample_rate
LONGEST = 600.0  # of --seconds
LOUDEST = -RAW_PAD - 1  # of a sample of 16 bits
QUALITY = "HQ"  # of soxr


def samples_of(seconds: float, rate: int) -> int:
  """Samples of so many seconds, at least one."""
  return max(1, round(seconds * rate))


def sixteen_bits(samples: np.ndarray) -> np.ndarray:
  """Samples f32, full scale at 1, to i16: rounded, and clipped to +-LOUDEST, as RAW_PAD is no sample."""
  return np.clip(np.rint(samples * -RAW_PAD), -LOUDEST, LOUDEST).astype(np.int16)


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
  """Samples f32 [n] of one channel, with `wanted` in place of `rate` samples a second."""
  if rate == wanted:
    return samples
  import soxr

  return soxr.resample(samples, rate, wanted, quality=QUALITY)


def row_of(samples: np.ndarray, rate: int, wanted: int, length: int) -> np.ndarray:
  """Samples f32 [n], full scale at 1, to i16 [length]: resampled, cut at the end, or RAW_PAD behind it."""
  most = -(-length * rate // wanted) + rate  # of a long one, a second more than is kept is resampled
  kept = sixteen_bits(resampled(samples[:most], rate, wanted))[:length]
  return np.pad(kept, (0, length - len(kept)), constant_values=RAW_PAD)


def lazy(n: int, length: int, row: Callable[[int], np.ndarray], files: tuple[str, ...], how: str) -> LazyArray:
  """n recordings i16 [n,length], each made by `row` when it is asked for; files, how: see LazyArray."""

  def fetch(rows: np.ndarray) -> np.ndarray:
    out = np.empty((len(rows), length), np.int16)
    for i, place in enumerate(rows):
      out[i] = row(int(place))
    return out

  return LazyArray((n, length), fetch, np.dtype(np.int16), files=files, how=how)


def decoding(rate: int) -> str:
  """What the values of recordings depend on beside their files and their length: for `LazyArray.how`."""
  return f"rate {rate}"
