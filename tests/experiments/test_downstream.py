"""experiments.downstream: several tasks of one pretraining, resumed, with their report; and what it refuses."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import Page, call, directory, nothing_to_train, rows_of, tasks_of

from experiments.shared import runs
from sslx.evaluation import evaluate

SCENES = "scenes:size=32,digits=8-14,train=60,test=20"
TINY = ["--encoder=conv:widths=4-6,down=stride,norm=none", "--seeds=2", "--labels=20", "--smoke"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
  """The flags of a small set, which is rendered once."""
  return [f"--dataset={SCENES}", f"--data_dir={tmp_path_factory.mktemp('scenes')}", *TINY]


@pytest.fixture(scope="module")
def finished(scenes, tmp_path_factory) -> tuple[Path, list[str], list[str]]:
  """(--out, the arguments, which methods were pretrained)."""
  out, pretrained = tmp_path_factory.mktemp("runs"), []
  arguments = [*scenes, f"--out={out}", "--methods=denoise,rotation", "--modes=frozen,full"]
  arguments += ["--tasks=segmentation,regression", "--oracle_steps=5", "--oracle_batch_size=7", "--boundary"]
  with pytest.MonkeyPatch.context() as patch:
    pretrain = runs.pretrain
    patch.setattr(runs, "pretrain", lambda job: pretrained.append(job.config.method) or pretrain(job))
    assert call("downstream", *arguments) == 0
  return out, arguments, pretrained


def folder(finished) -> Path:
  return directory(finished[0], "downstream-")


def test_every_task_has_its_rows_and_each_method_is_pretrained_once(finished):
  out, _, pretrained = finished
  assert pretrained == ["denoise", "rotation"]
  assert len(list(out.iterdir())) == 3  # of the report, and of each pretraining
  of_methods = [(m, mode, 20, seed) for m in ("denoise", "rotation") for mode in ("frozen", "full") for seed in (0, 1)]
  for task in ("segmentation", "regression"):
    rows = rows_of(folder(finished) / task)
    assert tasks_of(rows) == [
      *(("none", mode, 20, seed) for mode in ("raw", "random", "scratch") for seed in (0, 1)),
      *of_methods,
      ("none", "scratch", 60, 0),  # the oracle
    ]
    assert {row["task"] for row in rows} == {task}
    assert len({row["parameters_total"] for row in rows if row["mode"] != "raw"}) == 1


def test_each_task_reads_the_encoder_and_is_trained_as_it_does(finished):
  """One pretraining, two readings; the recipe is the task's, and the oracle's budget its own."""
  from sslx.tasks import TASKS

  expected = {"segmentation": ("maps4", TASKS["segmentation"]), "regression": ("all:moments", TASKS["regression"])}
  digests = set()
  for task, (reading, factory) in expected.items():
    rows = rows_of(folder(finished) / task)
    assert {row["features"] for row in rows if row["mode"] != "raw"} == {reading}
    assert factory(("a", "b")).reading == reading
    digests |= {json.dumps(row["pretraining"], sort_keys=True) for row in rows if row["method"] == "denoise"}
    rates = dict(factory(("a", "b")).recipe).get("learning_rates", (2e-3,))
    assert {tuple(row["settings"]["learning_rates"]) for row in rows} == {rates}
    (oracle,) = [row for row in rows if row["labels"] == 60]
    assert (oracle["settings"]["steps"], oracle["settings"]["batch_size"]) == (5, 7)
    assert oracle["settings"]["epochs"] * 60 <= 5 * 7  # they take no more steps than that
  assert len(digests) == 1


def test_boundaries_are_scored_where_there_are_masks(finished):
  rows = rows_of(folder(finished) / "segmentation")
  assert all(0 <= row["test_boundary_F"] <= 1 for row in rows if row["labels"] == 20)
  assert not any("test_boundary_F" in row for row in rows_of(folder(finished) / "regression"))


def test_the_page_has_a_section_of_each_task(finished):
  run = folder(finished)
  text = (run / "report.html").read_text()
  page = Page(text)
  headings = [part.partition("<")[0] for part in text.split("<h2>")[1:]]
  assert headings == ["Segmentation", "Regression", "How to make it again"]
  assert f"denoise, rotation on {SCENES}: segmentation and regression" in page.text
  links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
  assert links == ["segmentation/report.html", "regression/report.html"]
  assert all((run / link).is_file() for link in links)
  first, second = text.split("<h2>")[1:3]
  for part, score, more in ((first, "mIoU", "pixel accuracy"), (second, "R2", "MAE count")):
    assert "All scores, 20 labels" in part
    assert more in part
    assert f"All 60 labels, from scratch (the oracle): {score}" in part
  assert "boundary F" in first
  assert "Masks, from scratch" in first
  assert "Predicted against true, from scratch" in second
  assert "--tasks=segmentation,regression" in page.text
  assert "Smoke run" in page.text


def test_the_numbers_of_the_page_are_those_of_the_rows(finished):
  run = folder(finished)
  rows = rows_of(run / "segmentation")
  text = (run / "report.html").read_text().split("<h2>")[1]
  for mode in ("frozen", "full"):
    values = [row["test_pixel_accuracy"] for row in rows if (row["method"], row["mode"]) == ("rotation", mode)]
    line = text[text.index("All scores, 20 labels") :]
    line = line[line.index(f"rotation {mode}") :].partition("</tr>")[0]
    assert f"{100 * np.mean(values):.1f}" in line
  (oracle,) = [row["test_mIoU"] for row in rows if row["labels"] == 60]
  assert f"(the oracle): mIoU {100 * oracle:.1f}%." in text


def test_the_same_command_trains_nothing_and_keeps_its_rows(finished, monkeypatch):
  from sslx.training import run

  out, arguments, _ = finished
  before = {task: (folder(finished) / task / "results.jsonl").read_bytes() for task in ("segmentation", "regression")}
  monkeypatch.setattr(evaluate, "training", nothing_to_train)
  monkeypatch.setattr(run, "run", lambda *_, **__: pytest.fail("it pretrains again"))
  assert call("downstream", *arguments) == 0
  assert call("downstream", *arguments, "--oracle_steps=0") == 0
  assert {task: (folder(finished) / task / "results.jsonl").read_bytes() for task in before} == before
  assert len(list(out.iterdir())) == 3
  assert "the oracle" not in (folder(finished) / "report.html").read_text()


def test_the_oracle_is_not_mixed_with_training_on_all_labels(finished, tmp_path):
  """Which an earlier command may have done, with another budget: the report with the oracle shows the oracle."""
  shutil.copytree(finished[0], tmp_path / "runs")
  arguments = [flag for flag in finished[1] if not flag.startswith(("--out=", "--tasks="))]
  arguments += [f"--out={tmp_path / 'runs'}", "--tasks=regression"]
  assert call("downstream", *arguments, "--labels=all", "--modes=frozen", "--oracle_steps=0") == 0
  assert call("downstream", *arguments) == 0
  run = directory(tmp_path / "runs", "downstream-")
  rows = [row for row in rows_of(run / "regression") if (row["labels"], row["mode"]) == (60, "scratch")]
  oracle, other = (f"{row['test_R2']:.3f}" for row in sorted(rows, key=lambda row: row["settings"]["steps"]))
  assert oracle != other
  text = (run / "report.html").read_text()
  assert f"(the oracle): R2 {oracle}" in text
  assert other not in text
  assert "denoise frozen" not in text[text.index("All scores, 60 labels") :]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--tasks=classes"], "--tasks=classes: .* has no targets for it; it is for detection, segmentation, regression."),
    (["--tasks="], "--tasks=: name at least one of detection, segmentation, regression."),
    (["--tasks=segmentation,regression", "--features=pool"], "--features=pool: segmentation reads maps4"),
    (["--tasks=regression", "--features=maps4"], "--features=maps4: regression reads no maps; leave --features out."),
    (["--tasks=regression", "--labels=20,all"], "--labels=20,all: all labels are the oracle's; .* --oracle_steps=0."),
    (["--tasks=regression", "--oracle_batch_size=0"], "--oracle_batch_size=0: must be positive"),
    (["--methods=denois"], "--method=denois: no such method. Did you mean 'denoise'"),
  ],
)
def test_bad_input_is_one_line_before_anything_is_trained(arguments, message, scenes, tmp_path, capsys):
  given = [flag for flag in scenes if not any(a.startswith(flag.partition("=")[0] + "=") for a in arguments)]
  assert call("downstream", *given, f"--out={tmp_path / 'out'}", "--methods=denoise", *arguments) in (1, 2)
  captured = capsys.readouterr()
  assert captured.out == ""
  (error,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
  assert re.search(message, error), error
  assert not (tmp_path / "out").exists()
