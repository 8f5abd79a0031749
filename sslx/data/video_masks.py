"""Masks of the objects of a video: PNG files, of which each value stands for an object."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from sslx.data.footage import Footage
from sslx.data.images import Header
from sslx.data.lazy import LazyArray, Rows
from sslx.data.masks import read_mask, refuse_turned
from sslx.data.types import Request, Video
from sslx.types import UserError

WHOLE = 255  # the value of the one object of black and white masks; beside others it is what is to be ignored


class MaskFiles(NamedTuple):
  """The files of a video's masks, and what their values mean."""

  frames: Sequence[str]
  masks: Sequence[str | None]
  """Of each frame; None where there is none. The first one is there."""
  values: np.ndarray
  """u8 [256]: value of a file -> number of the object, from 1; 0: none."""


def mask_files(
  frames: Sequence[str], masks: Sequence[str | None], headers: Mapping[str, Header], request: Request
) -> MaskFiles:
  """The objects of a video are those of its first mask, numbered in the order of their values; what appears later is
  none. Masks of colours, and of 0 and 255, hold one object; 255 beside other values is ignored.

  Raises:
    UserError: naming the first mask: it holds no object, or what `read_mask` raises.
  """
  first = masks[0]
  assert first is not None
  there = np.setdiff1d(_values(first, frames[0], headers, request), [0])
  objects = there[there < WHOLE] if (there < WHOLE).any() else there
  if not len(objects):
    raise UserError(
      f"{first}: holds no object, its values are all 0, and the objects of a video are those of its first mask; mark "
      "them there, or delete the frames before they appear"
    )
  values = np.zeros(256, np.uint8)
  values[objects] = np.arange(1, len(objects) + 1)
  return MaskFiles(frames, masks, values)


def video_of(
  footage: Footage, files: MaskFiles, headers: Mapping[str, Header], request: Request, is_lazy: bool
) -> Video:
  """The whole video. Its masks are resized as its frames are, each pixel to the nearest one."""
  count, height, width = footage.count, footage.height, footage.width

  def masks_of(numbers: np.ndarray) -> np.ndarray:
    out = np.zeros((len(numbers), height, width), np.uint8)
    for i, number in enumerate(map(int, numbers)):
      path = files.masks[number]
      if path is not None:
        mask = files.values[_values(path, files.frames[number], headers, request)]
        out[i] = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    return out

  def frames_of(numbers: np.ndarray) -> np.ndarray:
    known, places = np.unique(numbers, return_inverse=True)
    return footage.read(known)[places]

  paths = tuple(path for path in files.masks if path is not None)
  how = f"{request.decoding} size {request.size}"
  frames: Rows = LazyArray((count, height, width, 3), frames_of, files=footage.files, how=how)
  masks: Rows = LazyArray((count, height, width), masks_of, files=paths, how=how)
  if not is_lazy:
    everything = np.arange(count)
    frames, masks = footage.read(everything), masks_of(everything)
  return Video(footage.name, frames, masks, np.array([path is not None for path in files.masks]))


def _values(path: str, frame: str, headers: Mapping[str, Header], request: Request) -> np.ndarray:
  """u8 [H,W]: the values of a mask, WHOLE for every colour but black.

  Raises:
    UserError: naming the file: no PNG, of another size than its frame, or of one that EXIF data turn.
  """
  refuse_turned(frame, headers[frame], "mask")
  return read_mask(path, frame, headers[frame], _of_picture, request)


def _of_picture(image: Image.Image, path: str) -> np.ndarray:
  del path
  if image.mode == "1":
    return np.where(np.asarray(image), np.uint8(WHOLE), np.uint8(0))
  if image.mode in ("P", "L"):
    return np.asarray(image)
  return np.where(np.asarray(image.convert("RGB")).any(-1), np.uint8(WHOLE), np.uint8(0))
