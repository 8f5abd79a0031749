"""Heads: what a loss puts on top of an encoder and a probe drops."""

import flax.linen as nn

from sslx.nn.layers import Conv
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
    return nn.Dense(self.width, use_bias=self.bias, kernel_init=kernel_init)(x.reshape(len(x), -1))


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
    return nn.Dense(self.width)(x.reshape(len(x), -1))


class Projector(nn.Module):
  """Dense, relu, ..., dense: the projection head of SimCLR (Chen et al., 2020, arXiv 2002.05709), dropped for probing.

  norm: batch normalisation in front of every relu, as in BYOL's projector and predictor.
  """

  widths: tuple[int, ...] = (128, 64)
  norm: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,...] -> [B,widths[-1]]."""
    x = x.reshape(len(x), -1)
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
