"""What is remembered between steps without a gradient: moving averages of parameters, queues of embeddings."""

from typing import Any

import jax
import jax.numpy as jnp

from sslx.types import Array


def ema(target: Any, online: Any, tau: float | Array) -> Any:
  """tau * target + (1 - tau) * online, leaf by leaf: tau=1 keeps the target, tau=0 copies."""
  return jax.tree.map(lambda t, o: tau * t + (1 - tau) * o, target, online)


def rising(tau: float, step: Array, steps: int) -> Array:
  """tau at step 0, rising to 1 at `steps` along half a cosine and staying there (BYOL, Grill et al. 2020, section 3.2).

  steps 0: constant.
  """
  if steps == 0:
    return jnp.asarray(tau)
  done = jnp.minimum(step / steps, 1.0)
  return 1 - (1 - tau) * (jnp.cos(jnp.pi * done) + 1) / 2


def enqueue(queue: Array, keys: Array) -> Array:
  """queue [K,D] with `keys` [B,D] in front and as many of the oldest gone; no pointer, and B need not divide K.

  Written over a queue that is turned, so that on a mesh, where all devices have the queue, only keys are sent.
  """
  return jax.lax.dynamic_update_slice(jnp.roll(queue, len(keys), axis=0), keys[: len(queue)], (0, 0))
