"""95% intervals of scores and of differences between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sslx.types import Score

RIGHT_ANSWERS = Score()  # their share: the score of rows that do not name theirs
FEWEST_PAIRS = 3  # a difference over fewer subsets is told, but nothing is claimed of it
FEW_PAIRS, FEW_EXAMPLES = 5, 2000  # below either, the interval of a difference includes the draw of the test examples
WIDENED = f"Of fewer than {FEW_PAIRS} subsets or {FEW_EXAMPLES:,} test examples, it includes the draw of these."


def t_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
  """The two-sided 95% interval of the mean of `values` by Student's t; (None, None) of fewer than two."""
  from scipy.stats import t

  if len(values) < 2:
    return None, None
  half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
  return float(np.mean(values) - half), float(np.mean(values) + half)


def resampled_interval(values: Sequence[float], folds: int) -> tuple[float | None, float | None]:
  """The 95% interval of the mean of `values`, one of each fold of a cross-validation in so many folds, which may be
  repeated; (None, None) of fewer than two.

  It is the corrected resampled t-test of Nadeau & Bengio ("Inference for the generalization error", 2003): folds share
  the examples that they learn from, and repetitions all examples, so that the variance of the mean is not s^2 / J but
  (1 / J + 1 / (folds - 1)) s^2, where 1 / (folds - 1) is the examples that judge over those that are learnt from. It
  holds for other examples and other folds, of which a larger number of repetitions makes it only a little narrower.
  """
  from scipy.stats import t

  if len(values) < 2:
    return None, None
  half = t.ppf(0.975, len(values) - 1) * resampled_error(values, folds)
  return float(np.mean(values) - half), float(np.mean(values) + half)


def resampled_error(values: Sequence[float], folds: int) -> float:
  """The standard error of their mean, of which `resampled_interval` is made."""
  return float(np.sqrt((1 / len(values) + 1 / (folds - 1)) * np.var(values, ddof=1)))


def judged_interval(values: Sequence[float], folds: int, examples: int, score: Score) -> tuple[float, float]:
  """`resampled_interval` of a score itself. Of a share of right answers it is at least as wide as its draw of so many
  examples makes it (Wilson's interval), so that ten right ones of ten do not prove that all are.
  """
  middle = float(np.mean(values))
  low, high = resampled_interval(values, folds)
  low, high = middle if low is None else low, middle if high is None else high
  if score != RIGHT_ANSWERS:
    return low, high
  least = binomial_interval(min(examples, round(middle * examples)), examples)
  return max(0.0, min(low, least[0])), min(1.0, max(high, least[1]))


def difference_interval(
  differences: Sequence[float],
  means: Iterable[float],
  test_examples: int | None,
  score: Score = RIGHT_ANSWERS,
  folds: int | None = None,
) -> tuple[float | None, float | None]:
  """The two-sided 95% interval of the mean of differences between scores; (None, None) of fewer than two.

  It is Student's t over the differences, with one degree of freedom less than there are ("The probable error of a
  mean", 1908). Few of them may agree by chance, and few test examples are a sample of their own: with fewer than
  FEW_PAIRS differences or FEW_EXAMPLES test examples, half of its width is sqrt(t^2 + (1.96 sd)^2), where sd^2 is the
  sum of p (1 - p) / test_examples over `means`. That is the variance of shares that were measured on test examples of
  their own. Ours are measured on the same ones, which two predictors mostly get right together, so that the interval is
  rather too wide than too narrow.

  Args:
    differences: one for each pair.
    means: p of each score that a difference is made of: of two, or of four where it is the change of a difference.
    test_examples: that each score was measured on; None where it is not known: Student's t alone.
    score: what the scores are. Of other scores than shares of right answers the spread over test examples is not known.
    folds: of a cross-validation, each of which the differences are of: the interval is `resampled_interval`'s then.
  """
  if folds is not None:
    return resampled_interval(differences, folds)
  low, high = t_interval(differences)
  if low is None or high is None or test_examples is None or score != RIGHT_ANSWERS:
    return low, high
  if len(differences) >= FEW_PAIRS and test_examples >= FEW_EXAMPLES:
    return low, high
  middle, variance = float(np.mean(differences)), sum(share_variance(p, test_examples) for p in means)
  half = float(np.sqrt(((high - low) / 2) ** 2 + 1.96**2 * variance))
  return middle - half, middle + half


def share_variance(p: float, of: int) -> float:
  """The variance of a share p of right answers over the draw of so many test examples: p (1 - p) / of.

  Where next to none, or next to all, are right, that would be 0: it is at least the variance with one right and one
  wrong answer more (Agresti & Caffo, "Simple and effective confidence intervals for proportions", 2000).
  """
  return max(p * (1 - p) / of, (of + 1) / (of + 2) ** 3)


def binomial_interval(right: int, of: int) -> tuple[float, float]:
  """The 95% interval of a share of right answers of which `of` test examples are a sample (Wilson, "Probable inference,
  the law of succession, and statistical inference", 1927).
  """
  from scipy.stats import binomtest

  share = binomtest(right, of).proportion_ci(0.95, "wilson")
  return float(share.low), float(share.high)


def bootstrap_interval(
  values: ArrayLike, others: ArrayLike | None = None, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
  """The 95% interval of the mean of scores over videos, or of the mean difference to `others` on the same videos: the
  percentile bootstrap (Efron, "Bootstrap methods: another look at the jackknife", 1979).

  A draw takes as many videos as there are, with replacement, and the same ones of both; and as many of the runs, which
  are drawn for themselves. So it holds for other videos, and for other runs where there are several. It is too narrow
  over few videos, of which a draw has fewer different ones, and over two or three runs.

  Args:
    values: f64 [R,V], the score of each run (seed of pretraining) on each video; or [V] of a single one.
    others: f64 [S,V] or [V], such as those of a row without pretraining.
  """
  rng = np.random.default_rng(seed)
  scores = [np.atleast_2d(values)] + ([] if others is None else [np.atleast_2d(others)])
  videos = _weights(rng, draws, scores[0].shape[1])

  means = [((_weights(rng, draws, len(part)) @ part) * videos).sum(1) for part in scores]
  low, high = np.percentile(means[0] - sum(means[1:]), [2.5, 97.5])
  return float(low), float(high)


def _weights(rng: np.random.Generator, draws: int, of: int) -> np.ndarray:
  """How much each of so many counts in each draw with replacement, f64 [draws,of], rows of sum 1."""
  return rng.multinomial(of, np.full(of, 1 / of), draws) / of
