"""Clips of digits that move, turn and grow over a background: arrays in, arrays out, the same for the same seed.

Digits and background have colours of their own, and a texture of hue and lightness that moves with them. A frame is
painted from back to front: the background, then the digits in an order that stays the same throughout the clip, then
noise. A digit is dilated by a pixel of its image, so that its strokes are as wide as a cell of a grid of 4 pixels.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sslx.data.digits import INK, Digits, dealt, pure, shared, tight_boxes, warp
from sslx.types import brief

RENDERER = 2  # one more whenever the same settings give other clips: what is kept on disk is rendered anew
VISIBLE = 0.6  # the part of a digit's mask that no other digit hides in the first frame, at least
CANDIDATES = 30  # places that are tried for the path of a digit
CHUNK = 1 << 19  # pixels of the clips rendered at a time; each chunk has random numbers of its own
SLOWEST = 1 / 3  # of the greatest speed
TILT = 20.0  # degrees by which a digit is turned in the middle of a clip, either way
BEND = 8.0  # degrees by which a path bends from one frame to the next, either way


@dataclasses.dataclass(frozen=True, kw_only=True)
class MovingDigits:
  """Settings of a set of clips: what may stand after `moving_digits:`."""

  size: int = 64
  """Height and width of a frame in pixels."""
  frames: int = 12
  """Frames of a clip."""
  objects: tuple[int, ...] = (2, 3)
  """Fewest and most digits of a clip."""
  digits: tuple[int, ...] = (20, 28)
  """Least and greatest size of a digit, between which it grows or shrinks: the longer side of its box in pixels before
  it is dilated and turned."""
  speed: float = 3.0
  """A digit moves by up to so many pixels from one frame to the next, and by a third of that at least."""
  degrees: float = 5.0
  """A digit is turned by up to so much from one frame to the next, either way."""
  drift: float = 1.0
  """The background moves by up to so many pixels from one frame to the next, down or up, and as many across."""
  noise: float = 0.03
  """Standard deviation of the noise of each pixel of each frame, where white is 1."""
  seed: int = 0
  """Other clips for another seed."""
  train: int = 2_000
  """Training clips; fewer of them are the first of more."""
  validation: int = 40
  """Whole videos to choose settings of tracking on, of digits of MNIST's training split that no training clip shows (of
  all of them where train leaves too few)."""
  test: int = 100
  """Test clips, of digits that no other clip shows."""

  __repr__ = brief


class Rendered(NamedTuple):
  """N clips with all that is known of them. M is the greatest number of digits."""

  x: np.ndarray
  """u8 [N,T,H,W,3]"""
  masks: np.ndarray
  """u8 [N,T,H,W]: 0, or the number of the front digit whose alpha is at least INK: from 1, the hindmost, to M."""
  sources: np.ndarray
  """i32 [N,M]: which image each digit is; -1 where there is none."""

  __repr__ = brief


class Moving(NamedTuple):
  """m digits in T frames."""

  patches: np.ndarray
  """f32 [m,T,P,P,4]: red, green, blue and alpha"""
  corners: np.ndarray
  """i64 [m,T,2]: where the upper left pixel of a patch comes to, which may be outside"""
  is_placed: np.ndarray
  """bool [m]: whether it has found a place; else it is left out"""

  __repr__ = brief


def render(digits: Digits, count: int, settings: MovingDigits, stream: Sequence[int]) -> Iterator[Rendered]:
  """Yields `count` clips, in chunks. No digit comes twice before all have come once.

  stream: numbers that choose the random ones. Of the same settings and stream, fewer clips are the first of more.
  """
  chunk = int(np.clip(CHUNK // (settings.frames * settings.size**2), 1, 64))
  numbers = dealt(len(digits.images), stream)
  for number, start in enumerate(range(0, count, chunk)):
    rng = np.random.default_rng([*stream, 1, number])
    low, high = settings.objects
    counts = rng.integers(low, high + 1, chunk)
    sources = np.full((chunk, high), -1, np.int32)
    sources[np.arange(high) < counts[:, None]] = [next(numbers) for _ in range(counts.sum())]
    rendered = _clips(digits, sources, settings, rng)
    yield Rendered(*(array[: count - start] for array in rendered))


def _clips(digits: Digits, sources: np.ndarray, settings: MovingDigits, rng: np.random.Generator) -> Rendered:
  """The n clips of the digits `sources` i32 [n,M]. Noise draws its random numbers last: without it, all else is the
  same."""
  n, most = sources.shape
  hues = _hues(rng, n, most + 1)
  canvas = _backgrounds(rng, hues[:, 0], settings)
  masks = np.zeros(canvas.shape[:4], np.uint8)
  clip, slot = np.nonzero(sources >= 0)
  moving = _moving(rng, digits.images[sources[clip, slot]], hues[clip, slot + 1], clip, slot, settings)
  kept = np.full_like(sources, -1)
  for row in np.flatnonzero(moving.is_placed):
    i = clip[row]
    k = np.count_nonzero(kept[i] >= 0)  # those that have found no place leave no gap
    kept[i, k] = sources[i, slot[row]]
    for t in range(settings.frames):
      area, part = shared(masks.shape[2:], moving.corners[row, t], moving.patches.shape[2:])
      patch = moving.patches[row, t][part]
      colour, alpha = patch[..., :3], patch[..., 3:]
      canvas[i, t][area] += alpha * (colour - canvas[i, t][area])
      masks[i, t][area][alpha[..., 0] >= INK] = k + 1
  if settings.noise:
    canvas += np.float32(settings.noise) * rng.standard_normal(canvas.shape, np.float32)
  return Rendered(np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8), masks, kept)


# ---- colours and textures --------------------------------------------------------------------------------------------


def _hues(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
  """f32 [n,count]: hues that are about evenly spread over the wheel, in random order."""
  order = rng.random((n, count)).argsort(1)
  return ((rng.random((n, 1)) + (order + rng.uniform(-0.2, 0.2, (n, count))) / count) % 1).astype(np.float32)


def _noise(rng: np.random.Generator, n: int, side: int, cell: float) -> np.ndarray:
  """f32 [n,side,side] in [0, 1): random values on a grid of cells of so many pixels, smoothly joined."""
  cells = int(np.ceil(side / cell)) + 1
  values = rng.random((n, cells, cells), np.float32)
  place = np.arange(side) / cell
  first = place.astype(np.int64)
  rest = place - first
  rest = (rest * rest * (3 - 2 * rest)).astype(np.float32)
  rows = values[:, first] + rest[:, None] * (values[:, first + 1] - values[:, first])
  return rows[..., first] + rest * (rows[..., first + 1] - rows[..., first])


def _coloured(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
  """[...] -> f32 [...,3]: red, green and blue in [0, 1]."""
  return (value[..., None] * (1 - saturation[..., None] * (1 - pure(hue[..., None])))).astype(np.float32)


def _textured(rng: np.random.Generator, images: np.ndarray, hues: np.ndarray) -> np.ndarray:
  """Digits u8 [m,H,W] -> u8 [m,H+2,W+2,4]: red, green, blue, and ink, which is dilated by a pixel."""
  m, height, width = images.shape
  padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
  rows = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
  ink = np.maximum(np.maximum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
  side = max(height, width) + 2
  hue = hues[:, None, None] + 0.2 * (_noise(rng, m, side, 8) - 0.5)
  colour = _coloured(hue, 0.6 + 0.4 * _noise(rng, m, side, 8), 0.25 + 0.75 * _noise(rng, m, side, 4.5))
  colour = np.rint(colour * 255).astype(np.uint8)[:, : height + 2, : width + 2]
  return np.concatenate([colour, ink[..., None]], -1)


def _backgrounds(rng: np.random.Generator, hues: np.ndarray, settings: MovingDigits) -> np.ndarray:
  """f32 [n,T,H,W,3]: a texture a clip, that drifts."""
  n, size, last = len(hues), settings.size, settings.frames - 1
  side = size + int(np.ceil(settings.drift * last)) + 2
  hue = hues[:, None, None] + 0.25 * (_noise(rng, n, side, 20) - 0.5)
  whole = _coloured(hue, 0.3 + 0.5 * _noise(rng, n, side, 16), 0.15 + 0.65 * _noise(rng, n, side, 6))
  drift = rng.uniform(-settings.drift, settings.drift, (n, 1, 2))
  places = (side - 2 - size) / 2 + drift * (np.arange(settings.frames)[:, None] - last / 2)
  corners = np.floor(places).astype(np.int64)
  rests = (places - corners).astype(np.float32)
  out = np.empty((n, settings.frames, size, size, 3), np.float32)
  for i in range(n):
    for t in range(settings.frames):
      (top, left), (y, x) = corners[i, t], rests[i, t]
      cut = whole[i, top : top + size + 1, left : left + size + 1]
      rows = cut[:-1] + y * (cut[1:] - cut[:-1])
      out[i, t] = rows[:, :-1] + x * (rows[:, 1:] - rows[:, :-1])
  return out


# ---- motion ----------------------------------------------------------------------------------------------------------


def _moving(
  rng: np.random.Generator,
  images: np.ndarray,
  hues: np.ndarray,
  clip: np.ndarray,
  slot: np.ndarray,
  settings: MovingDigits,
) -> Moving:
  """The digits u8 [m,H,W] of these hues. clip, slot: [m], ascending: each one's clip, and its number in it."""
  ink = tight_boxes(images >= INK * 255)
  middle, longer = (ink[:, :2] + ink[:, 2:]) / 2 + 1, (ink[:, 2:] - ink[:, :2]).max(1)  # of the dilated image
  painted = _textured(rng, images, hues)
  sizes, angles = _poses(rng, len(images), settings)
  scales = sizes / longer[:, None]
  moves = _moves(rng, len(images), settings)
  border = np.ceil(sizes.max(1) / 2 + 1)  # a middle stays so far from it
  low, room = border[:, None, None], settings.size - 2 * border[:, None, None]
  drawn = rng.random((clip[-1] + 1, settings.objects[1], CANDIDATES, 2))[clip, slot]
  places = (low + np.floor(drawn * (room + 1))).astype(np.int64)
  inks = warp(painted, middle, scales[:, 0], angles[:, 0])[..., -1] >= INK
  starts, is_placed = _placed(inks, clip, places, settings.size)
  centres = _bounced(starts[:, None] + moves, low, room)
  return Moving(*_patches(painted, middle, scales, angles, centres), is_placed)


def _poses(rng: np.random.Generator, m: int, settings: MovingDigits) -> tuple[np.ndarray, np.ndarray]:
  """(sizes, angles), both f64 [m,T], that change evenly; angles in degrees, counter-clockwise."""
  steps = np.arange(settings.frames) / (settings.frames - 1)
  low, high = settings.digits
  first, last = rng.uniform(low, high, (2, m, 1))
  whole = rng.uniform(-settings.degrees, settings.degrees, (m, 1)) * (settings.frames - 1)
  return first + (last - first) * steps, rng.uniform(-TILT, TILT, (m, 1)) + whole * (steps - 0.5)


def _moves(rng: np.random.Generator, m: int, settings: MovingDigits) -> np.ndarray:
  """f64 [m,T,2]: how far each digit has come from its place in the first frame, along a path that bends evenly."""
  speed = settings.speed * rng.uniform(SLOWEST, 1, (m, 1, 1))
  heading = rng.uniform(0, 360, (m, 1)) + rng.uniform(-BEND, BEND, (m, 1)) * np.arange(settings.frames - 1)
  heading = np.deg2rad(heading)
  steps = speed * np.stack([np.sin(heading), np.cos(heading)], -1)
  return np.concatenate([np.zeros((m, 1, 2)), steps.cumsum(1)], 1)


def _bounced(places: np.ndarray, low: np.ndarray, room: np.ndarray) -> np.ndarray:
  """Places, folded into [low, low + room]: what would leave it turns back at its border."""
  along = (places - low) % (2 * room)
  return low + np.minimum(along, 2 * room - along)


def _placed(inks: np.ndarray, clip: np.ndarray, places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
  """(where each digit's middle stands in the first frame i64 [m,2], whether it has found a place bool [m]).

  A digit takes the first of its places where it leaves so much of those behind it visible as VISIBLE says. The first
  digit of a clip finds one.

  inks: bool [m,P,P]: the digits' masks in the first frame; clip: [m]; places: i64 [m,CANDIDATES,2].
  """
  starts, is_placed = places[:, 0].copy(), np.zeros(len(inks), bool)
  whole = inks.sum((1, 2))
  numbers, behind = np.zeros((size, size), np.int64), []
  for row, ink in enumerate(inks):
    if clip[row] != clip[row - 1]:
      numbers, behind = np.zeros_like(numbers), []
    for place in places[row]:
      area, part = shared(numbers.shape, place - len(ink) // 2, ink.shape)
      painted = numbers.copy()
      painted[area][ink[part]] = row + 1
      visible = np.bincount(painted.reshape(-1), minlength=row + 2)[1:]
      if all(visible[other] >= VISIBLE * whole[other] for other in (*behind, row)):
        starts[row], is_placed[row], numbers = place, True, painted
        behind.append(row)
        break
  return starts, is_placed


def _patches(
  painted: np.ndarray, middle: np.ndarray, scales: np.ndarray, angles: np.ndarray, centres: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """(digits in each frame f32 [m,T,P,P,4], where their upper left pixels come to i64 [m,T,2])."""
  m, frames = scales.shape
  whole = np.rint(centres)
  rest = centres - whole  # what a patch cannot be moved by: its image is read beside its middle instead
  turn = np.deg2rad(angles)
  cos, sin = np.cos(turn) / scales, np.sin(turn) / scales
  shifted = middle[:, None] - np.stack(
    [cos * rest[..., 0] + sin * rest[..., 1], cos * rest[..., 1] - sin * rest[..., 0]], -1
  )
  images = np.repeat(painted, frames, 0)
  patches = warp(images, shifted.reshape(-1, 2), scales.reshape(-1), angles.reshape(-1))
  corners = whole.astype(np.int64) - patches.shape[1] // 2
  return patches.reshape(m, frames, *patches.shape[1:]), corners
