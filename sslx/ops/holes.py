"""Which part of an image is hidden: (key, image shape (B,H,W,...), fraction) -> bool [B,H,W,1], True where hidden.

Centre, random blocks and random shapes are those of Pathak, Krähenbühl, Donahue, Darrell, Efros: Context Encoders,
CVPR 2016, section 3.3 (their shapes are outlines of objects in PASCAL VOC, ours smooth noise); bottom and right are
"predict one half from the other". Every image draws its own hole. At least one pixel is hidden, at least one visible.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from sslx.types import Array, UserError

RECTANGLES = 5
CELLS = 4  # the noise of `shapes` has this many independent values along each side


def check_fraction(fraction: float) -> None:
  """Raises UserError unless something is hidden and something is left."""
  if not 0 < fraction < 1:
    raise UserError(f"--hp=fraction={fraction:g}: must be in (0, 1): the hidden part of the image.")


def centre(key: Array, image_shape: tuple[int, ...], fraction: float) -> Array:
  """One rectangle in the middle, the same for all: sqrt(fraction) of the height, and the width that fits best."""
  b, height, width = image_shape[:3]
  h = _some(height, math.sqrt(fraction))
  w = min(max(round(fraction * height * width / h), 1), width - (h == height))
  top, left = (height - h) // 2, (width - w) // 2
  hidden = np.zeros((1, height, width, 1), bool)
  hidden[:, top : top + h, left : left + w] = True
  return jnp.broadcast_to(hidden, (b, height, width, 1))


def blocks(key: Array, image_shape: tuple[int, ...], fraction: float) -> Array:
  """Five random rectangles that may overlap and stick out of the image.

  Each of them covers every pixel with the same probability 1 - (1 - fraction)^(1/5), so that every pixel is hidden
  with probability `fraction`: the hidden part of one image varies, its mean over images is exact. (Where nothing or
  everything would be hidden, as may be on tiny images, the middle pixel is the exception.)
  """
  b, height, width = image_shape[:3]
  p = 1 - (1 - fraction) ** (1 / RECTANGLES)
  aspect, rows, columns = jax.random.uniform(key, (3, b, RECTANGLES))
  share = 0.3 + 0.4 * aspect  # the probability that a row is covered is p^share, a column p^(1 - share)

  def along(size: int, covered: Array, place: Array) -> Array:
    """bool [B,rectangles,size]: centres uniform wherever the interval, of real length, can touch the image."""
    length = covered * (size - 1) / (1 - covered)
    centre = -length / 2 + place * (size - 1 + length)
    return jnp.abs(jnp.arange(size) - centre[..., None]) < length[..., None] / 2

  row, column = along(height, p**share, rows), along(width, p ** (1 - share), columns)
  hidden = (row[..., :, None] & column[..., None, :]).any(1)
  middle = jnp.zeros((height, width), bool).at[height // 2, width // 2].set(True)  # rare, on tiny images
  any_, all_ = hidden.any((1, 2), keepdims=True), hidden.all((1, 2), keepdims=True)
  return ((hidden | (~any_ & middle)) & ~(all_ & middle))[..., None]


def shapes(key: Array, image_shape: tuple[int, ...], fraction: float) -> Array:
  """Where smooth noise is lowest: one or a few round patches. Of H W pixels round(fraction H W) are hidden."""
  b, height, width = image_shape[:3]
  noise = jax.image.resize(jax.random.normal(key, (b, CELLS, CELLS)), (b, height, width), "cubic").reshape(b, -1)
  count = _some(height * width, fraction)
  level = (noise * 2**26).astype(jnp.int32)  # the CPU sorts integers five times as fast
  hidden = level <= jnp.sort(level)[:, count - 1, None]
  return hidden.reshape(b, height, width, 1)


def bottom(key: Array, image_shape: tuple[int, ...], fraction: float) -> Array:
  """The lowest round(fraction H) rows."""
  b, height, width = image_shape[:3]
  hidden = jnp.arange(height) >= height - _some(height, fraction)
  return jnp.broadcast_to(hidden[None, :, None, None], (b, height, width, 1))


def right(key: Array, image_shape: tuple[int, ...], fraction: float) -> Array:
  """The last round(fraction W) columns."""
  b, height, width = image_shape[:3]
  hidden = jnp.arange(width) >= width - _some(width, fraction)
  return jnp.broadcast_to(hidden[None, None, :, None], (b, height, width, 1))


def frames(key: Array, image_shape: tuple[int, ...], fraction: float) -> Array:
  """round(fraction H) rows, one below the other, anywhere: a stretch of a spectrogram's time."""
  b, height, width = image_shape[:3]
  return jnp.broadcast_to(_stretch(key, b, height, fraction)[:, :, None, None], (b, height, width, 1))


def bands(key: Array, image_shape: tuple[int, ...], fraction: float) -> Array:
  """round(fraction W) columns, side by side, anywhere: some of a spectrogram's frequencies."""
  b, height, width = image_shape[:3]
  return jnp.broadcast_to(_stretch(key, b, width, fraction)[:, None, :, None], (b, height, width, 1))


def _stretch(key: Array, b: int, size: int, fraction: float) -> Array:
  """bool [b,size]: one stretch each, anywhere."""
  length = _some(size, fraction)
  start = jax.random.randint(key, (b, 1), 0, size - length + 1)
  return (jnp.arange(size) >= start) & (jnp.arange(size) < start + length)


def _some(size: int, fraction: float) -> int:
  """round(fraction * size), but neither none nor all."""
  return min(max(round(fraction * size), 1), size - 1)


HOLES = {
  "bands": bands, "blocks": blocks, "bottom": bottom, "centre": centre, "frames": frames, "right": right,
  "shapes": shapes,
}  # fmt: skip
