"""Objects followed through a video: masks over its frames, side by side and moving, and where a place looks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sslx.report import records
from sslx.report.figures import style
from sslx.report.figures.masks import colour_of
from sslx.report.figures.pictures import picture_rows

if TYPE_CHECKING:
  from matplotlib.figure import Figure

MIX = 0.55  # how much of its colour an object shows, over its frame
COLUMNS, FRAMES = 6, 24  # frames of a strip, and at most of a moving picture
HEIGHT, HEAD, GAP = 128, 16, 6  # pixels of a moving picture: of a panel about, of its title, between two
SECONDS = 0.18  # that a frame of it is seen


def overlay(frames: np.ndarray, masks: np.ndarray) -> np.ndarray:
  """f32 [T,H,W,3] in [0, 1]: frames u8 [T,H,W,3] in grey, and in colour whatever their masks u8 [T,H,W] say is an
  object.
  """
  from matplotlib.colors import to_rgb

  painted = np.repeat(frames.astype(np.float32).mean(-1, keepdims=True) / 255, 3, axis=-1)
  for number in np.unique(masks):
    if number:
      there = masks == number
      painted[there] = (1 - MIX) * painted[there] + MIX * np.asarray(to_rgb(colour_of(int(number))), np.float32)
  return painted


def evenly(count: int, most: int) -> np.ndarray:
  """At most `most` of `count` frames, at even distances, with the first and the last."""
  return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def track_rows(frames: np.ndarray, masks: Mapping[str, np.ndarray], title: str) -> Figure:
  """A strip of the frames u8 [T,H,W,3], and one for each of the masks {title: u8 [T,H,W]} over them; time goes to the
  right.
  """
  shown = evenly(len(frames), COLUMNS)
  rows = {"frames": frames[shown].astype(np.float32) / 255}
  fig = picture_rows(rows | {name: overlay(frames[shown], np.asarray(mask)[shown]) for name, mask in masks.items()})
  fig.set_figheight(fig.get_figheight() + 0.3)
  style.heading(fig, style.escape(title))
  return fig


def save_moving(frames: np.ndarray, masks: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> Path:
  """Writes an animated GIF, whole or not at all, and returns its path: the frames u8 [T,H,W,3] with each of the masks
  {title: u8 [T,H,W]} over them, side by side.
  """
  shown = evenly(len(frames), FRAMES)
  panels = {name: overlay(frames[shown], np.asarray(mask)[shown]) for name, mask in masks.items()}
  times = max(1, round(HEIGHT / frames.shape[1]))
  images = [_side_by_side({name: panel[t] for name, panel in panels.items()}, times) for t in range(len(shown))]
  with records.writing(path) as temporary:
    images[0].save(
      temporary, format="GIF", save_all=True, append_images=images[1:], duration=round(1000 * SECONDS), loop=0
    )
  return Path(path)


def _side_by_side(panels: Mapping[str, np.ndarray], times: int):
  """Pictures f32 [H,W,3], each pixel `times` as large, below their titles."""
  from PIL import Image, ImageDraw, ImageFont

  height, width = (times * n for n in next(iter(panels.values())).shape[:2])
  canvas = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height + HEAD), "white")
  pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=11)
  for place, (name, panel) in enumerate(panels.items()):
    pixels = np.rint(255 * panel).astype(np.uint8).repeat(times, 0).repeat(times, 1)
    left = place * (width + GAP)
    text = name
    while pen.textlength(text, font=font) > width and len(text) > 2:
      text = f"{text[:-2]}…"
    pen.text((left + 1, 1), text, "black", font=font)
    canvas.paste(Image.fromarray(pixels), (left, HEAD))
  return canvas.quantize(128)


def attention_rows(
  frames: np.ndarray, references: np.ndarray, places: Sequence[tuple[int, int]], maps: Mapping[str, np.ndarray]
) -> Figure:
  """Where places of a frame look in a reference frame: a row of frames with the place marked, and one for each of the
  maps.

  Args:
    frames: u8 [n,H,W,3], a frame for each place.
    references: u8 [n,H,W,3], what it looks at.
    places: (row, column) in pixels.
    maps: {title: f32 [n,h,w]}, how much of each place of the reference; the largest of each map is bright.
  """
  marked = frames.astype(np.float32) / 255
  for image, (row, column) in zip(marked, places, strict=True):
    _mark(image, row, column)
  rows = {"a place": marked} | {name: heat(references, each) for name, each in maps.items()}
  return picture_rows(rows)


def heat(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
  """f32 [n,H,W,3]: images u8 [n,H,W,3] in dark grey under maps f32 [n,h,w], each place as large as its cell."""
  import matplotlib

  n, height, width = images.shape[:3]
  rows, columns = (np.arange(size) * cells // size for size, cells in zip((height, width), maps.shape[1:], strict=True))
  large = maps[:, rows][:, :, columns]
  large = large / np.maximum(large.max((1, 2), keepdims=True), 1e-12)
  grey = 0.6 * np.repeat(images.astype(np.float32).mean(-1, keepdims=True) / 255, 3, axis=-1)
  warm = matplotlib.colormaps["inferno"](large)[..., :3]
  strength = np.sqrt(large)[..., None]
  return ((1 - strength) * grey + strength * warm).astype(np.float32).reshape(n, height, width, 3)


def _mark(image: np.ndarray, row: int, column: int) -> None:
  """A white cross with a black rim about a place of an image f32 [H,W,3]."""
  reach = max(2, min(image.shape[:2]) // 16)
  for width, colour in ((1, 0.0), (0, 1.0)):
    long, short = reach + width, width
    for down, across in ((long, short), (short, long)):
      image[max(0, row - down) : row + down + 1, max(0, column - across) : column + across + 1] = colour
