"""What a predictor says of test examples, by its task: classes, numbers, masks or boxes, beside what is true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sslx.report import tables
from sslx.report.figures import style
from sslx.report.figures.boxes import boxes
from sslx.report.figures.masks import masks
from sslx.report.figures.pictures import confusion, predictions
from sslx.report.figures.style import COLOURS, INK, PALE, RIGHT, WRONG
from sslx.types import Task

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

DRAWN = {
  "classification": ("predictions", "confusion"),
  "multilabel": ("labels",),
  "regression": ("scatter",),
  "segmentation": ("masks",),
  "detection": ("boxes",),
}
"""Task's name -> the short names of its figures."""
MOST_SAMPLES = 40  # of labels
MOST_PANELS = 24  # of numbers
LINES = 6  # of classes below a sample


def answers(task: Task, images: Any, y: Any, answers: Any) -> dict[str, Figure]:
  """The figures of a task by their short names; of a task that DRAWN does not have, none.

  Args:
    task: what was asked.
    images: f32[B, H, W, C] in [0, 1], of the first test examples: those that are shown.
    y: [N, ...], the targets, N at least B. Classes and numbers are drawn of all of them.
    answers: [N', ...], as a predictor gives them, N' from B to N.
  """
  images, answers = np.asarray(images), np.asarray(answers)
  y, shown = np.asarray(y)[: len(answers)], len(images)
  if task.name == "classification":
    guess = np.asarray(task.decide(answers))
    sure = None if task.probabilities is None else np.asarray(task.probabilities(answers)).max(1)
    samples = predictions(images, y[:shown], guess[:shown], task.names, None if sure is None else sure[:shown])
    return {"predictions": samples, "confusion": confusion(y, guess, task.names, task.score)}
  if task.name == "multilabel":
    from scipy.special import expit

    return {"labels": labels(images, y[:shown], expit(answers[:shown]), task.names)}
  if task.name == "regression":
    return {"scatter": scatter(y, answers, task.names)}
  if task.name == "segmentation":
    return {"masks": masks(images, y[:shown], answers[:shown], task.names)}
  if task.name == "detection":
    return {"boxes": boxes(images, y[:shown], answers[:shown], task.names)}
  return {}


# ---- numbers ---------------------------------------------------------------------------------------------------------


def scatter(truth: Any, predicted: Any, names: Sequence[str]) -> Figure:
  """A panel for each number, its predicted values against the true ones, with the line on which they are right.

  Args:
    truth: f32[N, T], in the numbers' own units.
    predicted: f32[N, T].
    names: one per number; the first 24 are drawn.
  """
  truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
  if not truth.size:
    fig = style.figure(4, 1)
    style.say(fig, "no numbers")
    return fig
  panels = min(len(names), MOST_PANELS)
  columns = min(4, panels)
  lines = -(-panels // columns)
  fig = style.figure(max(3.0, 2.3 * columns), 2.32 * lines + 0.3)
  axes = fig.subplots(lines, columns, squeeze=False).ravel()
  for ax in axes[panels:]:
    ax.set_axis_off()
  for index in range(panels):
    _panel(axes[index], truth[:, index], predicted[:, index], str(names[index]))
  if panels < len(names):
    style.heading(fig, f"the first {panels} of {len(names)} numbers")
  fig.supxlabel("true", fontsize=10)
  fig.supylabel("predicted", fontsize=10)
  return fig


def _panel(ax: Axes, truth: np.ndarray, predicted: np.ndarray, name: str) -> None:
  from matplotlib.ticker import MaxNLocator

  style.plain_axes(ax)
  many = len(truth) > 2000
  alpha = float(np.clip(150 / len(truth), 0.08 if many else 0.15, 0.8))
  dots = {"linestyle": "none", "marker": "o", "markersize": 2 if many else 3, "markeredgewidth": 0}
  ax.plot(truth, predicted, color=COLOURS[0], alpha=alpha, **dots)
  values = np.concatenate([truth, predicted])
  values = values[np.isfinite(values)]
  low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
  margin = 0.05 * (high - low) or 0.5
  ends = low - margin, high + margin
  ax.plot(ends, ends, linestyle="--", linewidth=1, color=INK, zorder=3)
  ax.set(xlim=ends, ylim=ends, aspect="equal")
  for axis in (ax.xaxis, ax.yaxis):
    axis.set_major_locator(MaxNLocator(4))
    axis.get_offset_text().set_fontsize(8)  # the power of ten at its end
  ax.tick_params(labelsize=8, length=0)
  error = np.abs(predicted - truth).mean()
  title = f"{tables.shortened(name, 20)}\nR2 {r2(truth, predicted):.3f}, MAE {tables.plain(error, 3)}"
  ax.set_title(style.escape(title), fontsize=9.5, loc="left")


def r2(truth: np.ndarray, predicted: np.ndarray) -> float:
  """The share of the variance of f64[N] that is explained, 1 at best; 0 where it does not vary."""
  if truth.max() == truth.min():  # exactly so: the mean of equal numbers is rounded, and differs from them
    return 0.0
  return float(1 - np.square(predicted - truth).sum() / np.square(truth - truth.mean()).sum())


# ---- classes of which any number may be there ------------------------------------------------------------------------


def labels(images: Any, truth: Any, probabilities: Any, names: Sequence[str]) -> Figure:
  """A grid of samples; below each the classes that are said to be there, right (a green tick) or wrong (a red cross),
  and those that are missed. The title counts them.

  Args:
    images: f32[B, H, W, C] or f32[B, H, W] in [0, 1]; the first 40 are drawn.
    truth: u8[B, K], 1 for a class that is there.
    probabilities: f32[B, K] in [0, 1]; a class is said to be there from one half.
    names: one per class.
  """
  images = np.asarray(images)[:MOST_SAMPLES]
  there, sure = np.asarray(truth)[: len(images)] > 0, np.asarray(probabilities)[: len(images)]
  said = sure >= 0.5
  texts = [_lines(*each, names) for each in zip(there, said, sure, strict=True)]
  columns, cell = (5, 1.35) if max(map(len, map(style.short, names))) <= 5 else (4, 1.75)  # room for long names
  fig, axes = style.grid(images, columns, cell)
  deepest = [max(map(len, texts[start : start + columns])) for start in range(0, len(texts), columns)]
  fig.set_figheight(fig.get_figheight() + sum(0.16 * lines + 0.08 for lines in deepest))
  for ax, lines, right in zip(axes, texts, (there == said).all(1), strict=True):
    style.bare(ax, RIGHT if right else WRONG, 1.5 if right else 3)
    for line, (text, colour) in enumerate(lines):
      place = {"xycoords": "axes fraction", "xytext": (0, -4 - 11 * line), "textcoords": "offset points"}
      look = {"ha": "center", "va": "top", "fontsize": 8.5, "color": colour}
      ax.annotate(style.escape(text), (0.5, 0), **place, **look)
  found, false = int((there & said).sum()), int((said & ~there).sum())
  style.heading(fig, f"{found} of {int(there.sum())} labels found, {false} false, in {style.samples(len(images))}")
  return fig


def _lines(there: np.ndarray, said: np.ndarray, sure: np.ndarray, names: Sequence[str]) -> list[tuple[str, str]]:
  """(text, colour) of each line below a sample: what is wrong, missed, and right; the last ones may be left out."""

  told = [f"{style.short(name)} ({100 * share:.0f}%)" for name, share in zip(names, sure, strict=True)]
  lines = [(f"✗ {told[k]}", WRONG) for k in np.flatnonzero(said & ~there)]
  lines += [(f"missed: {style.short(names[int(k)])}", WRONG) for k in np.flatnonzero(there & ~said)]
  lines += [(f"✓ {told[k]}", RIGHT) for k in np.flatnonzero(there & said)]
  if len(lines) > LINES:
    lines[LINES - 1 :] = [(f"and {len(lines) - LINES + 1} more", PALE)]
  return lines or [("✓ none of them", RIGHT)]
