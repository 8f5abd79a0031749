"""What is a saved network worth on any data set?

Starts from a finished run and trains on few labels: a linear head, nearest neighbours, fine-tuning. It can also write
the network's features to a file.

    python -m experiments.probe --checkpoint=DIR --labels=100,1000
    python -m experiments.probe --checkpoint=DIR --dataset=fashion_mnist
    python -m experiments.probe --checkpoint=DIR --export=features.npz

--checkpoint is a run directory, its checkpoints folder or one checkpoint in it; the encoder alone is restored, without
its method. --dataset and --features default to the run's own. --export writes train_features, train_labels,
test_features, test_labels. Results, figures and report.html go to a directory of their own below --out.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from experiments import START
from experiments.shared import cli, directories, runs, table
from experiments.shared.cli import FLAGS
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset

flags.DEFINE_string("export", None, "Also write the features to this .npz file. Of both splits, with their labels.")

MODES = ["scratch", "frozen", "knn:20", "full"]  # the default of --modes here


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.training.run import representation

  cli.recipe()
  cli.default(modes=MODES)
  given = runs.given_checkpoint()
  export = None if FLAGS.export is None else _writable(FLAGS.export)
  tree, meta = runs.read_checkpoint(given)
  dataset = runs.checkpoint_dataset(meta)
  represent = representation(meta, tree, runs.reading(dataset.task, meta))
  modes = cli.modes(dataset, represent.encoder)
  labelled = table.draw(dataset, modes)
  config = meta.config
  identity = {
    "method": config.method, "encoder": config.encoder, "pretraining": config.to_json(), "experiment": "probe",
    "dataset": dataset.name, "step": meta.step, "smoke": FLAGS.smoke, **runs.task_of(dataset),
  }  # fmt: skip
  directory = directories.open_directory(
    Path(FLAGS.out), identity, f"probe-{config.method}-{dataset.name}", FLAGS.fresh
  )
  timings = {"start-up": time.monotonic() - START}
  if export:
    _export(export, represent, dataset)
  line = table.Line("probe", directory, config.method, str(config.encoder), config.to_json())
  table.compare(line, table.bench(dataset, labelled, represent), modes, timings)


def _writable(export: str) -> Path:
  """The file of --export; of a link, the one that it leads to.

  Raises:
    UserError: there can be no such file: its folder is missing or read-only, or what is there is no ordinary file.
  """
  path = Path(export).expanduser().resolve()
  if not export or path.is_dir():
    raise UserError(f"--export={export}: is a folder; name a file in it, such as features.npz.")
  if path.exists() and not path.is_file():
    raise UserError(f"--export={export}: is no ordinary file but a device, pipe or socket; name a file.")
  if not path.parent.is_dir():
    raise UserError(f"--export={export}: its folder does not exist; make it first.")
  if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
    raise UserError(f"--export={export}: may not be written; name another file.")
  return path


def _export(path: Path, represent: "nn.Representation", dataset: "Dataset") -> None:
  import numpy as np

  from sslx.evaluation.features import extract
  from sslx.report import records

  arrays = {}
  for name, split in (("train", dataset.train), ("test", dataset.test)):
    if not len(split):
      continue
    arrays[f"{name}_features"], arrays[f"{name}_labels"] = extract(represent, split.x), split.targets()
  with records.writing(path) as temporary, temporary.open("wb") as file:  # of a path, numpy would make another name
    np.savez(file, **arrays)
  cli.tell(f"Features: {path}")


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
