"""Residual networks: He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385."""

import functools
from typing import Literal

import flax.linen as nn

from sslx.nn.blocks import ConvBlock, MeanBlock
from sslx.nn.encoder import Encoder
from sslx.nn.layers import Conv
from sslx.types import Array


class ResidualBlocks(nn.Module):
  """`depth` basic residual blocks: one stage of a ResNet."""

  width: int
  stride: int
  depth: int = 2

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,H,W,C] -> [B,H/stride,W/stride,width]."""
    norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
    conv = functools.partial(Conv, self.width, use_bias=False)
    for stride in (self.stride, *[1] * (self.depth - 1)):
      shortcut = x
      x = nn.relu(norm()(conv((3, 3), strides=stride)(x)))
      x = norm(scale_init=nn.initializers.zeros)(conv((3, 3))(x))  # each residual block starts as the identity
      if shortcut.shape != x.shape:
        shortcut = norm()(conv((1, 1), strides=stride)(shortcut))
      x = nn.relu(x + shortcut)
    return x


class Bottlenecks(nn.Module):
  """`depth` bottleneck blocks, whose 3x3 convolution has a quarter of their channels: one stage of a deep ResNet."""

  width: int
  stride: int
  depth: int

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,H,W,C] -> [B,H/stride,W/stride,4 width]."""
    norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
    conv = functools.partial(Conv, use_bias=False)
    for stride in (self.stride, *[1] * (self.depth - 1)):
      shortcut = x
      x = nn.relu(norm()(conv(self.width, (1, 1))(x)))
      x = nn.relu(norm()(conv(self.width, (3, 3), strides=stride)(x)))
      x = norm(scale_init=nn.initializers.zeros)(conv(4 * self.width, (1, 1))(x))  # starts as the identity
      if shortcut.shape != x.shape:
        shortcut = norm()(conv(4 * self.width, (1, 1), strides=stride)(shortcut))
      x = nn.relu(x + shortcut)
    return x


class LargeStem(nn.Module):
  """What ResNets for ImageNet begin with: 7x7 convolution and 3x3 max-pooling, each of stride 2."""

  width: int

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,H,W,C] -> [B,H/4,W/4,width]."""
    x = Conv(self.width, (7, 7), strides=2, use_bias=False)(x)
    x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
    return nn.max_pool(x, (3, 3), (2, 2), "SAME")


def resnet(*, widths: tuple[int, ...] = (32, 64, 128), depth: int = 1, stem_stride: int = 2) -> Encoder:
  """A small ResNet with batch normalisation: a 3x3 stem, then a stage of `depth` basic blocks for each width.

  Every stage but the first halves height and width, and so does the stem with stem_stride=2. The default takes 11
  million multiplications for an image of 32x32, a forty-fifth of resnet18's.
  """
  stem = ("stem", functools.partial(ConvBlock, widths[0], stride=stem_stride, norm="batch"))
  stages = [
    (f"stage{i + 1}", functools.partial(ResidualBlocks, width, stride=1 if i == 0 else 2, depth=depth))
    for i, width in enumerate(widths)
  ]
  return Encoder((stem, *stages), any_size=True, batch_norm=True)


def resnet18() -> Encoder:
  """ResNet-18 with the stem used on CIFAR (3x3, stride 1, no pooling), as SimCLR does in its appendix B.9."""
  return resnet(widths=(64, 128, 256, 512), depth=2, stem_stride=1)


def resnet50(*, width: int = 64, stem: Literal["large", "small"] = "large", pool: bool = True) -> Encoder:
  """ResNet-50 for images of 224x224: stages of 3, 4, 6 and 3 bottleneck blocks, the first of `width` channels times 4.

  stem: a 7x7 convolution and 3x3 max-pooling, each of stride 2 (large), or for small images a 3x3 convolution of stride
    1 (small). As in most code, and not in the paper, the 3x3 convolution of a stage's first block has its stride, not
    the 1x1 before it.
  pool: whether a last block takes the mean over all places, which heads then read, as in the paper.
  """
  first = ("stem", functools.partial(LargeStem, width))
  if stem == "small":
    first = ("stem", functools.partial(ConvBlock, width, stride=1, norm="batch"))
  stages = [
    (f"stage{i + 1}", functools.partial(Bottlenecks, width * 2**i, stride=1 if i == 0 else 2, depth=depth))
    for i, depth in enumerate((3, 4, 6, 3))
  ]
  last = [("pool", MeanBlock)] if pool else []
  return Encoder((first, *stages, *last), any_size=True, batch_norm=True)
