"""Reading features from an encoder's blocks, as the flag --features says:

[BLOCK:]flatten | pool | gridN (mean over a grid of N cells a side) | maxN (maximum) | timeN (mean over N cells of the
first axis alone, which is time in sound) | moments, or BLOCK; several joined by +; no BLOCK: the last one; BLOCK all:
every one; @1 or @2 at its end: the first or second half of the channels only. N: up to 9999. Or, for tasks that answer
for places, mapsN: the maps of all blocks side by side, a place for every N pixels (of axes of places in general).
"""

import functools
import math
import re
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from sslx import options
from sslx.ops import sound
from sslx.ops.patches import extended
from sslx.ops.pool import grid_pool
from sslx.types import Array, Refusal, UserError

MAPS = r"maps0{0,9}[1-9][0-9]{0,3}"
ALL = "all"  # every block


def check_reading(spec: str, block_names: Sequence[str]) -> list[tuple[str, str]]:
  """`block2:grid3+block3@1` -> [(block, how)], here [("block2", "grid3"), ("block3", "flatten@1")].

  Raises:
    UserError: unknown block or reading, with the nearest names.
  """
  parts = []
  if re.fullmatch(MAPS, spec):
    return [(block, spec) for block in block_names]
  for part in spec.split("+"):
    whole, at, half = part.partition("@")
    block, sign, how = whole.partition(":")
    if not sign:
      block, how = (whole, "flatten") if whole in (*block_names, ALL) else (block_names[-1], whole)
    if block not in (*block_names, ALL):
      raise UserError(f"--features={spec}: this encoder has no block {block!r}.{options.nearest(block, block_names)}")
    if not re.fullmatch(r"flatten|pool|moments|(grid|max|time)0{0,9}[1-9][0-9]{0,3}", how):
      known = [*block_names, "flatten", "pool", "grid2", "max2", "time2", "moments"]
      raise UserError(f"--features={spec}: {how!r} is neither a block nor a reading.{options.nearest(how, known)}")
    if at and half not in ("1", "2"):
      raise UserError(f"--features={spec}: @{half}: a block's channels have two halves, @1 and @2.")
    parts += [(name, how + at + half) for name in (block_names if block == ALL else (block,))]
  return parts


def read(outputs: Mapping[str, Array], spec: str, places: Sequence[int] = (), share: Array | None = None) -> Array:
  """Block outputs [B,...,C] -> features [B,D], read over places: all axes but the first and the last. A block without
  places, [B,C], reads the same in every way. Of `mapsN`: [B,h,w,D].

  places: how many there are in the signal itself, such as (H, W) of an image; `mapsN` alone needs them.
  share: f32 [B]: how much of the first axis of places is signal, the rest being padding, which is not read: flatten
    gives 0 there, and a grid's cells divide each example's own length among them.
  """
  if re.fullmatch(MAPS, spec):
    return maps(list(outputs.values()), [-(-size // int(spec[4:])) for size in places])

  def read_block(x: Array, how: str) -> Array:
    how, _, half = how.partition("@")
    if half:
      middle = x.shape[-1] // 2
      x = x[..., :middle] if half == "1" else x[..., middle:]
    timed = None if x.ndim == 2 else share
    if how == "moments":
      return moments(x, timed)
    if how != "flatten":
      cells, reduce = int(re.sub(r"\D", "", how) or 1), jnp.max if how.startswith("max") else jnp.mean
      rest = x.shape[2:] if how.startswith("time") and x.ndim > 2 else ()
      x = grid_pool(x.reshape(*x.shape[:2], -1) if rest else x, cells, reduce, timed)
    elif timed is not None:
      x = jnp.where(sound.places(timed, x.shape[1]).reshape(*x.shape[:2], *[1] * (x.ndim - 2)) > 0, x, 0)
    return x.reshape(x.shape[0], -1)

  return jnp.concatenate([read_block(outputs[b], how) for b, how in check_reading(spec, list(outputs))], axis=1)


def maps(outputs: Sequence[Array], size: Sequence[int]) -> Array:
  """The maps [B,h,w,C] among blocks' outputs, each brought to `size` (h', w') and side by side, [B,h',w',D]: finer ones
  by the mean of what falls together, coarser ones by linear interpolation.

  Raises:
    Refusal: none of the blocks has a map.
  """
  found = [x for x in outputs if x.ndim == 2 + len(size)]
  if not found:
    raise Refusal("--encoder: its blocks have no maps, which this task reads; try --encoder=conv.")
  axes = range(1, 1 + len(size))
  sized = [functools.reduce(lambda x, axis: _resized(x, axis, size[axis - 1]), axes, x) for x in found]
  return jnp.concatenate(sized, axis=-1)


def _resized(x: Array, axis: int, n: int) -> Array:
  """x with n places along an axis.

  Where a map is finer or coarser by a whole number, but for the last place, this is kept to: a block that halves an odd
  size rounds up, and its places stay where their pixels are.
  """
  old = x.shape[axis]
  window, times = -(-old // n), -(-n // old)
  if -(-old // window) == n:
    x = extended(x, axis, n * window - old)
    return x.reshape(*x.shape[:axis], n, window, *x.shape[axis + 1 :]).mean(axis + 1)
  length = times * old if -(-n // times) == old else n
  larger = jax.image.resize(x, (*x.shape[:axis], length, *x.shape[axis + 1 :]), "linear")
  return jax.lax.slice_in_dim(larger, 0, n, axis=axis)


def moments(x: Array, share: Array | None = None) -> Array:
  """Block outputs [B,...,C] -> [B,(1+P) C]: of each channel the mean, and the centre of mass along each of the P axes
  of places, in [-1, 1]; 0 is the middle, and what a channel without any mass says.

  The mass of a place is the square of what it has above the channel's mean: the mean is what a channel says of the
  background, which would draw every centre to the middle, and squares keep to the highest places (R2 of positions
  +0.02 on held-out training scenes).
  """
  axes = tuple(range(1, x.ndim - 1))
  if not axes:
    return x
  share = jnp.ones(x.shape[0]) if share is None else share
  there = sound.places(share, x.shape[1]).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
  weight = there / (there.sum(1, keepdims=True) * math.prod(x.shape[2:-1]))
  mean = (x * weight).sum(axes, keepdims=True)
  mass = jnp.square(jax.nn.relu(x - mean)) * there
  total = mass.sum(axes)
  centres = []
  for axis in axes:
    n = x.shape[axis] * (share if axis == 1 else jnp.ones_like(share))
    place = (2 * jnp.arange(x.shape[axis]) + 1) / n[:, None] - 1
    place = place.reshape(x.shape[0], *[x.shape[axis] if i == axis else 1 for i in range(1, x.ndim)])
    centres.append((mass * place).sum(axes) / (total + 1e-6))
  return jnp.concatenate([mean.reshape(x.shape[0], -1), *centres], axis=1)
