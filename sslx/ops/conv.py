"""Convolution whose gradients are fast on the CPU; XLA's own everywhere else. Same numbers, same parameters.

On the CPU, XLA computes the weight gradient of a convolution, and both gradients inside `lax.scan`, by slow general
paths (jax-ml/jax issue 12868). Here the weight gradient is im2col + matmul over chunks of images, the input gradient a
forward convolution with the flipped kernel, and a forward pass with few input channels im2col + matmul. The choice is
made when the computation is lowered for a platform.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from sslx.types import Array

CHUNK = 32  # images whose patches are laid out at a time: they should stay in the cache
DIMENSIONS = ("NHWC", "HWIO", "NHWC")


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

  2-D, undilated, ungrouped convolutions take the path above (reverse-mode gradients only); all others are XLA's.
  """
  undilated = all(d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
  if lhs.ndim == 4 and undilated and feature_group_count == 1 and lhs.dtype == rhs.dtype:
    strides = (int(window_strides[0]), int(window_strides[1]))
    if isinstance(padding, str):
      padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    return conv2d(lhs, rhs, strides, tuple((int(a), int(b)) for a, b in padding))
  return lax.conv_general_dilated(
    lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, feature_group_count, **rest
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv2d(x: Array, kernel: Array, strides: tuple[int, int], pads: tuple[tuple[int, int], ...]) -> Array:
  """x [B,H,W,C] * kernel [h,w,C,O] -> [B,H',W',O], zero-padded by `pads`."""
  if kernel.shape[2] * kernel.shape[0] * kernel.shape[1] > 64:  # enough channels: XLA's forward pass is good
    return _stock(x, kernel, strides, pads)
  return lax.platform_dependent(
    x, kernel, cpu=lambda x, k: _matmul(x, k, strides, pads), default=lambda x, k: _stock(x, k, strides, pads)
  )


def _forward(x, kernel, strides, pads):
  return conv2d(x, kernel, strides, pads), (x, kernel)


def _backward(strides, pads, residuals, g):
  x, kernel = residuals

  def stock(x, kernel, g):
    return jax.vjp(lambda x, k: _stock(x, k, strides, pads), x, kernel)[1](g)

  def cpu(x, kernel, g):
    height, width = kernel.shape[:2]
    if strides == (1, 1) and pads[0][1] < height and pads[1][1] < width and pads[0][0] < height and pads[1][0] < width:
      flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
      opposite = tuple((k - 1 - a, k - 1 - b) for k, (a, b) in zip((height, width), pads, strict=True))
      dx = _stock(g, flipped, (1, 1), opposite)
    else:
      dx = stock(x, kernel, g)[0]
    return dx, _weight_gradient(x, kernel.shape, strides, pads, g)

  return lax.platform_dependent(x, kernel, g, cpu=cpu, default=stock)


conv2d.defvjp(_forward, _backward)


def _stock(x, kernel, strides, pads):
  return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=DIMENSIONS)


def _patches(x, kernel_shape, strides, pads):
  """[B,H,W,C] -> [B,H',W',h*w*C], in the order of kernel.reshape(-1, O)."""
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  height, width = ((x.shape[i + 1] - kernel_shape[i]) // strides[i] + 1 for i in (0, 1))
  slices = [
    x[:, i : i + (height - 1) * strides[0] + 1 : strides[0], j : j + (width - 1) * strides[1] + 1 : strides[1]]
    for i in range(kernel_shape[0])
    for j in range(kernel_shape[1])
  ]
  return jnp.concatenate(slices, axis=-1)


def _matmul(x, kernel, strides, pads):
  return _patches(x, kernel.shape, strides, pads) @ kernel.reshape(-1, kernel.shape[-1])


def _weight_gradient(x, kernel_shape, strides, pads, g):
  """Sum over images and positions of patch^T g, [h,w,C,O]; images in chunks, padded by images whose g is 0."""
  chunk = min(CHUNK, len(x))
  extra = -len(x) % chunk
  x, g = (jnp.pad(a, ((0, extra), (0, 0), (0, 0), (0, 0))).reshape(-1, chunk, *a.shape[1:]) for a in (x, g))

  def add(total, pair):
    patches = _patches(pair[0], kernel_shape, strides, pads)
    return total + patches.reshape(-1, patches.shape[-1]).T @ pair[1].reshape(-1, kernel_shape[-1]), None

  zero = jnp.zeros((kernel_shape[0] * kernel_shape[1] * kernel_shape[2], kernel_shape[3]), x.dtype)
  return lax.scan(add, zero, (x, g))[0].reshape(kernel_shape)
