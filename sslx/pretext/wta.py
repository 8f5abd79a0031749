"""Winner-take-all autoencoder: every unit may speak for its few strongest samples of a batch only.

    L = |decoder(lifetime(encoder(x))) - x|^2
    lifetime(h) = h where it is among the `rate` largest of its unit across the batch, else 0

Makhzani, Frey: Winner-Take-All Autoencoders, NIPS 2015, arXiv 1409.2752, section 2. Relu units, one linear layer as the
decoder, batches of 100, 5% winners. Features are not sparse; reconstructions are of the winners of their batch. Here
the mean over pixels instead of the sum, and AdamW instead of momentum.
"""

import jax.numpy as jnp

from sslx import nn
from sslx.ops.sparsity import lifetime
from sslx.pretext.families import checks, common
from sslx.pretext.families.autoencoder import Decoder, Widths, autoencoder
from sslx.types import Array, Params, Pretext, State


def wta(
  encoder: nn.Encoder,
  *,
  rate: float = 0.05,
  output: str = "linear",
  loss: str = "mse",
  decoder: Decoder = "mlp",
  decoder_widths: Widths = None,
) -> Pretext:
  """Autoencoder with lifetime sparsity on the flattened output of the encoder's last block.

  rate: fraction of the batch for which every unit stays on while training; at least one sample, ties broken.
  decoder_widths: none: a single linear layer, whose rows are the images that the units stand for; auto mirrors the
    encoder.
  """
  checks.share(rate=rate)

  def winners(h: Array) -> Array:
    return lifetime(h.reshape(len(h), -1), rate).reshape(h.shape)

  def through(params: Params, state: State, key: Array, image: Array, outputs: dict[str, Array]):
    code = winners(common.last(outputs))
    return code, jnp.zeros(()), {"active": (code != 0).mean()}

  return autoencoder(encoder, output, loss, decoder, decoder_widths, through, sparse=winners)
