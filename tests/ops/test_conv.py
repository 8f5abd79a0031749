"""The operations that are fast on the CPU against XLA's and flax's own: values, gradients, gradients of gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sslx.nn import layers
from sslx.ops.conv import CHUNK, DIMENSIONS, conv2d, conv_general_dilated, weight_gradient
from sslx.ops.pool import max_pool

KEY = jax.random.key(0)
ONE = (1, 1)


def normal(*shape, seed=0):
  return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def assert_close(got, expected, tolerance=1e-5):
  """Leaf by leaf, relative to the largest element: sums of different order differ most where they cancel."""
  assert jax.tree.structure(got) == jax.tree.structure(expected)
  for i, (a, b) in enumerate(zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)):
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(np.abs(b).max()), err_msg=f"leaf {i}")


def xla(x, kernel, strides, pads, dilation=ONE):
  """XLA's convolution of an input that is padded and cut beforehand.

  Its own negative padding is garbage on the CPU, and is what the gradient of a wide padding turns into.
  """
  if dilation == ONE:
    x, pads = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)]), "VALID"
  return lax.conv_general_dilated(x, kernel, strides, pads, dilation, dimension_numbers=DIMENSIONS)


def value_and_gradients(f, x, kernel):
  """f(x, kernel) and the gradients of its product with a fixed random array."""

  def run(x, kernel):
    y, transpose = jax.vjp(f, x, kernel)
    return y, *transpose(jnp.asarray(normal(*y.shape, seed=2), y.dtype))

  return jax.jit(run)(x, kernel)


def penalties(f, x, kernel):
  """Gradients in x and kernel of the squared norms of both gradients of a curved function of f."""

  def norms(x, kernel):
    dx, dkernel = jax.grad(lambda x, kernel: jnp.sin(f(x, kernel)).sum(), (0, 1))(x, kernel)
    return jnp.square(dx).sum(), jnp.square(dkernel).sum()

  def run(x, kernel):
    values, transpose = jax.vjp(norms, x, kernel)
    return values, transpose((1.0, 0.0)), transpose((0.0, 1.0))

  return jax.jit(run)(x, kernel)


# convolution


@pytest.mark.parametrize(
  ("size", "kernel", "strides", "padding", "channels", "batch"),
  [
    ((7, 7), (3, 3), (1, 1), "SAME", (1, 9), 5),
    ((5, 9), (2, 3), (1, 1), "VALID", (3, 3), 33),
    ((8, 6), (4, 4), (1, 1), "SAME", (9, 1), 5),
    ((7, 7), (1, 1), (1, 1), "SAME", (12, 3), 33),
    ((5, 9), (5, 5), (1, 1), "SAME", (1, 1), 5),
    ((8, 6), (3, 3), (2, 2), "SAME", (3, 9), 33),
    ((7, 7), (5, 5), (2, 2), "VALID", (3, 9), 5),
    ((5, 9), (1, 1), (2, 2), "SAME", (9, 12), 5),
    ((8, 6), (3, 3), (2, 2), "VALID", (3, 1), 33),  # the last row and column are not read
    ((7, 7), (2, 3), (1, 2), "SAME", (3, 9), 5),
    ((8, 6), (4, 4), (1, 2), "VALID", (9, 3), 33),
    ((7, 7), (2, 3), (3, 3), "VALID", (3, 12), 5),
    ((8, 6), (1, 1), (3, 3), "SAME", (9, 1), 33),  # most pixels are not read
    ((5, 9), (5, 5), (3, 3), "SAME", (1, 3), 5),
    # asymmetric, some wider than the kernel
    ((5, 9), (3, 3), (1, 1), ((0, 2), (1, 4)), (3, 9), 5),
    ((8, 6), (2, 3), (2, 2), ((3, 0), (0, 4)), (12, 3), 33),
    ((7, 7), (5, 5), (1, 2), ((4, 1), (0, 2)), (1, 3), 5),
    ((8, 6), (4, 4), (3, 3), ((2, 5), (0, 1)), (3, 3), 5),
    # negative
    ((7, 7), (3, 3), (1, 1), ((-1, 0), (-2, 1)), (3, 9), 5),
    ((8, 6), (3, 3), (1, 1), ((1, -2), (0, -1)), (9, 3), 33),
    ((8, 6), (1, 1), (1, 1), ((0, -3), (-1, 2)), (1, 3), 5),
    ((7, 7), (3, 3), (2, 2), ((-2, -1), (1, -1)), (3, 1), 5),
    ((5, 9), (4, 4), (1, 2), ((1, -1), (-3, 0)), (3, 9), 33),
    ((8, 6), (5, 5), (3, 3), ((-1, 2), (2, -1)), (9, 3), 5),
  ],
)
def test_convolution_equals_xlas(size, kernel, strides, padding, channels, batch):
  assert batch % CHUNK
  x, k = normal(batch, *size, channels[0]), normal(*kernel, *channels)
  pads = lax.padtype_to_pads(size, kernel, strides, padding) if isinstance(padding, str) else padding
  got = value_and_gradients(lambda x, k: conv_general_dilated(x, k, strides, padding), x, k)
  assert_close(got, value_and_gradients(lambda x, k: xla(x, k, strides, pads), x, k))


@pytest.mark.parametrize(
  ("size", "kernel", "dilation", "pads", "channels", "batch"),
  [
    ((7, 7), (3, 3), (2, 2), ((2, 1), (2, 1)), (3, 9), 5),
    ((5, 9), (2, 3), (3, 3), ((1, 3), (2, 4)), (9, 3), 33),
    ((8, 6), (5, 5), (1, 2), ((2, 2), (4, 0)), (1, 3), 5),
    ((5, 9), (4, 4), (2, 3), ((0, 0), (0, 3)), (3, 1), 33),
    ((7, 7), (1, 1), (2, 2), ((0, 1), (0, 0)), (9, 12), 5),
    ((8, 6), (3, 3), (2, 2), ((-1, 2), (1, -3)), (3, 3), 5),
    ((7, 7), (4, 4), (3, 3), ((6, 1), (-2, 7)), (3, 9), 33),
  ],
)
def test_dilated_convolution_equals_xlas(size, kernel, dilation, pads, channels, batch):
  x, k = normal(batch, *size, channels[0]), normal(*kernel, *channels)
  got = value_and_gradients(lambda x, k: conv2d(x, k, ONE, pads, dilation), x, k)
  assert_close(got, value_and_gradients(lambda x, k: xla(x, k, ONE, pads, dilation), x, k))


@pytest.mark.parametrize(
  ("strides", "pads", "dilation"),
  [
    ((1, 1), ((2, 0), (1, 1)), ONE),
    ((1, 1), ((-1, 4), (0, -2)), ONE),
    ((2, 3), ((1, -1), (3, 0)), ONE),
    (ONE, ((-2, 1), (3, -1)), (2, 3)),
  ],
)
def test_convolution_equals_its_definition(strides, pads, dilation):
  x, k = normal(2, 5, 7, 2), normal(2, 3, 2, 3)
  got = value_and_gradients(lambda x, k: conv2d(x, k, strides, pads, dilation), x, k)
  y, dx, dk, g = (np.zeros(a.shape) for a in (*got, got[0]))
  g[:] = normal(*y.shape, seed=2)
  for row, column, i, j in np.ndindex(*y.shape[1:3], *k.shape[:2]):
    at = row * strides[0] + i - pads[0][0], column * strides[1] + j - pads[1][0]  # in the dilated x
    a, b = at[0] // dilation[0], at[1] // dilation[1]
    if at == (a * dilation[0], b * dilation[1]) and 0 <= a < 5 and 0 <= b < 7:
      y[:, row, column] += x[:, a, b] @ k[i, j]
      dx[:, a, b] += g[:, row, column] @ k[i, j].T
      dk[i, j] += x[:, a, b].T @ g[:, row, column]
  expected = [(5, 7)[i] * dilation[i] - dilation[i] + 1 + sum(pads[i]) - k.shape[i] for i in (0, 1)]
  assert y.shape[1:3] == tuple(n // s + 1 for n, s in zip(expected, strides, strict=True))
  assert_close(got, (y, dx, dk))


@pytest.mark.parametrize(
  ("size", "kernel", "strides", "pads", "dilation"),
  [
    ((7, 7), (5, 5), (1, 1), ((2, 2), (1, 2)), ONE),
    ((7, 7), (3, 3), (1, 1), ((4, 0), (3, 1)), ONE),  # wider than the kernel: the gradient's padding is negative
    ((8, 6), (3, 3), (2, 2), ((0, 1), (0, 1)), ONE),
    ((5, 9), (1, 1), (2, 2), ((0, 0), (0, 0)), ONE),
    ((7, 7), (5, 5), (1, 2), ((0, 0), (1, 0)), ONE),
    ((5, 4), (3, 3), ONE, ((2, 1), (2, 1)), (2, 2)),
    ((5, 4), (2, 3), ONE, ((0, 1), (1, 2)), (1, 3)),
  ],
)
def test_second_derivatives_equal_xlas(size, kernel, strides, pads, dilation):
  x, k = normal(5, *size, 3), normal(*kernel, 3, 4) / 4
  got = penalties(lambda x, k: conv2d(x, k, strides, pads, dilation), x, k)
  assert_close(got, penalties(lambda x, k: xla(x, k, strides, pads, dilation), x, k))


@pytest.mark.parametrize(
  ("strides", "pads", "dilation"),
  [((1, 1), ((1, 2), (0, 1)), ONE), ((2, 3), ((1, 0), (0, 1)), ONE), ((1, 1), ((2, 1), (1, 2)), (2, 2))],
)
def test_what_other_platforms_run(monkeypatch, strides, pads, dilation):
  """The branches for accelerators, traced for the CPU."""
  x, k = normal(5, 8, 6, 3), normal(3, 3, 3, 4) / 4
  expected = [run(lambda x, k: xla(x, k, strides, pads, dilation), x, k) for run in (value_and_gradients, penalties)]
  monkeypatch.setattr(lax, "platform_dependent", lambda *args, default, cpu: default(*args))
  got = [run(lambda x, k: conv2d(x, k, strides, pads, dilation), x, k) for run in (value_and_gradients, penalties)]
  assert_close(got, expected)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)], ids=str)
def test_convolution_in_scan_vmap_and_eagerly(strides):
  x, k = normal(3, 5, 7, 7, 3), normal(3, 3, 3, 4)
  pads = lax.padtype_to_pads((7, 7), (3, 3), strides, "SAME")

  def results(convolution):
    def loss(k, x):
      return jnp.square(convolution(x, k)).mean()

    def step(k, x):  # gradient descent, a batch a step
      value, (dk, dx) = jax.value_and_grad(loss, (0, 1))(k, x)
      return k - 0.01 * dk, (value, dx)

    each = jax.vmap(jax.grad(lambda k, x: loss(k, x[None])), (None, 0))  # a gradient of every image
    scanned = jax.jit(lambda k, x: (lax.scan(step, k, x), each(k, x[0])))(k, x)
    return scanned, jax.vjp(convolution, x[0], k)[1](jnp.ones((5, *map(len, [range(0, 7, s) for s in strides]), 4)))

  assert_close(results(lambda x, k: conv2d(x, k, strides, tuple(pads))), results(lambda x, k: xla(x, k, strides, pads)))


@pytest.mark.parametrize("batch", [5, 33])
@pytest.mark.parametrize(("strides", "dilation"), [((1, 1), ONE), ((2, 2), ONE), (ONE, (2, 2))])
def test_convolution_in_bfloat16_stays_in_bfloat16(strides, dilation, batch):
  x, k = (jnp.asarray(a, jnp.bfloat16) for a in (normal(batch, 5, 6, 3), normal(3, 3, 3, 4)))
  pads = ((1, 1), (2, 1))
  got = value_and_gradients(lambda x, k: conv2d(x, k, strides, pads, dilation), x, k)
  assert all(a.dtype == jnp.bfloat16 for a in got)
  x, k = np.float32(x), np.float32(k)
  expected = value_and_gradients(lambda x, k: xla(x, k, strides, pads, dilation), x, k)
  assert_close([np.float32(a) for a in got], list(expected), 0.02)


def test_kernel_gradient_of_many_images_in_bfloat16():
  """A thousand chunks of them: a sum in bfloat16 stops where a chunk is less than the rounding, at a third of this."""
  x, g = (jnp.ones((32_000, 2, 2, 1), jnp.bfloat16) for _ in range(2))
  got = weight_gradient(x, g, (1, 1), (1, 1), ((0, 0), (0, 0)))
  assert got.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.float32(got), 128_000, rtol=0.005)


# layers


def parameters(module, x):
  """As initialised, and moved away from zeros and ones: a bias of 0 would hide its gradient's part in others."""
  initial = module.init(KEY, x)
  return initial, jax.tree.map(lambda a: a + 0.3 * normal(*a.shape, seed=1), initial)


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
  variables = layer.init(KEY, x)
  assert {a.dtype for a in jax.tree.leaves(variables)} == {np.dtype("float32")}
  y = layer.apply(variables, x)
  assert y.dtype == jnp.bfloat16
  assert_close(np.float32(y), np.asarray(layer.apply(variables, np.float32(x))), 0.02)


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
  variables = ours.init(KEY, x)
  np.testing.assert_allclose(ours.apply(variables, x), expected.reshape(x.shape), rtol=0, atol=2e-6 * offset**2)
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
  y, dx, dv = value_and_gradients(lambda x, v: layer.apply(v, x), x, layer.init(KEY, x))
  np.testing.assert_allclose(y, 0, atol=1e-2)
  assert all(np.isfinite(a).all() for a in jax.tree.leaves((dx, dv)))


def test_group_norm_second_derivatives_equal_flaxs():
  x, scale = normal(2, 5, 4, 6), normal(6) + 1

  def gradients(module):
    return penalties(lambda x, scale: module.apply({"params": {"scale": scale, "bias": jnp.ones(6)}}, x), x, scale)

  assert_close(gradients(layers.GroupNorm(3)), gradients(nn.GroupNorm(3)))


def test_pooling_of_values_that_xla_may_compute_twice():
  """Forward and backward may each compute the pooled values anew and round them differently: no gradient may get lost."""
  rng = np.random.default_rng(0)
  x, kernel = rng.normal(size=(5, 9, 9, 3)).astype(np.float32), rng.normal(size=(3, 3, 3, 6)).astype(np.float32)
  scale, weight = rng.normal(size=6).astype(np.float32), rng.normal(size=(5, 5, 5, 6)).astype(np.float32)

  def loss(pool, kernel, scale):
    y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS)
    y = (y - y.mean((0, 1, 2))) * lax.rsqrt(y.var((0, 1, 2)) + 1e-5) * scale
    return (weight * pool(jax.nn.relu(y + 0.1))).sum()

  ours = jax.jit(jax.grad(lambda *a: loss(lambda y: max_pool(y, 2, True), *a), (0, 1)))(kernel, scale)
  xlas = jax.jit(jax.grad(lambda *a: loss(lambda y: nn.max_pool(y, (2, 2), (2, 2), "SAME"), *a), (0, 1)))(kernel, scale)
  for mine, its in zip(ours, xlas, strict=True):
    np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-4 * np.abs(its).max())
