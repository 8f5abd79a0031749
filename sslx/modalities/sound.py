"""Sound: recordings i16 [B,T] of one channel, all as long as the longest; behind the end of a shorter one stands
RAW_PAD, so that its length travels with it.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from sslx.ops.sound import PAD, RAW_PAD, is_sound, log_mel
from sslx.types import Array, Modality, UserError

BANDS, WINDOW, HOP, DEPTH = 40, 0.032, 0.01, 60.0  # of a waveform's picture; seconds, decibels
COLUMNS = 200  # of the picture of a long waveform
BEHIND = 0.85  # the grey of what is behind the end, which no sound has
ASPECT = 2.5  # of width and height that no picture goes far beyond


def prepare(x: Array) -> Array:
  """i16 [...,T] -> f32 in (-1, 1], PAD behind the end; floating waveforms pass as they are."""
  if jnp.issubdtype(x.dtype, jnp.floating):
    return x.astype(jnp.float32)
  return x.astype(jnp.float32) / -RAW_PAD


def picture(x: np.ndarray, rate: int) -> np.ndarray:
  """Waveforms [B,T] of `rate` samples a second, or log-mel spectrograms [B,t,bands,1] -> images [B,H,W,3].

  Time goes to the right, low frequencies are at the bottom, what is behind the end is grey. A spectrogram is as it is,
  but for bands or frames that are drawn several times, so that none is a thin strip.
  """
  import matplotlib

  if x.ndim == 2:
    hop = max(round(rate * HOP), -(-x.shape[1] // COLUMNS))
    x = np.asarray(log_mel(jnp.asarray(x), rate, BANDS, max(round(rate * WINDOW), hop), hop, DEPTH))[..., None]
  sound = np.asarray(is_sound(jnp.asarray(x)))[:, None, :, None]  # [B,1,t,1]
  pixels = matplotlib.colormaps["magma"](np.clip(x[..., 0].swapaxes(1, 2)[:, ::-1], 0, 1))[..., :3]
  height, width = pixels.shape[1:3]
  higher, wider = max(1, round(width / height / ASPECT)), max(1, round(ASPECT * height / width))
  return np.where(sound, pixels, BEHIND).repeat(higher, axis=1).repeat(wider, axis=2)


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
