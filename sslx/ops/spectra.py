"""Random changes of spectrograms, batched on the device: (key, f32 [B,t,bands,1] in [0,1], strength) -> the same shape.

Each spectrogram draws its own from `key`. Frames of padding stay PAD, and at strength 0 every operation returns its
input.
"""

import jax
import jax.numpy as jnp

from sslx.ops.sound import PAD, is_sound
from sslx.types import Array


def mask_frames(key: Array, x: Array, widest: int, count: int = 1) -> Array:
  """`count` stretches of up to `widest` frames become silent (SpecAugment's time masks: Park et al., 2019, arXiv
  1904.08779). They lie within the recording, and none is longer than half of it.
  """
  n = is_sound(x).sum(1)
  return _masked(key, x, widest, count, n, jnp.arange(x.shape[1])[:, None])


def mask_bands(key: Array, x: Array, widest: int, count: int = 1) -> Array:
  """`count` stretches of up to `widest` bands become silent (SpecAugment's frequency masks)."""
  n = jnp.full(len(x), x.shape[2])
  return _masked(key, x, widest, count, n, jnp.arange(x.shape[2])[None])


def _masked(key: Array, x: Array, widest: int, count: int, n: Array, places: Array) -> Array:
  """places: of an axis with n [B] of them, in the shape that one spectrogram [t,bands] broadcasts with."""
  for part in jax.random.split(key, count):
    width, start = jax.random.uniform(part, (2, len(x)))
    width = jnp.minimum(jnp.floor(width * (widest + 1)), n // 2)
    start = jnp.floor(start * (n - width + 1))[:, None, None]
    hidden = (places >= start) & (places < start + width[:, None, None])
    x = _put(x, jnp.where(hidden[..., None], 0.0, x))
  return x


def warp_bands(key: Array, x: Array, strength: float) -> Array:
  """The axis of the bands stretched or shrunk by a factor whose logarithm is uniform in +-log(1 + strength), as by a
  shorter or longer vocal tract (Jaitly, Hinton: Vocal Tract Length Perturbation, 2013; theirs is on the axis of
  frequencies). Bands from beyond the ends repeat the last.
  """
  factor = jnp.exp(jnp.log1p(strength) * jax.random.uniform(key, (len(x), 1), minval=-1, maxval=1))
  at = jnp.clip((jnp.arange(x.shape[2]) + 0.5) * factor - 0.5, 0, x.shape[2] - 1)
  return _put(x, _interpolated(x, at, axis=2))


def warp_frames(key: Array, x: Array, strength: float) -> Array:
  """Time runs faster here and slower there, by a factor whose logarithm has the standard deviation `strength` and
  changes smoothly, four times in a recording; its length stays.
  """
  n, t = is_sound(x).sum(1)[:, None], x.shape[1]
  pace = jnp.exp(strength * jax.random.normal(key, (len(x), 4)))
  reached = jnp.concatenate([jnp.zeros((len(x), 1)), pace.cumsum(1)], axis=1)
  reached = reached / reached[:, -1:] * (n - 1)
  step = (n - 1) / 4  # between the four knots, in frames
  place = jnp.clip(jnp.arange(t) / jnp.maximum(step, 1e-6), 0, 4)
  knot = jnp.minimum(place.astype(jnp.int32), 3)
  left, right = (jnp.take_along_axis(reached, knot + i, axis=1) for i in (0, 1))
  return _put(x, _interpolated(x, jnp.clip(left + (place - knot) * (right - left), 0, n - 1), axis=1))


def equalise(key: Array, x: Array, strength: float) -> Array:
  """A smooth curve over the bands is added, of standard deviation `strength`: a room, a microphone, a voice. What was
  silent stays silent.
  """
  curve = jax.image.resize(strength * jax.random.normal(key, (len(x), 5)), (len(x), x.shape[2]), "cubic")
  return _put(x, jnp.where(x > 0, jnp.clip(x + curve[:, None, :, None], 0, 1), x))


def _interpolated(x: Array, at: Array, axis: int) -> Array:
  """x [B,t,bands,1] at real places `at` [B,n] of an axis."""
  low = jnp.floor(at).astype(jnp.int32)
  shape = [len(x), 1, 1, 1]
  shape[axis] = at.shape[1]
  left, right = (
    jnp.take_along_axis(x, jnp.minimum(i, x.shape[axis] - 1).reshape(shape), axis=axis) for i in (low, low + 1)
  )
  return left + (at - low).reshape(shape) * (right - left)


def _put(x: Array, changed: Array) -> Array:
  return jnp.where(is_sound(x)[..., None, None], changed, PAD)
