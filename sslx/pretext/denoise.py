"""Denoising autoencoder: reconstruct the clean input from a corrupted one.

    L = alpha * sum over selected pixels of loss(decoder(encoder(corrupt(x))), x) + beta * the same over the others

Vincent, Larochelle, Lajoie, Bengio, Manzagol: Stacked Denoising Autoencoders: Learning Useful Representations in a
Deep Network with a Local Denoising Criterion, JMLR 2010, sections 3.3 and 3.4 (emphasised loss). Here the mean over
pixels instead of the sum. alpha = beta = 1 is the plain loss. Noise is fresh for every sample and step, none at
evaluation.
"""

from typing import Literal

import jax.numpy as jnp

from sslx import nn
from sslx.ops.corrupt import NOISES
from sslx.pretext.autoencode import autoencode
from sslx.pretext.families.autoencoder import Decoder, Widths
from sslx.types import Array, Batch, Params, Pretext, State, UserError


def denoise(
  encoder: nn.Encoder,
  *,
  noise: Literal["gaussian", "masking", "salt_pepper"] = "salt_pepper",
  level: float = 0.5,
  alpha: float = 1.0,
  beta: float = 1.0,
  output: str = "sigmoid",
  loss: str = "bce",
  decoder: Decoder = "mlp",
  decoder_widths: Widths = "auto",
) -> Pretext:
  """Autoencoder on corrupted inputs with clean targets.

  The defaults were chosen on the last 10,000 training images of MNIST and Fashion-MNIST: strong corruption, and a
  decoder that goes through 64 units, so that the encoder is the better part of the reconstruction.

  decoder_widths: widths of the decoder's layers from the code to the image; auto: 64-512 for mlp, else the mirrored
    encoder; none: a single linear layer.
  level: standard deviation of gaussian noise; fraction of pixels for masking and salt_pepper.
  alpha, beta: weights of the selected and of the other pixels in the loss.
  """
  if not (level >= 0 and (noise == "gaussian" or level <= 1)):
    limit = "at least 0" if noise == "gaussian" else "in [0, 1]: the fraction of pixels"
    raise UserError(f"--hp=level={level:g}: must be {limit}.")
  if decoder == "mlp" and decoder_widths == "auto":
    decoder_widths = (64, 512)
  plain = autoencode(encoder, output=output, loss=loss, decoder=decoder, decoder_widths=decoder_widths)

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    clean = batch["x"]
    noisy, selected = NOISES[noise](key, clean, level)
    return {"x": noisy, "target": clean, "weight": jnp.where(selected, alpha, beta)}

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view = transform(key, batch)
    assert plain.show
    restored = plain.show(params, state, key, {"x": view["x"]})["reconstruction"]
    return {"clean": view["target"], "noisy": jnp.clip(view["x"], 0, 1), "restored": restored}

  return plain._replace(transform=transform, show=show)
