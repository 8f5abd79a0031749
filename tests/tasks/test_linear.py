"""Scalings of features, and linear heads on them."""

import numpy as np
import pytest

from sslx.tasks import linear


def test_standardisation_is_the_references_and_ignores_dead_features():
  rng = np.random.default_rng(0)
  reference = (rng.normal(size=(500, 4)) * [1, 10, 0, 0.1] + [5, 0, 3, 1]).astype(np.float32)
  scaled = linear.fit_scaling("standardize", reference)(reference) * 2  # sqrt(4)
  np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)
  np.testing.assert_allclose(scaled.std(0), [1, 1, 0, 1], atol=1e-4)
  unit = linear.fit_scaling("l2", reference)(reference)
  np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
  with pytest.raises(ValueError, match="unknown scaling"):
    linear.fit_scaling("max", reference)


def test_centred_features_keep_how_much_they_vary_beside_each_other():
  rng = np.random.default_rng(0)
  reference = (rng.normal(size=(500, 4)) * [1, 10, 0, 0.1] + [5, 0, 3, 1]).astype(np.float32)
  scaled = linear.fit_scaling("center", reference)(reference)
  np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
  assert np.square(scaled).sum(1).mean() == pytest.approx(1, rel=1e-4)
  deviation = reference.astype(np.float64).std(0)
  np.testing.assert_allclose(scaled.std(0) * deviation[1], deviation * scaled.std(0)[1], atol=1e-3)
  dead = np.ones((9, 2), np.float32)
  np.testing.assert_array_equal(linear.fit_scaling("center", dead)(dead), 0)


def test_unit_rows_and_rows_of_zeros():
  x = np.float32([[3, 4], [0, 0], [-1e-3, 0]])
  np.testing.assert_allclose(linear.unit(x), [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-5)


def test_outputs_are_of_scaled_features():
  weight, bias = np.float32([[1, 0], [2, -1]]), np.float32([0.5, 0])
  scaling = linear.Scaling(np.float32([1, 1]), np.float32([2, 3]), False)
  head = linear.Linear(weight, bias, scaling, {})
  np.testing.assert_allclose(head.outputs(np.float32([[2, 0]])), [[2 * 1 - 3 * 2 + 0.5, 3]])
  assert head.size == 6
