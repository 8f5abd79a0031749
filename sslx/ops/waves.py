"""Random changes of recordings, batched on the device: (key, prepared waveforms f32 [B,T], strength) -> the same shape.

Each recording draws its own from `key`. What lies behind a recording's end is PAD before and after, and at strength 0
every operation returns its input.
"""

import jax
import jax.numpy as jnp

from sslx.ops.sound import PAD, is_sound
from sslx.types import Array

LOUDEST = 1 - 2**-15  # of a sample: -1 is PAD


def gain(key: Array, x: Array, decibels: float) -> Array:
  """Louder or quieter by up to `decibels`; what would be too loud is clipped."""
  drawn = jax.random.uniform(key, (len(x), 1), minval=-decibels, maxval=decibels)
  return _put(x, x * 10 ** (drawn / 20))


def noise(key: Array, x: Array, level: float) -> Array:
  """White noise, whose root mean square is `level` times the recording's at most and a hundredth of that at least: its
  logarithm is uniform.
  """
  keys = jax.random.split(key)
  sound = is_sound(x)
  power = jnp.where(sound, jnp.square(x), 0).sum(1, keepdims=True) / jnp.maximum(sound.sum(1, keepdims=True), 1)
  share = level * 10 ** jax.random.uniform(keys[0], (len(x), 1), minval=-2.0, maxval=0.0)
  return _put(x, x + share * jnp.sqrt(power) * jax.random.normal(keys[1], x.shape))


def speed(key: Array, x: Array, strength: float) -> Array:
  """Played faster or slower, by a factor whose logarithm is uniform in +-log(1 + strength): pitch and all frequencies
  move with it, and its length against it. What does not fit any more is cut.
  """
  factor = jnp.exp(jnp.log1p(strength) * jax.random.uniform(key, (len(x),), minval=-1, maxval=1))
  return played(x, jnp.zeros(len(x)), factor, is_sound(x).sum(1))


def crop(key: Array, x: Array, keep: float) -> Array:
  """A stretch from anywhere in it, of at least the share `keep` of its length."""
  keys, length = jax.random.split(key), is_sound(x).sum(1)
  kept = jnp.ceil(length * jax.random.uniform(keys[0], (len(x),), minval=keep, maxval=1.0))
  start = jnp.floor((length - kept) * jax.random.uniform(keys[1], (len(x),)))
  return played(x, start, jnp.ones(len(x)), start + kept)


def shift(key: Array, x: Array, strength: float) -> Array:
  """Later by up to `strength` of its length, with silence in front; what does not fit any more is cut."""
  length = is_sound(x).sum(1)
  delay = jnp.floor(strength * length * jax.random.uniform(key, (len(x),)))
  moved = played(x, -delay, jnp.ones(len(x)), length)
  return jnp.where(jnp.arange(x.shape[1]) < delay[:, None], 0.0, moved)


def played(x: Array, start: Array, factor: Array, end: Array) -> Array:
  """What is heard from sample `start` to before `end`, at `factor` samples each, f32 [B]: by linear interpolation, PAD
  behind its end, and where it would begin before the recording.
  """
  at = start[:, None] + factor[:, None] * jnp.arange(x.shape[1])
  low = jnp.clip(jnp.floor(at), 0, x.shape[1] - 1).astype(jnp.int32)
  high = jnp.minimum(low + 1, x.shape[1] - 1)
  clean = jnp.where(is_sound(x), x, 0)
  left, right = (jnp.take_along_axis(clean, places, axis=1) for places in (low, high))
  between = at - low
  return jnp.where((at >= 0) & (at < end[:, None]), left + between * (right - left), PAD)


def _put(x: Array, changed: Array) -> Array:
  return jnp.where(is_sound(x), jnp.clip(changed, -LOUDEST, LOUDEST), PAD)
