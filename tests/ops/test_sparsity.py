"""Sparsity: exact counts with ties and partial batches, places per map, gradients to winners only."""

import functools

import jax
import numpy as np
import pytest
from sparsity import codes, naive_lifetime, naive_spatial

from sslx.ops.sparsity import lifetime, spatial, winners


@functools.partial(jax.jit, static_argnums=(0, 2))
def gradient_of_sum(function, h, *rest):
  return jax.grad(lambda h: function(h, *rest).sum())(h)


def kept(function, h, *rest):
  """Which entries of h the output passes on: where the gradient of its sum is 1. Elsewhere it is 0."""
  gradient = np.asarray(gradient_of_sum(function, h, *rest))
  assert set(np.unique(gradient)) <= {0.0, 1.0}
  return gradient == 1


kinds = pytest.mark.parametrize("kind", ["normal", "relu", "ties", "negative"])


@kinds
@pytest.mark.parametrize(("batch", "rate"), [(100, 0.05), (37, 0.05), (7, 0.2), (3, 0.05), (1, 0.5), (40, 1.0)])
def test_lifetime_keeps_exactly_so_many_samples_of_a_unit(kind, batch, rate):
  h = codes((batch, 13), kind)
  won = naive_lifetime(h, rate)
  np.testing.assert_array_equal(jax.jit(lifetime, static_argnums=1)(h, rate), np.where(won, h, 0))
  np.testing.assert_array_equal(kept(lifetime, h, rate), won)
  assert (kept(lifetime, h, rate).sum(0) == max(1, round(rate * batch))).all()


def test_number_of_winners():
  assert [winners(rate, 100) for rate in (1e-6, 0.05, 0.07, 0.29, 0.999, 1.0)] == [1, 5, 7, 29, 100, 100]
  assert [winners(0.05, batch) for batch in (1, 20, 50, 60)] == [1, 1, 2, 3]


@kinds
def test_lifetime_of_maps_ranks_their_maxima_and_keeps_whole_maps(kind):
  h = codes((11, 4, 3, 5), kind)
  np.testing.assert_array_equal(kept(lifetime, h, 0.3), naive_lifetime(h, 0.3))
  assert (kept(lifetime, h, 0.3).all((1, 2)).sum(0) == 3).all()


@kinds
def test_spatial_keeps_one_place_of_a_map(kind):
  """Over height and width: neither over channels, nor over the batch."""
  h = codes((6, 5, 4, 3), kind)
  won = naive_spatial(h)
  np.testing.assert_array_equal(jax.jit(spatial)(h), np.where(won, h, 0))
  np.testing.assert_array_equal(kept(spatial, h), won)
  assert (kept(spatial, h).sum((1, 2)) == 1).all()
  assert (kept(spatial, np.zeros_like(h)).sum((1, 2)) == 1).all()
