"""Leaderboards: the results of many runs on one page that sorts and filters in the browser."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sslx.report import limits, pages, sentences, statistics, tables
from sslx.report.intervals import RIGHT_ANSWERS, WIDENED
from sslx.report.statistics import Entry
from sslx.types import Score


class Ranked(NamedTuple):
  """A line of a leaderboard: an entry of `summarise`, and where it comes from."""

  entry: Entry
  method: str
  """As it is called there."""
  features: str
  run: str
  """The run's name."""
  link: str | None
  """To its report, relative to the page."""
  command: str
  commits: str
  date: str
  """Sorts as text."""
  more: int = 0
  """Further runs with this very line."""
  smoke: bool = False
  """Whether it is of a --smoke run."""

  @property
  def number(self) -> str:
    """`86.7`: its score, without the unit."""
    return statistics.number(self.entry.score, self.entry.mean)


class Board(NamedTuple):
  """A leaderboard: lines that may be compared, all of one score."""

  title: str
  note: str
  lines: Sequence[Ranked]

  @property
  def score(self) -> Score:
    """What its lines are ordered by."""
    return statistics.shared_score([line.entry for line in self.lines])


class Winner(NamedTuple):
  """What a leaderboard says: the best pretrained line, and beside it the best one without pretraining."""

  title: str
  """Of the board."""
  pretrained: Ranked | None
  other: Ranked | None
  start: str
  """Of the sentence that holds the first against its own run's baseline."""
  outcome: str
  """Its end."""

  @property
  def beaten(self) -> bool:
    """Whether the one without pretraining is as good."""
    if self.pretrained is None or self.other is None:
      return False
    difference = self.pretrained.entry.mean - self.other.entry.mean
    return statistics.goodness(self.pretrained.entry.score, difference) <= 0


class Header(NamedTuple):
  """What stands above a column."""

  text: str
  numeric: bool = False
  """Whether numbers stand below it."""
  sort: str = ""
  """The direction that the page is sorted in by this column at first: "ascending", "descending", or not by it."""


class Cell(NamedTuple):
  """Text, and the number that it is sorted by, where it is not sorted as text."""

  text: str
  value: float | None = None


def headers(score: Score) -> list[Header]:
  """One for each of a line's cells."""
  order = "descending" if score.higher_is_better else "ascending"
  return [
    *map(Header, ("method", "mode")),
    Header(statistics.heading(score), True, order),
    *(Header(text, True) for text in ("vs scratch [95% CI]", "n")),
    *map(Header, ("encoder", "features")),
    *(Header(text, True) for text in ("trainable", "total", "seconds")),
    *map(Header, ("date", "commit")),
  ]


def mark(entry: Entry) -> str:
  """`reference` for raw pixels, a random encoder and their kin, `baseline` for what the others are held against."""
  return "reference" if entry.is_reference else "baseline" if entry.mode == entry.baseline else ""


def ranked(lines: Iterable[Ranked]) -> list[Ranked]:
  """Lines in the order of a leaderboard: the best mean first."""
  return sorted(lines, key=lambda line: -statistics.goodness(line.entry.score, line.entry.mean))


def winner(board: Board) -> Winner:
  """The best pretrained line of a leaderboard, and the best one without pretraining."""
  lines = ranked(board.lines)
  pretrained = next((line for line in lines if not mark(line.entry)), None)
  other = next((line for line in lines if mark(line.entry)), None)
  start = colon = outcome = ""
  if pretrained is not None:
    (sentence,) = sentences.comparisons([pretrained.entry])
    start, colon, outcome = sentence.rpartition(": ")
  return Winner(board.title, pretrained, other, start + colon, outcome)


def ranked_sentence(board: Board) -> str:
  """The best line of a leaderboard in words: `mnist, 100 labels: 94.4 ± 0.8%: simclr frozen, conv, +11.2 ...`."""
  line = ranked(board.lines)[0]
  entry, score = line.entry, line.entry.score
  what = " ".join(word for word in (line.method, entry.mode) if word)
  where = f", {entry.encoder}" if entry.encoder else ""
  difference = ""
  if entry.difference is not None:
    units = f" {score.difference}" if score.difference else ""
    difference = f", {tables.difference_text(entry)}{units} against {entry.baseline}"
  marked = f" ({mark(entry)})" if mark(entry) else ""
  count = f"{len(board.lines)} line" + ("" if len(board.lines) == 1 else "s")
  unit = score.unit if score.unit in ("%", "") else f" {score.unit}"
  return f"{board.title}: {tables.score_text(entry)}{unit}: {what}{marked}{where}{difference}; best of {count}."


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
    "smoke": any(line.smoke for board in boards for line in board.lines),
    "winners": [winner(board) for board in boards],
    "boards": [
      {
        "title": board.title,
        "note": " ".join([board.note, *limits.small_tests([line.entry for line in board.lines])]).strip(),
        "headers": headers(board.score),
        "lines": [(line, mark(line.entry), _cells(line)) for line in ranked(board.lines)],
      }
      for board in boards
    ],
    "note": note([board.score for board in boards]),
    "left_out": left_out,
  }
  return pages.write_page(path, "index.html.jinja", values)


def note(scores: Iterable[Score]) -> str:
  """What the numbers of leaderboards of these scores are."""
  scores = statistics.unique(scores)
  names = ", ".join(score.name for score in scores)
  units = " or ".join(statistics.unique(score.difference for score in scores if score.difference))
  directions = "".join(map(tables.direction, scores))
  units = f", in {units}" if units else ""
  widened = f" {WIDENED}" if RIGHT_ANSWERS in scores else ""
  return (
    f"Test {names}: mean ± sample standard deviation over n labelled subsets.{directions} Difference: to the same "
    f"run's own scratch, paired by subset, with its 95% interval by Student's t{units}.{widened} "
    "Seconds: of training on the labels, mean over subsets. Date: when the run's results.jsonl was last written. The "
    "first of many lines is partly luck: an interval does not cover the seed of pretraining, and is unadjusted for the "
    "number of comparisons."
  )


def _cells(line: Ranked) -> list[Cell]:
  """One for each of `headers`."""
  entry = line.entry
  counts = (entry.parameters_trainable, entry.parameters_total)
  return [
    *map(Cell, map(tables.shortened, (line.method, entry.mode))),
    Cell(tables.score_text(entry), entry.mean),
    Cell(tables.difference_text(entry), entry.difference),
    Cell(str(entry.n), entry.n),
    *map(Cell, map(tables.shortened, (entry.encoder, line.features))),
    *(Cell("" if count is None else f"{count:,}", count) for count in counts),
    Cell("" if entry.seconds is None else f"{entry.seconds:.1f}", entry.seconds),
    *map(Cell, (line.date, line.commits)),
  ]
