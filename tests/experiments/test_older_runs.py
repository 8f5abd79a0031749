"""Run directories that sslx 0.1 wrote are found again, trained no further, and read."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import call, directory, nothing_to_train, rows_of

import sslx
from sslx.training import config

ARCHIVE = Path(__file__).parents[1] / "data/runs_v1.zip"
SHARED = ["--dataset=npz:digits.npz", "--encoder=mlp:widths=4,code=3", "--epochs=1", "--labels=6", "--seeds=2",
          "--finetune_steps=3", "--modes=scratch,frozen,full", "--out=runs"]  # fmt: skip
OWN = {  # as they were called
  "denoise": ["--method=denoise", "--hp=decoder_widths=4"],
  "simclr": ["--method=simclr", "--hp=projector=4", "--optimizer=sgd", "--accumulate=2", "--batch_size=8"],
}


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
  """The runs of the archive, in a working directory of their own."""
  with zipfile.ZipFile(ARCHIVE) as archive:
    archive.extractall(tmp_path)
  monkeypatch.chdir(tmp_path)
  return tmp_path / "runs"


def contents(folder: Path) -> dict[str, bytes]:
  """What is saved of a run; pictures and the page are drawn anew."""
  kept = [*folder.glob("*.jsonl"), folder / "config.json", *folder.glob("checkpoints/**/*")]
  return {str(path): path.read_bytes() for path in kept if path.is_file() and path.name != "summary.jsonl"}


@pytest.mark.parametrize("method", OWN)
def test_the_same_command_trains_nothing(runs, method, monkeypatch, capsys):
  from sslx.evaluation import evaluate
  from sslx.training import run

  monkeypatch.setattr(run, "run", None)
  monkeypatch.setattr(evaluate, "training", nothing_to_train)
  before, folders = contents(directory(runs, method)), sorted(runs.iterdir())
  assert call("low_label", *OWN[method], *SHARED, "--save=none") == 0
  assert sorted(runs.iterdir()) == folders
  assert contents(directory(runs, method)) == before
  told = [line for line in capsys.readouterr().err.splitlines() if "before sslx 0.2" in line]
  assert told == [
    f"{directory(runs, method) / 'results.jsonl'}: rows from before sslx 0.2 are kept without knowing whether the test "
    "images are the same; --fresh makes them anew."
  ]


@pytest.mark.parametrize("method", OWN)
def test_a_damaged_directory_beside_them_does_no_harm(runs, method):
  stranger = directory(runs, method)
  for name, text in (("a", "{"), ("b", '{"method": "x", "hp": {}, "version": 99}'), ("c", "[]"), ("d", "7")):
    folder = runs / f"{stranger.name.rpartition('-')[0]}-{name * 8}"
    folder.mkdir()
    (folder / "config.json").write_text(text)
  before, folders = contents(stranger), sorted(runs.iterdir())
  assert call("low_label", *OWN[method], *SHARED) == 0
  assert (sorted(runs.iterdir()), contents(stranger)) == (folders, before)
  assert (stranger / "models/best/model.json").exists()  # of its best line, which is trained once more


def test_another_seed_is_another_directory(runs):
  before = set(runs.iterdir())
  assert call("pretrain", *OWN["denoise"], *SHARED, "--seed=1") == 0
  (new,) = set(runs.iterdir()) - before
  assert json.loads((new / "config.json").read_text())["seed"] == 1


@pytest.mark.parametrize("method", OWN)
def test_they_are_read_in_python(runs, method):
  run = directory(runs, method)
  model, data = sslx.load(run), sslx.load_data("npz:digits.npz")
  represent, meta = sslx.load_encoder(run)
  assert (meta["method"], meta["config"]["epochs"], meta["modality"], meta["task"]) == (
    method, 1, "image", "classification"
  )  # fmt: skip
  assert meta["x_shape"] == list(data.x_shape)
  assert (model.meta.config.x_shape, model.meta.config.optimizer) == (
    data.x_shape, "sgd" if method == "simclr" else "adamw"
  )  # fmt: skip
  assert [row["step"] for row in model.history] == [model.meta.step]
  features = np.asarray(represent(data.test.x[:4]))
  np.testing.assert_allclose(features, np.asarray(model.representation()(data.test.x[:4])), rtol=1e-6)
  assert features.shape == (4, 3)


@pytest.mark.parametrize("method", OWN)
def test_probe_has_the_scores_that_they_had(runs, method):
  run = directory(runs, method)
  given = ["--labels=6", "--seeds=2", "--modes=frozen", "--out=probes"]
  assert call("probe", f"--checkpoint={run}", *given) == 0
  scores = [
    {(r["mode"], r["subset_seed"]): r["test_accuracy"] for r in rows_of(folder) if r["mode"] in ("raw", "frozen")}
    for folder in (run, directory(Path("probes")))
  ]
  assert scores[0] == scores[1]


def test_a_run_that_is_gone_is_made_anew(runs):
  """It gets a name of today, beside the others."""
  shutil.rmtree(directory(runs, "denoise"))
  assert call("pretrain", *OWN["denoise"], *SHARED) == 0
  assert json.loads((directory(runs, "denoise") / "config.json").read_text())["version"] == config.VERSION
