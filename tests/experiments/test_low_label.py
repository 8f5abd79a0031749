"""experiments.low_label with --smoke: rows, figures and report; what is found again; a mode that is new."""

import json

import numpy as np
import pytest
from helpers import call, directory, hidden_test_split, rows_of

from experiments.shared import cli
from sslx.evaluation import heads
from sslx.evaluation.bench import Mode
from sslx.evaluation.modes import MODES

TINY = ["--encoder=conv:widths=4-6,norm=none", "--seeds=2", "--labels=12", "--smoke"]


def test_low_label_writes_rows_figures_and_a_report(low_label_run, toy_npz):
  _, run = low_label_run
  rows = rows_of(run)
  modes = ["raw", "random", "scratch", "frozen", "last:1", "full"]
  assert [(r["labels"], r["mode"], r["subset_seed"]) for r in rows[:24]] == [
    (n, m, s) for n in (12, 24) for m in modes for s in (0, 1)
  ]
  totals = {r["parameters_total"] for r in rows[:24] if r["mode"] != "raw"}
  assert len(totals) == 1
  for row in rows:
    assert 0 <= row["test_accuracy"] <= 1
    assert row["test_accuracy"] * 90 == pytest.approx(round(row["test_accuracy"] * 90))
    assert row["score"]["name"] == "accuracy"
    assert row["test_examples"] == 90
    assert row["dataset"] == toy_npz
    assert {"git", "versions", "device", "flags", "seconds", "chosen", "encoder", "method", "task"} <= row.keys()
  pictures = {p.stem for p in (run / "figures").glob("*.png")}
  assert pictures == {
    "accuracy", "labels", "loss", "pretext", "predictions_scratch", "predictions_frozen",
    "confusion_scratch", "confusion_frozen", "calibration",
  }  # fmt: skip
  page = (run / "report.html").read_text()
  assert page.count("data:image/png") == len(pictures - {"accuracy"})  # the page draws these dots itself
  metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  assert metrics[-1]["step"] == cli.SMOKE_STEPS


def test_the_same_command_again_trains_nothing(low_label_run, toy_npz, capsys):
  out, run = low_label_run
  before = (run / "results.jsonl").read_bytes()
  assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, "--labels=12,24") == 0
  assert (run / "results.jsonl").read_bytes() == before
  assert "frozen" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("entry", "value", "said"),
  [
    ("labels", "ten", "has no sound labels"), ("test_accuracy", [0.5], "has no sound test_accuracy"),
    ("score", {"name": 5}, "has no sound score"), ("pretraining", {"hp": 7}, "is not sound"),
    ("settings", {"learning_rates": 5}, "is not sound"),
  ],
)  # fmt: skip
def test_a_damaged_row_is_named_and_nothing_is_trained(low_label_run, toy_npz, capsys, entry, value, said):
  out, run = low_label_run
  path = run / "results.jsonl"
  before = path.read_text()
  first, *rest = before.splitlines()
  damaged = "\n".join([first, json.dumps({**json.loads(first), entry: value}), *rest]) + "\n"
  path.write_text(damaged)
  try:
    assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, "--labels=12,24,48") == 1
    assert path.read_text() == damaged
  finally:
    path.write_text(before)
  error = capsys.readouterr().err.splitlines()[-1]
  assert error.startswith(f"error: {path}: line 2 {said}")
  assert error.endswith("remove or mend that line")


def test_another_mode_or_count_reuses_the_pretraining(low_label_run, toy_npz):
  out, run = low_label_run
  saved = (run / "checkpoints").stat().st_mtime_ns
  assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, "--labels=6", "--modes=knn:3,frozen") == 0
  assert directory(out) == run
  assert (run / "checkpoints").stat().st_mtime_ns == saved
  assert {r["mode"] for r in rows_of(run) if r["labels"] == 6} == {"raw", "random", "knn:3", "frozen"}
  summary = [json.loads(line) for line in (run / "summary.jsonl").read_text().splitlines()]
  shown = list(dict.fromkeys((each["labels"], each["mode"]) for each in summary))
  asked = [(6, mode) for mode in ("raw", "random", "knn:3", "frozen")]
  before = [(n, mode) for n in (12, 24) for mode in ("raw", "random", "frozen", "scratch", "last:1", "full")]
  assert shown == asked + before  # the first command's rows are still there; in each table the asked for come first


def test_uneven_classes_have_a_majority_row_and_subsets_of_either_kind(toy, tmp_path, capsys):
  """Most of the images are of one class: 87% are right without looking at any."""
  y = np.repeat([0, 1, 2], (200, 30, 10))
  shown = {"train_images": toy.train.x, "train_labels": y, "test_images": toy.test.x, "test_labels": y[-90:][::-1] * 0}
  shown["test_labels"][:12] = 1
  np.savez(tmp_path / "uneven.npz", **shown)
  given = [f"--dataset=npz:{tmp_path / 'uneven.npz'}", f"--out={tmp_path / 'runs'}", *TINY, "--modes=knn:1"]
  for subset in ("balanced", "stratified"):
    assert call("low_label", *given, "--labels=24", f"--subset={subset}") == 0
  run = directory(tmp_path / "runs")  # the same pretraining
  rows = rows_of(run)
  assert [(r["mode"], r["settings"]["subset"]) for r in rows[::2]] == [
    (mode, subset) for subset in ("balanced", "stratified") for mode in ("majority", "raw", "random", "knn:1")
  ]
  for row in rows:
    if row["mode"] == "majority":
      assert row["test_accuracy"] == pytest.approx(78 / 90)
      assert (row["parameters_total"], row["parameters_trainable"], row["reads"]) == (0, 0, "raw")
  page = (run / "report.html").read_text()
  assert "does not beat majority (always the most frequent class) at 24 labels" in page
  before = (run / "results.jsonl").read_bytes()
  assert call("low_label", *given, "--labels=24") == 0  # each kind is found again
  assert (run / "results.jsonl").read_bytes() == before
  capsys.readouterr()
  assert call("low_label", *given, "--subset=even") == 2
  assert "--subset=even" in capsys.readouterr().err


def test_held_out_validation_and_several_learning_rates(low_label_run, toy_npz):
  out, run = low_label_run
  arguments = ["--validation=heldout:30", "--finetune_learning_rates=1e-3,1e-2", "--modes=scratch,frozen"]
  assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, *arguments) == 0
  rows = [r for r in rows_of(run) if r["settings"]["validation"] == "heldout:30"]
  assert len(rows) == 8
  assert all(r["chosen"]["validation_accuracy"] is not None for r in rows)
  assert {r["chosen"]["learning_rate"] for r in rows if r["mode"] == "scratch"} <= {1e-3, 1e-2}


def test_a_mode_is_one_line_in_modes(low_label_run, toy_npz, monkeypatch, capsys):
  """Nothing else is changed: it is asked for, refused for another task, told by
  --help, trained, tested and reported."""
  out, run = low_label_run
  mode = Mode("pretrained", ("classification",), heads.fitted("pretrained"), "a head of this test", whole=True)
  monkeypatch.setitem(MODES, "brandnew", mode)
  with hidden_test_split() as tested:
    assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, "--modes=brandnew,frozen") == 0
  assert {(case.mode, n) for case, n in tested} == {("brandnew", 90)}
  scores = {(r["mode"], r["subset_seed"]): r["test_accuracy"] for r in rows_of(run) if r["labels"] == 12
            and r["settings"]["validation"] == "cv"}  # fmt: skip
  for seed in (0, 1):
    assert scores["brandnew", seed] == scores["frozen", seed]
  assert "brandnew" in (run / "report.html").read_text()
  capsys.readouterr()
  assert call("low_label", "--help=all") == 0
  assert "brandnew  a head of this test" in capsys.readouterr().out
  assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, "--modes=brandnw") == 1
  assert "Did you mean 'brandnew'" in capsys.readouterr().err


def test_default_modes_that_the_data_do_not_allow_are_left_out(low_label_run, toy_npz, tmp_path, monkeypatch, capsys):
  """But whoever asks for one is told, before a directory is made."""
  monkeypatch.setitem(MODES, "full", MODES["full"]._replace(modalities=("sound",)))
  monkeypatch.setitem(MODES, "random", MODES["random"]._replace(tasks=("regression",)))
  out, run = low_label_run
  assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, "--labels=9", "--seeds=1") == 0
  assert {r["mode"] for r in rows_of(run) if r["labels"] == 9} == {"raw", "scratch", "frozen", "last:1"}
  capsys.readouterr()
  for bad in ("--modes=full", "--labels=no", "--encoder=none", "--method=none"):
    assert call("low_label", f"--dataset={toy_npz}", f"--out={tmp_path}", *TINY, bad) == 1
    assert bad in capsys.readouterr().err
  assert not list(tmp_path.iterdir())


def test_the_default_command_on_mnist(mnist_dir, tmp_path):
  arguments = [f"--data_dir={mnist_dir}", f"--out={tmp_path}", "--smoke", "--seeds=1", "--modes=frozen"]
  assert call("low_label", *arguments) == 0
  run = directory(tmp_path)
  assert run.name.startswith("denoise-mnist-conv-")
  assert {row["mode"] for row in rows_of(run)} == {"raw", "random", "frozen"}  # its classes are even


def test_views_of_labels_that_are_none_are_told_before_anything_is_loaded(tmp_path, capsys):
  assert call("low_label", "--smoke", "--augment=soud", f"--out={tmp_path}") != 0
  error = capsys.readouterr().err
  assert "error: --augment=soud: no views are called 'soud'" in error
  assert "loading" not in error
