"""How often answers are right, against how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sslx.report.figures import style

if TYPE_CHECKING:
  from matplotlib.figure import Figure

LEAST, LARGEST = 8.0, 160.0  # points^2 of a dot: of a few answers, and what all of them have more
COLOURS = (style.COLOURS[5], style.COLOURS[0])


def reliability(series: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
  """The bins of `sslx.evaluation.calibration.reliability`, as dicts, by name: a dot for each that holds answers, the
  larger the more. On the line, answers are as sure as they are right.
  """
  fig = style.figure(4.2, 3.6)
  ax = fig.add_subplot()
  ax.plot([0, 100], [0, 100], color="0.6", linewidth=1, zorder=0)
  for (name, bins), colour, face in zip(series.items(), COLOURS, ("none", COLOURS[1]), strict=False):
    there = [each for each in bins if each["count"]]
    x, y, counts = (np.array([each[key] for each in there]) for key in ("confidence", "accuracy", "count"))
    sizes = LEAST + LARGEST * counts / counts.sum()
    ax.scatter(100 * x, 100 * y, sizes, label=name, edgecolors=colour, facecolors=face, alpha=0.85)
  ax.set(xlim=(0, 102), ylim=(-2, 102), xlabel="confidence in percent", ylabel="right in percent")
  style.plain_axes(ax)
  ax.legend(fontsize=8, frameon=False, loc="upper left")
  return fig
