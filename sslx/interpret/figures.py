"""Pictures of codes, filters and features. See `sslx.report.figures`, whose parts these are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sslx.report import records
from sslx.report.figures import style
from sslx.report.figures.style import COLOURS, INK, PALE, RIGHT, WRONG

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

  from sslx.interpret.codes import Statistics

MOST = 100  # filters in a grid
GIF_PIXELS = 224  # the longer side of an animation, or the picture's own where that is more
GIF_MILLISECONDS = 80


class Strip(NamedTuple):
  """Decoded pictures along a walk, from several pictures."""

  title: str
  starts: np.ndarray
  """f32 [B,H,W,C]"""
  walks: np.ndarray
  """f32 [B,K,H,W,C]"""
  labels: Sequence[str]
  """One for each of the K steps."""


def filters(groups: Mapping[str, np.ndarray], columns: int = 10, most: int = MOST) -> Figure:
  """Filters as images in a grid for each group, side by side under their names, three groups a line.

  Each filter is scaled by its own largest weight. Of three channels: grey is 0, brighter in a channel above. Else the
  mean over channels: red above 0, white 0, blue below.

  Args:
    groups: {name: f32 [units,h,w,C]}; the first `most` units are drawn.
    columns: of a grid.
    most: units a group.
  """
  across = min(3, len(groups))
  lines = -(-len(groups) // across)
  rows = -(-max(min(len(f), most) for f in groups.values()) // columns)
  inch = 0.66 if across == 1 else 0.42
  fig = style.figure(max(3.4, across * (columns * inch + 0.2)), lines * (rows * inch + 0.4))
  axes = fig.subplots(lines, across, squeeze=False).ravel()
  for ax in axes[len(groups) :]:
    ax.set_axis_off()
  for ax, (name, group) in zip(axes, groups.items(), strict=False):
    enlarged = max(1, 12 // group.shape[2])  # of small kernels, so that the gaps are small beside them
    tiles: list = [scaled(image).repeat(enlarged, 0).repeat(enlarged, 1) for image in group[:most]]
    grid = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    ax.imshow(mosaic(grid), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    style.bare(ax)
    ax.set_title(style.escape(name), fontsize=10, loc="left", color=INK)
  return fig


def scaled(image: np.ndarray) -> np.ndarray:
  """A filter [h,w,C] -> [h,w] in [-1, 1], or [h,w,3] in [0, 1] of three channels, 0 at 0.5; see `filters`."""
  image = image if image.shape[-1] == 3 else image.mean(-1)
  unit = image / max(float(np.abs(image).max()), 1e-12)
  return (1 + unit) / 2 if unit.ndim == 3 else unit


def strips(groups: Sequence[Strip]) -> Figure:
  """Rows of decoded pictures along a walk, each after the picture that it starts from; a title and ticks a group."""
  heights = [0.72 * len(group.walks) + 0.6 for group in groups]
  fig = style.figure(0.72 * (groups[0].walks.shape[1] + 1.6), sum(heights))
  axes = fig.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
  for ax, (title, starts, walks, labels) in zip(axes, groups, strict=True):
    _led_rows(ax, [[start, *walk] for start, walk in zip(starts, walks, strict=True)], ["start", *labels])
    ax.set_title(style.escape(title), fontsize=10, loc="left", color=INK)
  return fig


def neighbours(queries: Any, nearest: Any, same: Any, names: Sequence[Sequence[str]]) -> Figure:
  """Rows of a query and its nearest neighbours, the classes below, those of another class than the query's in red.

  Args:
    queries: u8 or f32 in [0, 1] [Q,H,W,C].
    nearest: [Q,K,H,W,C], nearest first.
    same: bool [Q,K]: of the query's class.
    names: [Q][1+K] class names, the query's first, empty where one has no label; [] where there are no labels.
  """
  rows = [[query, *row] for query, row in zip(queries, nearest, strict=True)]
  fig = style.figure(0.85 * (len(rows[0]) + 0.6), (1.0 if len(names) else 0.85) * len(rows) + 0.4)
  ax = fig.add_subplot()
  height = rows[0][0].shape[0]
  text = max(5, round(0.24 * height)) if len(names) else None
  centres = _led_rows(ax, rows, ["query", *map(str, range(1, len(rows[0])))], text)
  ax.xaxis.tick_top()
  for r, row in enumerate(names):
    y = r * (height + (text or 0)) + height + 0.5 * (text or 0) - 0.7
    for c, name in enumerate(row):
      asked = c > 0 and bool(row[0])
      colour = INK if not asked else RIGHT if same[r][c - 1] else WRONG
      weight = "normal" if not asked or same[r][c - 1] else "bold"
      name = style.escape(style.short(name, 11))
      ax.text(centres[c], y, name, ha="center", va="center", fontsize=7.5, color=colour, fontweight=weight)
  return fig


def code_statistics(stats: Statistics, values: np.ndarray) -> Figure:
  """Four panels: the code's values, and per unit how often it is active and how selective; per image how many are
  active.

  Args:
    stats: what `sslx.interpret.statistics` returns.
    values: f32 [any], a sample of the code's numbers.
  """
  fig = style.figure(9, 6)
  axes = fig.subplots(2, 2).ravel()
  units = len(stats.std)
  marks = {"color": COLOURS[0], "zorder": 2}
  axes[0].hist(values, 80, log=True, **marks)
  zeros = 100 * float((values == 0).mean())
  _panel(axes[0], "values of the code", f"value ({zeros:.0f}% are exactly 0)", "count (logarithmic)")
  order = np.sort(stats.activity)[::-1]
  axes[1].bar(np.arange(units), 100 * order, 1.0 if units > 40 else 0.8, **marks)
  _panel(axes[1], "activity", "units, the most active first", "active in % of the images")
  axes[1].set_ylim(0, 105)
  axes[2].hist(stats.sparsity[~stats.dead], np.linspace(0, 1, 41), **marks)
  dead = int(stats.dead.sum())
  _panel(
    axes[2], f"lifetime sparsity ({units - dead:,} units that live)", "0: all images alike, 1: one image only", "units"
  )
  axes[3].hist(100 * stats.population, np.linspace(0, 100, 41), **marks)
  _panel(axes[3], "units active in an image", "% of the units", "images")
  return fig


def _panel(ax: Axes, title: str, x: str, y: str) -> None:
  style.plain_axes(ax, "y")
  ax.set_title(title, fontsize=11, loc="left")
  ax.set_xlabel(x, fontsize=9)
  ax.set_ylabel(y, fontsize=9)
  ax.tick_params(labelsize=8)


def class_maps(maps: Mapping[str, np.ndarray], labels: np.ndarray | None, class_names: Sequence[str]) -> Figure:
  """Points in the plane, one panel a map, coloured by class; up to 20 classes stand at their medians.

  Args:
    maps: {title: f32 [N,2]}.
    labels: int[N], -1 where there is none: grey; or None: no colours.
    class_names: one per class.
  """
  from matplotlib import colormaps
  from matplotlib.patheffects import withStroke

  fig = style.figure(5.6 * len(maps), 5.4)
  classes = len(class_names)
  palette = colormaps["tab10" if classes <= 10 else "tab20" if classes <= 20 else "turbo"]
  colours = palette(np.arange(classes) if classes <= 20 else np.linspace(0, 1, classes))
  for ax, (title, points) in zip(fig.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True):
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # of a code of one unit
    dots = {"s": 9, "alpha": 0.7, "linewidths": 0, "rasterized": True}
    known = np.zeros(len(points), bool) if labels is None else labels >= 0
    ax.scatter(*points[~known].T, c=COLOURS[0] if labels is None else PALE, **dots)
    if labels is not None:
      ax.scatter(*points[known].T, c=colours[labels[known]], **dots)
    if labels is not None and classes <= 20:
      for k in np.unique(labels[known]):
        x, y = np.median(points[labels == k], 0)
        name = style.escape(style.short(class_names[k]))
        dark = 0.7 * colours[k][:3]  # pale ones could not be read as text
        ax.text(
          x, y, name, ha="center", va="center", fontsize=11, fontweight="bold", color=dark,
          path_effects=[withStroke(linewidth=3, foreground="white")],
        )  # fmt: skip
    style.bare(ax, "#c4cad1")
    ax.set_title(style.escape(title), fontsize=11, loc="left")
  return fig


def save_gif(images: np.ndarray, path: Path) -> Path:
  """Writes images f32 [T,H,W,C] in [0, 1] as a GIF that repeats, each pixel enlarged to a square, atomically."""
  from PIL import Image

  factor = max(1, round(GIF_PIXELS / max(images.shape[1:3])))
  pixels = np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8).repeat(factor, 1).repeat(factor, 2)
  frames = [Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in pixels]
  timing: dict[str, Any] = {"duration": GIF_MILLISECONDS, "loop": 0, "optimize": False}
  with records.writing(path) as temporary:
    frames[0].save(temporary, "GIF", save_all=True, append_images=frames[1:], **timing)
  return path


# ---- the parts they share --------------------------------------------------------------------------------------------


def mosaic(rows: Sequence[Sequence[np.ndarray]], gap: int | None = None, below: int | None = None) -> np.ndarray:
  """Images of one shape, [h,w] or [h,w,3], in rows -> one image with white gaps: nan in grey, which is drawn as
  nothing.

  gap: pixels between columns, and between rows unless `below` says otherwise; default a tenth of the width.
  """
  height, width, *colours = rows[0][0].shape
  gap = max(1, width // 10) if gap is None else gap
  below = gap if below is None else below
  down, across = height + below, width + gap
  out = np.full((len(rows) * down, max(map(len, rows)) * across - gap, *colours), 1 if colours else np.nan, np.float32)
  for r, row in enumerate(rows):
    for c, image in enumerate(row):
      out[r * down : r * down + height, c * across : c * across + width] = image
  return out[:-gap] if below == gap else out


def _led_rows(ax: Axes, rows: list, ticks: Sequence[str], below: int | None = None) -> list[float]:
  """Draws rows of pictures, u8 or in [0, 1], the first of each a little apart; returns the columns' centres."""
  rows = [[np.asarray(image, np.float32) / (255 if image.dtype == np.uint8 else 1) for image in row] for row in rows]
  rows = [[np.clip(style.picture(image), 0, 1) for image in row] for row in rows]
  width = rows[0][0].shape[1]
  gap, space = max(1, width // 10), max(2, width // 2)
  first, rest = (mosaic([row[part] for row in rows], gap, below) for part in (slice(1), slice(1, None)))
  empty = np.full((len(first), space, *first.shape[2:]), 1 if first.ndim == 3 else np.nan, np.float32)
  ax.imshow(np.concatenate([first, empty, rest], 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
  style.bare(ax)
  centres = [(width - 1) / 2, *((width - 1) / 2 + width + space + c * (width + gap) for c in range(len(rows[0]) - 1))]
  ax.set_xticks(centres, list(map(style.escape, ticks)), fontsize=8)
  ax.tick_params(length=0, pad=2)
  return centres
