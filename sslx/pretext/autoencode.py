"""Autoencoder: reconstruct the input through a code.

    L = loss(decoder(encoder(x)), x)

Hinton, Salakhutdinov: Reducing the Dimensionality of Data with Neural Networks, Science 2006 (there pretrained layer
by layer; here trained at once).
"""

from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp

from sslx import losses, nn
from sslx.ops.image import to_float
from sslx.pretext import common
from sslx.types import Array, Batch, Params, Pretext, State


def decoder_for(
  kind: str, widths: tuple[int, ...], outputs: Mapping[str, Array], image_shape: tuple[int, ...]
) -> nn.ConvDecoder | nn.MlpDecoder:
  """The decoder that fits an encoder's block outputs: its mirror image unless `widths` says otherwise.

  kind is conv, mlp, or auto: conv where any block is spatial. Halvings in the encoder become doublings in the decoder.
  """
  shape = (image_shape[0], image_shape[1], image_shape[2])
  spatial = [o for o in outputs.values() if o.ndim == 4]
  if kind == "mlp" or (kind == "auto" and not spatial):
    return nn.MlpDecoder(shape, widths or tuple(o.shape[-1] for o in reversed(list(outputs.values())[:-1])))
  if not widths:
    by_height = {o.shape[1]: o.shape[-1] for o in spatial if o.shape[1] < shape[0]}  # width at each resolution
    widths = tuple(by_height[h] for h in sorted(by_height)) or (32,)
  return nn.ConvDecoder(shape, widths)


def autoencode(
  encoder: nn.Encoder,
  features: str = "flatten",
  *,
  output: str = "sigmoid",
  loss: str = "bce",
  decoder: Literal["auto", "conv", "mlp"] = "auto",
  decoder_widths: tuple[int, ...] = (),
) -> Pretext:
  """Plain autoencoder. output + loss: sigmoid + bce, linear + mse or sigmoid + mse; relu outputs are refused.

  decoder_widths: widths of the decoder's layers from the code to the image; empty mirrors the encoder.
  """
  pixel_loss = losses.pixel_loss(output, loss)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "decoder")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["image"])
    net = decoder_for(decoder, decoder_widths, outputs, batch["image"].shape[1:])
    decoder_params, _ = nn.init(net, keys["decoder"], common.last(outputs))
    return {"encoder": params, "decoder": decoder_params}, {"encoder": stats}

  def forward(params: Params, state: State, image: Array, train: bool) -> tuple[Array, State]:
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], image, train=train)
    net = decoder_for(decoder, decoder_widths, outputs, image.shape[1:])
    return nn.apply(net, params["decoder"], {}, common.last(outputs))[0], {**state, "encoder": stats}

  def loss_fn(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    raw, state = forward(params, state, view["image"], train=True)
    each = pixel_loss(raw, view.get("target", view["image"]))
    value = (each * view["weight"]).mean() if "weight" in view else each.mean()
    return value, (state, {})

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    image = to_float(batch["image"])
    raw, _ = forward(params, state, image, train=False)
    return {"original": image, "reconstruction": jnp.clip(losses.OUTPUTS[output](raw), 0, 1)}

  return Pretext(init, loss_fn, common.encoder_features(encoder, features), common.as_float, common.no_update, show)
