"""sslx.report.sentences and tables: what is said of known rows."""

import numpy as np
from report_rows import FROZEN, SCRATCH, row, rows

from sslx import report


def test_verdicts():
  base = [0.80, 0.82, 0.81, 0.802]
  modes = {
    "scratch": base,
    "frozen": [x + d for x, d in zip(base, (0.030, 0.031, 0.032, 0.031), strict=True)],
    "full": [x + d for x, d in zip(base, (0.012, -0.01, 0.02, -0.01), strict=True)],
    "last:1": [x - d for x, d in zip(base, (0.030, 0.031, 0.032, 0.031), strict=True)],
    "raw": [0.79, 0.79, 0.79, 0.79],
  }
  sentences = report.verdict(report.summarise(rows(**modes)))
  assert sentences[:3] == [
    "frozen: +3.1 points over scratch at 100 labels, 95% CI [+3.0, +3.2]: better.",
    "full: +0.3 points over scratch at 100 labels, 95% CI [-2.1, +2.7]: the interval includes zero: "
    "no measurable difference.",
    "last:1: -3.1 points against scratch at 100 labels, 95% CI [-3.2, -3.0]: worse.",
  ]
  assert sentences[3] == (
    "last:1 does not beat raw (a probe on the signal itself) at 100 labels: mean 77.7% against 79.0%."
  )
  assert len(sentences) == 5
  assert "share one pretraining run" in sentences[4]


def test_no_scratch_one_mode_one_seed():
  summary = report.summarise(rows(frozen=[0.9]))
  assert report.verdict(summary) == ["frozen: there is no scratch row at 100 labels: not compared."]
  assert summary[0].std is None
  assert " 90.0 |" in report.markdown(report.results_cells(summary))
  single = report.summarise(rows(labels=1, scratch=[0.8], frozen=[0.9]))
  assert report.verdict(single) == [
    "frozen: +10.0 points over scratch at 1 label, on one labelled subset: too few for an interval, so no claim."
  ]
  apart = report.summarise([row("scratch", 0, 0.8), row("frozen", 1, 0.9)])
  assert "no labelled subset in common" in report.verdict(apart)[0]
  assert report.verdict(report.summarise(rows(scratch=SCRATCH))) == ["There is no pretrained encoder to judge yet."]
  assert report.verdict([]) == ["There are no results yet."]
  assert report.markdown(report.results_cells([])).startswith("| labels")


def test_markdown_tables():
  given = rows(**{"scratch": SCRATCH, "a|b [red]": FROZEN})
  table = report.markdown(report.results_cells(report.summarise(given)))
  lines = table.splitlines()
  assert len(lines) == 4
  assert "| 81.0 ± 1.0 |" in lines[2]
  assert r"a\|b [red]" in lines[3]
  assert "+2.0 [-0.5, +4.5]" in lines[3]
  assert "1,000" in report.markdown(report.parameters_cells(report.summarise(given)))


def test_parameters_are_listed_once_per_mode():
  summary = report.summarise(rows(10, frozen=[0.5]) + rows(100, frozen=[0.6]))
  assert len(report.parameters_cells(summary).rows) == 1


def test_parameters_are_told_in_one_line_for_each_encoder():
  counts = {"raw": (7850, 7850), "random": (33546, 10250), "knn:20": (23296, 0), "frozen": (33546, 10250)}
  counts |= {"scratch": (33546, 33546), "full": (33546, 33546)}
  given = [
    row(mode, seed, 0.5, parameters_total=total, parameters_trainable=trained)
    for seed in range(2)
    for mode, (total, trained) in counts.items()
  ]
  said = "Parameters: 33,546 in all; frozen trains 10,250 (30.6%), scratch and full all of them."
  assert report.parameters(report.summarise(given)) == [said]
  other = [{**r, "encoder": "mlp", "parameters_total": r["parameters_total"] + 1} for r in given]
  assert report.parameters(report.summarise([*given, *other])) == [
    said.replace("Parameters", "Parameters (cnn)"),
    "Parameters (mlp): 33,547 in all; frozen trains 10,250 (30.6%), scratch and full 33,546 (100.0%).",
  ]
  assert report.parameters(report.summarise([{**r, "parameters_total": None} for r in given])) == []


def test_encoders_whose_features_are_constant_are_named():
  def of(mode, *shares):
    return [{**row(mode, seed, 0.1), "constant_features": share} for seed, share in enumerate(shares)]

  given = [*of("raw", None, None, None), *of("random", 1, 1, 1), *of("scratch", 0.1, 1, 1)]
  given += [*of("frozen", 0.6, 0.6, 0.6), *of("knn:20", 0.6, 0.6, 0.6), *of("full", 0.41, 0.4, 0.42)]
  summary = report.summarise(given)
  share = "60% of the encoder's features are the same for all test examples."
  assert report.constant_features(summary) == [
    "random (10.0%): the encoder's features do not depend on the input.",
    "scratch: the encoder's features do not depend on the input on 2 of 3 labelled subsets.",
    f"frozen, knn:20: {share}",
  ]
  assert report.doubts(summary)[:3] == report.constant_features(summary)
  (answer,) = report.answer(summary)
  assert answer.remarks[:2] == (report.constant_features(summary)[1], f"frozen: {share}")
  assert report.constant_features(summary, [answer]) == [report.constant_features(summary)[0], f"knn:20: {share}"]
  assert [report.from_json(report.to_json(entry)) for entry in summary] == summary
  older = report.summarise([{k: v for k, v in r.items() if k != "constant_features"} for r in given])
  assert report.constant_features(older) == []


def on_images(n, given):
  return [r | {"test_examples": n} for r in given]


def test_of_two_subsets_that_differ_equally_nothing_is_claimed():
  """Two differences of 11.1 points say nothing of how far a third may be from them."""
  given = rows(scratch=[0.7, 0.8], frozen=[0.811, 0.911])
  (sentence, *_) = report.verdict(report.summarise(given))
  assert sentence == (
    "frozen: +11.1 points over scratch at 100 labels, 95% CI [+11.1, +11.1], on 2 labelled subsets: too few, so no "
    "claim."
  )
  (sentence, *_, small) = report.verdict(report.summarise(on_images(60, given)))
  half = 196 * np.sqrt((0.861 * 0.139 + 0.75 * 0.25) / 60)
  assert f"95% CI [{11.1 - half:+.1f}, {11.1 + half:+.1f}]: the interval includes zero" in sentence
  assert small == (
    "The test split has 60 images: one image is 1.7 points; the intervals include it, and differences below about "
    "14.0 points cannot be told. With these images in the training split and no test one, all labels judge, by "
    "cross-validation."
  )
  cells = report.methods_cells(report.summarise(given), 100)
  assert cells.rows[0][-1] == "86.1 ± 7.1"  # no arrow
  said = report.against(given, "scratch")[100]
  assert said == "Frozen against scratch at 100 labels, in points: too few subsets for a claim: denoising (+11.1)."


def test_three_subsets_that_differ_equally_are_told_apart_by_enough_test_images():
  for images, outcome in ((60, "no measurable difference."), (10_000, "better.")):
    given = on_images(images, rows(scratch=[0.7, 0.8, 0.75], frozen=[0.811, 0.911, 0.861]))
    assert report.verdict(report.summarise(given))[0].endswith(outcome)


def test_older_rows_have_the_intervals_that_they_had():
  older = report.summarise(rows(scratch=SCRATCH, frozen=FROZEN))
  newer = report.summarise(on_images(10_000, rows(scratch=SCRATCH, frozen=FROZEN)))
  differences = [theirs - scratch for theirs, scratch in zip(FROZEN, SCRATCH, strict=True)]
  assert (older[1].low, older[1].high) == report.t_interval(differences)
  assert older[1].test_examples is None
  assert newer[1].test_examples == 10_000
  assert newer[1].high - newer[1].low > older[1].high - older[1].low
  assert report.from_json(report.to_json(newer[1])) == newer[1]
  many = [0.80, 0.82, 0.81, 0.83, 0.80], [0.81, 0.84, 0.84, 0.84, 0.83]
  five = [rows(scratch=many[0], frozen=many[1])]
  five.append(on_images(2000, five[0]))
  first, second = (report.summarise(given)[1] for given in five)
  assert (first.low, first.high) == (second.low, second.high)


def test_a_small_test_split_is_named_once_for_each_data_set():
  single = on_images(60, rows(scratch=[0.8], frozen=[0.9]))
  assert report.caveats(report.summarise(single)) == ["The test split has 60 images: one image is 1.7 points."]
  both = [
    r | {"dataset": name, "test_examples": n}
    for name, n in (("digits", 1), ("mnist", 10_000))
    for r in rows(scratch=SCRATCH, frozen=FROZEN)
  ]
  first, second = report.caveats(report.summarise(both))
  assert first.endswith("With fewer than 5 labelled subsets they include the draw of the 10,000 test images.")
  assert second.startswith("The test split of digits has 1 image: one image is 100.0 points; the intervals include it,")
  assert "draw of" not in " ".join(report.caveats(report.summarise(on_images(2000, rows(frozen=FROZEN)))))
