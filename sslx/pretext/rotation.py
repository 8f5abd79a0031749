"""RotNet: which of four rotations was applied?

    L = cross-entropy(head(encoder(rot90(x, r))), r),  r = 0, 1, 2, 3 quarter turns counter-clockwise

Gidaris, Singh, Komodakis: Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018,
arXiv 1803.07728. As in section 3.1 all four rotations of each image are in the batch (a batch of B images is 4B views).
"""

from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp

from sslx import losses, nn
from sslx.ops.rows import interleave
from sslx.pretext.families import common
from sslx.types import Array, Batch, Params, Pretext, Refusal, State


def rotate(image: Array) -> tuple[Array, Array]:
  """[B,H,H,C] -> ([4B,H,H,C], labels i32[4B]): the four turns of the first image, then of the second, ..."""
  if image.shape[1] != image.shape[2]:
    raise Refusal(f"--method=rotation needs square images, not {image.shape[1]}x{image.shape[2]}; use --image_size.")
  turned = [jnp.rot90(image, turns, axes=(1, 2)) for turns in range(4)]
  return interleave(*turned), jnp.tile(jnp.arange(4), len(image))


def rotation(encoder: nn.Encoder, *, head: Literal["conv", "linear"] = "conv") -> Pretext:
  """Rotation prediction. head: 3x3 convolution with stride 2 to 16 channels + dense, or one dense layer."""
  net = nn.ConvHead(4) if head == "conv" else nn.Linear(4)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "head")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    return {"encoder": params, "head": nn.init(net, keys["head"], common.last(outputs))[0]}, {"encoder": stats}

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    image, label = rotate(batch["x"])
    return {"x": image, "label": label}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], view["x"], train=True)
    logits, _ = nn.apply(net, params["head"], {}, common.last(outputs))
    metrics = {"rotation_accuracy": losses.accuracy(logits, view["label"])}
    return losses.cross_entropy(logits, view["label"]), ({**state, "encoder": stats}, metrics)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    image, _ = rotate(batch["x"])
    outputs, _ = nn.apply(encoder, params["encoder"], state["encoder"], image)
    guess = nn.apply(net, params["head"], {}, common.last(outputs))[0].argmax(-1)
    undone = jnp.stack([jnp.rot90(image, -turns, axes=(1, 2)) for turns in range(4)])[guess, jnp.arange(len(image))]
    pictures = {}
    for turns in range(4):
      pictures[f"turned by {90 * turns}°"] = image[turns::4]
      pictures[f"{90 * turns}°, turned back as guessed"] = undone[turns::4]
    return pictures

  return Pretext(init, loss, transform, common.no_update, show, chance={"rotation_accuracy": 1 / 4})
