"""Heads: what a loss puts on top of an encoder and a probe drops."""

import flax.linen as nn
import jax.numpy as jnp

from sslx.nn.layers import Conv, GroupNorm
from sslx.types import Array


class Linear(nn.Module):
  """One dense layer, zero-initialised where `zero` (then every class starts equally likely)."""

  width: int
  zero: bool = False
  bias: bool = True

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,...] -> [B,width]."""
    kernel_init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
    return nn.Dense(self.width, use_bias=self.bias, kernel_init=kernel_init)(x.reshape(x.shape[0], -1))


class ConvHead(nn.Module):
  """The head of the published RotNet notebook: 3x3 convolution with stride 2, relu,
  dense. Flat inputs skip the former."""

  width: int
  channels: int = 16

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,h,w,C] or [B,D] -> [B,width]."""
    if x.ndim == 4:
      x = nn.relu(Conv(self.channels, (3, 3), strides=2)(x))
    return nn.Dense(self.width)(x.reshape(x.shape[0], -1))


class PlaceHead(nn.Module):
  """An answer for every place of a map: 1x1, 3x3 and 1x1 convolutions, group normalisation and relu between, so that
  maps of any scale are learnt from at one rate.

  zoom: every place answers for zoom x zoom of them (sub-pixel convolution: Shi et al., Real-Time Single Image and Video
  Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network, 2016, arXiv 1609.05158).
  """

  outputs: int
  width: int = 64
  zoom: int = 1
  bias: tuple[float, ...] = ()
  """What the outputs start at; empty: 0."""

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,h,w,D] -> [B,h*zoom,w*zoom,outputs]."""
    start = jnp.tile(jnp.asarray(self.bias or (0.0,) * self.outputs), self.zoom**2)
    x = nn.relu(GroupNorm(8, name="norm1")(Conv(self.width, (1, 1), name="mix")(x)))
    x = nn.relu(GroupNorm(8, name="norm2")(Conv(self.width, (3, 3), name="around")(x)))
    x = Conv(self.zoom**2 * self.outputs, (1, 1), bias_init=lambda *_: start, name="out")(x)
    b, h, w, _ = x.shape
    x = x.reshape(b, h, w, self.zoom, self.zoom, self.outputs).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * self.zoom, w * self.zoom, self.outputs)


class PixelHead(nn.Module):
  """Dense, relu, dense for each place by itself: what values and positions alone tell."""

  outputs: int
  width: int = 64

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,h,w,D] -> [B,h,w,outputs]."""
    x = nn.relu(Conv(self.width, (1, 1), name="mix")(x))
    return Conv(self.outputs, (1, 1), name="out")(x)


class Projector(nn.Module):
  """Dense, relu, ..., dense: the projection head of SimCLR (Chen et al., 2020, arXiv 2002.05709), dropped for probing.

  norm: batch normalisation in front of every relu, as in BYOL's projector and predictor.
  """

  widths: tuple[int, ...] = (128, 64)
  norm: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,...] -> [B,widths[-1]]."""
    x = x.reshape(x.shape[0], -1)
    for width in self.widths[:-1]:
      x = nn.Dense(width, use_bias=not self.norm)(x)
      x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x) if self.norm else x
      x = nn.relu(x)
    return nn.Dense(self.widths[-1])(x)


class Shortcut(nn.Module):
  """A `Projector` of the last axis, plus a linear layer around it: the score networks of Deep InfoMax."""

  widths: tuple[int, ...] = (128, 64)

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[...,C] -> [...,widths[-1]], every place on its own."""
    flat = x.reshape(-1, x.shape[-1])
    y = Projector(self.widths)(flat) + nn.Dense(self.widths[-1], use_bias=False)(flat)
    return y.reshape(*x.shape[:-1], -1)
