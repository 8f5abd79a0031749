"""Super-resolution: restore an image from a small version of it.

    L = loss(decoder(encoder(b)), x),  b = bicubic(area average of x)

Dong, Loy, He, Tang: Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016, arXiv 1501.00092 (SRCNN): the
network's input is the bicubic interpolation to the full size, so that any encoder fits. There restoring is the end;
that it makes a pretext task, as undoing any damage does, is folklore. The image itself is predicted, as in the paper;
to predict x - b instead restored more of MNIST's detail, with features no better.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sslx import losses, nn
from sslx.ops.image import to_float
from sslx.pretext.autoencode import Decoder, autoencode
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
  features: str = "flatten",
  *,
  factor: int = 2,
  output: str = "sigmoid",
  loss: str = "bce",
  decoder: Decoder = "mlp",
  decoder_widths: tuple[int, ...] | None = (),
) -> Pretext:
  """Restores images that were made `factor` times smaller. Its psnr is to be held against bicubic_psnr, the input's.

  The defaults were chosen on the last 10,000 training images of MNIST.

  factor: 2 or 4.
  decoder_widths: widths of the decoder's layers from the code to the image; empty: 512 for mlp, else the mirrored
    encoder; none: a single linear layer.
  """
  if factor not in (2, 4):
    raise UserError(f"--hp=factor={factor}: must be 2 or 4.")
  if decoder == "mlp" and decoder_widths == ():
    decoder_widths = (512,)
  plain = autoencode(encoder, features, output=output, loss=loss, decoder=decoder, decoder_widths=decoder_widths)

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    clean = to_float(batch["image"])
    bicubic = jax.image.resize(area_average(clean, factor), clean.shape, "cubic")
    return {"image": jnp.clip(bicubic, 0, 1), "target": clean}

  def loss_fn(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    value, (state, metrics) = plain.loss(params, state, key, view)
    error = losses.mean(jnp.square(view["image"] - view["target"]))
    return value, (state, {**metrics, "bicubic_psnr": losses.psnr(error)})

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view = transform(key, batch)
    assert plain.show
    restored = plain.show(params, state, key, {"image": view["image"]})["reconstruction"]
    return {"original": view["target"], f"1/{factor} of the size, bicubic": view["image"], "restored": restored}

  return plain._replace(transform=transform, loss=loss_fn, show=show)
