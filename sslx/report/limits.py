"""What the intervals of a summary cover and what they do not, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from sslx.report import statistics
from sslx.report.intervals import FEW_EXAMPLES, FEW_PAIRS, RIGHT_ANSWERS
from sslx.report.statistics import Entry


def caveats(summary: Sequence[Entry]) -> list[str]:
  """What the intervals cover and what they do not, and that the test split is small."""
  compared = [entry for entry in summary if entry.low is not None]
  if not compared:
    return small_tests(summary)
  if any(entry.folds for entry in compared):
    text = (
      "Folds judge: each labelled example is judged by models that did not learn its label, and an interval "
      "covers other examples and other folds. The pretraining, which saw them all without labels, is one run."
    )
  elif all(entry.runs == entry.n for entry in compared):
    text = "Each seed has a pretraining run of its own: an interval covers both it and the choice of labelled subsets."
  else:
    text = (
      "The seeds share one pretraining run: an interval covers the choice of labelled subsets, and the pretraining "
      "seed is fixed."
    )
  several = " Each interval stands for itself, unadjusted for the number of comparisons." if len(compared) > 1 else ""
  few = [
    entry
    for entry in compared
    if not entry.folds and entry.pairs < FEW_PAIRS and (entry.test_examples or 0) >= FEW_EXAMPLES
  ]
  large = statistics.unique(f"{e.test_examples:,} test images" for e in few if e.score == RIGHT_ANSWERS)
  drawn = f" With fewer than {FEW_PAIRS} labelled subsets they include the draw of the {' or '.join(large)}."
  return [text + several + (drawn if large else ""), *small_tests(summary)]


def small_tests(summary: Sequence[Entry]) -> list[str]:
  """Each test split of fewer than FEW_EXAMPLES examples: of shares of right answers what one of these is worth, and of
  every score whether the intervals include the draw of these examples.
  """
  sentences, several = [], "dataset" in statistics.varying(summary)
  small = [e for e in summary if e.test_examples and e.test_examples < FEW_EXAMPLES and not e.folds]
  for dataset, tested in statistics.unique((entry.dataset, entry.test_examples) for entry in small):
    alike = [entry for entry in small if (entry.dataset, entry.test_examples) == (dataset, tested)]
    is_share, has_interval = alike[0].score == RIGHT_ANSWERS, any(entry.low is not None for entry in alike)
    thing = {"image": "image", "sound": "recording"}.get(alike[0].modality, alike[0].modality)
    examples = f"1 {thing}" if tested == 1 else f"{tested:,} {thing}s"
    text = f"The test split{f' of {dataset}' if several else ''} has {examples}"
    if is_share:
      text += f": one {thing} is {statistics.change_quantity(RIGHT_ANSWERS, 1 / tested).removeprefix('+')}"
    if has_interval:
      text += f"; the intervals {'include it' if is_share else 'do not include the draw of these'}"
    text += _undecided(alike, thing) if is_share else ""
    if is_share or has_interval:
      sentences.append(f"{text}.")
  return sentences


def _undecided(entries: Sequence[Entry], thing: str) -> str:
  """That a test split is too small to decide, where most of its differences are smaller than their intervals."""
  halves = [(e.high - e.low) / 2 for e in entries if e.low is not None and e.high is not None]
  level = [e for e in entries if e.judgement == "level"]
  if not halves or 2 * len(level) < len(halves):
    return ""
  half = statistics.change_quantity(RIGHT_ANSWERS, sorted(halves)[len(halves) // 2]).removeprefix("+")
  return (
    f", and differences below about {half} cannot be told. With these {thing}s in the training split and no test one, "
    "all labels judge, by cross-validation"
  )
