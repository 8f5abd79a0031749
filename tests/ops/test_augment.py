import functools

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from sslx.ops.image import to_float

from sslx.ops import augment, corrupt
from sslx.ops.conv import conv_general_dilated
from sslx.ops.pool import grid_pool, max_pool

KEY = jax.random.key(0)


def images(n=2, height=6, width=6, channels=1, seed=0):
  return np.random.default_rng(seed).uniform(0.05, 1, (n, height, width, channels)).astype(np.float32)


# conversion


def test_to_float():
  x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
  assert to_float(x).dtype == np.float32
  np.testing.assert_allclose(np.asarray(to_float(x)).ravel(), np.arange(256) / 255, rtol=1e-6)
  np.testing.assert_array_equal(to_float(to_float(x)), to_float(x))
  assert to_float(x.astype(np.float16)).dtype == np.float32
  np.testing.assert_array_equal(to_float(np.float64([[[[0.5]]]])), 0.5)


# pooling


@pytest.mark.parametrize("size", [(6, 6), (7, 4), (1, 5)], ids=str)
@pytest.mark.parametrize("ceil", [False, True])
def test_max_pool_equals_flax(size, ceil):
  x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32) - 1.5  # mostly negative: no zero padding
  reference = functools.partial(
    flax.linen.max_pool, window_shape=(2, 2), strides=(2, 2), padding="SAME" if ceil else "VALID"
  )
  expected = reference(x)
  np.testing.assert_array_equal(max_pool(x, 2, ceil), expected)
  weight = np.random.default_rng(1).normal(size=expected.shape).astype(np.float32)
  got, expected = (
    jax.jit(jax.grad(lambda x: (max_pool(x, 2, ceil) * weight).sum()))(x),
    jax.jit(jax.grad(lambda x: (reference(x) * weight).sum()))(x),
  )
  np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_max_pool_other_windows_and_ties():
  x = images(2, 9, 9)
  np.testing.assert_array_equal(max_pool(x, 3), flax.linen.max_pool(x, (3, 3), (3, 3)))
  grad = jax.grad(lambda x: max_pool(x).sum())(jnp.ones((1, 2, 2, 1)))
  assert grad.sum() == 1  # to one of the tied, never created or lost


@pytest.mark.parametrize("size", [(7, 7), (4, 6), (3, 10), (1, 2)], ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_grid_pool_equals_naive_adaptive_pooling(size, n):
  x = images(2, *size, 3)
  rows, columns = min(n, size[0]), min(n, size[1])
  expected = np.zeros((2, rows, columns, 3))
  for i in range(rows):
    for j in range(columns):
      top, bottom = int(np.floor(i * size[0] / rows)), int(np.ceil((i + 1) * size[0] / rows))
      left, right = int(np.floor(j * size[1] / columns)), int(np.ceil((j + 1) * size[1] / columns))
      expected[:, i, j] = x[:, top:bottom, left:right].mean((1, 2))
  np.testing.assert_allclose(grid_pool(x, n), expected, rtol=1e-5)


# corruption


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


# augmentation

affine_grid = jax.jit(augment.affine_grid, static_argnums=1)

warp_all = jax.jit(augment.warp)
IDENTITY = np.array([[[1, 0, 0], [0, 1, 0]]], np.float32)


def warp(x, matrix, displacement=None):
  if displacement is None:
    displacement = np.zeros((len(x), 2, *x.shape[1:3]), np.float32)
  return np.asarray(warp_all(x, np.repeat(np.float32(matrix), len(x), 0), displacement))


def test_warp_identity_and_quarter_turns():
  x = images(2, 7, 7, 3)
  np.testing.assert_array_equal(warp(x, IDENTITY), x)
  turn = [[[0, 1, 0], [-1, 0, 0]]]  # the output at (y, x) is the input at (x, -y): counter-clockwise, as rot90
  np.testing.assert_allclose(warp(x, turn), np.rot90(x, 1, (1, 2)), atol=1e-6)
  np.testing.assert_allclose(warp(x, [[[-1, 0, 0], [0, -1, 0]]]), np.rot90(x, 2, (1, 2)), atol=1e-6)
  np.testing.assert_allclose(warp(x, [[[1, 0, 0], [0, -1, 0]]]), x[:, :, ::-1], atol=1e-6)


def test_warp_shift_reads_from_the_shifted_place():
  """A positive offset reads further down / right, so the picture moves up / left; 1 is half the image, (H - 1) / 2."""
  x = images(1, 9, 5)
  moved = warp(x, [[[1, 0, 0.5], [0, 1, 0]]])  # 0.5 * (9 - 1) / 2 = 2 rows
  np.testing.assert_allclose(moved[:, :-2], x[:, 2:], atol=1e-6)
  np.testing.assert_array_equal(moved[:, -2:], 0)
  moved = warp(x, [[[1, 0, 0], [0, 1, -0.5]]])  # -0.5 * (5 - 1) / 2 = -1 column
  np.testing.assert_allclose(moved[:, :, 1:], x[:, :, :-1], atol=1e-6)
  np.testing.assert_array_equal(moved[:, :, 0], 0)


def test_warp_displacement_and_affine_equal_scipy():
  rng = np.random.default_rng(3)
  x = images(2, 8, 11, 2)
  matrix = rng.normal(size=(2, 2, 3)).astype(np.float32) * 0.4 + IDENTITY
  field = rng.normal(size=(2, 2, 8, 11)).astype(np.float32)
  got = np.asarray(warp_all(x, matrix, field))
  centre = np.array([3.5, 5.0])
  for b in range(2):
    grid = np.indices((8, 11)).reshape(2, -1) - centre[:, None]
    at = matrix[b, :, :2] @ grid + (matrix[b, :, 2] * centre + centre)[:, None] + field[b].reshape(2, -1)
    for c in range(2):
      expected = scipy.ndimage.map_coordinates(x[b, :, :, c], at, order=1, mode="grid-constant")
      np.testing.assert_allclose(got[b, :, :, c].ravel(), expected, atol=1e-4)


def test_affine_grid_pure_rotation():
  """Bounded by +-degrees, the same turn as scipy's, orthogonal."""
  matrices = np.asarray(affine_grid(KEY, 64, 30.0, 0.0, 0.0, 0.0))
  np.testing.assert_array_equal(matrices[:, :, 2], 0)
  np.testing.assert_allclose(np.linalg.det(matrices[:, :, :2]), 1, rtol=1e-5)
  np.testing.assert_allclose(
    matrices[:, :, :2] @ matrices[:, :, :2].swapaxes(1, 2), np.tile(np.eye(2), (64, 1, 1)), atol=1e-5
  )
  angles = np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
  assert np.abs(angles).max() <= 30
  assert angles.min() < -20
  assert angles.max() > 20
  x = images(1, 15, 15)
  turned = np.asarray(warp_all(x, matrices[:1], np.zeros((1, 2, 15, 15), np.float32)))[0, :, :, 0]
  expected = scipy.ndimage.rotate(x[0, :, :, 0], -angles[0], reshape=False, order=1, mode="grid-constant")
  np.testing.assert_allclose(turned, expected, atol=1e-4)  # a positive angle turns the picture clockwise


def test_affine_grid_ranges_of_each_part():
  matrices = np.asarray(affine_grid(KEY, 256, 0.0, 0.25, 0.0, 0.0))  # scale alone: diagonal
  np.testing.assert_array_equal(matrices[:, [0, 1], [1, 0]], 0)
  zoom = matrices[:, [0, 1], [0, 1]]
  assert zoom.min() >= 0.8 - 1e-6
  assert zoom.max() <= 1.25 + 1e-6
  assert zoom.min() < 0.82
  assert zoom.max() > 1.22
  assert np.log(zoom).mean() == pytest.approx(0, abs=0.02)  # as often larger as smaller
  assert abs(np.corrcoef(zoom.T)[0, 1]) < 0.2  # each axis its own
  matrices = np.asarray(affine_grid(KEY, 256, 0.0, 0.0, 0.2, 0.0))
  np.testing.assert_array_equal(matrices[:, :, :2], np.tile(np.eye(2), (256, 1, 1)))
  assert 0.19 < np.abs(matrices[:, :, 2]).max() <= 0.2
  matrices = np.asarray(affine_grid(KEY, 256, 0.0, 0.0, 0.0, 0.3))
  np.testing.assert_array_equal(matrices[:, 0, :2], np.tile([1, 0], (256, 1)))
  np.testing.assert_array_equal(matrices[:, 1, 1], 1)
  assert 0.28 < np.abs(matrices[:, 1, 0]).max() <= 0.3


def test_affine_grid_composes_rotation_shear_and_scale():
  """All four together are the product that the docstring names."""
  both = np.asarray(affine_grid(KEY, 8, 40.0, 0.25, 0.2, 0.3))
  turn = np.asarray(affine_grid(KEY, 8, 40.0, 0.0, 0.0, 0.0))[:, :, :2]
  shear = np.asarray(affine_grid(KEY, 8, 0.0, 0.0, 0.0, 0.3))[:, :, :2]
  scale = np.asarray(affine_grid(KEY, 8, 0.0, 0.25, 0.0, 0.0))[:, :, :2]
  shift = np.asarray(affine_grid(KEY, 8, 0.0, 0.0, 0.2, 0.0))[:, :, 2]
  np.testing.assert_allclose(both[:, :, :2], turn @ shear @ scale, atol=1e-5)
  np.testing.assert_allclose(both[:, :, 2], shift, atol=1e-6)


def test_elastic_field():
  field = np.asarray(augment.elastic_field(KEY, 256, 28, 28, 2.0, 4))
  assert field.shape == (256, 2, 28, 28)
  assert field.mean() == pytest.approx(0, abs=0.05)
  assert 0.7 * 2 < field.std() < 1.1 * 2
  assert np.abs(np.diff(field, axis=-1)).max() < 2.0  # smooth: neighbours move together
  assert abs(np.corrcoef(field[:, 0, 14, 14], field[:, 1, 14, 14])[0, 1]) < 0.3  # y and x apart
  assert abs(np.corrcoef(field[:-1, 0, 14, 14], field[1:, 0, 14, 14])[0, 1]) < 0.3  # images apart
  np.testing.assert_allclose(augment.elastic_field(KEY, 256, 28, 28, 1.0, 4), field / 2, rtol=1e-5, atol=1e-6)


def test_intensity():
  x = np.tile(images(1, 4, 4), (64, 1, 1, 1))
  x[:, 0, 0] = 0
  y = np.asarray(augment.intensity(KEY, x, 0.3))
  assert y.min() >= 0
  assert y.max() <= 1
  np.testing.assert_array_equal(y[:, 0, 0], 0)  # black stays black
  # log y = g log x + log c: two pixels give an image's pair
  logs_x, logs_y = np.log(x[:, 1:3, 1, 0]), np.log(y[:, 1:3, 1, 0])
  g = (logs_y[:, 0] - logs_y[:, 1]) / (logs_x[:, 0] - logs_x[:, 1])
  c = logs_y[:, 0] - g * logs_x[:, 0]
  clear = (y[:, 1:3, 1, 0] < 1).all(1)  # not clipped
  assert clear.sum() > 20
  assert np.abs(np.log(g[clear])).max() <= 0.3 + 1e-3
  assert np.abs(c[clear]).max() <= 0.3 + 1e-3
  assert np.log(g[clear]).std() > 0.08
  assert c[clear].std() > 0.08
  assert abs(np.corrcoef(np.log(g[clear]), c[clear])[0, 1]) < 0.5


def test_digit_view():
  x = np.repeat(images(1, 9, 8, 3), 4, 0)
  x[:, 0] = 0
  view = jax.jit(augment.digit_view)
  np.testing.assert_array_equal(view(KEY, x, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), x)  # strength 0: the image itself, exactly
  strong = (40.0, 0.5, 0.3, 0.5, 2.0, 0.5)
  y = np.asarray(view(KEY, x, *strong))
  assert y.shape == x.shape
  assert y.min() >= 0
  assert y.max() <= 1
  np.testing.assert_array_equal(view(KEY, x, *strong), y)
  assert np.any(view(jax.random.key(1), x, *strong) != y)
  assert len({sample.tobytes() for sample in y}) == 4
  for i, name in enumerate(("degrees", "scale", "shift", "shear", "elastic", "contrast")):
    one = [0.0] * 6
    one[i] = strong[i]
    assert np.abs(np.asarray(view(KEY, x, *one)) - x).max() > 0.01, f"{name} does nothing"


@pytest.mark.parametrize(
  ("size", "channels", "kernel", "stride", "padding"),
  [
    ((14, 14), (8, 16), 3, 1, "SAME"),
    ((28, 28), (1, 8), 3, 1, "SAME"),
    ((7, 9), (5, 6), 5, 2, "SAME"),
    ((9, 8), (3, 4), 2, 1, "VALID"),
    ((8, 8), (3, 4), 2, 1, "SAME"),
    ((13, 13), (4, 4), 3, 3, "VALID"),
  ],
)
@pytest.mark.parametrize("batch", [1, 37])
def test_the_cpu_convolution_equals_xlas_with_both_gradients(size, channels, kernel, stride, padding, batch):
  x = jax.random.normal(jax.random.key(0), (batch, *size, channels[0]))
  k = jax.random.normal(jax.random.key(1), (kernel, kernel, *channels))
  dimensions = ("NHWC", "HWIO", "NHWC")

  def value(convolution):
    return jax.jit(jax.value_and_grad(lambda x, k: jnp.sin(convolution(x, k)).sum(), (0, 1)))(x, k)

  ours = value(lambda x, k: conv_general_dilated(x, k, (stride, stride), padding))
  xlas = value(lambda x, k: jax.lax.conv_general_dilated(x, k, (stride, stride), padding, dimension_numbers=dimensions))
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(xlas), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5 * float(jnp.abs(b).max()))
