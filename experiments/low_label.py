"""What is a pretrained encoder worth when few labels exist?

    python -m experiments.low_label --method=denoise --labels=100 --seeds=5

Pretrains the encoder with --method on all training images without their labels, draws nested, seeded label subsets,
balanced over the classes (or --subset=stratified), and compares --modes on them (--help says what each is): same
architecture, same number of parameters, same subsets. With 100 labels no 101st is read: hyper-parameters are chosen by
cross-validation inside the subset, or fixed once for all modes. The test split is read once for each classifier, when
it is trained; its row is kept at once. Where classes are not even, the mode `majority` stands beside: always the most
frequent class.

The tables are printed; results.jsonl, figures/ and report.html are in the run directory.
"""

import time

from experiments import START
from experiments.shared import cli, runs, table
from experiments.shared.cli import FLAGS


def main() -> None:
  """Runs the experiment on the parsed flags."""
  cli.recipe()  # a mistyped flag is told before anything is loaded, opened or trained
  config = cli.config()
  encoder, dataset = runs.encoder_of(config), runs.load_dataset(FLAGS.dataset)
  modes = cli.modes(dataset, encoder.block_names)
  labelled = table.draw(dataset, modes)
  job = runs.setup(config, dataset)
  timings = {"start-up": time.monotonic() - START}
  pretrained, timings["pretraining"] = runs.pretrain(job)
  config = job.config
  line = table.Line("low_label", job.directory, config.method, str(config.encoder), config.to_json())
  table.compare(line, table.bench(dataset, labelled, pretrained), modes, timings)


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
