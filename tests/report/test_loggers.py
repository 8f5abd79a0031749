"""What loggers wrote is read back by their own programs, as far as these are installed."""

import json
import re

import pytest

from sslx.report import loggers
from sslx.types import UserError

CONFIG = {"method": "simclr", "seed": 0, "hp": {"temperature": 0.5, "views": None}, "widths": [4, 6], "smoke": True}


@pytest.fixture
def run(tmp_path):
  return loggers.Run(tmp_path / "simclr-toy", "1a2b3c4d", CONFIG)


def write(name: str, run: loggers.Run) -> None:
  """Three steps and three scores, in two commands."""
  first = loggers.LOGGERS[name].open(run)
  first.log({"loss": 3.0, "heldout_loss": 3.5}, 10)
  first.log({"loss": 2.0}, 20)
  first.result("accuracy/last:1-100", [0.5])
  first.close()
  second = loggers.LOGGERS[name].open(run)
  second.log({"loss": 1.0}, 30)
  second.result("accuracy/last:1-100", [0.5, 0.75])
  second.close()


def test_settings_are_flat():
  settings = loggers.flat(CONFIG)
  assert settings == {"method": "simclr", "seed": 0, "hp/temperature": 0.5, "widths": "[4, 6]", "smoke": True}


def test_tensorboard(run):
  pytest.importorskip("tensorboard")
  from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

  write("tensorboard", run)
  read = EventAccumulator(str(run.directory / "tensorboard"))
  read.Reload()
  assert [(event.step, event.value) for event in read.Scalars("loss")] == [(10, 3), (20, 2), (30, 1)]
  assert [(event.step, event.value) for event in read.Scalars("heldout_loss")] == [(10, 3.5)]
  assert [(event.step, event.value) for event in read.Scalars("accuracy/last:1-100")] == [(0, 0.5), (1, 0.75)]
  (hparams,) = read.Tensors("_hparams_/session_start_info")  # once, though it was opened twice
  assert hparams.step == 0
  assert b"simclr" in read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content


def test_trackio(run, tmp_path, monkeypatch, capsys):
  monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "kept"))
  pytest.importorskip("trackio")
  write("trackio", run)
  assert not capsys.readouterr().out
  from trackio.sqlite_storage import SQLiteStorage

  name = "simclr-toy-1a2b3c4d"
  assert SQLiteStorage.get_runs("sslx") == [name]
  rows = SQLiteStorage.get_logs("sslx", name)
  assert [(row["step"], row["loss"]) for row in rows if "loss" in row] == [(10, 3), (20, 2), (30, 1)]
  scores = [(row["step"], row["accuracy/last:1-100"]) for row in rows if "accuracy/last:1-100" in row]
  assert scores == [(0, 0.5), (1, 0.75)]
  assert SQLiteStorage.get_run_config("sslx", name)["method"] == "simclr"


@pytest.mark.filterwarnings("ignore")  # of its own libraries
def test_mlflow(run, tmp_path, monkeypatch):
  monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/kept.db")
  mlflow = pytest.importorskip("mlflow")
  write("mlflow", run)
  client = mlflow.tracking.MlflowClient()
  (found,) = client.search_runs([client.get_experiment_by_name("sslx").experiment_id])
  assert found.data.params["hp/temperature"] == "0.5"
  losses = client.get_metric_history(found.info.run_id, "loss")
  assert sorted((each.step, each.value) for each in losses) == [(10, 3), (20, 2), (30, 1)]
  assert found.data.metrics["accuracy/last:1-100"] == 0.75


def test_wandb(run, monkeypatch):
  monkeypatch.setenv("WANDB_MODE", "offline")
  pytest.importorskip("wandb")
  run.directory.mkdir()
  write("wandb", run)
  kept = [path.read_bytes() for path in (run.directory / "wandb").glob("offline-run-*/run-1a2b3c4d.wandb")]
  assert kept
  assert b"accuracy/last:1-100" in b"".join(kept)


def test_unknown_and_missing_ones_are_told(monkeypatch):
  with pytest.raises(UserError, match="--log=tensorbord: no such logger; expected tensorboard, wandb, "):
    loggers.check(["tensorbord"])
  monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
  for name, kind in loggers.LOGGERS.items():
    told = f"--log={name}: needs the package {kind.package}; pip install 'sslx[{name}]'."
    with pytest.raises(UserError, match=re.escape(told)):
      loggers.check([name])


def test_every_logger_is_an_extra():
  import tomllib
  from pathlib import Path

  with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]
  assert set(loggers.LOGGERS) <= set(extras)
  assert json.dumps(extras)
