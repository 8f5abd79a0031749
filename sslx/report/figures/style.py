"""What all figures share: colours, the style of each line of a summary, axes, legends, saving.

A figure is a matplotlib Figure that is made without pyplot, so there is no global state and no display.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from sslx.report import records
from sslx.report.statistics import Entry, name_of
from sslx.types import Score

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

# Okabe & Ito, "Color Universal Design", 2008: told apart by colour-blind eyes. Greys for what learnt nothing.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
GREYS = {
  "majority": ("#E4E4E4", "#B0B0B0"),
  "raw": ("#D0D0D0", "#909090"),
  "random": ("#A0A0A0", "#707070"),
  "scratch": ("#606060", "#202020"),
}  # fill, line
HATCHES = ("", "//", "..", "xx", "||", "--", "oo", "++")
DASHES = ("-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = "osD^vP*X"
INK, RIGHT, WRONG = "#1c2128", "#00734f", "#b83a00"


class Style(NamedTuple):
  """How the bars and lines of one name look."""

  fill: str
  line: str
  hatch: str
  marker: str
  linestyle: Any


def save(fig: Figure, path: str | os.PathLike[str]) -> Path:
  """Writes `fig` as a PNG of 120 dots per inch, cut to its contents, whole or not at all; makes the folder. Returns the
  path.
  """
  with records.writing(path) as temporary:
    fig.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
  return Path(path)


def figure(width: float, height: float) -> Figure:
  """An empty figure of so many inches."""
  return _figure_class()(figsize=(width, height), layout="constrained", facecolor="white")


@functools.cache
def _figure_class() -> type[Figure]:
  from matplotlib.figure import Figure

  class NotebookFigure(Figure):
    """A Figure that notebooks draw: they know by themselves only those of pyplot."""

    def _repr_png_(self) -> bytes:
      buffer = io.BytesIO()
      self.savefig(buffer, format="png", dpi=80, bbox_inches="tight")
      return buffer.getvalue()

  return NotebookFigure


def say(fig: Figure, text: str) -> None:
  """Writes a sentence where there is nothing to draw."""
  fig.text(0.5, 0.5, text, ha="center", va="center", fontsize=12, color=INK)


def legend(fig: Figure, handles: Mapping[str, Any]) -> None:
  """Below the axes, in lines of about the same length."""
  room = max(1, int(fig.get_figwidth() / (0.7 + 0.08 * max(map(len, handles)))))
  columns = -(-len(handles) // -(-len(handles) // room))
  fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def plain_axes(ax: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
  """No frame above and at the right; a pale grid."""
  ax.spines[["top", "right"]].set_visible(False)
  ax.grid(axis=grid, color="#e4e7eb", zorder=0)


def bare(ax: Axes, edge: str | None = None, linewidth: float = 1.0) -> None:
  """No ticks; no frame either, unless it has a colour."""
  ax.set_xticks([])
  ax.set_yticks([])
  ax.spines[:].set_visible(edge is not None)
  if edge:
    ax.spines[:].set(edgecolor=edge, linewidth=linewidth)


def axis_label(score: Score) -> str:
  """`test accuracy (%)`: what stands at an axis of scores."""
  unit = f" ({score.unit})" if score.unit else ""
  return f"test {score.name}{unit}{'' if score.higher_is_better else ', lower is better'}"


def styles(summary: Sequence[Entry]) -> dict[str, Style]:
  """{name: style} in the order first seen. Colour tells modes apart and hatching or dashes tell methods apart, or the
  other way round where methods outnumber modes; what learnt nothing is grey.
  """
  triples = list(
    dict.fromkeys(
      (name_of(entry, summary), entry.mode, (entry.method, entry.dataset, entry.encoder)) for entry in summary
    )
  )
  modes = list(dict.fromkeys(mode for _, mode, _ in triples if mode not in GREYS))
  families = list(dict.fromkeys(family for _, mode, family in triples if mode not in GREYS))
  made = {}
  for index, (name, mode, family) in enumerate(triples):
    if mode in GREYS:
      (fill, line), twin = GREYS[mode], [f for _, m, f in triples if m == mode].index(family)
    else:
      places = modes.index(mode), families.index(family)
      colour, twin = places if len(modes) >= len(families) else reversed(places)
      fill = line = COLOURS[colour % len(COLOURS)]
    dashes = {"raw": ":", "random": "--", "scratch": "-."}.get(mode, DASHES[twin % len(DASHES)])
    made[name] = Style(fill, line, HATCHES[twin % len(HATCHES)], MARKERS[index % len(MARKERS)], dashes)
  return made


def short(name: Any, limit: int = 12) -> str:
  """A name of at most `limit` letters."""
  name = str(name)
  return name if len(name) <= limit else name[: limit - 1] + "…"


def escape(text: str) -> str:
  """Text as it is: matplotlib would read a pair of dollars as mathematics."""
  return text.replace("$", r"\$")


def picture(image: Any) -> np.ndarray:
  """As matplotlib draws it: [H,W,1] or [H,W] -> [H,W]; [H,W,3 or 4] stays."""
  image = np.asarray(image, np.float32)
  return image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
