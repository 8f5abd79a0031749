"""Winner-take-all sparsity: which activations survive is counted, not thresholded, so that ties cannot change it.

Makhzani, Frey: Winner-Take-All Autoencoders, NIPS 2015, arXiv 1409.2752, sections 2 and 3. The gradient goes to the
winners only.
"""

import jax
import jax.numpy as jnp

from sslx.types import Array


def winners(rate: float, batch: int) -> int:
  """How many of `batch` samples keep a unit: rate * batch, rounded, at least 1."""
  return max(1, round(rate * batch))


def lifetime(h: Array, rate: float) -> Array:
  """Keeps, for every unit, its `winners(rate, B)` largest activations across the batch; the others become 0.

  h [B,D]: a unit is a column. h [B,h,w,C]: a unit is a map, its activation the maximum over height and width, and a
  winner keeps its whole map. Exactly that many samples win also where activations tie: then the first ones.
  """
  strength = h.max((1, 2)) if h.ndim == 4 else h
  index = jax.lax.top_k(jax.lax.stop_gradient(strength).T, winners(rate, len(h)))[1]  # [D,k]; ties: the first
  unit = jnp.arange(len(index))[:, None]
  won = jnp.zeros(strength.shape, bool).at[index, unit].set(True)
  return jnp.where(won[:, None, None, :] if h.ndim == 4 else won, h, 0)


def spatial(h: Array) -> Array:
  """Keeps the one maximum of every map over height and width (of several the first), [B,h,w,C] -> [B,h,w,C]."""
  flat = h.reshape(len(h), -1, h.shape[-1])
  place = jax.lax.argmax(jax.lax.stop_gradient(flat), 1, jnp.int32)
  won = jnp.arange(flat.shape[1])[None, :, None] == place[:, None, :]
  return jnp.where(won, flat, 0).reshape(h.shape)
