"""Leaderboards: the results of many runs on one page that sorts and filters in the browser."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sslx import report
from sslx.report import pages


class Ranked(NamedTuple):
  """A line of a leaderboard: an entry of `summarise`, and where it comes from."""

  entry: report.Row
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


def mark(entry: report.Row) -> str:
  """`reference` for raw pixels, a random encoder and their kin, `baseline` for what the others are held against."""
  return "reference" if entry["mode"] in report.REFERENCES else "baseline" if entry["mode"] == entry["baseline"] else ""


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
    f", {report.difference_text(entry)} points against {entry['baseline']}" if entry["difference"] is not None else ""
  )
  marked = f" ({mark(entry)})" if mark(entry) else ""
  count = f"{len(board.lines)} line" + ("" if len(board.lines) == 1 else "s")
  return f"{board.title}: {report.accuracy_text(entry)}%: {what}{marked}{where}{difference}; best of {count}."


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
  return pages.write_page(path, "index.html.jinja", values)


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
    Cell(report.accuracy_text(entry), entry["mean"]),
    Cell(str(entry["n"]), entry["n"]),
    Cell(report.difference_text(entry), entry["difference"]),
    *numbers,
    Cell("" if entry["seconds"] is None else f"{entry['seconds']:.1f}", entry["seconds"]),
    Cell(line.date),
    Cell(line.commits),
  ]
