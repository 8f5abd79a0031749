"""Scenes of MNIST's digits on a background: arrays in, arrays out, the same for the same seed.

A scene is painted from back to front: a gradient, pieces of strokes that belong to no digit, the digits, and noise.
Ink covers what is behind it by its alpha, which is the digit's ink in [0, 1].
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sslx.types import brief

RENDERER = 1  # one more whenever the same settings give other scenes: what is kept on disk is rendered anew
INK = 0.3  # alpha from which a pixel is of a digit: of its mask, and of its box
OVERLAP = 0.1  # largest intersection over union of two boxes of a scene
CANDIDATES = 30  # places that are tried for a digit
CHUNK = 256  # scenes rendered at a time; each chunk draws its random numbers by itself
PIECE = (8, 12)  # pixels of MNIST's images: side of the window that a piece of stroke is cut with
NORMAL = 20.0  # pixels of the longer side of MNIST's digits
MOST_PIXELS = 1 << 22  # warped at a time
DARK, RISE = 0.2, 0.3  # greys of a background: the darkest level, and how much brighter the other end is, at most
DARK_COLOUR = 0.35  # brightest red, green or blue of a coloured background


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
  """u8 [N,H,W]: 0, or 1 + class of the front digit whose alpha is at least INK."""
  poses: np.ndarray
  """f32 [N,M,2]: (size, angle) of each digit; the angle in degrees, counter-clockwise."""
  sources: np.ndarray
  """i32 [N,M]: which image each digit is; -1 where there is none."""

  __repr__ = brief


def render(
  images: np.ndarray, labels: np.ndarray, count: int, settings: Scenes, stream: Sequence[int]
) -> Iterator[Rendered]:
  """Yields `count` scenes, up to CHUNK at a time, of the digits in images u8 [D,28,28] of classes labels [D].

  No digit comes twice before all have come once. stream: what the random numbers depend on, beside the settings.
  """
  boxes = ink_boxes(images)
  deal = _dealt(len(images), stream)
  for number, start in enumerate(range(0, count, CHUNK)):
    rng = np.random.default_rng([*stream, 1, number])
    low, high = settings.objects
    counts = rng.integers(low, high + 1, CHUNK)
    dealt = np.full((CHUNK, high), -1, np.int32)
    dealt[np.arange(high) < counts[:, None]] = [next(deal) for _ in range(counts.sum())]
    yield _chunk(images, labels, boxes, dealt, min(CHUNK, count - start), settings, rng)


def _dealt(count: int, stream: Sequence[int]) -> Iterator[int]:
  """0 to count - 1 in random order, then again in another one, and so on."""
  rng = np.random.default_rng([*stream, 0])
  while True:
    yield from rng.permutation(count).tolist()


def _chunk(
  images: np.ndarray,
  labels: np.ndarray,
  ink: np.ndarray,
  dealt: np.ndarray,
  count: int,
  settings: Scenes,
  rng: np.random.Generator,
) -> Rendered:
  """The first `count` of CHUNK scenes. Random numbers are drawn for all of them, so that fewer scenes are the same."""
  n, most = dealt.shape
  size, channels = settings.size, 3 if settings.colour else 1
  sizes = rng.uniform(*settings.digits, (n, most)).astype(np.float32)
  angles = rng.uniform(-settings.degrees, settings.degrees, (n, most)).astype(np.float32)
  inks = _inks(rng, (n, most), settings)
  places = rng.random((n, most, CANDIDATES, 2))
  canvas = _background(rng, settings)[:count]
  pieces = _pieces(rng, images, count, settings)

  scene, slot = np.nonzero(dealt[:count] >= 0)
  source = dealt[scene, slot]
  longer = np.maximum(ink[source, 2] - ink[source, 0], ink[source, 3] - ink[source, 1])
  middle = (ink[source, :2] + ink[source, 2:]) / 2
  alphas = warp(images[source], middle, sizes[scene, slot] / longer, angles[scene, slot])
  tight = np.zeros((count, most, 4), np.int64)
  tight[scene, slot] = tight_boxes(alphas >= INK)
  corners, is_placed = _placed(tight, dealt[:count] >= 0, places[:count], size)

  behind = canvas.copy()
  for i, (alpha, (contrast, colour), corner) in enumerate(pieces):
    where = i // settings.clutter
    _paint(canvas[where], behind[where], alpha, corner, contrast, colour)
  masks = np.zeros((count, size, size), np.uint8)
  boxes = np.zeros((count, most, 5), np.float32)
  boxes[..., 0] = -1
  poses, sources = np.zeros((count, most, 2), np.float32), np.full((count, most), -1, np.int32)
  row = np.zeros(count, np.int64)
  for where, k, alpha, which in zip(scene, slot, alphas, source, strict=True):
    if not is_placed[where, k]:
      continue
    box, corner = tight[where, k], corners[where, k]
    _paint(canvas[where], behind[where], alpha, corner - box[:2], inks[0][where, k], inks[1][where, k])
    inside = alpha[box[0] : box[2], box[1] : box[3]] >= INK
    end = corner + box[2:] - box[:2]
    masks[where, corner[0] : end[0], corner[1] : end[1]][inside] = labels[which] + 1
    boxes[where, row[where]] = labels[which], *corner, *end
    poses[where, row[where]] = sizes[where, k], angles[where, k]
    sources[where, row[where]] = which
    row[where] += 1
  if settings.noise:
    canvas += np.float32(settings.noise) * rng.standard_normal(canvas.shape, np.float32)  # last: see above
  x = np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
  assert x.shape == (count, size, size, channels)
  return Rendered(x, boxes, masks, poses, sources)


# ---- digits ----------------------------------------------------------------------------------------------------------


def tight_boxes(masks: np.ndarray) -> np.ndarray:
  """bool [N,H,W] -> i64 [N,4]: (top, left, bottom, right) of what is true, half-open."""
  rows, columns = masks.any(2), masks.any(1)
  ends = masks.shape[1] - rows[:, ::-1].argmax(1), masks.shape[2] - columns[:, ::-1].argmax(1)
  return np.stack([rows.argmax(1), columns.argmax(1), *ends], 1)


def ink_boxes(images: np.ndarray) -> np.ndarray:
  """u8 [N,H,W] -> i64 [N,4]: the box of each digit's ink."""
  return tight_boxes(images >= INK * 255)


def warp(images: np.ndarray, middle: np.ndarray, scale: np.ndarray, angle: np.ndarray) -> np.ndarray:
  """Alphas f32 [N,P,P] of images u8 [N,H,W] that are turned and scaled about a point, which comes to the middle.

  middle: [N,2], in pixels from the upper left corner of the image; scale: [N]; angle: [N], degrees counter-clockwise.
  """
  n, height, width = images.shape
  side = _side(images, middle, scale)
  out = np.empty((n, side, side), np.float32)
  step = max(1, MOST_PIXELS // side**2)
  padded = np.pad(images, ((0, 0), (1, 1), (1, 1))).reshape(n, -1)
  offset = np.arange(side, dtype=np.float32) - (side - 1) / 2
  turn = np.deg2rad(angle).astype(np.float32)
  cos, sin = np.cos(turn) / scale, np.sin(turn) / scale
  for start in range(0, n, step):
    rows = slice(start, start + step)
    c, s = (part[rows, None, None].astype(np.float32) for part in (cos, sin))
    dy, dx = offset[:, None], offset[None, :]
    y, x = (part[:, None, None].astype(np.float32) + 0.5 for part in middle[rows].T)  # of the padded image's pixels
    y = np.clip(c * dy + s * dx + y, 0, height + 0.999)
    x = np.clip(c * dx - s * dy + x, 0, width + 0.999)
    top, left = y.astype(np.int32), x.astype(np.int32)
    y -= top
    x -= left
    first = (top * (width + 2) + left).reshape(len(top), -1)
    corners = [
      np.take_along_axis(padded[rows], first + shift, 1).reshape(top.shape).astype(np.float32)
      for shift in (0, 1, width + 2, width + 3)
    ]
    upper = corners[0] + x * (corners[1] - corners[0])
    lower = corners[2] + x * (corners[3] - corners[2])
    out[rows] = (upper + y * (lower - upper)) / 255
  return out


def _side(images: np.ndarray, middle: np.ndarray, scale: np.ndarray) -> int:
  """Side of a patch that holds each image's ink, however it is turned."""
  boxes = tight_boxes(images > 0)
  reach = np.maximum(np.abs(boxes[:, :2] - middle), np.abs(boxes[:, 2:] - middle))
  return 2 * int(np.ceil((np.hypot(*(reach.T + 1)) * scale).max(initial=1)))


# ---- a scene ---------------------------------------------------------------------------------------------------------


def _placed(boxes: np.ndarray, is_dealt: np.ndarray, places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
  """(upper left corners i64 [N,M,2] of the digits' boxes i64 [N,M,4], whether each has found a place bool [N,M]).

  places: [N,M,CANDIDATES,2] in [0, 1), of all corners inside the scene. The first digit always finds one.
  """
  n, most = is_dealt.shape
  extent = boxes[..., 2:] - boxes[..., :2]
  candidates = np.floor(places * (size - extent + 1)[:, :, None]).astype(np.int64)
  corners, is_placed = np.zeros((n, most, 2), np.int64), np.zeros((n, most), bool)
  for k in range(most):
    low = candidates[:, k, :, None]  # [N,C,1,2]
    high = low + extent[:, k, None, None]
    others = corners[:, None, :k]
    shared = np.minimum(high, others + extent[:, None, :k]) - np.maximum(low, others)
    common = np.maximum(shared, 0).prod(-1)
    union = extent[:, k].prod(-1)[:, None, None] + extent[:, None, :k].prod(-1) - common
    is_free = ((common <= OVERLAP * union) | ~is_placed[:, None, :k]).all(-1)  # [N,C]
    corners[:, k] = candidates[np.arange(n), k, is_free.argmax(1)]
    is_placed[:, k] = is_dealt[:, k] & is_free.any(1)
  return corners, is_placed


def _paint(
  canvas: np.ndarray, behind: np.ndarray, alpha: np.ndarray, corner: np.ndarray, contrast: float, colour: np.ndarray
) -> None:
  """Paints a patch on canvas [H,W,C], its upper left corner at `corner`; what is outside is cut.

  Where alpha is 1 the ink lies between the background and `colour` by its contrast.
  """
  low = np.maximum(corner, 0)
  high = np.minimum(corner + alpha.shape, canvas.shape[:2])
  if (low >= high).any():
    return
  area = (slice(low[0], high[0]), slice(low[1], high[1]))
  cut = alpha[low[0] - corner[0] : high[0] - corner[0], low[1] - corner[1] : high[1] - corner[1], None]
  ink = behind[area] + contrast * (colour - behind[area])
  canvas[area] += cut * (ink - canvas[area])


def _inks(rng: np.random.Generator, shape: tuple[int, ...], settings: Scenes) -> tuple[np.ndarray, np.ndarray]:
  """(contrasts f32 [...], colours f32 [...,C]): white, or bright and saturated."""
  contrasts = rng.uniform(settings.contrast, 1, shape).astype(np.float32)
  if not settings.colour:
    return contrasts, np.ones((*shape, 1), np.float32)
  hue, least, top = rng.random((*shape, 1)), rng.uniform(0, 0.4, (*shape, 1)), rng.uniform(0.8, 1, (*shape, 1))
  wave = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)  # a hue's red, green and blue
  return contrasts, (top * (least + (1 - least) * wave)).astype(np.float32)


def _background(rng: np.random.Generator, settings: Scenes) -> np.ndarray:
  """f32 [CHUNK,H,W,C]: from one dark level or colour to another in a random direction."""
  if settings.colour:
    first, last = rng.uniform(0, DARK_COLOUR, (2, CHUNK, 1, 1, 3)).astype(np.float32)
  else:
    first = rng.uniform(0, DARK, (CHUNK, 1, 1, 1)).astype(np.float32)
    last = first + rng.uniform(0, RISE, (CHUNK, 1, 1, 1)).astype(np.float32)
  direction = rng.uniform(0, 2 * np.pi, (CHUNK, 1, 1)).astype(np.float32)
  across = np.linspace(-1, 1, settings.size, dtype=np.float32)
  dy, dx = np.sin(direction), np.cos(direction)
  along = (dy * across[:, None] + dx * across) / (np.abs(dy) + np.abs(dx))  # -1 and 1 at the corners
  return first + (along[..., None] + 1) / 2 * (last - first)


def _pieces(
  rng: np.random.Generator, images: np.ndarray, count: int, settings: Scenes
) -> list[tuple[np.ndarray, tuple[float, np.ndarray], np.ndarray]]:
  """(alpha [P,P], (contrast, colour), upper left corner) of each piece of stroke of `count` scenes, scene by scene.

  A window about a random inked pixel is cut out of a random digit, turned freely, and scaled as a digit may be.
  """
  shape = (CHUNK, settings.clutter)
  which, pixel = rng.integers(len(images), size=shape), rng.random(shape)
  half = rng.uniform(PIECE[0] / 2, PIECE[1] / 2, shape)
  scale = rng.uniform(*settings.digits, shape) / NORMAL
  angle = rng.uniform(-180, 180, shape)
  place = rng.random((*shape, 2)) * settings.size
  contrasts, colours = _inks(rng, shape, settings)
  if not settings.clutter:
    return []
  which, pixel, half, scale, angle = (part[:count].reshape(-1) for part in (which, pixel, half, scale, angle))
  cut = images[which]
  inked = np.cumsum(cut.reshape(len(cut), -1) >= 128, 1)
  flat = (inked > np.floor(pixel * inked[:, -1])[:, None]).argmax(1)
  middle = np.stack(np.divmod(flat, cut.shape[2]), 1) + 0.5
  near_y, near_x = (
    np.abs(np.arange(length) + 0.5 - middle[:, axis, None]) <= half[:, None]
    for axis, length in enumerate(cut.shape[1:])
  )
  alphas = warp(cut * (near_y[:, :, None] & near_x[:, None, :]), middle, scale, angle)
  corner = np.rint(place[:count].reshape(-1, 2) - alphas.shape[1] / 2).astype(np.int64)
  contrasts, colours = contrasts[:count].reshape(-1), colours[:count].reshape(len(cut), -1)
  return list(zip(alphas, zip(contrasts, colours, strict=True), corner, strict=True))
