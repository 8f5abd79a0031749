"""Heads: counts of parameters, zeros at the start, and the only layer of a module."""

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
