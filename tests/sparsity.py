"""Winners found by hand: what the tests of sparse codes compare with."""

import numpy as np


def codes(shape, kind="normal", seed=0):
  rng = np.random.default_rng(seed)
  if kind == "ties":
    return rng.integers(0, 3, shape).astype(np.float32)
  h = rng.standard_normal(shape).astype(np.float32)
  if kind == "negative":
    return -np.abs(h)
  return np.maximum(h - 1.5, 0) if kind == "relu" else h  # most of them 0


def naive_lifetime(h, rate):
  """Which entries survive: per unit the first k of the samples sorted from strong to weak."""
  k, won = max(1, round(rate * len(h))), np.zeros(h.shape, bool)
  for unit in range(h.shape[-1]):
    strength = [float(np.max(h[sample, ..., unit])) for sample in range(len(h))]
    for sample in sorted(range(len(h)), key=lambda i: (-strength[i], i))[:k]:
      won[sample, ..., unit] = True
  return won


def naive_spatial(h):
  won = np.zeros(h.shape, bool)
  for sample in range(len(h)):
    for unit in range(h.shape[-1]):
      row, column = np.unravel_index(np.argmax(h[sample, :, :, unit]), h.shape[1:3])
      won[sample, row, column, unit] = True
  return won
