"""What the autoencoders share: a decoder that fits the encoder, and

    L = mean over pixels of loss(decoder(through(encoder(x))), x) + penalty

Its members change the input, or what happens to the code.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from sslx import losses, nn
from sslx.pretext.families import common
from sslx.types import Array, Batch, Metrics, Params, Pretext, Refusal, State, UserError

Shape = tuple[int, ...]
Decoder = Literal["auto", "conv", "mlp", "tied"]
Widths = tuple[int, ...] | Literal["auto"] | None
"""Of a decoder's layers from the code to x: these; auto: the decoder's own, which mirrors the encoder unless a method
has better ones; none: a single linear layer."""
Through = Callable[[Params, State, Array, Array, dict[str, Array]], tuple[Array, Array, Metrics]]
"""(params, state, key, images, block outputs) -> (code for the decoder, penalty, metrics), in training mode."""


def decoder_for(
  kind: str, widths: Widths, outputs: Mapping[str, Array], image_shape: Shape
) -> nn.ConvDecoder | nn.DictionaryDecoder | nn.MlpDecoder | nn.TiedDecoder:
  """The decoder that fits an encoder's block outputs: its mirror image unless `widths` says otherwise.

  kind is conv, mlp, tied (the transposed weights of a dense encoder), or auto: conv where any block is spatial.
  Halvings in the encoder become doublings in the decoder.

  Raises:
    UserError: no widths at all, or one below 1; or a tied decoder for an encoder that is not dense.
  """
  if isinstance(widths, tuple) and min(widths, default=0) < 1:
    raise UserError(
      f"--hp=decoder_widths={'-'.join(map(str, widths))}: write auto for the mirrored encoder, none for a single "
      "linear layer, or widths of at least 1, such as 64-32."
    )
  spatial = [o for o in outputs.values() if o.ndim == 4]
  if kind == "tied":
    if spatial:
      raise UserError("--hp=decoder=tied: needs an encoder of dense layers, such as --encoder=mlp.")
    return nn.TiedDecoder(image_shape)
  if kind == "mlp" or (kind == "auto" and not spatial):
    mirrored = tuple(o.shape[-1] for o in reversed(list(outputs.values())[:-1]))
    return nn.MlpDecoder(image_shape, () if widths is None else mirrored if widths == "auto" else widths)
  if len(image_shape) != 3:
    raise Refusal("--hp=decoder=conv: makes images; use --hp=decoder=mlp.")
  shape = (image_shape[0], image_shape[1], image_shape[2])
  if widths is None and common.last(dict(outputs)).ndim == 4:
    return nn.DictionaryDecoder(shape)
  if widths is None or widths == "auto":
    by_height = {o.shape[1]: o.shape[-1] for o in spatial if o.shape[1] < shape[0]}  # width at each resolution
    widths = tuple(by_height[h] for h in sorted(by_height)) or (32,)
  return nn.ConvDecoder(shape, widths)


def block_shapes(encoder: nn.Encoder, params: Params, state: State, image_shape: Shape) -> dict[str, Array]:
  """Shape and dtype of every block's output for one image, first block first."""
  image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  outputs = jax.eval_shape(lambda *a: nn.apply(encoder, *a)[0], params["encoder"], state["encoder"], image)
  return {name: outputs[name] for name in encoder.block_names}  # a dict that leaves a jax function is sorted by name


def keep(params: Params, state: State, key: Array, image: Array, outputs: dict[str, Array]):
  """The `Through` of a plain autoencoder: the last block's output is the code."""
  return common.last(outputs), jnp.zeros(()), {}


def autoencoder(
  encoder: nn.Encoder,
  output: str,
  loss: str,
  decoder: str,
  decoder_widths: Widths = "auto",
  through: Through = keep,
  more: Mapping[str, Callable[[Array, dict[str, Array]], dict]] | None = None,
  sparse: Callable[[Array], Array] = lambda code: code,
) -> Pretext:
  """A member of the family: L = mean pixel loss(decoder(through(encoder(x))), x) + penalty.

  The target is view["target"] where `transform` makes one, each pixel weighted by view["weight"].

  decoder, decoder_widths: see `decoder_for`.
  through: what is done to the code while training; in evaluation the decoder gets the code as it is, or `sparse` of it.
  more: {role: (key, block outputs) -> params} for parameters beside encoder and decoder.
  """
  pixel_loss, more = losses.pixel_loss(output, loss), more or {}

  def net(outputs: Mapping[str, Array], image_shape: Shape):
    return decoder_for(decoder, decoder_widths, outputs, image_shape)

  def weights(module: object, params: Params) -> tuple:
    """Further inputs of the decoder: a tied one takes the encoder's kernels, last block first."""
    if not isinstance(module, nn.TiedDecoder):
      return ()
    return ([nn.only_layer(params["encoder"][name])["kernel"] for name in reversed(encoder.block_names)],)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "decoder", *more)
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    params = {"encoder": params, **{role: make(keys[role], outputs) for role, make in more.items()}}
    module = net(outputs, batch["x"].shape[1:])
    params["decoder"] = nn.init(module, keys["decoder"], common.last(outputs), *weights(module, params))[0]
    return params, {"encoder": stats}

  def decode_raw(params: Params, state: State, code: Array, image_shape: Shape) -> Array:
    module = net(block_shapes(encoder, params, state, image_shape), image_shape)
    return nn.apply(module, params["decoder"], {}, code, *weights(module, params))[0]

  def decode(params: Params, state: State, code: Array, image_shape: Shape) -> Array:
    return jnp.clip(losses.OUTPUTS[output](decode_raw(params, state, code, image_shape)), 0, 1)

  def loss_fn(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    image = view["x"]
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], image, train=True)
    code, penalty, metrics = through(params, state, key, image, outputs)
    raw, target = decode_raw(params, state, code, image.shape[1:]), view.get("target", image)
    weight = view.get("weight", jnp.ones(()))
    value = losses.mean(pixel_loss(raw, target) * weight)
    error = losses.mean(jnp.square(losses.OUTPUTS[output](raw) - target) * weight) / weight.mean()
    metrics = {"psnr": losses.psnr(error), **metrics}
    if through is not keep:
      metrics = {"reconstruction": value, **metrics}
    return value + penalty, ({**state, "encoder": stats}, metrics)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    image = batch["x"]
    outputs, _ = nn.apply(encoder, params["encoder"], state["encoder"], image)
    code = sparse(common.last(outputs))
    return {"original": image, "reconstruction": decode(params, state, code, image.shape[1:])}

  return Pretext(init, loss_fn, common.as_is, common.no_update, show, decode, sparse)
