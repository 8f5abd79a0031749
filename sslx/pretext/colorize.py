"""Colourisation: predict an image's colours from its lightness.

    L = -mean over pixels of w[q*] * sum_q z_q log softmax(decoder(encoder(grey x)))_q,    q* = argmax_q z_q
    w_q ~ ((1 - uniform) p_q + uniform / Q)^-1,    sum_q p_q w_q = 1

z is the pixel's ab, soft-encoded: its 5 nearest of Q bins, a Gaussian of sigma 5; p how often each bin occurs. loss=l2
is the squared error of ab instead. Zhang, Isola, Efros: Colorful Image Colorization, ECCV 2016, arXiv 1603.08511.

Deviations. The encoder sees the grey in three channels: one architecture serves training and, in colour, the probe. p
is the mean of z over the training batches so far (and one uniform one), kept in the state, not counted beforehand: the
loss may rise while p takes shape; z being soft, p is as smooth as the paper's. Q is 261, the bins with a colour of sRGB
in them. The decoder is small; it predicts the ab of the image shrunk to a quarter, as in the paper (56 of 224 pixels).
"""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from sslx import nn
from sslx.ops import color
from sslx.pretext.families import checks, common
from sslx.pretext.families.colour import ab_target, enlarge, in_colour, shrink
from sslx.types import Array, Batch, Params, Pretext, State


def colorize(
  encoder: nn.Encoder,
  *,
  loss: Literal["classification", "l2"] = "classification",
  uniform: float = 1.0,
  temperature: float = 0.38,
  shrinking: int = 4,
  decoder_width: int = 64,
) -> Pretext:
  """Colourisation of images in colour.

  loss: classification into bins of ab, or l2: the squared error of ab / 110.
  uniform: lambda of the paper, where it is 0.5; near 0 weights each colour by the inverse of its frequency, 1 all
    alike. Rare colours weighted more make livelier pictures, and on held-out images of CIFAR-10 worse features.
  temperature: of the annealed mean by which classes are read as a colour, for pictures and ab_error.
  shrinking: by how much smaller than the image the predicted colours are.
  decoder_width: units of the decoder's 3x3 convolution, before the 1x1 convolution to classes or values.
  """
  checks.at_least_one(shrinking=shrinking, decoder_width=decoder_width)
  ab = ab_target(loss, uniform, temperature)

  def net(size: tuple[int, ...]):
    return nn.PixelDecoder((size[0], size[1], ab.outputs), decoder_width)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "decoder")
    image = in_colour("colorize", batch["x"])
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], image)
    size = jax.eval_shape(lambda x: shrink(x, shrinking), image).shape[1:3]
    decoder, _ = nn.init(net(size), keys["decoder"], common.last(outputs))
    return {"encoder": params, "decoder": decoder}, {"encoder": stats, "prior": ab.prior}

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    image = in_colour("colorize", batch["x"])
    return {"x": color.grey(image), "target": shrink(image, shrinking)}

  def raw(params: Params, state: State, view: Mapping[str, Array], train: bool):
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], view["x"], train=train)
    return nn.apply(net(view["target"].shape[1:3]), params["decoder"], {}, common.last(outputs))[0], stats

  def loss_fn(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    prediction, stats = raw(params, state, view, True)
    values = color.rgb_to_lab(view["target"])[..., 1:]
    value, prior, metrics = ab.loss(prediction, values, state["prior"])
    metrics["ab_error_of_grey"] = jnp.sqrt(jnp.square(values).sum(-1).mean())
    return value, ({**state, "encoder": stats, "prior": prior}, metrics)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view, image = transform(key, batch), batch["x"]
    guess = enlarge(ab.predict(raw(params, state, view, False)[0]), image)
    coloured = color.lab_to_rgb(jnp.concatenate([color.rgb_to_lab(image)[..., :1], guess], axis=-1))
    return {"original": image, "what it sees": view["x"], "colours as predicted": coloured}

  return Pretext(init, loss_fn, transform, common.no_update, show)
