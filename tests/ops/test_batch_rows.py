"""Rows side by side and apart again, and the largest values of each, as XLA's own has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.ops import rows


def test_what_is_interleaved_comes_apart_again():
  parts = [jnp.arange(6).reshape(3, 2) + 10 * i for i in range(3)]
  together = rows.interleave(*parts)
  assert together[:, 0].tolist() == [0, 10, 20, 2, 12, 22, 4, 14, 24]
  for part, again in zip(parts, rows.deinterleave(together, 3), strict=True):
    np.testing.assert_array_equal(again, part)


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("own", [True, False], ids=["for accelerators", "on this machine"])
def test_largest_values_are_those_of_jax(k, own):
  x = np.random.default_rng(0).integers(-3, 3, (4, 5, 7)).astype(np.float32)  # many are equal
  of = rows._in_passes if own else rows.top_k
  for mine, its in zip(jax.jit(of, static_argnums=1)(x, k), jax.lax.top_k(x, k), strict=True):
    np.testing.assert_array_equal(mine, its)
    assert mine.dtype == its.dtype


def test_gradient_of_largest_values_goes_where_they_are():
  def weighed(x):
    return (rows._in_passes(x, 2)[0] * jnp.array([2.0, 5.0])).sum()

  np.testing.assert_array_equal(jax.grad(weighed)(jnp.array([3.0, 9.0, 1.0, 7.0])), [0, 2, 0, 5])
