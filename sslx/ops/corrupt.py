"""Corruptions of the denoising autoencoder: (key, images) -> (corrupted, selected).

Vincent, Larochelle, Lajoie, Bengio, Manzagol: Stacked Denoising Autoencoders, JMLR 2010, section 3.3.
Images are f32 [B,H,W,C] in [0, 1]. `selected` is bool [B,H,W,C]: the pixels that the noise chose, whether or not their
value changed (salt may leave a white pixel white). Every sample, pixel and channel is drawn on its own.
"""

import jax
import jax.numpy as jnp

from sslx.types import Array


def gaussian(key: Array, x: Array, level: float) -> tuple[Array, Array]:
  """Additive isotropic noise of standard deviation `level`, not clipped. Every pixel is selected."""
  return x + level * jax.random.normal(key, x.shape, x.dtype), jnp.ones(x.shape, bool)


def masking(key: Array, x: Array, level: float) -> tuple[Array, Array]:
  """A fraction `level` of the pixels (each with that probability) is set to 0."""
  selected = jax.random.uniform(key, x.shape) < level
  return jnp.where(selected, 0.0, x), selected


def salt_pepper(key: Array, x: Array, level: float) -> tuple[Array, Array]:
  """A fraction `level` of the pixels is set to 0 or 1, half of them each: one draw decides both."""
  u = jax.random.uniform(key, x.shape)
  selected = u < level
  return jnp.where(selected, (u < level / 2).astype(x.dtype), x), selected


NOISES = {"gaussian": gaussian, "masking": masking, "salt_pepper": salt_pepper}
