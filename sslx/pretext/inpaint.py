"""Inpainting: predict the part of an image that was hidden.

    L = mean over the hole of loss(decoder(encoder(fill(x))), x)

Pathak, Krähenbühl, Donahue, Darrell, Efros: Context Encoders: Feature Learning by Inpainting, CVPR 2016,
arXiv 1604.07379: the reconstruction loss alone, without the adversary. As there the hole (sslx/ops/holes.py) is filled
with a constant and only its pixels are in the loss. Here the constant is the mean of the image's own visible pixels,
per channel, and the decoder is dense; other outputs and losses than the linear one with squared errors may be had.
"""

from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp

from sslx import losses, nn
from sslx.ops.holes import HOLES, check_fraction
from sslx.pretext.autoencode import autoencode
from sslx.pretext.families.autoencoder import Decoder, Widths
from sslx.types import Array, Batch, Params, Pretext, State


def fill(image: Array, hidden: Array) -> Array:
  """image [B,H,W,C] with the mean of its visible pixels, per channel, where hidden [B,H,W,1]: what is there is lost.

  Padding of sound, below 0, is neither visible nor hidden.
  """
  visible = ~hidden & (image >= 0)
  mean = jnp.where(visible, image, 0.0).sum((1, 2), keepdims=True) / jnp.maximum(visible.sum((1, 2), keepdims=True), 1)
  return jnp.where(hidden, mean, image)


def inpaint(
  encoder: nn.Encoder,
  *,
  hole: Literal["bands", "blocks", "bottom", "centre", "frames", "right", "shapes"] = "shapes",
  fraction: float = 0.5,
  region: Literal["hole", "whole"] = "hole",
  output: str = "sigmoid",
  loss: str = "bce",
  decoder: Decoder = "mlp",
  decoder_widths: Widths = "auto",
) -> Pretext:
  """Predicts hidden parts of images from the rest. Its psnr is to be held against fill_psnr, that of the filled input.

  The defaults were chosen on the last 10,000 training images of MNIST: half of every image hidden in random shapes.

  hole: blocks or shapes are random, centre is always the same, bottom and right are predicted from the other side;
    frames is a stretch of rows anywhere, bands of columns: of a spectrogram's time, and of its frequencies.
  fraction: hidden part of the image; for all but blocks, shapes and centre of its height or width.
  region: what the loss (and psnr) is the mean of: the hole of each image, or the whole image.
  decoder_widths: widths of the decoder's layers from the code to the image; auto: 64-512 for mlp, else the mirrored
    encoder; none: a single linear layer.
  """
  check_fraction(fraction)
  if decoder == "mlp" and decoder_widths == "auto":
    decoder_widths = (64, 512)
  plain = autoencode(encoder, output=output, loss=loss, decoder=decoder, decoder_widths=decoder_widths)

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    clean = batch["x"]
    hidden = HOLES[hole](key, clean.shape, fraction)
    counted = hidden if region == "hole" else jnp.ones_like(hidden)
    weight = counted / counted.mean((1, 2), keepdims=True)  # every image counts the same, however large its hole
    return {"x": fill(clean, hidden), "target": clean, "hidden": hidden, "weight": weight}

  def loss_fn(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    value, (state, metrics) = plain.loss(params, state, key, view)
    error = losses.mean(jnp.square(view["x"] - view["target"]) * view["weight"])
    return value, (state, {**metrics, "fill_psnr": losses.psnr(error)})

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view = transform(key, batch)
    assert plain.show
    guess = plain.show(params, state, key, {"x": view["x"]})["reconstruction"]
    inpainted = jnp.where(view["hidden"], guess, view["x"])
    return {"original": view["target"], "hole filled with the mean": view["x"], "inpainted": inpainted}

  return plain._replace(transform=transform, loss=loss_fn, show=show)
