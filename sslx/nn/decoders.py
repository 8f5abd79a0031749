"""Decoders: from a code, flat [B,D] or spatial [B,h,w,C], back to an image of any given size."""

import math
from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx.nn.layers import Conv, ConvTranspose
from sslx.types import Array


class MlpDecoder(nn.Module):
  """Dense layers with relu, then one linear layer to the image. No width: a single-layer decoder."""

  image_shape: tuple[int, ...]
  widths: tuple[int, ...] = ()

  @nn.compact
  def __call__(self, z: Array, train: bool = False) -> Array:
    """[B,...] -> [B,*image_shape], before the output activation."""
    z = z.reshape(len(z), -1)
    for width in self.widths:
      z = nn.relu(nn.Dense(width)(z))
    return nn.Dense(math.prod(self.image_shape))(z).reshape(len(z), *self.image_shape)


class TiedDecoder(nn.Module):
  """The transposed kernels of a dense encoder, last layer first, with biases of its own; relu between them."""

  image_shape: tuple[int, ...]

  @nn.compact
  def __call__(self, z: Array, kernels: Sequence[Array], train: bool = False) -> Array:
    """[B,D], kernels [..., D] -> [B,*image_shape], before the output activation."""
    for i, kernel in enumerate(kernels):
      z = (nn.relu(z) if i else z) @ kernel.T + self.param(f"bias{i}", nn.initializers.zeros, (kernel.shape[0],))
    return z.reshape(len(z), *self.image_shape)


class DictionaryDecoder(nn.Module):
  """One linear transposed convolution: the image is a sum of kernels, placed and scaled by the maps of the code."""

  image_shape: tuple[int, int, int]
  kernel: int = 11

  @nn.compact
  def __call__(self, z: Array, train: bool = False) -> Array:
    """[B,h,w,D] -> [B,H,W,C], before the output activation."""
    height, width, channels = self.image_shape
    strides = (-(-height // z.shape[1]), -(-width // z.shape[2]))
    return ConvTranspose(channels, (self.kernel, self.kernel), strides)(z)[:, :height, :width]


class PixelDecoder(nn.Module):
  """Something about every pixel: enlarges the code to the image's size, then a 3x3 and a 1x1 convolution, relu between.

  For many channels, such as classes, it takes a fraction of the time of a `ConvDecoder`, whose 3x3 kernels make them.
  """

  image_shape: tuple[int, int, int]
  width: int = 64

  @nn.compact
  def __call__(self, z: Array, train: bool = False) -> Array:
    """[B,D] or [B,h,w,C] -> [B,H,W,C], before the output activation."""
    height, width, channels = self.image_shape
    if z.ndim == 2:
      start = (-(-height // 2), -(-width // 2), self.width)
      z = nn.relu(nn.Dense(math.prod(start))(z)).reshape(len(z), *start)
    z = jnp.asarray(jax.image.resize(z, (len(z), height, width, z.shape[3]), "linear"))
    z = nn.relu(Conv(self.width, (3, 3))(z))
    return Conv(channels, (1, 1))(z)


class ConvDecoder(nn.Module):
  """Doubles height and width once per entry of `widths`, through the sizes ceil(H / 2^k): 4 -> 7 -> 14 -> 28.

  The transposed convolution doubles and the surplus row and column are cut; `upsample="resize"` repeats pixels to the
  exact size and convolves (Odena et al., Deconvolution and Checkerboard Artifacts, 2016).
  """

  image_shape: tuple[int, int, int]
  widths: tuple[int, ...] = (64, 32, 16)
  upsample: Literal["transpose", "resize"] = "transpose"

  @nn.compact
  def __call__(self, z: Array, train: bool = False) -> Array:
    """[B,D] or [B,h,w,C] -> [B,H,W,C], before the output activation."""
    height, width, channels = self.image_shape
    stages = len(self.widths)
    sizes = [(-(-height // 2**k), -(-width // 2**k)) for k in range(stages - 1, -1, -1)]
    start = (-(-height // 2**stages), -(-width // 2**stages))
    if z.ndim == 2:
      z = nn.relu(nn.Dense(math.prod(start) * self.widths[0])(z)).reshape(len(z), *start, self.widths[0])
    elif z.shape[1:3] != start:  # an encoder that rounds down (7 -> 3), or halves more or less often
      z = jax.image.resize(z, (len(z), *start, z.shape[3]), "nearest")
    for i, size in enumerate(sizes):
      out = channels if i == stages - 1 else self.widths[i + 1]
      if self.upsample == "transpose":
        z = ConvTranspose(out, (3, 3), (2, 2))(z)[:, : size[0], : size[1]]
      else:
        z = Conv(out, (3, 3))(jnp.asarray(jax.image.resize(z, (len(z), *size, z.shape[3]), "nearest")))
      z = nn.relu(z) if i < stages - 1 else z
    return z
