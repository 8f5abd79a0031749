"""What a table says, in words: who wins, by how much, and who cannot be told from the winner.

Two predictors that were trained on the same label subsets are compared subset by subset, with the 95% interval of
`sslx.report.intervals.difference_interval`. Where there is one subset (all labels are used), there is no spread over
subsets; what is known then, of shares of right answers, is how far two of them on that many test examples may lie apart
by the draw of these examples alone: the normal approximation of two binomials, as if they were independent, which is
wide for predictors that err on the same examples.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sslx.report import statistics
from sslx.report.intervals import FEWEST_PAIRS, RIGHT_ANSWERS, difference_interval, share_variance
from sslx.report.statistics import Entry
from sslx.types import Score


class Standing(NamedTuple):
  """One of several predictors, and how far it lies behind the best of them."""

  name: str
  mean: float
  behind: float
  """Mean of (its score - the best's): 0 for the best."""
  low: float | None
  """Where its 95% interval begins; None for the best, or where nothing is known."""
  high: float | None
  score: Score = RIGHT_ANSWERS
  pairs: int = 0
  """On how many label subsets both were trained; 0 for the best."""

  @property
  def level(self) -> bool:
    """Whether it cannot be told from the best. Not where nothing is known: one training each, of a score whose spread
    over test examples is not known."""
    return not self.pairs or (self.low is not None and self.high is not None and self.low <= 0 <= self.high)


def ranking(entries: Sequence[Entry], name: Callable[[Entry], str], test_examples: int) -> list[Standing]:
  """Entries of one data set and number of labels, best mean first; at equal means, the one that trains less.

  test_examples: that each score was measured on.
  """
  order = sorted(entries, key=lambda e: (-statistics.goodness(e.score, e.mean), e.parameters_trainable or 0))
  return [_standing(name(e), e, order[0], test_examples) for e in order]


def _standing(name: str, entry: Entry, best: Entry, test_examples: int) -> Standing:
  if entry is best:
    return Standing(name, entry.mean, 0.0, None, None, entry.score)
  other = dict(zip(best.seeds, best.values, strict=True))
  pairs = [(value, other[seed]) for seed, value in zip(entry.seeds, entry.values, strict=True) if seed in other]
  if len(pairs) > 1:
    differences = [a - b for a, b in pairs]
    ends = difference_interval(differences, np.mean(pairs, 0), test_examples, entry.score, entry.folds)
    return Standing(name, entry.mean, sum(differences) / len(pairs), *ends, entry.score, len(pairs))
  difference, ends = entry.mean - best.mean, (None, None)
  if entry.score == RIGHT_ANSWERS:  # of other scores the spread over test examples is not known
    half = 1.96 * float(np.sqrt(sum(share_variance(p, test_examples) for p in (entry.mean, best.mean))))
    ends = difference - half, difference + half
  return Standing(name, entry.mean, difference, *ends, entry.score, 1)


def reading(at: str, ranked: Sequence[Standing]) -> str:
  """`at: X is the best, 94.4%; no measurable difference to Y (-0.3 [-0.8, +0.2]); behind it Z (-3.0 [-3.9, -2.1]).`"""
  best, *rest = ranked
  parts = [f"{at}: {best.name} is the best, {statistics.quantity(best.score, best.mean)}"]
  behind = [standing for standing in rest if not standing.level]
  for words, standings in (
    ("no measurable difference to", [standing for standing in rest if standing.level]),
    ("behind it", [standing for standing in behind if standing.pairs >= FEWEST_PAIRS]),
    ("behind it, with no claim", [standing for standing in behind if standing.pairs < FEWEST_PAIRS]),
  ):
    if standings:
      parts.append(f"{words} {', '.join(map(_standing_text, standings))}")
  return "; ".join(parts) + "."


def _standing_text(standing: Standing) -> str:
  text = statistics.change(standing.score, standing.behind)
  if standing.low is not None and standing.high is not None:
    text += f" {statistics.interval(standing.low, standing.high, standing.score)}"
  return f"{standing.name} ({text})"


def note(score: Score = RIGHT_ANSWERS) -> str:
  """What "no measurable difference" means in `reading`."""
  unit = f", in {score.difference}," if score.difference else ""
  is_share = score == RIGHT_ANSWERS
  drawing = "the interval is that of drawing the test examples" if is_share else "there is no interval"
  return (
    f"No measurable difference: the 95% interval of the difference to the best{unit} includes zero. It is paired by "
    f"label subset; where all labels are used there is one training of each, and {drawing}. With no claim: it leaves "
    f"zero out, but on fewer than {FEWEST_PAIRS} label subsets{'' if is_share else ', or there is none'}. The best is "
    "the best of this table, so its lead is flattered a little; intervals are not adjusted for the number of "
    "comparisons."
  )


def method_or_tuning(
  fixed: Sequence[Mapping[str, Any]], tuned: Sequence[Mapping[str, Any]], mode: str = "frozen"
) -> list[str]:
  """Is the gain of `mode` over scratch the method's, or the hyper-parameters'? One sentence a number of labels.

  fixed, tuned: rows where all modes have one setting, and where each mode chose its own. Gains are paired by subset
  seed, and so is their change from one to the other.
  """

  def pairs_of(rows: Sequence[Mapping[str, Any]], labels: int) -> dict[int, tuple[float, float]]:
    values = {(r["mode"], r["subset_seed"]): statistics.value_of(r) for r in rows if r["labels"] == labels}
    seeds = [seed for name, seed in values if name == mode and ("scratch", seed) in values]
    return {seed: (values[mode, seed], values["scratch", seed]) for seed in seeds}

  sentences = []
  for labels in dict.fromkeys(r["labels"] for r in tuned):
    score = statistics.score_of(tuned[0])
    before, after = pairs_of(fixed, labels), pairs_of(tuned, labels)
    both = [(*after[seed], *before[seed]) for seed in after if seed in before]
    if len(both) < 2:
      continue
    tested = min((n for row in tuned if (n := row.get("test_examples"))), default=None)
    compared = list(before.values()), list(after.values()), both
    differences = (
      *([theirs - scratch for theirs, scratch in pairs] for pairs in compared[:2]),
      [(theirs - scratch) - (once - scratch_once) for theirs, scratch, once, scratch_once in both],
    )
    gains = (statistics.gain(d, score, np.mean(s, 0), tested) for d, s in zip(differences, compared, strict=True))
    texts, *ends = zip(*gains, strict=True)
    intervals = [(low, high) if score.higher_is_better else (-high, -low) for low, high in zip(*ends, strict=True)]
    sentences.append(
      f"{mode} over scratch at {labels:,} labels: {texts[0]} with one fixed setting for both, {texts[1]} where both "
      f"are tuned; tuning moves it by {texts[2]}: "
      f"{_conclusion(*intervals) if len(both) >= FEWEST_PAIRS else 'too few label subsets for a claim'}."
    )
  return sentences


def _conclusion(fixed: tuple[float, float], tuned: tuple[float, float], change: tuple[float, float]) -> str:
  """What the three 95% intervals (gain with fixed settings, where both are tuned, their difference) say together; above
  zero is better.
  """
  if tuned[0] > 0:
    if fixed[0] <= 0:
      return "the gain is the method's, and fixed settings hid it"
    if change[1] < 0:
      return "the gain is the method's, but hyper-parameters made it larger"
    return "the gain is the method's" + (", and tuning makes it larger" if change[0] > 0 else "")
  if tuned[1] < 0:
    was = ": what it gained was the hyper-parameters'" if fixed[0] > 0 else ""
    return f"the method is worse than its tuned baseline{was}"
  if fixed[0] > 0:
    return "no measurable gain is left: it was the hyper-parameters'" if change[1] < 0 else "not decided by these seeds"
  return "there is no measurable gain to explain"
