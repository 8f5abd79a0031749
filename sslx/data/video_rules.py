"""The rules that every data set of video keeps: `sslx.data.check` has the others."""

from collections.abc import Mapping

import numpy as np

from sslx.data.image_rules import check_bytes
from sslx.data.lazy import LazyArray
from sslx.data.types import Dataset, Split, Video
from sslx.types import UserError


def clips(dataset: Dataset, splits: Mapping[str, Split], image_size: int | None) -> None:
  """Raises UserError for clips that are not u8 [N,T,H,W,3] of two frames at least, that are all black, or whose shapes
  differ between splits, and for whole videos that break a rule of `_check_video`."""
  name = dataset.name
  for part, split in splits.items():
    shape = split.x.shape
    if len(shape) != 5 or 0 in shape[1:]:
      cure = "; of one clip, give x[None]" if len(shape) == 4 else ""
      raise UserError(f"{name}: {part} clips have shape {list(shape)}; they must be [N,T,H,W,3]{cure}")
    if shape[4] != 3:
      axis = shape.index(3, 1) if 3 in shape[1:3] else None
      cure = f": move the channels last, np.moveaxis(x, {axis}, -1)" if axis else ""
      cure = ": repeat it, np.repeat(x, 3, -1)" if shape[4] == 1 else cure
      raise UserError(f"{name}: {part} clips have {shape[4]} channels; the last axis must be 3, red, green, blue{cure}")
    if shape[1] < 2:
      raise UserError(f"{name}: {part} clips are of one frame; they need two at least")
    if shape[1:] != dataset.x_shape:
      raise UserError(
        f"{name}: train clips are {_shape(dataset.x_shape)} but {part} clips are {_shape(shape[1:])}; give one size"
      )
    if not len(split):
      continue
    check_bytes(f"{name}: {part} clips", split.x)
    if isinstance(split.x, np.ndarray) and not split.x.any():
      raise UserError(f"{name}: every {part} clip is black, all values are 0; look at what they are read from")
  for part, videos in dataset.videos.items():
    for video in videos:
      _check_video(f"{name}: the {part} video {video.name!r}", video)


def _check_video(what: str, video: Video) -> None:
  """Raises UserError for frames that are not u8 [T,H,W,3], for masks that are not u8 of their size, for what is not
  known of its frames, and for a first mask that is not known or without an object."""
  for field in ("frames", "masks", "annotated"):
    if not isinstance(getattr(video, field), np.ndarray | LazyArray):
      raise UserError(f"{what}: {field} are of type {type(getattr(video, field)).__name__}; give a NumPy array")
  shape = tuple(video.frames.shape)
  if len(shape) != 4 or shape[3:] != (3,) or 0 in shape or shape[0] < 2 or video.frames.dtype != np.uint8:
    raise UserError(
      f"{what}: frames are {video.frames.dtype} of shape {list(shape)}; they must be uint8 [T,H,W,3], T 2 at least"
    )
  if tuple(video.masks.shape) != shape[:3] or video.masks.dtype != np.uint8:
    raise UserError(
      f"{what}: masks are {video.masks.dtype} of shape {list(video.masks.shape)}; they must be uint8 "
      f"{list(shape[:3])}, as its frames"
    )
  if video.annotated.shape != shape[:1] or video.annotated.dtype != np.bool_:
    raise UserError(
      f"{what}: annotated is {video.annotated.dtype} of shape {list(video.annotated.shape)}; it must be bool "
      f"[{shape[0]}], whether the masks are known"
    )
  if not video.annotated[0]:
    raise UserError(f"{what}: the mask of its first frame is not known, and tracking begins with it")
  if not np.asarray(video.masks[0]).any():
    raise UserError(f"{what}: the mask of its first frame holds no object, and tracking begins with it")


def _shape(shape: tuple[int, ...]) -> str:
  return "x".join(map(str, shape))
