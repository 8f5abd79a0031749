"""sslx.report.labels_saved: how many labels training from scratch needs to be as good,
in numbers, words and a figure."""

import math

import pytest
from matplotlib.text import Annotation
from report_rows import curve_rows

from sslx import report
from sslx.report import figures, labels_saved


def test_labels_to_reach_closed_forms():
  counts = [10, 100, 1000]
  reach = labels_saved.labels_to_reach
  assert reach(counts, [0.2, 0.4, 0.6], 0.4) == pytest.approx(100)
  assert reach(counts, [0.2, 0.4, 0.6], 0.3) == pytest.approx(math.sqrt(10 * 100))  # the middle of the logarithms
  assert reach(counts, [0.2, 0.4, 0.6], 0.45) == pytest.approx(100 * 10**0.25)
  assert reach(counts, [0.2, 0.4, 0.6], 0.1) == 10
  assert reach(counts, [0.2, 0.4, 0.6], 0.61) == math.inf
  assert reach(counts, [0.2, 0.5, 0.4], 0.45) == pytest.approx(
    10 * 10 ** (0.25 / 0.3)
  )  # the first time, if it falls again
  # accuracy = a log(labels): the number of labels is the inverse function, wherever the points lie
  uneven = [3, 17, 40, 900]
  curve = [0.1 * math.log(n) for n in uneven]
  for n in (4, 17, 39, 777.7):
    assert reach(uneven, curve, 0.1 * math.log(n)) == pytest.approx(n)


def test_labels_needed_by_mean_curve_and_by_subset():
  rows = curve_rows("scratch", "none", {10: [0.2, 0.4], 100: [0.5, 0.5], 1000: [0.7]})  # 1000: all labels
  rows += curve_rows("frozen", "a", {10: [0.4, 0.4], 100: [0.8, 0.6], 1000: [0.71]})
  rows += curve_rows("random", "none", {10: [0.9, 0.9], 100: [0.9, 0.9], 1000: [0.9]})
  needs = labels_saved.labels_needed(report.summarise(rows))
  assert [(one.name, one.labels) for one in needs] == [("a frozen", 10), ("a frozen", 100), ("a frozen", 1000)]
  assert needs[0].needed == pytest.approx(10 * 10**0.5)
  assert needs[0].subsets == pytest.approx((10 * 10 ** (2 / 3), 10))
  assert needs[1].needed == pytest.approx(1000)
  assert needs[1].subsets == pytest.approx((math.inf, 100 * 10**0.5))
  assert needs[2].needed == math.inf
  headers, lines = labels_saved.needed_cells(needs)
  assert headers == ["as good as", "10 labels", "100 labels", "1,000 labels"]
  assert lines == [["a frozen", "32 (3.2 times)", "1,000 (10 times)", "> 1,000"]]
  assert labels_saved.needed_sentences(needs, 10) == [
    "a frozen has 40.0% with 10 labels; scratch is as good with about 32 (by subset ≤ 10 to 46): 3.2 times as many."
  ]
  (never,) = labels_saved.needed_sentences(needs, 1000)
  assert never.endswith("scratch with 1,000, the most it was given: not as good.")
  assert labels_saved.times_text(needs[2]) == "> 1.0 times"
  assert labels_saved.needed_sentences(needs, 7) == []
  assert labels_saved.labels_needed(report.summarise([r for r in rows if r["labels"] == 10])) == []


def test_curve_draws_the_arrow_to_scratch_or_to_the_edge():
  rows = curve_rows("scratch", "none", {10: [0.2, 0.4], 1000: [0.7, 0.7]}) + curve_rows(
    "full", "a", {10: [0.5], 1000: [0.8]}
  )
  given = [figures.Span(10, 100, 0.5, "ten times"), figures.Span(10, math.inf, 0.9, "never")]
  summary = report.summarise(rows)
  (ax,) = figures.label_curve(summary, given).axes
  spans = [text for text in ax.texts if isinstance(text, Annotation)]  # the others are the names of curves
  arrows = [(a.xyann, a.xy) for a in spans if not a.get_text()]
  assert arrows == [((10, 50.0), (100, 50.0)), ((10, 90.0), (1000, 90.0))]
  assert [(t.get_text(), t.xy[0]) for t in spans if t.get_text()] == [
    ("ten times", pytest.approx(math.sqrt(1000))),
    ("never", 100),
  ]
