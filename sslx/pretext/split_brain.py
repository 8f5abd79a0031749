"""Split-brain autoencoder: one half of the network predicts colour from lightness, the other lightness from colour.

    L = loss(decoder_ab(F1(L*)), ab) + loss(decoder_L(F2(ab)), L*),    features [F1 | F2]

Zhang, Isola, Efros: Split-Brain Autoencoders: Unsupervised Learning by Cross-Channel Prediction, CVPR 2017, arXiv
1611.09842. The losses are those of `colorize`, lightness in 100 equal bins, each value in the one that it falls into.
Deviations are those of `colorize`, except that here the encoder sees the image itself.
"""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from sslx import nn
from sslx.nn.blocks import SplitBlock
from sslx.ops import color
from sslx.pretext.families import checks, common
from sslx.pretext.families.colour import ab_target, enlarge, in_colour, shrink, target
from sslx.types import Array, Batch, Params, Pretext, Refusal, State


def split_brain(
  encoder: nn.Encoder,
  *,
  loss: Literal["classification", "l2"] = "classification",
  uniform: float = 1.0,
  temperature: float = 0.38,
  shrinking: int = 4,
  decoder_width: int = 64,
) -> Pretext:
  """Cross-channel prediction by the halves of --encoder=split, on images in colour.

  The features are both halves'; --features=pool@1 reads the one that sees lightness, pool@2 the one that sees colour.
  loss, uniform, temperature, shrinking, decoder_width: as in `colorize`, for both halves.
  """
  if not all(isinstance(make(), SplitBlock) for _, make in encoder.blocks):
    raise Refusal("--method=split_brain: needs an encoder of two halves, --encoder=split.")
  checks.at_least_one(shrinking=shrinking, decoder_width=decoder_width)
  targets = {
    "ab": ab_target(loss, uniform, temperature),
    "L": target("L", color.lightness_bins(), 1, 50.0, 50.0, loss, uniform, temperature),
  }

  def halves(outputs: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Every block's output for the half that predicts ab, and for that which predicts L*."""
    return [{name: jnp.split(o, 2, axis=-1)[i] for name, o in outputs.items()} for i in range(2)]

  def net(name: str, size: tuple[int, ...]):
    return nn.PixelDecoder((size[0], size[1], targets[name].outputs), decoder_width)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "ab", "L")
    image = in_colour("split_brain", batch["x"])
    encoder_params, stats, outputs = common.init_encoder(encoder, keys["encoder"], image)
    params, size = {"encoder": encoder_params}, jax.eval_shape(lambda x: shrink(x, shrinking), image).shape[1:3]
    for name, half in zip(targets, halves(outputs), strict=True):
      params[f"{name}_decoder"] = nn.init(net(name, size), keys[name], common.last(half))[0]
    return params, {"encoder": stats, "prior": {k: v for t in targets.values() for k, v in t.prior.items()}}

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    image = in_colour("split_brain", batch["x"])
    return {"x": image, "target": shrink(image, shrinking)}

  def raw(params: Params, state: State, view: Mapping[str, Array], train: bool):
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], view["x"], train=train)
    size, predictions = view["target"].shape[1:3], {}
    for name, half in zip(targets, halves(outputs), strict=True):
      predictions[name] = nn.apply(net(name, size), params[f"{name}_decoder"], {}, common.last(half))[0]
    return predictions, stats

  def loss_fn(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    predictions, stats = raw(params, state, view, True)
    lab = color.rgb_to_lab(view["target"])
    values, total, prior, metrics = {"ab": lab[..., 1:], "L": lab[..., :1]}, jnp.zeros(()), {}, {}
    for name, each in targets.items():
      value, after, measured = each.loss(predictions[name], values[name], state["prior"])
      total, prior, metrics = total + value, {**prior, **after}, {**metrics, f"{name}_loss": value, **measured}
    return total, ({**state, "encoder": stats, "prior": prior}, metrics)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view, image = transform(key, batch), batch["x"]
    predictions = raw(params, state, view, False)[0]
    lab = color.rgb_to_lab(image)
    guess = {name: enlarge(targets[name].predict(p), image) for name, p in predictions.items()}
    rows = {
      "ab alone (at L* = 50)": (jnp.full_like(lab[..., :1], 50.0), lab[..., 1:]),
      "L* predicted from ab": (guess["L"], lab[..., 1:]),
      "ab predicted from L*": (lab[..., :1], guess["ab"]),
    }
    pictures = {title: color.lab_to_rgb(jnp.concatenate(parts, axis=-1)) for title, parts in rows.items()}
    return {"original": image, "L* alone": color.grey(image), **pictures}

  return Pretext(init, loss_fn, transform, common.no_update, show)
