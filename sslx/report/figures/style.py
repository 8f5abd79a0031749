"""What all figures share: colours, the style of each line of a summary, axes, legends, saving.

A figure is a matplotlib Figure that is made without pyplot, so there is no global state and no display.
"""

from __future__ import annotations

import functools
import io
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from sslx.report import records
from sslx.report.statistics import Entry, name_of
from sslx.report.tables import shortened
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
# Families that draw other scripts than Latin, Greek, Cyrillic and Arabic, where a machine has them; of an emoji font in
# colours matplotlib reads nothing.
FALLBACKS = (
  "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC",
  "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Heiti TC",
  "Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Noto Sans Arabic", "Noto Naskh Arabic",
  "Geeza Pro", "Noto Sans Devanagari", "Lohit Devanagari", "Nirmala UI", "Kohinoor Devanagari", "Devanagari MT",
  "Noto Sans Thai", "Noto Sans Hebrew", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Emoji", "Symbola",
  "Segoe UI Symbol", "Segoe UI Emoji", "Segoe UI", "Arial Unicode MS", "FreeSans", "Unifont",
)  # fmt: skip
LONGEST = 40  # letters of a name
LEGEND_LINES = 6  # that most figures have room for; more make them higher
FRAME = "#d0d5db"  # of an image that might be as white as the page
INK, PALE, RIGHT, WRONG = "#1c2128", "#767f89", "#00734f", "#b83a00"


class Style(NamedTuple):
  """How the bars and lines of one name look."""

  fill: str
  line: str
  hatch: str
  marker: str
  linestyle: Any


def save(fig: Figure, path: str | os.PathLike[str]) -> Path:
  """Writes `fig` as a PNG of 192 dots per inch, cut to its contents, whole or not at all; makes the folder. Returns the
  path. A page shows it at half of its size, sharp on every screen.
  """
  with records.writing(path) as temporary:
    fig.savefig(temporary, format="png", dpi=192, bbox_inches="tight")
  return Path(path)


def figure(width: float, height: float) -> Figure:
  """An empty figure of so many inches."""
  return _figure_class()(figsize=(width, height), layout="constrained", facecolor="white")


@functools.cache
def _figure_class() -> type[Figure]:
  from matplotlib.figure import Figure

  class NotebookFigure(Figure):
    """A Figure that notebooks draw: they know by themselves only those of pyplot. Other scripts have other fonts."""

    def draw(self, renderer: Any) -> None:
      from matplotlib.text import Text

      for text in self.findobj(Text):
        if isinstance(text, Text) and not text.get_text().isascii() and text.get_fontfamily() != [*families()]:
          text.set_fontfamily(list(families()))
      super().draw(renderer)

    def _repr_png_(self) -> bytes:
      buffer = io.BytesIO()
      self.savefig(buffer, format="png", dpi=80, bbox_inches="tight")
      return buffer.getvalue()

  return NotebookFigure


def grid(images: np.ndarray, columns: int, cell: float) -> tuple[Figure, list[Axes]]:
  """A figure with an axes for each image [B,H,W,C] or [B,H,W] that shows it, and room for a title.

  columns: at most so many side by side; cell: inches of one's width.
  """
  columns = min(columns, max(1, len(images)))
  lines = max(1, -(-len(images) // columns))
  height, width = images.shape[1:3] if len(images) else (1, 1)
  cell_height = cell * float(np.clip(height / width, 0.3, 3))
  fig = figure(max(3.6, cell * columns), (cell_height + 0.03) * lines + 0.35)
  axes = [*fig.subplots(lines, columns, squeeze=False).ravel()]
  for ax in axes[len(images) :]:
    ax.set_axis_off()
  for ax, image in zip(axes, images, strict=False):
    ax.imshow(picture(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    bare(ax, FRAME)
  return fig, axes[: len(images)]


def heading(fig: Figure, text: str) -> None:
  """A line above everything, at the left."""
  fig.suptitle(text, fontsize=11, x=0.01, ha="left")


def samples(count: int) -> str:
  """What a heading calls the pictures below it."""
  return "this sample" if count == 1 else f"these {count} samples"


def say(fig: Figure, text: str) -> None:
  """Writes a sentence where there is nothing to draw."""
  fig.text(0.5, 0.5, text, ha="center", va="center", fontsize=12, color=INK)


def legend(fig: Figure, handles: Mapping[str, Any], spare: int = LEGEND_LINES) -> None:
  """Below the axes, in lines of about the same length; spare: lines that the figure has room for."""
  room = max(1, int(fig.get_figwidth() / (0.7 + 0.08 * max(map(len, handles)))))
  lines = -(-len(handles) // room)
  columns = -(-len(handles) // lines)
  if lines > spare:
    fig.set_figheight(fig.get_figheight() + 0.2 * (lines - spare))
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


def axis_label(score: Score, folded: bool = False) -> str:
  """`test accuracy (%)`, or `cross-validated accuracy (%)` where folds judge: what stands at an axis of scores."""
  unit = f" ({score.unit})" if score.unit else ""
  judged = "cross-validated" if folded else "test"
  return escape(f"{judged} {score.name}{unit}{'' if score.higher_is_better else ', lower is better'}")


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
  """A name of at most `limit` letters, on one line."""
  name = drawable(" ".join(str(name).split()))
  return name if len(name) <= limit else name[: limit - 1] + "…"


def escape(text: str) -> str:
  """Text as it is, for matplotlib, which would read a pair of dollars as mathematics, and draws boxes for letters that
  no font has. Lines of more than LONGEST letters lose their middle. Every text that is not our own goes through it.
  """
  return "\n".join(shortened(line, LONGEST) for line in drawable(text).split("\n")).replace("$", r"\$")


def drawable(text: str) -> str:
  """Text with codes in place of the letters that no font has: `[732B]`. Marks that are no letters are left out."""
  if text.isascii() and text.replace("\n", "").isprintable():
    return text
  known = _letters(families())
  return "".join(letter if letter == "\n" or ord(letter) in known else _replacement(letter) for letter in text)


def _replacement(letter: str) -> str:
  kind = unicodedata.category(letter)
  if kind == "Cc":  # tabs and their kin
    return " "
  return "" if kind in ("Cf", "Mn", "Me") else f"[{ord(letter):04X}]"  # joiners and accents


def families() -> tuple[str, ...]:
  """The font families of figures: matplotlib's own, then those of FALLBACKS that this machine has."""
  from matplotlib import font_manager, rcParams

  known = {font.name for font in font_manager.fontManager.ttflist}
  return (*rcParams["font.family"], *(name for name in FALLBACKS if name in known))


@functools.cache
def _letters(names: Sequence[str]) -> frozenset[int]:
  """What these families can draw, plain and bold."""
  from matplotlib import font_manager

  letters: set[int] = set()
  for name in names:
    faces = [font_manager.FontProperties(family=[name], weight=weight) for weight in ("normal", "bold")]
    try:
      plain, bold = (font_manager.get_font(font_manager.findfont(face)).get_charmap() for face in faces)
    except (OSError, RuntimeError):  # a font that matplotlib lists but cannot read
      continue
    letters |= plain.keys() & bold.keys()
  return frozenset(letters)


def picture(image: Any) -> np.ndarray:
  """As matplotlib draws it: [H,W,1] or [H,W] -> [H,W]; [H,W,3 or 4] stays."""
  image = np.asarray(image, np.float32)
  return image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
