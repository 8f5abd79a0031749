"""Heads: counts of parameters, zeros at the start, and the only layer of a module."""

import jax
import numpy as np
import pytest
from pretexts import KEY, apply, init

from sslx import nn
from sslx.training import masks


def images(n=4, height=8, width=8, channels=1, seed=0):
  return np.random.default_rng(seed).uniform(size=(n, height, width, channels)).astype(np.float32)


def test_heads():
  x = images(3, 3, 3, 32)
  params, _ = init(nn.ConvHead(4), KEY, x)
  assert masks.count(params) == 23_988 - 19_104
  assert apply(nn.ConvHead(4), params, {}, x)[0].shape == (3, 4)
  flat, _ = init(nn.ConvHead(4), KEY, x.reshape(3, -1))
  assert masks.count(flat) == (288 + 1) * 4
  zero, _ = init(nn.Linear(4, zero=True), KEY, x)
  np.testing.assert_array_equal(apply(nn.Linear(4, zero=True), zero, {}, x)[0], 0)
  projector, _ = init(nn.Projector((5, 2)), KEY, x)
  assert masks.count(projector) == (288 + 1) * 5 + (5 + 1) * 2
  assert apply(nn.Projector((5, 2)), projector, {}, x)[0].min() < 0  # the last layer is linear


def test_the_only_layer_of_a_module_is_found_whatever_its_name():
  layer = {"kernel": np.ones((2, 3)), "bias": np.zeros(3)}
  norm = {"scale": np.ones(3), "bias": np.zeros(3)}
  for params in ({"Dense_0": layer}, {"Conv_0": layer, "GroupNorm_0": norm}, {"anything": layer, "mask": np.ones(2)}):
    assert nn.only_layer(params) == layer
  with pytest.raises(ValueError, match=r"expected one layer with a kernel among \['Dense_0', 'Dense_1'\]"):
    nn.only_layer({"Dense_1": layer, "Dense_0": layer})
  with pytest.raises(ValueError, match=r"expected one layer with a kernel among \['GroupNorm_0'\]"):
    nn.only_layer({"GroupNorm_0": norm})


# heads of places


@pytest.mark.parametrize("zoom", [1, 2, 3])
def test_what_a_place_answers_lands_in_its_own_cell(zoom):
  """Zoomed, a head is the same one without zoom and with zoom^2 times the outputs, each put where it belongs."""
  x, k = images(2, 3, 4, 5), 2
  head, plain = nn.PlaceHead(k, width=8, zoom=zoom), nn.PlaceHead(k * zoom**2, width=8)
  params, _ = init(head, KEY, x)
  assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, init(plain, KEY, x)[0])
  flat = np.asarray(apply(plain, params, {}, x)[0])
  zoomed = np.asarray(apply(head, params, {}, x)[0])
  assert zoomed.shape == (2, 3 * zoom, 4 * zoom, k)
  for i, j, a, b in np.ndindex(3, 4, zoom, zoom):
    expected = flat[:, i, j, (a * zoom + b) * k : (a * zoom + b + 1) * k]
    np.testing.assert_allclose(zoomed[:, i * zoom + a, j * zoom + b], expected, rtol=1e-4, atol=1e-5)


def test_outputs_within_a_cell_are_in_the_order_of_rows_and_columns():
  x = images(1, 2, 2, 3)
  head = nn.PlaceHead(2, width=8, zoom=2)
  params, _ = init(head, KEY, x)
  out = {"kernel": np.zeros_like(params["out"]["kernel"]), "bias": np.float32([0, 10, 1, 11, 2, 12, 3, 13])}
  outputs = np.asarray(apply(head, {**params, "out": out}, {}, x)[0])
  cell = [[0, 1], [2, 3]]
  np.testing.assert_array_equal(outputs[0, ..., 0], np.tile(cell, (2, 2)))
  np.testing.assert_array_equal(outputs[0, ..., 1], np.tile(cell, (2, 2)) + 10)


def test_maps_of_any_scale_give_the_same_at_the_start():
  x = images(2, 6, 5, 3)
  head = nn.PlaceHead(2, width=16)
  params, _ = init(head, KEY, x)
  outputs = [np.asarray(apply(head, params, {}, scale * x)[0]) for scale in (1, 1000)]
  np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-3, atol=1e-3)
  assert np.abs(outputs[0]).max() > 0.1
  assert np.isfinite(apply(head, params, {}, 0 * x)[0]).all()


def test_what_outputs_start_at():
  x = images(1, 2, 3, 3)
  for zoom in (1, 2):
    head = nn.PlaceHead(3, width=8, zoom=zoom, bias=(-2.0, 0.0, 0.5))
    params, _ = init(head, KEY, x)
    np.testing.assert_array_equal(params["out"]["bias"], np.tile([-2, 0, 0.5], zoom**2))
  np.testing.assert_array_equal(init(nn.PlaceHead(3, width=8), KEY, x)[0]["out"]["bias"], [0, 0, 0])


def test_a_place_head_sees_neighbours_and_a_pixel_head_does_not():
  x = images(1, 5, 5, 2)
  changed = x.copy()
  changed[0, 2, 2] += 1
  for head, seen in ((nn.PlaceHead(2, width=16), 1), (nn.PixelHead(2, width=16), 0)):
    params, _ = init(head, KEY, x)
    before, after = (np.asarray(apply(head, params, {}, each)[0]) for each in (x, changed))
    assert before.shape == (1, 5, 5, 2)
    moved = np.abs(before - after).max((0, 3)) > 1e-6
    assert moved[2 - seen : 3 + seen, 2 - seen : 3 + seen].all()
    if not seen:
      assert moved.sum() == 1
      same = np.asarray(apply(head, params, {}, x[:, ::-1])[0])[:, ::-1]  # and not where it is
      np.testing.assert_allclose(same, before, rtol=1e-5, atol=1e-6)
