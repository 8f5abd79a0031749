"""Scenes of MNIST's digits on a background: arrays in, arrays out, the same for the same seed.

A scene is painted from back to front: a gradient, pieces of strokes that belong to no digit, the digits, and noise.
Ink covers what is behind it by its alpha, which is the digit's ink in [0, 1].
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sslx.data.digits import INK, Digits, dealt, pure, shared, tight_boxes, warp
from sslx.types import brief

RENDERER = 1  # one more whenever the same settings give other scenes: what is kept on disk is rendered anew
OVERLAP = 0.1  # largest intersection over union of two boxes of a scene
CANDIDATES = 30  # places that are tried for a digit
CHUNK = 1 << 18  # pixels of the scenes rendered at a time; each chunk has random numbers of its own
PIECE = (8, 12)  # pixels of MNIST's images: side of the window that a piece of a stroke is cut with
USUAL = 20.0  # pixels of the longer side of most of MNIST's digits
DARK, RISE = 0.2, 0.3  # of grey backgrounds: the brightest level at one end, and how much brighter the other may be
DARK_COLOUR = 0.35  # brightest red, green or blue of coloured backgrounds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenes:
  """Settings of a set of scenes: what may stand after `scenes:`."""

  size: int = 64
  """Height and width of a scene in pixels."""
  objects: tuple[int, ...] = (1, 3)
  """Fewest and most digits of a scene."""
  digits: tuple[int, ...] = (20, 28)
  """Least and greatest size of a digit: the longer side of its box in pixels before it is turned."""
  degrees: float = 10.0
  """A digit is turned by up to so much, either way."""
  contrast: float = 0.7
  """Least contrast of ink to the background; the greatest is 1."""
  clutter: int = 2
  """Pieces of strokes of a scene that belong to no digit."""
  noise: float = 0.03
  """Standard deviation of each pixel's noise, where white is 1."""
  colour: bool = False
  """Red, green and blue instead of grey."""
  seed: int = 0
  """Other scenes for another seed."""
  train: int = 20_000
  """Training scenes; fewer of them are the first of more."""
  test: int = 2_000
  """Test scenes."""

  __repr__ = brief


class Rendered(NamedTuple):
  """N scenes with all that is known of them. M is the greatest number of digits; unused rows are -1, then zeros."""

  x: np.ndarray
  """u8 [N,H,W,1 or 3]"""
  boxes: np.ndarray
  """f32 [N,M,5]: (class, top, left, bottom, right), half-open, of each digit's whole mask, hidden or not."""
  masks: np.ndarray
  """u8 [N,H,W]: 0, or 1 + the class of the front digit whose alpha is at least INK."""
  poses: np.ndarray
  """f32 [N,M,2]: (size, angle) of each digit; the angle in degrees, counter-clockwise."""
  sources: np.ndarray
  """i32 [N,M]: which image each digit is; -1 where there is none."""

  __repr__ = brief


class Patches(NamedTuple):
  """What is painted on scenes, in this order: n patches of ink."""

  scenes: np.ndarray
  """i64 [n]: the scene that each is painted on"""
  alphas: np.ndarray
  """f32 [n,P,P]"""
  corners: np.ndarray
  """i64 [n,2]: where the upper left pixel of a patch comes to, which may be outside"""
  contrasts: np.ndarray
  """f32 [n]: where alpha is 1, the ink is by so much its colour, and else the background"""
  colours: np.ndarray
  """f32 [n,C]"""

  __repr__ = brief


def render(digits: Digits, count: int, settings: Scenes, stream: Sequence[int]) -> Iterator[Rendered]:
  """Yields `count` scenes, in chunks. No digit comes twice before all have come once.

  stream: numbers that choose the random ones. Of the same settings and stream, fewer scenes are the first of more.
  """
  chunk = int(np.clip(CHUNK // settings.size**2, 1, 64))
  numbers = dealt(len(digits.images), stream)
  for number, start in enumerate(range(0, count, chunk)):
    rng = np.random.default_rng([*stream, 1, number])
    low, high = settings.objects
    counts = rng.integers(low, high + 1, chunk)
    sources = np.full((chunk, high), -1, np.int32)
    sources[np.arange(high) < counts[:, None]] = [next(numbers) for _ in range(counts.sum())]
    rendered = _scenes(digits, sources, settings, rng)
    yield Rendered(*(array[: count - start] for array in rendered))


def _scenes(digits: Digits, sources: np.ndarray, settings: Scenes, rng: np.random.Generator) -> Rendered:
  """The n scenes of the digits `sources` i32 [n,M].

  Clutter and noise draw their random numbers last: with less of them, the digits and the background are the same.
  """
  patches, rendered = _objects(rng, digits, sources, settings)
  background = _background(rng, len(sources), settings)
  clutter = _clutter(rng, digits.images, len(sources), settings)
  canvas = background.copy()
  for each in (clutter, patches):
    for scene, *patch in zip(*each, strict=True):
      _paint(canvas[scene], background[scene], *patch)
  if settings.noise:
    canvas += np.float32(settings.noise) * rng.standard_normal(canvas.shape, np.float32)
  return rendered._replace(x=np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8))


# ---- a scene ---------------------------------------------------------------------------------------------------------


def _objects(
  rng: np.random.Generator, digits: Digits, sources: np.ndarray, settings: Scenes
) -> tuple[Patches, Rendered]:
  """The digits `sources` i32 [n,M] of n scenes, and all that is known of them; x is not painted yet."""
  n, most = sources.shape
  least, greatest = settings.digits
  angles = rng.uniform(-settings.degrees, settings.degrees, (n, most))
  poses = np.stack([rng.uniform(least, greatest, (n, most)), angles], -1).astype(np.float32)
  contrasts, colours = _inks(rng, (n, most), settings)
  places = rng.random((n, most, CANDIDATES, 2))

  scene, slot = np.nonzero(sources >= 0)
  source, pose = sources[scene, slot], poses[scene, slot]
  ink = tight_boxes(digits.images[source] >= INK * 255)
  scale = pose[:, 0] / (ink[:, 2:] - ink[:, :2]).max(1)
  alphas = warp(digits.images[source, ..., None], (ink[:, :2] + ink[:, 2:]) / 2, scale, pose[:, 1])[..., 0]
  tight = np.zeros((n, most, 4), np.int64)
  tight[scene, slot] = tight_boxes(alphas >= INK)
  boxes, is_placed = _placed(tight[..., 2:] - tight[..., :2], sources >= 0, places, settings.size)

  kept = is_placed[scene, slot]
  scene, slot, source, pose, alphas = scene[kept], slot[kept], source[kept], pose[kept], alphas[kept]
  row = is_placed.cumsum(1)[scene, slot] - 1  # those that have found no place leave no gap
  out = Rendered(
    x=np.empty(0),
    boxes=np.tile(np.array([-1, 0, 0, 0, 0], np.float32), (n, most, 1)),
    masks=np.zeros((n, settings.size, settings.size), np.uint8),
    poses=np.zeros((n, most, 2), np.float32),
    sources=np.full((n, most), -1, np.int32),
  )
  label, box, inner = digits.labels[source], boxes[scene, slot], tight[scene, slot]
  out.boxes[scene, row] = np.concatenate([label[:, None], box], 1)
  out.poses[scene, row], out.sources[scene, row] = pose, source
  for i, alpha in enumerate(alphas):
    is_ink = alpha[inner[i, 0] : inner[i, 2], inner[i, 1] : inner[i, 3]] >= INK
    out.masks[scene[i], box[i, 0] : box[i, 2], box[i, 1] : box[i, 3]][is_ink] = label[i] + 1
  return Patches(scene, alphas, box[:, :2] - inner[:, :2], contrasts[scene, slot], colours[scene, slot]), out


def _placed(extents: np.ndarray, is_dealt: np.ndarray, places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
  """(boxes i64 [N,M,4] of digits whose boxes have the extents i64 [N,M,2], whether each has found a place bool [N,M]).

  places: [N,M,CANDIDATES,2] in [0, 1), of all corners inside the scene. The first digit always finds one.
  """
  n, most = is_dealt.shape
  corners = np.floor(places * (size - extents + 1)[:, :, None]).astype(np.int64)
  boxes, is_placed = np.zeros((n, most, 4), np.int64), np.zeros((n, most), bool)
  for k in range(most):
    candidates = np.concatenate([corners[:, k], corners[:, k] + extents[:, k, None]], -1)[:, :, None]  # [N,C,1,4]
    others = boxes[:, None, :k]
    shared = np.minimum(candidates[..., 2:], others[..., 2:]) - np.maximum(candidates[..., :2], others[..., :2])
    common = np.maximum(shared, 0).prod(-1)  # [N,C,k]
    union = (extents[:, k, None].prod(-1) + extents[:, :k].prod(-1))[:, None] - common
    is_free = ((common <= OVERLAP * union) | ~is_placed[:, None, :k]).all(-1)
    boxes[:, k] = candidates[np.arange(n), is_free.argmax(1), 0]
    is_placed[:, k] = is_dealt[:, k] & is_free.any(1)
  return boxes, is_placed


def _paint(
  canvas: np.ndarray, behind: np.ndarray, alpha: np.ndarray, corner: np.ndarray, contrast: float, colour: np.ndarray
) -> None:
  """Paints a patch on canvas [H,W,C], its upper left corner at `corner`; what is outside is cut.

  Where alpha is 1 the ink lies between the background and `colour` by its contrast.
  """
  area, part = shared(canvas.shape, corner, alpha.shape)
  ink = behind[area] + contrast * (colour - behind[area])
  canvas[area] += alpha[part][..., None] * (ink - canvas[area])


def _inks(rng: np.random.Generator, shape: tuple[int, ...], settings: Scenes) -> tuple[np.ndarray, np.ndarray]:
  """(contrasts f32 [...], colours f32 [...,C]): white, or bright and saturated."""
  contrasts = rng.uniform(settings.contrast, 1, shape).astype(np.float32)
  if not settings.colour:
    return contrasts, np.ones((*shape, 1), np.float32)
  hue, least, most = rng.random((*shape, 1)), rng.uniform(0, 0.4, (*shape, 1)), rng.uniform(0.8, 1, (*shape, 1))
  return contrasts, (most * (least + (1 - least) * pure(hue))).astype(np.float32)


def _background(rng: np.random.Generator, n: int, settings: Scenes) -> np.ndarray:
  """f32 [n,H,W,C]: from one dark level or colour to another in a random direction."""
  if settings.colour:
    first, last = rng.uniform(0, DARK_COLOUR, (2, n, 1, 1, 3)).astype(np.float32)
  else:
    first = rng.uniform(0, DARK, (n, 1, 1, 1)).astype(np.float32)
    last = first + rng.uniform(0, RISE, (n, 1, 1, 1)).astype(np.float32)
  direction = rng.uniform(0, 2 * np.pi, (n, 1, 1))
  across = np.linspace(-1, 1, settings.size, dtype=np.float32)
  dy, dx = np.sin(direction).astype(np.float32), np.cos(direction).astype(np.float32)
  along = (dy * across[:, None] + dx * across) / (np.abs(dy) + np.abs(dx))  # -1 and 1 in two opposite corners
  return first + (along[..., None] + 1) / 2 * (last - first)


def _clutter(rng: np.random.Generator, images: np.ndarray, n: int, settings: Scenes) -> Patches:
  """Pieces of strokes on n scenes.

  Each is a window about a random inked pixel of a random digit, turned freely, and scaled as a digit may be.
  """
  pieces = n * settings.clutter
  whole = images[rng.integers(0, len(images), pieces)]
  inked = np.cumsum(whole.reshape(pieces, images[0].size) >= 128, 1)
  number = np.floor(rng.random(pieces) * inked[:, -1])
  middle = np.stack(np.divmod((inked > number[:, None]).argmax(1), images.shape[2]), 1) + 0.5
  half = rng.uniform(PIECE[0] / 2, PIECE[1] / 2, pieces)
  rows, columns = (np.abs(np.arange(28) + 0.5 - middle[:, axis, None]) <= half[:, None] for axis in (0, 1))
  least, greatest = settings.digits
  scale, angle = rng.uniform(least, greatest, pieces) / USUAL, rng.uniform(-180, 180, pieces)
  cut_out = whole * (rows[:, :, None] & columns[:, None])
  alphas = warp(cut_out[..., None], middle, scale, angle)[..., 0]
  corners = np.rint(rng.random((pieces, 2)) * settings.size - alphas.shape[1] / 2).astype(np.int64)
  contrasts, colours = _inks(rng, (pieces,), settings)
  scenes = np.arange(pieces) // max(settings.clutter, 1)
  return Patches(scenes, alphas, corners, contrasts, colours)
