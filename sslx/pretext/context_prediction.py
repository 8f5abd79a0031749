"""Context prediction: at which of eight places around a tile does another tile of the image lie?

    L = cross-entropy(head([f(centre), f(neighbour_k)]), k),  k = 0..7 row by row around the centre

Doersch, Gupta, Efros: Unsupervised Visual Representation Learning by Context Prediction, ICCV 2015, arXiv 1505.05192.
One encoder f, with one dense layer after it (the paper's fc6), reads every tile on its own, so that nine tiles give all
eight pairs of an image (the paper draws pairs one by one). Tiles stand half their size apart and move at random, lest
edges that continue give the answer away. The lens gives it away too: it magnifies colours differently, and so each tile
of a colour image keeps one channel drawn at random, and the others become noise of 1/100 of its standard deviation
(section 4.1; around its mean here).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sslx import losses, nn
from sslx.ops import tiles as ops
from sslx.pretext.families import common
from sslx.pretext.families import tiles as tiling
from sslx.types import Array, Batch, Params, Pretext, State

PLACES = np.array([0, 1, 2, 3, 5, 6, 7, 8])
"""Class -> the neighbour's place in the 3x3 grid, counted row by row; the centre is place 4."""


def context_prediction(
  encoder: nn.Encoder,
  *,
  drop_colour: bool = True,
  zoom: int = 3,
  crop: float = 0.6,
  gap: float = 0.5,
  jitter: float = 0.15,
  width: int = 64,
  hidden: int = 256,
) -> Pretext:
  """Context prediction on 3x3 tiles.

  drop_colour: each tile of a colour image keeps one channel only.
  zoom: how much tiles are enlarged before the encoder; one that takes a single size of image gets tiles of that size.
  crop: part of the image's sides that the grid takes, somewhere in the image.
  gap, jitter: pixels between two tiles, and by how much a tile moves, over its size; less where it would touch another.
  width, hidden: units of the dense layer after the encoder, and of the head's hidden layer.
  """
  tiling.check({"crop": crop, "gap": gap, "jitter": jitter}, {"zoom": zoom, "width": width, "hidden": hidden})
  dense, head = nn.Linear(width), nn.Projector((hidden, len(PLACES)))

  def cut(key: Array, image: Array) -> tuple[Array, Array]:
    keys = common.split(key, "corners", "colour")
    where = ops.layout(image.shape[1:3], 3, crop, gap, jitter)
    corners = ops.draw_corners(keys["corners"], len(image), where)
    tiles = ops.cut(image, corners, where.size)
    return ops.one_channel(keys["colour"], tiles) if drop_colour else tiles, corners

  def encode(params: Params, state: State, tiles: Array, image: Array, train: bool) -> tuple[Array, State]:
    return tiling.encode(encoder, dense, params, state, tiling.for_encoder(tiles, encoder, image.shape, zoom), train)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "head")
    tiles = tiling.for_encoder(transform(key, batch)["tiles"], encoder, batch["x"].shape, zoom)
    params, state = tiling.init(encoder, dense, keys["encoder"], batch["x"], tiles)
    return {**params, "head": nn.init(head, keys["head"], jnp.zeros((1, 2 * width)))[0]}, state

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    image = batch["x"]
    return {"x": image, "tiles": cut(key, image)[0]}  # of the image only its size is read

  def locate(params: Params, feature: Array) -> Array:
    """Features of the nine tiles [B,9,width] -> logits [B,8,8] of the place of each neighbour."""
    centre = jnp.broadcast_to(feature[:, 4:5], (len(feature), len(PLACES), width))
    pairs = jnp.concatenate([centre, feature[:, PLACES]], axis=-1)
    logits, _ = nn.apply(head, params["head"], {}, pairs.reshape(-1, 2 * width))
    return logits.reshape(len(feature), len(PLACES), len(PLACES))

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    feature, state = encode(params, state, view["tiles"], view["x"], train=True)
    logits = locate(params, feature)
    label = jnp.broadcast_to(jnp.arange(len(PLACES)), logits.shape[:2])
    return losses.cross_entropy(logits, label), (state, {"position_accuracy": losses.accuracy(logits, label)})

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    image = batch["x"]
    keys = common.split(key, "tiles", "label")
    tiles, corners = cut(keys["tiles"], image)
    feature, _ = encode(params, state, tiles, image, train=False)
    label = jax.random.randint(keys["label"], (len(image),), 0, len(PLACES))
    guess = locate(params, feature)[jnp.arange(len(image)), label].argmax(-1)

    def with_centre(nine: Array, k: Array) -> Array:
      return jnp.stack([nine[:, 4], nine[jnp.arange(len(image)), jnp.asarray(PLACES)[k]]], axis=1)

    def put(k: Array) -> Array:
      """Centre and neighbour, the latter at place k."""
      return jnp.clip(ops.place(with_centre(tiles, label), with_centre(corners, k), image.shape[1:]), 0, 1)

    return {"original": image, "tile and neighbour": put(label), "where it is guessed": put(guess)}

  return Pretext(init, loss, transform, common.no_update, show, chance={"position_accuracy": 1 / len(PLACES)})
