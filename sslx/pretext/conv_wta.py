"""Convolutional winner-take-all autoencoder: one place per map, and every map for its few strongest samples only.

    L = |decoder(lifetime(spatial(encoder(x)))) - x|^2
    spatial(h) = h at the maximum of each map over height and width, else 0

Makhzani, Frey: Winner-Take-All Autoencoders, NIPS 2015, arXiv 1409.2752, section 3. The decoder is one linear
transposed convolution with 11x11 kernels: the image is a sum of kernels. Features are not sparse; reconstructions are
of the winners of their batch. Here 64 maps of which every one keeps 10% of a batch, so that an image still is a sum of
six kernels on average, as with 128 and 5%; the mean over pixels instead of the sum; and AdamW instead of momentum. The
paper reads the maps by max-pooling: --features=max4+max5.
"""

import jax.numpy as jnp

from sslx import nn
from sslx.ops.sparsity import lifetime, spatial
from sslx.pretext.families import checks, common
from sslx.pretext.families.autoencoder import Decoder, Widths, autoencoder
from sslx.types import Array, Params, Pretext, State


def conv_wta(
  encoder: nn.Encoder,
  *,
  rate: float = 0.1,
  output: str = "linear",
  loss: str = "mse",
  decoder: Decoder = "conv",
  decoder_widths: Widths = None,
) -> Pretext:
  """Autoencoder with spatial, then lifetime sparsity on the maps of the encoder's last block.

  An encoder that ends in a dense layer has no maps: its units get lifetime sparsity alone, as in `wta`.

  rate: fraction of the batch for which every map stays on while training; at least one sample, ties broken.
  decoder_widths: none: a single linear transposed convolution; auto mirrors the encoder.
  """
  checks.share(rate=rate)

  def winners(h: Array) -> Array:
    h = lifetime(h, rate)  # whole maps first: the same winners, and right for negative ones too
    return spatial(h) if h.ndim == 4 else h

  def through(params: Params, state: State, key: Array, image: Array, outputs: dict[str, Array]):
    code = winners(common.last(outputs))
    return code, jnp.zeros(()), {"active": (code != 0).mean()}

  return autoencoder(encoder, output, loss, decoder, decoder_widths, through, sparse=winners)
