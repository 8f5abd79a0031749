"""A score against how many blocks of an encoder are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sslx.report import statistics
from sslx.report.figures import style
from sslx.report.figures.style import COLOURS, MARKERS
from sslx.report.statistics import Entry

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure


def trained_blocks(summary: Sequence[Entry], depths: Mapping[str, int]) -> Figure:
  """A panel a method, a line a number of labels: the test score against the number of trained blocks, the best of each
  line filled, with one sample standard deviation either side. Training from scratch stands at the right, hollow.

  summary: of `report.summarise`; depths: mode -> its number of trained blocks, in ascending order.
  """
  methods = list(dict.fromkeys(e.method for e in summary if e.method != "none" and e.mode in depths))
  columns = min(len(methods), 2) or 1
  lines = -(-len(methods) // columns) or 1
  fig = style.figure(1.2 + 3.4 * columns, 0.7 + 3.3 * lines)
  if not methods:
    style.say(fig, "no results yet")
    return fig
  panels = fig.subplots(lines, columns, squeeze=False, sharey=True).ravel()
  last = max(depths.values())
  handles: dict[str, Any] = {}
  for ax, method in zip(panels, methods, strict=False):
    handles |= _panel(ax, summary, method, depths)
    ax.set_title(style.escape(method), fontsize=11, loc="left")
    ticks = {**{d: str(d) for d in depths.values()}, last: f"all {last}", last + 0.7: "scratch"}
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.set_xlabel("trained blocks, from the last")
    style.plain_axes(ax)
  for line in range(lines):
    panels[line * columns].set_ylabel(style.axis_label(statistics.shared_score(summary)))
  for ax in panels[len(methods) :]:
    ax.set_axis_off()
  style.legend(fig, handles)
  return fig


def _panel(ax: Axes, summary: Sequence[Entry], method: str, depths: Mapping[str, int]) -> dict[str, Any]:
  """Draws the lines of one method; {name: handle} of the legend."""
  handles, last, score = {}, max(depths.values()), statistics.shared_score(summary)
  for i, count in enumerate(sorted({entry.labels for entry in summary})):
    look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
    entries = [e for e in summary if (e.method, e.labels) == (method, count) and e.mode in depths]
    entries = sorted({e.mode: e for e in entries}.values(), key=lambda e: depths[e.mode])
    x, mean = [depths[e.mode] for e in entries], [score.factor * e.mean for e in entries]
    bars = {"yerr": [score.factor * (e.std or 0.0) for e in entries], "capsize": 2, "linewidth": 1.6}
    name = statistics.labels_text(count)
    handles[name] = ax.errorbar(x, mean, markersize=5, markerfacecolor="white", **bars, **look)
    if entries:
      top = max(range(len(entries)), key=lambda k: statistics.goodness(score, mean[k]))
      ax.plot(x[top], mean[top], markersize=7, linestyle="none", zorder=4, **look)
    for entry in summary:
      if (entry.mode, entry.labels) == ("scratch", count):
        spread = score.factor * (entry.std or 0.0)
        hollow = {"markersize": 5, "markerfacecolor": "white", "capsize": 2, "linestyle": "none", "linewidth": 1}
        ax.errorbar(last + 0.7, score.factor * entry.mean, yerr=spread, **hollow, **look)
  return handles
