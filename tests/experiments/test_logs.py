"""--log: every row is told once, however often a command is stopped and run again, and no logger stops a run."""

from collections.abc import Callable

import pytest
from helpers import call, directory

from experiments.shared import command, logs
from experiments.shared.cli import FLAGS
from sslx.report import loggers, records

TINY = (
  "--method=denoise",
  "--encoder=conv:widths=4-6,norm=none",
  "--seeds=2",
  "--labels=12",
  "--modes=frozen",
  "--smoke",
)


class Told:
  """A logger that remembers."""

  def __init__(self) -> None:
    self.steps: list[int] = []
    self.results: list[tuple[str, list[float]]] = []
    self.opened: list[loggers.Run] = []
    self.closed = 0
    self.fails = False

  def open(self, run: loggers.Run) -> loggers.Logger:
    self.opened.append(run)
    return loggers.Logger(self.log, lambda name, values: self.results.append((name, list(values))), self.close)

  def log(self, values, step: int) -> None:
    if self.fails:
      raise OSError("the network is down")
    assert "step" not in values
    assert values["loss"] > 0
    self.steps.append(step)

  def close(self) -> None:
    self.closed += 1


@pytest.fixture
def told(monkeypatch) -> Told:
  """In TensorBoard's place."""
  made = Told()
  monkeypatch.setitem(loggers.LOGGERS, "tensorboard", loggers.Kind("json", made.open))
  return made


@pytest.fixture
def tell(tmp_path, told) -> Callable[..., None]:
  """Writes the steps of metrics.jsonl and tells them, as one command does."""
  FLAGS(["test", "--log=tensorboard"])

  def make(*steps: int) -> None:
    records.write_rows(tmp_path / "metrics.jsonl", [{"step": step, "loss": 1.0} for step in steps])
    with command.running():
      logs.tell(tmp_path)

  yield make
  FLAGS.unparse_flags()
  FLAGS(["test", "--log="])


def test_a_step_is_told_once(told, tell):
  tell(10, 20, 30)
  tell(10, 20)  # a kill, and back to the last checkpoint
  tell(10, 20, 30, 40)
  assert told.steps == [10, 20, 30, 40]
  assert told.closed == len(told.opened) == 2  # nothing is opened where there is nothing to tell
  assert len({run.id for run in told.opened}) == 1


def test_a_logger_that_fails_stops_nothing_and_hears_the_rest_later(told, tell, capsys):
  tell(10)
  told.fails = True
  tell(10, 20)
  (line,) = capsys.readouterr().err.strip().splitlines()
  assert line.startswith("--log=tensorboard: the network is down")
  told.fails = False
  tell(10, 20, 30)
  assert told.steps == [10, 20, 30]


def test_a_run_and_its_results(told, toy_npz, tmp_path, capsys):
  flags = (f"--dataset={toy_npz}", f"--out={tmp_path}", *TINY)
  assert call("low_label", *flags) == 0
  assert not told.opened
  assert call("low_label", *flags, "--log=tensorboard") == 0  # nothing is trained, and all rows are told
  run = directory(tmp_path)
  rows = records.read_rows(run / "results.jsonl")
  assert told.steps == [row["step"] for row in records.read_rows(run / "metrics.jsonl")]
  assert told.opened[0].config["method"] == "denoise"
  mine = [row["test_accuracy"] for row in rows if row["mode"] == "frozen"]
  assert [values for name, values in told.results if name == "accuracy/frozen-12"] == [mine[:1], mine]
  assert len(told.results) == len(rows)
  assert call("low_label", *flags, "--modes=frozen,last:1", "--log=tensorboard") == 0
  assert len(told.results) == len(records.read_rows(run / "results.jsonl")) > len(rows)
  assert [name for name, _ in told.results[len(rows) :]] == ["accuracy/last:1-12"] * 2
  assert told.closed == len(told.opened) == 2


def test_a_missing_package_is_told_before_anything_is_trained(tmp_path, monkeypatch, capsys):
  find = loggers.importlib.util.find_spec
  monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None if name == "wandb" else find(name))
  assert call("low_label", f"--out={tmp_path / 'runs'}", "--smoke", "--log=wandb") == 1
  (line,) = capsys.readouterr().err.strip().splitlines()
  assert line == "error: --log=wandb: needs the package wandb; pip install 'sslx[wandb]'."
  assert not (tmp_path / "runs").exists()
