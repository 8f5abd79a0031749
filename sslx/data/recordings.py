"""Recordings as rows of one array, and the files that they are read from.

A file is decoded, mixed down to one channel, resampled, rounded to 16 bits, and cut or padded to one length.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import NamedTuple

import numpy as np

from sslx.data.lazy import LazyArray
from sslx.data.tree import Kind
from sslx.data.warn import warn
from sslx.ops.sound import RAW_PAD
from sslx.types import UserError

RECORDINGS = Kind(
  "recording",
  (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".caf", ".w64", ".rf64"),
)
FRAME = 0.025  # seconds: what is shorter says nothing of its frequencies
RATES = (4000, 192_000)  # of --sample_rate
LONGEST = 600.0  # of --seconds
USUAL = 10.0  # seconds: up to here, all recordings are as long as the longest by default
LOUDEST = -RAW_PAD - 1  # of a sample of 16 bits
FULL_SCALES = 8.0  # of floating samples; what is louder was not divided by its full scale
QUALITY = "HQ"  # of soxr
_ENDLESS = 1 << 40  # samples: libsndfile says something like this of a stream whose header does not know its length
_UNKNOWN_SIZE = 0x7F00_0000  # bytes: programs that write to a pipe put something above into a header
_SIZE = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)


class Header(NamedTuple):
  """What a file says of itself, without being decoded."""

  frames: int
  """Samples of each channel."""
  rate: int
  """Samples a second."""

  @property
  def seconds(self) -> float:
    """How long it is."""
    return self.frames / self.rate


# ---- arrays ----------------------------------------------------------------------------------------------------------


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


def needed(rate: int, wanted: int, length: int) -> int:
  """How many samples are resampled where `length` are kept: a second more, so that the cut changes nothing of these."""
  return -(-length * rate // wanted) + rate


def row_of(samples: np.ndarray, rate: int, wanted: int, length: int) -> np.ndarray:
  """Samples f32 [n], full scale at 1, to i16 [length]: resampled, cut at the end, or RAW_PAD behind it."""
  kept = sixteen_bits(resampled(samples[: needed(rate, wanted, length)], rate, wanted))[:length]
  return np.pad(kept, (0, length - len(kept)), constant_values=RAW_PAD)


def lazy(n: int, length: int, row: Callable[[int], np.ndarray], files: Sequence[str], how: str) -> LazyArray:
  """n recordings i16 [n,length], each made by `row` when it is asked for; files, how: see LazyArray."""

  def fetch(rows: np.ndarray) -> np.ndarray:
    out = np.empty((len(rows), length), np.int16)
    for i, place in enumerate(rows):
      out[i] = row(int(place))
    return out

  return LazyArray((n, length), fetch, np.dtype(np.int16), files=tuple(files), how=how)


def decoding(rate: int) -> str:
  """What the values of recordings depend on beside their files and their length: for `LazyArray.how`."""
  return f"rate {rate}"


# ---- one rate, one length --------------------------------------------------------------------------------------------


def rate_of(headers: Mapping[str, Header], sample_rate: int | None) -> int:
  """Samples a second that all files have once they are resampled.

  Raises:
    UserError: naming two files of two rates, or one of a rate that is out of range, while no `sample_rate` is given.
  """
  if sample_rate is not None:
    return sample_rate
  start, first = next(iter(headers.items()))
  for path, header in headers.items():
    if header.rate != first.rate:
      raise UserError(
        f"{start} has {first.rate} samples a second but {path} has {header.rate}: give --sample_rate to resample them "
        "all"
      )
  if not RATES[0] <= first.rate <= RATES[1]:
    raise UserError(f"{start}: {first.rate} samples a second; give --sample_rate, between {RATES[0]} and {RATES[1]}")
  return first.rate


def length_of(spec: str, every: Sequence[Header], rate: int, seconds: float | None) -> int:
  """Samples that each row holds: of `seconds`, else of the longest recording, at most USUAL. It is told on stderr how
  many are cut, with `spec` for a name."""
  longest = max(header.seconds for header in every)
  kept = min(longest, USUAL) if seconds is None else seconds
  cut = sum(header.seconds > kept for header in every)
  if cut:
    more = "" if seconds is not None else f"; --seconds={np.ceil(longest * 100) / 100:g} keeps all"
    are = "is" if cut == 1 else "are"
    warn(spec, f"{cut:,} of {len(every):,} recordings {are} cut at {kept:g} s; the longest is of {longest:.4g} s{more}")
  return samples_of(kept, rate) if seconds is not None or cut else max(1, int(np.ceil(round(kept * rate, 6))))


# ---- files -----------------------------------------------------------------------------------------------------------


def headers_of(paths: Sequence[str]) -> dict[str, Header]:
  """The headers of all files, by path; nothing is decoded.

  Raises:
    UserError: see `header_of`.
  """
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    return dict(zip(paths, pool.map(header_of, paths, chunksize=64), strict=True))


def header_of(path: str) -> Header:
  """Reads the header of a file.

  Raises:
    UserError: naming the file: no recording, empty, truncated, or shorter than a frame.
  """
  import soundfile

  try:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
      raise UserError(f"{path}: not a file, but a folder, pipe or device; delete it")
    if not status.st_size:
      raise UserError(f"{path}: empty file; delete it or put a recording there")
    info = soundfile.info(path)
  except OSError as error:
    raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
  except soundfile.LibsndfileError as error:
    raise _unreadable(path, error) from error
  if info.frames > _ENDLESS or info.samplerate < 1:
    raise UserError(f"{path}: not a readable recording (it does not say how long it is); save it again")
  for size, there in _SIZE.findall(info.extra_info):  # libsndfile reads what is left of it without an error
    if int(there) < int(size) < _UNKNOWN_SIZE:
      raise UserError(f"{path}: truncated ({int(there):,} of {int(size):,} bytes are there); repair or delete it")
  if info.frames < FRAME * info.samplerate:
    milliseconds = 1000 * info.frames / info.samplerate
    raise UserError(f"{path}: {milliseconds:.3g} ms long, shorter than a frame of {1000 * FRAME:g} ms; delete it")
  return Header(info.frames, info.samplerate)


def read(path: str, header: Header, most: int) -> np.ndarray:
  """The first `most` samples of a file, f32 [n], full scale at 1: the mean of its channels.

  Raises:
    UserError: naming the file: truncated, damaged, changed since its header was read, or with samples that are not
      finite or beyond any full scale.
  """
  import soundfile

  frames = min(header.frames, most)
  try:
    samples, rate = soundfile.read(path, frames, dtype="float32", always_2d=True)
  except soundfile.LibsndfileError as error:
    raise _unreadable(path, error) from error
  if rate != header.rate:
    raise UserError(f"{path}: has changed; load the data set again")
  if len(samples) != frames:
    raise UserError(f"{path}: truncated ({len(samples):,} of {frames:,} samples are there); repair or delete it")
  peak = np.abs(samples).max()
  if not np.isfinite(peak):
    raise UserError(f"{path}: holds samples that are not finite (NaN or infinity); repair or delete it")
  if peak > FULL_SCALES:
    raise UserError(f"{path}: its samples reach {peak:g}, where full scale is 1; divide them, and save it again")
  return samples.mean(axis=1)


def recordings_of(paths: Sequence[str], headers: Mapping[str, Header], rate: int, length: int) -> LazyArray:
  """Recordings i16 [N,length] of files, read and resampled when they are asked for."""

  def row(place: int) -> np.ndarray:
    path = paths[place]
    header = headers[path]
    return row_of(read(path, header, needed(header.rate, rate, length)), header.rate, rate, length)

  return lazy(len(paths), length, row, tuple(map(os.path.abspath, paths)), decoding(rate))


def _unreadable(path: str, error: Exception) -> UserError:
  reason = str(error).replace(f"Error opening {path!r}: ", "").removeprefix("Error : ").strip().rstrip(".")
  if "SF_INFO" in reason:  # libsndfile's words for it
    reason = "its header says 0 samples a second, or no channel"
  return UserError(f"{path}: not a readable recording ({reason or type(error).__name__}); repair or delete it")
