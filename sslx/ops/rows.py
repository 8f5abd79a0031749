"""Rows of a batch: several of each example side by side, and the largest values of each.

On a mesh of devices the rows of a batch are shared out, the first ones to the first device (`sslx.training.parallel`).
What is laid out here stays with the device that has its example; what is concatenated does not.
"""

import jax
import jax.numpy as jnp

from sslx.types import Array


def interleave(*parts: Array) -> Array:
  """n arrays [B,...] -> [nB,...]: the first row of each, then the second row of each, and so on."""
  return jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])


def deinterleave(rows: Array, n: int) -> tuple[Array, ...]:
  """[nB,...] -> the n arrays [B,...] that `interleave` made it of."""
  apart = rows.reshape(-1, n, *rows.shape[1:])
  return tuple(apart[:, i] for i in range(n))


def top_k(x: Array, k: int) -> tuple[Array, Array]:
  """`jax.lax.top_k` along the last axis of [...,N], for a small k: the k largest values, none of them -inf, the
  largest first, and where they are. Of equal ones the first comes first.

  In k passes over x, since for its own XLA sends all rows to all devices (jaxlib 0.10). On the CPU that is taken for
  k > 1 nevertheless: it takes half as long for 5 of 261 values, and for one of them twice as long.
  """
  if k == 1:
    return _in_passes(x, k)
  values, index = jax.lax.platform_dependent(
    x, cpu=lambda x: tuple(jax.lax.top_k(x, k)), default=lambda x: _in_passes(x, k)
  )
  return values, index


def _in_passes(x: Array, k: int) -> tuple[Array, Array]:
  place, values, index = jnp.arange(x.shape[-1], dtype=jnp.int32), [], []
  for _ in range(k):
    values.append(x.max(-1, keepdims=True))
    index.append(jnp.where(x == values[-1], place, x.shape[-1] - 1).min(-1, keepdims=True))
    x = jnp.where(place == index[-1], -jnp.inf, x)
  return jnp.concatenate(values, axis=-1), jnp.concatenate(index, axis=-1)
