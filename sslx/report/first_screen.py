"""The first screen of a report: the answer in scores, and beside it every score as a dot on one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sslx.report import dots, sentences, statistics, tables
from sslx.report.dots import Axis, Dot, Panel
from sslx.report.statistics import Entry

WITHOUT = {"scratch": "from scratch", "random": "with a random encoder"}  # what a baseline is called below its score


class Number(NamedTuple):
  """A large number, and what it is."""

  value: str
  """`86.7`"""
  unit: str
  what: str
  """`with pretraining`"""
  how: str
  """What was done, in small letters."""
  role: str
  """See `Dot.role`."""


class Headline(NamedTuple):
  """The answer for one data set and number of labels."""

  at: str
  """`100 labels`"""
  numbers: list[Number]
  start: str
  """Of the sentence that judges them."""
  outcome: str
  """Its end, in bold."""
  judgement: str
  remarks: Sequence[str]
  sentence: str
  """All of it in one."""
  key: tuple
  """Of the entry that it is about, see `statistics.key_of`."""


class Mark(NamedTuple):
  """A line of a plot; places are in percent of its width, from the left."""

  name: str
  what: str
  """The mode in words, where the line names one; of long words the first part."""
  role: str
  value: str
  """`86.7 ± 1.0`"""
  place: float
  begin: float
  """Of the whisker."""
  width: float
  subsets: list[float]
  """The scores on single label subsets."""


class Plot(NamedTuple):
  """A panel as a page draws it."""

  title: str
  what: str
  """Its mode in words, where it is of one."""
  ticks: list[tuple[float, str]]
  step: float
  """Of the grid, in percent."""
  marks: list[Mark]
  lines: list[tuple[float, str]]
  """(place, role) of the vertical lines."""


def headlines(summary: Sequence[Entry], modes: Mapping[str, str]) -> list[Headline]:
  """The answers of a summary, the fewest labels first; [] where no pretrained encoder was tested.

  modes: what each does, in words.
  """
  entries = {statistics.key_of(entry): entry for entry in summary}
  told = dict(zip(map(statistics.key_of, statistics.judged(summary)), sentences.comparisons(summary), strict=False))
  several, made = "dataset" in statistics.varying(summary), []
  for answer in sorted(sentences.answer(summary), key=lambda answer: answer.labels):
    key = answer.method, answer.dataset, answer.encoder, answer.labels, answer.mode
    at = statistics.labels_text(answer.labels)
    best = f"{answer.method}, the best mean of {answer.compared}. " if answer.compared > 1 else ""
    numbers = [_number(entries[key], "with pretraining", best + _mode(answer.mode, modes), "pretrained")]
    if answer.baseline:
      other = entries[statistics.reference(entries, key, answer.baseline_mode, ())]
      words = WITHOUT.get(answer.baseline_mode, f"with {answer.baseline_mode}")
      numbers.append(_number(other, words, _mode(answer.baseline_mode, modes), "baseline"))
    start, colon, outcome = told[key].rpartition(": ")
    at += f" of {answer.dataset}" if several else ""
    made.append(Headline(at, numbers, start + colon, outcome, answer.judgement, answer.remarks, answer.sentence, key))
  return made


def plots(summary: Sequence[Entry], modes: Mapping[str, str], told: Sequence[Headline]) -> list[Plot]:
  """All panels of `dots.panels`, on one axis, that of the first of `told` first; modes: see `headlines`."""
  if not summary:
    return []
  axis, score = dots.axis(summary), statistics.shared_score(summary)
  unit = f" in {score.unit}" if score.unit not in ("%", "") else ""
  judged = "Cross-validated" if tables.folded(summary) else "Test"
  heading = f"{judged} {score.name}{unit}{'' if score.higher_is_better else ' (lower is better)'}"
  ticks = [(axis.percent(tick), f"{tick:g}{'%' if score.unit == '%' else ''}") for tick in axis.ticks]
  return [
    Plot(
      f"{heading}, {panel.title}",
      _mode(panel.group, modes) if panel.group in modes else "",
      ticks,
      axis.step,
      [_mark(dot, axis, modes, panel) for dot in panel.dots],
      [(axis.percent(score.factor * dot.entry.mean), dot.role) for dot in panel.lines],
    )
    for panel in sorted(dots.panels(summary), key=lambda panel: not _holds(panel, told[:1]))
  ]


def _number(entry: Entry, what: str, how: str, role: str) -> Number:
  return Number(statistics.number(entry.score, entry.mean), entry.score.unit, what, how, role)


def _mode(mode: str, modes: Mapping[str, str]) -> str:
  return f"{mode}: {modes[mode]}" if mode in modes else mode


def _holds(panel: Panel, told: Sequence[Headline]) -> bool:
  return any(statistics.key_of(dot.entry) == headline.key for dot in panel.dots for headline in told)


def _mark(dot: Dot, axis: Axis, modes: Mapping[str, str], panel: Panel) -> Mark:
  entry, factor = dot.entry, dot.entry.score.factor
  mean = factor * entry.mean
  begin, end = (min(max(axis.percent(factor * end), 0.0), 100.0) for end in dots.spread(entry))
  subsets = [axis.percent(factor * value) for value in entry.values] if entry.n > 1 else []
  what = modes.get(entry.mode, "").partition(";")[0] if entry.mode != panel.group else ""
  name = tables.shortened(dot.name)
  return Mark(name, what, dot.role, tables.score_text(entry), axis.percent(mean), begin, end - begin, subsets)
