"""Tables and figures of several methods: references where they belong, columns of several data sets, trained blocks."""

import re

from report_rows import curve_rows

from sslx import report
from sslx.report import figures, pages_of_docs, records


def summary_of(**accuracies):
  """{"method mode": accuracies of subsets 0, 1, ...} at 100 labels."""
  rows = []
  for name, values in accuracies.items():
    method, mode = name.split("_")
    rows += curve_rows(mode, method, {100: values})
  return report.summarise(rows)


def test_methods_cells_put_the_references_where_they_belong():
  summary = summary_of(
    none_majority=[0.3] * 3, none_raw=[0.5] * 3, none_random=[0.6] * 3, none_scratch=[0.7, 0.71, 0.72],
    a_frozen=[0.8, 0.81, 0.82], a_full=[0.6, 0.61, 0.62], b_frozen=[0.7, 0.81, 0.71],
  )  # fmt: skip
  headers, lines = report.methods_cells(summary, 100)
  assert headers == ["method", "frozen", "full"]
  assert lines == [
    ["most frequent class", "30.0 ± 0.0", ""],
    ["raw pixels", "50.0 ± 0.0", ""],
    ["no pretraining", "60.0 ± 0.0", "71.0 ± 1.0"],
    ["a", "81.0 ± 1.0 ↑", "61.0 ± 1.0 ↓"],
    ["b", "74.0 ± 6.1", ""],
  ]
  assert report.methods_cells(summary, 600) == (["method"], [])
  assert report.best(summary) == [
    "81.0%: a frozen: +10.0 points over scratch at 100 labels, 95% CI [+10.0, +10.0]: better."
  ]
  heads = [entry for entry in summary if entry.mode != "full"]  # scratch has its column all the same
  assert report.methods_cells(heads, 100)[0] == ["method", "frozen", "full"]


def test_methods_are_held_against_a_random_encoder():
  rows = [
    row
    for m, mode, a in [("none", "random", 0.6), ("none", "scratch", 0.2), ("a", "frozen", 0.7), ("b", "frozen", 0.5)]
    for row in curve_rows(mode, m, {n: [a + s / 50 for s in (0, 1, 2)] for n in (10, 100)})
  ]
  extra = {"method": "c", "dataset": "d", "encoder": "e", "labels": 100, "mode": "frozen"}
  rows += [{**extra, "subset_seed": s, "test_accuracy": a} for s, a in enumerate([0.6, 0.7, 0.55])]
  rows += [{**extra, "method": "c", "mode": "full", "subset_seed": 0, "test_accuracy": 0.9}]
  said = report.against(rows, "random")
  assert said == {
    10: "Frozen against random at 10 labels, in points: better: a (+10.0); worse: b (-10.0).",
    100: "Frozen against random at 100 labels, in points: better: a (+10.0); no measurable difference: c (-0.3); "
    "worse: b (-10.0).",
  }


def test_several_encoders_are_told_apart_where_they_are_held_against_a_random_one():
  rows = [
    {**row, "encoder": encoder}
    for encoder in ("e", "f")
    for row in curve_rows("random", "none", {10: [0.2, 0.4, 0.3]}) + curve_rows("frozen", "a", {10: [0.5, 0.7, 0.6]})
  ]
  said = "Frozen against random at 10 labels, in points: better: a on e (+30.0), a on f (+30.0)."
  assert report.against(rows, "random") == {10: said}


def test_score_dots_draw_means_and_references():
  summary = summary_of(none_raw=[0.5], none_scratch=[0.7], a_frozen=[0.8, 0.9], b_frozen=[0.6, 0.7])
  (ax,) = [a for a in figures.score_dots(summary).axes if a.axison]
  lines = {tuple(round(float(x), 3) for x in line.get_xdata()) for line in ax.lines}
  assert {(50.0, 50.0), (70.0, 70.0), (85.0,), (65.0,)} <= lines
  assert [t.get_text() for t in ax.get_yticklabels()] == ["a frozen", "scratch", "b frozen", "raw"]
  modes = ("frozen", "full", "last:1", "knn:20")
  many = {f"{name}_{mode}": [0.6 + k / 100] for k, name in enumerate("abc") for mode in modes}
  (ax,) = figures.score_dots(summary_of(none_scratch=[0.615], **many)).axes  # of many methods, the first mode
  assert ax.get_title("left") == "frozen, 100 labels"
  assert [t.get_text() for t in ax.get_yticklabels()] == ["c", "scratch", "b", "a"]


def test_several_data_sets_have_columns_and_panels_of_their_own():
  rows = [
    {**row, "dataset": dataset, "test_accuracy": row["test_accuracy"] - 0.1 * (dataset == "c")}
    for dataset in ("b", "c")
    for row in curve_rows("scratch", "none", {10: [0.2, 0.3, 0.4]}) + curve_rows("frozen", "a", {10: [0.5, 0.6, 0.7]})
  ]
  summary = report.summarise(rows)
  headers, lines = report.methods_cells(summary, 10)
  assert headers == ["method", "b frozen", "c frozen", "b full", "c full"]
  assert lines == [
    ["no pretraining", "", "", "30.0 ± 10.0", "20.0 ± 10.0"], ["a", "60.0 ± 10.0 ↑", "50.0 ± 10.0 ↑", "", ""]
  ]  # fmt: skip
  panels = [ax for ax in figures.score_dots(summary).axes if ax.axison]
  assert [ax.get_title(loc="left") for ax in panels] == ["b, 10 labels", "c, 10 labels"]
  assert len(report.best(summary)) == 2


def test_a_probe_of_several_features_has_a_table_for_each(tmp_path):
  shared = {"experiment": "probe", "git": "abc", "versions": {"jax": "1"}, "device": "cpu", "command": "python -m x"}
  for features, steps, accuracy in (("flatten", 1, 0.1), ("flatten", 2, 0.2), ("pool", 1, 0.3)):
    for row in curve_rows("frozen", "a", {10: [accuracy, accuracy]}):
      settings = {"features": features, "steps": steps}
      records.append_row(tmp_path / "results.jsonl", {**row, **shared, "features": features, "settings": settings})
  text = pages_of_docs.section(tmp_path)
  assert re.findall("^### .*", text, re.MULTILINE) == [
    "### a on d, --encoder=e", "### a on d, --encoder=e, --features=pool"
  ]  # fmt: skip
  assert "10.0" not in text  # of settings that were changed since
  assert text.index("20.0") < text.index("30.0")


def test_trained_blocks_draws_a_line_a_number_of_labels_and_fills_the_best():
  shared = {"dataset": "d", "encoder": "e", "subset_seed": 0}
  rows = [
    {**shared, "method": method, "mode": mode, "labels": n, "test_accuracy": accuracy}
    for method, mode, n, accuracy in [
      ("m", "frozen", 10, 0.7), ("m", "last:1", 10, 0.6), ("m", "full", 10, 0.5), ("none", "scratch", 10, 0.4),
      ("m", "frozen", 99, 0.7), ("m", "last:1", 99, 0.8), ("m", "full", 99, 0.9), ("none", "random", 99, 0.2),
    ]
  ]  # fmt: skip
  (ax,) = figures.trained_blocks(report.summarise(rows), {"frozen": 0, "last:1": 1, "full": 2}).axes
  lines = [[(round(float(x), 1), round(float(y), 1)) for x, y in line.get_xydata()] for line in ax.lines]
  assert [(0, 70), (1, 60), (2, 50)] in lines
  assert [(0, 70), (1, 80), (2, 90)] in lines
  assert [(0, 70)] in lines  # the best with 10 labels
  assert [(2, 90)] in lines  # and with 99
  assert [(2.7, 40)] in lines  # scratch, apart
  assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "all 2", "scratch"]


def scored(method: str, mode: str, seed: int, labels: int = 100, score: dict | None = None, **scores) -> dict:
  """A row with several scores."""
  told = {"name": "mIoU", "unit": "%", "difference": "points", "factor": 100.0, "higher_is_better": True}
  base = {"method": method, "dataset": "d", "encoder": "e", "mode": mode, "labels": labels, "subset_seed": seed}
  return {**base, "score": score or told, "test_examples": 90, **{f"test_{name}": v for name, v in scores.items()}}


def test_scores_cells_have_the_mean_of_every_score():
  rows = [
    scored("none", "scratch", 0, mIoU=0.2, pixel_accuracy=0.5),
    scored("none", "scratch", 1, mIoU=0.4, pixel_accuracy=0.7),
    scored("a", "frozen", 0, mIoU=0.31, pixel_accuracy=0.8, boundary_F=0.123),
    scored("a", "frozen", 1, mIoU=0.33, pixel_accuracy=0.9, boundary_F=None),  # one without it
    scored("a", "last:1", 0, mIoU=0.5, pixel_accuracy=0.6),
    scored("a", "frozen", 0, labels=600, mIoU=0.9, pixel_accuracy=0.9),
  ]
  headers, lines = report.scores_cells(rows, 100) or ([], [])
  assert headers == ["predictor", "mIoU", "pixel accuracy", "boundary F"]  # and not the number of examples
  assert lines == [
    ["scratch", "30.0", "60.0", ""],
    ["a frozen", "32.0", "85.0", "12.3"],
    ["a last:1", "50.0", "60.0", ""],
  ]
  assert (report.scores_cells(rows, 600) or ([], []))[1] == [["a frozen", "90.0", "90.0"]]
  assert report.scores_cells(rows, 10) is None


def test_scores_cells_are_in_the_unit_of_the_first_and_count_a_subset_once():
  """As the table of the first score alone does: of rows of a subset the last."""
  r2 = {"name": "R2", "unit": "", "difference": "", "factor": 1.0, "higher_is_better": True}
  rows = [
    scored("none", "scratch", 0, score=r2, R2=0.9, MAE_count=9.0),
    scored("none", "scratch", 0, score=r2, R2=-0.25, MAE_count=1.5),
    scored("none", "scratch", 1, score=r2, R2=0.75, MAE_count=0.5),
  ]
  cells = report.scores_cells(rows, 100)
  assert cells == (["predictor", "R2", "MAE count"], [["scratch", "0.250", "1.000"]])
  (entry,) = report.summarise(rows)
  assert entry.mean == 0.25


def test_a_single_score_needs_no_table_of_scores():
  assert report.scores_cells([{**scored("a", "frozen", 0), "test_mIoU": 0.3}], 100) is None
  assert report.scores_cells(curve_rows("frozen", "a", {100: [0.2, 0.3]}), 100) is None
