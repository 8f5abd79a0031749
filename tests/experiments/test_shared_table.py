"""Rows: of which data they are, one by one, all of them on the page; figures are drawn from what was kept."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import Page, call, directory, nothing_to_train, rows_of

from experiments.shared import publish
from sslx.data import Dataset
from sslx.evaluation import modes

TINY = ["--encoder=mlp:widths=4,code=3", "--seeds=1", "--labels=12", "--smoke"]
MODES = ["--modes=scratch,frozen"]


def save(path: Path, toy: Dataset, test: np.ndarray) -> None:
  train = {"train_images": toy.train.x, "train_labels": toy.train.targets()}
  np.savez(path, **train, test_images=test, test_labels=toy.test.targets())


def scores(rows: list[dict]) -> dict[tuple, float]:
  return {(r["method"], r["mode"], r["labels"], r["subset_seed"]): r["test_accuracy"] for r in rows}


def summary(run: Path) -> dict[tuple, list[float]]:
  lines = [json.loads(line) for line in (run / "summary.jsonl").read_text().splitlines()]
  return {(line["labels"], line["mode"]): line["values"] for line in lines}


@pytest.fixture
def nothing_is_trained(monkeypatch):
  """Whoever trains, with labels or without, fails."""
  from sslx.evaluation import evaluate
  from sslx.training import run

  monkeypatch.setattr(run, "run", None)
  monkeypatch.setattr(evaluate, "training", nothing_to_train)


# ---- of which data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ("experiment", "method"), [("low_label", "--method=autoencode"), ("compare", "--methods=autoencode")]
)
def test_rows_of_other_test_images_are_not_taken_for_these(experiment, method, toy, tmp_path):
  """Inverted test images, a run, the images put right, the same command: its scores are those of the right images."""
  path, out = tmp_path / "data.npz", tmp_path / "out"
  given = [method, f"--dataset=npz:{path}", *TINY, "--modes=frozen"]
  found = []
  for images in (255 - toy.test.x, toy.test.x, 255 - toy.test.x):
    save(path, toy, images)
    assert call(experiment, *given, f"--out={out}") == 0
    run = directory(
      out, "compare-" if experiment == "compare" else ""
    )  # one directory: what is pretrained on is the same
    found.append((rows_of(run), summary(run)))
  (first, shown), (both, then), (third, again) = found
  n = len(first)
  assert both[:n] == first
  assert len(both) == 2 * n  # each was trained again ...
  assert third == both  # ... and once
  assert scores(both[n:]) != scores(first)
  assert {key: len(values) for key, values in then.items()} == {key: 1 for key in shown}
  assert again == shown != then
  assert len({row["settings"]["data"] for row in both}) == 2
  save(path, toy, toy.test.x)
  assert call(experiment, *given, f"--out={tmp_path / 'alone'}") == 0
  alone = rows_of(directory(tmp_path / "alone", "compare-" if experiment == "compare" else ""))
  assert scores(alone) == scores(both[n:])


def test_another_seed_of_the_random_encoder_is_another_row(toy_npz, tmp_path):
  """Rows of no pretraining say nothing of its seed, but they are drawn with it."""
  given = ["--methods=autoencode", f"--dataset={toy_npz}", *TINY, "--modes=frozen", f"--out={tmp_path}"]
  for seed in (0, 1):
    assert call("compare", *given, f"--seed={seed}") == 0
  rows = rows_of(directory(tmp_path, "compare-"))
  assert [(r["mode"], r["seed"]) for r in rows if r["method"] == "none"] == [
    (mode, seed) for seed in (0, 1) for mode in ("raw", "random", "scratch")
  ]


# ---- one by one ------------------------------------------------------------------------------------------------------


def without_place(rows: list[dict]) -> list[dict]:
  """Rows but for how long they took and where they are."""
  return [{k: v for k, v in row.items() if k not in ("seconds", "command", "flags")} for row in rows]


def test_what_is_trained_is_kept_when_a_later_classifier_fails(toy_npz, tmp_path, monkeypatch):
  from sslx.evaluation import evaluate

  given = [f"--dataset={toy_npz}", *TINY[:1], "--seeds=2", "--labels=12,24", "--smoke", *MODES]
  tested, test_one = [], evaluate.test_one

  def failing(case, *arguments):
    if len(tested) == 2:
      raise RuntimeError("a fault of this test")
    tested.append(case)
    return test_one(case, *arguments)

  monkeypatch.setattr(evaluate, "test_one", failing)
  with pytest.raises(RuntimeError, match="a fault of this test"):
    call("low_label", *given, f"--out={tmp_path / 'a'}")
  run = directory(tmp_path / "a")
  kept = rows_of(run)
  assert len(kept) == 2
  monkeypatch.setattr(evaluate, "test_one", lambda *arguments: tested.append(arguments[0]) or test_one(*arguments))
  assert call("low_label", *given, f"--out={tmp_path / 'a'}") == 0
  assert len(tested) == len(set(tested)) == 16  # each of four modes, two numbers of labels and two subsets once
  assert rows_of(run)[:2] == kept
  assert call("low_label", *given, f"--out={tmp_path / 'b'}") == 0
  assert without_place(rows_of(run)) == without_place(rows_of(directory(tmp_path / "b")))


# ---- figures and the page --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(toy_npz, tmp_path_factory) -> tuple[list[str], Path]:
  """A run of low_label whose method draws its views: (arguments, run directory)."""
  out = tmp_path_factory.mktemp("out")
  views = "--hp=views=digits:degrees=0,scale=0,shear=0,elastic=0,contrast=0"
  given = ["--method=simclr", "--hp=projector=4", views, f"--dataset={toy_npz}", f"--out={out}", *TINY]
  assert call("low_label", *given, *MODES) == 0
  return given, directory(out)


def test_missing_figures_are_drawn_again_without_training(finished, nothing_is_trained):
  given, run = finished
  pictures = {path: path.read_bytes() for path in (run / "figures").glob("*.png")}
  assert {path.stem for path in pictures} == {
    "accuracy", "loss", "pretext", "views", "predictions_scratch", "predictions_frozen", "confusion_scratch",
    "confusion_frozen", "calibration",
  }  # fmt: skip
  rows = (run / "results.jsonl").read_bytes()
  for path in [*pictures, run / "report.html", run / "summary.jsonl"]:
    path.unlink()
  assert call("low_label", *given, *MODES) == 0
  assert {path: path.read_bytes() for path in (run / "figures").glob("*.png")} == pictures
  assert (run / "report.html").read_text().count("data:image/png") == len(pictures) - 1  # not accuracy.png
  assert (run / "results.jsonl").read_bytes() == rows


def test_a_figure_that_could_not_be_drawn_comes_with_the_next_run(toy_npz, tmp_path, monkeypatch):
  from sslx.evaluation import evaluate
  from sslx.report import figures

  given = [f"--dataset={toy_npz}", *TINY, "--modes=frozen", f"--out={tmp_path}"]
  with monkeypatch.context() as broken:
    broken.setattr(figures, "confusion", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      call("low_label", *given)
  run = directory(tmp_path)
  assert len(rows_of(run)) == 3
  monkeypatch.setattr(evaluate, "training", nothing_to_train)
  assert call("low_label", *given) == 0
  assert (run / "figures/confusion_frozen.png").exists()
  for answers in (run / "answers").iterdir():  # a damaged one is no reason to stop
    answers.write_bytes(b"PK")
  assert call("low_label", *given) == 0


@pytest.mark.parametrize("experiment", ["low_label", "compare"])
def test_files_are_written_before_the_terminal_is(experiment, finished, tmp_path, monkeypatch, toy_npz):
  from sslx.report import terminal

  given, run = finished
  arguments = [*given, *MODES]
  if experiment == "compare":
    arguments = ["--methods=autoencode", f"--dataset={toy_npz}", *TINY, "--modes=frozen", f"--out={tmp_path}"]
  else:
    (run / "report.html").unlink()

  def gone(*parts, **options):
    raise BrokenPipeError

  monkeypatch.setattr(terminal, "show", gone)
  with pytest.raises(BrokenPipeError):
    call(experiment, *arguments)
  run = directory(tmp_path, "compare-") if experiment == "compare" else run
  assert "</html>" in (run / "report.html").read_text()
  assert summary(run)


def test_a_page_shows_all_rows_that_were_made_alike(finished, capsys):
  """Those asked for first; none of another validation or recipe."""
  given, run = finished
  assert call("low_label", *given, "--modes=full", "--finetune_learning_rates=1e-2") == 0
  assert [mode for _, mode in summary(run)] == ["raw", "random", "full"]
  assert call("low_label", *given, "--modes=full", "--validation=heldout:30") == 0
  assert [mode for _, mode in summary(run)] == ["raw", "random", "full"]
  capsys.readouterr()
  assert call("low_label", *given, "--modes=last:1") == 0
  modes = ["raw", "random", "last:1", "scratch", "frozen"]
  assert [mode for _, mode in summary(run)] == modes
  lines = [line.split() for line in capsys.readouterr().out.splitlines()]
  answer = [word for line in lines[:4] for word in line]  # folded where the name is long
  assert "last:1," in answer  # the mode that is asked for answers
  assert [line[1] for line in lines if line[:1] == ["12"]] == modes  # the table on the terminal
  text = Page((run / "report.html").read_text()).text
  assert [text.count(f"{mode}\n") > 0 for mode in (*modes, "full")] == [True] * 5 + [False]


def test_a_command_says_how_many_rows_are_there_already(toy_npz, tmp_path, capsys):
  """And counts on from there; of a first command, and of one that trains nothing, there is nothing to say."""
  given = ["--method=autoencode", f"--dataset={toy_npz}", f"--out={tmp_path}", *TINY]

  def said(*modes: str) -> list[str]:
    assert call("low_label", *given, f"--modes={','.join(modes)}") == 0
    return [line.partition(",")[0] for line in capsys.readouterr().err.splitlines() if re.match(r"\d+ of \d+", line)]

  assert said("frozen") == ["1 of 3: raw", "2 of 3: random", "3 of 3: frozen"]
  assert said("frozen", "knn:3") == ["3 of 4 are there already", "4 of 4: knn:3"]
  assert said("frozen", "knn:3") == []


def test_modes_are_told_in_words_with_their_numbers():
  words = publish.modes_in_words(["frozen", "last:1", "last:3", "knn:20", "gone", "frozen"])
  assert list(words) == ["frozen", "last:1", "last:3", "knn:20"]
  assert words["last:1"] == "head and the last block of the pretrained encoder"
  assert words["last:3"] == "head and the last 3 blocks of the pretrained encoder"
  assert words["knn:20"].startswith("20 nearest neighbours")
  assert words["frozen"] == modes.MODES["frozen"].help
