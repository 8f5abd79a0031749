"""Augmentation: warps against scipy, ranges of every part, identity at strength 0."""

import jax
import numpy as np
import pytest
import scipy.ndimage

from sslx.ops import augment

KEY = jax.random.key(0)


def images(n=2, height=6, width=6, channels=1, seed=0):
  return np.random.default_rng(seed).uniform(0.05, 1, (n, height, width, channels)).astype(np.float32)


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


background = jax.jit(augment.background)


def test_a_background_is_a_plane_and_noise():
  """Each image has a brightness and a slope along each axis, uniform, and noise of a strength of its own."""
  n, height, width, strength = 400, 12, 17, 0.4
  x = np.repeat(images(1, height, width, 3), n, 0)
  np.testing.assert_array_equal(background(KEY, x, 0.0), x)
  added = np.asarray(background(KEY, x, strength)) - x
  down, along = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
  basis = np.stack([np.ones(height * width), down.ravel(), along.ravel()], -1)
  grey = added.mean(-1).reshape(n, -1).T
  planes, *_ = np.linalg.lstsq(basis, grey, rcond=None)
  assert planes.shape == (3, n)
  for values in planes:  # noise moves what is fitted by about 0.01
    assert 0.9 * strength < np.abs(values).max() < strength + 0.03
    assert values.std() == pytest.approx(strength / np.sqrt(3), rel=0.1)
    assert values.mean() == pytest.approx(0, abs=0.04)
  assert np.abs(np.corrcoef(planes) - np.eye(3)).max() < 0.15  # each its own
  noise = added - (basis @ planes).T.reshape(n, height, width, 1)
  spread = noise.std((1, 2, 3))
  assert spread.max() < 0.25 * strength * 1.1
  assert spread.min() < 0.1 * spread.max()
  assert spread.mean() == pytest.approx(0.25 * strength / 2, rel=0.1)
  loud = (noise / spread[:, None, None, None])[spread > 0.5 * spread.max()]
  for axis in (1, 2, 3):  # of each pixel and channel its own
    assert abs((np.roll(loud, 1, axis) * loud).mean()) < 0.02
  np.testing.assert_allclose(np.asarray(background(KEY, x, 0.2)) - x, added / 2, atol=1e-6)


def test_the_background_of_an_image_is_its_own_and_not_clipped():
  x = np.concatenate([np.zeros((8, 6, 6, 1)), np.ones((8, 6, 6, 1))]).astype(np.float32)
  added = np.asarray(background(KEY, x, 0.5)) - x
  assert len({each.tobytes() for each in added}) == 16
  assert (x + added).min() < -0.1
  assert (x + added).max() > 1.1
  other = x.copy()
  other[3] = 0.7
  np.testing.assert_allclose(np.asarray(background(KEY, other, 0.5)) - other, added, atol=1e-6)
  assert np.any(np.asarray(background(jax.random.key(1), x, 0.5)) - x != added)


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
