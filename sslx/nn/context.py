"""The parts of a context encoder that are its own (Pathak et al. 2016, arXiv 1604.07379): what joins encoder and
decoder, and its adversary.
"""

import flax.linen as nn
import jax.numpy as jnp

from sslx.nn.layers import Conv
from sslx.types import Array


class ChannelwiseDense(nn.Module):
  """A dense layer from all places of a map to all places, for every channel on its own: C matrices of hw x hw.

  With (hw)^2 C weights, and C hw biases, instead of the (hw C)^2 of a dense layer on everything.
  """

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,h,w,C] -> [B,h,w,C]."""
    b, height, width, channels = x.shape
    places = height * width
    one_each = nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=0)
    kernel = jnp.asarray(self.param("kernel", one_each, (channels, places, places)))
    bias = jnp.asarray(self.param("bias", nn.initializers.zeros, (channels, places)))
    y = jnp.einsum("bpc,cpq->cbq", x.reshape(b, places, channels), kernel) + bias[:, None]
    return y.transpose(1, 2, 0).reshape(x.shape)


class ContextDecoder(nn.Module):
  """Channel-wise dense layer, 1x1 convolution across the channels, then a convolutional decoder.

  A flat code has seen all places already: it goes through the dense layer that `ConvDecoder` has for it.
  """

  decoder: nn.Module

  @nn.compact
  def __call__(self, z: Array, train: bool = False) -> Array:
    """[B,D] or [B,h,w,C] -> [B,H,W,C], before the output activation."""
    if z.ndim == 4:
      z = nn.relu(ChannelwiseDense(name="channelwise")(z))
      z = nn.relu(Conv(z.shape[-1], (1, 1), name="across")(z))
    return self.decoder(z)


class Discriminator(nn.Module):
  """Is this image real? Convolutions with stride 2 and leaky relu, then one logit (without DCGAN's batch norm)."""

  widths: tuple[int, ...] = (32, 64)

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,H,W,C] -> logits [B], positive for real."""
    for width in self.widths:
      x = nn.leaky_relu(Conv(width, (3, 3), strides=2)(x), 0.2)
    return nn.Dense(1)(x.reshape(len(x), -1))[:, 0]
