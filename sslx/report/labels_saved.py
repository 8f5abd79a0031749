"""How many labels pretraining saves: the number of them that training from scratch needs to be as good."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sslx.report import statistics
from sslx.report.statistics import RIGHT_ANSWERS, Entry
from sslx.report.tables import Cells, shortened
from sslx.types import Score


class Needed(NamedTuple):
  """How many labels the baseline needs to be as good as a pretrained encoder is with `labels` of them."""

  name: str
  """Of the encoder and its mode."""
  labels: int
  value: float
  """The encoder's mean score."""
  needed: float
  """By the mean curve: inf where the baseline never gets there, `least` where it was there from the start."""
  subsets: tuple[float, ...]
  """The same subset by subset."""
  least: int
  """The fewest labels that the baseline was trained on."""
  most: int
  score: Score = RIGHT_ANSWERS


def labels_to_reach(
  counts: Sequence[float], values: Sequence[float], target: float, higher_is_better: bool = True
) -> float:
  """The number of labels at which a learning curve first reaches `target`, from below where a higher value is better,
  from above where a lower one is.

  The curve is straight between its points in the logarithm of the labels. counts[0] where it is there from the start
  (fewer may do); inf where it never gets there.

  Args:
    counts: ascending numbers of labels.
    values: a score for each.
    target: a score.
    higher_is_better: which of two scores is better.
  """
  curve, target = (np.asarray(values), target) if higher_is_better else (-np.asarray(values), -target)
  reached = np.flatnonzero(curve >= target)
  if not len(reached):
    return math.inf
  i = int(reached[0])
  if i == 0:
    return float(counts[0])
  share = (target - curve[i - 1]) / (curve[i] - curve[i - 1])
  return float(counts[i - 1] * (counts[i] / counts[i - 1]) ** share)


def labels_needed(summary: Sequence[Entry], baseline: str = "scratch") -> list[Needed]:
  """One for each pretrained encoder, mode and number of labels, where the baseline was trained on several numbers.

  With how many labels does training from scratch match the pretrained encoder? Newell & Deng, How Useful is
  Self-Supervised Pretraining for Visual Tasks?, 2020, arXiv 2003.14323 call the ratio of the two, less one, the
  utility of pretraining; Henaff et al., Data-Efficient Image Recognition with Contrastive Predictive Coding, 2020,
  arXiv 1905.09272 draw it.
  """
  curve = sorted((entry for entry in summary if entry.mode == baseline), key=lambda entry: entry.labels)
  if len(curve) < 2:
    return []
  counts, means = [entry.labels for entry in curve], [entry.mean for entry in curve]
  by_seed = [dict(zip(entry.seeds, entry.values, strict=True)) for entry in curve]
  needs = []
  for entry in summary:
    if entry.mode == baseline or entry.is_reference:
      continue
    upwards = entry.score.higher_is_better
    subsets = [  # where all labels are used, there is one subset for all seeds
      labels_to_reach(counts, [of.get(seed, mean) for of, mean in zip(by_seed, means, strict=True)], value, upwards)
      for seed, value in zip(entry.seeds, entry.values, strict=True)
    ]
    needed = labels_to_reach(counts, means, entry.mean, upwards)
    name, ends = statistics.name_of(entry, summary), (counts[0], counts[-1])
    needs.append(Needed(name, entry.labels, entry.mean, needed, tuple(subsets), *ends, entry.score))
  return needs


def needed_cells(needs: Sequence[Needed]) -> Cells:
  """A line an encoder and mode, a column a number of labels: `310 (3.1 times)`, `> 10,000`, `≤ 10`."""
  counts = sorted({need.labels for need in needs})
  cells = {}
  for need in needs:
    known = need.least < need.needed < math.inf
    cells[need.name, need.labels] = _needed_text(need.needed, need) + (f" ({times_text(need)})" if known else "")
  names = dict.fromkeys(need.name for need in needs)
  headers = ["as good as", *map(statistics.labels_text, counts)]
  return Cells(headers, [[shortened(name), *(cells.get((name, count), "") for count in counts)] for name in names])


def needed_sentences(needs: Sequence[Needed], labels: int, baseline: str = "scratch") -> list[str]:
  """How many labels the baseline needs for each encoder's score with `labels` of them, in words."""
  sentences = []
  for need in needs:
    if need.labels != labels:
      continue
    low, high = (_needed_text(edge(need.subsets), need) for edge in (min, max))
    spread = f" (by subset {low if low == high else f'{low} to {high}'})" if len(need.subsets) > 1 else ""
    if math.isinf(need.needed):
      words = f"with {need.most:,}, the most it was given{spread}: not as good."
    elif need.needed <= need.least:
      words = f"with {need.least:,}, the fewest it was given{spread}: as good."
    else:
      words = f"is as good with about {_needed_text(need.needed, need)}{spread}: {times_text(need)} as many."
    value = statistics.quantity(need.score, need.value)
    sentences.append(f"{need.name} has {value} with {statistics.labels_text(labels)}; {baseline} {words}")
  return sentences


def _needed_text(needed: float, need: Needed) -> str:
  if math.isinf(needed):
    return f"> {need.most:,}"
  return f"≤ {need.least:,}" if needed <= need.least else f"{_two_digits(needed):,}"


def _two_digits(number: float) -> int:
  """No more than an interpolation knows."""
  scale = 10 ** max(0, math.floor(math.log10(number)) - 1)
  return round(number / scale) * scale


def times_text(need: Needed) -> str:
  """How many times as many labels the baseline needs: `3.1 times`, or `> 100 times` where it does not get there."""
  ratio = min(need.needed, need.most) / need.labels
  return f"{'> ' if math.isinf(need.needed) else ''}{ratio:{'.1f' if ratio < 9.95 else ',.0f'}} times"
