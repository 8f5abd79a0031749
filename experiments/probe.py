"""Probes a pretrained encoder: linear, kNN and fine-tuned, on any data set of fitting shape.

    python -m experiments.probe --checkpoint=runs/denoise-mnist-conv-1a2b3c4d --labels=100,1000
    python -m experiments.probe --checkpoint=DIR --dataset=fashion_mnist --modes=frozen,knn:20 --export=features.npz

--checkpoint is a run directory, its checkpoints folder or one checkpoint in it; the encoder alone is restored, without
its method. --dataset and --features default to the run's own. --export writes train_features, train_labels,
test_features, test_labels. Results, figures and report.html go to a directory of their own below --out.
"""

import time
from pathlib import Path

import numpy as np
from absl import flags

from experiments import START
from experiments.shared import cli as common, table as comparison
from sslx.types import UserError

FLAGS = flags.FLAGS

flags.DEFINE_string("export", None, "Also write the features of both splits to this .npz file.")

MODES = ["scratch", "frozen", "knn:20", "full"]  # the default of --modes here


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx import nn
  from sslx.training import checkpoint
  from sslx.evaluation.compare import check_modes
  from sslx.nn.features import parse

  common.recipe()
  if not FLAGS["modes"].present:
    FLAGS.modes = MODES
  given = common.given_checkpoint()
  if FLAGS.export and not Path(FLAGS.export).absolute().parent.is_dir():
    raise UserError(f"--export={FLAGS.export}: its folder does not exist; make it first.")
  tree, meta = checkpoint.restore_encoder(given)
  encoder = nn.build(meta["encoder"])
  features = FLAGS.features if FLAGS["features"].present else meta["features"]
  parse(features, encoder.block_names)
  check_modes(FLAGS.modes, encoder.block_names)
  dataset = common.checkpoint_dataset(meta)
  labelled = comparison.draw(dataset)
  names = {"method": meta["method"], "encoder": meta["encoder"], "pretraining": meta["config"]}
  identity = {**names, "experiment": "probe", "dataset": dataset.name, "step": meta["step"], "smoke": FLAGS.smoke}
  directory = common.open_directory(Path(FLAGS.out), identity, f"probe-{meta['method']}-{dataset.name}", FLAGS.fresh)
  timings = {"start-up": time.monotonic() - START}
  if FLAGS.export:
    _export(Path(FLAGS.export), encoder, features, tree, dataset)
  subject = comparison.Subject("probe", directory, dataset, encoder, features, names, FLAGS.seed, tree)
  comparison.compare(subject, labelled, timings)


def _export(path: Path, encoder, features: str, tree: dict, dataset) -> None:
  from sslx.evaluation import finetune, probe

  encode = finetune.encode_fn(encoder, features)
  arrays = {}
  for name, split in (("train", dataset.train), ("test", dataset.test)):
    arrays[f"{name}_features"] = probe.extract(finetune.features_of(tree, encode), split.images)
    arrays[f"{name}_labels"] = split.labels
  temporary = path.with_name(f".{path.stem}.tmp.npz")
  np.savez(temporary, **arrays)
  temporary.replace(path)
  print(f"Features: {path}")


if __name__ == "__main__":
  raise SystemExit(common.run(main, __name__))
