"""The tables and sentences that are made from the rows of results.

Every number in a table or sentence is computed here from the rows of `sslx.report.records`; none is typed by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sslx.report.records import Row
from sslx.types import UserError

if TYPE_CHECKING:
  from rich.table import Table

Cells = tuple[list[str], list[list[str]]]  # headers, rows of text

KEYS = ("method", "dataset", "encoder", "labels", "mode")
REFERENCES = {
  "raw": "a probe on the raw pixels",
  "random": "a frozen untrained encoder",
  "raw+propagate": "label propagation over raw pixels",
  "raw+propagate:cmn": "the same with class-mass normalisation",
  "raw+self_train": "self-training from random weights and labels propagated over raw pixels",
}  # the rows that keep it honest


# ---- summary ---------------------------------------------------------------------------------------------------------


def summarise(rows: Iterable[Mapping[str, Any]], baseline: str = "scratch") -> list[Row]:
  """One entry per (method, dataset, encoder, labels, mode): labels ascending, the rest in the order first seen.

  An entry holds these five, and
    n, seeds, accuracies: the subset seeds and their accuracies (fractions); of rows that share a seed, the last counts
    mean, std: of the accuracies; std is the sample standard deviation (ddof=1), None for one seed
    baseline, difference, low, high, pairs: mean of (accuracy - baseline's accuracy) over the `pairs` subset seeds that
      both have, and its two-sided 95% interval by Student's t with pairs - 1 degrees of freedom (Student, "The probable
      error of a mean", 1908); None where there is nothing to pair, low and high None for fewer than two pairs
    parameters_total, parameters_trainable, parameters_frozen: counts of the last row, None if not recorded
    seconds: mean over seeds, None if not recorded
    runs: how many seeds of pretraining there are among the rows

  The baseline is the one of the same dataset, labels and encoder, and of the same method where there is one.

  Raises:
    UserError: a row without mode, labels, subset_seed or a finite test_accuracy.
  """
  groups: dict[tuple, dict[int, Mapping[str, Any]]] = {}
  for number, row in enumerate(rows, 1):
    for name in ("mode", "labels", "subset_seed", "test_accuracy"):
      if row.get(name) is None or row[name] != row[name]:
        raise UserError(f"results row {number}: {name} is missing; was it written by another program?")
    key = tuple(row.get(name, "") for name in KEYS)
    groups.setdefault(key, {})[row["subset_seed"]] = row
  families = _unique(key[:3] for key in groups)
  modes = _unique(key[4] for key in groups)
  order = sorted(groups, key=lambda key: (families.index(key[:3]), key[3], modes.index(key[4])))
  return [_entry(key, groups, baseline) for key in order]


def _entry(key: tuple, groups: Mapping[tuple, Mapping[int, Mapping[str, Any]]], baseline: str) -> Row:
  own = groups[key]
  accuracy = {seed: float(own[seed]["test_accuracy"]) for seed in sorted(own)}
  accuracies = list(accuracy.values())
  other = groups.get(_reference(groups, key, baseline), {}) if key[4] != baseline else {}
  differences = [accuracy[seed] - float(other[seed]["test_accuracy"]) for seed in accuracy if seed in other]
  low, high = t_interval(differences)
  last = list(own.values())[-1]
  total, trainable = last.get("parameters_total"), last.get("parameters_trainable")
  seconds = [row["seconds"] for row in own.values() if row.get("seconds") is not None]
  return {
    **dict(zip(KEYS, key, strict=True)),
    "n": len(accuracy),
    "seeds": list(accuracy),
    "accuracies": accuracies,
    "mean": float(np.mean(accuracies)),
    "std": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
    "baseline": baseline,
    "pairs": len(differences),
    "difference": float(np.mean(differences)) if differences else None,
    "low": low,
    "high": high,
    "parameters_total": total,
    "parameters_trainable": trainable,
    "parameters_frozen": None if total is None or trainable is None else total - trainable,
    "seconds": float(np.mean(seconds)) if seconds else None,
    "runs": len({row.get("seed") for row in own.values()}),
  }


def t_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
  """The two-sided 95% interval of the mean of `values` by Student's t; (None, None) of fewer than two."""
  from scipy.stats import t

  if len(values) < 2:
    return None, None
  half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
  return float(np.mean(values) - half), float(np.mean(values) + half)


def gain(differences: Sequence[float]) -> tuple[str, float, float]:
  """("+5.7 points [+4.9, +6.5]", 0.049, 0.065): the mean of differences between accuracies, two at least, and its 95%
  interval by Student's t."""
  low, high = t_interval(differences)
  assert low is not None
  assert high is not None
  return f"{_points(float(np.mean(differences)))} points {interval(low, high)}", low, high


def binomial_interval(right: int, of: int) -> tuple[float, float]:
  """The 95% interval of an accuracy of which `of` test images are a sample (Wilson, "Probable inference, the law of
  succession, and statistical inference", 1927)."""
  from scipy.stats import binomtest

  found = binomtest(right, of).proportion_ci(0.95, "wilson")
  return float(found.low), float(found.high)


def _reference(keys: Iterable[tuple], key: tuple, mode: str) -> tuple:
  """The key of `mode` that `key` may be held against. Neither `scratch`, `raw` nor `random` depends on the pretext, so
  another method's will do; raw pixels do not depend on the encoder either. () if there is none."""
  method, dataset, encoder, labels, _ = key
  fits = [k for k in keys if (k[1], k[3], k[4]) == (dataset, labels, mode) and (k[2] == encoder or mode[:3] == "raw")]
  return min(fits, key=lambda k: (k[0] != method, k[2] != encoder), default=())


def _unique(values: Iterable[Any]) -> list[Any]:
  return list(dict.fromkeys(values))


# ---- sentences -------------------------------------------------------------------------------------------------------


def verdict(summary: Sequence[Row]) -> list[str]:
  """Plain sentences: each mode against the baseline, then each mode that raw pixels or a random encoder match, then
  what the intervals do not cover. All computed from `summarise`'s entries."""
  return [*comparisons(summary), *doubts(summary), *caveats(summary)]


def comparisons(summary: Sequence[Row]) -> list[str]:
  """Each mode against the baseline, in one sentence each."""
  if not summary:
    return ["There are no results yet."]
  compared = [entry for entry in summary if entry["mode"] not in (entry["baseline"], *REFERENCES)]
  return [_comparison(entry, summary) for entry in compared] or ["There is no pretrained encoder to judge yet."]


def _comparison(entry: Row, summary: Sequence[Row]) -> str:
  name, baseline, at = name_of(entry, summary), entry["baseline"], f"at {_labels(entry)}"
  if entry["difference"] is None:
    keys = [_key(other) for other in summary]
    if not _reference(keys, _key(entry), baseline):
      return f"{name}: there is no {baseline} row {at}: not compared."
    return f"{name}: no labelled subset in common with {baseline} {at}: not compared."
  over = "over" if entry["difference"] >= 0 else "against"
  start = f"{name}: {_points(entry['difference'])} points {over} {baseline} {at}"
  if entry["low"] is None:
    return f"{start}, on one labelled subset: too few for an interval, so no claim."
  start += f", 95% CI {interval(entry['low'], entry['high'])}"
  if entry["low"] > 0:
    return f"{start}: better."
  if entry["high"] < 0:
    return f"{start}: worse."
  return f"{start}: the interval includes zero: no measurable difference."


def best(summary: Sequence[Row]) -> list[str]:
  """For each data set and number of labels, the sentence of the pretrained encoder with the highest mean accuracy."""
  sentences = []
  for place in _unique((entry["dataset"], entry["labels"]) for entry in summary):
    mine = [
      e for e in summary if (e["dataset"], e["labels"]) == place and e["mode"] not in (e["baseline"], *REFERENCES)
    ]
    if mine:
      winner = max(mine, key=lambda entry: entry["mean"])
      sentences.append(f"{100 * winner['mean']:.1f}%: {_comparison(winner, summary)}")
  return sentences


def against(rows: Iterable[Mapping[str, Any]], baseline: str, mode: str = "frozen") -> dict[int, str]:
  """{labels: which methods' `mode` lies above, below or level with `baseline`, by the 95% intervals}, in one sentence."""
  sentences, summary = {}, summarise(rows, baseline)
  several = "dataset" in _varying(summary)
  for labels in _unique(entry["labels"] for entry in summary):
    groups: dict[str, list[str]] = {"better": [], "no measurable difference": [], "worse": []}
    for entry in summary:
      if (entry["labels"], entry["mode"]) != (labels, mode) or entry["low"] is None:
        continue
      verdict = "better" if entry["low"] > 0 else "worse" if entry["high"] < 0 else "no measurable difference"
      where = f" on {entry['dataset']}" if several else ""
      groups[verdict].append(f"{entry['method']}{where} ({_points(entry['difference'])})")
    said = [f"{verdict}: {', '.join(names)}" for verdict, names in groups.items() if names]
    if said:
      sentences[labels] = f"{mode.capitalize()} against {baseline} at {labels:,} labels, in points: {'; '.join(said)}."
  return sentences


def doubts(summary: Sequence[Row]) -> list[str]:
  """Each mode that raw pixels or a random encoder match."""
  by_key = {_key(entry): entry for entry in summary}
  sentences = []
  for entry in summary:
    if entry["mode"] in REFERENCES:
      continue
    for mode, meaning in REFERENCES.items():
      other = by_key.get(_reference(by_key, _key(entry), mode))
      if other is not None and entry["mean"] <= other["mean"]:
        means = f"{100 * entry['mean']:.1f}% against {100 * other['mean']:.1f}%"
        sentences.append(
          f"{name_of(entry, summary)} does not beat {mode} ({meaning}) at {_labels(entry)}: mean {means}."
        )
  return sentences


def caveats(summary: Sequence[Row]) -> list[str]:
  """What the intervals do not cover."""
  compared = [entry for entry in summary if entry["low"] is not None]
  if not compared:
    return []
  if all(entry["runs"] == entry["n"] for entry in compared):
    text = "Each seed has a pretraining run of its own: an interval covers both it and the choice of labelled subsets."
  else:
    text = (
      "The seeds share one pretraining run: an interval covers the choice of labelled subsets, and the pretraining seed "
      "is fixed."
    )
  return [
    text + (" Each interval stands for itself, unadjusted for the number of comparisons." if len(compared) > 1 else "")
  ]


# ---- tables ----------------------------------------------------------------------------------------------------------

RESULTS_NOTE = (
  "Test accuracy: mean ± sample standard deviation over labelled subsets (seeds). Difference: paired by subset, with its "
  "95% interval by Student's t, in points."
)
PARAMETERS_NOTE = "Frozen parameters get no update; trainable ones do."


def results_table(summary: Sequence[Row]) -> Table:
  """A rich table of accuracies in percent, `86.3 ± 1.0`, and differences in points, `+3.1 [+1.9, +4.3]`."""
  return table("Test accuracy" + _shared(summary), results_cells(summary), RESULTS_NOTE)


def parameters_table(summary: Sequence[Row]) -> Table:
  """A rich table of the parameters, all, trainable and frozen, of each mode."""
  return table("Parameters" + _shared(summary), parameters_cells(summary), None)


def markdown(table: Table) -> str:
  """A rich table, without its title and caption, as a GitHub-flavoured markdown table that ends in a newline."""
  from io import StringIO

  from rich import box
  from rich.console import Console
  from rich.table import Table
  from rich.text import Text

  def cell(value: Any) -> Text:  # a pipe or a line break in a name would end the cell
    return Text(str(value).replace("|", "\\|").replace("\n", " "))

  copy = Table(box=box.MARKDOWN)
  for column in table.columns:
    copy.add_column(cell(column.header), justify=column.justify)
  for row in zip(*(column.cells for column in table.columns), strict=True):
    copy.add_row(*map(cell, row))
  text = StringIO()
  Console(file=text, width=10_000, color_system=None).print(copy)
  return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines()) + "\n"


def table(title: str, cells: Cells, note: str | None = None) -> Table:
  """A rich table of any headers and rows of text; `note` stands below it."""
  from rich import box
  from rich.table import Table
  from rich.text import Text

  table = Table(
    title=Text(title),
    caption=note and Text(note),
    box=box.SIMPLE_HEAD,
    padding=(0, 1, 0, 0),
    pad_edge=False,
    title_justify="left",
  )
  table.caption_justify = "left"
  for header, number in zip(cells[0], numeric(cells), strict=True):
    table.add_column(Text(header), justify="right" if number else "left", overflow="fold", no_wrap=not number)
  for row in cells[1]:
    table.add_row(*map(Text, row))  # Text: a name like [red] is a name, not markup
  return table


def numeric(cells: Cells) -> list[bool]:
  """Which columns hold numbers, and are set flush right."""
  columns = [[row[column] for row in cells[1] if row[column]] for column in range(len(cells[0]))]
  return [bool(column) and all(cell[0].isdigit() or cell[0] in "+-" for cell in column) for column in columns]


def results_cells(summary: Sequence[Row]) -> Cells:
  """One line an entry: what it is, its accuracy, and its difference to the baseline with its interval."""
  varying = _varying(summary)
  baseline = summary[0]["baseline"] if summary else "baseline"
  headers = [*varying, "labels", "mode", "accuracy %", f"vs {baseline} [95% CI]", "seeds", "seconds"]
  rows = []
  for entry in summary:
    accuracy, difference = accuracy_text(entry), difference_text(entry)
    seconds = "" if entry["seconds"] is None else f"{entry['seconds']:.1f}"
    names = [str(entry[key]) for key in varying]
    rows.append([*names, f"{entry['labels']:,}", str(entry["mode"]), accuracy, difference, str(entry["n"]), seconds])
  return headers, rows


def parameters_cells(summary: Sequence[Row]) -> Cells:
  """One line a mode: its parameters, all, trainable and frozen; the same for every number of labels."""
  varying = _varying(summary)
  headers = [*varying, "mode", "total", "trainable", "frozen", "trainable share"]
  rows = []
  for entry in summary:
    counts = [entry[f"parameters_{kind}"] for kind in ("total", "trainable", "frozen")]
    share = f"{100 * counts[1] / counts[0]:.1f}%" if counts[0] and counts[1] is not None else ""
    numbers = ["" if count is None else f"{count:,}" for count in counts]
    rows.append([*(str(entry[key]) for key in varying), str(entry["mode"]), *numbers, share])
  return headers, [list(row) for row in _unique(map(tuple, rows))]  # the same for every number of labels


def methods_cells(summary: Sequence[Row], labels: int) -> Cells:
  """One line a method at one number of labels, a column a mode: `86.3 ± 1.0`.

  An arrow says that the 95% interval of the difference to the baseline, paired by subset, lies above (↑) or below (↓)
  zero. Entries of the method "none" are the references: raw pixels and the random encoder stand in the column of the
  frozen encoders, scratch in that of `full`, from which they differ in nothing but the pretraining. Of several data
  sets, each has columns of its own: `digits frozen`.
  """
  entries = [entry for entry in summary if entry["labels"] == labels]
  several = "dataset" in _varying(summary)

  def column(entry: Row, mode: str) -> str:
    return f"{entry['dataset']} {mode}" if several else mode

  modes = _unique(column(entry, entry["mode"]) for entry in entries if entry["method"] != "none")
  scratch = [column(e, "full") for e in entries if (e["method"], e["mode"]) == ("none", e["baseline"])]
  modes += [name for name in scratch if modes and name not in modes]
  lines: dict[str, dict[str, str]] = {}
  for entry in entries:
    name, mode = entry["method"], entry["mode"]
    if name == "none":
      name = "raw pixels" if mode.startswith("raw") else "no pretraining"
      mode = "full" if mode == entry["baseline"] else mode.partition("+")[2] or "frozen"
    lines.setdefault(name, {})[column(entry, mode)] = _accuracy_cell(entry)
  return ["method", *modes], [[name, *(line.get(mode, "") for mode in modes)] for name, line in lines.items()]


def curve_cells(summary: Sequence[Row]) -> Cells:
  """One line a mode (of each method), a column a number of labels; see `methods_cells` for the arrows."""
  counts = sorted({entry["labels"] for entry in summary})
  cells = {(name_of(entry, summary), entry["labels"]): _accuracy_cell(entry) for entry in summary}
  names = _unique(name for name, _ in cells)
  headers = ["mode", *(f"{count:,} labels" for count in counts)]
  return headers, [[name, *(cells.get((name, count), "") for count in counts)] for name in names]


def accuracy_text(entry: Row) -> str:
  """`86.3 ± 1.0`, in percent."""
  return f"{100 * entry['mean']:.1f}" + ("" if entry["std"] is None else f" ± {100 * entry['std']:.1f}")


def difference_text(entry: Row) -> str:
  """`+3.1 [+1.9, +4.3]`; empty where there is nothing to compare with."""
  text = "" if entry["difference"] is None else _points(entry["difference"])
  text += "" if entry["low"] is None else f" {interval(entry['low'], entry['high'])}"
  return text + (f" ({entry['pairs']} pairs)" if entry["pairs"] not in (0, entry["n"]) else "")


def _accuracy_cell(entry: Row) -> str:
  text = accuracy_text(entry)
  if entry["low"] is not None and entry["method"] != "none":
    text += " ↑" if entry["low"] > 0 else " ↓" if entry["high"] < 0 else ""
  return text


def _varying(summary: Sequence[Row]) -> list[str]:
  """Which of method, dataset and encoder differ between entries: these need a column, the others a title."""
  return [key for key in KEYS[:3] if len({entry[key] for entry in summary}) > 1]


def _shared(summary: Sequence[Row]) -> str:
  varying = _varying(summary)
  names = [str(summary[0][key]) for key in KEYS[:3] if key not in varying and summary[0][key]] if summary else []
  return f" ({', '.join(names)})" if names else ""


def name_of(entry: Row, summary: Sequence[Row]) -> str:
  """What sets an entry apart from the others, and its mode: `simclr frozen`."""
  return " ".join(str(entry[key]) for key in [*_varying(summary), "mode"] if entry[key] != "none")


def _key(entry: Row) -> tuple:
  return tuple(entry[key] for key in KEYS)


def _labels(entry: Row) -> str:
  return f"{entry['labels']:,} label" + ("" if entry["labels"] == 1 else "s")


def _points(fraction: float) -> str:
  return f"{100 * fraction:+.1f}"


def interval(low: float, high: float) -> str:
  """Two fractions as `[+1.9, +4.3]`, in points."""
  return f"[{_points(low)}, {_points(high)}]"
