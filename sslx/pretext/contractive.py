"""Contractive autoencoder: a code that moves little when the image does.

    L = loss(decoder(h(x)), x) + weight / D * ||dh/dx||_F^2

Rifai, Vincent, Muller, Glorot, Bengio: Contractive Auto-Encoders: Explicit Invariance During Feature Extraction, ICML
2011. There the reconstruction error is summed over the D pixel values, here it is their mean: hence 1 / D. For deep
encoders the norm is estimated (Hutchinson 1990): E |v^T dh/dx|^2 over random signs v; AdamW replaces plain SGD.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from sslx import nn
from sslx.nn.blocks import DenseBlock
from sslx.pretext.families import checks, common
from sslx.pretext.families.autoencoder import Decoder, Widths, autoencoder
from sslx.types import Array, Params, Pretext, State, UserError


def closed_form(h: Array, kernel: Array) -> Array:
  """||dh/dx||_F^2 of every image for h = sigmoid(x @ kernel + b): h [B,D], kernel [n,D] -> [B]."""
  return jnp.square(h * (1 - h)) @ jnp.square(kernel).sum(0)


def contractive(
  encoder: nn.Encoder,
  *,
  weight: float = 1.0,
  jacobian: Literal["auto", "closed", "estimate"] = "auto",
  samples: int = 1,
  output: str = "sigmoid",
  loss: str = "bce",
  decoder: Decoder = "auto",
  decoder_widths: Widths = "auto",
) -> Pretext:
  """Autoencoder with a penalty on the Jacobian of the code h (the encoder's last block) in the image x.

  With batch normalisation h depends on the other images of the batch as well, and the estimate contains that: the
  squared derivatives of all codes by all images, over the number of images.

  weight: of the penalty, on the scale of the paper; the default was chosen on the last 10,000 training images of MNIST.
  jacobian: closed form (one sigmoid layer: --encoder=mlp:widths=1000,code=0,activation=sigmoid), an unbiased estimate
    (any encoder, one more backward pass for each of `samples`), or auto: closed where it can be.
  decoder: conv, mlp, tied, or auto: tied for dense encoders, as in the paper, unless decoder_widths asks for layers;
    else as in `autoencode`. Untied weights undo the penalty: a smaller code costs nothing if the decoder scales it up.
  """
  if not 0 <= weight < math.inf:
    raise UserError(f"--hp=weight={weight:g}: must be at least 0.")
  checks.at_least_one(samples=samples)
  blocks = [make() for _, make in encoder.blocks]
  dense = all(isinstance(block, DenseBlock) for block in blocks)
  one_sigmoid = dense and [getattr(block, "activation", "") for block in blocks] == ["sigmoid"]
  if jacobian == "closed" and not one_sigmoid:
    raise UserError(
      "--hp=jacobian=closed: needs one sigmoid layer, --encoder=mlp:widths=1000,code=0,activation=sigmoid; "
      "use jacobian=estimate for other encoders."
    )
  if decoder == "auto" and dense and decoder_widths == "auto":
    decoder = "tied"

  def estimate(params: Params, state: State, key: Array, image: Array) -> Array:
    """One number whose mean over keys is the sum over the batch of ||dh/dx||_F^2."""

    def code(x: Array) -> Array:
      return common.last(nn.apply(encoder, params["encoder"], state["encoder"], x, train=True)[0])

    h, back = jax.vjp(code, image)
    signs = [jax.random.rademacher(k, h.shape, h.dtype) for k in jax.random.split(key, samples)]
    return jnp.stack([jnp.square(back(v)[0]).sum() for v in signs]).mean()

  def through(params: Params, state: State, key: Array, image: Array, outputs: dict[str, Array]):
    h = common.last(outputs)
    if one_sigmoid and jacobian != "estimate":
      norms = closed_form(h, nn.only_layer(params["encoder"][encoder.block_names[0]])["kernel"]).mean()
    else:
      norms = estimate(params, state, key, image) / len(image)
    return h, weight / math.prod(image.shape[1:]) * norms, {"jacobian": norms}

  return autoencoder(encoder, output, loss, decoder, decoder_widths, through)
