"""Images cut into a grid of equal tiles, each a little off its place at random, and put together again; or into a grid
of patches, each of which overlaps its neighbours by half.

With tiles of `size` pixels that move by 0 to `jitter` pixels, `starts` gives each tile its own stretch of size + jitter
pixels and leaves at least one pixel between two stretches: no two tiles touch, wherever they move.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.types import Array, Refusal


def starts(length: int, grid: int, size: int, jitter: int) -> list[int]:
  """First pixel of each of `grid` tiles along `length` pixels, before they move by 0..jitter; evenly spread."""
  step = (length - size - jitter) // (grid - 1)
  if step <= size + jitter:
    raise ValueError(f"{grid} tiles of {size} pixels that move by {jitter} touch in {length} pixels")
  spare = length - (grid - 1) * step - size - jitter
  return [spare // 2 + i * step for i in range(grid)]


def fit(length: int, grid: int, gap: float, jitter: float) -> tuple[int, int]:
  """(size, jitter) in pixels: the largest tiles with `gap` times their size between them, and as much of `jitter` times
  their size as keeps them apart. gap in [0, 1]; length at least 2 * grid - 1 (see `layout`).
  """
  size = max(s for s in range(1, length) if (length - s) // (grid - 1) - s >= max(1, int(gap * s)))
  moves = [j for j in range(int(jitter * size) + 1) if (length - size - j) // (grid - 1) > size + j]
  return size, moves[-1]


class Layout(NamedTuple):
  """Where the tiles of an image may lie, all of it (y, x): the grid anywhere in the
  image, each tile within the grid."""

  starts: tuple[list[int], list[int]]
  size: tuple[int, int]
  jitter: tuple[int, int]
  spare: tuple[int, int]
  """By how much the grid as a whole moves."""

  @property
  def first(self) -> np.ndarray:
    """The least top left corners, row by row: i32 [n,2]."""
    return np.stack(np.meshgrid(*self.starts, indexing="ij"), -1).reshape(-1, 2).astype(np.int32)


def layout(shape: tuple[int, ...], grid: int, crop: float, gap: float, jitter: float) -> Layout:
  """grid x grid tiles on `crop` times the sides of images of shape (height, width); for gap and jitter see `fit`.

  Raises:
    Refusal: not even tiles of one pixel fit.
  """
  least = 2 * grid - 1
  if min(shape) < least:
    raise Refusal(
      f"images of {shape[0]}x{shape[1]} are too small for {grid}x{grid} tiles; use --image_size={4 * grid} or more."
    )

  def along(length: int) -> tuple[list[int], int, int, int]:
    window = max(least, round(crop * length))
    size, moves = fit(window, grid, gap, jitter)
    return starts(window, grid, size, moves), size, moves, length - window

  y, x = map(along, shape)
  return Layout((y[0], x[0]), (y[1], x[1]), (y[2], x[2]), (y[3], x[3]))


def overlapping(shape: tuple[int, ...], size: int) -> Layout:
  """As many patches of size x size pixels, half their size apart (rounded down), as fit
  images of shape (height, width)."""
  step = max(1, size // 2)
  y, x = (list(range(0, length - size + 1, step)) for length in shape)
  return Layout((y, x), (size, size), (0, 0), (shape[0] - size - y[-1], shape[1] - size - x[-1]))


def draw_corners(key: Array, batch: int, where: Layout) -> Array:
  """Top left corners (y, x) of the tiles, row by row: i32 [batch,n,2]; each grid and
  each of its tiles moves on its own."""
  grid_key, tile_key = jax.random.split(key)
  first = jnp.asarray(where.first)
  grids = jax.random.randint(grid_key, (batch, 1, 2), 0, np.array(where.spare) + 1)
  return first + grids + jax.random.randint(tile_key, (batch, *first.shape), 0, np.array(where.jitter) + 1)


def cut(image: Array, corners: Array, size: tuple[int, int]) -> Array:
  """[B,H,W,C], corners i32 [B,n,2] -> tiles [B,n,*size,C]."""

  def cut_one(image: Array, corner: Array) -> Array:
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (*size, image.shape[-1]))

  return jax.vmap(jax.vmap(cut_one, (None, 0)))(image, corners)


def place(tiles: Array, corners: Array, shape: tuple[int, ...]) -> Array:
  """Tiles [B,n,h,w,C] at corners i32 [B,n,2] of grey images [B,*shape]: the inverse of `cut` where they lie."""

  def place_one(canvas: Array, tile_corner: tuple[Array, Array]) -> tuple[Array, None]:
    tile, corner = tile_corner
    return jax.lax.dynamic_update_slice(canvas, tile, (corner[0], corner[1], 0)), None

  empty = jnp.full(shape, 0.5, tiles.dtype)
  return jax.vmap(lambda tiles, corners: jax.lax.scan(place_one, empty, (tiles, corners))[0])(tiles, corners)


def resize(tiles: Array, size: tuple[int, int]) -> Array:
  """[B,n,h,w,C] -> [B,n,*size,C], bilinear."""
  return jax.image.resize(tiles, (*tiles.shape[:2], *size, tiles.shape[-1]), "bilinear")


def standardise(tiles: Array) -> Array:
  """Each tile [...,h,w,C] with zero mean and unit variance over all its values; one of equal values becomes 0."""
  centred = tiles - tiles.mean((-3, -2, -1), keepdims=True)
  variance = jnp.square(centred).mean((-3, -2, -1), keepdims=True)
  return centred * jax.lax.rsqrt(variance + 1e-6)


def one_channel(key: Array, tiles: Array) -> Array:
  """[B,n,h,w,C]: each tile keeps one of its channels; the others become its mean + 1/100 of its deviation in noise."""
  if tiles.shape[-1] == 1:
    return tiles
  channel_key, noise_key = jax.random.split(key)
  channel = jax.random.randint(channel_key, (*tiles.shape[:2], 1, 1, 1), 0, tiles.shape[-1])
  kept = jnp.take_along_axis(tiles, channel, axis=-1)
  noise = kept.std((2, 3), keepdims=True) / 100 * jax.random.normal(noise_key, tiles.shape)
  return jnp.where(jnp.arange(tiles.shape[-1]) == channel, tiles, kept.mean((2, 3), keepdims=True) + noise)
