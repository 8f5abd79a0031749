"""Results as JSONL rows, and the tables, sentences and HTML page made from them.

A run directory holds `results.jsonl` (one row per trained classifier), `metrics.jsonl`, `figures/*.png` and
`report.html`. Every number in a table or sentence is computed here from the rows; none is typed by hand.
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from sslx.types import UserError

if TYPE_CHECKING:
  from rich.table import Table

Row = dict[str, Any]
Cells = tuple[list[str], list[list[str]]]  # headers, rows of text

KEYS = ("method", "dataset", "encoder", "labels", "mode")
REFERENCES = {
  "raw": "a probe on the raw pixels",
  "random": "a frozen untrained encoder",
  "raw+propagate": "label propagation over raw pixels",
  "raw+propagate:cmn": "the same with class-mass normalisation",
  "raw+self_train": "self-training from random weights and labels propagated over raw pixels",
}  # the rows that keep it honest


# ---- JSONL -----------------------------------------------------------------------------------------------------------


def append_row(path: str | os.PathLike[str], row: Mapping[str, Any]) -> None:
  """Appends `row` to the JSONL file at `path` as one line, on disk before this returns.

  A kill leaves at most one broken last line, which the next call cuts off. NumPy and JAX scalars and arrays become
  Python numbers and lists, paths become text, and NaN and infinities become null: JSON has no word for them.

  Raises:
    TypeError: a value that has no JSON form.
  """
  line = json.dumps(_plain(row), ensure_ascii=False, allow_nan=False).encode() + b"\n"
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.touch()
  with path.open("r+b") as file:
    _seek_to_sound_end(file)
    file.write(line)
    file.flush()
    os.fsync(file.fileno())


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
  """The rows of a JSONL file, in order; [] if there is no such file.

  A broken last line is what a killed run leaves, and is dropped.

  Raises:
    UserError: a broken line before the last: the file was damaged by something else than a kill.
  """
  path = Path(path)
  if not path.exists():
    return []
  lines = [(number, line) for number, line in enumerate(path.read_bytes().split(b"\n"), 1) if line.strip()]
  rows = []
  for number, line in lines:
    row = _parse(line)
    if row is not None:
      rows.append(row)
    elif number != lines[-1][0]:
      raise UserError(f"{path}: line {number} is not a JSON object; remove or mend that line")
  return rows


def _parse(line: bytes) -> Row | None:
  try:
    row = json.loads(line)
  except ValueError:  # not JSON, or not UTF-8
    return None
  return row if isinstance(row, dict) else None


def _seek_to_sound_end(file: BinaryIO) -> None:
  """Cuts a broken last line off, ends a sound one with a newline, and leaves `file` at its end."""
  end = file.seek(0, os.SEEK_END)
  start, tail = end, b""
  while start > 0 and b"\n" not in tail[:-1]:  # read backwards: metrics files grow long and are appended to often
    start = max(0, start - 65536)
    file.seek(start)
    tail = file.read(end - start)
  line = tail[tail[:-1].rfind(b"\n") + 1 :]
  if line.strip() and _parse(line) is None:
    file.truncate(end - len(line))
  file.seek(0, os.SEEK_END)
  if line and not line.endswith(b"\n") and _parse(line) is not None:
    file.write(b"\n")


def _plain(value: Any) -> Any:
  """`value` in the types that JSON has."""
  if isinstance(value, float):
    return float(value) if math.isfinite(value) else None
  if value is None or isinstance(value, (str, bool, int)):
    return value
  if isinstance(value, Mapping):
    return {str(key): _plain(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(item) for item in value]
  if isinstance(value, (set, frozenset)):
    return sorted(_plain(item) for item in value)
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  if hasattr(value, "tolist"):  # NumPy and JAX, arrays and scalars
    return _plain(value.tolist())
  raise TypeError(f"no JSON form for {type(value).__name__}: {value!r}")


# ---- provenance ------------------------------------------------------------------------------------------------------


def provenance() -> Row:
  """What produced a row: {"git": str | None, "versions": {name: version | None}, "device": str}.

  git is the short hash, with '-dirty' where the code differs from it, of the checkout that sslx itself is imported
  from; None where sslx is installed outside one. device names platform, kind and count, then the CPU and its cores.
  Starts JAX's backend.
  """
  import platform
  from importlib import metadata

  import jax

  def version(name: str) -> str | None:
    try:
      return metadata.version(name)
    except metadata.PackageNotFoundError:
      return None

  devices = jax.devices()
  platform_name, kind = devices[0].platform, devices[0].device_kind
  accelerator = (kind if kind.lower() == platform_name else f"{platform_name}: {kind}") + f" x{len(devices)}"
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
  names = ("jax", "jaxlib", "flax", "optax", "sslx")
  return {
    "git": _git(),
    "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
    "device": f"{accelerator}; {_cpu_model()}, {cores} cores",
  }


def _git() -> str | None:
  import subprocess

  package = Path(__file__).resolve().parent

  def git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(package), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

  try:
    # An sslx installed in a virtual environment inside somebody's repository must not report that repository's hash.
    if Path(git("rev-parse", "--show-toplevel")).resolve() != package.parent:
      return None
    code = [str(package), str(package.parent / "experiments")]  # an untracked method counts, a stray run folder doesn't
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", *code) else "")
  except (OSError, subprocess.SubprocessError):
    return None


def _cpu_model() -> str:
  import platform

  try:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
      if line.startswith("model name"):
        return line.partition(":")[2].strip()
  except OSError:
    pass
  return platform.processor() or platform.machine()


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
  return [*_comparisons(summary), *_doubts(summary), *_caveats(summary)]


def _comparisons(summary: Sequence[Row]) -> list[str]:
  if not summary:
    return ["There are no results yet."]
  compared = [entry for entry in summary if entry["mode"] not in (entry["baseline"], *REFERENCES)]
  return [_comparison(entry, summary) for entry in compared] or ["There is no pretrained encoder to judge yet."]


def _comparison(entry: Row, summary: Sequence[Row]) -> str:
  name, baseline, at = _name(entry, summary), entry["baseline"], f"at {_labels(entry)}"
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


class Needed(NamedTuple):
  """How many labels the baseline needs to be as accurate as a pretrained encoder is with `labels` of them."""

  name: str  # of the encoder and its mode
  labels: int
  accuracy: float
  needed: float  # by the mean curve: inf where the baseline never gets there, least where it was there from the start
  subsets: tuple[float, ...]  # the same subset by subset
  least: int  # the fewest labels that the baseline was trained on
  most: int


def labels_to_reach(counts: Sequence[float], accuracies: Sequence[float], target: float) -> float:
  """The number of labels at which a learning curve first reaches `target`.

  The curve is straight between its points in the logarithm of the labels. counts[0] where it is there from the start
  (fewer may do); inf where it never gets there.

  Args:
    counts: ascending numbers of labels.
    accuracies: one for each.
    target: an accuracy.
  """
  reached = np.flatnonzero(np.asarray(accuracies) >= target)
  if not len(reached):
    return math.inf
  i = int(reached[0])
  if i == 0:
    return float(counts[0])
  share = (target - accuracies[i - 1]) / (accuracies[i] - accuracies[i - 1])
  return float(counts[i - 1] * (counts[i] / counts[i - 1]) ** share)


def labels_needed(summary: Sequence[Row], baseline: str = "scratch") -> list[Needed]:
  """One for each pretrained encoder, mode and number of labels, where the baseline was trained on several numbers.

  With how many labels does training from scratch match the pretrained encoder? Newell & Deng, How Useful is
  Self-Supervised Pretraining for Visual Tasks?, 2020, arXiv 2003.14323 call the ratio of the two, less one, the
  utility of pretraining; Henaff et al., Data-Efficient Image Recognition with Contrastive Predictive Coding, 2020,
  arXiv 1905.09272 draw it.
  """
  curve = sorted((e for e in summary if e["mode"] == baseline), key=lambda e: e["labels"])
  if len(curve) < 2:
    return []
  counts = [entry["labels"] for entry in curve]
  means = [entry["mean"] for entry in curve]
  by_seed = [dict(zip(entry["seeds"], entry["accuracies"], strict=True)) for entry in curve]
  found = []
  for entry in summary:
    if entry["mode"] in (baseline, *REFERENCES):
      continue
    subsets = [  # where all labels are used, there is one subset for all seeds
      labels_to_reach(counts, [own.get(seed, mean) for own, mean in zip(by_seed, means, strict=True)], accuracy)
      for seed, accuracy in zip(entry["seeds"], entry["accuracies"], strict=True)
    ]
    needed = labels_to_reach(counts, means, entry["mean"])
    name = _name(entry, summary)
    found.append(Needed(name, entry["labels"], entry["mean"], needed, tuple(subsets), counts[0], counts[-1]))
  return found


def needed_cells(found: Sequence[Needed]) -> Cells:
  """A line an encoder and mode, a column a number of labels: `310 (3.1 times)`, `> 10,000`, `≤ 10`."""
  counts = sorted({one.labels for one in found})
  cells = {}
  for one in found:
    known = one.least < one.needed < math.inf
    cells[one.name, one.labels] = _needed_text(one.needed, one) + (f" ({times_text(one)})" if known else "")
  names = _unique(one.name for one in found)
  headers = ["as good as", *(f"{count:,} labels" for count in counts)]
  return headers, [[name, *(cells.get((name, count), "") for count in counts)] for name in names]


def needed_sentences(found: Sequence[Needed], labels: int, baseline: str = "scratch") -> list[str]:
  """How many labels the baseline needs for each encoder's accuracy with `labels` of them, in words."""
  sentences = []
  for one in found:
    if one.labels != labels:
      continue
    low, high = (_needed_text(edge(one.subsets), one) for edge in (min, max))
    spread = f" (by subset {low if low == high else f'{low} to {high}'})" if len(one.subsets) > 1 else ""
    if math.isinf(one.needed):
      said = f"with {one.most:,}, the most it was given{spread}: not as good."
    elif one.needed <= one.least:
      said = f"with {one.least:,}, the fewest it was given{spread}: as good."
    else:
      said = f"is as good with about {_needed_text(one.needed, one)}{spread}: {times_text(one)} as many."
    of = f"{labels:,} label{'' if labels == 1 else 's'}"
    sentences.append(f"{one.name} has {100 * one.accuracy:.1f}% with {of}; {baseline} {said}")
  return sentences


def _needed_text(needed: float, one: Needed) -> str:
  if math.isinf(needed):
    return f"> {one.most:,}"
  return f"≤ {one.least:,}" if needed <= one.least else f"{_two_digits(needed):,}"


def _two_digits(number: float) -> int:
  """No more than an interpolation knows."""
  scale = 10 ** max(0, math.floor(math.log10(number)) - 1)
  return round(number / scale) * scale


def times_text(one: Needed) -> str:
  """How many times as many labels the baseline needs: `3.1 times`, or `> 100 times` where it does not get there."""
  ratio = min(one.needed, one.most) / one.labels
  return f"{'> ' if math.isinf(one.needed) else ''}{ratio:{'.1f' if ratio < 9.95 else ',.0f'}} times"


def _doubts(summary: Sequence[Row]) -> list[str]:
  by_key = {_key(entry): entry for entry in summary}
  sentences = []
  for entry in summary:
    if entry["mode"] in REFERENCES:
      continue
    for mode, meaning in REFERENCES.items():
      other = by_key.get(_reference(by_key, _key(entry), mode))
      if other is not None and entry["mean"] <= other["mean"]:
        means = f"{100 * entry['mean']:.1f}% against {100 * other['mean']:.1f}%"
        sentences.append(f"{_name(entry, summary)} does not beat {mode} ({meaning}) at {_labels(entry)}: mean {means}.")
  return sentences


def _caveats(summary: Sequence[Row]) -> list[str]:
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
  return table("Parameters" + _shared(summary), _parameters_cells(summary), None)


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
  for header, numeric in zip(cells[0], _numeric(cells), strict=True):
    table.add_column(Text(header), justify="right" if numeric else "left", overflow="fold", no_wrap=not numeric)
  for row in cells[1]:
    table.add_row(*map(Text, row))  # Text: a name like [red] is a name, not markup
  return table


def _numeric(cells: Cells) -> list[bool]:
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
    accuracy, difference = _accuracy_text(entry), _difference_text(entry)
    seconds = "" if entry["seconds"] is None else f"{entry['seconds']:.1f}"
    names = [str(entry[key]) for key in varying]
    rows.append([*names, f"{entry['labels']:,}", str(entry["mode"]), accuracy, difference, str(entry["n"]), seconds])
  return headers, rows


def _parameters_cells(summary: Sequence[Row]) -> Cells:
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
  cells = {(_name(entry, summary), entry["labels"]): _accuracy_cell(entry) for entry in summary}
  names = _unique(name for name, _ in cells)
  headers = ["mode", *(f"{count:,} labels" for count in counts)]
  return headers, [[name, *(cells.get((name, count), "") for count in counts)] for name in names]


def _accuracy_text(entry: Row) -> str:
  return f"{100 * entry['mean']:.1f}" + ("" if entry["std"] is None else f" ± {100 * entry['std']:.1f}")


def _difference_text(entry: Row) -> str:
  """`+3.1 [+1.9, +4.3]`; empty where there is nothing to compare with."""
  text = "" if entry["difference"] is None else _points(entry["difference"])
  text += "" if entry["low"] is None else f" {interval(entry['low'], entry['high'])}"
  return text + (f" ({entry['pairs']} pairs)" if entry["pairs"] not in (0, entry["n"]) else "")


def _accuracy_cell(entry: Row) -> str:
  text = _accuracy_text(entry)
  if entry["low"] is not None and entry["method"] != "none":
    text += " ↑" if entry["low"] > 0 else " ↓" if entry["high"] < 0 else ""
  return text


def _row_cells(rows: Sequence[Mapping[str, Any]]) -> Cells:
  """Every classifier, one line each."""
  varying = [key for key in KEYS[:3] if len({str(row.get(key, "")) for row in rows}) > 1]
  headers = [*varying, "labels", "mode", "subset seed", "accuracy %", "seconds", "chosen"]
  cells = []
  for row in rows:
    names = [str(row.get(key, "")) for key in varying]
    seconds = "" if row.get("seconds") is None else f"{row['seconds']:.1f}"
    chosen = ", ".join(f"{name}={_text(value)}" for name, value in (row.get("chosen") or {}).items())
    accuracy = f"{100 * row['test_accuracy']:.2f}"
    cells.append([*names, f"{row['labels']:,}", row["mode"], str(row["subset_seed"]), accuracy, seconds, chosen])
  return headers, cells


def _varying(summary: Sequence[Row]) -> list[str]:
  """Which of method, dataset and encoder differ between entries: these need a column, the others a title."""
  return [key for key in KEYS[:3] if len({entry[key] for entry in summary}) > 1]


def _shared(summary: Sequence[Row]) -> str:
  varying = _varying(summary)
  names = [str(summary[0][key]) for key in KEYS[:3] if key not in varying and summary[0][key]] if summary else []
  return f" ({', '.join(names)})" if names else ""


def _name(entry: Row, summary: Sequence[Row]) -> str:
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


def _text(value: Any) -> str:
  if isinstance(value, float):
    return f"{value:.4g}"
  return value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False)


# ---- HTML ------------------------------------------------------------------------------------------------------------


def write_html(
  run_dir: str | os.PathLike[str],
  title: str,
  command: str,
  config: Mapping[str, Any],
  rows: Sequence[Mapping[str, Any]],
  summary: Sequence[Row],
  figures: Sequence[tuple[str, str, str | os.PathLike[str]]],
  timings: Mapping[str, float],
  tables: Sequence[tuple[str, Cells, str]] = (),
  lead: Sequence[str] = (),
) -> Path:
  """Writes `run_dir`/report.html, one self-contained page, atomically, and returns its path.

  Pictures travel inside the page and nothing is fetched: it can be mailed, archived and read offline.

  Args:
    run_dir: the run's directory; made if missing.
    title: the page's heading.
    command: the command line that made the run.
    config: setting -> value.
    rows: what `read_rows` returned.
    summary: what `summarise` made of them.
    figures: (title, caption, PNG path); a path is taken as given, or else relative to `run_dir`.
    timings: phase -> seconds.
    tables: further tables, shown first: (title, (headers, rows of text), note).
    lead: sentences that stand before everything where there are `tables`.

  Raises:
    UserError: a figure that is missing or no PNG.
  """
  run_dir = Path(run_dir)
  values = {
    "title": title,
    "subtitle": _subtitle(rows),
    "command": command,
    "comparisons": [sentence.rpartition(": ") for sentence in _comparisons(summary)],
    "doubts": _doubts(summary),
    "caveats": _caveats(summary),
    "tables": tables,
    "best": [sentence.rpartition(": ") for sentence in [*lead, *best(summary)]] if tables else [],
    "results": results_cells(summary),
    "results_note": RESULTS_NOTE,
    "parameters": _parameters_cells(summary),
    "parameters_note": PARAMETERS_NOTE,
    "timings": _timing_cells(timings),
    "figures": [(name, caption, *_data_uri(run_dir, path)) for name, caption, path in figures],
    "config": [(name, _text(value)) for name, value in config.items()],
    "provenance": _provenance_cells(rows),
    "rows": _row_cells(rows),
  }
  return write_page(run_dir / "report.html", "report.html.jinja", values)


def write_gallery(
  path: Path,
  title: str,
  subtitle: str,
  command: str,
  facts: Mapping[str, Any],
  links: Sequence[tuple[str, str, str]],
  figures: Sequence[tuple[str, str, str | os.PathLike[str]]],
  left_out: Sequence[str],
) -> Path:
  """Writes a self-contained page of figures, atomically, and returns its path.

  Args:
    path: of the page.
    title: its heading.
    subtitle: below it.
    command: the command line that made it.
    facts: name -> value, a table at the top.
    links: (file beside the page, its name, what it is).
    figures: (title, caption, path of a PNG or GIF).
    left_out: sentences that say what could not be drawn, and why.

  Raises:
    UserError: a figure that is missing, or neither PNG nor GIF.
  """
  values = {
    "title": title,
    "subtitle": subtitle,
    "command": command,
    "facts": [(name, _text(value)) for name, value in facts.items()],
    "links": links,
    "figures": [(name, caption, *_data_uri(path.parent, figure)) for name, caption, figure in figures],
    "left_out": left_out,
  }
  return write_page(path, "gallery.html.jinja", values)


class Ranked(NamedTuple):
  """A line of a leaderboard: an entry of `summarise`, and where it comes from."""

  entry: Row
  method: str  # as it is called there
  features: str
  run: str  # the run's name
  link: str | None  # to its report, relative to the page
  command: str
  commits: str
  date: str  # sorts as text
  more: int = 0  # further runs with this very line


class Board(NamedTuple):
  """A leaderboard: lines that may be compared."""

  title: str
  note: str
  lines: Sequence[Ranked]


class Cell(NamedTuple):
  """Text, and the number that it is sorted by, where it is not sorted as text."""

  text: str
  value: float | None = None


RANKED = (  # header, whether numbers stand below it
  ("method", False),
  ("mode", False),
  ("encoder", False),
  ("features", False),
  ("accuracy %", True),
  ("n", True),
  ("vs scratch [95% CI]", True),
  ("trainable", True),
  ("total", True),
  ("seconds", True),
  ("date", False),
  ("commit", False),
)


def mark(entry: Row) -> str:
  """`reference` for raw pixels, a random encoder and their kin, `baseline` for what the others are held against."""
  return "reference" if entry["mode"] in REFERENCES else "baseline" if entry["mode"] == entry["baseline"] else ""


def ranked(lines: Iterable[Ranked]) -> list[Ranked]:
  """Highest mean accuracy first."""
  return sorted(lines, key=lambda line: -line.entry["mean"])


def ranked_sentence(board: Board) -> str:
  """The best line of a leaderboard in words: `mnist, 100 labels: 94.4 ± 0.8%: simclr frozen, conv, +11.2 ...`."""
  line = ranked(board.lines)[0]
  entry = line.entry
  what = " ".join(word for word in (line.method, entry["mode"]) if word)
  where = f", {entry['encoder']}" if entry["encoder"] else ""
  difference = (
    f", {_difference_text(entry)} points against {entry['baseline']}" if entry["difference"] is not None else ""
  )
  marked = f" ({mark(entry)})" if mark(entry) else ""
  count = f"{len(board.lines)} line" + ("" if len(board.lines) == 1 else "s")
  return f"{board.title}: {_accuracy_text(entry)}%: {what}{marked}{where}{difference}; best of {count}."


def write_index(path: Path, title: str, command: str, boards: Sequence[Board], left_out: Sequence[str]) -> Path:
  """Writes a self-contained page of leaderboards that sort and filter in the browser, and returns its path.

  Args:
    path: of the page.
    title: its heading.
    command: the command line that made it.
    boards: in the order in which they are shown.
    left_out: sentences that say which runs are missing, and why.
  """
  values = {
    "title": title,
    "command": command,
    "headers": RANKED,
    "sorted": "accuracy %",
    "boards": [
      (b.title, b.note, [(line, mark(line.entry), _ranked_cells(line)) for line in ranked(b.lines)]) for b in boards
    ],
    "note": RANKED_NOTE,
    "left_out": left_out,
  }
  return write_page(path, "index.html.jinja", values)


RANKED_NOTE = (
  "Test accuracy: mean ± sample standard deviation over n labelled subsets. Difference: to the same run's own scratch, "
  "paired by subset, with its 95% interval by Student's t, in points. Seconds: of training on the labels, mean over "
  "subsets. Date: when the run's results.jsonl was last written. The first of many lines is partly luck: an interval "
  "covers the choice of labelled subsets alone, and is unadjusted for the number of comparisons."
)


def _ranked_cells(line: Ranked) -> list[Cell]:
  """One for each of RANKED."""
  entry = line.entry
  numbers = [Cell("" if n is None else f"{n:,}", n) for n in (entry["parameters_trainable"], entry["parameters_total"])]
  return [
    *(Cell(text) for text in (line.method, entry["mode"], entry["encoder"], line.features)),
    Cell(_accuracy_text(entry), entry["mean"]),
    Cell(str(entry["n"]), entry["n"]),
    Cell(_difference_text(entry), entry["difference"]),
    *numbers,
    Cell("" if entry["seconds"] is None else f"{entry['seconds']:.1f}", entry["seconds"]),
    Cell(line.date),
    Cell(line.commits),
  ]


def write_page(path: Path, template: str, values: Mapping[str, Any]) -> Path:
  """Writes one of this folder's templates filled with `values`, atomically; makes the folder. Returns the path."""
  import jinja2

  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters["numeric"] = _numeric
  page = environment.get_template(template).render(values)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  temporary.write_text(page, encoding="utf-8")
  os.replace(temporary, path)
  return path


def _subtitle(rows: Sequence[Mapping[str, Any]]) -> str:
  names = ("method", "dataset", "encoder", "device")
  return " · ".join(", ".join(values) for name in names if (values := _distinct(rows, name)))


def _provenance_cells(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
  """All that the rows say, so a page over rows of two commits or two machines names both."""
  versions = _unique((name, str(v)) for row in rows for name, v in (row.get("versions") or {}).items())
  single = [(name, ", ".join(_distinct(rows, name))) for name in ("experiment", "git", "seed", "device")]
  merged = [(name, ", ".join(v for other, v in versions if other == name)) for name in _unique(n for n, _ in versions)]
  return [(name, value) for name, value in single + merged if value]


def _distinct(rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
  return _unique(str(row[name]) for row in rows if row.get(name) not in (None, "", "none"))


def _timing_cells(timings: Mapping[str, float]) -> list[tuple[str, str, float]]:
  """(phase, duration, percent of the sum)."""
  total = sum(timings.values())
  parts = [(name, _duration(s), 100 * s / total if total else 0.0) for name, s in timings.items()]
  return [*parts, ("total", _duration(total), 100.0)] if len(parts) > 1 else parts


def _duration(seconds: float) -> str:
  if seconds < 60:
    return f"{seconds:.1f} s"
  minutes, rest = divmod(round(seconds), 60)
  return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _data_uri(run_dir: Path, path: str | os.PathLike[str]) -> tuple[str, int, int]:
  """(data URI, width, height) of a PNG or GIF; the sizes, in pixels, keep the page from jumping while it loads."""
  given = Path(path)
  found = given if given.exists() else run_dir / given
  if not found.exists():
    raise UserError(f"{given}: no such figure; draw it before writing the page")
  data = found.read_bytes()
  if data[:6] == b"GIF89a":
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return "data:image/gif;base64," + base64.b64encode(data).decode(), width, height
  if not data.startswith(b"\x89PNG\r\n\x1a\n"):
    raise UserError(f"{found}: not a PNG file")
  width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
  return "data:image/png;base64," + base64.b64encode(data).decode(), width, height
