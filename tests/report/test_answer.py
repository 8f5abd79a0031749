"""sslx.report.sentences.answer: the first thing that is said of a summary."""

from report_rows import FROZEN, SCRATCH, curve_rows, row, rows

from sslx import report
from sslx.report import sentences
from sslx.types import Score

BASE = [0.80, 0.82, 0.81, 0.802]
MORE = [0.030, 0.031, 0.032, 0.031]


def plus(sign=1):
  return [x + sign * d for x, d in zip(BASE, MORE, strict=True)]


def said(given, **options):
  return [answer.sentence for answer in sentences.answer(report.summarise(given, **options))]


def test_the_answer_is_told_in_scores():
  (answer,) = sentences.answer(report.summarise(rows(scratch=BASE, frozen=plus())))
  assert answer.sentence == (
    "denoising on mnist, 100 labels: 83.9% frozen, 80.8% from scratch (+3.1 points, 95% CI [+3.0, +3.2]: better)."
  )
  assert (answer.pretrained, answer.baseline, answer.mode, answer.baseline_mode) == (
    "83.9%",
    "80.8%",
    "frozen",
    "scratch",
  )
  assert (answer.difference, answer.interval) == ("+3.1 points", "[+3.0, +3.2]")
  assert (answer.judgement, answer.labels, answer.compared, answer.remarks) == ("better", 100, 1, ())


def test_the_mode_that_is_named_first_answers_though_another_one_is_better():
  given = rows(scratch=BASE, full=plus(-1), frozen=plus(), random=[0.8] * 4, raw=[0.5] * 4)
  (answer,) = sentences.answer(report.summarise(given))
  assert answer.sentence.endswith("77.7% full, 80.8% from scratch (-3.1 points, 95% CI [-3.2, -3.0]: worse).")
  assert answer.remarks == (
    "Against scratch, frozen (83.9%) is better.",
    "Without pretraining, random reaches 80.0%.",
  )
  swapped = rows(raw=[0.5] * 4, random=[0.8] * 4, scratch=BASE, frozen=plus(), full=plus(-1))
  assert sentences.answer(report.summarise(swapped))[0].mode == "frozen"


def test_nothing_is_claimed_that_the_interval_does_not_hold():
  (level,) = said(rows(scratch=SCRATCH, frozen=FROZEN))
  assert level.endswith("(+2.0 points, 95% CI [-0.5, +4.5]: no measurable difference).")
  (two,) = said(rows(scratch=[0.7, 0.8], frozen=[0.811, 0.911]))
  assert two.endswith("(+11.1 points, 95% CI [+11.1, +11.1], on 2 labelled subsets: too few, so no claim).")
  (single,) = said(rows(labels=1, scratch=[0.8], frozen=[0.9]))
  assert single == (
    "denoising on mnist, 1 label: 90.0% frozen, 80.0% from scratch (+10.0 points, on one labelled subset: too few for "
    "an interval, so no claim)."
  )
  (alone,) = said(rows(frozen=[0.9]))
  assert alone == "denoising on mnist, 100 labels: 90.0% frozen, not compared: no scratch row."
  (apart,) = said([row("scratch", 0, 0.8), row("frozen", 1, 0.9)])
  assert apart.endswith("90.0% frozen, 80.0% from scratch (no labelled subset in common: not compared).")
  (fewer,) = said([*rows(scratch=BASE, frozen=plus()), row("frozen", 9, 0.9)])
  assert "+3.1 points, 95% CI [+3.0, +3.2], on 4 labelled subsets: better)" in fewer
  small = [r | {"test_examples": 60} for r in rows(scratch=[0.7, 0.8, 0.75], frozen=[0.811, 0.911, 0.861])]
  assert said(small)[0].endswith("no measurable difference).")
  assert said(rows(scratch=SCRATCH, raw=SCRATCH)) == said([]) == []


def test_of_several_methods_the_best_answers_and_says_of_how_many():
  given = [*curve_rows("scratch", "none", {10: BASE, 99: BASE}), *curve_rows("frozen", "a", {10: BASE, 99: plus()})]
  given += [*curve_rows("frozen", "b", {10: plus(), 99: BASE}), *curve_rows("full", "b", {10: [0.95] * 4})]
  ten, many = said(given)
  assert ten.startswith("b (best mean of 2) on d, 10 labels: 83.9% frozen, 80.8% from scratch (+3.1 points")
  assert many.startswith("a (best mean of 2) on d, 99 labels: 83.9% frozen")


def test_other_scores_have_their_names_and_directions():
  error = {"score": Score("rmse", "", "", 1.0, higher_is_better=False)._asdict()}
  values = {"scratch": [0.5, 0.51, 0.52], "frozen": [0.4, 0.412, 0.42], "random": [0.3] * 3}
  given = [{**r, **error, "test_rmse": r["test_accuracy"]} for r in rows(**values)]
  (answer,) = sentences.answer(report.summarise(given))
  assert "rmse 0.411 frozen, rmse 0.510 from scratch (-0.099, 95% CI [" in answer.sentence
  assert answer.sentence.endswith("]: better).")
  assert answer.remarks == ("Without pretraining, random reaches rmse 0.300.",)


def test_a_reference_that_is_lower_by_chance_is_named():
  """Scratch may be far below, and random weights as good: then nothing was learnt without labels."""
  random = [0.838, 0.845, 0.842, 0.82]  # against frozen: -0.8, +0.6, +0.0, +1.3 points
  given = rows(raw=[0.5] * 4, random=random, scratch=BASE, frozen=plus())
  (answer,) = sentences.answer(report.summarise(given))
  assert answer.sentence.endswith("better).")
  assert answer.remarks == ("frozen is not measurably better than random (83.6%).",)
  error = {"score": Score("rmse", "", "", 1.0, higher_is_better=False)._asdict()}
  turned = [{**r, **error, "test_rmse": 1 - r["test_accuracy"]} for r in given]
  (answer,) = sentences.answer(report.summarise(turned))
  assert answer.remarks == ("frozen is not measurably better than random (rmse 0.164).",)
  two = [row for row in given if row["subset_seed"] in (1, 3)]  # too few for any claim, which the sentence says
  assert sentences.answer(report.summarise(two))[0].remarks == ()
