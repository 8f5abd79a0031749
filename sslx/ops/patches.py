"""Images as grids of patches: pure (x) -> x, for any size of image."""

import jax.numpy as jnp

from sslx.types import Array


def patchify(image: Array, size: int) -> Array:
  """[B,H,W,C] -> [B,ceil(H/size),ceil(W/size),size*size*C]; the last row and column repeat where the image ends early.

  A patch's values run along rows, then columns, then channels.
  """
  b, height, width, channels = image.shape
  rows, columns = -(-height // size), -(-width // size)
  image = jnp.pad(image, ((0, 0), (0, rows * size - height), (0, columns * size - width), (0, 0)), "edge")
  image = image.reshape(b, rows, size, columns, size, channels)
  return image.swapaxes(2, 3).reshape(b, rows, columns, size * size * channels)


def unpatchify(patches: Array, size: int, image_shape: tuple[int, ...]) -> Array:
  """[B,h,w,size*size*C] -> [B,H,W,C], the inverse of `patchify`; image_shape is (H,W,C)."""
  b, rows, columns, _ = patches.shape
  height, width, channels = image_shape
  image = patches.reshape(b, rows, columns, size, size, channels).swapaxes(2, 3)
  return image.reshape(b, rows * size, columns * size, channels)[:, :height, :width]
