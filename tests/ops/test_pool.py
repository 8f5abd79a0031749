"""Pooling: equal to flax's with its gradient, and cells against a naive loop over places of any rank."""

import functools
import itertools

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sslx.ops.conv import DIMENSIONS
from sslx.ops.pool import grid_pool, max_pool


def images(n=2, height=6, width=6, channels=1, seed=0):
  return np.random.default_rng(seed).uniform(0.05, 1, (n, height, width, channels)).astype(np.float32)


@pytest.mark.parametrize("size", [(6, 6), (7, 4), (1, 5)], ids=str)
@pytest.mark.parametrize("ceil", [False, True])
def test_max_pool_equals_flax(size, ceil):
  x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32) - 1.5  # mostly negative: no zero padding
  reference = functools.partial(
    flax.linen.max_pool, window_shape=(2, 2), strides=(2, 2), padding="SAME" if ceil else "VALID"
  )
  expected = jax.jit(reference)(x)
  np.testing.assert_array_equal(jax.jit(max_pool, static_argnums=(1, 2))(x, 2, ceil), expected)
  weight = np.random.default_rng(1).normal(size=expected.shape).astype(np.float32)
  got, expected = (
    jax.jit(jax.grad(lambda x: (max_pool(x, 2, ceil) * weight).sum()))(x),
    jax.jit(jax.grad(lambda x: (reference(x) * weight).sum()))(x),
  )
  np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_max_pool_other_windows_and_ties():
  x = images(2, 9, 9)
  np.testing.assert_array_equal(jax.jit(max_pool, static_argnums=1)(x, 3), flax.linen.max_pool(x, (3, 3), (3, 3)))
  grad = jax.jit(jax.grad(lambda x: max_pool(x).sum()))(jnp.ones((1, 2, 2, 1)))
  assert grad.sum() == 1  # to one of the tied, never created or lost


@pytest.mark.parametrize("size", [(7, 7), (4, 6), (3, 10), (1, 2)], ids=str)
def test_grid_pool_equals_naive_adaptive_pooling(size):
  x, sides = images(2, *size, 3), (1, 2, 3, 5)
  for n, pooled in zip(sides, jax.jit(lambda x: [grid_pool(x, side) for side in sides])(x), strict=True):
    rows, columns = min(n, size[0]), min(n, size[1])
    expected = np.zeros((2, rows, columns, 3))
    for i in range(rows):
      for j in range(columns):
        top, bottom = int(np.floor(i * size[0] / rows)), int(np.ceil((i + 1) * size[0] / rows))
        left, right = int(np.floor(j * size[1] / columns)), int(np.ceil((j + 1) * size[1] / columns))
        expected[:, i, j] = x[:, top:bottom, left:right].mean((1, 2))
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)


@pytest.mark.parametrize("places", [(7,), (3, 10), (4, 5, 3), (2, 3, 2, 3)], ids=str)
@pytest.mark.parametrize(("reduce", "naive"), [(jnp.mean, np.mean), (jnp.max, np.max)], ids=["mean", "max"])
def test_grid_pool_over_places_of_any_rank(places, reduce, naive):
  """Of a sequence [B,T,D], of an image, of a clip [B,T,h,w,D]: near-equal cells along every axis but the outer two."""
  x = np.random.default_rng(0).standard_normal((2, *places, 3)).astype(np.float32)
  sides = (1, 2, 3, 20)
  for n, pooled in zip(sides, jax.jit(lambda x: [grid_pool(x, side, reduce) for side in sides])(x), strict=True):
    cells = [min(n, size) for size in places]
    expected = np.zeros((2, *cells, 3))
    for cell in itertools.product(*map(range, cells)):
      inside = tuple(
        slice(i * size // count, -(-(i + 1) * size // count))
        for i, size, count in zip(cell, places, cells, strict=True)
      )
      expected[(slice(None), *cell)] = naive(x[(slice(None), *inside)], axis=tuple(range(1, x.ndim - 1)))
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


def test_pooling_of_values_that_xla_may_compute_twice():
  """Forward and backward may each compute the pooled values anew and round them differently: no gradient is lost."""
  rng = np.random.default_rng(0)
  x, kernel = rng.normal(size=(5, 9, 9, 3)).astype(np.float32), rng.normal(size=(3, 3, 3, 6)).astype(np.float32)
  scale, weight = rng.normal(size=6).astype(np.float32), rng.normal(size=(5, 5, 5, 6)).astype(np.float32)

  def loss(pool, kernel, scale):
    y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS)
    y = (y - y.mean((0, 1, 2))) * lax.rsqrt(y.var((0, 1, 2)) + 1e-5) * scale
    return (weight * pool(jax.nn.relu(y + 0.1))).sum()

  ours = jax.jit(jax.grad(lambda *a: loss(lambda y: max_pool(y, 2, True), *a), (0, 1)))(kernel, scale)
  xlas = jax.jit(jax.grad(lambda *a: loss(lambda y: flax.linen.max_pool(y, (2, 2), (2, 2), "SAME"), *a), (0, 1)))(
    kernel, scale
  )
  for mine, its in zip(ours, xlas, strict=True):
    np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-4 * np.abs(its).max())
