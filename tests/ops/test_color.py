"""Colours: L*a*b* against published values, bins and soft encoding against a naive
loop, limits of the annealed mean."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.ops import color

GRID = np.array(list(itertools.product(np.linspace(0, 1, 12), repeat=3)), np.float32)
to_lab, to_rgb = jax.jit(color.rgb_to_lab), jax.jit(color.lab_to_rgb)


@pytest.mark.parametrize(
  ("rgb", "lab"),
  [
    ((1, 1, 1), (100, 0, 0)),
    ((0, 0, 0), (0, 0, 0)),
    ((1, 0, 0), (53.2408, 80.0925, 67.2032)),
    ((0, 1, 0), (87.7347, -86.1827, 83.1793)),
    ((0, 0, 1), (32.2970, 79.1875, -107.8602)),
    ((1, 1, 0), (97.1393, -21.5537, 94.4780)),
    ((0, 1, 1), (91.1132, -48.0875, -14.1312)),
    ((1, 0, 1), (60.3242, 98.2343, -60.8249)),
    ((119 / 255, 119 / 255, 119 / 255), (50.034, 0, 0)),
  ],
)
def test_published_lab_values(rgb, lab):
  np.testing.assert_allclose(to_lab(np.float32(rgb)), lab, atol=5e-3)


def test_round_trip():
  """Batched as images are, greys and gamut boundary included; dark colours are on the straight lines near 0."""
  image = np.concatenate([GRID, GRID / 30, np.full((3, 3), 0.4, np.float32)])[None, :, None]
  np.testing.assert_allclose(to_rgb(to_lab(image)), image, atol=1e-4)


def test_out_of_gamut_is_clipped():
  rgb = np.asarray(to_rgb(np.float32([[150, 0, 0], [-5, 0, 0], [50, 120, 120], [50, -120, -120]])))
  np.testing.assert_allclose(rgb[:2], [[1, 1, 1], [0, 0, 0]], atol=1e-6)
  assert rgb.min() == 0
  assert 0.999999 < rgb.max() <= 1


def test_the_pieces_meet():
  for x in (0.04045, 0.0031308 * 12.92, 0.0):
    below, above = to_lab(np.float32([[x - 1e-5] * 3, [x + 1e-5] * 3]))
    np.testing.assert_allclose(below, above, atol=5e-3)
  y = 116 * 6 / 29 - 16  # where f becomes a straight line
  below, above = to_rgb(np.float32([[y - 1e-3, 0, 0], [y + 1e-3, 0, 0]]))
  np.testing.assert_allclose(below, above, atol=1e-4)


def test_gradients_are_finite():
  image = np.concatenate([GRID, np.float32([[0.04045] * 3, [1e-12, 0, 0], [-0.2, 1.3, 0.5]])])
  there = jax.jit(jax.grad(lambda x: color.rgb_to_lab(x).sum()))(image)
  around = jax.jit(jax.grad(lambda x: (color.lab_to_rgb(color.rgb_to_lab(x)) ** 2).sum()))(image)
  greyed = jax.jit(jax.grad(lambda x: color.grey(x).sum()))(image)
  assert all(np.isfinite(g).all() for g in (there, around, greyed))
  inside = GRID[(GRID > 0.05).all(1) & (GRID < 0.95).all(1)]
  back = jax.jit(jax.vmap(jax.jacrev(lambda x: color.lab_to_rgb(color.rgb_to_lab(x)))))(inside)
  np.testing.assert_allclose(back, np.broadcast_to(np.eye(3), back.shape), atol=1e-3)  # inverse of each other


def test_grey_keeps_the_lightness_and_nothing_else():
  grey = np.asarray(jax.jit(color.grey)(GRID))
  assert grey.shape == GRID.shape
  np.testing.assert_array_equal(grey, np.repeat(grey[:, :1], 3, 1))
  lab = np.asarray(to_lab(grey))
  np.testing.assert_allclose(lab[:, 0], np.asarray(to_lab(GRID))[:, 0], atol=1e-3)
  np.testing.assert_allclose(lab[:, 1:], 0, atol=1e-3)
  greys = np.repeat(np.linspace(0, 1, 50, dtype=np.float32)[:, None], 3, 1)
  np.testing.assert_allclose(jax.jit(color.grey)(greys), greys, atol=1e-5)


def test_scikit_image_agrees():
  reference = pytest.importorskip("skimage.color")
  np.testing.assert_allclose(to_lab(GRID), reference.rgb2lab(GRID), atol=5e-3)


# bins


def test_bins_are_the_squares_that_hold_a_colour():
  bins = color.ab_bins()
  assert bins.shape == (261, 2)
  assert (bins % 10 == 0).all()
  assert len(np.unique(bins, axis=0)) == len(bins)
  rgb = np.random.default_rng(0).integers(0, 256, (100_000, 3))
  rgb[:60_000] = np.where(rgb[:60_000] % 3 == 0, 255 * (rgb[:60_000] % 2), rgb[:60_000])  # many on faces and edges
  ab = np.asarray(to_lab(np.float32(rgb / 255)))[:, 1:]
  seen = set(map(tuple, np.round(ab / 10).astype(int) * 10))
  assert seen <= set(map(tuple, bins.astype(int)))
  assert len(seen) > 0.97 * len(bins)
  assert {(0, 0), (80, 70), (-90, 80), (80, -110)} <= seen  # of grey, red, green and blue
  assert len(color.ab_bins(5)) > 3.5 * len(bins)


def test_lightness_bins():
  bins = color.lightness_bins(100)
  assert bins.shape == (100, 1)
  np.testing.assert_allclose(bins[[0, 1, 99], 0], [0.5, 1.5, 99.5])
  index, weights = color.soft_encode(jnp.float32([[0.0], [12.3], [99.99], [100.0]]), bins, 1)
  np.testing.assert_array_equal(index[:, 0], [0, 12, 99, 99])
  np.testing.assert_array_equal(weights, 1)


def naive_soft_encode(values, bins, neighbours, sigma):
  z = np.zeros((len(values), len(bins)))
  for row, value in zip(z, values.astype(np.float64), strict=True):
    distance = [np.hypot(*(value - b)) for b in bins.astype(np.float64)]
    for q in sorted(range(len(bins)), key=distance.__getitem__)[:neighbours]:
      row[q] = np.exp(-(distance[q] ** 2) / (2 * sigma**2))
    row /= row.sum()
  return z


@pytest.mark.parametrize(("neighbours", "sigma"), [(5, 5.0), (1, 5.0), (3, 20.0)])
def test_soft_encoding_equals_a_naive_loop(neighbours, sigma):
  bins = color.ab_bins()
  rgb = np.random.default_rng(1).uniform(0, 1, (2, 5, 6, 3)).astype(np.float32)
  values = np.asarray(to_lab(rgb))[..., 1:]
  index, weights = jax.jit(lambda v: color.soft_encode(v, bins, neighbours, sigma))(values)
  z = np.asarray(color.spread(index, weights, len(bins)))
  assert z.shape == (2, 5, 6, 261)
  np.testing.assert_allclose(z.sum(-1), 1, rtol=1e-5)
  assert ((z > 0).sum(-1) == neighbours).all()
  assert (np.diff(weights, axis=-1) <= 0).all()  # nearest first
  np.testing.assert_allclose(
    z.reshape(-1, 261), naive_soft_encode(values.reshape(-1, 2), bins, neighbours, sigma), atol=1e-4
  )


def test_a_colour_far_outside_is_encoded_too():
  index, weights = color.soft_encode(jnp.float32([[500.0, -500.0], [0.0, 0.0]]), color.ab_bins())
  assert np.isfinite(weights).all()
  np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
  np.testing.assert_array_equal(color.ab_bins()[index[1, 0]], 0)


def test_annealed_mean_goes_from_the_mean_to_the_mode():
  bins, rng = color.ab_bins(), np.random.default_rng(2)
  logits = 3 * rng.standard_normal((4, 5, len(bins))).astype(np.float32)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  np.testing.assert_allclose(color.annealed_mean(logits, bins, 1.0), p @ bins, atol=1e-3)
  np.testing.assert_allclose(color.annealed_mean(logits, bins, 1e-3), bins[logits.argmax(-1)], atol=1e-2)
  sharp = p ** (1 / 0.38)
  expected = sharp / sharp.sum(-1, keepdims=True) @ bins
  np.testing.assert_allclose(color.annealed_mean(logits, bins), expected, atol=1e-2)
  np.testing.assert_allclose(color.annealed_mean(logits + 50, bins), expected, atol=1e-2)  # not of the logits' offset
