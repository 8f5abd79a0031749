"""Videos that are read frame by frame: folders of pictures, and files that PyAV decodes."""

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sslx.data.images import Header, decode
from sslx.data.types import Request
from sslx.data.warn import warn
from sslx.types import UserError, brief

EXTENSIONS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
EIGHT = 8  # pixels: the longer side of a frame becomes a multiple of it where --size says the shorter one only
GAP = 64  # frames that are not asked for, up to which a file is decoded on instead of being entered anew
REORDERED = 8  # frames: so far from its place in the order of showing a frame may be stored


class Footage(NamedTuple):
  """A video that is read when frames of it are asked for."""

  name: str
  where: str
  """Its folder or file."""
  count: int
  """Frames."""
  height: int
  """Of a frame, once it is resized."""
  width: int
  read: Callable[[np.ndarray], np.ndarray]
  """Numbers of frames i64 [n], ascending and all different -> u8 [n,H,W,3]. Thread-safe."""
  files: tuple[str, ...]
  """What it is read from, absolute paths."""

  __repr__ = brief


def fitted(height: int, width: int, size: tuple[int, ...] | None) -> tuple[int, int]:
  """(height, width) that a frame is resized to. size: both, or the shorter side alone: the longer one then is in
  proportion, rounded to a multiple of EIGHT; None leaves the frame as it is."""
  if size is None:
    return height, width
  if len(size) == 2:
    return size[0], size[1]
  (short,) = size
  longer = max(short, EIGHT * int(short * max(height, width) / min(height, width) / EIGHT + 0.5))
  return (short, longer) if height <= width else (longer, short)


def resized(frame: np.ndarray, height: int, width: int) -> np.ndarray:
  """A frame u8 [H,W,3] of this size, bilinear and antialiased."""
  if frame.shape[:2] == (height, width):
    return frame
  return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))


def in_order(names: Sequence[str]) -> list[str]:
  """Names of frames in the order of their numbers: 9.png before 10.png."""

  def key(name: str) -> list[tuple[bool, int, str]]:
    parts = re.split(r"([0-9]+)", name)  # text, number, text, number ...
    return [(False, int(part), part) if i % 2 else (True, 0, part) for i, part in enumerate(parts)]

  return sorted(names, key=key)


# ---- folders of pictures ---------------------------------------------------------------------------------------------


def of_pictures(name: str, paths: Sequence[str], headers: Mapping[str, Header], request: Request) -> Footage:
  """The video whose frames are these pictures. What is grey becomes red, green and blue.

  Raises:
    UserError: naming the folder of a single frame, or the frame of another size than the first.
  """
  where = str(Path(paths[0]).parent)
  if len(paths) < 2:
    raise UserError(f"{where}: holds one frame, {paths[0]}, and a video has two at least; add the others, or delete it")
  first = headers[paths[0]]
  for path in paths:
    header = headers[path]
    if (header.height, header.width) != (first.height, first.width):
      raise UserError(
        f"{paths[0]} is {first.height}x{first.width} but {path} is {header.height}x{header.width} (height x width): "
        "the frames of a video are of one size; mend it, or put it elsewhere"
      )
  height, width = fitted(first.height, first.width, request.size)

  def read(numbers: np.ndarray) -> np.ndarray:
    out = np.empty((len(numbers), height, width, 3), np.uint8)
    for i, number in enumerate(map(int, numbers)):
      frame = decode(
        paths[number], 3, background=request.background, bits=request.bits, in_memory_limit=request.in_memory_limit
      )
      out[i] = resized(frame, height, width)
    return out

  return Footage(name, where, len(paths), height, width, read, tuple(paths))


# ---- video files -----------------------------------------------------------------------------------------------------


class _Index(NamedTuple):
  """What is known of a file once it has been decoded."""

  count: int
  height: int
  """Of a frame, upright."""
  width: int
  numbers: Mapping[int, int] | None
  """When a frame is shown -> its number, in their order. None where the file does not say when."""


def of_file(path: str, request: Request) -> Footage:
  """The video in a file, upright.

  The file is decoded once from its start to its end, which finds its frames and tells whether all can be decoded. When
  frames are asked for, it is entered at the last one before them that is stored as a whole, and decoded from there on:
  of most files, these are a few seconds of video. So a clip of 12 frames can cost as much as 250 frames. Where a file
  does not say when its frames are shown, it is decoded from its start. Long films that do not fit in memory are read
  faster as folders of pictures.

  Raises:
    UserError: PyAV is missing; or naming the file: no video, of a single frame, of frames of two sizes, or one that
      does not decode.
  """
  index = _index(path, request.spec)
  height, width = fitted(index.height, index.width, request.size)

  def read(numbers: np.ndarray) -> np.ndarray:
    out = np.empty((len(numbers), height, width, 3), np.uint8)
    for run in np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers) > GAP) + 1):
      for place, frame in zip(run, _frames(path, index, numbers[run]), strict=True):
        out[place] = resized(_upright(frame), height, width)
    return out

  return Footage(Path(path).name, path, index.count, height, width, read, (path,))


def _index(path: str, spec: str) -> _Index:
  times, shape = [], None
  with _decoder(path) as (container, stream):
    told = stream.frames
    for frame in container.decode(stream):
      shape = shape or _shape(frame)
      if _shape(frame) != shape:
        (first_height, first_width), (height, width) = shape, _shape(frame)
        raise UserError(
          f"{path}: its first frame is {first_height}x{first_width} but its frame {len(times)} is {height}x{width} "
          "(height x width), and the frames of a video are of one size; save it again"
        )
      times.append(frame.pts)
  if shape is None or len(times) < 2:
    raise UserError(f"{path}: holds {len(times)} frames that decode, and a video has two at least; repair or delete it")
  if told > len(times):
    warn(spec, f"{path} says that it has {told:,} frames, and {len(times):,} of them decode; it may be cut off")
  is_ascending = None not in times and all(first < second for first, second in itertools.pairwise(times))
  return _Index(len(times), *shape, {time: i for i, time in enumerate(times)} if is_ascending else None)


def _frames(path: str, index: _Index, numbers: np.ndarray) -> Iterator[Any]:
  """The frames of these numbers, which ascend, as PyAV has them."""
  waiting = iter(numbers.tolist())
  wanted = next(waiting)
  for number, frame in _numbered(path, index, wanted):
    if number == wanted:
      yield frame
      wanted = next(waiting, None)
      if wanted is None:
        return
  raise UserError(f"{path}: its frame {wanted} does not decode any more; load the data set again")


def _numbered(path: str, index: _Index, first: int) -> Iterator[tuple[int, Any]]:
  """(number, frame) of the frames from `first` on, and perhaps of some before."""
  if index.numbers is not None:
    times = list(index.numbers)
    with _decoder(path) as (container, stream):
      container.seek(times[max(0, first - REORDERED)], stream=stream)
      for i, frame in enumerate(container.decode(stream)):
        number = index.numbers.get(frame.pts, index.count)
        if not i and number > first:
          break  # the file was entered too late, or at nothing that is known: it is read from its start
        yield number, frame
      else:
        return
  with _decoder(path) as (container, stream):
    yield from enumerate(container.decode(stream))


@contextlib.contextmanager
def _decoder(path: str) -> Iterator[tuple[Any, Any]]:
  """(container, stream of pictures) of PyAV; what goes wrong inside is a UserError that names the file."""
  try:
    import av  # pyright: ignore[reportMissingImports]
    from av.error import FFmpegError  # pyright: ignore[reportMissingImports]
  except ImportError as error:
    raise UserError(
      f"{path}: to read it, PyAV is needed: pip install 'sslx[video]' or ./launch.sh --extras=video ...; or save its "
      "frames as pictures, in a folder of their own"
    ) from error
  try:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
      raise UserError(f"{path}: not a file, but a folder, pipe or device; delete it")
    if not status.st_size:
      raise UserError(f"{path}: empty file; delete it or put a video there")
    with av.open(path) as container:
      if not container.streams.video:
        raise UserError(f"{path}: holds no pictures; delete it")
      stream = container.streams.video[0]
      stream.thread_type = "AUTO"
      yield container, stream
  except FFmpegError as error:
    reason = error.strerror or type(error).__name__
    raise UserError(f"{path}: does not decode ({reason}); repair or delete it") from error


def _shape(frame: Any) -> tuple[int, int]:
  """(height, width) of a frame, upright."""
  return (frame.width, frame.height) if _turns(frame) % 2 else (frame.height, frame.width)


def _upright(frame: Any) -> np.ndarray:
  """u8 [H,W,3]: red, green and blue."""
  return np.rot90(frame.to_ndarray(format="rgb24"), _turns(frame))


def _turns(frame: Any) -> int:
  """By how many quarters a frame is to be turned, counter-clockwise: a telephone that is held upright says so."""
  return round(frame.rotation / 90)
