"""Context encoder: predict the middle of an image from what surrounds it, sharply enough to fool a discriminator.

    L = rec mean over the region of w (y - x)^2 + adv softplus(-D_sg(y)) + softplus(-D(x)) + softplus(D(sg(y)))
    y = G(x with a mean-filled hole),  w = 1 in the hole and `overlap` around it

G's gradient is that of the first two terms, as D_sg is D with its parameters stopped, D's that of the last two. D sees
the region only, and learns at a tenth of the others' rate.

Pathak, Krahenbuhl, Donahue, Darrell, Efros: Context Encoders: Feature Learning by Inpainting, CVPR 2016, sections 3.2
and 3.3, arXiv 1604.07379. The region that is predicted is the hole and a band of context around it, whose known pixels
weigh ten times as much, so that the edges meet. Theirs is 4 pixels of a 64-pixel region; at 28 pixels one pixel gives
band and hole the same shares of the loss. Deviations: the hole has the mean colour of the visible pixels of its own
image, not of the data set; sigmoid instead of tanh outputs; no batch normalisation in D.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sslx import losses, nn
from sslx.ops.holes import HOLES, check_fraction
from sslx.pretext.families import common
from sslx.pretext.families.autoencoder import Widths, decoder_for
from sslx.pretext.inpaint import fill
from sslx.types import Array, Batch, Params, Pretext, State, UserError


def hole_and_region(image_shape: tuple[int, ...], fraction: float, band: int) -> tuple[Array, tuple[slice, slice]]:
  """(bool [1,H,W,1], True where hidden; rows and columns of the region: the hole and `band` pixels around it).

  image_shape: (H,W,C). The region ends with the image.
  """
  with jax.ensure_compile_time_eval():  # the centre is not drawn: known while compiling
    hidden = np.asarray(HOLES["centre"](jax.random.key(0), (1, *image_shape), fraction))
  places = (np.flatnonzero(hidden.any(others)) for others in ((0, 2, 3), (0, 1, 3)))
  rows, columns = (
    slice(max(p[0] - band, 0), min(p[-1] + 1 + band, size)) for p, size in zip(places, image_shape[:2], strict=True)
  )
  return jnp.asarray(hidden), (rows, columns)


def context_encoder(
  encoder: nn.Encoder,
  *,
  fraction: float = 0.25,
  band: int = 1,
  overlap: float = 10.0,
  rec: float = 0.999,
  adv: float = 0.001,
  discriminator_rate: float = 0.1,
  decoder_widths: Widths = "auto",
) -> Pretext:
  """Context encoder: inpainting of the centre, with an adversary.

  fraction: of the image that is hidden.
  band, overlap: pixels of context around the hole that are predicted too, and their weight in the squared error.
  rec, adv: weights of the squared error and of the adversary's opinion; adv=0 leaves a discriminator that nobody fears.
  discriminator_rate: its learning rate as a multiple of the others'.
  decoder_widths: widths of the decoder's layers from the code to the region; auto mirrors the encoder.
  """
  check_fraction(fraction)
  for name, value in {"band": band, "overlap": overlap, "rec": rec, "adv": adv}.items():
    if not value >= 0:
      raise UserError(f"--hp={name}={value:g}: must be at least 0.")
  if not discriminator_rate > 0:
    raise UserError(f"--hp=discriminator_rate={discriminator_rate:g}: must be positive.")
  judge = nn.Discriminator()

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    image = batch["x"]
    hidden, _ = hole_and_region(image.shape[1:], fraction, band)
    return {"x": fill(image, hidden), "target": image}

  def generator(outputs: dict[str, Array], target: Array) -> nn.ContextDecoder:
    return nn.ContextDecoder(decoder_for("conv", decoder_widths, outputs, region(target).shape[1:]))

  def region(image: Array) -> Array:
    rows, columns = hole_and_region(image.shape[1:], fraction, band)[1]
    return image[:, rows, columns]

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys, image = common.split(key, "encoder", "decoder", "discriminator"), batch["x"]
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], image)
    decoder, _ = nn.init(generator(outputs, image), keys["decoder"], common.last(outputs))
    discriminator, _ = nn.init(judge, keys["discriminator"], region(image))
    return {"encoder": params, "decoder": decoder, "discriminator": discriminator}, {"encoder": stats}

  def predict(params: Params, state: State, image: Array, train: bool) -> tuple[Array, dict]:
    """Images with a hole -> (the region [B,h,w,C], batch statistics)."""
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], image, train=train)
    raw, _ = nn.apply(generator(outputs, image), params["decoder"], {}, common.last(outputs))
    return jax.nn.sigmoid(raw), stats

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    real, hidden = region(view["target"]), region(hole_and_region(view["x"].shape[1:], fraction, band)[0])
    fake, stats = predict(params, state, view["x"], train=True)

    def opinion(discriminator: dict, region: Array) -> Array:
      return nn.apply(judge, discriminator, {}, region)[0]

    error = jnp.square(fake - real)
    reconstruction = losses.mean(error * jnp.where(hidden, 1.0, overlap))
    fooled, judging, right = common.adversary(opinion, params["discriminator"], real, fake)
    metrics = {
      "psnr": losses.psnr(losses.mean(error * hidden) / hidden.mean()),
      "discriminator_accuracy": right,
    }
    return rec * reconstruction + adv * fooled + judging, ({**state, "encoder": stats}, metrics)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view = transform(key, batch)
    image, original = view["x"], view["target"]
    hidden, (rows, columns) = hole_and_region(image.shape[1:], fraction, band)
    painted = original.at[:, rows, columns].set(predict(params, state, image, train=False)[0])
    return {"original": original, "with a hole": image, "predicted": jnp.where(hidden, painted, original)}

  rates = {"discriminator": discriminator_rate}
  return Pretext(init, loss, transform, common.no_update, show, rates=rates)
