"""What a space of features is sorted by: neighbours and silhouettes by known classes, and maps in their colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sslx.interpret import maps
from sslx.report import records
from sslx.report.figures import style
from sslx.report.figures.masks import PALETTE
from sslx.report.pages import Figure as Picture
from sslx.report.pages import write_gallery
from sslx.report.tables import Cells, Table

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

NEIGHBOURS = 5
MOST = 20  # classes of a legend


class Classes(NamedTuple):
  """Of the same examples, one of the things that they can be sorted by."""

  y: np.ndarray
  """int [N], places in `names`."""
  names: Sequence[str]


class Space(NamedTuple):
  """Features of examples."""

  name: str
  reading: str
  """Of which block, and how."""
  features: np.ndarray
  """f32 [N,D]."""


def leave_one_out(features: np.ndarray, y: np.ndarray, k: int = NEIGHBOURS) -> float:
  """How many of features [N,D] have the class that most of their k nearest others by cosine have: a share in [0, 1]. Of
  classes with as many votes, the one that is nearer by the sum of its ranks counts.
  """
  near = maps.neighbours(features, np.arange(len(features)), k)
  votes = np.zeros((len(y), int(y.max()) + 1))
  ranks = 1 + np.linspace(1e-3, 0, near.shape[1])
  np.add.at(votes, (np.arange(len(y))[:, None], y[near]), ranks)
  return float((votes.argmax(1) == y).mean())


def silhouette(features: np.ndarray, y: np.ndarray) -> float:
  """How much nearer, by cosine, examples are to their own class than to the nearest other: from -1 to 1, the mean over
  features [N,D]. 0 of a class of one, and where there is one class.

  Rousseeuw: Silhouettes, a graphical aid to the interpretation and validation of cluster analysis, 1987.
  """
  unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
  classes, y = np.unique(y, return_inverse=True)
  if len(classes) < 2:
    return 0.0
  member = np.eye(len(classes))[y]
  distances, sizes = 1 - (unit @ unit.T).astype(np.float64), member.sum(0)
  np.fill_diagonal(distances, 0)
  sums = distances @ member  # [N,K]
  inside = (sums * member).sum(1) / np.maximum(sizes[y] - 1, 1)
  outside = np.where(member > 0, np.inf, sums / sizes).min(1)
  width = (outside - inside) / np.maximum(np.maximum(outside, inside), 1e-12)
  return float(np.where(sizes[y] > 1, width, 0).mean())


def most_frequent(y: np.ndarray) -> float:
  """The share of the most frequent class: what a guess is right of."""
  return float(np.bincount(y).max() / len(y))


# ---- figures ---------------------------------------------------------------------------------------------------------


def coloured(title: str, planes: Mapping[str, np.ndarray], sorted_by: Mapping[str, Classes]) -> Figure:
  """Maps of the same examples: a column for each of `planes`, {title: f32 [N,2]}, a row for each of `sorted_by`, in
  whose colours and shapes the points are. Up to 20 classes stand in a legend.
  """
  fig = style.figure(2.6 * len(planes) + 1.2, 2.6 * len(sorted_by) + 0.35)
  style.heading(fig, style.escape(title))
  axes = fig.subplots(len(sorted_by), len(planes), squeeze=False)
  for row, (name, classes) in zip(axes, sorted_by.items(), strict=True):
    for ax, (how, points) in zip(row, planes.items(), strict=True):
      _dots(ax, points, classes)
      style.bare(ax, "#c4cad1")
      if ax in axes[0]:
        ax.set_title(style.escape(how), fontsize=9, loc="left")
    row[0].set_ylabel(style.escape(f"by {name}"), fontsize=10)
    if len(classes.names) <= MOST:
      row[-1].legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8.5, handletextpad=0.2, labelspacing=0.3
      )
  return fig


def _dots(ax: Axes, points: np.ndarray, classes: Classes) -> None:
  from matplotlib import colormaps

  points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # of features of one dimension
  few = len(classes.names) <= MOST
  spectrum = colormaps["viridis"](np.linspace(0, 1, len(classes.names)))
  for i, name in enumerate(classes.names):
    chosen = points[classes.y == i]
    colour = PALETTE[i % len(PALETTE)] if few else spectrum[i]
    marker = style.MARKERS[i % len(style.MARKERS)]
    look = {"s": 13, "marker": marker, "alpha": 0.8, "linewidths": 0.15, "edgecolors": style.INK}
    ax.scatter(*chosen.T, facecolor=colour, label=style.escape(style.short(name)), **look)


def ahead(row: Mapping[str, float]) -> Figure | None:
  """Of a row of metrics of a method that predicts 1, 2 ... steps ahead, its accuracy at each, and what guesses reach;
  of held-out examples where it has those. None where it has no such metrics.
  """
  prefix = "heldout_" if "heldout_accuracy_1" in row else ""
  shares = {}
  while (share := row.get(f"{prefix}accuracy_{len(shares) + 1}")) is not None:
    shares[len(shares) + 1] = 100 * share
  if len(shares) < 2:
    return None
  fig = style.figure(4.6, 3.2)
  ax = fig.subplots()
  ax.plot([*shares], [*shares.values()], color=style.COLOURS[0], marker="o", markersize=4, label="predicted")
  if (chance := row.get(f"{prefix}chance")) is not None:
    ax.axhline(100 * chance, color=style.GREYS["random"][1], linestyle="--", linewidth=1.2, label="chance")
  style.plain_axes(ax)
  ax.set_ylim(0, max(100 * (chance or 0), *shares.values()) * 1.12)
  ax.set_xticks([*shares][:: -(-len(shares) // 12)])
  ax.set_xlabel("steps ahead", fontsize=10)
  ax.set_ylabel(f"{'held-out ' if prefix else ''}accuracy (%)", fontsize=10)
  ax.legend(frameon=False, fontsize=9)
  return fig


# ---- the page --------------------------------------------------------------------------------------------------------

NOTE = (
  f"Each of these recordings among the others. %: how many are of the class that most of their {NEIGHBOURS} nearest by "
  "cosine have. silhouette: from -1 to 1, above 0 where they are nearer to their own class than to the next. chance: "
  "always the most frequent class. random: the same network untrained. raw: the log-mel spectrogram."
)


def table(spaces: Sequence[Space], by: Mapping[str, Classes]) -> list[dict[str, str | float | int]]:
  """A row for each space, and one of guesses: its neighbours' accuracy and silhouette by each of `by`."""
  rows: list[dict[str, str | float | int]] = []
  for name, reading, features in spaces:
    row: dict[str, str | float | int] = {"features": name, "reading": reading, "dimensions": features.shape[1]}
    for what, (y, _) in by.items():
      row |= {f"{what} %": 100 * leave_one_out(features, y), f"{what} silhouette": silhouette(features, y)}
    rows.append(row)
  return [*rows, {"features": "chance", **{f"{what} %": 100 * most_frequent(y) for what, (y, _) in by.items()}}]


def write(
  directory: Path,
  spaces: Sequence[Space],
  by: Mapping[str, Classes],
  title: str,
  subtitle: str,
  command: str,
  history: Sequence[Mapping[str, float]],
  pretext: Path,
  seed: int,
  smoke: bool,
  say: Callable[[str], None],
) -> tuple[Path, list[Table | str]]:
  """Writes spaces.jsonl, figures and report.html of the same examples in several spaces.

  by: what they are sorted by; history: rows of metrics of the pretraining; pretext: the picture of what its method sees
  and makes, if it is there; seed: of the maps. Returns the page's path, its table, and sentences on what was left out.
  """
  rows = table(spaces, by)
  records.write_rows(directory / "spaces.jsonl", rows)
  headers = [*rows[0]]
  shown = Table(
    "Neighbours in the space of features",
    Cells(headers, [[_cell(row.get(h, ""), h) for h in headers] for row in rows]),
    NOTE,
  )
  figures, left_out = [], []
  for space in spaces:
    say(f"maps: {space.name}")
    points, share = maps.pca(space.features)
    planes = {f"PCA: {100 * share[:2].sum():.0f}% of the variance": points}
    embedded = maps.tsne(space.features, seed) if len(points) > 3 else None
    if embedded is None:
      left_out = ["t-SNE is left out: it needs scikit-learn (pip install 'sslx[maps]') and at least 4 recordings."]
    else:
      planes["t-SNE: neighbourhoods"] = embedded
    heading = f"{space.name}: {space.reading}"
    path = style.save(coloured(heading, planes, by), directory / "figures" / f"space_{len(figures) + 1}.png")
    caption = f"{len(points):,} recordings in the plane, by their features of {space.features.shape[1]:,} dimensions."
    figures.append(Picture(space.name, caption, path, "plot"))
  curve = ahead(history[-1]) if history else None
  if curve:
    caption = "Which of several frames comes so many steps later: how often the method told, at the end of pretraining."
    path = style.save(curve, directory / "figures" / "ahead.png")
    figures.append(Picture("Predicting further ahead", caption, path, "plot"))
  if pretext.exists():
    figures.append(Picture("What the method sees and makes", "Training examples, after pretraining.", pretext))
  page = write_gallery(
    directory / "report.html", title, subtitle, command, {}, [], figures, left_out, smoke, first=[shown]
  )
  return page, [shown, *left_out]


def _cell(value: str | float, header: str) -> str:
  if not isinstance(value, float):
    return str(value)
  return f"{value:.1f}" if header.endswith("%") else f"{value:.2f}"
