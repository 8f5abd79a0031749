"""sslx.report.index: which rows share a table, and known numbers in it."""

import re

import pytest
from index_rows import FROZEN, PRETRAINING, SCRATCH, row, rows, with_settings, write

from sslx.report import index, leaderboard

HALF = 4.302652729911275 * 0.01 / 3**0.5  # t(0.975, 2 degrees of freedom), sd 0.01, three pairs
DEFAULTS = {"steps": 150, "head": "logistic"}  # of settings that older rows lack


def indexed(folder):
  runs, left_out = index.gather(folder)
  return index.boards(
    [line for run, given in runs.items() for line in index.lines(folder, run, given, DEFAULTS)]
  ), left_out


def by_mode(board):
  return {line.entry.mode: line for line in board.lines}


def test_seeds_with_a_pretraining_of_their_own_are_one_line(tmp_path):
  paired = [r | {"pretraining": PRETRAINING | {"seed": r["subset_seed"]}} for r in rows(scratch=SCRATCH, frozen=FROZEN)]
  write(tmp_path / "a", paired)
  (board,), _ = indexed(tmp_path)
  assert {mode: line.entry.n for mode, line in by_mode(board).items()} == {"scratch": 3, "frozen": 3}
  assert len(board.lines) == 2
  write(tmp_path / "b/c", [r | {"pretraining": PRETRAINING | {"seed": s}} for s in (0, 1) for r in rows(frozen=FROZEN)])
  (board,), _ = indexed(tmp_path / "b")
  assert [line.entry.n for line in board.lines] == [3, 3]  # two pretrainings, each on all subsets


def test_known_numbers(tmp_path):
  write(tmp_path / "a", rows(scratch=SCRATCH, frozen=FROZEN))
  ((board,), left_out) = indexed(tmp_path)
  assert (board.title, board.note, left_out) == ("mnist, 100 labels", "", [])
  line = by_mode(board)["frozen"]
  assert line.entry.mean == pytest.approx(0.83)
  assert line.entry.std == pytest.approx(0.0003**0.5)
  wanted = [0.02, 0.02 - HALF, 0.02 + HALF]
  assert [getattr(line.entry, name) for name in ("difference", "low", "high")] == pytest.approx(wanted)
  assert (line.method, line.features, line.run, line.commits) == ("denoise", "flatten", "a", "abc1234")
  assert re.fullmatch(r"\d{4}-\d\d-\d\d", line.date)
  assert leaderboard.ranked_sentence(board) == (
    "mnist, 100 labels: 83.0 ± 1.7%: denoise frozen, conv, +2.0 [-0.5, +4.5] points against scratch; best of 2 lines."
  )


def test_the_difference_is_to_the_same_runs_scratch(tmp_path):
  write(tmp_path / "a", rows(scratch=SCRATCH, frozen=FROZEN))
  write(tmp_path / "b", rows({"method": "simclr", "pretraining": {**PRETRAINING, "method": "simclr"}}, frozen=FROZEN))
  ((board,), _) = indexed(tmp_path)
  frozen = {line.method: line.entry.difference for line in board.lines if line.entry.mode == "frozen"}
  assert frozen == {"denoise": pytest.approx(0.02), "simclr": None}


def test_other_labels_splits_and_validations_have_tables_of_their_own(tmp_path):
  given = rows(scratch=SCRATCH, frozen=FROZEN)
  write(tmp_path / "a", given)
  write(tmp_path / "b", with_settings(given, labels_crc32=8))
  write(tmp_path / "c", with_settings(given, validation="heldout:50"))
  write(tmp_path / "d", [r | {"labels": 1000} for r in given])
  write(tmp_path / "e", [r | {"dataset": "digits"} for r in given])
  write(tmp_path / "f", with_settings(given, subset="stratified"))
  write(tmp_path / "g", with_settings([r | {"seed": 1} for r in given], subset="balanced"))  # what older rows are
  boards, _ = indexed(tmp_path)
  assert {board.title: {line.run for line in board.lines} for board in boards} == {
    "digits, 100 labels": {"e"},
    "mnist, 100 labels, split 00000007": {"a", "g"},
    "mnist, 100 labels, split 00000008": {"b"},
    "mnist, 100 labels, --validation=heldout:50, split 00000007": {"c"},
    "mnist, 100 labels, --subset=stratified, split 00000007": {"f"},
    "mnist, 1,000 labels": {"d"},
  }
  assert [bool(board.note) for board in boards] == [False, True, True, True, True, False]
  assert "00000008" in boards[2].note


def test_other_images_with_the_same_labels_have_a_table_of_their_own(tmp_path):
  """Older rows do not tell: they stand with the others while these agree, and else by themselves."""
  given = rows(scratch=SCRATCH, frozen=FROZEN)
  write(tmp_path / "old", given)
  write(tmp_path / "a", with_settings(given, data="a" * 32))
  boards, _ = indexed(tmp_path)
  assert [(board.title, {line.run for line in board.lines}) for board in boards] == [
    ("mnist, 100 labels", {"a", "old"})
  ]
  write(tmp_path / "b", with_settings(given, data="b" * 32))
  boards, _ = indexed(tmp_path)
  assert {board.title: {line.run for line in board.lines} for board in boards} == {
    "mnist, 100 labels, data unknown": {"old"},
    "mnist, 100 labels, data aaaaaaaa": {"a"},
    "mnist, 100 labels, data bbbbbbbb": {"b"},
  }
  assert all("fingerprint of the data" in board.note for board in boards)


def test_pretraining_and_settings_are_not_mixed_within_a_run(tmp_path):
  """A comparison's folder takes rows of --epochs=2 and of --epochs=4, of one and of another number of steps."""
  none = {"method": "none", "pretraining": None}
  longer = {"pretraining": {**PRETRAINING, "epochs": 4.0}}
  given = rows(none, scratch=SCRATCH, raw=[0.5] * 3) + rows(frozen=FROZEN) + rows(longer, frozen=[0.9, 0.92, 0.91])
  given += with_settings(rows(none, scratch=[0.7] * 3) + rows(frozen=FROZEN), steps=999)
  write(tmp_path / "a", given)
  ((board,), _) = indexed(tmp_path)
  lines = sorted((line.entry.mode, round(line.entry.mean, 3), line.entry.difference) for line in board.lines)
  assert lines == [
    ("frozen", 0.83, pytest.approx(0.02)),
    ("frozen", 0.83, pytest.approx(0.13)),
    ("frozen", 0.91, pytest.approx(0.1)),
    ("raw", 0.5, pytest.approx(-0.31)),
    ("scratch", 0.7, None),
    ("scratch", 0.81, None),
  ]


def test_rows_older_than_a_setting_have_its_default(tmp_path):
  old = rows(scratch=SCRATCH)
  write(tmp_path / "a", old + with_settings(rows(frozen=FROZEN), **DEFAULTS))
  ((board,), _) = indexed(tmp_path)
  assert by_mode(board)["frozen"].entry.difference == pytest.approx(0.02)


def test_references_are_marked_and_repeated_ones_shown_once(tmp_path):
  write(tmp_path / "a", rows(raw=[0.5, 0.6], random=[0.6, 0.6], scratch=[0.7, 0.7], frozen=[0.8, 0.8]))
  other = {"method": "simclr", "encoder": "mlp", "pretraining": {**PRETRAINING, "method": "simclr"}}
  write(tmp_path / "b", rows(other, raw=[0.5, 0.6], random=[0.6, 0.6], scratch=[0.7, 0.71], frozen=[0.8, 0.8]))
  write(tmp_path / "c", rows({"pretraining": {**PRETRAINING, "epochs": 9}}, random=[0.6, 0.6], frozen=[0.8, 0.8]))
  ((board,), _) = indexed(tmp_path)
  lines = [(line.method, line.entry.mode, line.entry.encoder, line.run, line.more) for line in board.lines]
  assert sorted(lines) == [
    ("", "random", "conv", "a", 1),  # that of c; the one of b has another encoder
    ("", "random", "mlp", "b", 0),
    ("", "raw", "", "a", 1),  # pixels know of no encoder
    ("", "scratch", "conv", "a", 0),
    ("", "scratch", "mlp", "b", 0),
    ("denoise", "frozen", "conv", "a", 0),  # what was pretrained is never merged
    ("denoise", "frozen", "conv", "c", 0),
    ("simclr", "frozen", "mlp", "b", 0),
  ]
  marks = {line.entry.mode: leaderboard.mark(line.entry) for line in board.lines}
  assert marks == {"raw": "reference", "random": "reference", "scratch": "baseline", "frozen": ""}


def test_methods_say_what_they_are():
  name = index.method_name
  assert name(row("frozen", 0, 0.5, method="level 0.5")) == "level 0.5 (denoise)"
  assert name(row("frozen", 0, 0.5, dataset="digits")) == "denoise, from mnist"
  assert name(row("frozen", 0, 0.5, method="denoise on the target")) == "denoise on the target"
  assert name(row("raw", 0, 0.5, method="none", pretraining=None)) == "none"


def test_a_boards_answer_is_its_best_pretrained_line_beside_the_best_without(tmp_path):
  write(tmp_path / "a", rows(raw=[0.9] * 3, scratch=SCRATCH, frozen=FROZEN))
  write(tmp_path / "b", [r | {"labels": 9} for r in rows(raw=[0.7] * 3, scratch=SCRATCH, full=FROZEN)])
  write(tmp_path / "c", [r | {"labels": 5} for r in rows(raw=[0.7] * 3)])
  boards, _ = indexed(tmp_path)
  none, full, frozen = map(leaderboard.winner, boards)
  assert (none.pretrained, none.other.entry.mode, none.beaten) == (None, "raw", False)
  assert (full.pretrained.number, full.other.number, full.other.entry.mode) == ("83.0", "81.0", "scratch")
  assert (frozen.pretrained.entry.mode, frozen.other.entry.mode) == ("frozen", "raw")
  assert [full.beaten, frozen.beaten] == [False, True]
  assert frozen.start + frozen.outcome == (
    "frozen: +2.0 points over scratch at 100 labels, 95% CI [-0.5, +4.5]: the interval includes zero: no measurable "
    "difference."
  )
  page = leaderboard.write_index(tmp_path / "index.html", "t", "c", boards, []).read_text()
  assert page.index("Without pretraining, raw is as good or better.") < page.index('class="board"')
  assert page.count("as good or better") == 1
  assert "No pretrained encoder was tested." in page


def test_lines_of_smoke_runs_are_marked(tmp_path):
  write(tmp_path / "a", rows(frozen=FROZEN) + rows({"flags": {"smoke": True}}, full=FROZEN))
  ((board,), _) = indexed(tmp_path)
  assert {mode: line.smoke for mode, line in by_mode(board).items()} == {"frozen": False, "full": True}
  page = leaderboard.write_index(tmp_path / "index.html", "t", "c", [board], []).read_text()
  assert page.count(">smoke</span>") == 1
  assert "the numbers mean nothing" in page
