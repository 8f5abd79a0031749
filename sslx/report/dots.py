"""Scores as dots on one axis: which line of a plot holds what, on pages and in figures alike.

Dots need no axis that begins at zero, as bars would; every line has its name beside it, so that there is no legend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sslx.report import statistics
from sslx.report.statistics import Entry, name_of

NONE = "none"  # the method of the reference rows of a comparison
MOST = 12  # lines of a panel that holds several methods in all their modes; above, each mode has a panel of its own
LINES = 5  # of the grid, about


class Dot(NamedTuple):
  """A line of a panel: a mean, with one sample standard deviation either side."""

  name: str
  entry: Entry

  @property
  def role(self) -> Literal["pretrained", "baseline", "reference"]:
    """What colours it."""
    if self.entry.mode == self.entry.baseline:
      return "baseline"
    return "reference" if self.entry.is_reference else "pretrained"


class Panel(NamedTuple):
  """The scores of one data set and number of labels."""

  place: str
  """`100 labels`, or `mnist, 100 labels`."""
  group: str
  """The mode, or the method, that it is of; empty where it is of several."""
  dots: list[Dot]
  """The best first."""

  @property
  def title(self) -> str:
    """`100 labels`, or `frozen, 100 labels`."""
    return f"{self.group}, {self.place}" if self.group else self.place

  @property
  def lines(self) -> list[Dot]:
    """Those that a vertical line runs through: what the others are held against."""
    each = [dot for dot in self.dots if dot.role != "pretrained"]
    return each if len(each) == len({dot.entry.mode for dot in each}) else []


class Axis(NamedTuple):
  """Of scores in their unit, from a line of the grid to another."""

  ticks: list[float]

  def percent(self, value: float) -> float:
    """How far from the left a score in its unit stands."""
    low, high = self.ticks[0], self.ticks[-1]
    return 100 * (value - low) / (high - low)

  @property
  def step(self) -> float:
    """From a line of the grid to the next, in percent of the whole."""
    return 100 / (len(self.ticks) - 1)


def panels(summary: Sequence[Entry]) -> list[Panel]:
  """A panel for each data set and number of labels. Where these hold more than MOST scores of several methods, there is
  one for each mode, in the order of the summary, with the references, of the method "none", in each; or one for each
  method, where every method has references of its own.
  """
  several, made = "dataset" in statistics.varying(summary), []
  for dataset, labels in sorted(_places(summary), key=lambda place: place[1]):
    entries = [entry for entry in summary if (entry.dataset, entry.labels) == (dataset, labels)]
    title = f"{dataset}, {statistics.labels_text(labels)}" if several else statistics.labels_text(labels)
    methods = statistics.unique(entry.method for entry in entries if entry.method != NONE)
    if len(methods) < 2 or len(entries) <= MOST:
      made.append(Panel(title, "", _ranked([Dot(name_of(entry, entries), entry) for entry in entries])))
    elif any(entry.method == NONE for entry in entries):
      modes = statistics.unique(entry.mode for entry in entries if entry.method != NONE)
      for mode in modes:
        compared = [entry for entry in entries if entry.mode == mode or (entry.method == NONE and _fits(entry, mode))]
        dots = [Dot(entry.mode if entry.method == NONE else _name(entry, entries), entry) for entry in compared]
        made.append(Panel(title, mode, _ranked(dots)))
    else:
      for method in methods:
        alone = [entry for entry in entries if entry.method == method]
        made.append(Panel(title, method, _ranked([Dot(name_of(entry, alone), entry) for entry in alone])))
  return made


def spread(entry: Entry) -> tuple[float, float]:
  """From where to where its whisker is: a standard deviation either side of the mean or, of a cross-validation, the
  95% interval of the mean.
  """
  if entry.mean_low is not None and entry.mean_high is not None:
    return entry.mean_low, entry.mean_high
  return entry.mean - (entry.std or 0.0), entry.mean + (entry.std or 0.0)


def axis(summary: Sequence[Entry]) -> Axis:
  """Of all means, their standard deviations and the values of single subsets; percents end at 100."""
  from matplotlib.ticker import MaxNLocator

  score = statistics.shared_score(summary)
  means = [end for entry in summary for end in spread(entry)]
  values = [score.factor * value for value in (*means, *(v for entry in summary for v in entry.values))]
  low, high = min(values), max(values)
  room = 0.03 * (high - low) or 0.02 * score.factor
  ticks = [float(tick) for tick in MaxNLocator(LINES, steps=[1, 2, 5, 10]).tick_values(low - room, high + room)]
  if score.unit == "%" and 0 <= min(entry.mean for entry in summary) <= max(entry.mean for entry in summary) <= 1:
    ticks = [tick for tick in ticks if 0 <= tick <= 100]
  return Axis([round(tick, 9) for tick in ticks])


def _fits(reference: Entry, mode: str) -> bool:
  """Whether a reference is shown beside `mode`: of those for one mode alone, as `raw+propagate`, the one of its own."""
  return reference.mode.partition("+")[2] in ("", mode)


def _places(summary: Sequence[Entry]) -> list[tuple[str, int]]:
  return statistics.unique((entry.dataset, entry.labels) for entry in summary)


def _ranked(dots: list[Dot]) -> list[Dot]:
  return sorted(dots, key=lambda dot: -statistics.goodness(dot.entry.score, dot.entry.mean))


def _name(entry: Entry, entries: Sequence[Entry]) -> str:
  """Of a method, without its mode."""
  parts = [getattr(entry, key) for key in statistics.varying(entries)]
  return " ".join(str(part) for part in parts)
