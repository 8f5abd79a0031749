"""Readings: their grammar, and what they read of blocks with places of any rank."""

import itertools
import math
from collections.abc import Callable

import jax
import numpy as np
import pytest
from pretexts import KEY, init, pixels

from sslx import nn
from sslx.modalities import MODALITIES
from sslx.types import Refusal, UserError


def images(n=4, height=8, width=8, channels=1, seed=0):
  return np.random.default_rng(seed).uniform(size=(n, height, width, channels)).astype(np.float32)


def test_features_grammar():
  names = ["block1", "block2", "code"]
  for spec, expected in {
    "flatten": [("code", "flatten")],
    "pool": [("code", "pool")],
    "grid12": [("code", "grid12")],
    "block1": [("block1", "flatten")],
    "block1:pool+code": [("block1", "pool"), ("code", "flatten")],
    "block2:grid3+flatten": [("block2", "grid3"), ("code", "flatten")],
    "block2:max10": [("block2", "max10")],
    "block1@1+block2:grid3@2+pool@1": [("block1", "flatten@1"), ("block2", "grid3@2"), ("code", "pool@1")],
    "moments": [("code", "moments")],
    "block1:moments@2": [("block1", "moments@2")],
    "all": [("block1", "flatten"), ("block2", "flatten"), ("code", "flatten")],
    "all:pool": [("block1", "pool"), ("block2", "pool"), ("code", "pool")],
    "all:moments@1+pool": [*((block, "moments@1") for block in names), ("code", "pool")],
    "maps4": [("block1", "maps4"), ("block2", "maps4"), ("code", "maps4")],
  }.items():
    assert nn.check_reading(spec, names) == expected


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("blok1", "'blok1' is neither a block nor a reading. Did you mean 'block1'"),
    ("blok1:pool", "no block 'blok1'. Did you mean 'block1'"),
    ("block1:pol", "'pol' is neither.*Did you mean 'pool'"),
    ("grid", "'grid' is neither"),
    ("grid0", "'grid0' is neither"),
    ("grid-1", "'grid-1' is neither"),
    ("max0", "'max0' is neither"),
    ("max", "'max' is neither"),
    ("block1:", "'' is neither"),
    ("pool+", "'' is neither"),
    ("block1@3", "@3: a block's channels have two halves, @1 and @2"),
    ("pool@", "@: a block's channels have two halves"),
    ("block1@1:pool", "@1:pool: a block's channels have two halves"),
    ("blok1@1", "'blok1' is neither a block nor a reading. Did you mean 'block1'"),
    ("grid100000", "'grid100000' is neither"),
    ("max" + "9" * 5000, "is neither"),
    ("", "'' is neither"),
    ("moment", "'moment' is neither a block nor a reading. Did you mean 'moments'"),
    ("block1:moments2", "'moments2' is neither"),
    ("al:pool", "no block 'al'"),
    ("all:pol", "'pol' is neither.*Did you mean 'pool'"),
    ("all:pool@3", "@3: a block's channels have two halves"),
    ("maps", "'maps' is neither"),
    ("maps0", "'maps0' is neither"),
    ("maps10000", "'maps10000' is neither"),
    ("maps4@1", "'maps4' is neither"),  # maps are read by themselves, and of all blocks
    ("block1:maps4", "'maps4' is neither"),
    ("pool+maps4", "'maps4' is neither"),
  ],
)
def test_bad_features(spec, message):
  with pytest.raises(UserError, match=message) as caught:
    nn.check_reading(spec, ["block1", "block2"])
  assert str(caught.value).startswith(f"--features={spec}:")


def test_features_are_read_in_order():
  outputs = {"a": images(2, 4, 6, 3), "b": np.float32([[1, 2], [3, 4]])}
  np.testing.assert_array_equal(nn.read(outputs, "a"), outputs["a"].reshape(2, -1))
  np.testing.assert_allclose(nn.read(outputs, "a:pool"), outputs["a"].mean((1, 2)), rtol=1e-5)
  grid = outputs["a"].reshape(2, 2, 2, 2, 3, 3).mean((2, 4)).reshape(2, -1)  # 2x2 cells of 2x3 pixels
  np.testing.assert_allclose(nn.read(outputs, "a:grid2"), grid, rtol=1e-5)
  largest = outputs["a"].reshape(2, 2, 2, 2, 3, 3).max((2, 4)).reshape(2, -1)
  np.testing.assert_array_equal(nn.read(outputs, "a:max2"), largest)
  np.testing.assert_array_equal(nn.read(outputs, "pool"), outputs["b"])  # a flat block reads the same in every way
  np.testing.assert_allclose(
    nn.read(outputs, "b+a:pool"), np.concatenate([outputs["b"], outputs["a"].mean((1, 2))], 1), rtol=1e-5
  )


def test_halves_of_the_channels_are_read():
  outputs = {"a": images(2, 4, 6, 6), "b": np.float32([[1, 2], [3, 4]])}
  for i, half in enumerate((outputs["a"][..., :3], outputs["a"][..., 3:]), 1):
    for how in ("flatten", "pool", "grid2", "max2"):
      np.testing.assert_array_equal(nn.read(outputs, f"a:{how}@{i}"), nn.read({"a": half}, f"a:{how}"))
  np.testing.assert_array_equal(nn.read(outputs, "b@2"), [[2], [4]])
  np.testing.assert_array_equal(nn.read(outputs, "a@2"), nn.read(outputs, "a:flatten@2"))


def naive_pool(x: np.ndarray, n: int, reduce: Callable[..., np.ndarray]) -> np.ndarray:
  """[B,...,D] -> [B,cells * D]: cell by cell, the cells in the order of their places."""
  sizes = x.shape[1:-1]
  borders = [
    [(i * size // min(n, size), math.ceil((i + 1) * size / min(n, size))) for i in range(min(n, size))]
    for size in sizes
  ]
  cells = []
  for cell in itertools.product(*borders):
    inside = x[(slice(None), *(slice(a, b) for a, b in cell))]
    cells.append(reduce(inside, axis=tuple(range(1, x.ndim - 1))))
  return np.stack(cells, axis=1).reshape(len(x), -1)


@pytest.mark.parametrize("shape", [(2, 7, 3), (2, 3, 5, 4), (2, 4, 5, 3, 2), (2, 5)], ids=str)
def test_readings_over_places_of_any_rank_equal_a_naive_loop(shape):
  """Sound and text have places [T], images [h,w], clips [T,h,w], and a code has none."""
  outputs = {"a": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
  if len(shape) == 2:
    for how in ("flatten", "pool", "grid2", "max3"):
      np.testing.assert_array_equal(nn.read(outputs, how), outputs["a"])
    return
  readings = ["flatten", "pool", *(f"{how}{n}" for how in ("grid", "max") for n in (1, 2, 3, 4)), "grid2@1", "grid2@2"]
  read = jax.jit(lambda x: {reading: nn.read({"a": x}, reading) for reading in readings})(outputs["a"])
  np.testing.assert_array_equal(read["flatten"], outputs["a"].reshape(2, -1))
  np.testing.assert_allclose(read["pool"], naive_pool(outputs["a"], 1, np.mean), rtol=1e-5, atol=1e-6)
  for n in (1, 2, 3, 4):
    expected = naive_pool(outputs["a"], n, np.mean)
    np.testing.assert_allclose(read[f"grid{n}"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(read[f"max{n}"], naive_pool(outputs["a"], n, np.max))
  middle = shape[-1] // 2
  for half, part in (("1", outputs["a"][..., :middle]), ("2", outputs["a"][..., middle:])):
    np.testing.assert_allclose(read[f"grid2@{half}"], naive_pool(part, 2, np.mean), rtol=1e-5, atol=1e-6)


# moments


def spot(height: int, width: int, row: int, column: int, background: float = 0.3) -> np.ndarray:
  x = np.full((1, height, width, 1), background, np.float32)
  x[0, row, column] += 1
  return x


@pytest.mark.parametrize(("height", "width"), [(5, 8), (1, 4), (28, 28)])
@pytest.mark.parametrize("background", [0.0, 0.3, -2.0])
def test_moments_of_one_bright_spot_are_its_place(height, width, background):
  """Row i of n lies at (2 i + 1) / n - 1: the centres of the outermost are half a place from the edges at -1 and 1."""
  read = jax.jit(lambda x: nn.read({"a": x}, "a:moments"))
  for row, column in ((0, 0), (height - 1, width - 1), (height // 2, 1)):
    x = spot(height, width, row, column, background)
    place = [x.mean(), (2 * row + 1) / height - 1, (2 * column + 1) / width - 1]
    np.testing.assert_allclose(read(x), [place], rtol=1e-4, atol=1e-4)


def test_moments_follow_what_moves_and_are_of_each_channel():
  x = np.zeros((2, 12, 10, 3), np.float32)
  x[:, 2:5, 3:5] = np.random.default_rng(0).uniform(0.5, 1, (2, 3, 2, 3))
  moved = np.roll(x, (4, -2), (1, 2))
  read = jax.jit(lambda x: nn.read({"a": x}, "moments"))
  before, after = (np.asarray(read(each)).reshape(2, 3, 3) for each in (x, moved))  # mean, rows, columns
  np.testing.assert_allclose(before[:, 0], x.mean((1, 2)), rtol=1e-5)
  np.testing.assert_allclose(after - before, np.broadcast_to([[0], [2 * 4 / 12], [-2 * 2 / 10]], (2, 3, 3)), atol=1e-5)
  turned = np.asarray(read(x.transpose(0, 2, 1, 3))).reshape(2, 3, 3)
  np.testing.assert_allclose(turned, before[:, [0, 2, 1]], atol=1e-5)
  np.testing.assert_allclose(read(x[..., 1:2]), before[:, :, 1], atol=1e-6)  # a channel's are its own


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 1e4])
def test_moments_of_a_channel_that_is_the_same_everywhere_are_0(value):
  x = np.full((1, 7, 6, 2), value, np.float32)
  slope = jax.grad(lambda x: nn.read({"a": x}, "moments").sum())
  np.testing.assert_allclose(nn.read({"a": x}, "moments"), [[value, value, 0, 0, 0, 0]], rtol=1e-5, atol=1e-4)
  assert np.isfinite(slope(x)).all()


def test_moments_of_any_number_of_axes():
  flat, sound = np.float32([[1, 2], [3, 4]]), np.zeros((1, 8, 1), np.float32)
  sound[0, 6] = 1
  np.testing.assert_array_equal(nn.read({"a": flat}, "moments"), flat)
  np.testing.assert_allclose(nn.read({"a": sound}, "moments"), [[1 / 8, 13 / 8 - 1]], rtol=1e-4)
  clip = images(2, 4, 6, 3)[None]
  assert nn.read({"a": clip}, "moments").shape == (1, 4 * 3)
  halves = nn.read({"a": clip[..., :1]}, "moments")
  np.testing.assert_allclose(nn.read({"a": clip}, "moments@1"), halves, rtol=1e-5, atol=1e-6)


def test_all_blocks_are_read_side_by_side():
  outputs = {"a": images(2, 4, 6, 3), "b": images(2, 2, 3, 5), "c": np.float32([[1, 2], [3, 4]])}
  expected = np.concatenate([outputs["a"].mean((1, 2)), outputs["b"].mean((1, 2)), outputs["c"]], 1)
  np.testing.assert_allclose(nn.read(outputs, "all:pool"), expected, rtol=1e-5)
  assert nn.read(outputs, "all").shape == (2, 4 * 6 * 3 + 2 * 3 * 5 + 2)
  np.testing.assert_allclose(nn.read(outputs, "all:pool@2+c")[:, -2:], outputs["c"])


# maps


def maps(*blocks: np.ndarray, stride: int = 4, places: tuple[int, ...] = (16, 24)) -> np.ndarray:
  outputs = {f"block{i}": block for i, block in enumerate(blocks)}
  return np.asarray(jax.jit(lambda outputs: nn.read(outputs, f"maps{stride}", places))(outputs))


def test_finer_maps_are_read_by_the_mean_of_each_place_and_those_of_its_size_as_they_are():
  fine, half, same, flat = images(2, 16, 24, 3), images(2, 8, 12, 2), images(2, 4, 6, 1), np.ones((2, 9), np.float32)
  read = maps(fine, half, flat, same)
  assert read.shape == (2, 4, 6, 3 + 2 + 1)  # a code is no map
  np.testing.assert_allclose(read[..., :3], fine.reshape(2, 4, 4, 6, 4, 3).mean((2, 4)), rtol=1e-5)
  np.testing.assert_allclose(read[..., 3:5], half.reshape(2, 4, 2, 6, 2, 2).mean((2, 4)), rtol=1e-5)
  np.testing.assert_array_equal(read[..., 5:], same)


def test_coarser_maps_are_interpolated():
  """At a quarter and three quarters between two neighbours; beyond the outermost the map goes on as it is."""
  rows = np.float32([0, 4, 12])[None, :, None, None] * np.ones((1, 1, 2, 1), np.float32)
  read = maps(rows, places=(24, 16))
  np.testing.assert_allclose(read[0, :, 0, 0], [0, 1, 3, 6, 10, 12], rtol=1e-6)
  np.testing.assert_allclose(read, np.tile(read[:, :, :1], (1, 1, 4, 1)))


@pytest.mark.parametrize("places", [(16, 24), (15, 22), (28, 9), (30, 3), (1, 5)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_sizes_are_rounded_up_and_a_constant_stays(places, stride):
  """Blocks that halve height and width, rounded up, as those of conv."""
  blocks, size = [], places
  for level in range(4):
    blocks.append(np.full((1, *size, 1), level + 0.5, np.float32))
    size = tuple(-(-n // 2) for n in size)
  read = maps(*blocks, stride=stride, places=places)
  assert read.shape == (1, -(-places[0] // stride), -(-places[1] // stride), 4)
  np.testing.assert_allclose(read, np.broadcast_to(np.arange(4) + 0.5, read.shape), rtol=1e-5)


@pytest.mark.parametrize("length", [30, 28, 26, 25])
def test_places_of_blocks_that_rounded_up_stay_where_their_pixels_are(length):
  """Values are positions in pixels, which all blocks must agree on away from the far edge, whatever the length."""
  blocks, position = [], np.arange(length, dtype=np.float32)
  for _ in range(4):
    blocks.append(np.tile(position[None, :, None, None], (1, 1, 3, 1)))
    position = np.pad(position, (0, len(position) % 2), mode="edge").reshape(-1, 2).mean(1)
  read = maps(*blocks, places=(length, 12))[0, :, 0]
  expected = 4 * np.arange(len(read)) + 1.5
  np.testing.assert_allclose(read[:-2, :3], np.tile(expected[:-2, None], 3), atol=1e-5)
  np.testing.assert_allclose(read[1:-3, 3], expected[1:-3], atol=1e-5)  # interpolated, but for the edges


def test_maps_of_another_stride_than_a_whole_number():
  """A ViT's patches of 3 pixels, read at every 4."""
  position = np.tile(3 * np.arange(8, dtype=np.float32)[None, :, None, None] + 1, (1, 1, 8, 1))
  read = maps(position, places=(24, 24))
  assert read.shape == (1, 6, 6, 1)
  np.testing.assert_allclose(read[0, 1:-1, 0, 0], 4 * np.arange(1, 5) + 1.5, atol=0.2)


def test_an_encoder_without_maps_is_refused():
  with pytest.raises(Refusal, match=r"--encoder: its blocks have no maps, which this task reads; try --encoder=conv"):
    maps(np.ones((2, 9), np.float32))
  encoder, prepare = nn.build("mlp:widths=6,code=4"), MODALITIES["image"].prepare
  params, stats = init(encoder, KEY, np.zeros((1, 8, 8, 1), np.float32))
  with pytest.raises(Refusal, match="no maps"):
    nn.Representation(encoder, "maps4", params, stats, prepare)(pixels(2, 8, 8, 1))


# representations


def test_a_representation_prepares_reads_and_counts():
  encoder, raw = nn.build("conv:widths=4-6"), pixels(3, 8, 9, 1)
  prepare = MODALITIES["image"].prepare
  params, stats = init(encoder, KEY, prepare(raw))
  representation = nn.Representation(encoder, "block1:pool+block2", params, stats, prepare)
  blocks = jax.jit(lambda x: nn.apply(encoder, params, stats, x)[0])(prepare(raw))
  expected = np.concatenate([blocks["block1"].mean((1, 2)), blocks["block2"].reshape(3, -1)], axis=1)
  np.testing.assert_allclose(representation(raw), expected, rtol=1e-5, atol=1e-6)
  assert representation.size == sum(leaf.size for leaf in jax.tree.leaves(params))
  twice = representation.holding(jax.tree.map(lambda p: 2 * p, params), stats)
  assert twice._replace(params=params) == representation
  assert np.abs(twice(raw) - representation(raw)).max() > 0.01


def test_raw_pixels_are_features_of_an_encoder_too():
  raw = pixels(3, 4, 5, 2)
  representation = nn.Representation(nn.RAW, "flatten", {}, {}, MODALITIES["image"].prepare)
  np.testing.assert_allclose(representation(raw), raw.reshape(3, -1) / 255, rtol=1e-6)


def test_a_representation_of_maps_reads_places_of_the_signal():
  encoder, raw = nn.build("conv:widths=4-6-5"), pixels(3, 10, 9, 1)
  prepare = MODALITIES["image"].prepare
  params, stats = init(encoder, KEY, prepare(raw))
  representation = nn.Representation(encoder, "maps4", params, stats, prepare)
  assert representation.is_map
  assert not representation._replace(reading="all:moments").is_map
  blocks = jax.jit(lambda x: nn.apply(encoder, params, stats, x)[0])(prepare(raw))
  read = representation(raw)
  assert read.shape == (3, 3, 3, 15)
  np.testing.assert_allclose(read, maps(*blocks.values(), places=(10, 9)), rtol=1e-5, atol=1e-6)
  assert representation(raw[:0]).shape == (0, 3, 3, 15)
