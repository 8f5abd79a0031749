"""Walks through a code, and what a decoder makes of them.

Setting a unit to an amplitude a: a number becomes a; a map is scaled so that its largest magnitude becomes a, which
keeps where the image has it. A map that is silent in the image gets a at the one place where it is strongest on
average.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sslx.compile import jit
from sslx.types import Params, State

Decode = Callable[[np.ndarray], np.ndarray]
"""codes [B,...] -> images f32 [B,H,W,C] in [0, 1]."""

CHUNK = 64  # codes that are decoded at once


def decoder(decode: Callable[..., Any], params: Params, state: State, x_shape: Sequence[int]) -> Decode:
  """A method's `decode` on any number of codes, a part of them at a time."""

  @jit
  def decode_chunk(code: Any) -> Any:
    with jax.default_matmul_precision("highest"):  # the browser's numbers are compared with these
      return decode(params, state, code, tuple(x_shape))

  def decode_all(codes: np.ndarray) -> np.ndarray:
    padded = np.concatenate([codes, np.zeros((-len(codes) % CHUNK, *codes.shape[1:]), codes.dtype)])
    made = [np.asarray(decode_chunk(padded[i : i + CHUNK])) for i in range(0, len(padded), CHUNK)]
    return np.concatenate(made)[: len(codes)]

  return decode_all


def set_unit(code: np.ndarray, unit: int, values: Any, place: int) -> np.ndarray:
  """Codes [K,...]: one code [D] or [h,w,D] with `unit` set to each amplitude of `values` [K]; see the module's head."""
  values = np.asarray(values, code.dtype)
  out = np.repeat(code[None], len(values), 0)
  flat = out.reshape(len(values), -1, code.shape[-1])
  flat[:, :, unit] = values[:, None] * unit_map(code, unit, place)
  return out


def unit_map(code: np.ndarray, unit: int, place: int) -> np.ndarray:
  """[h*w]: what `unit` looks like in this code at amplitude 1."""
  values = code.reshape(-1, code.shape[-1])[:, unit]
  amplitude = values[np.abs(values).argmax()]
  if amplitude == 0:
    return np.eye(len(values), dtype=code.dtype)[place]
  return values / amplitude


def sweep(decode: Decode, codes: np.ndarray, unit: int, values: np.ndarray, place: int) -> np.ndarray:
  """Images [B,K,H,W,C]: each of the codes [B,...] with `unit` at each of `values` [K]."""
  steps = np.concatenate([set_unit(code, unit, values, place) for code in codes])
  images = decode(steps)
  return images.reshape(len(codes), len(values), *images.shape[1:])


def between(first: np.ndarray, second: np.ndarray, steps: int) -> np.ndarray:
  """Codes [steps,...] on the straight line from `first` to `second`, both included."""
  share = np.linspace(0, 1, steps, dtype=first.dtype).reshape(-1, *[1] * first.ndim)
  return (1 - share) * first + share * second


def tour(codes: np.ndarray, steps: int) -> np.ndarray:
  """Codes [B*steps,...] through all of `codes` and back to the first, `steps` from one to the next."""
  return np.concatenate([between(a, b, steps + 1)[:-1] for a, b in zip(codes, np.roll(codes, -1, 0), strict=True)])
