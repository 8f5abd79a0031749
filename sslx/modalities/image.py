"""Images: u8 [B,H,W,C], grey (C = 1) or in colour (C = 3)."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from sslx.types import Array, Modality, UserError

SLACK = 1e-3  # by which resizing and rounding take floats beyond [0, 1]


def prepare(x: Array) -> Array:
  """u8 [...,H,W,C] in 0..255 -> f32 in [0, 1]; floating images pass as they are.

  Training and feature extraction share this one conversion, or probes would see other inputs than training did.
  """
  if jnp.issubdtype(x.dtype, jnp.floating):
    return x.astype(jnp.float32)
  return x.astype(jnp.float32) / 255.0


def picture(x: np.ndarray, rate: int) -> np.ndarray:
  """An image is its own picture."""
  return np.clip(x, 0, 1)


def accept(x: Any) -> Any:
  """Images of numpy or jax as `prepare` takes them: u8, or floats in [0, 1]; other integers within 0..255 become u8.

  Raises:
    UserError: other values, such as floats in [0, 255], which `prepare` would take for very bright images.
  """
  if x.dtype == np.uint8:
    return x
  if x.dtype == np.bool_:
    raise UserError('x: images of True and False; multiply by 255: give x.astype("uint8") * 255.')
  whole = jnp.issubdtype(x.dtype, jnp.integer)
  if not whole and not jnp.issubdtype(x.dtype, jnp.floating):
    raise UserError(f"x: images of dtype {x.dtype}; give uint8 in 0..255, or floats in [0, 1].")
  if 0 in x.shape:
    return x.astype(np.uint8) if whole else x
  low, high = float(x.min()), float(x.max())
  if whole:
    if low >= 0 and high <= 255:
      return x.astype(np.uint8)
    cure = "divide by 257: give (x // 257)" if low >= 0 and x.dtype == np.uint16 else "scale them to 0..255, and give x"
    raise UserError(f'x: {x.dtype} images in [{low:g}, {high:g}]; {cure}.astype("uint8").')
  if not np.isfinite([low, high]).all():
    raise UserError("x: float images with values that are not finite (NaN or infinity).")
  if low < -SLACK or high > 1 + SLACK:
    if low >= 0 and high <= 255:
      raise UserError("x: float images in [0, 255]; give uint8, or divide by 255.")
    if low >= -1 - SLACK and high <= 1 + SLACK:
      raise UserError("x: float images in [-1, 1], expected [0, 1]; give (x + 1) / 2.")
    raise UserError(f"x: float images in [{low:.3g}, {high:.3g}], expected [0, 1]; undo what scaled them.")
  return x


IMAGE = Modality("image", prepare, picture, accept)
