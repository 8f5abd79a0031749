"""Convolution that is fast on the CPU, forward and backward; XLA's own everywhere else. Same numbers, same parameters.

XLA lowers both gradients of a convolution to convolutions of unusual shape, for which it has only slow paths on the CPU
(jax-ml/jax issue 12868). Here every one of them is written as a forward convolution that is fast:

    dx       the flipped kernel on the output's gradient
    dilated  (the dx of a stride, or a transposed convolution) one undilated convolution that computes the s x s phases
             of the output as channels, then interleaves them: no multiplications by the inserted zeros
    first    a window of few numbers: all windows laid out, one matrix product
    dW       images as channels, the output's gradient as kernel, a few images at a time, so that they stay in the cache

The choice is made when the computation is lowered for a platform. Reverse-mode derivatives of any order.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sslx.types import Array

CHUNK = 32  # images at a time in dW; of large ones 8
FEW = 64  # numbers in a window up to which laying all windows out pays: the first layer of grey and colour images
DIMENSIONS = ("NHWC", "HWIO", "NHWC")

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


def conv_general_dilated(
  lhs: Array,
  rhs: Array,
  window_strides,
  padding,
  lhs_dilation=None,
  rhs_dilation=None,
  dimension_numbers=None,
  feature_group_count: int = 1,
  **rest,
) -> Array:
  """Stands in for `lax.conv_general_dilated` in `flax.linen.Conv(conv_general_dilated=...)`.

  2-D, undilated, ungrouped convolutions are `conv2d`; all others are XLA's.
  """
  undilated = all(d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
  plain = feature_group_count == 1 and all(value in (None, 1) for value in rest.values())  # no precision of its own
  if lhs.ndim == 4 and undilated and plain and lhs.dtype == rhs.dtype:
    strides = (int(window_strides[0]), int(window_strides[1]))
    if isinstance(padding, str):
      padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    (a, b), (c, d) = padding
    return conv2d(lhs, rhs, strides, ((int(a), int(b)), (int(c), int(d))))
  return lax.conv_general_dilated(
    lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, feature_group_count, **rest
  )


def conv2d(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair = (1, 1)) -> Array:
  """x [B,H,W,C] * kernel [h,w,C,O] -> [B,H',W',O].

  pads: zeros (negative: cut) before and after; dilation: distance of x's pixels, the gaps are 0. One of strides and
  dilation is (1, 1).
  """
  y: Array = _conv2d(x, kernel, strides, pads, dilation)  # pyright: ignore[reportAssignmentType]
  return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv2d(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair) -> Array:
  if dilation != (1, 1):
    cpu = functools.partial(_phases, pads=pads, dilation=dilation)
  elif kernel[..., 0].size <= FEW:
    cpu = functools.partial(_as_product, strides=strides, pads=pads)
  else:
    cpu = functools.partial(_xla, strides=strides, pads=pads)
  return lax.platform_dependent(x, kernel, cpu=cpu, default=lambda x, k: _xla(x, k, strides, pads, dilation))


def _forward(x, kernel, strides, pads, dilation):
  return conv2d(x, kernel, strides, pads, dilation), (x, kernel)


def _backward(strides, pads, dilation, residuals, g):
  x, kernel = residuals
  before = tuple(k - 1 - lo for k, (lo, _) in zip(kernel.shape, pads, strict=False))  # padding of the transpose
  after = tuple(
    (x.shape[i + 1] - 1) * dilation[i] + kernel.shape[i] - 1 - (g.shape[i + 1] - 1) * strides[i] - before[i]
    for i in (0, 1)
  )
  transposed = ((before[0], after[0]), (before[1], after[1]))
  dx = conv2d(g, _flip(kernel), dilation, transposed, strides)
  if dilation == (1, 1):
    return dx, weight_gradient(x, g, kernel.shape[:2], strides, pads)

  def through_phases(x, kernel, g):
    return jax.vjp(lambda kernel: _phases(x, kernel, pads, dilation), kernel)[1](g)[0]

  def exchanged(x, kernel, g):  # y = conv(dilated x) is the transpose of x = conv(y) with strides
    return _flip(weight_gradient(g, x, kernel.shape[:2], dilation, transposed))

  return dx, lax.platform_dependent(x, kernel, g, cpu=through_phases, default=exchanged)


_conv2d.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def weight_gradient(x: Array, g: Array, size: Pair, strides: Pair, pads: Pads) -> Array:
  """Gradient of <conv2d(x, kernel, strides, pads), g> in the kernel: [*size,C,O]."""

  def summed(x: Array, g: Array) -> Array:  # one convolution: channels are images, images are channels
    after = tuple(size[i] + (g.shape[i + 1] - 1) * strides[i] - x.shape[i + 1] - pads[i][0] for i in (0, 1))
    window = [(pads[i][0], after[i]) for i in (0, 1)]
    x, window = _cut(x, window)
    x, g = x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)
    y = lax.conv_general_dilated(x, g, (1, 1), window, rhs_dilation=strides, dimension_numbers=DIMENSIONS)
    return y.transpose(1, 2, 0, 3)

  def chunked(x: Array, g: Array) -> Array:
    chunk = max(1, min(CHUNK if g.shape[1] * g.shape[2] < 1000 else CHUNK // 4, len(x)))
    extra = -len(x) % chunk  # images whose g is 0
    # Every k-th image makes a chunk: where images are shared out among devices, each then has a part of every chunk.
    x, g = (jnp.pad(a, ((0, extra), (0, 0), (0, 0), (0, 0))).reshape(chunk, -1, *a.shape[1:]) for a in (x, g))
    # the sum at least in float32: chunk by chunk, bfloat16 would round small ones away
    zero = jnp.zeros((*size, x.shape[-1], g.shape[-1]), jnp.promote_types(x.dtype, jnp.float32))
    return lax.fori_loop(0, x.shape[1], lambda i, total: total + summed(x[:, i], g[:, i]), zero).astype(x.dtype)

  return lax.platform_dependent(x, g, cpu=chunked, default=summed)


def _weight_gradient_forward(x, g, size, strides, pads):
  return weight_gradient(x, g, size, strides, pads), (x, g)


def _weight_gradient_backward(size, strides, pads, residuals, kernel):
  """<weight_gradient(x, g), kernel> = <conv2d(x, kernel), g>: linear in x and in g."""
  x, g = residuals
  y, transpose = jax.vjp(lambda x: conv2d(x, kernel, strides, pads), x)
  dg = y[:, : g.shape[1], : g.shape[2]]
  return transpose(
    jnp.pad(g, ((0, 0), *((0, a - b) for a, b in zip(y.shape[1:3], g.shape[1:3], strict=True)), (0, 0)))
  )[0], dg


weight_gradient.defvjp(_weight_gradient_forward, _weight_gradient_backward)


def _xla(x, kernel, strides, pads, dilation=(1, 1)):
  if dilation == (1, 1):
    x, pads = _cut(x, pads)
  return lax.conv_general_dilated(x, kernel, strides, pads, dilation, dimension_numbers=DIMENSIONS)


def _cut(x, pads):
  """Negative padding as a slice: XLA on the CPU (jaxlib 0.10) gives garbage for it."""
  (top, bottom), (left, right) = pads
  x = x[:, max(-top, 0) : x.shape[1] - max(-bottom, 0), max(-left, 0) : x.shape[2] - max(-right, 0)]
  return x, [(max(a, 0), max(b, 0)) for a, b in pads]


def _as_product(x, kernel, strides, pads):
  """conv2d as one matrix product: every window of x in a row, in the order of kernel.reshape(-1, O)."""
  x, pads = _cut(x, pads)
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  (h, w), (a, b) = kernel.shape[:2], strides
  height, width = (x.shape[1] - h) // a + 1, (x.shape[2] - w) // b + 1
  windows = [
    x[:, i : i + (height - 1) * a + 1 : a, j : j + (width - 1) * b + 1 : b] for i in range(h) for j in range(w)
  ]
  return jnp.concatenate(windows, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def _flip(kernel):
  return jnp.flip(kernel, (0, 1)).swapaxes(2, 3)


def _phases(x: Array, kernel: Array, pads: Pads, dilation: Pair) -> Array:
  """conv2d with dilated x: output pixel q * s + r is pixel q of an undilated convolution with every s-th tap of kernel.

  The convolutions for all r share one window and run as one, with s * s * O output channels.
  """
  sizes, starts, windows, taps = [], [], [], []
  for i in (0, 1):
    s, k, (lo, hi) = dilation[i], kernel.shape[i], pads[i]
    size = (x.shape[i + 1] - 1) * s + 1 + lo + hi - k + 1
    # output q*s+r meets pixel q+j of x through tap t = s*j - r + lo, where 0 <= t < k
    first = -(lo // s)
    last = (k - 1 - lo + s - 1) // s
    t = s * np.arange(first, last + 1)[:, None] - np.arange(s) + lo
    sizes.append(size)
    starts.append(first)
    windows.append(last - first + 1)
    taps.append(np.where((t >= 0) & (t < k), t, k))  # k: a row of zeros
  padded = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
  spread = padded[taps[0][:, :, None, None], taps[1][None, None]]  # [window, s, window', s', C, O]
  spread = spread.transpose(0, 2, 4, 1, 3, 5).reshape(*windows, kernel.shape[2], -1)
  outputs = [-(-sizes[i] // dilation[i]) for i in (0, 1)]
  around = [(-starts[i], outputs[i] + windows[i] - 1 - x.shape[i + 1] + starts[i]) for i in (0, 1)]
  y = conv2d(x, spread, (1, 1), (around[0], around[1])).reshape(len(x), *outputs, *dilation, -1)
  y = y.transpose(0, 1, 3, 2, 4, 5).reshape(len(x), outputs[0] * dilation[0], outputs[1] * dilation[1], -1)
  return y[:, : sizes[0], : sizes[1]]
