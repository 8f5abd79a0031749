"""Boxes on images: which of the true ones a detector finds, and which of its own are false."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sslx.report.figures import style
from sslx.report.figures.style import INK, RIGHT, WRONG

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

MOST, COLUMNS = 20, 4  # samples, and how many stand side by side
CELL = 1.9  # inches of a sample's width
OVERLAP = 0.5  # intersection over union from which a box finds another
PLAIN = "#0072B2"  # boxes of samples whose true ones nobody knows
MISSED = "#7a2c7d"  # neither right nor wrong in the eyes of the colour-blind


class Look(NamedTuple):
  """How one kind of box is drawn."""

  colour: str
  halo: str  # around the line, so that it stands out on any image
  width: float
  dashes: str = "-"


LOOKS = {
  "found": Look(RIGHT, "white", 1.6),
  "false": Look(WRONG, "white", 1.6),
  "predicted": Look(PLAIN, "white", 1.6),
  "true": Look("white", INK, 0.9, "--"),
  "missed": Look(MISSED, "white", 1.6, "--"),
}


def boxes(images: Any, truth: Any | None, predicted: Any, names: Sequence[str], score_limit: float = 0.3) -> Figure:
  """A grid of samples with their boxes: those that find a true one of their class are green, others red, and true ones
  dashed, heavier where they are missed. The title counts them.

  Args:
    images: f32[B, H, W, C] or f32[B, H, W] in [0, 1]; the first 20 are drawn.
    truth: f32[B, M, 5], (class, top, left, bottom, right) in pixels, half-open; class -1 is no box. None: not known.
    predicted: f32[B, M', 6], the same and a score in [0, 1].
    names: one per class.
    score_limit: boxes with a lower score are left out.
  """
  images = np.asarray(images)[:MOST]
  said = [_kept(each, score_limit) for each in np.asarray(predicted)[: len(images)]]
  true = None if truth is None else [_kept(each) for each in np.asarray(truth)[: len(images)]]
  fig, axes = style.grid(images, COLUMNS, CELL)
  counts = dict.fromkeys(LOOKS, 0)
  for index, ax in enumerate(axes):
    drawn = _sample(ax, said[index], None if true is None else true[index], names, images.shape[1:3])
    for kind in drawn:
      counts[kind] += 1
  if true is None:
    title = f"{counts['predicted']} boxes"
  else:
    title = f"{counts['found']} of {sum(map(len, true))} boxes found, {counts['false']} false,"
  style.heading(fig, f"{title} in {style.samples(len(images))} (scores of {score_limit:g} and more)")
  _legend(fig, counts)
  return fig


def matches(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
  """i64[M']: which true box each predicted one finds, or -1. The one with the highest score chooses first: of the true
  boxes of its class that none has found yet, the one that it overlaps most, by at least half (IoU).

  Args:
    truth: f32[M, 5]; predicted: f32[M', 6], without rows that are no box.
  """
  found = np.full(len(predicted), -1)
  if not len(truth):
    return found
  free = np.ones(len(truth), bool)
  for index in np.argsort(-predicted[:, 5], kind="stable"):
    overlap = np.where(free & (truth[:, 0] == predicted[index, 0]), _iou(truth[:, 1:], predicted[index, 1:5]), 0)
    best = overlap.argmax()
    if overlap[best] >= OVERLAP:
      found[index], free[best] = best, False
  return found


def _iou(many: np.ndarray, one: np.ndarray) -> np.ndarray:
  """f32[M]: intersection over union of boxes f32[M, 4] with one f32[4]; 0 where both are empty."""
  sides = np.minimum(many[:, 2:], one[2:]) - np.maximum(many[:, :2], one[:2])
  shared = np.clip(sides, 0, None).prod(1)
  total = (many[:, 2:] - many[:, :2]).prod(1) + (one[2:] - one[:2]).prod() - shared
  return shared / np.where(total > 0, total, 1)


def _kept(rows: np.ndarray, score_limit: float | None = None) -> np.ndarray:
  """Those rows that are a box, and whose score is high enough."""
  is_box = (rows[:, 0] >= 0) & np.isfinite(rows).all(1)
  return rows[is_box if score_limit is None else is_box & (rows[:, 5] >= score_limit)]


def _sample(
  ax: Axes, said: np.ndarray, true: np.ndarray | None, names: Sequence[str], shape: tuple[int, ...]
) -> list[str]:
  """Draws the boxes of a sample, and gives the kind of each."""
  kinds = ["predicted"] * len(said)
  if true is not None:
    partner = matches(true, said)
    kinds = ["false" if index < 0 else "found" for index in partner]
    for index, box in enumerate(true):
      kind = "true" if index in partner else "missed"
      _draw(ax, box, kind, "" if kind == "true" else style.short(names[int(box[0])]), shape)
      kinds.append(kind)
  marks = {"found": "✓ ", "false": "✗ ", "predicted": ""}
  for kind, box in reversed([*zip(kinds, said, strict=False)]):  # the best lies on top
    _draw(ax, box, kind, f"{marks[kind]}{style.short(names[int(box[0])])} {100 * box[5]:.0f}%", shape)
  return kinds


def _draw(ax: Axes, box: np.ndarray, kind: str, text: str, shape: tuple[int, ...]) -> None:
  """A box, cut to its image, and its text: above it, or in it where there is no room; below for one that is missed."""
  from matplotlib.patches import Rectangle
  from matplotlib.patheffects import withStroke

  look, (height, width) = LOOKS[kind], shape
  top, bottom = np.clip(box[[1, 3]], 0, height) - 0.5  # a pixel's number is at its middle
  left, right = np.clip(box[[2, 4]], 0, width) - 0.5
  halo = [withStroke(linewidth=look.width + 1.4, foreground=look.halo)]
  line = {"edgecolor": look.colour, "linewidth": look.width, "linestyle": look.dashes, "path_effects": halo}
  ax.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, clip_on=False, label=kind, **line))
  if not text:
    return
  room = 0.09 * height  # of a line of text
  if kind == "missed":
    y, va = (bottom, "top") if bottom + room < height else (bottom, "bottom")
  else:
    y, va = (top, "bottom") if top - room > -0.5 else (top, "top")
  x, ha = (left, "left") if left + right < width else (right, "right")
  under = {"boxstyle": "square,pad=0.12", "facecolor": look.colour, "edgecolor": "none"}
  ax.text(x, y, style.escape(text), ha=ha, va=va, fontsize=6.5, color="white", bbox=under)


def _legend(fig: Figure, counts: dict[str, int]) -> None:
  from matplotlib.lines import Line2D
  from matplotlib.patheffects import withStroke

  words = {"found": "✓ found", "false": "✗ false", "predicted": "predicted", "true": "true", "missed": "missed"}
  handles = {}
  for kind, look in LOOKS.items():
    if counts[kind]:
      halo = [withStroke(linewidth=look.width + 1.4, foreground=look.halo)]
      line = {"color": look.colour, "linewidth": look.width, "linestyle": look.dashes, "path_effects": halo}
      handles[words[kind]] = Line2D([], [], **line)
  if handles:
    style.legend(fig, handles, spare=0)
