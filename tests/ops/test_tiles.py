"""Tiles: where they lie, that they are cut and placed exactly, and what is done to each."""

import itertools

import jax
import numpy as np
import pytest
from pretexts import KEY, pixels, prepared

from sslx.ops import tiles as ops


def make_batch(n=6, height=14, width=17, channels=1, seed=0):
  return {"x": prepared(pixels(n, height, width, channels, seed, least=1))}


@pytest.mark.parametrize("grid", [2, 3])
@pytest.mark.parametrize(("gap", "jitter"), [(0.0, 0.0), (0.0, 1.0), (0.5, 0.15), (1 / 3, 1 / 3), (1.0, 1.0)])
def test_tiles_never_touch_nor_leave_the_image(grid, gap, jitter):
  for length in range(2 * grid - 1, 120):
    size, moves = ops.fit(length, grid, gap, jitter)
    assert size >= 1
    assert 0 <= moves <= jitter * size
    first = ops.starts(length, grid, size, moves)
    assert len(first) == grid
    assert first[0] >= 0
    assert first[-1] + moves + size <= length
    for a, b in itertools.pairwise(first):
      assert b - (a + moves + size) >= 1, (length, size, moves)  # the one at its last place, the next at its first
  with pytest.raises(ValueError, match="touch"):
    ops.starts(2 * grid - 2, grid, 1, 0)


def test_proportions_are_those_of_the_papers():
  """Doersch: tiles of 96 with gaps of 48 that move by +-7; Noroozi: 64 in cells of 85 (about). And small images."""
  assert ops.fit(3 * 96 + 2 * 48, 3, 0.5, 0.15) == (96, 14)
  assert ops.fit(255, 3, 1 / 3, 1 / 3) == (69, 15)
  assert ops.fit(28, 3, 0.5, 0.15) == (7, 1)
  assert ops.fit(28, 2, 1 / 3, 1 / 3) == (12, 1)


def test_corners_are_drawn_for_every_tile_of_every_image_and_take_every_value():
  where = ops.layout((40, 23), 3, 0.9, 0.5, 0.3)
  assert where.jitter == (2, 1)
  assert where.spare == (4, 2)
  corners = np.asarray(ops.draw_corners(KEY, 900, where)) - where.first
  assert corners.min() == 0
  for axis in (0, 1):
    moved = corners[..., axis]  # [image, tile]: one draw for the grid + one for each tile
    values, counts = np.unique(moved, return_counts=True)
    grid, tile = np.ones(where.spare[axis] + 1), np.ones(where.jitter[axis] + 1)
    assert list(values) == list(range(len(grid) + len(tile) - 1))
    np.testing.assert_allclose(
      counts / counts.sum(), np.convolve(grid, tile) / np.convolve(grid, tile).sum(), atol=0.04
    )
    assert np.ptp(moved, axis=1).max() == where.jitter[axis]  # tiles of one image share the grid's place
    shared, separate = np.var(range(len(grid))), np.var(range(len(tile)))
    correlation = np.corrcoef(moved.T)[~np.eye(9, dtype=bool)]
    np.testing.assert_allclose(correlation, shared / (shared + separate), atol=0.12)
  assert abs(np.corrcoef(corners[:, 0, 0], corners[:, 0, 1])[0, 1]) < 0.12
  last = where.first.max(0) + where.jitter + where.spare + where.size
  assert (last <= (40, 23)).all()
  assert len(np.unique(corners.reshape(900, -1), axis=0)) > 890


def test_cut_and_place_are_inverse():
  image = make_batch(channels=3)["x"]
  where = ops.layout(image.shape[1:3], 3, 0.9, 0.6, 0.6)
  assert max(where.jitter) > 0
  corners = np.asarray(ops.draw_corners(KEY, len(image), where))
  tiles = np.asarray(ops.cut(image, corners, where.size))
  assert tiles.shape == (6, 9, *where.size, 3)
  expected, seen = np.full_like(image, 0.5), np.zeros_like(image)
  for i, k in itertools.product(range(6), range(9)):
    area = (
      i,
      slice(corners[i, k, 0], corners[i, k, 0] + where.size[0]),
      slice(corners[i, k, 1], corners[i, k, 1] + where.size[1]),
    )
    np.testing.assert_array_equal(tiles[i, k], image[area])
    assert not seen[area].any()  # no two tiles share a pixel
    expected[area], seen[area] = image[area], 1
  np.testing.assert_array_equal(ops.place(tiles, corners, image.shape[1:]), expected)


def test_standardise():
  tiles = np.random.default_rng(0).uniform(size=(2, 3, 4, 5, 3)).astype(np.float32)
  tiles[1, 2] = 0.7
  expected = (tiles - tiles.mean((2, 3, 4), keepdims=True)) / np.maximum(tiles.std((2, 3, 4), keepdims=True), 1e-3)
  np.testing.assert_allclose(ops.standardise(tiles), expected, atol=1e-3)
  np.testing.assert_allclose(np.asarray(ops.standardise(3 * tiles + 2))[0], expected[0], atol=1e-3)


def test_colour_guard_keeps_one_channel_of_each_tile():
  tiles = np.random.default_rng(0).uniform(size=(40, 9, 6, 5, 3)).astype(np.float32)
  seen = np.asarray(ops.one_channel(KEY, tiles))
  kept = (seen == tiles).all((2, 3))
  assert (kept.sum(-1) == 1).all()
  assert kept.mean((0, 1)) == pytest.approx(1 / 3, abs=0.1)
  assert len(np.unique(kept.argmax(-1), axis=0)) > 35  # drawn tile by tile, image by image
  one = np.take_along_axis(tiles, kept.argmax(-1)[..., None, None, None], -1)
  noise = (seen - one.mean((2, 3), keepdims=True)) / one.std((2, 3), keepdims=True) * 100
  noise = noise.transpose(0, 1, 4, 2, 3)[~kept]
  assert noise.mean() == pytest.approx(0, abs=0.03)
  assert noise.std() == pytest.approx(1, abs=0.03)
  assert np.abs(np.corrcoef(noise.reshape(len(noise), -1)) - np.eye(len(noise))).max() < 0.85  # fresh everywhere
  assert np.abs(np.asarray(ops.one_channel(jax.random.key(1), tiles)) - seen)[~np.isin(seen, tiles)].min() > 0
  grey = tiles[..., :1]
  assert ops.one_channel(KEY, grey) is grey
