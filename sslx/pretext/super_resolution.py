"""Super-resolution: restore an image from a small version of it.

    L = loss(decoder(encoder(b)), x),  b = bicubic(area average of x);  or, residual, (x - b + 1) / 2 in place of x

Dong, Loy, He, Tang: Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016, arXiv 1501.00092 (SRCNN): the
network's input is the bicubic interpolation to the full size, so that any encoder fits. There restoring is the end;
that it makes a pretext task, as undoing any damage does, is folklore. residual, to
predict what b lacks, is that of Kim,
Lee, Lee: Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016, arXiv 1511.04587.
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sslx import losses, nn
from sslx.pretext.autoencode import autoencode
from sslx.pretext.families.autoencoder import Decoder, Widths
from sslx.types import Array, Batch, Params, Pretext, State, UserError


def area_average(image: Array, factor: int) -> Array:
  """[B,H,W,C] -> [B,ceil(H/factor),ceil(W/factor),C]: means over equal cells, whose borders may divide a pixel."""

  def shares(size: int) -> np.ndarray:
    """f32 [cells,size]: which part of a cell each pixel is."""
    cells = -(-size // factor)
    ends = np.minimum.outer((np.arange(cells) + 1) * size / cells, np.arange(size) + 1)
    starts = np.maximum.outer(np.arange(cells) * size / cells, np.arange(size))
    return (np.maximum(ends - starts, 0) * cells / size).astype(np.float32)

  rows, columns = shares(image.shape[1]), shares(image.shape[2])
  return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, image, precision="highest")


def super_resolution(
  encoder: nn.Encoder,
  *,
  factor: int = 2,
  residual: bool = False,
  output: str = "sigmoid",
  loss: str = "bce",
  decoder: Decoder = "mlp",
  decoder_widths: Widths = "auto",
) -> Pretext:
  """Restores images that were made `factor` times smaller. Its psnr is to be held against bicubic_psnr, the input's.

  The defaults were chosen on the last 10,000 training images of MNIST.

  factor: 2 or 4.
  residual: predict the difference to the bicubic image (halved and shifted into [0, 1], so that every output fits).
  decoder_widths: widths of the decoder's layers from the code to the image; auto: 512 for mlp, else the mirrored
    encoder; none: a single linear layer.
  """
  if factor not in (2, 4):
    raise UserError(f"--hp=factor={factor}: must be 2 or 4.")
  if decoder == "mlp" and decoder_widths == "auto":
    decoder_widths = (512,)
  plain = autoencode(encoder, output=output, loss=loss, decoder=decoder, decoder_widths=decoder_widths)

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    clean = batch["x"]
    bicubic = jax.image.resize(area_average(clean, factor), clean.shape, "cubic")
    low = jnp.clip(bicubic, 0, 1)
    return {"x": low, "clean": clean, "target": (clean - low + 1) / 2 if residual else clean}

  def loss_fn(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    value, (state, metrics) = plain.loss(params, state, key, view)
    error = losses.mean(jnp.square(view["x"] - view["clean"]))
    restored = metrics["psnr"] - 20 * math.log10(2) if residual else metrics["psnr"]  # errors were halved
    return value, (state, {**metrics, "psnr": restored, "bicubic_psnr": losses.psnr(error)})

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view = transform(key, batch)
    assert plain.show
    restored = plain.show(params, state, key, {"x": view["x"]})["reconstruction"]
    if residual:
      restored = jnp.clip(view["x"] + 2 * restored - 1, 0, 1)
    return {"original": view["clean"], f"1/{factor} of the size, bicubic": view["x"], "restored": restored}

  decode = None if residual else plain.decode  # an image cannot be made of its code alone
  return plain._replace(transform=transform, loss=loss_fn, show=show, decode=decode)
