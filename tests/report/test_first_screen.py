"""sslx.report.first_screen and sslx.report.dots: the answer of a page, and where its dots stand."""

import pytest
from report_rows import FROZEN, SCRATCH, curve_rows, rows

from sslx import report
from sslx.report import dots, first_screen
from sslx.types import Score

BASE = [0.80, 0.82, 0.81, 0.802]
BETTER = [0.83, 0.851, 0.842, 0.833]
MODES = {"frozen": "a head; on frozen features", "scratch": "from random weights"}


def test_the_answer_is_the_scores_and_then_their_judgement():
  summary = report.summarise(rows(raw=[0.9] * 4, scratch=BASE, frozen=BETTER))
  (headline,) = first_screen.headlines(summary, MODES)
  assert [(n.value, n.unit, n.what, n.role) for n in headline.numbers] == [
    ("83.9", "%", "with pretraining", "pretrained"), ("80.8", "%", "from scratch", "baseline"),
  ]  # fmt: skip
  assert headline.numbers[0].how == "frozen: a head; on frozen features"
  assert headline.start.endswith("95% CI [+3.0, +3.2]: ")
  assert (headline.outcome, headline.judgement, headline.at) == ("better.", "better", "100 labels")
  assert headline.remarks == ("Without pretraining, raw reaches 90.0%.",)


def test_without_a_baseline_there_is_one_number_and_without_pretraining_none():
  (headline,) = first_screen.headlines(report.summarise(rows(frozen=BETTER)), {})
  assert [n.value for n in headline.numbers] == ["83.9"]
  assert headline.outcome == "not compared."
  assert first_screen.headlines(report.summarise(rows(scratch=BASE, raw=BASE)), {}) == []
  assert first_screen.headlines([], {}) == first_screen.plots([], {}, []) == []


def test_dots_stand_where_the_ticks_say():
  summary = report.summarise(rows(raw=[0.5, 0.6], scratch=[0.7, 0.8], frozen=[0.9, 0.9]))
  (plot,) = first_screen.plots(summary, MODES, [])
  assert [mark.name for mark in plot.marks] == ["frozen", "scratch", "raw"]  # the best first
  assert [mark.role for mark in plot.marks] == ["pretrained", "baseline", "reference"]
  assert plot.marks[0].what == "a head"
  (left, low), (right, high) = (
    (place, float(text.removesuffix("%"))) for place, text in (plot.ticks[0], plot.ticks[-1])
  )

  def place(value):
    return pytest.approx(left + (right - left) * (value - low) / (high - low))

  assert [mark.place for mark in plot.marks] == [place(90), place(75), place(55)]
  scratch = plot.marks[1]
  assert scratch.subsets == [place(70), place(80)]
  assert (scratch.begin, scratch.begin + scratch.width) == (place(75 - 50**0.5), place(75 + 50**0.5))
  assert sorted(plot.lines) == [(place(55), "reference"), (place(75), "baseline")]
  assert plot.step == pytest.approx(plot.ticks[1][0] - plot.ticks[0][0])


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.0], [0.5], [0.999, 0.998], [0.0, 1.0]])
def test_an_axis_holds_every_score_and_ends_at_a_hundred_percent(values):
  axis = dots.axis(report.summarise(rows(frozen=values)))
  assert len(axis.ticks) > 1
  assert 0 <= axis.ticks[0] <= 100 * min(values) <= 100 * max(values) <= axis.ticks[-1] <= 100


def test_the_lowest_is_first_where_lower_is_better():
  error = {"score": Score("error", "dB", "dB", 1.0, higher_is_better=False)._asdict()}
  values = {"scratch": [5.0, 5.2], "frozen": [4.0, 4.1], "full": [6.0, 6.1]}
  summary = report.summarise([{**r, **error, "test_error": r["test_accuracy"]} for r in rows(**values)])
  (plot,) = first_screen.plots(summary, {}, [])
  assert plot.title == "Test error in dB (lower is better), 100 labels"
  assert [mark.name for mark in plot.marks] == ["frozen", "scratch", "full"]
  assert [mark.place for mark in plot.marks] == sorted(mark.place for mark in plot.marks)


def many(references: str) -> list[report.Entry]:
  """Four methods in four modes, with references of the method `references`, or of each."""
  names, modes = "abcd", ("full", "frozen", "last:1", "knn:20")
  given = [
    row
    for method in ([references] if references else names)
    for mode in ("raw", "scratch")
    for row in curve_rows(mode, method, {10: SCRATCH})
  ]
  for k, name in enumerate(names):
    for mode in modes:
      given += curve_rows(mode, name, {10: [value - k / 100 for value in FROZEN]})
  return report.summarise(given)


def test_many_methods_are_ranked_in_each_mode_beside_the_references():
  panels = dots.panels(many("none"))
  assert [panel.title for panel in panels] == [
    "full, 10 labels", "frozen, 10 labels", "last:1, 10 labels", "knn:20, 10 labels"
  ]  # fmt: skip
  assert [dot.name for dot in panels[0].dots] == ["a", "b", "raw", "scratch", "c", "d"]
  assert [dot.name for dot in panels[0].lines] == ["raw", "scratch"]
  several = [*many("none"), *report.summarise(curve_rows("raw+frozen", "none", {10: [0.9] * 3}))]
  assert [panel.title for panel in dots.panels(several) if panel.dots[0].name == "raw+frozen"] == ["frozen, 10 labels"]


def test_methods_with_references_of_their_own_have_panels_and_that_of_the_answer_is_first():
  summary = many("")
  assert [panel.title for panel in dots.panels(summary)] == [f"{name}, 10 labels" for name in "abcd"]
  told = first_screen.headlines([entry for entry in summary if entry.method == "c"], {})
  titles = [plot.title for plot in first_screen.plots(summary, {}, told)]
  assert titles == [f"Test accuracy, {name}, 10 labels" for name in "cabd"]
