"""What is chosen, what a choice is worth without its luck, and what labels would buy."""

import numpy as np
import pytest

from sslx.report import worth
from sslx.report.statistics import Entry, summarise

FOLDS, EXAMPLES = 5, 24


def rows(method: str, mode: str, values, labels: int = 96, reads: str = "pretrained"):
  return [
    {
      "method": method, "dataset": "photos", "encoder": "conv", "labels": labels, "mode": mode, "subset_seed": seed,
      "test_accuracy": value, "reads": reads, "test_examples": EXAMPLES, "parameters_total": 10,
      "parameters_trainable": 10 if mode == "scratch" else 2,
      "fold": {"repetition": seed // FOLDS, "number": seed % FOLDS, "of": FOLDS},
    }
    for seed, value in enumerate(values)
  ]  # fmt: skip


def around(mean: float, spread: float = 0.08, seed: int = 0) -> np.ndarray:
  noise = np.random.default_rng(seed).normal(0, spread, 2 * FOLDS)
  return mean + noise - noise.mean()


def summary(pretrained: float, scratch: float) -> list[Entry]:
  return summarise(
    [
      *rows("none", "raw", around(0.2), reads="raw"),
      *rows("none", "scratch", around(scratch), reads="random"),
      *rows("swav", "frozen", around(pretrained, seed=1)),
      *rows("swav", "full", around(pretrained - 0.01, seed=2)),
    ]
  )


def test_what_other_data_taught_decides_where_the_labels_cannot():
  for pretrained, scratch, best, by_prior in ((0.6, 0.5, "frozen", False), (0.5, 0.51, "frozen", True)):
    choice = worth.choose(summary(pretrained, scratch))
    assert (choice.entry.mode, choice.by_prior) == (best, by_prior)
    assert choice.other is not None
    assert choice.other.mode == "scratch"
  choice = worth.choose(summary(0.4, 0.65))
  assert (choice.entry.mode, choice.by_prior) == ("scratch", False)


def test_the_prior_is_weighed_by_the_error_of_the_gain():
  """The gain at which the choice turns is where the mean after the labels is zero."""
  mean, deviation = worth.PRIOR
  low, high = 0.3, 0.8
  for _ in range(30):
    middle = (low + high) / 2
    low, high = (low, middle) if worth.choose(summary(middle, 0.55)).entry.mode == "frozen" else (middle, high)
  _, scratch, frozen, _ = summary(high, 0.55)
  gains = np.array(frozen.values) - np.array(scratch.values)
  error = np.sqrt((1 / 10 + 1 / 4) * gains.var(ddof=1))
  assert gains.mean() == pytest.approx(-mean * error**2 / deviation**2, abs=1e-6)


def test_right_answers_are_put_together_from_folds():
  judges = {0: np.array([0, 2]), 1: np.array([1, 3]), 2: np.array([1, 2]), 3: np.array([0, 3])}
  made = [{"subset_seed": s, "right": text} for s, text in enumerate(("10", "11", "01", "00"))]
  np.testing.assert_array_equal(worth.right_answers(made, judges), [0.5, 0.5, 0.5, 0.5])
  made[3]["right"] = "10"
  np.testing.assert_array_equal(worth.right_answers(made, judges), [1, 0.5, 0.5, 0.5])


def test_a_choice_among_equals_is_not_worth_its_luck():
  """Thirty lines that guess, by 60 examples: the best seems to have well over a half, and is worth a half."""
  rng, flattered, told = np.random.default_rng(0), [], []
  for _ in range(30):
    right = (rng.random((30, 60)) < 0.5).astype(float)
    flattered.append(right.mean(1).max())
    told.append(worth.unflattered(right, 200))
  assert np.mean(flattered) > 0.6
  assert np.mean(told) == pytest.approx(0.5, abs=0.02)


def test_of_one_line_nothing_is_flattered():
  right = np.random.default_rng(1).random((1, 500)) < 0.7
  assert worth.unflattered(right.astype(float), 500) == pytest.approx(right.mean(), abs=0.005)


def test_errors_that_fall_by_a_law_go_on_by_it():
  entries = [summarise(rows("swav", "frozen", [1 - 2 * n**-0.5] * 10, n))[0] for n in (24, 48, 96)]
  more = worth.growth(entries, 192)
  assert more is not None
  assert more.value == pytest.approx(1 - 2 * 192**-0.5)
  assert more.low == pytest.approx(more.value)
  assert worth.growth(entries[:1], 192) is None
  assert "about 85.6% are to be expected [85.6, 85.6]" in worth.growth_sentence(entries[-1], more)


def test_more_labels_are_never_said_to_make_it_worse():
  entries = [summarise(rows("swav", "frozen", around(mean), n))[0] for mean, n in ((0.6, 48), (0.55, 96))]
  more = worth.growth(entries, 192)
  assert more is not None
  assert more.value == pytest.approx(1 - np.sqrt(0.4 * 0.45))


def test_what_labels_are_worth_is_read_off_the_curve():
  ours = [summarise(rows("swav", "frozen", [value] * 10, n))[0] for value, n in ((0.4, 24), (0.5, 48), (0.7, 96))]
  (theirs,) = summarise(rows("none", "scratch", [0.6] * 10, reads="random"))
  assert worth.labels_worth(ours, [theirs]) == "about 68 labels do with it what 96 do from scratch"
  (theirs,) = summarise(rows("none", "scratch", [0.3] * 10, reads="random"))
  assert worth.labels_worth(ours, [theirs]) == "24 labels or fewer do with it what 96 do from scratch"
  (theirs,) = summarise(rows("none", "scratch", [0.8] * 10, reads="random"))
  assert worth.labels_worth(ours, [theirs]) == ""


@pytest.mark.parametrize(
  ("pretrained", "scratch", "told"),
  [
    (0.7, 0.5, r"69\.0% \[.*\] with swav, frozen; 50\.0% from scratch \(\+19\.0 points \[.*\]: better\); SAVED\."),
    (
      0.5,
      0.51,
      r"49\.0% .* \(-2\.0 points \[.*\]: no measurable difference\); scratch has 51\.0%, which so",
    ),
    (
      0.4,
      0.65,
      r"64\.0% \[.*\] with scratch; pretraining is not worth it on these labels: the best, swav, frozen",
    ),
  ],
)
def test_the_verdict_says_what_the_intervals_hold(pretrained, scratch, told):
  entries = summary(pretrained, scratch)
  choice, base = worth.choose(entries), entries[1]
  text = worth.verdict(choice, base, choice.entry.mean - 0.01, "SAVED")
  import re

  assert re.match(told, text), text
  assert ("SAVED" in text) == (choice.entry.judgement == "better")
