"""The flag --model, and the model that it names."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from sslx.types import UserError

if TYPE_CHECKING:
  from sslx.fitted import Fitted

FLAGS = flags.FLAGS

flags.DEFINE_string("model", None, "The model: a run directory, or a folder in its models/. Of a run the best one.")


class Given(NamedTuple):
  """A model that was named."""

  fitted: "Fitted"
  folder: Path
  rows: list[dict[str, Any]]
  """Of the results.jsonl of the run that it lies in; [] where it lies elsewhere."""


def given() -> Given:
  """The model of --model.

  Raises:
    UserError: the flag is missing, or there is no model, or a damaged one.
  """
  from sslx import models
  from sslx.report import records

  if not FLAGS.model:
    raise UserError("--model is missing: name a run directory, such as --model=runs/simclr-mnist-conv-1a2b3c4d.")
  try:
    folder = models.find(FLAGS.model)
  except UserError as error:
    raise UserError(f"--model={FLAGS.model}: {error}") from error
  run = folder.resolve().parent.parent if folder.resolve().parent.name == models.IN_RUN else None
  return Given(models.read(folder), folder, records.read_rows(run / "results.jsonl") if run else [])
