"""Layers that are fast on the CPU against flax's own: the same parameters, outputs and gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_close, normal, penalties, value_and_gradients
from jax import lax

from sslx.nn import layers
from sslx.ops.conv import DIMENSIONS, conv_general_dilated

KEY = jax.random.key(0)


def parameters(module, x):
  """As initialised, and moved away from zeros and ones: a bias of 0 would hide its gradient's part in others."""
  initial = jax.jit(module.init)(KEY, x)
  return initial, jax.tree.map(lambda a: np.asarray(a) + np.float32(0.3) * normal(*a.shape, seed=1), initial)


def assert_same_layer(ours, flaxs, x, tolerance=1e-5):
  """The same parameters from the same key, the same output and gradients in the parameters and x."""
  (initial, variables), (expected, _) = parameters(ours, x), parameters(flaxs, x)
  assert jax.tree.structure(initial) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, initial, expected)
  got, expected = (value_and_gradients(lambda x, v: m.apply(v, x), x, variables) for m in (ours, flaxs))
  assert_close(got, expected, tolerance)


@pytest.mark.parametrize("strides", [(2, 2), (3, 3)], ids=str)
@pytest.mark.parametrize("kernel", [(3, 3), (2, 2), (4, 4), (5, 5)], ids=str)
def test_conv_transpose_equals_flaxs(kernel, strides):
  assert_same_layer(layers.ConvTranspose(4, kernel, strides), nn.ConvTranspose(4, kernel, strides), normal(5, 4, 3, 3))


@pytest.mark.parametrize(("kernel", "strides"), [((1, 3), (2, 1)), ((4, 2), (1, 3)), ((3, 3), (1, 1))], ids=str)
def test_conv_transpose_of_uneven_sides_equals_flaxs(kernel, strides):
  ours, flaxs = (m(9, kernel, strides) for m in (layers.ConvTranspose, nn.ConvTranspose))
  assert_same_layer(ours, flaxs, normal(33, 5, 3, 1))


def test_conv_transpose_keeps_bfloat16():
  x, layer = jnp.asarray(normal(2, 4, 3, 3), jnp.bfloat16), layers.ConvTranspose(4, (3, 3), (2, 2))
  variables = jax.jit(layer.init)(KEY, x)
  assert {a.dtype for a in jax.tree.leaves(variables)} == {np.dtype("float32")}
  y = jax.jit(layer.apply)(variables, x)
  assert y.dtype == jnp.bfloat16
  assert_close(np.float32(y), np.asarray(jax.jit(layer.apply)(variables, np.float32(x))), 0.02)


@pytest.mark.parametrize(
  "options",
  [
    {"strides": 2},
    {"padding": "CIRCULAR"},
    {"padding": ((0, 2), (1, 0)), "use_bias": False},
    # left to XLA
    {"feature_group_count": 3},
    {"kernel_dilation": 2},
    {"input_dilation": (1, 2), "padding": ((1, 1), (2, 1))},
    {"kernel_size": (3,)},
  ],
  ids=str,
)
def test_conv_equals_flaxs(options):
  options = {"kernel_size": (3, 3), **options}
  x = normal(5, 8, 6, 3) if len(options["kernel_size"]) == 2 else normal(5, 8, 3)
  assert_same_layer(layers.Conv(6, **options), nn.Conv(6, **options), x)


@pytest.mark.parametrize("grouping", [{"feature_group_count": 3}, {"rhs_dilation": (2, 1)}, {"lhs_dilation": (1, 2)}])
def test_other_convolutions_are_xlas(grouping):
  x, k = normal(2, 8, 6, 3), normal(3, 3, 3 // grouping.get("feature_group_count", 1), 6)
  options = {"dimension_numbers": DIMENSIONS, **grouping}
  ours = jax.make_jaxpr(lambda x, k: conv_general_dilated(x, k, (2, 1), ((1, 0), (2, 1)), **options))(x, k)
  xlas = jax.make_jaxpr(lambda x, k: lax.conv_general_dilated(x, k, (2, 1), ((1, 0), (2, 1)), **options))(x, k)
  assert str(ours) == str(xlas)


# group normalisation


@pytest.mark.parametrize(
  ("size", "channels", "groups"), [((7, 7), 12, 3), ((5, 9), 12, 1), ((8, 6), 12, 12), ((1, 1), 6, 2)], ids=str
)
def test_group_norm_equals_flaxs(size, channels, groups):
  x = normal(5, *size, channels) * np.linspace(0.5, 2, channels, dtype=np.float32) + 0.3
  assert_same_layer(layers.GroupNorm(groups), nn.GroupNorm(groups), x)


@pytest.mark.parametrize("offset", [3, 30])
@pytest.mark.parametrize("groups", [1, 3, 12])
def test_group_norm_far_from_zero(offset, groups):
  """E[x^2] - E[x]^2 loses (mean / std)^2 in precision, here and in flax: no more than a few times that."""
  x = normal(4, 8, 6, 12) + np.float32(offset)
  wide = np.float64(x).reshape(4, 8, 6, groups, -1)
  expected = (wide - wide.mean((1, 2, 4), keepdims=True)) / np.sqrt(wide.var((1, 2, 4), keepdims=True) + 1e-6)
  ours, flaxs = layers.GroupNorm(groups), nn.GroupNorm(groups)
  variables = jax.jit(ours.init)(KEY, x)
  np.testing.assert_allclose(
    jax.jit(ours.apply)(variables, x), expected.reshape(x.shape), rtol=0, atol=2e-6 * offset**2
  )
  got, reference = (value_and_gradients(lambda x, v: m.apply(v, x), x, variables) for m in (ours, flaxs))
  assert_close(got, reference, 2e-6 * offset**2)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.25])
def test_group_norm_of_constant_images(value):
  """The variance is exactly 0: the output is the bias, the gradient in x large, in scale 0, all but for rounding."""
  x, layer = np.full((2, 8, 8, 6), value, np.float32), layers.GroupNorm(2)
  variables = parameters(layer, x)[1]
  got, expected = (value_and_gradients(lambda x, v: m.apply(v, x), x, variables) for m in (layer, nn.GroupNorm(2)))
  for gradients in (got, expected):
    np.testing.assert_allclose(gradients[2]["params"].pop("scale"), 0, atol=1e-2)
  assert_close(got, expected, 1e-3)


@pytest.mark.parametrize("value", [0.3, 5.0])
def test_group_norm_of_constant_images_with_rounding(value):
  """The variance is a rounding error, perhaps negative: the output is still near the bias, and no gradient is NaN."""
  x, layer = np.full((2, 7, 5, 6), value, np.float32), layers.GroupNorm(2)
  y, dx, dv = value_and_gradients(lambda x, v: layer.apply(v, x), x, jax.jit(layer.init)(KEY, x))
  np.testing.assert_allclose(y, 0, atol=1e-2)
  assert all(np.isfinite(a).all() for a in jax.tree.leaves((dx, dv)))


def test_group_norm_second_derivatives_equal_flaxs():
  x, scale = normal(2, 5, 4, 6), normal(6) + 1

  def gradients(module):
    return penalties(lambda x, scale: module.apply({"params": {"scale": scale, "bias": jnp.ones(6)}}, x), x, scale)

  assert_close(gradients(layers.GroupNorm(3)), gradients(nn.GroupNorm(3)))
