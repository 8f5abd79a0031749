"""What is pretrained and compared: the course project's images, seeds and modes."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli, runs, table
from experiments.shared.cli import FLAGS
from experiments.shared.table import Measured, Timings
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset
  from sslx.evaluation.bench import Bench, Labelled
  from sslx.evaluation.recipe import Recipe

ENCODER, LABELS = "mlp:code=10", 0.01  # the defaults of flags here
MODES = ["scratch", "frozen", "full"]
RATES = [
  "1e-4",
  "2e-4",
  "5e-4",
  "1e-3",
  "2e-3",
  "3e-3",
  "5e-3",
  "1e-2",
  "2e-2",
  "3e-2",
]  # as many as settings of a probe


class Part(NamedTuple):
  """What is pretrained on, and the settings of `Config` that this takes."""

  dataset: "Dataset"
  settings: dict[str, Any]


class Pretrained(NamedTuple):
  """The encoder of a seed."""

  config: dict[str, Any]
  represent: "nn.Representation"
  directory: Path


class Given(NamedTuple):
  """What --checkpoint names."""

  pretrained: Pretrained
  dataset: "Dataset"


class Shared(NamedTuple):
  """What both tables share."""

  directory: Path
  dataset: "Dataset"
  part: Part
  labelled: "Labelled"
  timings: Timings
  given: Pretrained | None
  seeds: dict[int, Pretrained]
  """Those that were pretrained, or read back, in this process."""


def given() -> Given:
  """What --checkpoint names, and its data set. Sets the flags of pretraining to what made it."""
  from sslx.training.run import representation

  folder = runs.given_checkpoint()
  tree, meta = runs.read_checkpoint(folder)
  runs.adopt(meta)
  dataset = runs.checkpoint_dataset(meta)
  represent = representation(meta, tree, runs.reading(dataset.task, meta))
  return Given(Pretrained(runs.config_of(meta), represent, folder), dataset)


def shortened(dataset: "Dataset") -> Part:
  """Exactly --train_fraction of the training images is trained on; of the rest, --watch images are watched.

  Raises:
    UserError: a fraction that is not one, or --batch_size beside --batch_fraction.
  """
  from sslx.data import Split
  from sslx.data.lazy import take

  for name in ("train_fraction", "batch_fraction"):
    value = FLAGS[name].value
    if value is not None and not 0 < value <= 1:
      raise UserError(f"--{name}={value:g}: must be above 0 and at most 1.")
  if FLAGS.batch_fraction is not None and FLAGS.batch_size is not None:
    raise UserError("--batch_size: give either this or --batch_fraction.")
  trained = max(1, round(FLAGS.train_fraction * len(dataset.train)))
  watched = max(0, min(FLAGS.watch, len(dataset.train) - trained, trained // 9))  # watching takes at most a tenth
  rows = np.arange(trained + watched)
  y = None if dataset.train.y is None else dataset.train.y[rows]
  part = dataclasses.replace(dataset, train=Split(take(dataset.train.x, rows), y), unlabeled=None)
  settings: dict[str, Any] = {"watch": watched}
  if FLAGS.batch_fraction is not None:
    settings["batch_size"] = max(1, round(FLAGS.batch_fraction * trained))
  return Part(part, settings)


def pretrained(shared: Shared, seed: int) -> Pretrained:
  """The encoder of a seed; of --checkpoint, the same for all."""
  if shared.given:
    return shared.given
  if seed not in shared.seeds:
    cli.say(f"{FLAGS.method}, seed {seed}")
    job = runs.setup(cli.config(seed=seed, **shared.part.settings), shared.part.dataset)
    represent, seconds = runs.pretrain(job)
    shared.timings["pretraining"] = shared.timings.get("pretraining", 0) + seconds
    shared.seeds[seed] = Pretrained(job.config.to_json(), represent, job.directory)
  return shared.seeds[seed]


def compare(shared: Shared, title: str, recipe: "Recipe") -> Measured:
  """The rows of a table: every mode with the pretraining and the labels of each seed."""
  from sslx import nn
  from sslx.evaluation.modes import check_modes, controls

  modes = check_modes((*FLAGS.modes, "scratch"), nn.build(FLAGS.encoder).block_names)
  modes = (*controls(modes, shared.dataset), *modes)

  def of_seed(seed: int) -> "tuple[table.Line, Bench]":
    config, represent, _ = pretrained(shared, seed)
    line = table.Line("one_percent", shared.directory, FLAGS.method, FLAGS.encoder, config)
    return line, table.bench(shared.dataset, shared.labelled, represent, recipe, config["seed"])

  cli.say(f"table {title!r}")
  return table.run_pairs(of_seed, shared.labelled, modes, shared.timings)
