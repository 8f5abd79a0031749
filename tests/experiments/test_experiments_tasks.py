"""Experiments on numbers, pixels and boxes: what is read, what is refused before anything is trained, a page a task."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import call, directory, rows_of
from PIL import Image

from experiments.shared import cli, methods, runs
from sslx.data import Dataset, Split
from sslx.modalities import MODALITIES
from sslx.tasks import TASKS
from sslx.training.config import Config
from sslx.training.run import Meta

SCENES = "scenes:one,size=24,digits=9-12,train=60,test=20,degrees=5"
TINY = ("--encoder=conv:widths=4-6,norm=none", "--smoke", "--seeds=2", "--labels=12")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> str:
  """The --data_dir of scenes."""
  return f"--data_dir={tmp_path_factory.mktemp('scenes')}"


@pytest.fixture(scope="module")
def boxes_run(rendered, tmp_path_factory) -> Path:
  """A run that was made for boxes."""
  out = tmp_path_factory.mktemp("runs")
  given = (f"--dataset={SCENES}", "--task=detection", rendered, f"--out={out}")
  assert call("pretrain", *given, *TINY[:2]) == 0
  return directory(out)


@pytest.fixture(scope="module")
def classes_csv(tmp_path_factory) -> str:
  """Images of the size of the scenes, of two classes: --dataset=csv:FILE."""
  folder, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
  with (folder / "classes.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["path", "split", "kind"])
    for i in range(60):
      Image.fromarray(rng.integers(0, 255, (24, 24)).astype(np.uint8)).save(folder / f"{i}.png")
      table.writerow([f"{i}.png", "test" if i % 3 == 0 else "train", ("cat", "dog")[i % 2]])
  return f"csv:{folder / 'classes.csv'}"


def told(rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
  return {(row["task"], row["features"]) for row in rows if row["mode"] != "raw"}


def test_a_checkpoint_is_probed_for_its_own_task_or_for_others(boxes_run, classes_csv, rendered, tmp_path):
  """Each has a page of its own, as the same command for another task would write over it."""
  given = [f"--checkpoint={boxes_run}", rendered, *TINY[1:], "--modes=frozen", f"--out={tmp_path}"]
  assert call("probe", *given) == 0
  assert told(rows_of(directory(tmp_path))) == {("detection", "maps4")}
  assert call("probe", *given, "--task=regression") == 0
  pages = [run for run in tmp_path.iterdir() if (run / "report.html").exists()]
  assert sorted(json.loads((run / "config.json").read_text())["task"] for run in pages) == ["detection", "regression"]
  assert {task for run in pages for task in told(rows_of(run))} == {
    ("detection", "maps4"), ("regression", "all:moments")
  }  # fmt: skip
  assert call("probe", *given, f"--dataset={classes_csv}") == 0  # whose head takes no maps
  assert told(rows_of(directory(tmp_path, "probe-denoise-csv"))) == {("classification", "flatten")}


@pytest.mark.parametrize(
  ("made_for", "features", "read"),
  [
    ("detection", "maps4", {"classification": "flatten", "regression": "all:moments", "segmentation": "maps4"}),
    ("regression", "all:moments", {"classification": "flatten", "regression": "all:moments"}),
    ("regression", "block1:pool", {"classification": "block1:pool", "regression": "all:moments"}),
    ("classification", "pool", {"classification": "pool", "multilabel": "pool", "regression": "all:moments"}),
  ],
)
def test_what_a_checkpoint_was_told_to_be_read_as_counts_where_the_task_leaves_it_open(made_for, features, read):
  meta = Meta(Config(method="denoise"), features, "image", made_for, ("a", "b"))
  cli.FLAGS.unparse_flags()
  cli.FLAGS(["test"])
  for task, reading in read.items():
    assert runs.reading(TASKS[task](["a", "b"]), meta) == reading
  cli.FLAGS(["test", "--features=grid2"])
  assert runs.reading(TASKS["regression"](["a"]), meta) == "grid2"


REFUSED = {
  "no maps": ("low_label", ["--encoder=mlp"], "--encoder: its blocks have no maps"),
  "no maps, several": ("compare", ["--encoder=mlp", "--methods=denoise"], "--encoder: its blocks have no maps"),
  "no maps, later": ("downstream", ["--encoder=mlp", "--tasks=regression,detection"], "--encoder: its blocks have no"),
  "features": ("low_label", ["--features=pool"], "--features=pool: detection reads maps4"),
  "mode": ("low_label", ["--modes=frozen,knn:5"], "--modes=knn:5: does not do detection"),
  "majority": ("compare", ["--methods=denoise", "--modes=majority"], "--modes=majority: does not do detection"),
  "raw": ("low_label", ["--modes=raw"], "--modes=raw: does not do detection"),
  "too many": ("low_label", ["--labels=61"], "--labels: a subset of 61 labels: there are 60"),
  "protocol": ("one_percent", [], "this protocol is one of classes, and these data are for detection"),
  "notebook": ("rotnet_mnist", [], "this protocol is one of classes, and these data are for detection"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_told_before_anything_is_trained(name, rendered, tmp_path, capsys, monkeypatch):
  from sslx.training import run

  monkeypatch.setattr(run, "run", None)
  experiment, flags, message = REFUSED[name]
  given = [f"--dataset={SCENES}", rendered, f"--out={tmp_path / 'out'}", "--smoke"]
  given += ["--labels=12"] + ([] if experiment == "downstream" else ["--task=detection"])
  assert call(experiment, *given, *flags) == 1
  (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
  assert message in line
  assert not list(tmp_path.glob("out/*/results.jsonl"))


def test_blocks_are_no_maps(boxes_run, rendered, tmp_path, capsys):
  given = [f"--checkpoint={boxes_run}", rendered, *TINY[1:], f"--out={tmp_path}"]
  assert call("blocks", *given) == 1
  assert "detection reads the maps of all blocks at once; name another --task" in capsys.readouterr().err
  assert call("blocks", *given, "--task=regression") == 0
  assert told(rows_of(directory(tmp_path))) == {("regression", "block1:moments"), ("regression", "block2:moments")}


def test_transfer_goes_to_the_task_that_is_named(toy_npz, rendered, tmp_path):
  """Which the source need not have targets for: it is pretrained on by its own labels."""
  given = [f"--dataset={toy_npz}", f"--targets={SCENES}", "--task=segmentation", rendered, *TINY, "--oracle"]
  assert call("transfer", *given, f"--out={tmp_path}") == 0
  rows = rows_of(directory(tmp_path, "transfer"))
  assert told(rows) == {("segmentation", "maps4")}
  made = {row["method"]: row["pretraining"]["dataset"] for row in rows if row["pretraining"]}
  assert made == {"denoise": toy_npz, "supervised": toy_npz, "denoise on the target": SCENES}
  (supervised,) = [row["pretraining"]["features"] for row in rows if row["method"] == "supervised"][:1]
  assert supervised == "flatten"
  page = (directory(tmp_path, "transfer") / "report.html").read_text()
  assert "Test mIoU" in page
  assert "Test accuracy" not in page
  assert f"denoise on {SCENES}" in page


def test_the_fewest_labels_are_one_of_each_class_or_one():
  def dataset(task: str, y: np.ndarray) -> Dataset:
    split = Split(np.zeros((len(y), 8, 8, 1), np.uint8), y)
    return Dataset("d", MODALITIES["image"], TASKS[task]([str(i) for i in range(12)]), split, split)

  counts = (3, 10, 30, 100)
  assert methods.fitting(counts, dataset("classification", np.arange(40) % 12)) == ["30"]
  assert methods.fitting(counts, dataset("detection", np.zeros((40, 1, 5), np.float32))) == ["3", "10", "30"]
