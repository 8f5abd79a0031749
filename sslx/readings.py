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
