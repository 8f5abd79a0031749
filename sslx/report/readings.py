"""What a table says, in words: who wins, by how much, and who cannot be told from the winner. All computed from the rows.

Two classifiers that were trained on the same label subsets are compared subset by subset, with the 95% interval of
`sslx.report`. Where there is one subset (all labels are used), there is no spread over subsets; what is known then is how
far two accuracies on that many test images may lie apart by the draw of these images alone: the normal approximation of
two binomials, as if they were independent, which is wide for classifiers that err on the same images.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sslx import report

Entry = Mapping[str, Any]  # of report.summarise


class Standing(NamedTuple):
  """One of several classifiers, and how far it lies behind the best of them."""

  name: str
  mean: float
  behind: float  # mean of (its accuracy - the best's), a fraction: 0 for the best
  low: float | None  # 95% interval; None for the best, or where nothing is known
  high: float | None

  @property
  def level(self) -> bool:
    """Whether it cannot be told from the best."""
    return self.low is None or self.high is None or self.low <= 0 <= self.high


def ranking(entries: Sequence[Entry], name: Callable[[Entry], str], test_images: int) -> list[Standing]:
  """Entries of one data set and number of labels, best mean first; at equal means, the one that trains less.

  test_images: that each accuracy was measured on.
  """
  order = sorted(entries, key=lambda e: (-e["mean"], e["parameters_trainable"] or 0))
  best = order[0]
  return [Standing(name(e), e["mean"], *_behind(e, best, test_images)) for e in order]


def _behind(entry: Entry, best: Entry, test_images: int) -> tuple[float, float | None, float | None]:
  if entry is best:
    return 0.0, None, None
  other = dict(zip(best["seeds"], best["accuracies"], strict=True))
  pairs = [(a, other[s]) for s, a in zip(entry["seeds"], entry["accuracies"], strict=True) if s in other]
  if len(pairs) > 1:
    differences = [a - b for a, b in pairs]
    return sum(differences) / len(pairs), *report.t_interval(differences)
  difference = entry["mean"] - best["mean"]
  variance = sum(p * (1 - p) / test_images for p in (entry["mean"], best["mean"]))
  return difference, difference - 1.96 * math.sqrt(variance), difference + 1.96 * math.sqrt(variance)


def reading(at: str, ranked: Sequence[Standing]) -> str:
  """`at: X is the best, 94.4%; no measurable difference to Y (-0.3 [-0.8, +0.2]); behind it Z (-3.0 [-3.9, -2.1]).`"""
  best, *rest = ranked
  parts = [f"{at}: {best.name} is the best, {100 * best.mean:.1f}%"]
  for said, names in (
    ("no measurable difference to", [one for one in rest if one.level]),
    ("behind it", [one for one in rest if not one.level]),
  ):
    if names:
      parts.append(f"{said} {', '.join(map(_said, names))}")
  return "; ".join(parts) + "."


def _said(one: Standing) -> str:
  interval = "" if one.low is None or one.high is None else f" {report.interval(one.low, one.high)}"
  return f"{one.name} ({100 * one.behind:+.1f}{interval})"


NOTE = (
  "No measurable difference: the 95% interval of the difference to the best, in points, includes zero. It is paired by label subset; where all "
  "labels are used there is one training of each, and the interval is that of drawing the test images. The best is the best "
  "of this table, so its lead is flattered a little; intervals are not adjusted for the number of comparisons."
)


def method_or_tuning(fixed: Sequence[Entry], tuned: Sequence[Entry], mode: str = "frozen") -> list[str]:
  """Is the gain of `mode` over scratch the method's, or the hyper-parameters'? One sentence a number of labels.

  fixed, tuned: rows where all modes have one setting, and where each mode chose its own. Gains are paired by subset seed,
  and so is their change from one to the other.
  """

  def gains(rows: Sequence[Entry], labels: int) -> dict[int, float]:
    right = {(r["mode"], r["subset_seed"]): r["test_accuracy"] for r in rows if r["labels"] == labels}
    seeds = [seed for name, seed in right if name == mode and ("scratch", seed) in right]
    return {seed: right[mode, seed] - right["scratch", seed] for seed in seeds}

  sentences = []
  for labels in dict.fromkeys(r["labels"] for r in tuned):
    before, after = gains(fixed, labels), gains(tuned, labels)
    change = [after[seed] - before[seed] for seed in after if seed in before]
    if len(change) < 2:
      continue
    one, two, moved = report.gain(list(before.values())), report.gain(list(after.values())), report.gain(change)
    sentences.append(
      f"{mode} over scratch at {labels:,} labels: {one[0]} with one fixed setting for both, {two[0]} where both are "
      f"tuned; tuning moves it by {moved[0]}: {_conclusion(one[1:], two[1:], moved[1:])}."
    )
  return sentences


def _conclusion(fixed: tuple, tuned: tuple, change: tuple) -> str:
  """What the three 95% intervals (gain with fixed settings, where both are tuned, their difference) say together."""
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
