"""Digits of MNIST that are turned and scaled: what scenes and moving digits share."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sslx.types import brief

INK = 0.3  # alpha from which a pixel is of a digit: of its mask, and of its box
WARPED = 1 << 22  # values of the patches warped at a time
Area = tuple[slice, slice]


class Digits(NamedTuple):
  """The digits that pictures are made of."""

  images: np.ndarray
  """u8 [D,28,28]"""
  labels: np.ndarray
  """i32 [D]"""

  __repr__ = brief


def dealt(count: int, stream: Sequence[int]) -> Iterator[int]:
  """0 to count - 1 in random order, then again in another one, and so on."""
  rng = np.random.default_rng([*stream, 0])
  while True:
    yield from rng.permutation(count).tolist()


def tight_boxes(masks: np.ndarray) -> np.ndarray:
  """bool [N,H,W] -> i64 [N,4]: (top, left, bottom, right) of what is true, half-open."""
  rows, columns = np.asarray(masks.any(2)), np.asarray(masks.any(1))
  ends = masks.shape[1] - rows[:, ::-1].argmax(1), masks.shape[2] - columns[:, ::-1].argmax(1)
  return np.stack([rows.argmax(1), columns.argmax(1), *ends], 1)


def warp(images: np.ndarray, middle: np.ndarray, scale: np.ndarray, angle: np.ndarray) -> np.ndarray:
  """Patches f32 [N,P,P,C] in [0, 1] of images u8 [N,H,W,C] that are turned and scaled about a point, which comes to the
  middle. The last channel is ink, which a patch holds all of.

  middle: [N,2], in pixels from the upper left corner of the image; scale: [N]; angle: [N], degrees counter-clockwise.
  """
  n, height, width, channels = images.shape
  side = _side(images[..., -1], middle, scale)
  out = np.empty((n, side, side, channels), np.float32)
  step = max(1, WARPED // (side**2 * channels))
  places = (height + 2) * (width + 2)
  padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(n * places, channels)
  offset = np.arange(side, dtype=np.float32) - (side - 1) / 2
  turn = np.deg2rad(angle.astype(np.float64))  # so that processors whose sines differ in the last bit give one image
  cos, sin = np.cos(turn) / scale, np.sin(turn) / scale
  for start in range(0, n, step):
    rows = slice(start, start + step)
    c, s = (part[rows, None, None].astype(np.float32) for part in (cos, sin))
    dy, dx = offset[:, None], offset[None, :]
    y, x = (part[:, None, None].astype(np.float32) + 0.5 for part in middle[rows].T)  # of the padded image's pixels
    y = np.clip(c * dy + s * dx + y, 0, height + 0.999)
    x = np.clip(c * dx - s * dy + x, 0, width + 0.999)
    top, left = y.astype(np.int32), x.astype(np.int32)
    y, x = ((part - whole).astype(np.float32)[..., None] for part, whole in ((y, top), (x, left)))
    first = top * (width + 2) + left + (np.arange(n)[rows] * places)[:, None, None]
    corners = [np.take(padded, first + shift, 0).astype(np.float32) for shift in (0, 1, width + 2, width + 3)]
    upper = corners[0] + x * (corners[1] - corners[0])
    lower = corners[2] + x * (corners[3] - corners[2])
    out[rows] = (upper + y * (lower - upper)) / 255
  return out


def _side(images: np.ndarray, middle: np.ndarray, scale: np.ndarray) -> int:
  """Side of a patch that holds each image's ink, however it is turned."""
  boxes = tight_boxes(images > 0)
  reach = np.maximum(np.abs(boxes[:, :2] - middle), np.abs(boxes[:, 2:] - middle))
  return 2 * int(np.ceil((np.hypot(*(reach.T + 1)) * scale).max(initial=1)))


def shared(canvas: Sequence[int], corner: np.ndarray, patch: Sequence[int]) -> tuple[Area, Area]:
  """(the area of a canvas of shape [H,W,...] that a patch [P,Q,...] covers, the part of the patch that lies on it).

  corner: where the upper left pixel of the patch comes to, which may be outside.
  """
  low = np.maximum(corner, 0)
  high = np.maximum(np.minimum(corner + np.asarray(patch[:2]), canvas[:2]), low)
  first, last = low - corner, high - corner
  return (slice(low[0], high[0]), slice(low[1], high[1])), (slice(first[0], last[0]), slice(first[1], last[1]))


def pure(hue: np.ndarray) -> np.ndarray:
  """[...,1] in any turn of the wheel -> [...,3]: red, green and blue of the hue, at full saturation."""
  return np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
