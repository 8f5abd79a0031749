"""The convolution that is fast on the CPU against XLA's own: values, gradients, gradients of gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_close, normal, penalties, value_and_gradients
from jax import lax

from sslx.ops.conv import CHUNK, DIMENSIONS, conv2d, conv_general_dilated, weight_gradient

ONE = (1, 1)


def xla(x, kernel, strides, pads, dilation=ONE):
  """XLA's convolution of an input that is padded and cut beforehand.

  Its own negative padding is garbage on the CPU, and is what the gradient of a wide padding turns into.
  """
  if dilation == ONE:
    x, pads = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)]), "VALID"
  return lax.conv_general_dilated(x, kernel, strides, pads, dilation, dimension_numbers=DIMENSIONS)


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
  x, k = normal(batch, *size, channels[0]), normal(kernel, kernel, *channels, seed=1)
  dimensions = ("NHWC", "HWIO", "NHWC")

  def value(convolution):
    return jax.jit(jax.value_and_grad(lambda x, k: jnp.sin(convolution(x, k)).sum(), (0, 1)))(x, k)

  ours = value(lambda x, k: conv_general_dilated(x, k, (stride, stride), padding))
  xlas = value(lambda x, k: jax.lax.conv_general_dilated(x, k, (stride, stride), padding, dimension_numbers=dimensions))
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(xlas), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5 * float(np.abs(b).max()))
