"""Blocks of encoders: a convolution or a dense layer, with what belongs to it."""

import functools

import flax.linen as nn
import jax.numpy as jnp

from sslx.nn.layers import Conv, Dense, GroupNorm
from sslx.ops.color import rgb_to_lab
from sslx.ops.pool import max_pool
from sslx.types import Array, Refusal


class ConvBlock(nn.Module):
  """Convolution, optional normalisation, relu, optional 2x2 max-pooling."""

  width: int
  kernel: int = 3
  stride: int = 1
  norm: str = "none"
  pool: bool = False
  ceil: bool = True
  scale: float = 1.0

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,H,W,C] -> [B,H',W',width]."""
    x = x * self.scale if self.scale != 1 else x
    x = Conv(self.width, (self.kernel, self.kernel), strides=self.stride, use_bias=self.norm == "none")(x)
    if self.norm in ("group", "layer"):
      x = GroupNorm(1 if self.norm == "layer" else max(g for g in range(1, 9) if self.width % g == 0))(x)
    elif self.norm == "batch":
      x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    x = nn.relu(x)
    return max_pool(x, 2, ceil=self.ceil) if self.pool else x


class SplitBlock(nn.Module):
  """Two convolution blocks that know nothing of each other, side by side: channels [first half | second half].

  With `colour`, on RGB images: the first half gets their lightness L*, the second their ab, both about within [-1, 1].
  """

  width: int
  colour: bool = False
  kernel: int = 3
  stride: int = 1
  norm: str = "none"
  pool: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,H,W,C] -> [B,H',W',width]."""
    if self.colour and x.shape[-1] != 3:
      raise Refusal(f"--encoder=split: needs images in colour (3 channels, not {x.shape[-1]}); try --encoder=conv.")
    if self.colour:
      lab = rgb_to_lab(x)
      halves = lab[..., :1] / 50 - 1, lab[..., 1:] / 50
    else:
      halves = jnp.split(x, 2, axis=-1)
    make = functools.partial(
      ConvBlock, self.width // 2, kernel=self.kernel, stride=self.stride, norm=self.norm, pool=self.pool
    )
    return jnp.concatenate(
      [make(name=name)(half, train=train) for name, half in zip(("L", "ab"), halves, strict=True)], axis=-1
    )


ACTIVATIONS = {"relu": nn.relu, "sigmoid": nn.sigmoid, "linear": lambda x: x}


class DenseBlock(nn.Module):
  """Flatten, then a dense layer, then its activation."""

  width: int
  activation: str = "relu"

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,...] -> [B,width]."""
    return ACTIVATIONS[self.activation](Dense(self.width)(x.reshape(x.shape[0], -1)))


class MeanBlock(nn.Module):
  """Means over all places."""

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,...,D] -> [B,D]."""
    return x.reshape(x.shape[0], -1, x.shape[-1]).mean(1)
