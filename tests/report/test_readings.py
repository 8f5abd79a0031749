"""sslx.report.readings: who wins a table by how much, and whether a gain is the method's or the tuning's."""

import numpy as np
import pytest

from sslx import report
from sslx.report import readings

T2, T3 = 4.302653, 3.182446  # Student's t(0.975) of two and three degrees of freedom


def entry(mode: str, accuracies: list[float], trainable: int = 1) -> report.Entry:
  shared = {"method": "m", "dataset": "d", "encoder": "e", "mode": mode, "labels": 10, "parameters_total": 9}
  rows = [
    {**shared, "subset_seed": s, "test_accuracy": a, "parameters_trainable": trainable}
    for s, a in enumerate(accuracies)
  ]
  return report.summarise(rows)[0]


def test_ranking_pairs_by_subset():
  entries = [entry("a", [0.5, 0.6, 0.7]), entry("b", [0.6, 0.7, 0.8]), entry("c", [0.9, 0.2, 0.7])]
  best, second, third = readings.ranking(entries, lambda e: e.mode, 100)
  assert (best.name, best.behind, best.low, best.high, best.level) == ("b", 0.0, None, None, True)
  assert second.name in "ac"
  by_name = {one.name: one for one in (second, third)}
  assert by_name["a"].behind == pytest.approx(-0.1)
  half = 1.96 * np.sqrt((0.6 * 0.4 + 0.7 * 0.3) / 100)  # the same in every subset: what is left is the test images
  assert (by_name["a"].low, by_name["a"].high) == pytest.approx((-0.1 - half, -0.1 + half))
  assert by_name["a"].level
  differences = np.array([0.3, -0.5, -0.1])
  half = np.hypot(T2 * differences.std(ddof=1) / np.sqrt(3), 1.96 * np.sqrt((0.6 * 0.4 + 0.7 * 0.3) / 100))
  assert by_name["c"].low == pytest.approx(differences.mean() - half, rel=1e-5)
  assert by_name["c"].level
  words = readings.reading("m, 10 labels", [best, *sorted((second, third), key=lambda one: one.name)])
  assert words == (
    "m, 10 labels: b is the best, 70.0%; no measurable difference to a (-10.0 [-23.1, +3.1]), "
    "c (-10.0 [-110.2, +90.2])."
  )


def test_of_fewer_than_three_subsets_nothing_is_claimed():
  for pairs in (1, 2, 3):
    ranked = readings.ranking([entry("a", [0.5] * pairs), entry("b", [0.7] * pairs)], lambda e: e.mode, 100_000)
    assert ranked[1].pairs == pairs
    assert not ranked[1].level
    claim = "behind it" if pairs == 3 else "behind it, with no claim"
    assert readings.reading("x", ranked) == f"x: b is the best, 70.0%; {claim} a (-20.0 [-20.4, -19.6])."
  assert "on fewer than 3 label subsets" in readings.note()


def test_ranking_of_one_training_each_is_by_the_test_images():
  one, other = readings.ranking([entry("a", [0.98]), entry("b", [0.99])], lambda e: e.mode, 10_000)
  error = np.sqrt((0.98 * 0.02 + 0.99 * 0.01) / 10_000)
  assert (one.name, other.name) == ("b", "a")
  assert (other.low, other.high) == pytest.approx((-0.01 - 1.96 * error, -0.01 + 1.96 * error))
  assert not other.level
  assert readings.ranking([entry("a", [0.98]), entry("b", [0.99])], lambda e: e.mode, 100)[1].level


def test_of_equals_the_one_that_trains_less_wins():
  assert [one.name for one in readings.ranking([entry("a", [0.5], 7), entry("b", [0.5], 3)], lambda e: e.mode, 9)] == [
    "b",
    "a",
  ]


def row(mode: str, subset: int, accuracy: float, **more) -> dict:
  return {"method": "m", "dataset": "d", "encoder": "e", "mode": mode, "labels": 600, "subset_seed": subset,
          "test_accuracy": accuracy, **more}  # fmt: skip


def test_answer_names_the_method_or_the_hyper_parameters():
  def tables(fixed: float, tuned: float, spread: float = 0.001) -> list:
    made = []
    for gain, sign in ((fixed, 1), (tuned, -1)):
      noise = [sign * spread * (s - 1.5) for s in range(4)]
      rows = [row("scratch", s, 0.8) for s in range(4)]
      made.append(rows + [row("frozen", s, 0.8 + gain + noise[s]) for s in range(4)])
    return made

  for fixed, tuned, spread, said in (
    (0.057, 0.0, 0.001, "no measurable gain is left: it was the hyper-parameters'"),
    (0.057, 0.02, 0.001, "the gain is the method's, but hyper-parameters made it larger"),
    (0.057, 0.057, 0.001, "the gain is the method's"),
    (0.02, 0.057, 0.001, "and tuning makes it larger"),
    (0.0, 0.02, 0.001, "fixed settings hid it"),
    (0.057, -0.02, 0.001, "worse than its tuned baseline: what it gained was the hyper-parameters'"),
    (0.0, 0.0, 0.001, "no measurable gain to explain"),
    (0.05, 0.03, 0.02, "not decided by these seeds"),
  ):
    (sentence,) = readings.method_or_tuning(*tables(fixed, tuned, spread))
    assert said in sentence, (fixed, tuned, sentence)
  few = [[row for row in rows if row["subset_seed"] < 2] for rows in tables(0.057, 0.057)]
  (sentence,) = readings.method_or_tuning(*few)
  assert sentence.endswith(": too few label subsets for a claim.")
  few = [[row | {"test_examples": 50} for row in rows] for rows in tables(0.057, 0.0)]
  (sentence,) = readings.method_or_tuning(*few)
  t, p, q = T3 * 0.001 * np.sqrt(5 / 3) / 2, 0.8, 0.857  # four noises of -1.5 to 1.5 thousandths
  half = [np.hypot(t, 1.96 * np.sqrt((p * (1 - p) + x * (1 - x)) / 50)) for x in (q, p)]
  change = np.hypot(2 * t, 1.96 * np.sqrt((3 * p * (1 - p) + q * (1 - q)) / 50))
  for gain, spread in ((5.7, half[0]), (0.0, half[1]), (-5.7, change)):
    assert f"{gain:+.1f} points [{gain - 100 * spread:+.1f}, {gain + 100 * spread:+.1f}]" in sentence
  assert sentence.endswith("no measurable gain to explain.")
  (sentence,) = readings.method_or_tuning(*tables(0.057, 0.0))
  assert sentence.startswith("frozen over scratch at 600 labels: +5.7 points [+5.5, +5.9] with one fixed setting")
  assert "tuning moves it by -5.7 points [-6.1, -5.3]" in sentence


def test_the_caveat_tells_whether_pretraining_was_repeated():
  for own, text in ((True, "a pretraining run of its own"), (False, "share one pretraining run")):
    rows = [row(m, s, 0.5 + 0.1 * s, seed=s if own else 0) for m in ("scratch", "frozen") for s in range(3)]
    assert text in report.verdict(report.summarise(rows))[-1]
