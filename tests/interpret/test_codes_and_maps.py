"""sslx.interpret: codes, walks, filters and maps against naive references."""

import sys

import jax
import numpy as np
import pytest

from sslx import interpret as pure
from sslx import nn


def test_amplitude_is_the_value_of_largest_magnitude_with_its_sign():
  codes = np.zeros((2, 2, 3, 2), np.float32)
  codes[0, 1, 2, 0], codes[0, 0, 0, 0] = -5, 4
  codes[1, 0, 1, 1] = 3
  np.testing.assert_array_equal(pure.amplitudes(codes), [[-5, 0], [0, 3]])
  flat = np.float32([[1, -2], [-3, 4]])
  np.testing.assert_array_equal(pure.amplitudes(flat), flat)


def test_statistics_of_known_units():
  n = 50
  r = np.zeros((n, 4), np.float32)
  r[:, 0] = 2  # excited alike by every image: sparsity 0, and dead, since it says nothing
  r[7, 1] = 2  # by one image only: sparsity 1
  r[: n // 2, 2] = -2  # by half of them: (1 - 1/2) / (1 - 1/n)
  stats = pure.statistics(r)  # unit 3: never
  np.testing.assert_allclose(stats.sparsity, [0, 1, 0.5 / (1 - 1 / n), 1], atol=1e-12)
  np.testing.assert_allclose(stats.activity, [1, 1 / n, 0.5, 0])
  np.testing.assert_array_equal(stats.dead, [True, False, False, True])
  assert stats.population[7] == 3 / 4
  assert stats.population[n - 1] == 1 / 4
  assert pure.widest(stats, 3) == [2, 1]


def test_sparsity_does_not_depend_on_the_scale_of_the_code():
  r = np.random.default_rng(0).exponential(size=(200, 6)) * (np.random.default_rng(1).random((200, 6)) < 0.3)
  stats, other = pure.statistics(r.astype(np.float32)), pure.statistics((37 * r).astype(np.float32))
  np.testing.assert_allclose(stats.sparsity, other.sparsity, rtol=1e-5)
  np.testing.assert_array_equal(stats.activity, other.activity)


def test_walks_along_maps_begin_at_silence():
  r = np.linspace(2, 5, 101, dtype=np.float32)[:, None] * np.float32([1, -1])
  stats = pure.statistics(r)
  np.testing.assert_allclose([stats.low, stats.high], [[2.03, -4.97], [4.97, -2.03]], atol=1e-5)
  stats = pure.statistics(r, maps=True)
  np.testing.assert_allclose([stats.low, stats.high], [[0, -4.97], [4.97, 0]], atol=1e-5)


def test_all_zero_code_is_dead_and_finite():
  stats = pure.statistics(np.zeros((5, 3), np.float32))
  assert stats.dead.all()
  assert np.isfinite(stats.sparsity).all()
  assert pure.widest(stats, 4) == [0]


def test_set_unit_changes_that_unit_alone():
  code = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
  amplitude = pure.amplitudes(code[None])[0, 2]
  out = pure.set_unit(code, 2, [amplitude, 2 * amplitude, 0], 0)
  others = [0, 1, 3, 4]
  np.testing.assert_array_equal(out[..., others], np.broadcast_to(code[..., others], (3, 3, 4, 4)))
  np.testing.assert_allclose(out[0], code, rtol=1e-6)  # at its own amplitude nothing changes
  np.testing.assert_allclose(out[1][..., 2], 2 * code[..., 2], rtol=1e-6)
  assert (out[2][..., 2] == 0).all()
  flat = pure.set_unit(np.float32([1, 2, 3]), 1, [7, -7], 0)
  np.testing.assert_array_equal(flat, [[1, 7, 3], [1, -7, 3]])


def test_a_silent_map_is_set_where_it_is_strongest_on_average():
  codes = np.zeros((4, 2, 2, 2), np.float32)
  codes[1:, 1, 0, 1] = 2
  codes[1, 0, 1, 1] = 5  # stronger once, weaker on average
  places = pure.places(codes)
  assert places.tolist() == [0, 2]
  out = pure.set_unit(codes[0], 1, [3], places[1])
  assert out[0, 1, 0, 1] == 3
  assert np.count_nonzero(out) == 1


def test_sweep_keeps_images_and_steps_apart():
  codes = np.arange(6, dtype=np.float32).reshape(2, 3)
  got = pure.sweep(lambda c: c.reshape(len(c), 1, 3, 1), codes, 1, np.float32([10, 20]), 0)
  np.testing.assert_array_equal(got[:, :, 0, :, 0], [[[0, 10, 2], [0, 20, 2]], [[3, 10, 5], [3, 20, 5]]])


def test_interpolation_and_tour():
  a, b = np.float32([0, 4]), np.float32([8, 0])
  np.testing.assert_allclose(pure.between(a, b, 5), [[0, 4], [2, 3], [4, 2], [6, 1], [8, 0]])
  path = pure.tour(np.stack([a, b]), 4)
  assert len(path) == 8
  np.testing.assert_array_equal(path[0], a)
  np.testing.assert_array_equal(path[4], b)
  assert np.abs(np.diff(np.concatenate([path, path[:1]]), axis=0)).max() <= 2  # it closes, and nothing jumps


@pytest.mark.parametrize("shape", [(40, 7), (12, 30)])
def test_pca_is_the_singular_value_decomposition(shape):
  x = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 3, shape[1])
  points, share = pure.pca(x.astype(np.float32), 3)
  u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
  np.testing.assert_allclose(np.abs(points), np.abs(u * s)[:, :3], atol=1e-3)
  np.testing.assert_allclose(share, (s**2 / (s**2).sum())[:3], rtol=1e-4)
  for column in points.T:
    assert column[np.abs(column).argmax()] > 0


def test_tsne_keeps_clusters_together():
  rng = np.random.default_rng(0)
  labels = np.arange(60) % 3
  x = (10 * np.eye(3)[labels] @ rng.normal(size=(3, 8)) + rng.normal(size=(60, 8))).astype(np.float32)
  points = pure.tsne(x, 0)
  assert points is not None
  assert points.shape == (60, 2)
  squared = np.square(points[:, None] - points[None]).sum(-1) + 1e9 * np.eye(60)
  assert (labels[squared.argmin(1)] == labels).mean() > 0.95


def test_tsne_says_when_scikit_learn_is_missing(monkeypatch):
  monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
  assert pure.tsne(np.zeros((5, 2), np.float32), 0) is None


def test_neighbours_by_cosine_without_the_query():
  x = np.float32([[1, 0], [5, 0.1], [0, 2], [0.1, 3], [-1, 0]])
  np.testing.assert_array_equal(pure.neighbours(x, [0, 2], 2), [[1, 3], [3, 1]])


def test_first_filters_of_dense_and_convolutional_encoders():
  """A unit that is excited by one pixel has its weight there; a kernel is drawn as it lies on the image."""
  rng = np.random.default_rng(0)
  image = rng.normal(size=(1, 5, 4, 3)).astype(np.float32)
  dense = nn.build("mlp:widths=6,code=0")
  params, stats = nn.init(dense, jax.random.key(0), image)
  drawn = pure.first_filters(params, "dense1", (5, 4, 3))
  out = nn.apply(dense, params, stats, image)[0]["dense1"]
  np.testing.assert_allclose(np.maximum((drawn * image).sum((1, 2, 3)), 0), out[0], atol=1e-5)
  conv = nn.build("conv:widths=6,kernel=3,down=none")
  params, stats = nn.init(conv, jax.random.key(0), image)
  drawn = pure.first_filters(params, "block1", (5, 4, 3))
  out = nn.apply(conv, params, stats, image)[0]["block1"]
  np.testing.assert_allclose(np.maximum((drawn * image[0, 1:4, :3]).sum((1, 2, 3)), 0), out[0, 2, 1], atol=1e-5)
  vit = nn.build("vit:width=8,depth=1,heads=2,patch=2")
  params, stats = nn.init(vit, jax.random.key(0), image)
  patches = pure.first_filters(params, "patches", (5, 4, 3))
  assert patches.shape == (8, 2, 2, 3)
  out = nn.apply(vit, params, stats, image)[0]["patches"] - nn.apply(vit, params, stats, 0 * image)[0]["patches"]
  np.testing.assert_allclose((patches * image[0, 2:4, :2]).sum((1, 2, 3)), out[0, 1, 0], atol=1e-5)
  split = nn.build("split:widths=6")
  params, _ = nn.init(split, jax.random.key(0), image)
  assert pure.first_filters(params, "block1", (5, 4, 3)).shape == (3, 3, 3, 1)  # of lightness
  norms = np.linalg.norm(drawn.reshape(6, -1), axis=1)[pure.strongest(drawn)]
  assert (np.diff(norms) <= 0).all()


def test_labels_of_runs_say_what_differs():
  base = {"method": "denoise", "seed": 0, "data_crc32": 1, "hp": {"level": 0.1, "noise": "masking"}}
  other = {**base, "data_crc32": 2, "hp": {"level": 0.5, "noise": "masking"}}
  assert pure.differences([base, other]) == ["level=0.1", "level=0.5"]
  assert pure.differences([base, {**base, "seed": 3}]) == ["seed=0", "seed=3"]
  assert pure.differences([base, {**base, "data_crc32": 2}]) == ["", ""]
