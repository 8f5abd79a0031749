"""Whether pretraining is worth it on somebody's own data: what is chosen, what it is worth, what more labels would buy.

Every number is computed here from rows that folds of the labels judge, and nothing is said that its interval does not
hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslx.report import labels_saved, statistics
from sslx.report.intervals import RIGHT_ANSWERS, resampled_error
from sslx.report.records import Row
from sslx.report.statistics import Entry, quantity
from sslx.types import Score

DRAWS = 2000  # of a bootstrap
PRIOR = (0.05, 0.05)
"""Mean and deviation of the gain of a panel's best frozen encoder over training from scratch, before a label is read:
about what this project's comparisons with 100 labels had (+3.8 points on Fashion-MNIST to +11.5 on MNIST)."""


class Growth(NamedTuple):
  """What a score would be with another number of labels, by the law that its errors follow so far."""

  labels: int
  value: float
  low: float
  high: float


class Choice(NamedTuple):
  """What is to be used."""

  entry: Entry
  other: Entry | None
  """The best of the other kind: what is not pretrained where `entry` is, and the other way round."""
  by_prior: bool
  """Whether `other` has the better mean, and the labels are too few to hold that against PRIOR."""


def choose(summary: Sequence[Entry]) -> Choice:
  """The best pretrained line or the best that is not, of those with the most labels; of equal ones the one that trains
  less.

  A hundred labels tell differences of ten points, and most are smaller. So what other data sets taught counts as well:
  the gain of the best pretrained line over the best other one is taken to be normal, with PRIOR's mean and deviation,
  and its mean after the labels, whose folds have a standard error, decides (of scores that are no shares of right
  answers, the labels alone).
  """
  most = max(entry.labels for entry in summary)
  rivals = [entry for entry in summary if entry.labels == most and entry.mode != "majority"]
  order = sorted(rivals, key=lambda e: (-statistics.goodness(e.score, e.mean), e.parameters_trainable or 0))
  pretrained = next((entry for entry in order if entry.reads == "pretrained"), None)
  plain = next((entry for entry in order if entry.reads != "pretrained"), None)
  if pretrained is None or plain is None:
    return Choice(order[0], None, False)
  gain, error = _gain(pretrained, plain)
  if pretrained.score == RIGHT_ANSWERS and error is not None:
    mean, deviation = PRIOR
    weight = deviation**2 / (deviation**2 + error**2)
    after = weight * gain + (1 - weight) * mean
    first, second = (pretrained, plain) if after >= 0 else (plain, pretrained)
    return Choice(first, second, first is pretrained and gain < 0)
  return Choice(order[0], plain if order[0] is pretrained else pretrained, False)


def _gain(entry: Entry, other: Entry) -> tuple[float, float | None]:
  """(The mean of what an entry is better by, its standard error over folds and examples), paired by fold."""
  mine, theirs = (dict(zip(each.seeds, each.values, strict=True)) for each in (entry, other))
  gains = [statistics.goodness(entry.score, mine[seed] - theirs[seed]) for seed in mine if seed in theirs]
  if len(gains) < 2 or not entry.folds:
    return statistics.goodness(entry.score, entry.mean - other.mean), None
  return float(np.mean(gains)), resampled_error(gains, entry.folds)


def right_answers(rows: Sequence[Row], judges: Mapping[int, np.ndarray]) -> np.ndarray:
  """f64 [N]: how often each labelled example was answered right, over the repetitions, by one line's rows of a
  cross-validation.

  judges: {subset seed: the examples that its row was judged by}, in the order of the row's `right`.
  """
  count = 1 + max(int(part.max()) for part in judges.values())
  sums, times = np.zeros(count), np.zeros(count)
  for row in rows:
    part = judges[row["subset_seed"]]
    sums[part] += [float(letter) for letter in row["right"]]
    times[part] += 1
  return sums[times > 0] / times[times > 0]


def unflattered(right: np.ndarray, draws: int = DRAWS, seed: int = 0) -> float:
  """The accuracy that choosing the best of C lines reaches, by their right answers f64 [C,N] on N examples.

  The best of several means is partly the luckiest one. So the choice is made on examples that are drawn with
  replacement, and what it chose is judged by those that were not drawn; the mean over all draws has no such luck
  (Tsamardinos, Greasidou, Borboudakis: Bootstrapping the out-of-sample predictions for efficient and accurate
  cross-validation, Machine Learning, 2018, arXiv 1708.07180).
  """
  rng, n = np.random.default_rng(seed), right.shape[1]
  values = []
  for _ in range(draws):
    times = np.bincount(rng.integers(0, n, n), minlength=n)
    out = times == 0
    if out.any():
      values.append(right[int((right @ times).argmax()), out].mean())
  return float(np.mean(values)) if values else float(right.mean(1).max())


def growth(entries: Sequence[Entry], labels: int, by: float = 0.0, draws: int = DRAWS, seed: int = 0) -> Growth | None:
  """What a line would reach with so many labels: its errors fall like a n^-b in the number n of labels, as they do over
  wide ranges (Hestness et al.: Deep Learning Scaling is Predictable, Empirically, 2017, arXiv 1712.00409), with an
  interval over draws of the folds.

  entries: of one line at several numbers of labels, on the same folds. None where these are fewer than two, or the
  score is no share of right answers. by: what is added to all of it, see `moved`.
  """
  entries = sorted(entries, key=lambda entry: entry.labels)
  if len(entries) < 2 or entries[0].score != RIGHT_ANSWERS:
    return None
  seeds = sorted(set.intersection(*(set(entry.seeds) for entry in entries)))
  values = np.array([[dict(zip(e.seeds, e.values, strict=True))[seed] for seed in seeds] for e in entries])
  counts, rng = np.log([entry.labels for entry in entries]), np.random.default_rng(seed)

  def at(means: np.ndarray) -> float:
    errors = np.log(np.maximum(1 - means, 0.5 / (entries[0].test_examples or len(seeds))))
    slope, start = np.polyfit(counts, errors, 1)
    told = start + slope * np.log(labels) if slope < 0 else errors.mean()  # more labels make nothing worse
    return float(1 - np.exp(told))

  drawn = [at(values[:, rng.integers(0, len(seeds), len(seeds))].mean(1)) for _ in range(draws)]
  low, high = np.percentile(drawn, [2.5, 97.5])
  return Growth(labels, at(values.mean(1)) + by, float(low) + by, float(high) + by)


def verdict(choice: Choice, scratch: Entry | None, value: float, saved: str = "") -> str:
  """`61.2% [52, 70] with vicreg, frozen; 47.9% from scratch (+14.4 points [+5.1, +23.7]: better).`

  scratch: the entry that is trained on the labels alone. value: of what was chosen, see `unflattered`; its interval and
  its difference to scratch are moved with it. saved: see `labels_worth`.
  """
  best, other, score, ends = moved(choice.entry, value - choice.entry.mean), choice.other, choice.entry.score, ""
  if best.mean_low is not None and best.mean_high is not None:
    ends = f" {within(score, best.mean_low, best.mean_high)}"
  text = f"{quantity(score, value)}{ends} with {_name(best)}"
  if scratch is not None and statistics.key_of(scratch) != statistics.key_of(best):
    text += f"; {quantity(score, scratch.mean)} from scratch{_against(best)}"
  if other is not None and best.reads != "pretrained":
    text += (
      f"; pretraining is not worth it on these labels: the best, {_name(other)}, has {quantity(score, other.mean)}"
    )
  elif other is not None and choice.by_prior:
    text += (
      f"; {_name(other)} has {quantity(score, other.mean)}, which so few labels cannot hold against what pretraining "
      "gained on other data"
    )
  elif saved and best.judgement == "better":
    text += f"; {saved}"
  return f"{text}."


def _name(entry: Entry) -> str:
  return entry.mode if entry.method == "none" else f"{entry.method}, {entry.mode}"


def moved(entry: Entry, by: float) -> Entry:
  """The entry with another mean; its difference to the baseline, and both intervals, are moved with it."""
  ends = ("mean", "mean_low", "mean_high", "difference", "low", "high")
  values = {name: getattr(entry, name) for name in ends}
  return entry._replace(**{name: None if value is None else value + by for name, value in values.items()})


def _against(entry: Entry) -> str:
  """` (+14.4 points [+5.1, +23.7]: better)`: its difference to the baseline."""
  if entry.difference is None or entry.low is None or entry.high is None:
    return ""
  meaning = {"level": "no measurable difference", "unclaimed": "too few folds for a claim"}
  difference = statistics.change_quantity(entry.score, entry.difference)
  ends = statistics.interval(entry.low, entry.high, entry.score)
  return f" ({difference} {ends}: {meaning.get(entry.judgement, entry.judgement)})"


def labels_worth(best: Sequence[Entry], scratch: Sequence[Entry]) -> str:
  """`about 30 labels do with it what 96 do from scratch`: where the chosen line's curve reaches what training from
  scratch has with the most labels; empty where it does not say.

  best, scratch: their entries at several numbers of labels.
  """
  best, scratch = (sorted(line, key=lambda entry: entry.labels) for line in (best, scratch))
  if len(best) < 2 or not scratch or best[-1].labels != scratch[-1].labels:
    return ""
  counts, values = [entry.labels for entry in best], [entry.mean for entry in best]
  needed = labels_saved.labels_to_reach(counts, values, scratch[-1].mean, best[0].score.higher_is_better)
  if not needed < scratch[-1].labels:
    return ""
  about = f"{counts[0]:,} labels or fewer" if needed <= counts[0] else f"about {round(needed):,} labels"
  return f"{about} do with it what {scratch[-1].labels:,} do from scratch"


def growth_sentence(now: Entry, more: Growth) -> str:
  """`With 192 labels instead of 96 about 67% are to be expected [62, 72], if errors go on falling as they do.`"""
  return (
    f"With {more.labels:,} labels instead of {now.labels:,} about {quantity(now.score, more.value)} are to be expected "
    f"{within(now.score, more.low, more.high)}, if errors go on falling as they do; the interval is over folds alone."
  )


def within(score: Score, low: float, high: float) -> str:
  """`[32.5, 58.2]`: an interval of a score itself."""
  if score == RIGHT_ANSWERS:
    low, high = max(0.0, low), min(1.0, high)
  return f"[{statistics.number(score, low)}, {statistics.number(score, high)}]"
