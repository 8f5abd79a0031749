"""Jigsaw puzzles: in which of a set of permutations were an image's tiles handed over?

    L = cross-entropy(head([f(tile_p(1)), ..., f(tile_p(n))]), index of p)

Noroozi, Favaro: Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles, ECCV 2016, arXiv 1603.09246.
One encoder f, with one dense layer after it (the paper's fc6), reads every tile on its own. So the tiles are encoded
once, and their features are handed to the head in several orders: `puzzles` examples for little more than the price of
one. Tiles stand apart and move at random, as in the paper, or edges that continue would give the answer away. Ours: the
2x2 puzzle, sizes in proportion to the image, and a choice of standardisation (features are read of images as they are).
"""

import functools
import itertools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sslx import losses, nn
from sslx.ops import tiles as ops
from sslx.pretext.families import common
from sslx.pretext.families import tiles as tiling
from sslx.types import Array, Batch, Params, Pretext, State, UserError


@functools.cache
def permutation_set(tiles: int, count: int) -> np.ndarray:
  """`count` permutations of `tiles` things, i32 [count,tiles], far apart in Hamming
  distance; the first is the identity.

  Greedy: each next one is farthest from its nearest among those before, and of several such the farthest from all.
  """
  everything = np.array(list(itertools.permutations(range(tiles))), np.int8).T  # [tiles, tiles!]: long rows are fast
  nearest = np.full(everything.shape[1], tiles, np.int32)
  total = np.zeros_like(nearest)
  chosen = [0]
  while len(chosen) < count:
    distance = (everything != everything[:, chosen[-1], None]).sum(0, dtype=np.int32)
    nearest, total = np.minimum(nearest, distance), total + distance
    chosen.append(int((nearest * (tiles * count + 1) + total).argmax()))
  return everything[:, chosen].T.astype(np.int32)


def jigsaw(
  encoder: nn.Encoder,
  *,
  grid: int = 2,
  permutations: int = 24,
  puzzles: int = 4,
  standardise: bool = True,
  zoom: int = 2,
  crop: float = 0.6,
  gap: float = 1 / 3,
  jitter: float = 1 / 3,
  width: int = 16,
  hidden: int = 256,
) -> Pretext:
  """Jigsaw puzzles of grid x grid tiles.

  The defaults were chosen on the last 10,000 training images of MNIST. There a grid at a fixed place is no puzzle: a
  tile's black margin tells where it belongs, 97% are solved and the features are worth no more than random ones.

  permutations: size of the set of orders that are told apart; puzzles: how many of them are set per image and step.
  standardise: give each tile zero mean and unit variance.
  zoom: how much tiles are enlarged before the encoder; one that takes a single size of image gets tiles of that size.
  crop: part of the image's sides that the grid takes, somewhere in the image.
  gap, jitter: pixels between two tiles, and by how much a tile moves, over its size.
  width, hidden: units of the dense layer after the encoder, and of the head's hidden layer.
  """
  if grid not in (2, 3):
    raise UserError(f"--hp=grid={grid}: must be 2 or 3.")
  most = 24 if grid == 2 else 5000
  if not 2 <= permutations <= most:
    raise UserError(f"--hp=permutations={permutations}: must be in 2..{most} for grid={grid}.")
  tiling.check(
    {"crop": crop, "gap": gap, "jitter": jitter}, {"puzzles": puzzles, "zoom": zoom, "width": width, "hidden": hidden}
  )
  orders = permutation_set(grid * grid, permutations)
  dense, head = nn.Linear(width), nn.Projector((hidden, permutations))

  def cut(key: Array, image: Array) -> tuple[Array, Array]:
    where = ops.layout(image.shape[1:3], grid, crop, gap, jitter)
    corners = ops.draw_corners(key, len(image), where)
    return ops.cut(image, corners, where.size), corners

  def encode(params: Params, state: State, tiles: Array, image: Array, train: bool) -> tuple[Array, State]:
    tiles = ops.standardise(tiles) if standardise else tiles
    tiles = tiling.for_encoder(tiles, encoder, image.shape, zoom)
    return tiling.encode(encoder, dense, params, state, tiles, train)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "head")
    tiles = tiling.for_encoder(transform(key, batch)["tiles"], encoder, batch["x"].shape, zoom)
    params, state = tiling.init(encoder, dense, keys["encoder"], batch["x"], tiles)
    return {**params, "head": nn.init(head, keys["head"], jnp.zeros((1, grid * grid * width)))[0]}, state

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    image = batch["x"]
    keys = common.split(key, "tiles", "label")
    label = jax.random.randint(keys["label"], (len(image), puzzles), 0, permutations)
    return {"x": image, "tiles": cut(keys["tiles"], image)[0], "label": label}  # of the image only its size is read

  def solve(params: Params, feature: Array, label: Array) -> Array:
    """Features in the tiles' own order [B,n,width], labels i32 [B,k] -> logits of the
    shuffled ones [B,k,permutations]."""
    shuffled = jnp.take_along_axis(feature[:, None], jnp.asarray(orders)[label][..., None], axis=2)
    logits, _ = nn.apply(head, params["head"], {}, shuffled.reshape(label.size, -1))
    return logits.reshape(*label.shape, permutations)

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    feature, state = encode(params, state, view["tiles"], view["x"], train=True)
    logits = solve(params, feature, view["label"])
    metrics = {"jigsaw_accuracy": losses.accuracy(logits, view["label"])}
    return losses.cross_entropy(logits, view["label"]), (state, metrics)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    image = batch["x"]
    keys = common.split(key, "tiles", "label")
    tiles, corners = cut(keys["tiles"], image)
    label = jax.random.randint(keys["label"], (len(image), 1), 0, permutations)
    feature, _ = encode(params, state, tiles, image, train=False)
    guess = solve(params, feature, label)[:, 0].argmax(-1)
    back = jnp.asarray(np.argsort(orders, axis=1))
    puzzle = jnp.take_along_axis(tiles, jnp.asarray(orders)[label[:, 0]][..., None, None, None], axis=1)
    solved = jnp.take_along_axis(puzzle, back[guess][..., None, None, None], axis=1)
    put = functools.partial(ops.place, corners=corners, shape=image.shape[1:])
    return {"original": image, "puzzle": put(puzzle), "solved as guessed": put(solved)}

  return Pretext(init, loss, transform, common.no_update, show, chance={"jigsaw_accuracy": 1 / permutations})
