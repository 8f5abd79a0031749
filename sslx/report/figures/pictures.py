"""Pictures: what goes into a method and what it makes of it, and what a classifier says of samples."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sslx.report import statistics
from sslx.report.figures import style
from sslx.report.statistics import RIGHT_ANSWERS
from sslx.types import Score

if TYPE_CHECKING:
  from matplotlib.figure import Figure

MAX_COLUMNS, MAX_ROWS = 10, 14  # of pictures
FEWEST = 4  # columns, of wide pictures
STRIP, ROOM = 5.0, 14  # width by height from which a picture is a strip of frames, and columns that strips may take


def picture_rows(pictures: Mapping[str, Any]) -> Figure:
  """Rows of pictures, such as clean, noisy and restored, each with its title at the left.

  Args:
    pictures: {title: float[B, H, W, C] or float[B, H, W] in [0, 1], C of 1 (grey), 3 or 4 (colour)}; the first 10
      pictures of the first 14 rows are drawn, fewer of pictures that are wide, and values outside [0, 1] are clipped.

  Raises:
    ValueError: an array of another shape.
  """
  strips = {title: _strip(title, images) for title, images in list(pictures.items())[:MAX_ROWS]}
  if not strips:
    fig = style.figure(4, 1)
    style.say(fig, "no pictures")
    return fig
  # The widest row sets the scale, and each row's height follows from its own shape.
  shapes = [strip.shape[:2] for strip in strips.values()]
  columns = max(min(len(images), shown(images)) * max(1, _aspect(images)) for images in pictures.values())
  strips_of_frames = any(_aspect(images) > STRIP for images in pictures.values())
  width = max(2.0, 0.62 * min(columns, ROOM if strips_of_frames else MAX_COLUMNS))
  heights = [width * height / wide for height, wide in shapes]
  fig = style.figure(width + 1.1, sum(heights) + 0.06 * len(heights))
  axes = fig.subplots(len(strips), 1, squeeze=False, height_ratios=heights)[:, 0]
  for ax, (title, strip) in zip(axes, strips.items(), strict=True):
    ax.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    style.bare(ax)
    ax.set_ylabel(style.escape(_wrap(title)), rotation=0, ha="right", va="center", fontsize=10, labelpad=6)
  return fig


def predictions(
  images: Any, labels: Any, predicted: Any, class_names: Sequence[str], confidence: Any | None = None
) -> Figure:
  """A grid of samples, each marked right (a green tick) or wrong (a red cross, with the true class).

  Args:
    images: f32[B, H, W, C] or f32[B, H, W] in [0, 1]; the first 40 are drawn.
    labels: int[B], the true classes.
    predicted: int[B].
    class_names: one per class.
    confidence: float[B] in [0, 1], of the predicted class, or None.
  """
  images, labels, predicted = (np.asarray(array)[:40] for array in (images, labels, predicted))
  aspect = max(1.0, min(_aspect(images), 3.0))
  short = max(map(len, map(style.short, class_names))) <= 5 and aspect < 1.5
  cell, most = (1.05, 5) if short else (1.35, 4)  # room for long names and wide pictures
  columns = min(most, max(1, len(images)))
  lines = max(1, -(-len(images) // columns))
  fig = style.figure(max(3, cell * columns), (cell / aspect + 0.4) * lines + 0.45)
  right = int((labels == predicted).sum())
  style.heading(fig, f"{right} of these {len(images)} samples right")
  axes = fig.subplots(lines, columns, squeeze=False).ravel()
  for ax in axes[len(images) :]:
    ax.set_axis_off()
  for index, (image, label, guess) in enumerate(zip(images, labels, predicted, strict=True)):
    ax, good = axes[index], label == guess
    ax.imshow(style.picture(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    style.bare(ax, style.RIGHT if good else style.WRONG, 1.5 if good else 3)
    sure = "" if confidence is None else f" ({100 * float(np.asarray(confidence)[index]):.0f}%)"
    first = f"{'✓' if good else '✗'} {style.short(class_names[guess])}{sure}"
    second = "" if good else f"true: {style.short(class_names[label])}"
    colour = style.RIGHT if good else style.WRONG
    ax.set_xlabel(
      style.escape(f"{first}\n{second}"), fontsize=10 if most == 5 else 9, color=colour, labelpad=3, linespacing=1.15
    )
    ax.xaxis.label.set_fontweight("normal" if good else "bold")
  return fig


def confusion_counts(labels: Any, predicted: Any, classes: int) -> np.ndarray:
  """i64[classes, classes]: how many samples of the true class (row) were given the predicted class (column).

  Args:
    labels: int[B] in [0, classes).
    predicted: int[B] in [0, classes).
    classes: how many classes there are.
  """
  flat = np.asarray(labels, np.int64) * classes + np.asarray(predicted, np.int64)
  return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def confusion(labels: Any, predicted: Any, class_names: Sequence[str], score: Score = RIGHT_ANSWERS) -> Figure:
  """The confusion matrix, true classes down and predicted ones across: shades are shares of the true class (rows sum to
  one), numbers are counts (left out above 20 classes), and the share of right answers stands in the title.

  Args:
    labels: int[B], the true classes.
    predicted: int[B].
    class_names: one per class.
    score: what the share of right answers is called.
  """
  classes = len(class_names)
  counts = confusion_counts(labels, predicted, classes)
  totals = counts.sum(1, keepdims=True)
  shares = counts / np.maximum(totals, 1)
  size = float(np.clip(0.44 * classes, 2.8, 9))
  fig = style.figure(size + 0.9, size + 0.9)
  ax = fig.add_subplot()
  ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
  if classes <= 20:
    fontsize = {3: 9, 4: 8}.get(max(3, len(str(counts.max()))), 6)
    for row, column in zip(*np.nonzero(counts), strict=True):
      colour = "white" if shares[row, column] > 0.55 else style.INK
      number = {"ha": "center", "va": "center", "fontsize": fontsize, "color": colour}
      ax.text(column, row, str(counts[row, column]), **number)
  step = -(-classes // 40)  # past forty, names would run into each other
  ticks = range(0, classes, step)
  names = [style.escape(style.short(class_names[tick])) for tick in ticks]
  fontsize = 9 if classes <= 20 else 7
  steep = classes > 20 or max(map(len, names)) > 3
  ax.set_xticks(ticks, names, fontsize=fontsize, rotation=90 if steep else 0)
  ax.set_yticks(ticks, names, fontsize=fontsize)
  ax.set_xlabel("predicted")
  ax.set_ylabel("true")
  right = "no samples"
  if counts.sum():
    right = f"{statistics.quantity(score, np.trace(counts) / counts.sum())} of {counts.sum():,}"
  ax.set_title(style.escape(f"{score.name}: {right}"), fontsize=11, loc="left")
  ax.spines[:].set_visible(False)
  return fig


def shown(images: Any) -> int:
  """How many pictures [B, H, W(, C)] a row has room for: ten, of wide ones fewer, of strips of frames one or two."""
  if _aspect(images) > STRIP:
    return max(1, round(ROOM / _aspect(images)))
  return int(np.clip(round(MAX_COLUMNS / _aspect(images)), FEWEST, MAX_COLUMNS))


def _aspect(images: Any) -> float:
  """Width by height; 1 of what is empty or no pictures."""
  shape = np.shape(images)
  return shape[2] / shape[1] if len(shape) > 2 and min(shape[1:3]) else 1.0


def _strip(title: str, images: Any) -> np.ndarray:
  """[B, H, W(, C)] -> [H, width(, 3 or 4)]: the first ones side by side, a white gap between them."""
  images = np.asarray(images, np.float32)[: shown(images)]
  if images.ndim == 3:
    images = images[..., None]
  if images.ndim != 4 or 0 in images.shape or images.shape[-1] not in (1, 3, 4):
    raise ValueError(f"{title}: images of shape {images.shape}; expected [B, H, W, C] with C of 1, 3 or 4")
  images = np.clip(np.nan_to_num(images), 0, 1)
  gap = max(1, images.shape[2] // 14)
  padded = np.pad(images, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=1)
  return style.picture(np.concatenate(list(padded), axis=1)[:, :-gap])


def _wrap(title: str) -> str:
  return textwrap.fill(style.short(title.replace("_", " "), style.LONGEST), 14)
