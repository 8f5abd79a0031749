"""Which model a command keeps, what is told of it, and that it is kept once."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import call, directory, rows_of
from PIL import Image

import sslx
from experiments.shared import keeping
from sslx import models
from sslx.fitted import Fitted
from sslx.types import UserError

TINY = [
  "--method=denoise", "--encoder=conv:widths=4-6", "--epochs=1", "--finetune_steps=4", "--labels=12,24", "--seeds=2",
  "--modes=frozen,full,knn:3",
]  # fmt: skip


@pytest.fixture(scope="module")
def kept(toy_npz, tmp_path_factory):
  """(flags, run directory) of a finished command."""
  given = [f"--dataset={toy_npz}", *TINY, f"--out={tmp_path_factory.mktemp('out')}"]
  assert call("low_label", *given) == 0
  return given, directory(Path(given[-1].removeprefix("--out=")))


def best_mode(run: Path, labels: int) -> str:
  """By the rows alone."""
  rows = [row for row in rows_of(run) if row["labels"] == labels and row["mode"] != "majority"]
  modes = list(dict.fromkeys(row["mode"] for row in rows))
  return max(modes, key=lambda mode: np.mean([row["test_accuracy"] for row in rows if row["mode"] == mode]))


def test_the_best_line_at_the_most_labels_is_kept(kept, toy):
  _, run = kept
  model = sslx.load(run / "models/best")
  assert isinstance(model, Fitted)
  assert model.mode == best_mode(run, 24)
  (row,) = [r for r in rows_of(run) if (r["mode"], r["labels"], r["subset_seed"]) == (model.mode, 24, 0)]
  assert sslx.accuracy(model, toy.test) == row["test_accuracy"]  # it is the very predictor of that row
  assert len(model.rows) == 24
  assert [path.name for path in (run / "models").iterdir()] == ["best"]


def test_it_says_what_it_is(kept):
  given, run = kept
  about = models.read(models.find(run)).about
  score = [row["test_accuracy"] for row in rows_of(run) if (row["mode"], row["labels"]) == (about["mode"], 24)]
  assert about["score"]["mean"] == pytest.approx(np.mean(score))
  assert about["score"]["std"] == pytest.approx(np.std(score, ddof=1))
  assert (about["score"]["compared"], about["score"]["test_examples"], about["labels"]) == (5, 90, 24)
  assert "chosen among 5 by this very score" in about["score_told"]
  assert (about["dataset"], about["encoder"]) == (given[0].removeprefix("--dataset="), "conv:widths=4-6")
  assert about["calibration"]["examples"] == 24
  assert about["versions"]["jax"]
  page = (run / "report.html").read_text()
  assert about["score_told"].replace("'", "&#39;") in page
  assert f"experiments.predict</span> <span>--model={run}" in page.replace("\n", "")


def test_it_is_not_made_again(kept, monkeypatch):
  given, run = kept
  before = (run / "models/best/model.npz").stat().st_mtime_ns
  monkeypatch.setattr(models, "write", lambda *_: pytest.fail("it is there"))
  assert call("low_label", *given) == 0
  assert (run / "models/best/model.npz").stat().st_mtime_ns == before


def test_another_command_trains_it_once_more_to_the_last_bit(kept, toy):
  """Its rows are there, and the predictor is not any more."""
  given, run = kept
  x = toy.test.x
  before = models.read(run / "models/best").predictor.outputs(x)
  (run / "models/best/model.json").unlink()
  assert call("low_label", *given) == 0
  np.testing.assert_array_equal(models.read(run / "models/best").predictor.outputs(x), before)


def test_a_damaged_model_is_made_again(kept):
  given, run = kept
  (run / "models/best/model.npz").write_bytes(b"PK")
  assert call("low_label", *given) == 0
  models.read(run / "models/best")


def test_save_none_and_all(toy_npz, tmp_path):
  given = [f"--dataset={toy_npz}", *TINY[:4], "--labels=12", "--seeds=1", "--modes=frozen", f"--out={tmp_path}"]
  assert call("low_label", *given, "--save=none") == 0
  run = directory(tmp_path)
  assert not (run / "models").exists()
  assert "The model" not in (run / "report.html").read_text()
  assert call("low_label", *given, "--save=all") == 0
  assert {path.name for path in (run / "models").iterdir()} == {
    "best", "denoise-raw", "denoise-random", "denoise-frozen",
  }  # fmt: skip
  assert models.read(run / "models/denoise-frozen").mode == "frozen"


def test_a_comparison_keeps_the_best_of_all_methods(toy_npz, tmp_path):
  flags = ["--encoder=conv:widths=4-6", "--epochs=1", "--finetune_steps=4", "--labels=24", "--seeds=1"]
  given = [f"--dataset={toy_npz}", "--methods=denoise,rotation", *flags, "--modes=frozen", f"--out={tmp_path}"]
  assert call("compare", *given) == 0
  run = directory(tmp_path, "compare")
  about = models.read(models.find(run)).about
  rows = rows_of(run)
  best = max(rows, key=lambda row: row["test_accuracy"])
  assert best["test_accuracy"] == about["score"]["mean"]
  assert (about["method"], about["mode"]) in {
    (row["method"], row["mode"]) for row in rows if row["test_accuracy"] == best["test_accuracy"]
  }


def test_without_a_test_split_it_learns_all_labels(toy, tmp_path):
  for i, (x, y) in enumerate(zip(toy.train.x[:45], toy.train.y, strict=False)):
    path = tmp_path / "data/train" / toy.task.names[y] / f"{i}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(x[..., 0]).save(path)
  flags = ["--epochs=1", "--labels=15", "--seeds=1", "--folds=3", "--modes=frozen", "--encoder=conv:widths=4-6"]
  assert call("low_label", f"--dataset=folder:{tmp_path / 'data'}", *flags, f"--out={tmp_path / 'runs'}") == 0
  model = models.read(models.find(directory(tmp_path / "runs")))
  assert (len(model.rows), len(np.unique(model.rows))) == (45, 45)
  assert model.about["score"]["folds"] == 3
  assert model.about["score"]["low"] < model.about["score"]["mean"] < model.about["score"]["high"]
  assert "by cross-validation of 45 labels in 3 folds" in model.about["score_told"]


def test_one_label_of_each_class_is_not_calibrated(toy_npz, tmp_path):
  flags = ["--labels=3", "--seeds=1", "--modes=frozen", f"--out={tmp_path}"]
  assert call("low_label", f"--dataset={toy_npz}", *TINY[:4], *flags) == 0
  model = models.read(models.find(directory(tmp_path)))
  assert model.temperature == 1
  assert model.about["calibrated"] is False
  assert "too few labels" in model.about["calibration_told"]


def test_a_model_that_cannot_be_written_costs_no_table(toy_npz, tmp_path, monkeypatch, capsys):
  def full(*_):
    raise UserError("the disk is full")

  monkeypatch.setattr(models, "write", full)
  flags = ["--labels=12", "--seeds=1", "--modes=frozen", f"--out={tmp_path}"]
  assert call("low_label", f"--dataset={toy_npz}", *TINY[:4], *flags) == 0
  assert "no model is kept of" in capsys.readouterr().err
  assert (directory(tmp_path) / "report.html").exists()


def test_what_takes_long_is_calibrated_by_one_fold(kept, toy_npz, tmp_path, monkeypatch):
  monkeypatch.setattr(keeping, "PATIENCE", 0.0)
  flags = ["--labels=30", "--seeds=1", "--modes=frozen", f"--out={tmp_path}"]
  assert call("low_label", f"--dataset={toy_npz}", *TINY[:4], *flags) == 0
  text = json.loads((directory(tmp_path) / "models/best/model.json").read_text())
  assert text["about"]["calibration"]["examples"] == 6
