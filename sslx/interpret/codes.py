"""Codes: how the units of an encoder's last block are used.

A code is what the last block puts out: [N,D], or [N,h,w,D] of an encoder that ends in maps. Its units are its D
numbers, or its D maps. A unit's amplitude in an example is its value, or its map's value of largest magnitude.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sslx import nn
from sslx.compile import jit
from sslx.types import UserError

ACTIVE = 0.1  # of the code's scale: beyond that a unit counts as active
ROOM = 1 << 28  # bytes of codes held at once
EDGES = 1, 99  # percentiles of a unit's amplitudes that a walk goes between


def reader(representation: nn.Representation) -> Callable[[Any], Any]:
  """Raw x [B,...] -> the code, in evaluation mode: what the encoder's last block puts out, with its places."""
  encoder, params, stats = representation.encoder, representation.params, representation.stats

  def code(x: Any) -> Any:
    return nn.apply(encoder, params, stats, representation.prepare(x))[0][encoder.block_names[-1]]

  return jit(code)


def room(read: Callable[[Any], Any], x: np.ndarray) -> int:
  """How many codes fit into memory. x: one raw example [1,...]."""
  import jax

  return max(1, ROOM // (4 * jax.eval_shape(read, x).size))


def amplitudes(codes: np.ndarray) -> np.ndarray:
  """f32 [N,D] or [N,h,w,D] -> f32 [N,D]: every unit's value of largest magnitude, with its sign."""
  flat = codes.reshape(len(codes), -1, codes.shape[-1])
  return np.take_along_axis(flat, np.abs(flat).argmax(1)[:, None], 1)[:, 0]


def places(codes: np.ndarray) -> np.ndarray:
  """i64 [D]: where, of the h*w places, each unit's mean magnitude over images is largest; 0 for flat codes."""
  return np.abs(codes).reshape(len(codes), -1, codes.shape[-1]).mean(0).argmax(0)


class Statistics(NamedTuple):
  """How the units of a code are used, over N images. Per unit [D] unless said otherwise."""

  std: np.ndarray
  low: np.ndarray  # where a walk begins: the 1st percentile of the amplitudes, of maps 0 where that is less
  high: np.ndarray  # where it ends: the 99th, of maps 0 where that is more
  activity: np.ndarray  # fraction of the images in which the unit is active
  sparsity: np.ndarray  # lifetime sparsity in [0, 1]; 1 for a silent unit
  dead: np.ndarray  # bool: its amplitude is the same in every image
  population: np.ndarray  # [N]: fraction of the units that are active in each image
  scale: float  # 99th percentile of the magnitudes that are not 0


def statistics(amplitude: np.ndarray, maps: bool = False) -> Statistics:
  """Of amplitudes [N,D]; `maps`: of maps, which are rarely silent, so that walks along them begin at silence.

  Active: a magnitude above a tenth of the code's scale, so that it means something for codes that are never exactly 0.
  Lifetime sparsity: (1 - mean(|r|)^2 / mean(r^2)) / (1 - 1/N), 0 where all images excite a unit alike and 1 where a
  single one does (Vinje, Gallant: Sparse Coding and Decorrelation in Primary Visual Cortex During Natural Vision,
  2000).
  """
  r = np.abs(amplitude.astype(np.float64))
  scale = float(np.percentile(r[r > 0], 99)) if (r > 0).any() else 0.0
  active = r > ACTIVE * scale
  std = amplitude.std(0, dtype=np.float64)
  power = np.square(r).mean(0)
  ratio = np.divide(np.square(r.mean(0)), power, out=np.zeros_like(power), where=power > 0)
  low, high = np.percentile(amplitude, EDGES, axis=0)
  low, high = (np.minimum(low, 0), np.maximum(high, 0)) if maps else (low, high)
  sparsity = np.minimum((1 - ratio) / (1 - 1 / max(len(r), 2)), 1)
  return Statistics(std, low, high, active.mean(0), sparsity, std <= 1e-6 * scale, active.mean(1), scale)


def widest(stats: Statistics, count: int) -> list[int]:
  """The units whose amplitude varies most, most first; dead ones are left out unless there is no other."""
  order = [int(d) for d in np.argsort(-stats.std, kind="stable")]
  return [d for d in order if not stats.dead[d]][:count] or order[:1]


def check_dims(texts: Sequence[str], units: int) -> list[int]:
  """The numbers of --dims, in their order. Raises UserError for one that is no unit of the code."""
  for text in texts:
    if not text.strip().isdecimal() or len(text) > 18 or int(text) >= units:
      raise UserError(
        f"--dims={','.join(texts)}: {text.strip()!r} is no unit of this code; they are numbered 0 to {units - 1}."
      )
  return list(dict.fromkeys(int(text) for text in texts))
