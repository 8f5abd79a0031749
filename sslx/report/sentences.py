"""What a summary says, in plain sentences. All of it is computed from the entries of `summarise`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sslx.report import statistics
from sslx.report.intervals import FEW_EXAMPLES, FEW_PAIRS, RIGHT_ANSWERS
from sslx.report.statistics import REFERENCES, Entry, name_of, quantity


def verdict(summary: Sequence[Entry]) -> list[str]:
  """Each mode against the baseline, then each mode that raw pixels or a random encoder match, then what the intervals
  do not cover.
  """
  return [*comparisons(summary), *doubts(summary), *caveats(summary)]


def comparisons(summary: Sequence[Entry]) -> list[str]:
  """Each mode against the baseline, in one sentence each."""
  if not summary:
    return ["There are no results yet."]
  compared = statistics.judged(summary)
  return [_comparison(entry, summary) for entry in compared] or ["There is no pretrained encoder to judge yet."]


def _comparison(entry: Entry, summary: Sequence[Entry]) -> str:
  name, baseline, at = name_of(entry, summary), entry.baseline, f"at {statistics.labels_text(entry.labels)}"
  if entry.difference is None:
    if not statistics.reference(map(statistics.key_of, summary), statistics.key_of(entry), baseline, ()):
      return f"{name}: there is no {baseline} row {at}: not compared."
    return f"{name}: no labelled subset in common with {baseline} {at}: not compared."
  over = "over" if entry.score.higher_is_better and entry.difference >= 0 else "against"
  start = f"{name}: {statistics.change_quantity(entry.score, entry.difference)} {over} {baseline} {at}"
  if entry.low is None or entry.high is None:
    return f"{start}, on one labelled subset: too few for an interval, so no claim."
  start += f", 95% CI {statistics.interval(entry.low, entry.high, entry.score)}"
  if entry.judgement == "level":
    return f"{start}: the interval includes zero: no measurable difference."
  if entry.judgement == "unclaimed":
    return f"{start}, on {entry.pairs} labelled subsets: too few, so no claim."
  return f"{start}: {entry.judgement}."


def best(summary: Sequence[Entry]) -> list[str]:
  """For each data set and number of labels, the sentence of the pretrained encoder with the best mean score."""
  sentences = []
  for place in statistics.unique((entry.dataset, entry.labels) for entry in summary):
    entries = [entry for entry in statistics.judged(summary) if (entry.dataset, entry.labels) == place]
    if entries:
      winner = max(entries, key=lambda entry: statistics.goodness(entry.score, entry.mean))
      sentences.append(f"{quantity(winner.score, winner.mean)}: {_comparison(winner, summary)}")
  return sentences


def against(rows: Iterable[Mapping[str, Any]], baseline: str, mode: str = "frozen") -> dict[int, str]:
  """{labels: which methods' `mode` is better than, worse than or level with `baseline`, by the 95% intervals, and of
  which nothing is claimed}, in one sentence.
  """
  sentences, summary = {}, statistics.summarise(rows, baseline)
  varying = statistics.varying(summary)
  unit = statistics.shared_score(summary).difference
  for labels in statistics.unique(entry.labels for entry in summary):
    groups: dict[str, list[str]] = {"better": [], "level": [], "worse": [], "unclaimed": []}
    for entry in summary:
      if (entry.labels, entry.mode) != (labels, mode) or None in (entry.difference, entry.low, entry.high):
        continue
      where = "".join(f" on {getattr(entry, key)}" for key in ("encoder", "dataset") if key in varying)
      assert entry.difference is not None
      groups[entry.judgement].append(f"{entry.method}{where} ({statistics.change(entry.score, entry.difference)})")
    words = {"level": "no measurable difference", "unclaimed": "too few subsets for a claim"}
    parts = [f"{words.get(group, group)}: {', '.join(names)}" for group, names in groups.items() if names]
    if parts:
      units = f", in {unit}" if unit else ""
      at = statistics.labels_text(labels)
      sentences[labels] = f"{mode.capitalize()} against {baseline} at {at}{units}: {'; '.join(parts)}."
  return sentences


def doubts(summary: Sequence[Entry]) -> list[str]:
  """Each mode that raw pixels or a random encoder match."""
  by_key = {statistics.key_of(entry): entry for entry in summary}
  references = statistics.unique(entry.mode for entry in summary if entry.is_reference)
  raw = {entry.mode for entry in summary if entry.reads == "raw"}
  sentences = []
  for entry in summary:
    if entry.is_reference:
      continue
    for mode in references:
      other = by_key.get(statistics.reference(by_key, statistics.key_of(entry), mode, raw))
      if other is None or statistics.goodness(entry.score, entry.mean - other.mean) > 0:
        continue
      means = f"{quantity(entry.score, entry.mean)} against {quantity(entry.score, other.mean)}"
      at = statistics.labels_text(entry.labels)
      meaning = f" ({REFERENCES[mode]})" if mode in REFERENCES else ""
      sentences.append(f"{name_of(entry, summary)} does not beat {mode}{meaning} at {at}: mean {means}.")
  return sentences


def caveats(summary: Sequence[Entry]) -> list[str]:
  """What the intervals cover and what they do not, and that the test split is small."""
  compared = [entry for entry in summary if entry.low is not None]
  if not compared:
    return small_tests(summary)
  if all(entry.runs == entry.n for entry in compared):
    text = "Each seed has a pretraining run of its own: an interval covers both it and the choice of labelled subsets."
  else:
    text = (
      "The seeds share one pretraining run: an interval covers the choice of labelled subsets, and the pretraining "
      "seed is fixed."
    )
  several = " Each interval stands for itself, unadjusted for the number of comparisons." if len(compared) > 1 else ""
  few = [entry for entry in compared if entry.pairs < FEW_PAIRS and (entry.test_examples or 0) >= FEW_EXAMPLES]
  large = statistics.unique(f"{e.test_examples:,} test images" for e in few if e.score == RIGHT_ANSWERS)
  drawn = f" With fewer than {FEW_PAIRS} labelled subsets they include the draw of the {' or '.join(large)}."
  return [text + several + (drawn if large else ""), *small_tests(summary)]


def small_tests(summary: Sequence[Entry]) -> list[str]:
  """Each test split of fewer than FEW_EXAMPLES examples, where the scores are shares of right answers, and what one of
  these is worth.
  """
  sentences, several = [], "dataset" in statistics.varying(summary)
  shares = [e for e in summary if e.score == RIGHT_ANSWERS and e.test_examples and e.test_examples < FEW_EXAMPLES]
  for dataset, tested in statistics.unique((entry.dataset, entry.test_examples) for entry in shares):
    alike = [entry for entry in shares if (entry.dataset, entry.test_examples) == (dataset, tested)]
    included = "; the intervals include it" if any(entry.low is not None for entry in alike) else ""
    images = "1 image" if tested == 1 else f"{tested:,} images"
    one = statistics.change_quantity(RIGHT_ANSWERS, 1 / tested).removeprefix("+")
    of = f" of {dataset}" if several else ""
    sentences.append(f"The test split{of} has {images}: one image is {one}{included}.")
  return sentences
