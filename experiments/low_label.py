"""What is a pretrained encoder worth when few labels exist?

    python -m experiments.low_label --method=denoise --labels=100 --seeds=5

Pretrains the encoder with --method on all training images without their labels, draws stratified, nested, seeded label
subsets, and compares --modes on them (sslx/evaluation/compare.py says what each is): same architecture, same number of parameters,
same subsets. With 100 labels no 101st is read: hyper-parameters are chosen by cross-validation inside the subset, or
fixed once for all modes. The test split is read once, at the end, when every classifier is trained.

The tables are printed; results.jsonl, figures/ and report.html are in the run directory.
"""

import time

from absl import flags

from experiments import START
from experiments.shared import cli as common, table as comparison

FLAGS = flags.FLAGS


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.evaluation.compare import check_modes

  common.recipe()  # a mistyped flag is told before anything is loaded or trained
  run = common.setup(FLAGS.features)
  check_modes(FLAGS.modes, run.encoder.block_names)
  labelled = comparison.draw(run.dataset)
  timings = {"start-up": time.monotonic() - START}
  pretrained, timings["pretraining"] = common.pretrain(run)
  names = {"method": FLAGS.method, "encoder": run.config["encoder"], "pretraining": run.config}
  subject = comparison.Subject(
    "low_label", run.directory, run.dataset, run.encoder, run.features, names, FLAGS.seed, pretrained
  )
  comparison.compare(subject, labelled, timings)


if __name__ == "__main__":
  raise SystemExit(common.run(main, __name__))
