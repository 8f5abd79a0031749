"""Accuracy against how many blocks of an encoder are trained. See `sslx.report.figures`, whose parts it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sslx.report import figures
from sslx.report.figures import COLOURS, MARKERS

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def trained_blocks(summary: Sequence[Mapping[str, Any]], depths: Mapping[str, int]) -> Figure:
  """A panel a method, a line a number of labels: test accuracy against the number of trained blocks, the best of each line
  filled, with one sample standard deviation either side. Training from scratch stands right of it, hollow, by itself.

  summary: of `report.summarise`; depths: mode -> its number of trained blocks, in ascending order.
  """
  methods = list(dict.fromkeys(e["method"] for e in summary if e["method"] != "none" and e["mode"] in depths))
  counts = sorted({entry["labels"] for entry in summary})
  columns = min(len(methods), 3) or 1
  lines = -(-len(methods) // columns) or 1
  fig = figures._figure(1.2 + 3.4 * columns, 0.7 + 3.3 * lines)
  if not methods:
    figures._say(fig, "no results yet")
    return fig
  panels = fig.subplots(lines, columns, squeeze=False, sharey=True).ravel()
  last = max(depths.values())
  handles: dict[str, Any] = {}
  for ax, method in zip(panels, methods, strict=False):
    for i, count in enumerate(counts):
      style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
      own = {e["mode"]: e for e in summary if (e["method"], e["labels"]) == (method, count) and e["mode"] in depths}
      entries = sorted(own.values(), key=lambda e: depths[e["mode"]])
      x, mean = [depths[e["mode"]] for e in entries], [100 * e["mean"] for e in entries]
      bars = {"yerr": [100 * (e["std"] or 0.0) for e in entries], "capsize": 2, "linewidth": 1.6}
      name = f"{count:,} labels"
      handles[name] = ax.errorbar(x, mean, markersize=5, markerfacecolor="white", **bars, **style)
      top = int(np.argmax(mean))
      ax.plot(x[top], mean[top], markersize=7, linestyle="none", zorder=4, **style)
      for entry in summary:
        if (entry["mode"], entry["labels"]) == ("scratch", count):
          spread = 100 * (entry["std"] or 0.0)
          hollow = {"markersize": 5, "markerfacecolor": "white", "capsize": 2, "linestyle": "none", "linewidth": 1}
          ax.errorbar(last + 0.7, 100 * entry["mean"], yerr=spread, **hollow, **style)
    ax.set_title(figures._escape(method), fontsize=11, loc="left")
    ticks = {**{d: str(d) for d in depths.values()}, last: f"all {last}", last + 0.7: "scratch"}
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.set_xlabel("trained blocks, from the last")
    figures._plain_axes(ax)
  for line in range(lines):
    panels[line * columns].set_ylabel("test accuracy (%)")
  for ax in panels[len(methods) :]:
    ax.set_axis_off()
  figures._legend(fig, handles)
  return fig
