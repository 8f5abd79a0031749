"""What becomes of masks and boxes where --image_size scales the shorter side of images and cuts the centre out.

Both follow the pixels of `sslx.data.images.square`. A pixel of a mask is of the class that is there in the original, so
that no class appears between two others. A box is cut at the edge, and left out where less than a quarter of its area
remains: of a person whose foot alone is left, nobody could say that it is one.
"""

import numpy as np
from PIL import Image

from sslx.data import images
from sslx.types import UserError

KEPT = 0.25  # of a box's area, at least


def square_mask(mask: np.ndarray, size: int) -> np.ndarray:
  """A mask u8 [H,W] as u8 [size,size]."""
  return np.asarray(images.square(Image.fromarray(mask), size, Image.Resampling.NEAREST))


def moved(height: int, width: int, size: int | None) -> tuple[np.ndarray, np.ndarray]:
  """(scale [2], offset [2]): the point (y, x) of a picture goes to scale * (y, x) + offset. size: None leaves all."""
  if size is None or (height, width) == (size, size):
    return np.ones(2), np.zeros(2)
  wide, tall, left, top = images.framed(width, height, size)
  return np.array([tall / height, wide / width]), np.array([-top, -left], np.float64)


def square_boxes(boxes: np.ndarray, height: int, width: int, size: int | None) -> np.ndarray:
  """Boxes [M,5] (class, top, left, bottom, right) of a picture, in its square: cut at its edges, and of these only the
  ones of which KEPT remains, [M',5]. size: None leaves all.
  """
  if size is None:
    return boxes
  scale, offset = moved(height, width, size)
  corners = boxes[:, 1:].reshape(-1, 2, 2) * scale + offset
  inside = corners.clip(0, size).astype(np.float32)
  kept = (_areas(inside) > 0) & (_areas(inside) >= KEPT * _areas(corners))
  return np.concatenate([boxes[:, :1], inside.reshape(-1, 4)], 1)[kept].astype(np.float32)


def padded(boxes: list[np.ndarray], most: int) -> np.ndarray:
  """Boxes [M',5] of each image as f32 [N,most,5]; rows that are none have class -1."""
  out = np.zeros((len(boxes), max(most, 1), 5), np.float32)
  out[..., 0] = -1
  for rows, given in zip(out, boxes, strict=True):
    rows[: len(given)] = given
  return out


def check_memory(name: str, shape: tuple[int, int, int], in_memory_limit: int) -> None:
  """Raises UserError for masks u8 of this shape [N,H,W] that are larger than the limit: they are held in memory."""
  size = int(np.prod(shape, dtype=np.int64))
  if size > in_memory_limit:
    n, height, width = shape
    raise UserError(
      f"{name}: {n} masks of {height}x{width} (height x width) take {size:,} bytes, more than "
      f"--in_memory_limit={in_memory_limit}; masks are held in memory: give a smaller --image_size, or raise the limit"
    )


def _areas(corners: np.ndarray) -> np.ndarray:
  return np.prod(corners[:, 1] - corners[:, 0], 1)
