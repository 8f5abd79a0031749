"""What methods on tiles share: their options checked, tiles as an encoder takes them,
and one encoder for all of them."""

import jax

from sslx import nn
from sslx.ops import tiles as ops
from sslx.pretext.families import checks, common
from sslx.types import Array, Params, Refusal, State, UserError


def check(grid_options: dict[str, float], sizes: dict[str, int]) -> None:
  """Raises UserError for a gap or jitter outside [0, 1], or a size below 1."""
  for name, value in grid_options.items():
    if not 0 <= value <= 1:
      raise UserError(f"--hp={name}={value:g}: must be in [0, 1], a fraction of a tile's size.")
  checks.at_least_one(**sizes)


def for_encoder(tiles: Array, encoder: nn.Encoder, image_shape: tuple[int, ...], zoom: int) -> Array:
  """Tiles [B,n,h,w,C] enlarged `zoom` times, or to the size of the images [B,H,W,C]
  where the encoder takes no other."""
  height, width = tiles.shape[2:4]
  size = (zoom * height, zoom * width) if encoder.any_size else (image_shape[1], image_shape[2])
  return tiles if size == (height, width) else ops.resize(tiles, size)


def init(encoder: nn.Encoder, dense: nn.Linear, key: Array, image: Array, tiles: Array) -> tuple[Params, State]:
  """(params, state) of the roles encoder and tile. tiles [B,n,h,w,C]: as the encoder will get them."""
  keys = common.split(key, "encoder", "tile")
  params, stats, _ = common.init_encoder(encoder, keys["encoder"], image)
  outputs, _ = nn.apply(encoder, params, stats, tiles[:, 0])
  if not common.last(outputs).size:
    size = "x".join(map(str, tiles.shape[2:4]))
    raise Refusal(f"--encoder: its last block has no output for tiles of {size} pixels; use --hp=zoom=2 or more.")
  return {"encoder": params, "tile": nn.init(dense, keys["tile"], common.last(outputs))[0]}, {"encoder": stats}


def encode(
  encoder: nn.Encoder, dense: nn.Linear, params: Params, state: State, tiles: Array, train: bool = False
) -> tuple[Array, State]:
  """Tiles [B,n,h,w,C] -> (features [B,n,width], state): every tile by the same encoder and dense layer, on its own."""
  outputs, stats = nn.apply(
    encoder, params["encoder"], state["encoder"], tiles.reshape(-1, *tiles.shape[2:]), train=train
  )
  feature = jax.nn.relu(nn.apply(dense, params["tile"], {}, common.last(outputs))[0])
  return feature.reshape(*tiles.shape[:2], -1), {**state, "encoder": stats}
