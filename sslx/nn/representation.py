"""A trained encoder and how its features are read: the one door to features."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from sslx.compile import jit
from sslx.nn.core import apply
from sslx.nn.encoder import Encoder
from sslx.types import Array, brief


class Representation(NamedTuple):
  """Raw x [B,...] -> features f32 [B,D], or [B,h,w,D] of maps, in evaluation mode and float32. Jitted; one compilation
  for all weights of an architecture.
  """

  encoder: Encoder
  reading: str
  """Of which blocks, and how: see `sslx.nn.features`."""
  params: dict[str, Any]
  stats: dict[str, Any]
  prepare: Callable[[Array], Array]
  """Of the modality that the encoder reads."""
  check: Callable[[Any], Any] | None = None
  """What looks at x before anything is computed, where it comes from someone's hands: see `sslx.load_encoder`."""

  __repr__ = brief

  def __call__(self, x: Any) -> Array:
    """Raw x [B,...] -> features f32 [B,D]; B may be 0."""
    x = x if self.check is None else self.check(x)
    features, given = _reader(self.encoder, self.reading, self.prepare), (self.params, self.stats, x)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(given)):
      return features.__wrapped__(*given)  # compiler options are the outermost jit's alone, and that is someone else's
    if not len(x):  # layers do not flatten what is empty
      one = jax.eval_shape(features, self.params, self.stats, jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype))
      return jnp.zeros((0, *one.shape[1:]), one.dtype)
    return features(*given)

  @property
  def is_map(self) -> bool:
    """Whether its features are maps [B,h,w,D]."""
    return self.reading.startswith("maps")

  @property
  def size(self) -> int:
    """Number of the encoder's parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(self.params))

  def holding(self, params: dict[str, Any], stats: dict[str, Any]) -> "Representation":
    """The same encoder and reading with other weights."""
    return self._replace(params=params, stats=stats)


@functools.lru_cache(maxsize=16)  # so that methods compared on one encoder share what was compiled
def _reader(encoder: Encoder, reading: str, prepare: Callable[[Array], Array]) -> Any:
  plain = encoder.clone(precision="float32")

  def features(params: dict, stats: dict, x: Array) -> Array:
    x = prepare(x)
    return plain.read(apply(plain, params, stats, x)[0], reading, x)

  return jit(features)
