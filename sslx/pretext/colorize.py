"""Colourisation: predict an image's colours from its lightness.

    L = -mean over pixels of w[q*] * sum_q z_q log softmax(decoder(encoder(grey x)))_q,    q* = argmax_q z_q
    w_q ~ ((1 - uniform) p_q + uniform / Q)^-1,    sum_q p_q w_q = 1

z is the pixel's ab, soft-encoded: its 5 nearest of Q bins, a Gaussian of sigma 5; p how often each bin occurs. loss=l2 is
the squared error of ab instead. Zhang, Isola, Efros: Colorful Image Colorization, ECCV 2016, arXiv 1603.08511.

Deviations. The encoder sees the grey in three channels: one architecture serves training and, in colour, the probe. p is
the mean of z over the training batches so far (and one uniform one), kept in the state, not counted beforehand: the loss
may rise while p takes shape; z being soft, p is as smooth as the paper's. Q is 261, the bins with a colour of sRGB in
them. The decoder is small; it predicts the ab of the image shrunk to a quarter, as in the paper (56 of 224 pixels).
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx import losses, nn
from sslx.ops import color
from sslx.ops.image import to_float
from sslx.pretext import common
from sslx.types import Array, Batch, Metrics, Params, Pretext, State, UserError


class Target(NamedTuple):
  """Some channels of L*a*b* as what is predicted."""

  outputs: int
  """Channels of the raw prediction."""
  prior: dict[str, Array]
  """What the state keeps of it, at the start: frequencies of the classes, summed over steps. The sum starts uniform."""
  predict: Callable[[Array], Array]
  """Raw prediction [...,outputs] -> L*a*b* values [...,C]."""
  loss: Callable[[Array, Array, Mapping[str, Array]], tuple[Array, dict[str, Array], Metrics]]
  """(raw prediction, true values, prior) -> (scalar, prior after, metrics)."""


def class_weights(prior: Array, uniform: float) -> Array:
  """Weights w [Q] of bins that occur with frequencies `prior` [Q]: rare ones more, sum of prior * w = 1 (section 2.2)."""
  w = 1 / ((1 - uniform) * prior + uniform / len(prior))
  return w / (prior * w).sum()


def target(
  name: str,
  bins: np.ndarray,
  neighbours: int,
  middle: float,
  scale: float,
  loss: str,
  uniform: float,
  temperature: float,
) -> Target:
  """Values [...,C] classified into `bins` [Q,C], or regressed to as (value - middle) / scale where loss is l2."""
  if not 0 < uniform <= 1:
    raise UserError(f"--hp=uniform={uniform:g}: must be in (0, 1]; 1 gives every colour the same weight.")
  if not 0 < temperature <= 1:
    raise UserError(f"--hp=temperature={temperature:g}: must be in (0, 1].")

  def measure(guess: Array, values: Array) -> Metrics:
    nearest = [color.soft_encode(x, bins, 1)[0] for x in (guess, values)]
    square = jnp.square(guess - values).sum(-1).mean()
    return {f"{name}_error": jnp.sqrt(square), f"{name}_bin_accuracy": (nearest[0] == nearest[1]).mean()}

  def predict_l2(raw: Array) -> Array:
    return raw * scale + middle

  def loss_l2(raw: Array, values: Array, prior: Mapping[str, Array]):
    value = losses.mean(jnp.square(raw - (values - middle) / scale))
    return value, dict(prior), measure(predict_l2(raw), values)

  def predict(raw: Array) -> Array:
    return color.annealed_mean(raw, bins, temperature)

  def loss_classes(raw: Array, values: Array, prior: Mapping[str, Array]):
    index, weights = color.soft_encode(values, bins, neighbours)
    z = color.spread(index, weights, len(bins))
    seen = prior[name] + z.reshape(-1, len(bins)).mean(0)
    p = seen / seen.sum()
    each = jax.nn.logsumexp(raw, axis=-1) - (raw * z).sum(-1)
    value = losses.mean(each * class_weights(p, uniform)[index[..., 0]])
    metrics = measure(predict(raw), values)
    right = (raw.argmax(-1) == index[..., 0]).mean()
    return value, {name: seen}, {**metrics, f"{name}_bin_accuracy": right}

  if loss == "l2":
    return Target(bins.shape[1], {}, predict_l2, loss_l2)
  return Target(len(bins), {name: jnp.full(len(bins), 1 / len(bins))}, predict, loss_classes)


def ab_target(loss: str, uniform: float, temperature: float) -> Target:
  """The colour channels ab."""
  return target("ab", color.ab_bins(), 5, 0.0, 110.0, loss, uniform, temperature)


def in_colour(method: str, image: Array) -> Array:
  """Float images, or one clear line where they are grey."""
  if image.shape[-1] != 3:
    raise UserError(f"--method={method}: needs images in colour, and these have {image.shape[-1]} channel(s), not 3.")
  return to_float(image)


def at_least_one(**values: int) -> None:
  """Refuses sizes below 1."""
  for name, value in values.items():
    if value < 1:
      raise UserError(f"--hp={name}={value}: must be at least 1.")


def shrink(image: Array, factor: int) -> Array:
  """[B,H,W,C] -> [B,ceil(H/factor),ceil(W/factor),C], averaged."""
  b, height, width, channels = image.shape
  return jax.image.resize(image, (b, -(-height // factor), -(-width // factor), channels), "linear")


def enlarge(values: Array, like: Array) -> Array:
  """[B,h,w,C] -> [B,H,W,C], as large as `like`."""
  return jax.image.resize(values, (*like.shape[:3], values.shape[-1]), "linear")


def colorize(
  encoder: nn.Encoder,
  features: str = "flatten",
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
  at_least_one(shrinking=shrinking, decoder_width=decoder_width)
  ab = ab_target(loss, uniform, temperature)

  def net(size: tuple[int, ...]):
    return nn.PixelDecoder((size[0], size[1], ab.outputs), decoder_width)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "decoder")
    image = in_colour("colorize", batch["image"])
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], image)
    size = jax.eval_shape(lambda x: shrink(x, shrinking), image).shape[1:3]
    decoder, _ = nn.init(net(size), keys["decoder"], common.last(outputs))
    return {"encoder": params, "decoder": decoder}, {"encoder": stats, "prior": ab.prior}

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    image = in_colour("colorize", batch["image"])
    return {"image": color.grey(image), "target": shrink(image, shrinking)}

  def raw(params: Params, state: State, view: Mapping[str, Array], train: bool):
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], view["image"], train=train)
    return nn.apply(net(view["target"].shape[1:3]), params["decoder"], {}, common.last(outputs))[0], stats

  def loss_fn(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    prediction, stats = raw(params, state, view, True)
    values = color.rgb_to_lab(view["target"])[..., 1:]
    value, prior, metrics = ab.loss(prediction, values, state["prior"])
    metrics["ab_error_of_grey"] = jnp.sqrt(jnp.square(values).sum(-1).mean())
    return value, ({**state, "encoder": stats, "prior": prior}, metrics)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view, image = transform(key, batch), to_float(batch["image"])
    guess = enlarge(ab.predict(raw(params, state, view, False)[0]), image)
    coloured = color.lab_to_rgb(jnp.concatenate([color.rgb_to_lab(image)[..., :1], guess], axis=-1))
    return {"original": image, "what it sees": view["image"], "colours as predicted": coloured}

  return Pretext(init, loss_fn, common.encoder_features(encoder, features), transform, common.no_update, show)
