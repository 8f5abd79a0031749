"""Pictures of a run, each a matplotlib Figure made without pyplot, so there is no global state and no display.

Accuracies come in as fractions and are drawn in percent. `summary` is what `sslx.report.summarise` returns.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

# Okabe & Ito, "Color Universal Design", 2008: told apart by colour-blind eyes. Greys for what learnt nothing.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
GREYS = {
  "raw": ("#D0D0D0", "#909090"),
  "random": ("#A0A0A0", "#707070"),
  "scratch": ("#606060", "#202020"),
}  # fill, line
HATCHES = ("", "//", "..", "xx", "||", "--", "oo", "++")
DASHES = ("-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = "osD^vP*X"
INK, RIGHT, WRONG = "#1c2128", "#00734f", "#b83a00"

MAX_COLUMNS, MAX_ROWS = 10, 12  # of pictures


def save(fig: Figure, path: str | os.PathLike[str]) -> Path:
  """Writes `fig` as a PNG of 120 dots per inch, cut to its contents, atomically; makes the folder. Returns the path."""
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  fig.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
  os.replace(temporary, path)
  return path


def loss_curve(metrics_rows: Sequence[Mapping[str, Any]]) -> Figure:
  """The loss against the step, with every other scalar of the rows in a small axis of its own below.

  What the rows call heldout_NAME is drawn over NAME. Long series are drawn pale, with their running mean over them. Of rows that share a step, as after a resumption, the
  last counts; values that are null are left out.
  """
  from matplotlib.ticker import MaxNLocator

  series = _metric_series(metrics_rows)
  held = {f"heldout_{name}" for name in series} & series.keys()
  names = sorted(
    (n for n in series if n not in held), key=lambda name: name != "loss"
  )  # stable: the loss first, the others as first seen
  small = names[1:]
  columns = {0: 1, 1: 1, 2: 2, 4: 2}.get(len(small), 3)
  lines = -(-len(small) // columns)
  fig = _figure(7.5, 3.4 + 1.9 * lines)
  grid = fig.add_gridspec(1 + lines, columns, height_ratios=[3.4] + [1.9] * lines)
  if not names:
    _say(fig, "no metrics yet")
  for index, name in enumerate(names):
    cell = grid[0, :] if index == 0 else grid[1 + (index - 1) // columns, (index - 1) % columns]
    ax = fig.add_subplot(cell)
    _draw_series(ax, *series[name])
    if f"heldout_{name}" in held:
      style = {"color": COLOURS[5], "linewidth": 1.4, "marker": "s", "markersize": 2.5}
      ax.plot(*series[f"heldout_{name}"], label="held-out images", **style)
      ax.legend(fontsize=9 if index == 0 else 7, frameon=False)
    ax.set_title(_escape(name.replace("_", " ")), fontsize=11 if index == 0 else 9, loc="left")
    ax.set_xlabel("step", fontsize=9)
    ax.xaxis.set_major_locator(MaxNLocator(6 if index == 0 else 4, integer=True))
    ax.tick_params(labelsize=9 if index == 0 else 8)
  return fig


def accuracy_bars(summary: Sequence[Mapping[str, Any]]) -> Figure:
  """A group of bars per number of labels, a bar per mode: its mean, an error bar of one sample standard deviation and a
  dot per seed. A dashed line marks the baseline. The axis need not start at zero, so each bar carries its value."""
  styles = _styles(summary)
  counts = sorted({entry["labels"] for entry in summary})
  fig = _figure(max(5.0, 1.4 + 0.62 * len(styles) * len(counts)), 4.2)
  if not summary:
    _say(fig, "no results yet")
    return fig
  ax = fig.add_subplot()
  values = 100 * np.concatenate([entry["accuracies"] for entry in summary])
  span = max(float(np.ptp(values)), 4.0)
  floor = max(0.0, np.floor(values.min() - 0.35 * span))
  baselines = []
  for group, count in enumerate(counts):
    entries = {_name(entry, summary): entry for entry in summary if entry["labels"] == count}
    shown = [name for name in styles if name in entries]
    places = group + 0.84 * ((np.arange(len(shown)) + 0.5) / len(shown) - 0.5)
    width = 0.84 / len(shown)
    for x, name in zip(places, shown, strict=True):
      entry, style = entries[name], styles[name]
      mean = 100 * entry["mean"]
      fill = {"color": style["color"], "hatch": style["hatch"], "edgecolor": "white", "linewidth": 0.5}
      ax.bar(x, mean - floor, 0.92 * width, bottom=floor, label=_escape(name), zorder=2, **fill)
      if entry["std"] is not None:
        ax.errorbar(x, mean, 100 * entry["std"], color=INK, capsize=4, linewidth=1.3, zorder=4)
      spread = np.linspace(-0.28, 0.28, entry["n"]) * width if entry["n"] > 1 else 0 * np.ones(1)
      dots = {"s": 14, "facecolor": "white", "edgecolor": INK, "linewidth": 0.8, "zorder": 5}
      ax.scatter(x + spread, 100 * np.array(entry["accuracies"]), **dots)
      value = {"ha": "center", "va": "bottom", "fontsize": 9, "color": INK, "zorder": 6}
      box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
      ax.annotate(f"{mean:.1f}", (x, floor), (0, 4), textcoords="offset points", bbox=box, **value)
      if entry["mode"] == entry["baseline"]:
        baselines.append((mean, group))
  for mean, group in baselines:
    ax.hlines(mean, group - 0.45, group + 0.45, color=INK, linestyle="--", linewidth=1, zorder=3)
  top = max(values.max(), max(100 * (entry["mean"] + (entry["std"] or 0)) for entry in summary))
  ax.set_ylim(floor, min(top + 0.06 * span, max(100.0, top) + 0.8))
  ax.set_xlim(-0.5, len(counts) - 0.5)
  ax.set_xticks(range(len(counts)), [f"{count:,}" for count in counts])
  ax.tick_params(axis="x", length=0)
  ax.set_xlabel("labels")
  ax.set_ylabel("test accuracy (%)" + (f"\naxis starts at {floor:g}" if floor else ""))
  _plain_axes(ax, "y")
  handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))  # one per mode, not one per bar
  if baselines:
    from matplotlib.lines import Line2D

    handles[f"{summary[0]['baseline']} mean"] = Line2D([], [], color=INK, linestyle="--", linewidth=1)
  _legend(fig, handles)
  return fig


def label_curve(
  summary: Sequence[Mapping[str, Any]], spans: Sequence[tuple[float, float, float, str]] = ()
) -> Figure | None:
  """Accuracy against the number of labels (logarithmic), a line per mode, with a band of one sample standard deviation
  either side; None where there are fewer than two numbers of labels and so no curve.

  spans: (labels, labels, accuracy, text), each an arrow from the first to the second, or to the edge of the plot where
  the second lies beyond it.
  """
  from matplotlib.ticker import NullLocator

  counts = sorted({entry["labels"] for entry in summary})
  if len(counts) < 2:
    return None
  fig = _figure(7.0, 4.4)
  ax = fig.add_subplot()
  for name, style in _styles(summary).items():
    entries = sorted((e for e in summary if _name(e, summary) == name), key=lambda entry: entry["labels"])
    x = [entry["labels"] for entry in entries]
    mean = 100 * np.array([entry["mean"] for entry in entries])
    std = 100 * np.array([entry["std"] or 0.0 for entry in entries])
    line = {"color": style["line"], "linestyle": style["linestyle"], "marker": style["marker"]}
    ax.plot(x, mean, label=_escape(name), linewidth=1.8, markersize=5, **line)
    ax.fill_between(x, mean - std, mean + std, color=style["line"], alpha=0.15, linewidth=0)
  ax.set_xscale("log")
  for begin, end, accuracy, text in spans:
    _draw_span(ax, begin, min(end, max(counts)), 100 * accuracy, text)
  ax.xaxis.set_minor_locator(NullLocator())
  ax.set_xticks(counts, [f"{count:,}" for count in counts])
  ax.set_xlabel("labels (logarithmic)")
  ax.set_ylabel("test accuracy (%)")
  _plain_axes(ax)
  handles, names = ax.get_legend_handles_labels()
  _legend(fig, dict(zip(names, handles, strict=True)))
  return fig


def method_dots(summary: Sequence[Mapping[str, Any]]) -> Figure:
  """A panel per data set and number of labels, a line per method, a dot per mode with one sample standard deviation
  either side.

  Entries of the method "none" are vertical lines: raw pixels, the random encoder and training from scratch.
  """
  methods = list(dict.fromkeys(entry["method"] for entry in summary if entry["method"] != "none"))
  modes = list(dict.fromkeys(entry["mode"] for entry in summary if entry["method"] != "none"))
  datasets = list(dict.fromkeys(entry["dataset"] for entry in summary))
  places = sorted(
    {(entry["dataset"], entry["labels"]) for entry in summary}, key=lambda p: (datasets.index(p[0]), p[1])
  )
  columns = min(len(places), 2) or 1
  lines = -(-len(places) // columns) or 1
  fig = _figure(1.6 + 4.2 * columns, (0.8 + 0.36 * len(methods)) * lines + 0.6)
  if not methods:
    _say(fig, "no results yet")
    return fig
  handles: dict[str, Any] = {}
  panels = fig.subplots(lines, columns, squeeze=False, sharey=True).ravel()
  for ax, (dataset, count) in zip(panels, places, strict=False):
    for entry in summary:
      if (entry["dataset"], entry["labels"]) != (dataset, count):
        continue
      mean, std = 100 * entry["mean"], 100 * (entry["std"] or 0.0)
      if entry["method"] == "none":
        dashes = {"raw": ":", "random": "--", "scratch": "-."}.get(entry["mode"], "-")
        handles[entry["mode"]] = ax.axvline(mean, color=GREYS["scratch"][1], linestyle=dashes, linewidth=1.2, zorder=1)
      else:
        index = modes.index(entry["mode"])
        place = methods.index(entry["method"]) + 0.6 * ((index + 0.5) / len(modes) - 0.5)
        style = {"color": COLOURS[index % len(COLOURS)], "fmt": MARKERS[index % len(MARKERS)], "markersize": 5}
        handles[entry["mode"]] = ax.errorbar(mean, place, xerr=std, capsize=2, linewidth=1, zorder=3, **style)
    title = f"{count:,} labels" if len(datasets) == 1 else f"{dataset}, {count:,} labels"
    ax.set_title(_escape(title), fontsize=11, loc="left")
    ax.set_yticks(range(len(methods)), [_escape(name) for name in methods])
    ax.set_ylim(len(methods) - 0.5, -0.5)
    ax.set_xlabel("test accuracy (%)", fontsize=9)
    _plain_axes(ax)
  for ax in fig.axes[len(places) :]:
    ax.set_axis_off()
  _legend(fig, handles)
  return fig


def picture_rows(pictures: Mapping[str, Any]) -> Figure:
  """Rows of pictures, such as clean, noisy and restored, each with its title at the left.

  Args:
    pictures: {title: float[B, H, W, C] or float[B, H, W] in [0, 1], C of 1 (grey), 3 or 4 (colour)}; the first 10
      pictures of the first 12 rows are drawn, and values outside [0, 1] are clipped.

  Raises:
    ValueError: an array of another shape.
  """
  strips = {title: _strip(title, images) for title, images in list(pictures.items())[:MAX_ROWS]}
  if not strips:
    fig = _figure(4, 1)
    _say(fig, "no pictures")
    return fig
  # The widest row sets the scale, and each row's height follows from its own shape.
  shapes = [strip.shape[:2] for strip in strips.values()]
  columns = max(min(len(images), MAX_COLUMNS) for images in pictures.values())
  width = max(2.0, 0.85 * columns)
  heights = [width * height / wide for height, wide in shapes]
  fig = _figure(width + 1.3, sum(heights) + 0.06 * len(heights))
  axes = fig.subplots(len(strips), 1, squeeze=False, height_ratios=heights)[:, 0]
  for ax, (title, strip) in zip(axes, strips.items(), strict=True):
    ax.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _bare(ax)
    ax.set_ylabel(_escape(_wrap(title)), rotation=0, ha="right", va="center", fontsize=10, labelpad=6)
  return fig


def predictions(
  images: Any, labels: Any, predicted: Any, class_names: Sequence[str], confidence: Any | None = None
) -> Figure:
  """A grid of samples, each marked right (a green tick) or wrong (a red cross, with the true class).

  Args:
    images: u8[B, H, W, C] or u8[B, H, W]; the first 40 are drawn.
    labels: int[B], the true classes.
    predicted: int[B].
    class_names: one per class.
    confidence: float[B] in [0, 1], of the predicted class, or None.
  """
  images, labels, predicted = (np.asarray(array)[:40] for array in (images, labels, predicted))
  cell, most = (1.25, 8) if max(map(len, map(_short, class_names))) <= 5 else (1.65, 6)  # room for long names
  columns = min(most, max(1, len(images)))
  lines = max(1, -(-len(images) // columns))
  fig = _figure(max(3, cell * columns), (cell + 0.4) * lines + 0.45)
  right = int((labels == predicted).sum())
  fig.suptitle(f"{right} of these {len(images)} samples right", fontsize=11, x=0.01, ha="left")
  axes = fig.subplots(lines, columns, squeeze=False).ravel()
  for ax in axes[len(images) :]:
    ax.set_axis_off()
  for index, (image, label, guess) in enumerate(zip(images, labels, predicted, strict=True)):
    ax, good = axes[index], label == guess
    ax.imshow(_image(image) / 255, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _bare(ax, RIGHT if good else WRONG, 1.5 if good else 3)
    sure = "" if confidence is None else f" ({100 * float(np.asarray(confidence)[index]):.0f}%)"
    first = f"{'✓' if good else '✗'} {_short(class_names[guess])}{sure}"
    second = "" if good else f"true: {_short(class_names[label])}"
    colour = RIGHT if good else WRONG
    ax.set_xlabel(
      _escape(f"{first}\n{second}"), fontsize=10 if most == 8 else 9, color=colour, labelpad=3, linespacing=1.15
    )
    ax.xaxis.label.set_fontweight("normal" if good else "bold")
  return fig


def confusion_counts(labels: Any, predicted: Any, classes: int) -> np.ndarray:
  """i64[classes, classes]: how many samples of the true class (row) were given the predicted class (column).

  Args:
    labels: int[B] in [0, classes).
    predicted: int[B] in [0, classes).
    classes: how many classes there are.
  """
  flat = np.asarray(labels, np.int64) * classes + np.asarray(predicted, np.int64)
  return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def confusion(labels: Any, predicted: Any, class_names: Sequence[str]) -> Figure:
  """The confusion matrix, true classes down and predicted ones across: shades are shares of the true class (rows sum to
  one), numbers are counts (left out above 20 classes), and the accuracy stands in the title.

  Args:
    labels: int[B], the true classes.
    predicted: int[B].
    class_names: one per class.
  """
  classes = len(class_names)
  counts = confusion_counts(labels, predicted, classes)
  totals = counts.sum(1, keepdims=True)
  shares = counts / np.maximum(totals, 1)
  size = float(np.clip(0.55 * classes, 3.2, 9))
  fig = _figure(size + 1.9, size + 1.1)
  ax = fig.add_subplot()
  shades = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
  fig.colorbar(shades, ax=ax, shrink=0.8, label="share of the true class")
  if classes <= 20:
    for row, column in zip(*np.nonzero(counts), strict=True):
      colour = "white" if shares[row, column] > 0.55 else INK
      number = {"ha": "center", "va": "center", "fontsize": 9 if counts.max() < 10_000 else 7, "color": colour}
      ax.text(column, row, str(counts[row, column]), **number)
  step = -(-classes // 40)  # past forty, names would run into each other
  ticks = range(0, classes, step)
  names = [_escape(_short(class_names[tick])) for tick in ticks]
  fontsize = 9 if classes <= 20 else 7
  steep = classes > 20 or max(map(len, names)) > 3
  ax.set_xticks(ticks, names, fontsize=fontsize, rotation=90 if steep else 0)
  ax.set_yticks(ticks, names, fontsize=fontsize)
  ax.set_xlabel("predicted")
  ax.set_ylabel("true")
  accuracy = f"{100 * np.trace(counts) / counts.sum():.1f}% of {counts.sum():,}" if counts.sum() else "no samples"
  ax.set_title(f"accuracy: {accuracy}", fontsize=11, loc="left")
  ax.spines[:].set_visible(False)
  return fig


# ---- the parts they share --------------------------------------------------------------------------------------------


def _figure(width: float, height: float) -> Figure:
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


def _say(fig: Figure, text: str) -> None:
  fig.text(0.5, 0.5, text, ha="center", va="center", fontsize=12, color=INK)


def _legend(fig: Figure, handles: Mapping[str, Any]) -> None:
  """Below the axes, in lines of about the same length."""
  room = max(1, int(fig.get_figwidth() / (0.7 + 0.08 * max(map(len, handles)))))
  columns = -(-len(handles) // -(-len(handles) // room))
  fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _plain_axes(ax: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
  ax.spines[["top", "right"]].set_visible(False)
  ax.grid(axis=grid, color="#e4e7eb", zorder=0)


def _bare(ax: Axes, edge: str | None = None, linewidth: float = 1.0) -> None:
  """No ticks; no frame either, unless it has a colour."""
  ax.set_xticks([])
  ax.set_yticks([])
  ax.spines[:].set_visible(edge is not None)
  if edge:
    ax.spines[:].set(edgecolor=edge, linewidth=linewidth)


def _name(entry: Mapping[str, Any], summary: Sequence[Mapping[str, Any]]) -> str:
  """The mode, and before it whichever of method, dataset and encoder differ within the summary."""
  varying = [key for key in ("method", "dataset", "encoder") if len({other[key] for other in summary}) > 1]
  return " ".join(str(entry[key]) for key in [*varying, "mode"] if entry[key] != "none")


def _styles(summary: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
  """{name: style} in the order first seen. Colour tells modes apart and hatching or dashes tell methods apart, or the
  other way round where methods outnumber modes; what learnt nothing is grey."""
  pairs = list(dict.fromkeys((_name(entry, summary), entry["mode"], _family(entry)) for entry in summary))
  modes = list(dict.fromkeys(mode for _, mode, _ in pairs if mode not in GREYS))
  families = list(dict.fromkeys(family for _, mode, family in pairs if mode not in GREYS))
  styles = {}
  for index, (name, mode, family) in enumerate(pairs):
    if mode in GREYS:
      (fill, line), twin = GREYS[mode], [f for _, m, f in pairs if m == mode].index(family)
    else:
      places = modes.index(mode), families.index(family)
      colour, twin = places if len(modes) >= len(families) else reversed(places)
      fill = line = COLOURS[colour % len(COLOURS)]
    styles[name] = {
      "color": fill,
      "line": line,
      "hatch": HATCHES[twin % len(HATCHES)],
      "marker": MARKERS[index % len(MARKERS)],
      "linestyle": {"raw": ":", "random": "--", "scratch": "-."}.get(mode, DASHES[twin % len(DASHES)]),
    }
  return styles


def _family(entry: Mapping[str, Any]) -> tuple[Any, ...]:
  return tuple(entry[key] for key in ("method", "dataset", "encoder"))


def _metric_series(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """{name: (steps, values)}, steps ascending."""
  series: dict[str, dict[int, float]] = {}
  for row in rows:
    for name, value in row.items():
      number = isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)
      if name != "step" and number and "step" in row:
        series.setdefault(name, {})[row["step"]] = float(value)
  return {
    name: (np.array(sorted(points)), np.array([points[step] for step in sorted(points)]))
    for name, points in series.items()
  }


def _draw_series(ax: Axes, steps: np.ndarray, values: np.ndarray) -> None:
  _plain_axes(ax)
  if len(values) < 40:
    ax.plot(steps, values, color=COLOURS[0], linewidth=1.6, marker="o", markersize=3)
  else:
    ax.plot(steps, values, color="#9cc4de", linewidth=0.8)
    ax.plot(steps, _running_mean(values, max(5, len(values) // 25)), color="#00517f", linewidth=1.8)
  if values.min() > 0 and values.max() > 50 * values.min():
    ax.set_yscale("log")


def _draw_span(ax: Axes, begin: float, end: float, height: float, text: str) -> None:
  arrow = {"arrowstyle": "->", "color": INK, "linewidth": 1.1, "linestyle": "--", "shrinkA": 0, "shrinkB": 0}
  ax.annotate("", (end, height), (begin, height), arrowprops=arrow, zorder=6)
  box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
  place = {"textcoords": "offset points", "ha": "center", "va": "top", "fontsize": 9, "color": INK, "bbox": box}
  ax.annotate(text, (float(np.sqrt(begin * end)), height), (0, -7), **place)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
  """The mean over `window` neighbours. Near the start, where a loss falls fast, the window narrows on both sides, so a
  slope is not bent; near the end, where it is flat, on the right side only, so the last value is no single draw."""
  sums = np.concatenate([[0.0], np.cumsum(values)])
  place = np.arange(len(values))
  reach = np.minimum(place, window // 2)
  first, last = place - reach, np.minimum(place + reach + 1, len(values))
  return (sums[last] - sums[first]) / (last - first)


def _image(image: Any) -> np.ndarray:
  """[H, W, 1] or [H, W] -> [H, W]; [H, W, 3 or 4] stays."""
  image = np.asarray(image, np.float32)
  return image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image


def _strip(title: str, images: Any) -> np.ndarray:
  """[B, H, W(, C)] -> [H, width(, 3 or 4)]: the first ten side by side, a white gap between them."""
  images = np.asarray(images, np.float32)[:MAX_COLUMNS]
  if images.ndim == 3:
    images = images[..., None]
  if images.ndim != 4 or 0 in images.shape or images.shape[-1] not in (1, 3, 4):
    raise ValueError(f"{title}: images of shape {images.shape}; expected [B, H, W, C] with C of 1, 3 or 4")
  images = np.clip(np.nan_to_num(images), 0, 1)
  gap = max(1, images.shape[2] // 14)
  padded = np.pad(images, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=1)
  return _image(np.concatenate(list(padded), axis=1)[:, :-gap])


def _short(name: Any, limit: int = 12) -> str:
  name = str(name)
  return name if len(name) <= limit else name[: limit - 1] + "…"


def _wrap(title: str) -> str:
  import textwrap

  return textwrap.fill(title.replace("_", " "), 14)


def _escape(text: str) -> str:
  return text.replace("$", r"\$")  # matplotlib would read a pair of dollars as mathematics
