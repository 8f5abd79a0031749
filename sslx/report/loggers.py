"""LOGGERS: programs that show runs while they go on. Thin adapters: each opens a run of its own and takes numbers.

They are packages of extras of their own (`pip install 'sslx[tensorboard]'`), imported when one is opened.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sslx.types import UserError

PROJECT = "sslx"  # what runs are listed under, where there are projects
Config = Mapping[str, Any]


class Logger(NamedTuple):
  """A run that takes numbers."""

  log: Callable[[Mapping[str, float], int], Any]
  """({name: value}, step): what is measured while it trains."""
  result: Callable[[str, Sequence[float]], Any]
  """(name, all values so far): a score; the last value is new."""
  close: Callable[[], Any]


class Run(NamedTuple):
  """What a logger is told of a run."""

  directory: Path
  """Of the run: its name is the run's."""
  id: str
  """The same each time it is opened, and another one after --fresh."""
  config: Config

  @property
  def settings(self) -> dict[str, str | float | bool]:
    """The config, flat: {"method": "simclr", "hp/temperature": 0.5}."""
    return flat(self.config)


class Kind(NamedTuple):
  """A program that shows runs."""

  package: str
  open: Callable[[Run], Logger]


def flat(config: Config, at: str = "") -> dict[str, str | float | bool]:
  """Settings by their '/'-joined paths; as JSON where they are neither text nor number, and left out where None."""
  settings: dict[str, str | float | bool] = {}
  for name, value in config.items():
    if isinstance(value, Mapping):
      settings |= flat(value, f"{at}{name}/")
    elif value is not None:
      settings[f"{at}{name}"] = value if isinstance(value, str | int | float) else json.dumps(value)
  return settings


def check(names: Sequence[str]) -> None:
  """Raises UserError for a logger that there is not, or whose package is missing."""
  for name in names:
    if name not in LOGGERS:
      raise UserError(f"--log={name}: no such logger; expected {', '.join(LOGGERS)}.")
    if importlib.util.find_spec(LOGGERS[name].package) is None:
      raise UserError(f"--log={name}: needs the package {LOGGERS[name].package}; pip install 'sslx[{name}]'.")


def tensorboard(run: Run) -> Logger:
  """Event files in the run's folder tensorboard/: `tensorboard --logdir=runs` shows all runs; without TensorFlow."""
  import time

  from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore
  from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore
  from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # pyright: ignore[reportMissingImports]
  from tensorboard.summary.writer.event_file_writer import EventFileWriter  # pyright: ignore[reportMissingImports]

  folder = run.directory / "tensorboard"
  is_new = not any(folder.glob("events.*"))
  writer = EventFileWriter(str(folder))

  def write(summary: Any, step: int) -> None:
    writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
    writer.flush()

  def log(values: Mapping[str, float], step: int) -> None:
    write(Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()]), step)

  if is_new:
    write(hparams_pb(run.settings), 0)
  return Logger(log, lambda name, values: log({name: values[-1]}, len(values) - 1), writer.close)


def wandb(run: Run) -> Logger:
  """Weights & Biases; WANDB_MODE=offline keeps all of it in the run's folder wandb/. A score is the mean so far."""
  import wandb as library  # pyright: ignore[reportMissingImports]

  opened = library.init(
    project=PROJECT, name=run.directory.name, id=run.id, config=run.settings, dir=str(run.directory), resume="allow",
    settings=library.Settings(silent=True, console="off"),
  )  # fmt: skip
  return Logger(
    lambda values, step: opened.log(dict(values), step=step),
    lambda name, values: opened.summary.update({name: sum(values) / len(values)}),
    opened.finish,
  )


def mlflow(run: Run) -> Logger:
  """MLflow, where MLFLOW_TRACKING_URI says, or where MLflow keeps runs else."""
  from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

  client = MlflowClient()
  experiment = client.get_experiment_by_name(PROJECT)
  place = client.create_experiment(PROJECT) if experiment is None else experiment.experiment_id
  known = client.search_runs([place], f"tags.sslx_id = '{run.id}'")
  if known:
    key = known[0].info.run_id
  else:
    key = client.create_run(place, run_name=run.directory.name, tags={"sslx_id": run.id}).info.run_id
    for name, value in run.settings.items():
      client.log_param(key, name, value)

  def log(values: Mapping[str, float], step: int) -> None:
    for name, value in values.items():
      client.log_metric(key, re.sub(r"[^\w\-./: ]", "_", name), value, step=step)

  return Logger(log, lambda name, values: log({name: values[-1]}, len(values) - 1), lambda: client.set_terminated(key))


def trackio(run: Run) -> Logger:
  """Trackio, in TRACKIO_DIR, or where Trackio keeps runs else: `trackio show` shows them."""
  import trackio as library  # pyright: ignore[reportMissingImports]

  with contextlib.redirect_stdout(io.StringIO()):  # it tells how to look at it, each time
    opened = library.init(
      PROJECT, f"{run.directory.name}-{run.id}", config=run.settings, resume="allow", auto_log_gpu=False, embed=False
    )

  def close() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
      opened.finish()

  return Logger(
    lambda values, step: opened.log(dict(values), step=step),
    lambda name, values: opened.log({name: values[-1]}, step=len(values) - 1),
    close,
  )


LOGGERS: dict[str, Kind] = {
  "tensorboard": Kind("tensorboard", tensorboard),
  "wandb": Kind("wandb", wandb),
  "mlflow": Kind("mlflow", mlflow),
  "trackio": Kind("trackio", trackio),
}
