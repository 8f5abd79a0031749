"""What CPC and CPC v2 share: patches that overlap, one encoder for all of them, and predictions of some from others."""

from collections.abc import Callable, Mapping
from typing import Literal

import jax.numpy as jnp

from sslx import losses, nn
from sslx.ops import tiles as ops
from sslx.pretext.families import checks, common
from sslx.types import Array, Batch, Params, Pretext, Refusal, State, UserError

DIRECTIONS: dict[str, Callable[[Array], Array]] = {
  "down": lambda grid: grid,
  "up": lambda grid: grid[:, ::-1],
  "right": lambda grid: grid.swapaxes(1, 2),
  "left": lambda grid: grid[:, :, ::-1].swapaxes(1, 2),
}
"""Where predictions go -> a turn of the grid [B,r,c,...] after which they go down."""


def check(method: str, encoder: nn.Encoder, patch: int, **sizes: int) -> None:
  """Raises Refusal for an encoder that patches do not fit, or in which they would see each other, and UserError for
  sizes below 1.
  """
  if patch < 0:
    raise UserError(f"--hp=patch={patch}: a number of pixels, 0 for one that suits the image.")
  if not encoder.any_size:
    raise Refusal(f"--method={method}: reads patches of an image; needs an encoder of any size: --encoder=conv.")
  if encoder.batch_norm:
    raise Refusal(
      f"--method={method}: batch normalisation lets patches see each other; use --encoder=conv:norm=group or layer."
    )
  checks.at_least_one(**sizes)


def predictor(
  context: Literal["conv", "gru"], width: int, depth: int, ahead: int, skip: int, predicted: int = 0
) -> nn.RowPredictor:
  """A context network, and linear predictions of the rows skip + 1 .. ahead after it, `predicted` wide (0: as z)."""
  if not 0 <= skip < ahead:
    raise UserError(f"--hp=skip={skip}: must be in [0, {ahead}), below ahead.")
  net = {"conv": nn.ConvContext, "gru": nn.GruContext}[context](width, depth)
  return nn.RowPredictor(net, skip + 1, ahead, predicted)


def layout(shape: tuple[int, ...], patch: int, parts: int) -> ops.Layout:
  """Patches of patch x patch pixels on images of shape (height, width); 0: of two parts
  where the shorter side has `parts`.

  Raises:
    UserError: fewer than two rows or columns of them; a Refusal, where the size is not given.
  """
  side = min(shape)
  size = patch or max(1, min(2 * -(-side // parts), side - 1))
  if side < size + max(1, size // 2):
    small = f"images of {shape[0]}x{shape[1]} are too small for a grid of patches"
    if patch:
      raise UserError(f"--hp=patch={patch}: {small} of this size.")
    raise Refusal(f"{small}; use --image_size={parts}.")
  return ops.overlapping(shape, size)


def places(k: int, grid: Array) -> Array:
  """i32 [B (r-k) c]: indices of rows k .. r-1 among all B r c places of a grid [B,r,c,...]."""
  return jnp.arange(grid.shape[0] * grid.shape[1] * grid.shape[2]).reshape(grid.shape[:3])[:, k:].reshape(-1)


def predict_patches(
  encoder: nn.Encoder,
  net: nn.RowPredictor,
  directions: tuple[str, ...],
  patch: int,
  parts: int,
  augment: Callable[[Array, Array], Array] | None = None,
  embed: nn.Linear | None = None,
) -> Pretext:
  """Predictions of patches in `directions`, each by a `net` of its own. The loss is the mean over directions and steps.

  patch, parts: see `layout`.
  augment: (key, patches [B,n,h,w,C]) -> the same shape.
  embed: what is predicted is a linear map of the patches' features; None: the features.
  """

  def cut(key: Array, image: Array) -> tuple[Array, ops.Layout, Array]:
    """Patches [B,n,h,w,C], where they may lie, and their corners i32 [B,n,2]: the grid moves by the pixels to spare."""
    where = layout(image.shape[1:3], patch, parts)
    corners = ops.draw_corners(key, len(image), where)
    return ops.cut(image, corners, where.size), where, corners

  def as_grid(where: ops.Layout, flat: Array) -> Array:
    return flat.reshape(-1, *map(len, where.starts), *flat.shape[2:])

  def encode(params: Params, state: State, patches: Array, train: bool) -> tuple[Array, State]:
    """Patches [B,r,c,h,w,C] -> (z [B,r,c,D], state): the last block, its mean over the patch."""
    outputs, stats = nn.apply(
      encoder, params["encoder"], state["encoder"], patches.reshape(-1, *patches.shape[3:]), train=train
    )
    z = nn.read(outputs, "pool")
    return z.reshape(*patches.shape[:3], -1), {**state, "encoder": stats}

  def predict(params: Params, z: Array, direction: str) -> dict[int, tuple[Array, Array, Array, Array]]:
    """z [B,r,c,D] -> {k: (predictions [M,T], all patches [N,T], which of them is predicted i32[M], these [M,T])}."""
    z = DIRECTIONS[direction](z)
    predictions, _ = nn.apply(net, params["context"][direction], {}, z)
    flat = z.reshape(-1, z.shape[-1])
    flat = flat if embed is None else nn.apply(embed, params["embed"], {}, flat)[0]
    grid = flat.reshape(*z.shape[:3], -1)
    return {
      k: (p.reshape(-1, p.shape[-1]), flat, places(k, z), grid[:, k:].reshape(-1, grid.shape[-1]))
      for k, p in predictions.items()
    }

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    keys = common.split(key, "place", "augment")
    patches, where, _ = cut(keys["place"], batch["x"])
    patches = augment(keys["augment"], patches) if augment else patches
    return {"patches": as_grid(where, patches)}

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "embed", *directions)
    params, stats, _ = common.init_encoder(encoder, keys["encoder"], batch["x"])
    patches = transform(key, batch)["patches"]
    outputs, _ = nn.apply(encoder, params, stats, patches[:, 0, 0])
    if not common.last(outputs).size:
      size = "x".join(map(str, patches.shape[3:5]))
      raise Refusal(
        f"--encoder: its last block has no output for patches of {size} pixels; use larger ones, --hp=patch."
      )
    z, _ = encode({"encoder": params}, {"encoder": stats}, patches, train=False)
    heads = {"context": {d: nn.init(net, keys[d], DIRECTIONS[d](z))[0] for d in directions}}
    if embed is not None:
      heads["embed"] = nn.init(embed, keys["embed"], z.reshape(-1, z.shape[-1]))[0]
    return {"encoder": params, **heads}, {"encoder": stats}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    z, state = encode(params, state, view["patches"], train=True)
    results = [[losses.identify(*p) for p in predict(params, z, d).values()] for d in directions]
    # [direction, loss or accuracy]: each a mean over steps
    value, accuracy = jnp.stack([jnp.asarray(by_step).mean(axis=0) for by_step in results]).mean(axis=0)
    metrics = {
      "next_patch_accuracy": jnp.stack([by_step[0][1] for by_step in results]).mean(),
      "patch_accuracy": accuracy,
      "chance": jnp.asarray(1 / z[..., 0].size),
    }
    return value, (state, metrics)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    """The upper half, and every other patch of a row below: the true ones, and those that are picked instead."""
    image = batch["x"]
    patches, where, corners = cut(key, image)
    grid, corners = as_grid(where, patches), as_grid(where, corners)
    z, _ = encode(params, state, grid, train=False)
    k, (predicted, flat, label, _) = next(iter(predict(params, z, "down").items()))
    row = max(0, (grid.shape[1] - 1 - k) // 2)  # of the context

    def put(index: Array) -> Array:
      """index i32 [B r-k c]: which of all patches to put in their places."""
      chosen = grid.reshape(-1, *grid.shape[3:])[index.reshape(len(grid), -1, grid.shape[2])[:, row, ::2]]
      above = grid[:, : row + 1].reshape(len(grid), -1, *grid.shape[3:])
      at = [corners[:, : row + 1].reshape(len(grid), -1, 2), corners[:, row + k, ::2]]
      return ops.place(jnp.concatenate([above, chosen], axis=1), jnp.concatenate(at, axis=1), image.shape[1:])

    return {
      "original": image,
      "context and true patches": put(label),
      "context and picked": put((predicted @ flat.T).argmax(-1)),
    }

  return Pretext(init, loss, transform, common.no_update, show)
