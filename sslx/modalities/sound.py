"""Sound: recordings i16 [B,T] of one channel, all as long as the longest; behind the end of a shorter one stands
RAW_PAD, so that its length travels with it.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from sslx.ops.sound import PAD, RAW_PAD
from sslx.types import Array, Modality, UserError


def prepare(x: Array) -> Array:
  """i16 [...,T] -> f32 in (-1, 1], PAD behind the end; floating waveforms pass as they are."""
  if jnp.issubdtype(x.dtype, jnp.floating):
    return x.astype(jnp.float32)
  return x.astype(jnp.float32) / -RAW_PAD


def picture(x: np.ndarray) -> np.ndarray:
  """Log-mel spectrograms [B,t,bands,1] or waveforms [B,T] -> images [B,H,W,3]: time goes to the right, low frequencies
  are at the bottom.
  """
  import matplotlib

  from sslx.ops.sound import log_mel

  x = np.asarray(log_mel(jnp.asarray(x), 8000, 40, 256, 80, 80.0))[..., None] if x.ndim == 2 else x
  return matplotlib.colormaps["magma"](np.clip(x[..., 0].swapaxes(1, 2)[:, ::-1], 0, 1))[..., :3]


def accept(x: Any) -> Any:
  """Recordings of numpy or jax as `prepare` takes them: i16, or floats in (-1, 1], with PAD behind their ends.

  Raises:
    UserError: other values.
  """
  if x.dtype == np.int16:
    return x
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise UserError(f"x: recordings of dtype {x.dtype}; give int16, or floats in [-1, 1].")
  if 0 in x.shape:
    return x
  low, high = float(x.min()), float(x.max())
  if not np.isfinite([low, high]).all():
    raise UserError("x: recordings with values that are not finite (NaN or infinity).")
  if low < PAD or high > 1:
    raise UserError(f"x: recordings in [{low:.3g}, {high:.3g}], expected [-1, 1]; give int16, or divide by 32768.")
  return x


SOUND = Modality("sound", prepare, picture, accept)
