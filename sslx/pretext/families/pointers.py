"""Places of a frame that point at places of other frames, by a softmax over what their features have in common."""

import jax
import jax.numpy as jnp
import numpy as np

from sslx.types import Array


def pointers(target: Array, references: Array, temperature: float, window: int) -> Array:
  """Unit features [B,h,w,D] and [B,R,h,w,D] -> A [B, h w, R h w], whose rows sum to 1."""
  b, r, h, w, d = references.shape
  scores = target.reshape(b, h * w, d) @ references.reshape(b, r * h * w, d).swapaxes(1, 2) / temperature
  if window:
    scores = jnp.where(np.tile(near(h, w, window), (1, r)), scores, -jnp.inf)
  return jax.nn.softmax(scores, axis=-1)


def near(h: int, w: int, window: int) -> np.ndarray:
  """bool [h w, h w]: which places are at most `window` rows and columns from each other."""
  row, column = (a.ravel() for a in np.indices((h, w)))
  return (abs(row[:, None] - row) <= window) & (abs(column[:, None] - column) <= window)


def copied(a: Array, values: Array) -> Array:
  """A [B, h w, R h w], values [B,R,h,w,K] -> [B, h w, K]."""
  return a @ values.reshape(len(a), -1, values.shape[-1])
