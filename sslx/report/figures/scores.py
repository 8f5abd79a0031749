"""The scores of methods and modes side by side, as dots on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslx.report import dots, statistics, tables
from sslx.report.dots import Dot, Panel
from sslx.report.figures import style
from sslx.report.figures.style import COLOURS, INK, PALE
from sslx.report.statistics import Entry

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

COLUMNS = 2  # of panels
LINE = 0.27  # inches
LOOKS = {"pretrained": (COLOURS[0], 7), "baseline": (INK, 7), "reference": (PALE, 6)}  # colour, size of a dot


def score_dots(summary: Sequence[Entry]) -> Figure:
  """A panel for each data set and number of labels, all on one axis; in it a line for each method or mode, the best
  first: a dot for its mean, a whisker (`dots.spread`), and a tick for each label subset or fold.
  Vertical lines go through what the others are held against. Of many methods, a panel has the first mode of the
  summary only.
  """
  panels: dict[str, Panel] = {}
  for panel in dots.panels(summary):
    panels.setdefault(panel.place, panel)
  if not panels:
    fig = style.figure(5.0, 2.0)
    style.say(fig, "no results yet")
    return fig
  columns = min(len(panels), COLUMNS)
  lines = -(-len(panels) // columns)
  height = max(len(panel.dots) for panel in panels.values()) * LINE + 0.85
  fig = style.figure(1.2 + 4.8 * columns, height * lines)
  axis, label = dots.axis(summary), style.axis_label(statistics.shared_score(summary), any(e.folds for e in summary))
  axes = fig.subplots(lines, columns, squeeze=False).ravel()
  for ax, panel in zip(axes, panels.values(), strict=False):
    _draw(ax, panel)
    ax.set_xlim(axis.ticks[0], axis.ticks[-1])
    ax.set_xticks(axis.ticks)
    ax.set_xlabel(label, fontsize=9)
  for ax in axes[len(panels) :]:
    ax.set_axis_off()
  return fig


def _draw(ax: Axes, panel: Panel) -> None:
  style.plain_axes(ax, "x")
  ax.spines["left"].set_visible(False)
  ax.set_title(style.escape(panel.title), fontsize=11, loc="left", pad=8)
  for dot in panel.lines:
    dashes = "--" if dot.role == "baseline" else ":"
    mean = dot.entry.score.factor * dot.entry.mean
    ax.axvline(mean, color=LOOKS[dot.role][0], linestyle=dashes, linewidth=1, zorder=1)
  for line, dot in enumerate(panel.dots):
    _dot(ax, line, dot)
  ax.set_yticks(range(len(panel.dots)), [style.escape(dot.name) for dot in panel.dots], fontsize=9.5)
  ax.tick_params(axis="both", length=0)
  ax.set_ylim(len(panel.dots) - 0.5, -0.5)


def _dot(ax: Axes, line: int, dot: Dot) -> None:
  entry, (colour, size) = dot.entry, LOOKS[dot.role]
  factor = entry.score.factor
  if entry.n > 1:
    values = [factor * value for value in entry.values]
    ax.plot(values, [line] * entry.n, linestyle="none", marker="|", markersize=7, color=colour, alpha=0.45, zorder=2)
  low, high = (factor * abs(end - entry.mean) for end in dots.spread(entry))
  look = {"color": colour, "markersize": size, "markeredgecolor": "white", "markeredgewidth": 1, "linewidth": 1.6}
  ax.errorbar(factor * entry.mean, line, xerr=[[low], [high]], fmt="o", zorder=3, **look)
  ax.text(
    1.02, line, tables.score_text(entry), transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=colour
  )
