"""Tables of results: their cells as text, for pages, for Markdown and for `sslx.report.terminal`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sslx.report import statistics
from sslx.report.intervals import RIGHT_ANSWERS, WIDENED
from sslx.report.statistics import KEYS, Entry
from sslx.types import Score


class Cells(NamedTuple):
  """The text of a table."""

  headers: list[str]
  rows: list[list[str]]


class Table(NamedTuple):
  """A table, what stands above it, and what stands below it."""

  title: str
  cells: Cells
  note: str = ""
  spare: tuple[str, ...] = ()
  """Headers of the columns that a narrow terminal leaves out, the first of them first."""
  names: int = 1
  """How many columns in front name a row: they are repeated where a narrow terminal shows the others in parts."""


LONGEST = 120  # letters of a name
RAW = {"image": "raw pixels", "sound": "spectrograms", "text": "bags of words", "video": "raw pixels"}
"""What is read without an encoder."""
UNREAD = {"majority": "most frequent class", "lsa": "latent semantic analysis"}  # modes that say more
PARAMETERS_NOTE = "Frozen parameters get no update; trainable ones do."


def titled(tables: Sequence[Table]) -> str:
  """Tables as Markdown, each with its title and its note."""
  return "\n".join(f"**{each.title}**\n\n{markdown(each.cells)}\n{each.note}\n" for each in tables)


def shortened(name: Any, limit: int = LONGEST) -> str:
  """A name of at most `limit` letters: the middle of a longer one is left out, as long names differ at their ends."""
  name = str(name)
  left = (limit - 1) // 2
  return name if len(name) <= limit else f"{name[:left]}…{name[left + 1 - limit :]}"


def plain(value: float, digits: int = 4) -> str:
  """A number to so many digits, `0.002431` or `12,350`; in powers of ten where it is very large or very small."""
  power = math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
  if not -6 <= power < 9:
    return f"{value:.{digits - 1}e}"
  places = digits - 1 - power
  return f"{round(value, places):,.{max(0, places)}f}"


def results_note(score: Score = RIGHT_ANSWERS, folded: Entry | None = None) -> str:
  """What the numbers of a table of results are. folded: an entry of it, where there is no test split."""
  unit = f", in {score.difference}" if score.difference else ""
  if folded is not None:
    return (
      f"{_by_folds(score, folded)}: mean, and difference paired by fold{unit}, each with its 95% interval. "
      "Both hold for other examples and other folds (Nadeau & Bengio, 2003); numbers of labels are those learnt from."
      f"{direction(score)}"
    )
  widened = f" {WIDENED}" if score == RIGHT_ANSWERS else ""
  return (
    f"Test {score.name}: mean ± sample standard deviation over labelled subsets (seeds). Difference: paired by subset, "
    f"with its 95% interval by Student's t{unit}.{widened}{direction(score)}"
  )


def scored(score: Score) -> str:
  """`Test accuracy in percent`: what the numbers of a table are."""
  unit = {"%": " in percent", "": ""}.get(score.unit, f" in {score.unit}")
  return f"Test {score.name}{unit}"


def _by_folds(score: Score, entry: Entry) -> str:
  """`Accuracy of a cross-validation in 5 folds, 5 times over, by 120 examples`."""
  repetitions = entry.n // (entry.folds or 1)
  times = "" if repetitions == 1 else f", {repetitions} times over"
  judges = f"{entry.test_examples:,} labelled examples, each judged by models that did not learn from it"
  return f"{statistics.title(score)} of a cross-validation in {entry.folds} folds{times}, by {judges}"


def folded(summary: Sequence[Entry]) -> Entry | None:
  """An entry that was judged by folds, where there is no test split; None where there is one."""
  return next((entry for entry in summary if entry.folds), None)


def curve_note(score: Score = RIGHT_ANSWERS, baseline: str = "scratch", folded: Entry | None = None) -> str:
  """What the numbers and arrows of `methods_cells` and `curve_cells` are. folded: see `results_note`."""
  if folded is not None:
    return (
      f"{_by_folds(score, folded)}: mean [95% interval]. ↑ (↓): the 95% interval of the difference to {baseline}, "
      f"paired by fold, lies above (below) zero.{direction(score)}"
    )
  return (
    f"{scored(score)}, mean ± standard deviation over label subsets. ↑ (↓): the 95% interval of the difference "
    f"to {baseline}, paired by subset, lies above (below) zero.{direction(score)}"
  )


def direction(score: Score) -> str:
  """A sentence, after a space, where the reader would take it the wrong way; else empty."""
  return "" if score.higher_is_better else f" A lower {score.name} is better."


def results_table(summary: Sequence[Entry]) -> Table:
  """The scores in their unit, `86.3 ± 1.0`, and differences, `+3.1 [+1.9, +4.3]`."""
  score = statistics.shared_score(summary)
  names = len(statistics.varying(summary)) + 2  # and the number of labels, and the mode
  part = folded(summary)
  what = f"Cross-validated {score.name}" if part else f"Test {score.name}"
  title, spare = f"{what}{_shared(summary)}", ("seconds", "folds" if part else "seeds")
  return Table(title, results_cells(summary), results_note(score, part), spare, names)


def markdown(cells: Cells) -> str:
  """A GitHub-flavoured Markdown table that ends in a newline."""
  from io import StringIO

  from rich import box
  from rich.console import Console
  from rich.table import Table as RichTable
  from rich.text import Text

  def cell(value: Any) -> Text:  # a pipe or a line break in a name would end the cell
    return Text(str(value).replace("|", "\\|").replace("\n", " "))

  drawn = RichTable(box=box.MARKDOWN)
  for header, is_number in zip(cells.headers, numeric(cells), strict=True):
    drawn.add_column(cell(header), justify="right" if is_number else "left")
  for row in cells.rows:
    drawn.add_row(*map(cell, row))
  text = StringIO()
  Console(file=text, width=10_000, color_system=None).print(drawn)
  return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines()) + "\n"


def numeric(cells: Cells) -> list[bool]:
  """Which columns hold numbers, and are set flush right."""
  columns = [[row[column] for row in cells.rows if row[column]] for column in range(len(cells.headers))]
  return [bool(column) and all(cell[0].isdigit() or cell[0] in "+-" for cell in column) for column in columns]


def results_cells(summary: Sequence[Entry]) -> Cells:
  """One line an entry: what it is, its score, and its difference to the baseline with its interval."""
  names = statistics.varying(summary)
  baseline = summary[0].baseline if summary else "baseline"
  score = statistics.heading(statistics.shared_score(summary))
  count = "folds" if folded(summary) else "seeds"
  headers = [*names, "labels", "mode", score, f"vs {baseline} [95% CI]", count, "seconds"]
  rows = []
  for entry in summary:
    seconds = "" if entry.seconds is None else f"{entry.seconds:.1f}"
    what = [*(shortened(getattr(entry, name)) for name in names), f"{entry.labels:,}", shortened(entry.mode)]
    rows.append([*what, score_text(entry), difference_text(entry), str(entry.n), seconds])
  return Cells(headers, rows)


def parameters_cells(summary: Sequence[Entry]) -> Cells:
  """One line a mode: its parameters, all, trainable and frozen; the same for every number of labels."""
  names = statistics.varying(summary)
  rows = []
  for entry in summary:
    total, trainable = entry.parameters_total, entry.parameters_trainable
    share = f"{100 * trainable / total:.1f}%" if total and trainable is not None else ""
    counts = ["" if count is None else f"{count:,}" for count in (total, trainable, entry.parameters_frozen)]
    rows.append([*(str(getattr(entry, name)) for name in names), str(entry.mode), *counts, share])
  headers = [*names, "mode", "total", "trainable", "frozen", "trainable share"]
  return Cells(headers, [list(map(shortened, row)) for row in statistics.unique(map(tuple, rows))])


def methods_cells(summary: Sequence[Entry], labels: int) -> Cells:
  """One line a method at one number of labels, a column a mode: `86.3 ± 1.0`.

  An arrow says that the 95% interval of the difference to the baseline, paired by subset, lies above (↑) or below (↓)
  zero. Entries of the method "none" are the references: the most frequent class, raw pixels and the random encoder
  stand in the column of the frozen encoders, scratch in that of `full`, from which they differ in nothing but the
  pretraining. Of several data sets, each has columns of its own: `digits frozen`.
  """
  entries = [entry for entry in summary if entry.labels == labels]
  several = "dataset" in statistics.varying(summary)

  def column(entry: Entry, mode: str) -> str:
    return f"{entry.dataset} {mode}" if several else mode

  modes = statistics.unique(column(entry, entry.mode) for entry in entries if entry.method != "none")
  scratch = [column(e, "full") for e in entries if (e.method, e.mode) == ("none", e.baseline)]
  modes += [name for name in scratch if modes and name not in modes]
  lines: dict[str, dict[str, str]] = {}
  for entry in entries:
    name, mode = entry.method, entry.mode
    if name == "none":
      name = RAW.get(entry.modality, f"raw {entry.modality}") if entry.reads == "raw" else "no pretraining"
      name = UNREAD.get(mode.partition(":")[0], name)
      mode = "full" if mode == entry.baseline else mode.partition("+")[2] or "frozen"
    lines.setdefault(name, {})[column(entry, mode)] = marked(entry)
  cells = [[shortened(name), *(line.get(mode, "") for mode in modes)] for name, line in lines.items()]
  return Cells(["method", *map(shortened, modes)], cells)


def curve_cells(summary: Sequence[Entry]) -> Cells:
  """One line a mode (of each method), a column a number of labels; see `methods_cells` for the arrows."""
  counts = sorted({entry.labels for entry in summary})
  cells = {(statistics.name_of(entry, summary), entry.labels): marked(entry) for entry in summary}
  names = statistics.unique(name for name, _ in cells)
  headers = ["mode", *map(statistics.labels_text, counts)]
  return Cells(headers, [[shortened(name), *(cells.get((name, count), "") for count in counts)] for name in names])


def scores_cells(rows: Sequence[Mapping[str, Any]], labels: int) -> Cells | None:
  """Every score of the predictors with so many labels: a line a mode of a method, a column a score, each the mean over
  their subsets, in the unit of the first, or as it is where that has none. Of rows of the same subset the last counts,
  as in `statistics.summarise`. None where there is but one score.
  """
  few = [row for row in rows if row["labels"] == labels]
  groups: dict[tuple[str, str], dict[Any, Mapping[str, Any]]] = {}
  for row in few:
    groups.setdefault((str(row.get("method", "")), str(row["mode"])), {})[row["subset_seed"]] = row
  scores = statistics.unique(name for row in few for name in row if _is_score(name))
  if len(scores) < 2:
    return None
  told, cells = statistics.score_of(few[0]), []

  def text(name: str, value: float) -> str:
    is_told_alike = told.factor != 1 or name.startswith(f"test_{told.name}")
    return statistics.number(told, value) if is_told_alike else plain(value)  # an error, in a unit of its own

  for (method, mode), group in groups.items():
    means = [[row[name] for row in group.values() if row.get(name) is not None] for name in scores]
    texts = [
      text(name, sum(values) / len(values)) if values else "" for name, values in zip(scores, means, strict=True)
    ]
    cells.append([shortened(mode if method == "none" else f"{method} {mode}"), *texts])
  return Cells(["predictor", *(name.removeprefix("test_").replace("_", " ") for name in scores)], cells)


def _is_score(name: str) -> bool:
  return name.startswith("test_") and name != "test_examples"


def score_text(entry: Entry) -> str:
  """`86.3 ± 1.0`, in the score's unit; `86.3 [80.1, 92.5]` where there is no test split."""
  if entry.mean_low is not None and entry.mean_high is not None:
    ends = (statistics.number(entry.score, end) for end in (entry.mean_low, entry.mean_high))
    return f"{statistics.number(entry.score, entry.mean)} [{', '.join(ends)}]"
  spread = "" if entry.std is None else f" ± {statistics.number(entry.score, entry.std)}"
  return statistics.number(entry.score, entry.mean) + spread


def difference_text(entry: Entry) -> str:
  """`+3.1 [+1.9, +4.3]`; empty where there is nothing to compare with."""
  text = "" if entry.difference is None else statistics.change(entry.score, entry.difference)
  if entry.low is not None and entry.high is not None:
    text += f" {statistics.interval(entry.low, entry.high, entry.score)}"
  return text + (f" ({entry.pairs} pairs)" if entry.pairs not in (0, entry.n) else "")


def marked(entry: Entry) -> str:
  """`86.3 ± 1.0 ↑`: the score, and an arrow where the interval of its difference to the baseline is off zero."""
  arrow = ""
  if entry.judgement in ("better", "worse") and entry.method != "none":
    arrow = " ↑" if (entry.judgement == "better") == entry.score.higher_is_better else " ↓"  # as numbers go
  return score_text(entry) + arrow


def _shared(summary: Sequence[Entry]) -> str:
  """` (simclr, mnist)`: what the entries have in common."""
  shared = [key for key in KEYS[:3] if key not in statistics.varying(summary)] if summary else []
  names = [shortened(getattr(summary[0], key)) for key in shared if getattr(summary[0], key)]
  return f" ({', '.join(names)})" if names else ""
