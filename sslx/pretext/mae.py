"""Masked autoencoder: predict the pixels of hidden patches from the few patches that the encoder sees.

    L = mean over the pixels of hidden patches of (decoder(encoder(visible patches), mask tokens) - x)^2

He, Chen, Xie, Li, Dollar, Girshick: Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, arXiv 2111.06377.
The encoder never computes with hidden patches; a light decoder gets its tokens, one shared mask token for each hidden
patch, and the positions of all. Every image draws its own mask; the number of hidden patches is the same for all.
Deviations: no class token (see `sslx/nn/vit.py`), and half of the patches are hidden, not three quarters: 28x28 pixels
are 49 patches only, most of them black on MNIST. Where a patch reaches beyond the image, the border pixels that fill it
count too.
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from sslx import losses, nn
from sslx.ops.patches import patchify, unpatchify
from sslx.pretext.families import common
from sslx.types import Array, Batch, Params, Pretext, Refusal, State, UserError


def visible(patches: int, ratio: float) -> int:
  """How many of an image's patches stay visible: a fraction 1 - ratio, at least one, and never all."""
  if patches < 2:
    raise Refusal("--method=mae: the image is a single patch; take smaller ones, such as --encoder=vit:patch=2.")
  return min(max(round(patches * (1 - ratio)), 1), patches - 1)


def mae(
  encoder: nn.Encoder,
  *,
  ratio: float = 0.5,
  decoder_width: int = 32,
  decoder_depth: int = 1,
  norm_pixels: bool = False,
) -> Pretext:
  """Masked autoencoder, for an encoder of patches: --encoder=vit.

  ratio: fraction of the patches that are hidden.
  decoder_width, decoder_depth: units and blocks of the decoder.
  norm_pixels: predict each patch's pixels less their mean, over their standard deviation; psnr and pictures then put
    the true ones back.
  """
  size = encoder.patch
  if size is None:
    raise Refusal("--method=mae: hides patches from an encoder of patches; use --encoder=vit.")
  if not 0 < ratio < 1:
    raise UserError(f"--hp=ratio={ratio:g}: must be in (0, 1): the fraction of patches that are hidden.")
  if decoder_width < 4 or decoder_width % 4:
    raise UserError(f"--hp=decoder_width={decoder_width}: must be a positive multiple of 4.")
  if decoder_depth < 1:
    raise UserError(f"--hp=decoder_depth={decoder_depth}: must be at least 1: mask tokens learn by attention alone.")

  def grid(image: Array) -> tuple[int, int]:
    return -(-image.shape[1] // size), -(-image.shape[2] // size)

  def net(image: Array) -> nn.MaskedDecoder:
    return nn.MaskedDecoder(grid(image), size * size * image.shape[3], decoder_width, decoder_depth)

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    """order i32[B,N]: the patches of each image as they were drawn. The first `visible` of them are."""
    image = batch["x"]
    return {"x": image, "order": jax.random.uniform(key, (len(image), math.prod(grid(image)))).argsort(axis=1)}

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "decoder")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    order = transform(key, batch)["order"]
    seen = common.last(outputs).reshape(*order.shape, -1)[:, : visible(order.shape[1], ratio)]
    decoder, _ = nn.init(net(batch["x"]), keys["decoder"], seen, order)
    return {"encoder": params, "decoder": decoder}, {"encoder": stats}

  def predict(params: Params, state: State, view: Mapping[str, Array], train: bool):
    """(predicted hidden patches, the true ones f32[B,N-n,size*size*C], their places i32[B,N-n], stats)."""
    image, order = view["x"], view["order"]
    keep, hidden = jnp.split(order, [visible(order.shape[1], ratio)], axis=1)
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], image, keep, train=train)
    predicted = nn.apply(net(image), params["decoder"], {}, common.last(outputs), order)[0]
    patches = patchify(image, size).reshape(*order.shape, -1)
    return predicted, jnp.take_along_axis(patches, hidden[..., None], axis=1), hidden, stats

  def moments(patches: Array) -> tuple[Array, Array]:
    """(shift, scale) of the pixels that the decoder predicts."""
    if not norm_pixels:
      return jnp.zeros(()), jnp.ones(())
    return patches.mean(-1, keepdims=True), jnp.sqrt(patches.var(-1, keepdims=True, ddof=1) + 1e-6)

  def weights_of(view: Mapping[str, Array]) -> Array:
    """Weights of the hidden patches' values, 1 on average, where there are some: of sound, whose padding has none."""
    if "weight" not in view:
      return jnp.ones(())
    weight, order = jnp.broadcast_to(view["weight"], view["x"].shape), view["order"]
    patches = patchify(weight, size).reshape(*order.shape, -1)
    weight = jnp.take_along_axis(patches, order[:, visible(order.shape[1], ratio) :, None], axis=1)
    return weight / jnp.maximum(weight.mean(), 1e-6)

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    predicted, target, _, stats = predict(params, state, view, train=True)
    shift, scale = moments(target)
    error = jnp.square(predicted - (target - shift) / scale) * weights_of(view)
    metrics = {"psnr": losses.psnr(losses.mean(error * jnp.square(scale)))}
    return losses.mean(error), ({**state, "encoder": stats}, metrics)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view = transform(key, batch)
    image = view["x"]
    predicted, target, hidden, _ = predict(params, state, view, train=False)
    shift, scale = moments(target)

    def filled(values: Array) -> Array:
      """The images with `values` in their hidden patches."""
      patches = patchify(image, size)
      put = jax.vmap(lambda p, i, v: p.at[i].set(v))(patches.reshape(*view["order"].shape, -1), hidden, values)
      return jnp.clip(unpatchify(put.reshape(patches.shape), size, image.shape[1:]), 0, 1)

    return {
      "original": image,
      "visible to the encoder": filled(jnp.full_like(target, 0.5)),
      "predicted": filled(predicted * scale + shift),
    }

  return Pretext(init, loss, transform, common.no_update, show)
