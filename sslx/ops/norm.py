"""Normalisation whose gradients read their input twice instead of a dozen times: the cost of these layers is memory."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from sslx.types import Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def group_norm(x: Array, scale: Array, bias: Array, groups: int, epsilon: float = 1e-6) -> Array:
  """x [B,H,W,C] normalised over height, width and the C / groups channels of each group, then x * scale + bias [C].

  Wu, He: Group Normalization, ECCV 2018, arXiv 1803.08494. Equal to `flax.linen.GroupNorm(groups)`.
  """
  return _group_norm_forward(x, scale, bias, groups, epsilon)[0]


def _group_norm_forward(x, scale, bias, groups, epsilon):
  wide = x.astype(scale.dtype)  # statistics in float32, whatever the images are computed in
  mean, square = (_group_mean(a.sum((1, 2)), x, groups) for a in (wide, jnp.square(wide)))
  rstd = lax.rsqrt(jnp.maximum(square - jnp.square(mean), 0) + epsilon)  # [B,C], equal within a group
  factor = rstd * scale
  return x * _wide(factor) + _wide(bias - mean * factor), (x, scale, mean, rstd)


def _group_norm_backward(groups, epsilon, residuals, g):
  """With x^ the normalised input: dx = rstd * (g scale - mean(g scale) - x^ mean(g scale x^)), means over a group."""
  x, scale, mean, rstd = residuals
  rstd = lax.optimization_barrier(rstd)  # else XLA keeps the factor of the forward pass at full size, to use it here
  dtype, x, g = x.dtype, x.astype(scale.dtype), g.astype(scale.dtype)
  sum_g = g.sum((1, 2))
  sum_gx = rstd * ((g * x).sum((1, 2)) - mean * sum_g)  # sum of g x^
  along = jnp.square(rstd) * _group_mean(scale * sum_gx, x, groups)
  constant = rstd * _group_mean(scale * sum_g, x, groups) - along * mean
  dx = g * _wide(rstd * scale) - x * _wide(along) - _wide(constant)
  return dx.astype(dtype), sum_gx.sum(0), sum_g.sum(0)


group_norm.defvjp(_group_norm_forward, _group_norm_backward)


def _group_mean(sums: Array, x: Array, groups: int) -> Array:
  """Per-channel sums over height and width [B,C] -> means over the group, repeated for each of its channels [B,C]."""
  batch, height, width, channels = x.shape
  size = channels // groups
  means = sums.reshape(batch, groups, size).sum(-1) / (height * width * size)
  return jnp.repeat(means, size, axis=1)


def _wide(a: Array) -> Array:
  return a[:, None, None, :]
