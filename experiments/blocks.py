"""Probes every block of a pretrained encoder: which one knows most about the classes?

    python -m experiments.blocks --checkpoint=runs/rotation-mnist-rotnet-1a2b3c4d --labels=100,1000
    python -m experiments.blocks --checkpoint=DIR --features=pool --modes=frozen,knn:20

What a pretext task asks of the last block need not be what a classifier wants: in RotNet (Gidaris et al. 2018,
arXiv 1803.07728, table 1) the middle block's features were the best. Each block's output, read as --features says
(default flatten), goes through --modes (default frozen and knn:20), beside the same block of a random encoder on the
same label subsets: a wide early block may be good with any weights. Everything resumes.
"""

import time
from pathlib import Path

from absl import flags

from experiments import START
from experiments.shared import cli as common, table as comparison, methods as variants
from sslx.types import UserError

FLAGS = flags.FLAGS

MODES = ["frozen", "knn:20"]  # the default of --modes here
NOTE = (
  "Test accuracy in percent, mean ± standard deviation over label subsets, of each block's output. ↑ (↓): the 95% "
  "interval of the difference to the same block of a random encoder, paired by subset, lies above (below) zero."
)


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx import nn
  from sslx.training import checkpoint
  from sslx.evaluation.compare import check_modes, head_only
  from sslx.nn.features import parse

  common.recipe()
  tree, meta = checkpoint.restore_encoder(common.given_checkpoint())
  encoder = nn.build(meta["encoder"])
  modes = check_modes(FLAGS.modes if FLAGS["modes"].present else MODES, encoder.block_names)
  tuned = [mode for mode in modes if not head_only(mode)]
  if tuned:
    raise UserError(f"--modes={','.join(tuned)}: trains the encoder; blocks are compared frozen: frozen, knn:K.")
  for block in encoder.block_names:
    parse(f"{block}:{FLAGS.features}", encoder.block_names)
  dataset = common.checkpoint_dataset(meta)
  labelled = comparison.draw(dataset)
  identity = {
    "experiment": "blocks", "method": meta["method"], "encoder": meta["encoder"], "pretraining": meta["config"],
    "dataset": dataset.name, "step": meta["step"], "smoke": FLAGS.smoke,
  }  # fmt: skip
  directory = common.open_directory(Path(FLAGS.out), identity, f"blocks-{meta['method']}-{dataset.name}", FLAGS.fresh)
  timings, rows = {"start-up": time.monotonic() - START}, []
  for block in encoder.block_names:
    names = {"method": block, "encoder": meta["encoder"], "pretraining": meta["config"]}
    features = f"{block}:{FLAGS.features}"
    subject = comparison.Subject("blocks", directory, dataset, encoder, features, names, FLAGS.seed, tree)
    common.say(block)
    rows += comparison.run_modes(subject, ("random", *(m for m in modes if m != "random")), labelled, timings)[0]
  heading = f"Blocks of {meta['method']} on {dataset.name}"
  outcome, facts = variants.Outcome(rows, [], []), {"encoder": meta["encoder"], **meta["config"]}
  variants.write_report("blocks", heading, directory, "Blocks", outcome, timings, facts, "random", NOTE)


if __name__ == "__main__":
  raise SystemExit(common.run(main, __name__))
