"""Encoders of frames for what answers for places, and the front that lets encoders of images read clips."""

import functools

import flax.linen as nn
import jax.numpy as jnp

from sslx.nn.encoder import Encoder
from sslx.nn.layers import Conv, GroupNorm
from sslx.types import Array

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in the grey of a pixel: ITU-R BT.601


class Frames(nn.Module):
  """The clip as it is: what stands behind it reads frame by frame, see `Encoder.clips`."""

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[...] -> the same."""
    return x


def frames() -> functools.partial[nn.Module]:
  """The frames of a clip, one by one."""
  return functools.partial(Frames)


class GreyStem(nn.Module):
  """The grey of each pixel in [-1, 1], a 3x3 convolution, normalisation, relu."""

  width: int

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,H,W,1 or 3] -> [B,H,W,width]."""
    grey = x if x.shape[-1] == 1 else (x * jnp.asarray(LUMA, x.dtype)).sum(-1, keepdims=True)
    return nn.relu(GroupNorm(8, name="norm")(Conv(self.width, (3, 3), name="conv")(2 * grey - 1)))


class Halving(nn.Module):
  """A convolution that halves height and width, whose outputs stand in the middle of the 2x2 places that they replace:
  4x4, stride 2, a place of padding on each side. Then normalisation and relu.
  """

  width: int

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,H,W,C] -> [B,H/2,W/2,width]; of an odd size, what is over at the end is left out."""
    conv = Conv(self.width, (4, 4), strides=2, padding=((1, 1), (1, 1)), name="conv")
    return nn.relu(GroupNorm(8, name="norm")(conv(x)))


class GridBlock(nn.Module):
  """A residual block of two 3x3 convolutions with group normalisation."""

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,H,W,C] -> the same shape."""
    y = nn.relu(GroupNorm(8, name="norm1")(Conv(x.shape[-1], (3, 3), name="conv1")(x)))
    return nn.relu(x + GroupNorm(8, name="norm2")(Conv(x.shape[-1], (3, 3), name="conv2")(y)))


class PlaceCode(nn.Module):
  """A linear code of each place."""

  width: int

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,H,W,C] -> [B,H,W,width]."""
    return Conv(self.width, (1, 1), name="conv")(x)


def grid(*, widths: tuple[int, ...] = (16, 32, 64), depth: int = 2, code: int = 64) -> Encoder:
  """A code for each place of a grid, of what is grey: a stem, then a halving for each further width, then residual
  blocks. A place stands in the middle of its cell of 4x4 pixels with the default widths.

  widths: of the stem and of each halving, multiples of 8; depth: residual blocks; code: numbers of a place.
  """
  halvings = [(f"half{i}", functools.partial(Halving, width)) for i, width in enumerate(widths[1:], 1)]
  blocks = [(f"block{i + 1}", GridBlock) for i in range(depth)]
  stem, last = ("stem", functools.partial(GreyStem, widths[0])), ("code", functools.partial(PlaceCode, code))
  return Encoder((stem, *halvings, *blocks, last), any_size=True)
