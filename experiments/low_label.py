"""What is a pretrained network worth with few labels?

Pretrains on all training images without their labels, then trains on a few labels, several ways that are compared on
the same labels: from scratch, on the frozen network, and fine-tuned.

    python -m experiments.low_label --method=simclr --labels=20,100
    python -m experiments.low_label --dataset=folder:DIR --image_size=32
    python -m experiments.low_label --modes=scratch,frozen,full,knn:20

Label subsets are nested, seeded, and balanced over the classes (or --subset=stratified). All --modes have the same
architecture, number of parameters and subsets. With 100 labels no 101st is read: hyper-parameters are chosen by
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
  runs.encoder_of(config)
  dataset = runs.load_dataset(FLAGS.dataset)
  modes = cli.modes(dataset, runs.encoder_of(config, dataset))
  labelled = table.draw(dataset, modes)
  job = runs.setup(config, dataset)
  timings = {"start-up": time.monotonic() - START}
  pretrained, timings["pretraining"] = runs.pretrain(job)
  config = job.config
  line = table.Line("low_label", job.directory, config.method, str(config.encoder), config.to_json())
  table.compare(line, table.bench(dataset, labelled, pretrained), modes, timings)


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
