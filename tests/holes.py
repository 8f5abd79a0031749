"""Holes, compiled."""

import functools

import jax
import numpy as np

from sslx.ops.holes import HOLES


@functools.cache
def hidden(hole: str, shape: tuple[int, ...], fraction: float, seed: int = 0) -> np.ndarray:
  """Which pixels are hidden, bool [B,H,W,1]."""
  return np.asarray(jax.jit(HOLES[hole], static_argnums=(1, 2))(jax.random.key(seed), shape, fraction))
