"""sslx.report on a score that is no accuracy, and of which a lower one is better."""

import math

import numpy as np
import pytest
from helpers import Page
from index_rows import row as run_row
from index_rows import write
from report_rows import entry, row

from sslx import report
from sslx.report import (
  figures,
  index,
  labels_saved,
  leaderboard,
  pages,
  pages_of_docs,
  readings,
  records,
  statistics,
  tables,
)  # fmt: skip
from sslx.report.leaderboard import Board, Ranked
from sslx.types import Score, UserError

ERROR = Score("error", "dB", "dB", 1.0, higher_is_better=False)
SCRATCH, FROZEN, FULL, RAW = [5.0, 5.2, 5.1], [4.0, 4.3, 4.2], [6.0, 6.3, 6.2], [4.0, 4.1, 4.0]


def error_row(mode, seed, value, labels=100, **more):
  made = row(mode, seed, 0.0, labels, **more)
  del made["test_accuracy"]
  return {**made, "test_error": value, "score": ERROR._asdict()}


def error_rows(labels=100, **modes):
  return [error_row(mode, seed, value, labels) for mode, values in modes.items() for seed, value in enumerate(values)]


@pytest.fixture
def summary():
  return report.summarise(error_rows(scratch=SCRATCH, frozen=FROZEN, full=FULL, raw=RAW))


def test_a_summary_has_the_score_of_its_rows(summary):
  assert entry(summary, "frozen").values == FROZEN
  assert entry(summary, "frozen").difference == pytest.approx(-14 / 15)
  assert {line.score for line in summary} == {ERROR}
  assert report.summarise([row("frozen", 0, 0.5)])[0].score == Score() == report.score_of({})


def test_entries_are_written_and_read_back(summary, tmp_path):
  records.write_rows(tmp_path / "summary.jsonl", map(report.to_json, summary))
  written = records.read_rows(tmp_path / "summary.jsonl")
  assert written[0]["score"] == ERROR._asdict()
  assert [report.from_json(line) for line in written] == summary
  (line,) = report.summarise([row("frozen", 0, 0.5)])
  older = {name: value for name, value in report.to_json(line).items() if name not in ("score", "values")}
  assert report.from_json({**older, "accuracies": [0.5]}) == line


def test_rows_of_several_scores_are_not_mixed():
  with pytest.raises(UserError, match="row 2: its score is error dB, that of the rows before it accuracy %"):
    report.summarise([row("frozen", 0, 0.5), error_row("frozen", 1, 4.0)])
  other = {**error_row("frozen", 1, 4.0), "score": ERROR._replace(higher_is_better=True)._asdict()}
  with pytest.raises(UserError, match="row 2"):
    report.summarise([error_row("frozen", 0, 4.0), other])


def test_a_row_without_its_score_is_an_error():
  with pytest.raises(UserError, match="row 1: test_error is missing"):
    report.summarise([error_row("frozen", 0, None)])


def test_sentences_turn_round(summary):
  assert report.verdict(summary) == [
    "frozen: -0.933 dB against scratch at 100 labels, 95% CI [-1.077, -0.790]: better.",
    "full: +1.067 dB against scratch at 100 labels, 95% CI [+0.923, +1.210]: worse.",
    "scratch does not beat raw (a probe on the signal itself) at 100 labels: mean 5.100 dB against 4.033 dB.",
    "frozen does not beat raw (a probe on the signal itself) at 100 labels: mean 4.167 dB against 4.033 dB.",
    "full does not beat raw (a probe on the signal itself) at 100 labels: mean 6.167 dB against 4.033 dB.",
    *report.caveats(summary),
  ]
  (best,) = report.best(summary)
  assert best.startswith("4.167 dB: frozen: ")
  rows = error_rows(random=SCRATCH, frozen=FROZEN)
  assert report.against(rows, "random") == {
    100: "Frozen against random at 100 labels, in dB: better: denoising (-0.933)."
  }


def test_tables_name_the_score_and_keep_the_meaning_of_arrows(summary):
  table = report.results_table(summary)
  assert table.title == "Test error (denoising, mnist, cnn)"
  assert "error dB" in table.cells.headers
  assert "A lower error is better." in table.note
  assert table.note.startswith("Test error: ")
  assert ", in dB." in table.note
  frozen = table.cells.rows[[line.mode for line in summary].index("frozen")]
  assert "4.167 ± 0.153" in frozen
  assert "-0.933 [-1.077, -0.790]" in frozen
  assert [cells[1].rpartition(" ")[2] for cells in report.curve_cells(summary).rows][1:3] == ["↓", "↑"]  # as numbers go
  assert "lies above (below) zero. A lower error is better." in report.curve_note(ERROR)
  assert report.curve_note() == (
    "Test accuracy in percent, mean ± standard deviation over label subsets. ↑ (↓): the 95% interval of the difference "
    "to scratch, paired by subset, lies above (below) zero."
  )


def test_gains_have_the_unit_of_a_difference():
  text, low, high = report.gain([-1.0, -0.9, -1.1], ERROR)
  assert text.startswith("-1.000 dB [")
  assert low < high < 0


def test_leaderboards_begin_with_the_lowest(summary, tmp_path):
  lines = [Ranked(line, line.method, "flatten", "a", None, "", "", "") for line in summary]
  board = Board("toy, 100 labels", "", lines)
  assert [line.entry.mode for line in leaderboard.ranked(lines)] == ["raw", "frozen", "scratch", "full"]
  assert leaderboard.ranked_sentence(board).startswith("toy, 100 labels: 4.033 ± 0.058 dB: denoising raw (reference)")
  page = Page(leaderboard.write_index(tmp_path / "index.html", "t", "c", [board], []).read_text())
  assert ("th", "aria-sort", "ascending") in page.attributes
  assert "error dB" in page.text
  assert "A lower error is better." in page.text
  assert "accuracy" not in page.text


def test_scores_have_boards_of_their_own(tmp_path):
  def other(mode, seed, value):
    made = {**run_row(mode, seed, 0.0), "test_error": value, "score": ERROR._asdict()}
    del made["test_accuracy"]
    return made

  write(tmp_path / "a", [run_row("frozen", 0, 0.8), run_row("frozen", 1, 0.9)])
  write(tmp_path / "b", [other("frozen", 0, 4.0), other("frozen", 1, 4.2)])
  write(tmp_path / "c", [{**other("frozen", 0, 4.0), "score": {"nome": "error"}}])
  gathered = index.gather(tmp_path)
  assert gathered.left_out == ["Left out c: row 1 of its results.jsonl has no sound score."]
  boards = index.boards([line for run, rows in gathered.runs.items() for line in index.lines(tmp_path, run, rows, {})])
  assert [(board.title, board.score.name) for board in boards] == [
    ("mnist, 100 labels, accuracy", "accuracy"),
    ("mnist, 100 labels, error", "error"),
  ]
  note = leaderboard.note([board.score for board in boards])
  assert note.startswith("Test accuracy, error: ")
  assert "in points or dB." in note


def test_labels_saved_reaches_a_target_from_above():
  assert labels_saved.labels_to_reach([10, 1000], [6.0, 4.0], 5.0, higher_is_better=False) == pytest.approx(100)
  assert labels_saved.labels_to_reach([10, 1000], [6.0, 4.0], 6.5, higher_is_better=False) == 10
  assert math.isinf(labels_saved.labels_to_reach([10, 1000], [6.0, 4.0], 3.9, higher_is_better=False))
  rows = error_rows(10, scratch=[6.0, 6.0], frozen=[5.0, 5.0]) + error_rows(1000, scratch=[4.0, 4.0])
  (need,) = labels_saved.labels_needed(report.summarise(rows))
  assert need.needed == pytest.approx(100)
  assert labels_saved.needed_sentences([need], 10) == [
    "frozen has 5.000 dB with 10 labels; scratch is as good with about 100 (by subset 100): 10 times as many."
  ]


def test_boards_of_other_scores_are_of_other_labels_by_nature(tmp_path):
  """Their targets differ: that is no other split."""
  masks = Score("mIoU")._asdict()
  given = [run_row("frozen", 0, 0.5)]
  given += [run_row("frozen", 0, 0.5) | {"test_mIoU": 0.4, "score": masks, "settings": {"labels_crc32": 8}}]
  given += [run_row("frozen", 0, 0.5, labels=20) | {"test_mIoU": 0.4, "score": masks}]
  write(tmp_path / "a", given)
  runs, _ = index.gather(tmp_path)
  boards = index.boards([line for run, rows in runs.items() for line in index.lines(tmp_path, run, rows, {})])
  titles = ["mnist, 20 labels, mIoU", "mnist, 100 labels, accuracy", "mnist, 100 labels, mIoU"]
  assert [(board.title, board.note) for board in boards] == [(title, "") for title in titles]


def test_readings_rank_the_lowest_first(summary):
  ranked = readings.ranking(summary, lambda line: line.mode, 100)
  assert [standing.name for standing in ranked] == ["raw", "frozen", "scratch", "full"]
  assert [standing.behind > 0 for standing in ranked] == [False, True, True, True]
  text = readings.reading("toy", ranked)
  assert text.startswith("toy: raw is the best, 4.033 dB; ")
  assert "behind it scratch (+1.067 [" in text
  single = readings.ranking(report.summarise(error_rows(scratch=[5.0], frozen=[4.0])), lambda line: line.mode, 100)
  assert [(standing.name, standing.low) for standing in single] == [("frozen", None), ("scratch", None)]
  said = readings.reading("toy", single)
  assert said == "toy: frozen is the best, 4.000 dB; behind it, with no claim scratch (+1.000)."
  assert "in dB," in readings.note(ERROR)
  assert "fewer than 3 label subsets, or there is none." in readings.note(ERROR)


def test_a_gain_is_the_methods_where_it_goes_down():
  def rows(frozen):
    return error_rows(scratch=SCRATCH, frozen=frozen)

  (sentence,) = readings.method_or_tuning(rows(FROZEN), rows(FROZEN))
  assert "frozen over scratch at 100 labels: -0.933 dB [" in sentence
  assert sentence.endswith("the gain is the method's.")
  (sentence,) = readings.method_or_tuning(rows(FULL), rows(FULL))
  assert sentence.endswith("the method is worse than its tuned baseline.")


def test_figures_name_the_score(summary, tmp_path):
  label = "test error (dB), lower is better"
  dots = figures.score_dots(summary).axes[0]
  assert dots.get_xlabel() == label
  assert dots.get_xlim()[0] < min(RAW)
  assert dots.get_xlim()[1] > max(FULL)
  assert [text.get_text() for text in dots.get_yticklabels()] == [
    "raw",
    "frozen",
    "scratch",
    "full",
  ]  # the lowest first
  assert [text.get_text() for text in dots.texts][1] == "4.167 ± 0.153"
  curve = figures.label_curve(report.summarise(error_rows(frozen=FROZEN) + error_rows(1000, frozen=FROZEN)))
  assert curve is not None
  assert curve.axes[0].get_ylabel() == label
  blocks = figures.trained_blocks(summary, {"frozen": 0, "full": 2}).axes[0]
  assert blocks.get_ylabel() == label
  filled = [line for line in blocks.lines if line.get_markersize() == 7]
  assert [line.get_ydata().tolist() for line in filled] == [[pytest.approx(np.mean(FROZEN))]]  # the lowest
  confusion = figures.confusion([0, 1], [0, 0], ["a", "b"], Score("agreement"))
  assert confusion.axes[0].get_title("left") == "agreement: 50.0% of 2"
  figures.save(figures.score_dots(summary), tmp_path / "dots.png")


def test_small_and_negative_scores_have_dots():
  score = Score("R2", "", "", 1.0)
  rows = [
    {**error_row(mode, seed, value), "test_R2": value, "score": score._asdict()}
    for mode, values in {"scratch": [-0.2, -0.1], "frozen": [0.011, 0.013]}.items()
    for seed, value in enumerate(values)
  ]
  axes = figures.score_dots(report.summarise(rows)).axes[0]
  assert axes.get_xlim()[0] < -0.2
  assert 0.013 < axes.get_xlim()[1] <= 0.1
  assert axes.get_xlabel().startswith("test R2")
  assert statistics.change_quantity(score, 0.0123) == "+0.012"
  assert statistics.heading(score) == "R2"


def test_a_page_says_nothing_of_accuracy(summary, tmp_path):
  rows = error_rows(scratch=SCRATCH, frozen=FROZEN, full=FULL, raw=RAW)
  tables = [report.Table("All", report.methods_cells(summary, 100), report.curve_note(ERROR))]
  page = Page(pages.write_html(tmp_path, "t", "c", {}, rows, summary, [], {}, first=tables).read_text())
  assert "accuracy" not in page.text.lower()
  assert "5.0000" in page.text  # every predictor, with a digit more
  assert page.text.count("error dB") == 2
  assert "A lower error is better." in page.text


def test_the_overview_has_the_scores_unit(summary, tmp_path):
  run = tmp_path / "run"
  records.write_rows(run / "results.jsonl", error_rows(scratch=SCRATCH, frozen=FROZEN))
  records.write_rows(run / "summary.jsonl", map(report.to_json, summary))
  published = {"few": pages_of_docs.Published({"scratch": 5.0, "frozen": 4.0})}
  lines = [[c.strip() for c in line.split("|")[1:-1]] for line in pages_of_docs.overview([run], published).splitlines()]
  assert lines[2] == ["few", "published, one run", "100", "5.00", "4.00", "-1.00", ""]
  assert lines[3][:5] == ["few", "denoising", "100", "5.100 ± 0.100", "4.167 ± 0.153"]
  with pytest.raises(UserError, match=r"no results\.jsonl and summary\.jsonl"):
    pages_of_docs.overview([tmp_path], published)


def test_a_small_test_split_is_told_of_every_score():
  given = [{**line, "test_examples": 60} for line in error_rows(scratch=SCRATCH, frozen=FROZEN)]
  told = report.small_tests(report.summarise(given))
  assert told == ["The test split has 60 images; the intervals do not include the draw of these."]
  assert report.small_tests(report.summarise([line for line in given if line["subset_seed"] == 0])) == []
  assert report.small_tests(report.summarise([{**line, "test_examples": 2000} for line in given])) == []


@pytest.mark.parametrize(
  ("value", "text"),
  [
    (0, "0.000"), (1, "1.000"), (-3.14159, "-3.142"), (0.00243117, "0.002431"), (12_345.6, "12,350"),
    (999.96, "1,000.0"), (1e-9, "1.000e-09"), (2.5e12, "2.500e+12"), (math.nan, "nan"), (math.inf, "inf"),
  ],
)  # fmt: skip
def test_numbers_of_any_size_have_as_many_digits(value, text):
  assert tables.plain(value) == text


def test_errors_in_units_of_their_own_are_told_by_their_digits():
  score = {"score": Score("R2", "", "", 1.0)._asdict()}
  told = {name: value for name, value in row("frozen", 0, 0.0).items() if name != "test_accuracy"}
  given = [told | score | {"test_R2": 0.5, "test_R2_mass": 0.25, "test_MAE_mass": 0.00012341}]
  cells = report.scores_cells(given, 100)
  assert cells.headers[-3:] == ["R2", "R2 mass", "MAE mass"]
  assert cells.rows[0][-3:] == ["0.500", "0.250", "0.0001234"]
