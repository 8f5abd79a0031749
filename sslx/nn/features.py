"""Reading features from an encoder's blocks, as the flag --features says:

[BLOCK:]flatten | pool | gridN (mean over a grid of N cells a side) | maxN (maximum), or BLOCK; several joined by +; no
BLOCK: the last one; @1 or @2 at its end: the first or second half of the channels only. N: up to 9999.
"""

import re
from collections.abc import Mapping, Sequence

import jax.numpy as jnp

from sslx import options
from sslx.ops.pool import grid_pool
from sslx.types import Array, UserError


def check_reading(spec: str, block_names: Sequence[str]) -> list[tuple[str, str]]:
  """`block2:grid3+block3@1` -> [(block, how)], here [("block2", "grid3"), ("block3", "flatten@1")].

  Raises:
    UserError: unknown block or reading, with the nearest names.
  """
  parts = []
  for part in spec.split("+"):
    whole, at, half = part.partition("@")
    block, sign, how = whole.partition(":")
    if not sign:
      block, how = (whole, "flatten") if whole in block_names else (block_names[-1], whole)
    if block not in block_names:
      raise UserError(f"--features={spec}: this encoder has no block {block!r}.{options.nearest(block, block_names)}")
    if not re.fullmatch(r"flatten|pool|(grid|max)0{0,9}[1-9][0-9]{0,3}", how):
      known = [*block_names, "flatten", "pool", "grid2", "max2"]
      raise UserError(f"--features={spec}: {how!r} is neither a block nor a reading.{options.nearest(how, known)}")
    if at and half not in ("1", "2"):
      raise UserError(f"--features={spec}: @{half}: a block's channels have two halves, @1 and @2.")
    parts.append((block, how + at + half))
  return parts


def read(outputs: Mapping[str, Array], spec: str) -> Array:
  """Block outputs [B,...,C] -> features [B,D], read over places: all axes but the first and the last. A block without
  places, [B,C], reads the same in every way.
  """

  def read_block(x: Array, how: str) -> Array:
    how, _, half = how.partition("@")
    if half:
      middle = x.shape[-1] // 2
      x = x[..., :middle] if half == "1" else x[..., middle:]
    if how != "flatten":
      x = grid_pool(x, int(re.sub(r"\D", "", how) or 1), jnp.max if how.startswith("max") else jnp.mean)
    return x.reshape(len(x), -1)

  return jnp.concatenate([read_block(outputs[b], how) for b, how in check_reading(spec, list(outputs))], axis=1)
