"""What every model sees: raw images as float32 in [0, 1]."""

import jax.numpy as jnp

from sslx.types import Array


def to_float(image: Array) -> Array:
  """u8 [..., H, W, C] in 0..255 -> f32 in [0, 1]; floating images pass as they are.

  Training (`transform`) and probing (`encode`) share this one conversion, or probes would see other inputs than
  training did.
  """
  if jnp.issubdtype(image.dtype, jnp.floating):
    return image.astype(jnp.float32)
  return image.astype(jnp.float32) / 255.0
