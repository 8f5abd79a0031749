"""Which block of a network knows most of the classes?

Starts from a finished run and trains a linear head on each block's output, beside the same block with random weights.

    python -m experiments.blocks --checkpoint=DIR --labels=100,1000
    python -m experiments.blocks --checkpoint=DIR --features=pool
    python -m experiments.blocks --checkpoint=DIR --modes=frozen,knn:5

What a pretext task asks of the last block need not be what a classifier wants: in RotNet (Gidaris et al. 2018,
arXiv 1803.07728, table 1) the middle block's features were the best. Each block's output, read as --features says
(default flatten), goes through --modes (default frozen and knn:20), beside the same block of a random encoder on the
same label subsets: a wide early block may be good with any weights. Everything resumes.
"""

import time
from pathlib import Path

from experiments import START
from experiments.shared import cli, directories, pages, runs, table
from experiments.shared.cli import FLAGS
from sslx.types import UserError

MODES = ["frozen", "knn:20"]  # the default of --modes here
NOTE = (
  "Mean ± standard deviation over label subsets, of each block's output. ↑ (↓): the 95% "
  "interval of the difference to the same block of a random encoder, paired by subset, lies above (below) zero."
)


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.evaluation.modes import mode
  from sslx.training.run import representation

  cli.recipe()
  tree, meta = runs.read_checkpoint(runs.given_checkpoint())
  config, encoder = meta.config, meta.build_encoder()
  dataset = runs.checkpoint_dataset(meta)
  cli.default(modes=MODES)
  modes = cli.modes(dataset, encoder)
  tuned = [name for name in modes if mode(name).trains_encoder]
  if tuned:
    raise UserError(f"--modes={','.join(tuned)}: trains the encoder; blocks are compared frozen: frozen, knn:K.")
  how = runs.reading(dataset.task, meta).rpartition(":")[2]
  if dataset.task.is_dense:
    cure = "; name another --task" if dataset.others else ""
    raise UserError(f"--dataset={dataset.name}: {dataset.task.name} reads the maps of all blocks at once{cure}.")
  readings = {block: representation(meta, tree, f"{block}:{how}") for block in encoder.block_names}
  labelled = table.draw(dataset, modes)
  identity = {
    "experiment": "blocks", "method": config.method, "encoder": config.encoder, "pretraining": config.to_json(),
    "dataset": dataset.name, "step": meta.step, "smoke": FLAGS.smoke, **runs.task_of(dataset),
  }  # fmt: skip
  directory = directories.open_directory(
    Path(FLAGS.out), identity, f"blocks-{config.method}-{dataset.name}", FLAGS.fresh
  )
  timings, rows = {"start-up": time.monotonic() - START}, []
  for block, represent in readings.items():
    cli.say(block)
    line = table.Line("blocks", directory, block, str(config.encoder), config.to_json())
    bench = table.bench(dataset, labelled, represent)
    asked = ("random", *(m for m in modes if m != "random"))
    rows += table.run_modes(line, bench, asked, timings, pictured=False).everything
  heading = f"Blocks of {config.method} on {dataset.name}"
  outcome, facts = pages.Outcome(rows), {"encoder": config.encoder, **config.to_json()}
  pages.write_report("blocks", heading, directory, "Blocks", outcome, timings, facts, "random", NOTE)


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
