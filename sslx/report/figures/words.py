"""Pairs of words in the plane, a panel for each kind: an arrow from each word to its partner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sslx.report.figures import style

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

COLUMNS, CELL = 3, 3.1  # panels side by side, and inches of one
FROM, TO = style.COLOURS[0], style.COLOURS[5]
DOT, SPACE = 3.0, 2.5  # points: half of a dot's width, and from a dot to its word
ANGLES = np.pi / 4 * np.array([0, 4, 2, 6, 1, 3, 7, 5])  # where a word may stand about its dot, what reads best first
FURTHER = (1.0, 2.6, 4.2)  # times SPACE: tried one after the other


class Pairs(NamedTuple):
  """A panel: words and their partners."""

  words: Sequence[tuple[str, str]]
  points: np.ndarray
  """f64 [n,2,2]: of each pair the places of its two words."""


def word_pairs(panels: Mapping[str, Pairs], title: str) -> Figure:
  """A panel for each kind of pairs, {name: Pairs}; where a relation is a direction, its arrows are parallel."""
  if not panels:
    fig = style.figure(CELL, 1)
    style.say(fig, "no pairs of words to draw")
    return fig
  columns = min(COLUMNS, len(panels))
  lines = -(-len(panels) // columns)
  fig = style.figure(CELL * columns, 0.87 * CELL * lines + 0.3)
  style.heading(fig, style.escape(title))
  axes = [*fig.subplots(lines, columns, squeeze=False).ravel()]
  for ax in axes[len(panels) :]:
    ax.set_axis_off()
  for ax, (name, pairs) in zip(axes, panels.items(), strict=False):
    _arrows(ax, pairs)
    ax.set_title(style.escape(name), fontsize=9.5, loc="left")
  fig.draw_without_rendering()  # now it is known where the panels are
  for ax, pairs in zip(axes, panels.values(), strict=False):
    _names(ax, pairs)
  return fig


def _arrows(ax: Axes, pairs: Pairs) -> None:
  """The words as dots, and an arrow between the two of each pair; room for their names at the edges."""
  for start, end in pairs.points:
    ax.annotate(
      "", end, start, arrowprops={"arrowstyle": "-|>", "color": "#9aa3ad", "linewidth": 1, "shrinkA": 3, "shrinkB": 3}
    )
  for place, colour in enumerate((FROM, TO)):
    ax.scatter(*pairs.points[:, place].T, s=(2 * DOT) ** 2 * 0.7, color=colour, zorder=3, linewidths=0)
  ax.margins(0.3, 0.14)
  style.bare(ax, style.FRAME)


def _names(ax: Axes, pairs: Pairs) -> None:
  """Writes each word at its dot, on the side where it covers the least of what is there."""
  scale = ax.get_figure().dpi / 72  # type: ignore[union-attr]
  dots = ax.transData.transform(pairs.points.reshape(-1, 2))
  along = np.linspace(0, 1, 24)[:, None, None]
  lines = ((1 - along) * dots[0::2] + along * dots[1::2]).reshape(-1, 2)  # points on the arrows
  radius, frame = DOT * scale, np.array(ax.get_window_extent().extents)
  taken = np.concatenate([dots - radius, dots + radius], 1)
  names = [word for pair in pairs.words for word in pair]
  for place, (dot, name) in enumerate(zip(dots, names, strict=True)):
    if name in names[:place]:  # the partner of two words has its name already
      continue
    colour = (FROM, TO)[place % 2]
    text = ax.annotate(
      style.escape(style.short(name, 16)), dot, xycoords="figure pixels", fontsize=8, color=colour, ha="center",
      va="center", annotation_clip=False,
    )  # fmt: skip
    text.set_in_layout(False)
    size = np.array(text.get_window_extent().size)
    centres = [dot + _offset(angle, size, radius + far * SPACE * scale) for far in FURTHER for angle in ANGLES]
    boxes = [np.concatenate([centre - size / 2, centre + size / 2]) for centre in centres]
    costs = [_cost(box, taken, lines, frame) + 0.006 * size.prod() * rank for rank, box in enumerate(boxes)]
    best = int(np.argmin(costs))
    text.set_position(tuple(ax.transData.inverted().transform(centres[best])))
    text.xy = tuple(pairs.points.reshape(-1, 2)[place])
    text.xycoords = text.anncoords = "data"
    taken = np.vstack([taken, boxes[best]])


def _offset(angle: float, size: np.ndarray, distance: float) -> np.ndarray:
  """From a dot to the middle of a box of this size, which lies in the direction `angle` so far from it."""
  direction = np.array([np.cos(angle), np.sin(angle)])
  return direction * (distance + np.abs(direction) * size / 2)


def _cost(box: np.ndarray, taken: np.ndarray, lines: np.ndarray, frame: np.ndarray) -> float:
  """Pixels of a box (left, bottom, right, top) on what is taken, on arrows, and outside of the frame."""
  sides = np.minimum(box[2:], taken[:, 2:]) - np.maximum(box[:2], taken[:, :2])
  covered = np.prod(np.maximum(sides, 0), axis=1).sum()
  crossed = ((lines > box[:2]) & (lines < box[2:])).all(1).sum()
  inside = np.prod(np.maximum(np.minimum(box[2:], frame[2:]) - np.maximum(box[:2], frame[:2]), 0))
  area = np.prod(box[2:] - box[:2])
  return float(covered + 0.05 * area * crossed + 3 * (area - inside))
