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
from sslx.types import UserError


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
