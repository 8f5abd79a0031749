"""Polygons to masks."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

_FINE = 4  # dots to a pixel's side: Pillow draws to whole dots, edges included, and a pixel is what its middle dot is


def fill(mask: np.ndarray, polygons: Sequence[np.ndarray], value: int) -> None:
  """Sets the pixels of mask u8 [H,W] to `value` whose centre is in one of the polygons.

  polygons: [P,2] each, of points (y, x) in pixels: the first pixel is from 0 to 1. They may leave the mask.
  """
  points = np.concatenate(polygons)
  size = np.array(mask.shape)
  low, high = np.floor(points.min(0)).clip(0, size).astype(int), np.ceil(points.max(0)).clip(0, size).astype(int)
  height, width = high - low
  if not height * width:
    return
  dots = Image.new("L", (int(width) * _FINE, int(height) * _FINE))
  draw = ImageDraw.Draw(dots)
  for polygon in polygons:
    draw.polygon([(int(x), int(y)) for y, x in np.rint((polygon - low) * _FINE)], fill=1)
  inside = np.asarray(dots)[_FINE // 2 :: _FINE, _FINE // 2 :: _FINE] > 0
  mask[low[0] : high[0], low[1] : high[1]][inside] = value
