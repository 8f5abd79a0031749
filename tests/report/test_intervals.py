"""Intervals of a proportion and of a gain, against their formulas."""

import numpy as np
import pytest
from scipy.stats import binom

from sslx import report
from sslx.report import intervals
from sslx.types import Score


def test_binomial_interval_and_gain():
  low, high = report.binomial_interval(243, 300)  # Wilson's formula, z = 1.96
  z, p, n = 1.959964, 0.81, 300
  middle, half = (
    (p + z * z / 2 / n) / (1 + z * z / n),
    z * np.sqrt(p * (1 - p) / n + z * z / 4 / n / n) / (1 + z * z / n),
  )
  np.testing.assert_allclose([low, high], [middle - half, middle + half], atol=1e-6)
  text, low, high = report.gain([0.01, 0.03])  # t(1) = 12.706, standard error 0.01
  assert (low, high) == pytest.approx((0.02 - 0.12706, 0.02 + 0.12706), abs=1e-5)
  assert text == "+2.0 points [-10.7, +14.7]"


PERCENTILE = {2: 12.706205, 3: 4.302653, 4: 3.182446, 5: 2.776445}  # Student's t(0.975) of pairs - 1 degrees of freedom


@pytest.mark.parametrize(("pairs", "tested"), [(2, 60), (3, 10_000), (4, 10_000), (5, 60), (5, 1999)])
def test_few_subsets_or_few_test_images_widen_an_interval(pairs, tested):
  """By the variance of two shares that were measured on test images of their own, added to that of the subsets."""
  rng = np.random.default_rng(pairs)
  differences = rng.normal(0.05, 0.02, pairs).tolist()
  low, high = intervals.difference_interval(differences, (0.85, 0.8), tested)
  t = PERCENTILE[pairs] * np.std(differences, ddof=1) / np.sqrt(pairs)
  half = np.sqrt(t**2 + 1.96**2 * (0.85 * 0.15 + 0.8 * 0.2) / tested)
  np.testing.assert_allclose([low, high], [np.mean(differences) - half, np.mean(differences) + half], rtol=1e-6)


@pytest.mark.parametrize(
  ("pairs", "tested", "score"),
  [(5, 2000, Score()), (9, 10_000, Score()), (3, None, Score()), (3, 60, Score("mIoU")), (3, 60, Score("error", "dB"))],
)
def test_of_enough_subsets_and_test_images_it_is_students_t(pairs, tested, score):
  """To the last digit; so are those of older rows, and of scores that are no shares of right answers."""
  differences = np.random.default_rng(0).normal(0.05, 0.02, pairs).tolist()
  assert intervals.difference_interval(differences, (0.85, 0.8), tested, score) == intervals.t_interval(differences)


def test_one_pair_has_no_interval():
  assert intervals.difference_interval([0.1], (0.8, 0.7), 60) == (None, None)
  assert intervals.difference_interval([], (), 60) == (None, None)


@pytest.mark.parametrize("tested", [1, 60, 1999])
def test_all_right_is_not_certain(tested):
  """One right and one wrong answer more, where next to all, or next to none, are right."""
  share = (tested + 1) / (tested + 2)
  for p in (0.0, 1.0):
    assert intervals.share_variance(p, tested) == pytest.approx(share * (1 - share) / (tested + 2))
  assert intervals.share_variance(0.3, 60) == 0.3 * 0.7 / 60
  for right in range(1, tested):  # it goes on from there
    assert intervals.share_variance(right / tested, tested) >= intervals.share_variance(1.0, tested)


def told_apart(one, other):
  differences = (one - other).tolist()
  low, high = intervals.difference_interval(differences, (one.mean(), other.mean()), 60)
  return report.outcome(Score(), low, high, 3) in ("better", "worse")


def test_equal_classifiers_whose_subsets_agree_are_seldom_told_apart():
  """Three subsets that differ alike, as in "+11.1 [+11.1, +11.1]", on 60 test images: the chance of it, exactly."""
  right = np.arange(61) / 60
  variance = np.array([intervals.share_variance(p, 60) for p in right])
  apart = np.abs(right[:, None] - right) > 1.96 * np.sqrt(variance[:, None] + variance)
  for one, other in ((40, 30), (60, 50), (60, 57)):  # that is what they are told apart by
    assert told_apart(np.full(3, right[one]), np.full(3, right[other])) == apart[one, other]
  for share in (0.5, 0.7, 0.8, 0.9, 0.95, 0.99):
    chance = binom.pmf(np.arange(61), 60, share)
    assert chance @ apart @ chance <= 0.06


@pytest.mark.parametrize("share", [0.5, 0.8, 0.93])
def test_equal_classifiers_are_seldom_told_apart(share):
  """The same where subsets make a difference, too: every share that is right is a little off, the images are drawn."""
  rng, times = np.random.default_rng(0), 400
  images = rng.uniform(size=(times, 2, 1, 60))  # the same for all subsets
  right = (images < share + 0.02 * rng.normal(size=(times, 2, 3, 1))).mean(-1)
  assert sum(told_apart(one, other) for one, other in right) / times <= 0.06


def naive_bootstrap(values: np.ndarray, others: np.ndarray | None, draws: int) -> np.ndarray:
  """Draw by draw, by numbers of videos and runs."""
  rng = np.random.default_rng(7)
  found = []
  for _ in range(draws):
    videos = rng.integers(values.shape[1], size=values.shape[1])
    mean = values[rng.integers(len(values), size=len(values))][:, videos].mean()
    if others is not None:
      mean -= others[rng.integers(len(others), size=len(others))][:, videos].mean()
    found.append(mean)
  return np.percentile(found, [2.5, 97.5])


@pytest.mark.parametrize(("runs", "others"), [(1, 0), (3, 0), (3, 1), (2, 4)])
def test_the_bootstrap_is_that_of_a_loop_over_draws(runs, others):
  rng = np.random.default_rng(0)
  video, run = rng.normal(0.5, 0.2, 40), rng.normal(0, 0.1, (8, 1))
  scores = video + run + rng.normal(0, 0.05, (8, 40))
  values, baseline = scores[:runs], scores[4 : 4 + others] if others else None
  expected = naive_bootstrap(values, baseline, 10_000)
  np.testing.assert_allclose(intervals.bootstrap_interval(values, baseline), expected, atol=0.006)


def test_what_both_rows_find_hard_in_a_video_goes_out_of_a_paired_difference():
  rng = np.random.default_rng(0)
  values, others = rng.normal(0.5, 0.2, 40) + rng.normal(0, 0.05, (2, 40))
  apart, paired = intervals.bootstrap_interval(values), intervals.bootstrap_interval(values, others)
  assert paired[1] - paired[0] < 0.6 * (apart[1] - apart[0])


def test_the_bootstrap_of_one_run_takes_a_plain_vector_and_gives_the_same_at_every_call():
  values = np.random.default_rng(1).random(30)
  low, high = intervals.bootstrap_interval(values)
  assert low < values.mean() < high
  assert (low, high) == intervals.bootstrap_interval(values[None]) == intervals.bootstrap_interval(list(values))
  assert (low, high) != intervals.bootstrap_interval(values, seed=1)
  assert intervals.bootstrap_interval(values + 0.25, values) == pytest.approx((0.25, 0.25))


def test_the_bootstrap_covers_the_mean_of_all_videos():
  """Of 300 sets of 60 videos, about 95% have it in their interval."""
  rng = np.random.default_rng(2)
  inside = 0
  for _ in range(300):
    low, high = intervals.bootstrap_interval(rng.beta(2, 3, 60), draws=500)
    inside += low <= 0.4 <= high
  assert 0.9 < inside / 300 < 0.98


def test_folds_share_examples():
  """Nadeau & Bengio's formula, of two repetitions of five folds."""
  values = [0.5, 0.6, 0.55, 0.7, 0.65, 0.6, 0.6, 0.5, 0.7, 0.6]
  low, high = intervals.resampled_interval(values, 5)
  half = 2.262157 * np.sqrt((1 / 10 + 1 / 4) * np.var(values, ddof=1))  # t(0.975) of 9 degrees of freedom
  np.testing.assert_allclose([low, high], [0.6 - half, 0.6 + half], rtol=1e-6)
  assert intervals.difference_interval(values, (0.6, 0.6), 60, Score(), 5) == (low, high)
  assert intervals.resampled_interval(values[:1], 5) == (None, None)


def test_ten_right_ones_of_ten_do_not_prove_that_all_are():
  assert intervals.judged_interval([1.0] * 5, 5, 10, Score()) == pytest.approx((report.binomial_interval(10, 10)[0], 1))
  assert intervals.judged_interval([0.2] * 5, 5, 10, Score("R2")) == (0.2, 0.2)


def test_the_interval_of_a_cross_validation_covers_what_it_estimates():
  """Nearest means of two classes, 60 examples: of 200 draws of these, the accuracy on new examples of a classifier of
  all 60 lies within the interval in 93% at least.
  """
  rng, covered = np.random.default_rng(0), 0

  def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(n) % 2
    return rng.normal(size=(n, 10)) + 0.35 * (2 * y[:, None] - 1), y

  def right(x: np.ndarray, y: np.ndarray, new: np.ndarray, true: np.ndarray) -> float:
    means = np.stack([x[y == c].mean(0) for c in (0, 1)])
    return float(np.mean(((new[:, None] - means) ** 2).sum(2).argmin(1) == true))

  for _ in range(200):
    (x, y), values = draw(60), []
    for _ in range(5):
      order = rng.permutation(30)
      for fold in range(5):
        pairs = order[fold::5]
        judge = np.concatenate([2 * pairs, 2 * pairs + 1])
        fit = np.setdiff1d(np.arange(60), judge)
        values.append(right(x[fit], y[fit], x[judge], y[judge]))
    low, high = intervals.judged_interval(values, 5, 60, Score())
    covered += low <= right(x, y, *draw(2000)) <= high
  assert covered >= 186
