"""Corruption: how much is selected, what becomes of it, and that every sample draws its own."""

import jax
import numpy as np
import pytest

from sslx.ops import corrupt

KEY = jax.random.key(0)


def images(n=2, height=6, width=6, channels=1, seed=0):
  return np.random.default_rng(seed).uniform(0.05, 1, (n, height, width, channels)).astype(np.float32)


@pytest.mark.parametrize("name", corrupt.NOISES)
def test_corruption_is_drawn_from_the_key_for_every_sample(name):
  x = np.repeat(images(1, 16, 16, 3), 4, 0)
  noisy, selected = corrupt.NOISES[name](KEY, x, 0.3)
  assert noisy.shape == selected.shape == x.shape
  assert noisy.dtype == np.float32
  assert selected.dtype == bool
  again, _ = corrupt.NOISES[name](KEY, x, 0.3)
  np.testing.assert_array_equal(noisy, again)
  other, _ = corrupt.NOISES[name](jax.random.key(1), x, 0.3)
  assert np.any(noisy != other)
  for i in range(1, 4):
    assert np.any(noisy[0] != noisy[i])
  assert np.any((noisy != x)[..., 0] != (noisy != x)[..., 1]) or name == "gaussian"  # channels too
  np.testing.assert_array_equal(corrupt.NOISES[name](KEY, x, 0.0)[0], x)
  np.testing.assert_array_equal(np.asarray(noisy)[~np.asarray(selected)], x[~np.asarray(selected)])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_masking_fraction(level):
  x = images(8, 28, 28)
  noisy, selected = map(np.asarray, corrupt.masking(KEY, x, level))
  sigma = np.sqrt(level * (1 - level) / x.size)
  assert selected.mean() == pytest.approx(level, abs=4 * sigma)
  np.testing.assert_array_equal(noisy, np.where(selected, 0, x))
  assert np.all(corrupt.masking(KEY, x, 1.0)[0] == 0)


def test_salt_and_pepper_selects_pixels_that_keep_their_value():
  x = np.ones((8, 28, 28, 1), np.float32)
  noisy, selected = map(np.asarray, corrupt.salt_pepper(KEY, x, 0.4))
  assert selected.mean() == pytest.approx(0.4, abs=0.025)
  assert set(np.unique(noisy)) == {0, 1}
  kept = selected & (noisy == x)  # salt on white: selected although unchanged
  assert kept.sum() / selected.sum() == pytest.approx(0.5, abs=0.04)
  grey = np.asarray(corrupt.salt_pepper(KEY, 0.5 * x, 0.4)[0])
  assert (grey == 1).mean() == pytest.approx(0.2, abs=0.02)
  assert (grey == 0).mean() == pytest.approx(0.2, abs=0.02)
  np.testing.assert_array_equal(grey != 0.5, selected)


def test_gaussian_is_additive_unclipped_and_selects_all():
  x = images(8, 28, 28)
  noisy, selected = map(np.asarray, corrupt.gaussian(KEY, x, 0.5))
  noise = noisy - x
  assert noise.std() == pytest.approx(0.5, rel=0.03)
  assert noise.mean() == pytest.approx(0, abs=0.03)
  assert noisy.min() < 0
  assert noisy.max() > 1
  assert selected.all()
  half = np.asarray(corrupt.gaussian(KEY, x, 0.25)[0]) - x
  np.testing.assert_allclose(half * 2, noise, atol=1e-5)
