"""flax's layers with the operations of `sslx.ops`: the same parameters and numbers, faster on the CPU."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx.ops.conv import conv2d, conv_general_dilated
from sslx.ops.norm import group_norm
from sslx.types import Array


def as_the_kernel(*arrays: Any, dtype: Any = None, inexact: bool = True) -> Any:
  """Stands in for flax's `promote_dtype` of (input, kernel, bias or None): the input in the kernel's dtype, and the
  bias in its own, which the output gets.

  The gradient of a float32 bias is summed in float32. XLA on the CPU sums bfloat16 in bfloat16: 2048 ones at most are
  2048, and biases of convolutions got half of their gradient.
  """
  x, kernel, bias = arrays
  return x.astype(kernel.dtype), kernel, bias


Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated, promote_dtype=as_the_kernel)
Dense = functools.partial(nn.Dense, promote_dtype=as_the_kernel)


class ConvTranspose(nn.Module):
  """`flax.linen.ConvTranspose(features, kernel_size, strides, padding="SAME")`: multiplies height and width."""

  features: int
  kernel_size: tuple[int, int]
  strides: tuple[int, int]

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B,H,W,C] -> [B,H*stride,W*stride,features]."""
    kernel = self.param("kernel", nn.initializers.lecun_normal(), (*self.kernel_size, x.shape[-1], self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    kernel, bias = jnp.asarray(kernel, x.dtype), jnp.asarray(bias, x.dtype)
    before = [k - 1 if s > k - 1 else -(-(k + s - 2) // 2) for k, s in zip(self.kernel_size, self.strides, strict=True)]
    after = [k + s - 2 - a for k, s, a in zip(self.kernel_size, self.strides, before, strict=True)]
    return conv2d(x, kernel, (1, 1), ((before[0], after[0]), (before[1], after[1])), self.strides) + bias


class GroupNorm(nn.Module):
  """`flax.linen.GroupNorm(num_groups)` for images."""

  num_groups: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B,H,W,C] -> the same shape."""
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
    bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
    return group_norm(x, jnp.asarray(scale), jnp.asarray(bias), self.num_groups)


def only_layer(params: Mapping[str, Any]) -> dict[str, Any]:
  """{"kernel", "bias"} of a module that holds a single layer, whatever flax called it; other layers may hold no kernel.

  Raises:
    ValueError: it holds several, or none.
  """
  layers = [layer for layer in params.values() if isinstance(layer, Mapping) and "kernel" in layer]
  if len(layers) != 1:
    raise ValueError(f"expected one layer with a kernel among {sorted(params)}")
  return dict(layers[0])
