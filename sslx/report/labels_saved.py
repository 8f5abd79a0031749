"""How many labels pretraining saves: the number of them that training from scratch needs to be as accurate."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sslx import report


class Needed(NamedTuple):
  """How many labels the baseline needs to be as accurate as a pretrained encoder is with `labels` of them."""

  name: str  # of the encoder and its mode
  labels: int
  accuracy: float
  needed: float  # by the mean curve: inf where the baseline never gets there, least where it was there from the start
  subsets: tuple[float, ...]  # the same subset by subset
  least: int  # the fewest labels that the baseline was trained on
  most: int


def labels_to_reach(counts: Sequence[float], accuracies: Sequence[float], target: float) -> float:
  """The number of labels at which a learning curve first reaches `target`.

  The curve is straight between its points in the logarithm of the labels. counts[0] where it is there from the start
  (fewer may do); inf where it never gets there.

  Args:
    counts: ascending numbers of labels.
    accuracies: one for each.
    target: an accuracy.
  """
  reached = np.flatnonzero(np.asarray(accuracies) >= target)
  if not len(reached):
    return math.inf
  i = int(reached[0])
  if i == 0:
    return float(counts[0])
  share = (target - accuracies[i - 1]) / (accuracies[i] - accuracies[i - 1])
  return float(counts[i - 1] * (counts[i] / counts[i - 1]) ** share)


def labels_needed(summary: Sequence[report.Row], baseline: str = "scratch") -> list[Needed]:
  """One for each pretrained encoder, mode and number of labels, where the baseline was trained on several numbers.

  With how many labels does training from scratch match the pretrained encoder? Newell & Deng, How Useful is
  Self-Supervised Pretraining for Visual Tasks?, 2020, arXiv 2003.14323 call the ratio of the two, less one, the
  utility of pretraining; Henaff et al., Data-Efficient Image Recognition with Contrastive Predictive Coding, 2020,
  arXiv 1905.09272 draw it.
  """
  curve = sorted((e for e in summary if e["mode"] == baseline), key=lambda e: e["labels"])
  if len(curve) < 2:
    return []
  counts = [entry["labels"] for entry in curve]
  means = [entry["mean"] for entry in curve]
  by_seed = [dict(zip(entry["seeds"], entry["accuracies"], strict=True)) for entry in curve]
  found = []
  for entry in summary:
    if entry["mode"] in (baseline, *report.REFERENCES):
      continue
    subsets = [  # where all labels are used, there is one subset for all seeds
      labels_to_reach(counts, [own.get(seed, mean) for own, mean in zip(by_seed, means, strict=True)], accuracy)
      for seed, accuracy in zip(entry["seeds"], entry["accuracies"], strict=True)
    ]
    needed = labels_to_reach(counts, means, entry["mean"])
    name = report.name_of(entry, summary)
    found.append(Needed(name, entry["labels"], entry["mean"], needed, tuple(subsets), counts[0], counts[-1]))
  return found


def needed_cells(found: Sequence[Needed]) -> report.Cells:
  """A line an encoder and mode, a column a number of labels: `310 (3.1 times)`, `> 10,000`, `≤ 10`."""
  counts = sorted({one.labels for one in found})
  cells = {}
  for one in found:
    known = one.least < one.needed < math.inf
    cells[one.name, one.labels] = _needed_text(one.needed, one) + (f" ({times_text(one)})" if known else "")
  names = dict.fromkeys(one.name for one in found)
  headers = ["as good as", *(f"{count:,} labels" for count in counts)]
  return headers, [[name, *(cells.get((name, count), "") for count in counts)] for name in names]


def needed_sentences(found: Sequence[Needed], labels: int, baseline: str = "scratch") -> list[str]:
  """How many labels the baseline needs for each encoder's accuracy with `labels` of them, in words."""
  sentences = []
  for one in found:
    if one.labels != labels:
      continue
    low, high = (_needed_text(edge(one.subsets), one) for edge in (min, max))
    spread = f" (by subset {low if low == high else f'{low} to {high}'})" if len(one.subsets) > 1 else ""
    if math.isinf(one.needed):
      said = f"with {one.most:,}, the most it was given{spread}: not as good."
    elif one.needed <= one.least:
      said = f"with {one.least:,}, the fewest it was given{spread}: as good."
    else:
      said = f"is as good with about {_needed_text(one.needed, one)}{spread}: {times_text(one)} as many."
    of = f"{labels:,} label{'' if labels == 1 else 's'}"
    sentences.append(f"{one.name} has {100 * one.accuracy:.1f}% with {of}; {baseline} {said}")
  return sentences


def _needed_text(needed: float, one: Needed) -> str:
  if math.isinf(needed):
    return f"> {one.most:,}"
  return f"≤ {one.least:,}" if needed <= one.least else f"{_two_digits(needed):,}"


def _two_digits(number: float) -> int:
  """No more than an interpolation knows."""
  scale = 10 ** max(0, math.floor(math.log10(number)) - 1)
  return round(number / scale) * scale


def times_text(one: Needed) -> str:
  """How many times as many labels the baseline needs: `3.1 times`, or `> 100 times` where it does not get there."""
  ratio = min(one.needed, one.most) / one.labels
  return f"{'> ' if math.isinf(one.needed) else ''}{ratio:{'.1f' if ratio < 9.95 else ',.0f'}} times"
