"""Draws docs/pictures/overview.png: what each method sees of a digit and of a photograph, beside what it is worth.

    python docs/make_overview.py runs/compare-mnist-conv-1a2b3c4d runs/compare-fashion_mnist-conv-5e6f7a8b

The accuracies are read from the rows of these runs of experiments.compare, a column of dots for each: the frozen
encoder of each method with --labels labels and the 95% interval of its mean, and as vertical lines what does without
pretraining. The photograph, of Grace Hopper, is by James S. Davis, U.S. Navy, in the public domain; it comes with
matplotlib. Methods are grouped by what they see, and only that is shown: no network is trained here.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from sslx import data, nn, pretext, report
from sslx.data.types import Dataset
from sslx.report import checks, intervals, statistics
from sslx.report.figures import style
from sslx.report.statistics import Entry
from sslx.types import UserError

if TYPE_CHECKING:
  from matplotlib.axes import Axes

PICTURE = Path(__file__).parent / "pictures/overview.png"
LABELS = 100
DIGIT = 7  # of the training images: a three
FACE, SIDE = (110, 10, 410, 310), 64  # the part of the photograph that is shown, in its pixels; pixels a side then
KEY = 5  # of the random views
COLOURS = 128  # of the picture
# What does without pretraining, strongest last: mode -> (its name at the line, colour, dashes).
BASELINES = {
  "raw": ("raw pixels", "#909090", ":"),
  "random": ("untrained", "#909090", "--"),
  "scratch": ("scratch", style.INK, "-"),
  "raw+self_train": ("self-training", "#0067a8", "-."),
}
# Inches: the height of a line of text and of a picture; where the pictures and the dots begin.
LINE, PICTURES, SEEN, DOTS = 0.20, 0.44, 1.65, 5.35
CAPTION = (
  "Frozen encoder and linear head: mean over the label subsets, with its 95% interval. Against training from scratch "
  "on the same labels: green is better, red worse,\n"
  "grey not measurably different (paired by subset). Self-training reads all images, and needs no pretraining."
)


class Group(NamedTuple):
  """Methods that see the same."""

  title: str
  methods: tuple[str, ...]
  rows: tuple[str, ...] = ("original",)
  """Of what `Pretext.show` gives: those that the encoder sees."""


GROUPS = (
  Group(
    "two random views",
    ("barlow_twins", "byol", "dino", "moco", "simclr", "simsiam", "swav", "vicreg"),
    ("view1", "view2"),
  ),
  Group("tiles in disorder", ("jigsaw",), ("puzzle",)),
  Group("all but some holes", ("inpaint",), ("hole filled with the mean",)),
  Group("all but the middle", ("context_encoder",), ("with a hole",)),
  Group("what is above", ("cpc", "cpc_v2"), ("context and true patches",)),
  Group("noise on the image", ("denoise", "stacked_denoise"), ("noisy",)),
  Group("fewer pixels", ("super_resolution",), ("1/2 of the size, bicubic",)),
  Group("two tiles of nine", ("context_prediction",), ("tile and neighbour",)),
  Group("a turned image", ("rotation",), ("turned by 90°",)),
  Group(
    "the image itself", ("autoencode", "contractive", "conv_wta", "deep_infomax", "sparse", "vae", "wta"), ("original",)
  ),
)
# For sound, text, video, colours, transformers, labels or places.
ELSEWHERE = (
  "apc", "cbow", "colorize", "cpc_audio", "mae", "masked_words", "skipgram", "split_brain", "supervised",
  "temporal_colour", "vader",
)  # fmt: skip


def entries_of(run: Path) -> list[Entry]:
  """Of a comparison with LABELS labels: each method's frozen encoder, and the baselines."""
  rows = checks.read_results(run / "results.jsonl", (*checks.NEEDED, "experiment"))
  entries = [e for e in report.summarise(rows) if e.labels == LABELS and e.mode in ("frozen", *BASELINES)]
  if not entries:
    raise UserError(f"{run}: no rows with {LABELS} labels; name a directory of experiments.compare.")
  return entries


def photograph() -> np.ndarray:
  """f32 [SIDE,SIDE,3] in [0, 1]."""
  from matplotlib import cbook

  with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
    small = image.convert("RGB").crop(FACE).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
  return np.asarray(small, np.float32) / 255


def seen(group: Group, x: np.ndarray, dataset: Dataset) -> list[np.ndarray]:
  """What the methods of a group see of an image x [H,W,C]."""
  name = group.methods[0]
  made = pretext.build(name, nn.build(pretext.METHODS[name].encoder), {}, dataset.task)
  batch = {"x": jnp.asarray(x)[None]}
  params, state = made.init(jax.random.key(0), batch)
  assert made.show
  shown = made.show(params, state, jax.random.key(KEY), batch)
  return [np.clip(np.asarray(shown[row][0]), 0, 1) for row in group.rows]


def ranked(group: Group, entries: Sequence[Entry]) -> list[str]:
  """The group's methods, the best first."""
  means = {entry.method: entry.mean for entry in entries if entry.mode == "frozen"}
  return sorted((m for m in group.methods if m in means), key=lambda method: -means[method])


def draw(runs: Mapping[str, Sequence[Entry]], dataset: Dataset, path: Path) -> None:
  """runs: the name of a data set -> its entries; the first one's order the methods."""
  first = next(iter(runs.values()))
  groups = [(group, names) for group in GROUPS if (names := ranked(group, first))]
  best = {entry.method: entry.mean for entry in first if entry.mode == "frozen"}
  groups.sort(key=lambda pair: -best[pair[1][0]])
  heights = [max(PICTURES + 0.06, LINE * len(names) + 0.1) for _, names in groups]
  width, top, bottom = 9.6, 1.0, 0.86
  height = top + sum(heights) + bottom
  fig = style.figure(width, height)
  fig.set_layout_engine("none")
  digit, photo = np.asarray(dataset.train.x[DIGIT], np.float32) / 255, photograph()

  def box(left: float, y: float, w: float, h: float) -> "Axes":
    """Axes at so many inches from the left and from the top."""
    return fig.add_axes((left / width, 1 - (y + h) / height, w / width, h / height))

  def say(x: float, y: float, text: str, **look: Any) -> None:
    fig.text(x / width, 1 - y / height, text, **{"fontsize": 9, "va": "center", "color": style.INK, **look})

  say(SEEN, top - 0.12, "what it sees of a digit")
  say(SEEN + 2 * PICTURES + 0.68, top - 0.12, "of a photograph")
  places: dict[str, float] = {}
  y = top
  for (group, names), tall in zip(groups, heights, strict=True):
    say(0.08, y + 0.5 * tall, group.title)
    for left, x in ((SEEN, digit), (SEEN + 2 * PICTURES + 0.68, photo)):
      for image in seen(group, x, dataset):
        ax = box(left, y + 0.5 * (tall - PICTURES), PICTURES, PICTURES)
        ax.imshow(style.picture(image), cmap="gray", vmin=0, vmax=1)
        style.bare(ax, "#d4d9df", 0.5)
        left += PICTURES + 0.05
    first_line = y + 0.5 * (tall - LINE * len(names))
    for i, name in enumerate(names):
      places[name] = first_line + LINE * (i + 0.5)
      say(DOTS - 0.12, places[name], name, ha="right")
    y += tall
    if group is not groups[-1][0]:
      fig.add_artist(_rule(y, width, height))
  left, wide = DOTS, (width - DOTS - 0.1 - 0.2 * (len(runs) - 1)) / len(runs)
  for title, entries in runs.items():
    _dots(box(left, top, wide, sum(heights)), title, entries, {n: p - top for n, p in places.items()}, sum(heights))
    left += wide + 0.2
  say(0.08, height - 0.14, CAPTION, fontsize=8, color="#57606a")
  style.save(fig, path)
  with Image.open(path) as image:  # as few colours as do, for a page that loads fast
    image.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def _rule(y: float, width: float, height: float):
  from matplotlib.lines import Line2D

  return Line2D([0.08 / width, 1 - 0.1 / width], [1 - y / height] * 2, color="#e4e7eb", linewidth=0.8)


def _dots(ax: "Axes", title: str, entries: Sequence[Entry], places: Mapping[str, float], tall: float) -> None:
  ax.set_ylim(tall, 0)
  ax.set_yticks([])
  ax.set_title(title, fontsize=10, loc="left", pad=44)
  for entry in entries:
    mean = entry.score.factor * entry.mean
    if entry.mode in BASELINES:
      _, colour, dashes = BASELINES[entry.mode]
      ax.axvline(mean, color=colour, linestyle=dashes, linewidth=1, zorder=1)
      continue
    if entry.method not in places:
      continue
    low, high = (entry.score.factor * (v or entry.mean) for v in intervals.t_interval(entry.values))
    colour = {"better": style.RIGHT, "worse": style.WRONG}.get(entry.judgement, "#6b7580")
    whiskers = [[mean - low], [high - mean]]
    ax.errorbar(
      mean, places[entry.method], xerr=whiskers, fmt="o", color=colour, markersize=4.5, linewidth=1.3, zorder=3
    )
  _name_lines(ax, [entry for entry in entries if entry.mode in BASELINES])
  style.plain_axes(ax, "x")
  ax.spines["left"].set_visible(False)
  ax.set_xlabel(style.axis_label(statistics.shared_score(entries)), fontsize=9)
  ax.tick_params(labelsize=8)


def _name_lines(ax: "Axes", baselines: Sequence[Entry]) -> None:
  """The names of the vertical lines, above them, moved to the right where they would lie on each other."""
  low, high = ax.get_xlim()
  apart, free = 0.075 * (high - low), low
  for entry in sorted(baselines, key=lambda entry: entry.mean):
    name, colour, _ = BASELINES[entry.mode]
    mean = entry.score.factor * entry.mean
    free = max(mean, free)
    look = {"rotation": 40, "rotation_mode": "anchor", "fontsize": 8, "color": colour, "annotation_clip": False}
    ax.annotate(name, (free, 0), (0, 3), textcoords="offset points", **look)
    free += apart
  ax.set_xlim(low, high)


def main(runs: Sequence[Path]) -> None:
  """Draws the picture of these comparisons, the first of which orders the methods."""
  named = {f"{entries[0].dataset}, {LABELS} labels": entries for entries in map(entries_of, runs)}
  draw(named, data.load("mnist"), PICTURE)
  print(PICTURE)


if __name__ == "__main__":
  if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
    raise SystemExit(__doc__)
  try:
    main([Path(argument) for argument in sys.argv[1:]])
  except UserError as error:
    raise SystemExit(f"error: {error}") from None
