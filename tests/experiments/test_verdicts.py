"""experiments.worth: rounds, what is chosen, its model, and the same again by the same command."""

import json

import numpy as np
import pytest
from helpers import call

import sslx
from experiments.shared import panel
from sslx import models
from sslx.report import records

FLAGS = (
  "--methods=denoise,rotation,inpaint,autoencode", "--encoder=conv:widths=4-6", "--finetune_steps=2", "--seeds=1",
  "--folds=3", "--minutes=5", "--batch_size=16", "--self_train_epochs=0.1",
)  # fmt: skip


@pytest.fixture(scope="module")
def own(toy, tmp_path_factory) -> str:
  """36 labelled images, 40 without labels, no test split."""
  path = tmp_path_factory.mktemp("own") / "own.npz"
  arrays = {"train_images": toy.train.x[:36], "train_labels": toy.train.y[:36], "unlabeled_images": toy.train.x[36:76]}
  np.savez(path, **arrays)
  return f"npz:{path}"


@pytest.fixture(scope="module")
def finished(own, tmp_path_factory):
  """(its directory, what it printed the first time is not kept)"""
  out = tmp_path_factory.mktemp("runs")
  short = pytest.MonkeyPatch()
  short.setattr(panel, "FIRST", 0.001)
  short.setattr(panel.Clock, "left", property(lambda clock: 1e6))  # on every machine
  short.setattr(panel, "ROUNDS", ((3, 0.3, 0.002), (1, 0.6, 0.003)))
  assert call("worth", *FLAGS, f"--dataset={own}", f"--out={out}") == 0
  (directory,) = out.glob("worth-*")
  yield directory, out, short
  short.undo()


def test_each_label_is_judged_by_folds_and_the_rounds_are_nested(finished):
  directory, _, _ = finished
  rows = records.read_rows(directory / "results.jsonl")
  assert {row["fold"]["of"] for row in rows} == {3}
  assert all(len(row["right"]) == row["test_examples"] == 12 for row in rows)
  assert all(row["test_accuracy"] == pytest.approx(row["right"].count("1") / 12) for row in rows)
  steps: dict[str, set[int]] = {}
  for row in rows:
    if row["pretraining"]:
      steps.setdefault(row["method"], set()).add(row["pretraining"]["steps"])
  assert set(steps) == {"denoise", "rotation", "inpaint", "autoencode"}
  assert sorted(len(rounds) for rounds in steps.values()) == [1, 2, 2, 3]
  assert {row["mode"] for row in rows} >= {"raw", "random", "scratch", "frozen", "last:1", "full", "propagate"}
  assert {row["labels"] for row in rows} == {6, 12, 24}


def test_the_model_is_of_all_labels_and_says_what_it_is_worth(finished, toy):
  directory, _, _ = finished
  fitted = sslx.load(directory / "models/best")
  assert len(fitted.rows) == 36
  assert models.read(models.find(directory)).about["score"]["folds"] == 3
  assert sslx.predict(fitted, toy.test.x[:5]).shape == (5, 3)
  page = (directory / "report.html").read_text()
  assert "The panel" in page
  assert "each labelled example is judged by models that did not learn its label" in page


def test_the_same_command_again_makes_nothing_and_says_the_same(finished, own, capsys):
  directory, out, _ = finished
  before = {name: (directory / name).read_text() for name in ("results.jsonl", "plan.json", "summary.jsonl")}
  model = (directory / "models/best/model.npz").read_bytes()
  assert call("worth", *FLAGS, f"--dataset={own}", f"--out={out}") == 0
  said = capsys.readouterr()
  assert {name: (directory / name).read_text() for name in before} == before
  assert (directory / "models/best/model.npz").read_bytes() == model
  assert "from scratch" in said.out or "with scratch" in said.out
  assert "pretraining denoise:" not in said.err


def test_where_time_is_short_it_says_what_was_not_tried(finished, own, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(panel.Clock, "left", property(lambda clock: 10.0 if not clock.rows else 1.0))
  flags = ("--methods=rotation,denoise", *FLAGS[1:], f"--dataset={own}", f"--out={tmp_path}", "--save=none")
  assert call("worth", *flags) == 0
  (directory,) = tmp_path.glob("worth-*")
  plan = [json.loads(line) for line in (directory / "plan.json").read_text().splitlines()]
  assert {row["name"]: row["value"] for row in plan}["try denoise"] is False
  assert "no time: --minutes is too short to try it" in capsys.readouterr().out


def test_a_test_split_is_read_once_for_what_was_chosen(finished, toy_npz, tmp_path, capsys):
  flags = (*FLAGS[1:], f"--dataset={toy_npz}", f"--out={tmp_path}", "--methods=rotation", "--labels=30", "--save=none")
  assert call("worth", *flags) == 0
  out = " ".join(capsys.readouterr().out.split())
  assert "On the 90 test examples, with all 30 labels:" in out
  (directory,) = tmp_path.glob("worth-*")
  rows = records.read_rows(directory / "results.jsonl")
  tested = [row for row in rows if "fold" not in row]
  assert len(tested) == 2
  assert {row["test_examples"] for row in tested} == {90}
  assert {row["labels"] for row in tested} == {30}


@pytest.mark.parametrize(
  ("flags", "error"),
  [
    (("--dataset=moving_digits",), "needs labels of images, recordings or texts"),
    (("--dataset=mnist", "--labels=10,20"), "--labels=10,20: give one number"),
    (("--dataset=mnist", "--minutes=0"), "--minutes"),
  ],
)
def test_bad_input_is_one_line(flags, error, tmp_path, capsys):
  if "moving" in flags[0]:
    flags = (*flags, "--smoke")
  assert call("worth", *flags, f"--out={tmp_path}") != 0
  assert error in capsys.readouterr().err
