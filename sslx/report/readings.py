"""What a table says, in words: who wins, by how much, and who cannot be told from the winner.

Two predictors that were trained on the same label subsets are compared subset by subset, with the 95% interval of
`sslx.report`. Where there is one subset (all labels are used), there is no spread over subsets; what is known then, of
shares of right answers, is how far two of them on that many test examples may lie apart by the draw of these examples
alone: the normal approximation of two binomials, as if they were independent, which is wide for predictors that err on
the same examples.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sslx.report import statistics
from sslx.report.statistics import RIGHT_ANSWERS, Entry
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

  @property
  def level(self) -> bool:
    """Whether it cannot be told from the best."""
    return self.low is None or self.high is None or self.low <= 0 <= self.high


def ranking(entries: Sequence[Entry], name: Callable[[Entry], str], test_examples: int) -> list[Standing]:
  """Entries of one data set and number of labels, best mean first; at equal means, the one that trains less.

  test_examples: that each score was measured on.
  """
  order = sorted(entries, key=lambda e: (-statistics.goodness(e.score, e.mean), e.parameters_trainable or 0))
  return [Standing(name(e), e.mean, *_behind(e, order[0], test_examples), e.score) for e in order]


def _behind(entry: Entry, best: Entry, test_examples: int) -> tuple[float, float | None, float | None]:
  if entry is best:
    return 0.0, None, None
  other = dict(zip(best.seeds, best.values, strict=True))
  pairs = [(value, other[seed]) for seed, value in zip(entry.seeds, entry.values, strict=True) if seed in other]
  if len(pairs) > 1:
    differences = [a - b for a, b in pairs]
    return sum(differences) / len(pairs), *statistics.t_interval(differences)
  difference = entry.mean - best.mean
  if entry.score != RIGHT_ANSWERS:  # no share of right answers: its spread over test examples is not known
    return difference, None, None
  variance = sum(p * (1 - p) / test_examples for p in (entry.mean, best.mean))
  return difference, difference - 1.96 * math.sqrt(variance), difference + 1.96 * math.sqrt(variance)


def reading(at: str, ranked: Sequence[Standing]) -> str:
  """`at: X is the best, 94.4%; no measurable difference to Y (-0.3 [-0.8, +0.2]); behind it Z (-3.0 [-3.9, -2.1]).`"""
  best, *rest = ranked
  parts = [f"{at}: {best.name} is the best, {statistics.quantity(best.score, best.mean)}"]
  for words, standings in (
    ("no measurable difference to", [standing for standing in rest if standing.level]),
    ("behind it", [standing for standing in rest if not standing.level]),
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
  drawing = "the interval is that of drawing the test examples" if score == RIGHT_ANSWERS else "there is no interval"
  return (
    f"No measurable difference: the 95% interval of the difference to the best{unit} includes zero. It is paired by "
    f"label subset; where all labels are used there is one training of each, and {drawing}. The best is the best of "
    "this table, so its lead is flattered a little; intervals are not adjusted for the number of comparisons."
  )


def method_or_tuning(
  fixed: Sequence[Mapping[str, Any]], tuned: Sequence[Mapping[str, Any]], mode: str = "frozen"
) -> list[str]:
  """Is the gain of `mode` over scratch the method's, or the hyper-parameters'? One sentence a number of labels.

  fixed, tuned: rows where all modes have one setting, and where each mode chose its own. Gains are paired by subset
  seed, and so is their change from one to the other.
  """

  def gains(rows: Sequence[Mapping[str, Any]], labels: int) -> dict[int, float]:
    values = {(r["mode"], r["subset_seed"]): statistics.value_of(r) for r in rows if r["labels"] == labels}
    seeds = [seed for name, seed in values if name == mode and ("scratch", seed) in values]
    return {seed: values[mode, seed] - values["scratch", seed] for seed in seeds}

  sentences = []
  for labels in dict.fromkeys(r["labels"] for r in tuned):
    score = statistics.score_of(tuned[0])
    before, after = gains(fixed, labels), gains(tuned, labels)
    change = [after[seed] - before[seed] for seed in after if seed in before]
    if len(change) < 2:
      continue
    differences = list(before.values()), list(after.values()), change
    texts, *ends = zip(*(statistics.gain(d, score) for d in differences), strict=True)
    intervals = [(low, high) if score.higher_is_better else (-high, -low) for low, high in zip(*ends, strict=True)]
    sentences.append(
      f"{mode} over scratch at {labels:,} labels: {texts[0]} with one fixed setting for both, {texts[1]} where both "
      f"are tuned; tuning moves it by {texts[2]}: {_conclusion(*intervals)}."
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
