"""Curves: of pretraining against steps, and of a score against the number of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sslx.report import dots
from sslx.report.figures import style
from sslx.report.statistics import Entry, name_of, shared_score

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

NAME_HEIGHT = 0.17  # inches
OLDER = {"images_per_second": "examples_per_second"}  # names in metrics.jsonl, before other signals than images


class Span(NamedTuple):
  """An arrow in a curve over numbers of labels."""

  begin: float
  """Labels."""
  end: float
  """Labels; beyond the plot, the arrow goes to its edge."""
  value: float
  """The score at which it stands."""
  text: str


def loss_curve(metrics_rows: Sequence[Mapping[str, Any]]) -> Figure:
  """The loss against the step, with every other scalar of the rows in a small axis of its own below.

  What the rows call heldout_NAME is drawn over NAME. Long series are drawn pale, with their running mean over them. Of
  rows that share a step, as after a resumption, the last counts; values that are null are left out.
  """
  from matplotlib.ticker import MaxNLocator

  series = _metric_series(metrics_rows)
  held = {f"heldout_{name}" for name in series} & series.keys()
  names = [n for n in series if n not in held]
  names.sort(key=lambda name: name != "loss")  # stable: the loss first, the others as first seen
  small = names[1:]
  columns = min(2, len(small)) or 1
  lines = -(-len(small) // columns)
  fig = style.figure(5.6, 2.8 + 1.7 * lines)
  grid = fig.add_gridspec(1 + lines, columns, height_ratios=[2.8] + [1.7] * lines)
  if not names:
    style.say(fig, "no metrics yet")
  for index, name in enumerate(names):
    cell = grid[0, :] if index == 0 else grid[1 + (index - 1) // columns, (index - 1) % columns]
    ax = fig.add_subplot(cell)
    _draw_series(ax, *series[name])
    if f"heldout_{name}" in held:
      look = {"color": style.COLOURS[5], "linewidth": 1.4, "marker": "s", "markersize": 2.5}
      ax.plot(*series[f"heldout_{name}"], label="held-out examples", **look)
      ax.legend(fontsize=9 if index == 0 else 7, frameon=False)
    ax.set_title(style.escape(name.replace("_", " ")), fontsize=11 if index == 0 else 9, loc="left")
    ax.set_xlabel("step", fontsize=9)
    ax.xaxis.set_major_locator(MaxNLocator(6 if index == 0 else 4, integer=True))
    ax.tick_params(labelsize=9 if index == 0 else 8)
  return fig


def label_curve(summary: Sequence[Entry], spans: Sequence[Span] = ()) -> Figure | None:
  """A score against the number of labels (logarithmic), a line per mode, named at its end, with a band of one sample
  standard deviation either side, or of the 95% interval where there is no test split; None where there are fewer than
  two numbers of labels and so no curve.
  """
  from matplotlib.ticker import NullLocator

  counts, score = sorted({entry.labels for entry in summary}), shared_score(summary)
  if len(counts) < 2:
    return None
  looks = style.styles(summary)
  height = max(4.0, 1.0 + NAME_HEIGHT * len(looks))
  fig = style.figure(6.2, height)
  ax = fig.add_subplot()
  ends: list[tuple[float, str, str]] = []
  for name, look in looks.items():
    entries = sorted((e for e in summary if name_of(e, summary) == name), key=lambda entry: entry.labels)
    x = [entry.labels for entry in entries]
    mean = score.factor * np.array([entry.mean for entry in entries])
    low, high = score.factor * np.array([dots.spread(entry) for entry in entries]).T
    line = {"color": look.line, "linestyle": look.linestyle, "marker": look.marker}
    ax.plot(x, mean, label=style.escape(name), linewidth=1.8, markersize=5, **line)
    ends.append((float(mean[-1]), name, look.line))
    ax.fill_between(x, low, high, color=look.line, alpha=0.15, linewidth=0)
  ax.set_xscale("log")
  for begin, end, value, text in spans:
    _draw_span(ax, begin, min(end, max(counts)), score.factor * value, text)
  ax.xaxis.set_minor_locator(NullLocator())
  ax.set_xticks(counts, [f"{count:,}" for count in counts])
  ax.set_xlabel("labels (logarithmic)")
  ax.set_ylabel(style.axis_label(score, any(entry.folds for entry in summary)))
  style.plain_axes(ax)
  _name_ends(ax, ends, NAME_HEIGHT / (height - 0.8))
  return fig


def _name_ends(ax: Axes, ends: Sequence[tuple[float, str, str]], gap: float) -> None:
  """Writes names right of the axes, each as high as its line ends, as far as they do not run into each other.

  ends: (value, name, colour); gap: from a name to the next, as a share of the axes.
  """
  low, high = ax.get_ylim()
  ordered = sorted(ends)
  places = [(value - low) / (high - low) for value, _, _ in ordered]
  for k in range(1, len(places)):
    places[k] = max(places[k], places[k - 1] + gap)
  for k in reversed(range(len(places))):
    places[k] = min(places[k], 1.0 if k == len(places) - 1 else places[k + 1] - gap)
  for place, (_, name, colour) in zip(places, ordered, strict=True):
    ax.text(1.02, place, style.escape(name), transform=ax.transAxes, va="center", fontsize=9.5, color=colour)


def _metric_series(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """{name: (steps, values)}, steps ascending."""
  series: dict[str, dict[int, float]] = {}
  for row in rows:
    for name, value in row.items():
      number = isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)
      if name != "step" and number and "step" in row:
        series.setdefault(OLDER.get(name, name), {})[row["step"]] = float(value)
  return {
    name: (np.array(sorted(points)), np.array([points[step] for step in sorted(points)]))
    for name, points in series.items()
  }


def _draw_series(ax: Axes, steps: np.ndarray, values: np.ndarray) -> None:
  style.plain_axes(ax)
  if len(values) < 40:
    ax.plot(steps, values, color=style.COLOURS[0], linewidth=1.6, marker="o", markersize=3)
  else:
    ax.plot(steps, values, color="#9cc4de", linewidth=0.8)
    ax.plot(steps, running_mean(values, max(5, len(values) // 25)), color="#00517f", linewidth=1.8)
  if values.min() > 0 and values.max() > 50 * values.min():
    ax.set_yscale("log")


def _draw_span(ax: Axes, begin: float, end: float, height: float, text: str) -> None:
  arrow = {"arrowstyle": "->", "color": style.INK, "linewidth": 1.1, "linestyle": "--", "shrinkA": 0, "shrinkB": 0}
  ax.annotate("", (end, height), (begin, height), arrowprops=arrow, zorder=6)
  box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
  place = {"textcoords": "offset points", "ha": "center", "va": "top", "fontsize": 9, "color": style.INK, "bbox": box}
  ax.annotate(style.escape(text), (float(np.sqrt(begin * end)), height), (0, -7), **place)


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
  """The mean over `window` neighbours. Near the start, where a loss falls fast, the window narrows on both sides, so a
  slope is not bent; near the end, where it is flat, on the right side only, so the last value is no single draw.
  """
  sums = np.concatenate([[0.0], np.cumsum(values)])
  place = np.arange(len(values))
  reach = np.minimum(place, window // 2)
  first, last = place - reach, np.minimum(place + reach + 1, len(values))
  return (sums[last] - sums[first]) / (last - first)
