"""Images: u8 [B,H,W,C], grey (C = 1) or in colour (C = 3)."""

import jax.numpy as jnp
import numpy as np

from sslx.types import Array, Modality


def prepare(x: Array) -> Array:
  """u8 [...,H,W,C] in 0..255 -> f32 in [0, 1]; floating images pass as they are.

  Training and feature extraction share this one conversion, or probes would see other inputs than training did.
  """
  if jnp.issubdtype(x.dtype, jnp.floating):
    return x.astype(jnp.float32)
  return x.astype(jnp.float32) / 255.0


def picture(x: np.ndarray) -> np.ndarray:
  """An image is its own picture."""
  return np.clip(x, 0, 1)


IMAGE = Modality("image", prepare, picture)
