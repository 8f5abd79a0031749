"""`video:DIR`: clips of videos, and whole videos with masks of their objects.

 *  DIR/VIDEO/*.png, .jpg ...: a folder of frames for each video, in the order of the numbers in their names;
 *  DIR/*.mp4, .avi, .mov, .mkv, .webm, or a single such file in place of DIR: decoded by PyAV, the extra `video`;
 *  DIR/JPEGImages/[480p/]VIDEO/*.jpg and DIR/Annotations/[480p/]VIDEO/*.png, as DAVIS has them (see `sslx.data.davis`).

Pretraining gets clips and never a mask. Of DAVIS's layout, the videos with masks are what tracking is scored on: those
of DIR/ImageSets/[YEAR/]val.txt or test.txt, while clips are of those of train.txt. Where there is no such list, clips
are of all videos, and those with masks are scored on: what was seen of them in pretraining are frames alone.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sslx.data.davis import listed_videos, lists_of, resolution_of
from sslx.data.files import headers_of
from sslx.data.footage import EXTENSIONS, Footage, in_order, of_file, of_pictures
from sslx.data.images import EXTENSIONS as PICTURES
from sslx.data.images import PICTURE_BYTES, Header
from sslx.data.lazy import LazyArray, Rows
from sslx.data.tree import is_image, listed
from sslx.data.types import Dataset, Request, Video, clips
from sslx.data.video_masks import mask_files, video_of
from sslx.data.warn import say, warn
from sslx.types import UserError

FRAMES = 12  # of a clip, unless --frames says otherwise
_ROWS = 32  # clips that a thread reads at a time
_EVERY = 10.0  # seconds between two lines of progress


class _Layout(NamedTuple):
  """Which videos there are, and what for."""

  frames: dict[str, list[str]]
  """Of each video that is a folder of pictures, by its name."""
  files: list[str]
  """Video files."""
  masks: dict[str, dict[str, str]]
  """Of each video with masks: stem of a frame's name -> its mask."""
  train: tuple[str, ...] | None
  """Videos that a list names for training; None: there is no list."""
  test: tuple[str, ...] | None


def load_video(request: Request) -> Dataset:
  """Clips u8 [N,T,H,W,3] of T = --frames frames (12), every --stride-th (1), and whole videos with masks for "test".

  A clip begins every T * stride // 2 frames of a video, the last one ends with it. Where ImageSets names videos for
  test, the test split is clips of these, else it is empty. All clips are of one size: `request.size`, else that of the
  frames. Clips and videos of more bytes than the limit stay on disk, and only frames that are asked for are decoded.

  Raises:
    UserError: naming the folder or file: missing, without videos, with a video of one frame, of frames of two sizes, or
      that does not decode, a mask of another size than its frame or without objects in the first; videos of two sizes
      while --size is not given, or all of them shorter than a clip.
  """
  root = Path(request.argument)
  layout = _davis(root, request.spec) if (root / "JPEGImages").is_dir() else _plain(root, request.spec)
  headers = headers_of({"video": [path for paths in layout.frames.values() for path in paths]}, request)
  footage = {name: of_pictures(name, paths, headers, request) for name, paths in layout.frames.items()}
  for path in layout.files:
    footage[Path(path).name] = of_file(path, request)
  videos = _videos(layout, footage, headers, request)
  for video in videos:
    if isinstance(video.frames, np.ndarray):  # then its frames need not be decoded for clips again
      footage[video.name] = footage[video.name]._replace(read=video.frames.__getitem__)
  train = _clips([footage[name] for name in layout.train or footage], request)
  held_out = None
  if layout.train is not None and layout.test is not None:
    held_out = _clips([footage[name] for name in layout.test], request, train.shape[2:4])
  return clips(request.spec, train, {"test": videos} if videos else {}, held_out)


# ---- clips -----------------------------------------------------------------------------------------------------------


def starts(count: int, frames: int, stride: int) -> np.ndarray:
  """The first frames i64 of the clips of a video of `count` frames; of one that is shorter than a clip, none."""
  last = count - 1 - (frames - 1) * stride
  if last < 0:
    return np.zeros(0, np.int64)
  return np.unique(np.append(np.arange(0, last + 1, max(1, frames * stride // 2)), last))


def _clips(footage: Sequence[Footage], request: Request, size: Sequence[int] | None = None) -> Rows:
  """Clips of these videos, in memory or lazy. size: (height, width) that they must have.

  Raises:
    UserError: naming two videos of two sizes, or the longest where all are shorter than a clip.
  """
  frames, stride = request.frames or FRAMES, request.stride or 1
  firsts = [starts(video.count, frames, stride) for video in footage]
  short = [video for video, first in zip(footage, firsts, strict=True) if not len(first)]
  longest = max(footage, key=lambda video: video.count)
  flags = f"--frames={frames}" + (f" and --stride={stride}" if stride > 1 else "")
  needed = f"a clip of {flags} takes {1 + (frames - 1) * stride}; lower {flags.replace(' and ', ' or ')}"
  if len(short) == len(footage):
    raise UserError(f"{longest.where}: the longest video has {longest.count} frames, and {needed}")
  if short:
    others = f" and {len(short) - 1} more" if len(short) > 1 else ""
    warn(request.spec, f"no clips are of {short[0].where}{others}: it has {short[0].count} frames, and {needed}")
  used = [video for video, first in zip(footage, firsts, strict=True) if len(first)]
  height, width = size or (used[0].height, used[0].width)
  for video in used:
    if (video.height, video.width) != (height, width):
      raise UserError(
        f"{video.where}: its frames are {video.height}x{video.width}, those of other videos {height}x{width} (height x "
        "width), and clips are of one size; give --size=HEIGHTxWIDTH, which all frames are resized to"
      )
  return _held(_lazy(used, [first for first in firsts if len(first)], request), request)


def _lazy(footage: Sequence[Footage], firsts: Sequence[np.ndarray], request: Request) -> LazyArray:
  """Clips that are decoded when they are asked for. firsts: where those of each video begin."""
  frames, stride = request.frames or FRAMES, request.stride or 1
  owners = np.repeat(np.arange(len(footage)), [len(first) for first in firsts])
  first = np.concatenate(firsts)
  shape = frames, footage[0].height, footage[0].width, 3
  most = 4 * max(request.in_memory_limit, PICTURE_BYTES) // int(np.prod(shape))

  def fetch(rows: np.ndarray) -> np.ndarray:
    if len(rows) > most:
      raise UserError(
        f"--dataset={request.spec}: {len(rows)} clips of {'x'.join(map(str, shape))} are too many for "
        f"--in_memory_limit={request.in_memory_limit}; give a smaller --size, or raise the limit"
      )
    out = np.empty((len(rows), *shape), np.uint8)
    for owner in np.unique(owners[rows]):
      places = np.flatnonzero(owners[rows] == owner)
      wanted = first[rows[places], None] + stride * np.arange(frames)
      numbers, where = np.unique(wanted, return_inverse=True)
      out[places] = footage[owner].read(numbers)[where.reshape(wanted.shape)]
    return out

  files = tuple(file for video in footage for file in video.files)
  how = f"{request.decoding} frames {frames} stride {stride} size {request.size}"
  return LazyArray((len(first), *shape), fetch, files=files, how=how)


def _held(lazy: LazyArray, request: Request) -> Rows:
  """The clips themselves where their bytes stay within the limit, else the lazy ones."""
  if lazy.nbytes > request.in_memory_limit:
    return lazy
  out = np.empty(lazy.shape, lazy.dtype)

  def fill(start: int) -> int:
    rows = np.arange(start, min(start + _ROWS, len(out)))
    out[rows] = lazy[rows]
    return len(rows)

  _in_threads(fill, range(0, len(out), _ROWS), len(out), "clips", request.spec)
  return out


def _in_threads(work: Callable[[Any], int], jobs: Sequence[Any], total: int, what: str, spec: str) -> None:
  """Does all jobs, each of which answers how many of `total` it has done. What takes long is told on stderr."""
  done, told = 0, time.monotonic()
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    try:
      for more in pool.map(work, jobs):
        done += more
        if time.monotonic() - told > _EVERY and done < total:
          say(spec, f"read {done:,} of {total:,} {what}")
          told = time.monotonic()
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise


# ---- whole videos ----------------------------------------------------------------------------------------------------


def _videos(
  layout: _Layout, footage: Mapping[str, Footage], headers: Mapping[str, Header], request: Request
) -> list[Video]:
  """The videos with their masks, in memory where all of them fit in. Those with a single mask are left out, which is
  told on stderr: there is nothing to compare a track with."""
  names = [name for name, masks in layout.masks.items() if len(masks) > 1]
  single = [name for name in layout.masks if name not in names]
  if single:
    others = f" and {len(single) - 1} more" if len(single) > 1 else ""
    warn(
      request.spec, f"nothing is tracked in {single[0]}{others}: only the first mask is there, and none to compare with"
    )
  weight = sum(4 * video.count * video.height * video.width for video in map(footage.__getitem__, names))
  is_lazy = weight > request.in_memory_limit
  made: dict[str, Video] = {}

  def make(name: str) -> int:
    frames, masks = layout.frames[name], layout.masks[name]
    files = mask_files(frames, [masks.get(Path(frame).stem) for frame in frames], headers, request)
    made[name] = video_of(footage[name], files, headers, request, is_lazy)
    return 1

  _in_threads(make, names, len(names), "videos", request.spec)
  return [made[name] for name in names]


# ---- where they are --------------------------------------------------------------------------------------------------


def _plain(root: Path, spec: str) -> _Layout:
  """Folders of frames and video files. What is neither is told on stderr.

  Raises:
    UserError: no such folder or file, one of another kind, or no video in it.
  """
  kinds = f"{', '.join(PICTURES)}; or files: {', '.join(EXTENSIONS)}"
  if root.is_file():
    if not root.name.lower().endswith(EXTENSIONS):
      raise UserError(f"{root}: is called as no video file is ({', '.join(EXTENSIONS)})")
    return _Layout({}, [str(root)], {}, None, None)
  if not root.is_dir():
    raise UserError(f"{root}: no such folder or file")
  frames: dict[str, list[str]] = {}
  files, others = [], []
  for name in listed(root):
    path = root / name
    pictures = [str(path / picture) for picture in _pictures(path)] if path.is_dir() else []
    if pictures:
      frames[name] = pictures
    elif path.is_file() and name.lower().endswith(EXTENSIONS):
      files.append(str(path))
    else:
      others.append(str(path))
  if not frames and not files:
    if any(map(is_image, listed(root))):
      raise UserError(f"{root}: holds pictures; put the frames of each video into a folder of its own, DIR/VIDEO/*.png")
    raise UserError(f"{root}: holds no videos, neither folders of frames: {kinds}")
  if others:
    warn(spec, f"passed over {len(others)} that are no videos, such as {others[0]}")
  return _Layout(frames, files, {}, None, None)


def _pictures(folder: Path) -> list[str]:
  """The frames in a folder, in their order. Raises UserError where two have one name, but for their endings."""
  names = in_order([name for name in listed(folder) if is_image(name)])
  stems: dict[str, str] = {}
  for name in names:
    other = stems.setdefault(Path(name).stem, name)
    if other != name:
      raise UserError(f"{folder}: {other} and {name} would be the same frame; delete one of them")
  return names


def _davis(root: Path, spec: str) -> _Layout:
  """The layout of DAVIS, in which Annotations and ImageSets may be missing.

  Raises:
    UserError: naming the folder, list or mask: no videos, one that is listed and not there, or in both lists, a mask
      without its frame, or a first frame without its mask.
  """
  resolution = resolution_of(root / "JPEGImages")
  folder, answers = root / "JPEGImages" / resolution, root / "Annotations" / resolution
  frames = {
    name: [str(folder / name / picture) for picture in _pictures(folder / name)]
    for name in listed(folder)
    if (folder / name).is_dir()
  }
  for name, paths in frames.items():
    if not paths:
      raise UserError(f"{folder / name}: holds no frames; delete it")
  lists = lists_of(root / "ImageSets", resolution, spec) if (root / "ImageSets").is_dir() else {}
  listed_in = {part: listed_videos(path, frames, folder) for part, path in lists.items()}
  shared = set(listed_in.get("train", ())) & set(listed_in.get("test", ()))
  if shared:
    raise UserError(f"{lists['test']}: the video {min(shared)} is in {lists['train']} too; take it out of one")
  train, test = listed_in.get("train"), listed_in.get("test")
  masks = {name: found for name in test or frames if (found := _masks(answers / name, frames[name]))}
  for name in test or ():
    if name not in masks:
      raise UserError(f"{lists['test']}: {name} has no masks in {answers / name}; put them there, or take it out")
  used = frames if train is None or test is None else (*train, *test)
  return _Layout({name: frames[name] for name in used}, [], masks, train, test)


def _masks(folder: Path, frames: Sequence[str]) -> dict[str, str]:
  """Stem of a frame -> its mask; empty where a video has none."""
  names = [name for name in listed(folder) if name.endswith(".png")] if folder.is_dir() else []
  masks = {Path(name).stem: str(folder / name) for name in names}
  stems = [Path(frame).stem for frame in frames]
  lonely = min(set(masks) - set(stems), default=None)
  if lonely is not None:
    raise UserError(f"{masks[lonely]}: has no frame of this name; delete the mask, or put its frame there")
  if masks and stems[0] not in masks:
    raise UserError(
      f"{frames[0]}: the first frame has no mask {folder / stems[0]}.png, and tracking begins with it; delete the "
      "frames before the first mask, or all masks of the video"
    )
  return masks
