"""--log: the rows of a run directory, told to programs that show runs while they go on.

What was told stands in logged.json of the run directory, so that no row is told twice, however often a command is
stopped and run again; and a command with another --log tells all rows that are there.
"""

import contextlib
import functools
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.shared import command
from experiments.shared.terminal import notify
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx.report.loggers import Logger

FLAGS = flags.FLAGS

flags.DEFINE_list("log", [], "Also log to: tensorboard, wandb, mlflow, trackio. Or several; each is an extra.")

STATE = "logged.json"
Row = dict[str, Any]


def check() -> None:
  """Raises UserError for a --log that there is not, or whose package is missing: before anything is trained."""
  if FLAGS.log:
    from sslx.report import loggers

    loggers.check(FLAGS.log)


def tell(directory: Path) -> None:
  """Tells each logger of --log the rows of metrics.jsonl and results.jsonl in a run directory that it was not told.

  A logger that fails is told nothing more by this command; the rows are kept, for a later one.
  """
  for name in FLAGS.log:
    if ("failed", name) in _failures():
      continue
    try:
      _tell(name, directory)
    except Exception as error:  # of its network, its disk, its own code: training is worth more
      _failures().add(("failed", name))
      notify(f"--log={name}: {error}; nothing more is logged there. The same command, run again, logs what is missing.")


def _tell(name: str, directory: Path) -> None:
  from sslx.report import records

  state = _state(directory)
  told = state["told"].setdefault(name, {"step": -1, "results": 0})
  metrics = [row for row in records.read_rows(directory / "metrics.jsonl") if row["step"] > told["step"]]
  results = records.read_rows(directory / "results.jsonl")
  if not metrics and len(results) <= told["results"]:
    return
  logger = _logger(name, directory, state["id"])
  try:
    _tell_rows(logger, told, metrics, results, (directory / "metrics.jsonl").exists())
  finally:
    records.write_json(directory / STATE, state)


def _tell_rows(
  logger: "Logger", told: dict[str, int], metrics: list[Row], results: list[Row], has_pretraining: bool
) -> None:
  """`told` counts along, so that it is right where this ends early."""
  for row in metrics:
    logger.log(_numbers(row), row["step"])
    told["step"] = row["step"]
  values: dict[str, list[float]] = {}
  for place, row in enumerate(results):
    title, value = _score(row, has_pretraining)
    if value is None:
      continue
    values.setdefault(title, []).append(value)
    if place >= told["results"]:
      logger.result(title, values[title])
      told["results"] = place + 1
  told["results"] = len(results)


def _numbers(row: Row) -> dict[str, float]:
  return {k: float(v) for k, v in row.items() if k != "step" and isinstance(v, int | float)}


def _score(row: Row, has_pretraining: bool) -> tuple[str, float | None]:
  """`accuracy/frozen-100`, and the row's score; with the method, where the directory is of several."""
  from sslx.report import score_of, value_of

  method = "" if has_pretraining else f"{row.get('method')}-"
  return f"{score_of(row).name}/{method}{row.get('mode')}-{row.get('labels')}", value_of(row)


def _state(directory: Path) -> dict[str, Any]:
  path = directory / STATE
  try:
    state = json.loads(path.read_bytes())
    return {"id": str(state["id"]), "told": dict(state["told"])}
  except FileNotFoundError:
    return {"id": uuid.uuid4().hex[:8], "told": {}}
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(f"{path}: damaged; delete it, and all rows are logged once more") from error


def _logger(name: str, directory: Path, key: str) -> "Logger":
  """Opened once in a command, and closed at its end."""
  return command.entered(("log", name, directory), functools.partial(_opened, name, directory, key))


@contextlib.contextmanager
def _opened(name: str, directory: Path, key: str) -> "Iterator[Logger]":
  from sslx.report import loggers

  config = directory / "config.json"
  run = loggers.Run(directory, key, json.loads(config.read_bytes()) if config.exists() else {})
  logger = loggers.LOGGERS[name].open(run)
  try:
    yield logger
  finally:
    with contextlib.suppress(Exception):  # as in `tell`; what it was told stays
      logger.close()


def _failures() -> set[Any]:
  return command.once("loggers that failed", set)
