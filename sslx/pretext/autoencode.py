"""Autoencoder: reconstruct the input through a code.

    L = loss(decoder(encoder(x)), x)

Hinton, Salakhutdinov: Reducing the Dimensionality of Data with Neural Networks, Science 2006 (there pretrained layer
by layer; here trained at once, see `stacked_denoise` for the former).
"""

from sslx import nn
from sslx.pretext.families.autoencoder import Decoder, Widths, autoencoder
from sslx.types import Pretext


def autoencode(
  encoder: nn.Encoder,
  *,
  output: str = "sigmoid",
  loss: str = "bce",
  decoder: Decoder = "auto",
  decoder_widths: Widths = "auto",
) -> Pretext:
  """Plain autoencoder. output + loss: sigmoid + bce, linear + mse or sigmoid + mse; relu outputs are refused.

  The latent size is the encoder's: --encoder=conv:code=10. Encoder and decoder may differ in depth:
  --encoder=mlp:widths=1000-500-250,code=30 --hp=decoder_widths=250.

  decoder: conv, mlp, tied (the transposed weights of a dense encoder), or auto: conv for a convolutional encoder.
  decoder_widths: widths of the decoder's layers from the code to the image; auto mirrors the encoder; none is a
    single linear layer, whose rows (or kernels) are then the images that the code units stand for.
  """
  return autoencoder(encoder, output, loss, decoder, decoder_widths)
