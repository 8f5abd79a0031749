"""Bars and dots: the scores of methods and modes side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sslx.report import statistics
from sslx.report.figures import style
from sslx.report.figures.style import COLOURS, GREYS, INK, MARKERS
from sslx.report.statistics import Entry
from sslx.types import Score

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure


def score_bars(summary: Sequence[Entry]) -> Figure:
  """A group of bars per number of labels, a bar per mode: its mean, an error bar of one sample standard deviation and a
  dot per seed. A dashed line marks the baseline. The axis need not start at zero, so each bar carries its value.
  """
  looks, score = style.styles(summary), statistics.shared_score(summary)
  counts = sorted({entry.labels for entry in summary})
  fig = style.figure(max(5.0, 1.4 + 0.62 * len(looks) * len(counts)), 4.2)
  if not summary:
    style.say(fig, "no results yet")
    return fig
  ax = fig.add_subplot()
  floor, top = _limits(summary, score)
  baselines = []
  for group, count in enumerate(counts):
    entries = {statistics.name_of(entry, summary): entry for entry in summary if entry.labels == count}
    shown = [name for name in looks if name in entries]
    places = group + 0.84 * ((np.arange(len(shown)) + 0.5) / len(shown) - 0.5)
    for x, name in zip(places, shown, strict=True):
      _bar(ax, x, 0.84 / len(shown), floor, entries[name], name, looks[name])
      if entries[name].mode == entries[name].baseline:
        baselines.append((score.factor * entries[name].mean, group))
  for mean, group in baselines:
    ax.hlines(mean, group - 0.45, group + 0.45, color=INK, linestyle="--", linewidth=1, zorder=3)
  ax.set_ylim(floor, top)
  ax.set_xlim(-0.5, len(counts) - 0.5)
  ax.set_xticks(range(len(counts)), [f"{count:,}" for count in counts])
  ax.tick_params(axis="x", length=0)
  ax.set_xlabel("labels")
  ax.set_ylabel(style.axis_label(score) + (f"\naxis starts at {floor:g}" if floor else ""))
  style.plain_axes(ax, "y")
  handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))  # one per mode, not one per bar
  if baselines:
    from matplotlib.lines import Line2D

    handles[style.escape(f"{summary[0].baseline} mean")] = Line2D([], [], color=INK, linestyle="--", linewidth=1)
  style.legend(fig, handles)
  return fig


def _limits(summary: Sequence[Entry], score: Score) -> tuple[float, float]:
  """Where the axis of scores begins, at a round number, and where it ends: percents end at 100."""
  values = score.factor * np.concatenate([entry.values for entry in summary])
  span = max(float(np.ptp(values)), 0.04 * score.factor)
  step = min(1.0, 10.0 ** math.floor(math.log10(span)))
  floor = step * math.floor((values.min() - 0.35 * span) / step)
  floor = round(max(0.0, floor) if values.min() >= 0 else floor, 6)
  top = max(values.max(), max(score.factor * (entry.mean + (entry.std or 0)) for entry in summary))
  return floor, min(top + 0.06 * span, max(100.0, top) + 0.8 if score.unit == "%" else math.inf)


def _bar(ax: Axes, x: float, width: float, floor: float, entry: Entry, name: str, look: style.Style) -> None:
  score = entry.score
  mean = score.factor * entry.mean
  fill = {"color": look.fill, "hatch": look.hatch, "edgecolor": "white", "linewidth": 0.5}
  ax.bar(x, mean - floor, 0.92 * width, bottom=floor, label=style.escape(name), zorder=2, **fill)
  if entry.std is not None:
    ax.errorbar(x, mean, score.factor * entry.std, color=INK, capsize=4, linewidth=1.3, zorder=4)
  spread = np.linspace(-0.28, 0.28, entry.n) * width if entry.n > 1 else np.zeros(1)
  dots = {"s": 14, "facecolor": "white", "edgecolor": INK, "linewidth": 0.8, "zorder": 5}
  ax.scatter(x + spread, score.factor * np.array(entry.values), **dots)
  value = {"ha": "center", "va": "bottom", "fontsize": 9, "color": INK, "zorder": 6}
  box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
  text = statistics.number(score, entry.mean)
  ax.annotate(text, (x, floor), (0, 4), textcoords="offset points", bbox=box, **value)


def method_dots(summary: Sequence[Entry]) -> Figure:
  """A panel per data set and number of labels, a line per method, a dot per mode with one sample standard deviation
  either side.

  Entries of the method "none" are vertical lines: raw pixels, the random encoder and training from scratch.
  """
  methods = list(dict.fromkeys(entry.method for entry in summary if entry.method != "none"))
  datasets = list(dict.fromkeys(entry.dataset for entry in summary))
  places = sorted({(entry.dataset, entry.labels) for entry in summary}, key=lambda p: (datasets.index(p[0]), p[1]))
  columns = min(len(places), 2) or 1
  lines = -(-len(places) // columns) or 1
  fig = style.figure(1.6 + 4.2 * columns, (0.8 + 0.36 * len(methods)) * lines + 0.6)
  if not methods:
    style.say(fig, "no results yet")
    return fig
  handles: dict[str, Any] = {}
  modes = list(dict.fromkeys(entry.mode for entry in summary if entry.method != "none"))
  panels = fig.subplots(lines, columns, squeeze=False, sharey=True).ravel()
  for ax, (dataset, count) in zip(panels, places, strict=False):
    for entry in summary:
      if (entry.dataset, entry.labels) == (dataset, count):
        handles[style.escape(entry.mode)] = _dot(ax, entry, methods, modes)
    title = f"{count:,} labels" if len(datasets) == 1 else f"{dataset}, {count:,} labels"
    ax.set_title(style.escape(title), fontsize=11, loc="left")
    ax.set_yticks(range(len(methods)), [style.escape(name) for name in methods])
    ax.set_ylim(len(methods) - 0.5, -0.5)
    ax.set_xlabel(style.axis_label(statistics.shared_score(summary)), fontsize=9)
    style.plain_axes(ax)
  for ax in fig.axes[len(places) :]:
    ax.set_axis_off()
  style.legend(fig, handles)
  return fig


def _dot(ax: Axes, entry: Entry, methods: Sequence[str], modes: Sequence[str]) -> Any:
  """Draws an entry; what stands for it in the legend."""
  mean, std = entry.score.factor * entry.mean, entry.score.factor * (entry.std or 0.0)
  if entry.method == "none":
    dashes = {"raw": ":", "random": "--", "scratch": "-."}.get(entry.mode, "-")
    return ax.axvline(mean, color=GREYS["scratch"][1], linestyle=dashes, linewidth=1.2, zorder=1)
  index = modes.index(entry.mode)
  place = methods.index(entry.method) + 0.6 * ((index + 0.5) / len(modes) - 0.5)
  look = {"color": COLOURS[index % len(COLOURS)], "fmt": MARKERS[index % len(MARKERS)], "markersize": 5}
  return ax.errorbar(mean, place, xerr=std, capsize=2, linewidth=1, zorder=3, **look)
