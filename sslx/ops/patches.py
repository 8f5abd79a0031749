"""Images as grids of patches: pure (x) -> x, for any size of image."""

import jax
import jax.numpy as jnp

from sslx.types import Array


def patchify(image: Array, size: int) -> Array:
  """[B,H,W,C] -> [B,ceil(H/size),ceil(W/size),size*size*C]; the last row and column repeat where the image ends early.

  A patch's values run along rows, then columns, then channels.
  """
  b, height, width, channels = image.shape
  rows, columns = -(-height // size), -(-width // size)
  image = extended(extended(image, 1, rows * size - height), 2, columns * size - width)
  image = image.reshape(b, rows, size, columns, size, channels)
  return image.swapaxes(2, 3).reshape(b, rows, columns, size * size * channels)


def extended(x: Array, axis: int, n: int) -> Array:
  """x with its last place along an axis n times more; as it is for 0.

  What `jnp.pad(mode="edge")` gives. That also pads by nothing in front, for which not every format of exported programs
  has words.
  """
  if not n:
    return x
  last = jax.lax.slice_in_dim(x, x.shape[axis] - 1, x.shape[axis], axis=axis)
  return jnp.concatenate([x, *[last] * n], axis=axis)


def unpatchify(patches: Array, size: int, image_shape: tuple[int, ...]) -> Array:
  """[B,h,w,size*size*C] -> [B,H,W,C], the inverse of `patchify`; image_shape is (H,W,C)."""
  b, rows, columns, _ = patches.shape
  height, width, channels = image_shape
  image = patches.reshape(b, rows, columns, size, size, channels).swapaxes(2, 3)
  return image.reshape(b, rows * size, columns * size, channels)[:, :height, :width]
