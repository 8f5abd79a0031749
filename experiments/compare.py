"""Which method is best? All, or some, in one table.

Every method pretrains the same network on as many images, and is then compared on the same few labels.

    python -m experiments.compare --methods=denoise,rotation,simclr
    python -m experiments.compare --methods=simclr,byol --labels=20,100
    python -m experiments.compare --dataset=fashion_mnist

Every method (--methods, default all) pretrains the same encoder (--encoder, default conv) on as many images, 118,000
(two epochs of MNIST) unless --steps or --epochs says otherwise, with its own batch and learning rate, then goes through
--modes on the same subsets (--labels, default 100,600,1000). The rows of raw pixels, of a random encoder and of
training from scratch are made once. Stopped and started again, it goes on method by method. A method that does not fit
the images says why in the table.
"""

import time

from experiments import START
from experiments.shared import cli, methods, pages, runs
from experiments.shared.cli import FLAGS


def main() -> None:
  """Runs the experiment on the parsed flags."""
  cli.default(methods=["all"])
  names = methods.named(FLAGS.methods)
  dataset = runs.load_dataset(FLAGS.dataset)
  methods.defaults(dataset)
  directory = methods.open_directory("compare", dataset)
  timings = {"start-up": time.monotonic() - START}
  compared = [methods.Variant(name, name, images=methods.IMAGES) for name in names]
  outcome = methods.run_variants("compare", compared, dataset, directory, timings)
  title = f"Methods on {dataset.name}, with few labels"
  pages.write_report("compare", title, directory, "Methods", outcome, timings, methods.budget())


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
