"""The papers' protocol: linear probe, kNN, 1%, 10%.

A linear head and nearest neighbours with all labels, fine-tuning with 1% and 10% of them: what papers report.

    python -m experiments.linear_eval --method=simclr
    python -m experiments.linear_eval --methods=denoise,vicreg --labels=1%,all
    python -m experiments.linear_eval --checkpoint=DIR

Pretrains with --method (or each of --methods) on all training images without their labels, or starts from --checkpoint.
 * all labels: logistic regression on the frozen encoder (Zhang et al. 2016, arXiv 1603.08511), and its nearest
   neighbours: k=20 at temperature 0.07 (Caron et al. 2021, arXiv 2104.14294) and k=200 at 0.1 (Wu et al. 2018, arXiv
   1805.01978).
 * 1% and 10%: fine-tuning of the whole encoder (Zhai et al. 2019, arXiv 1905.03670; Chen et al. 2020, arXiv
   2002.05709), for at least 20 passes over the labels (Zbontar et al. 2021, arXiv 2103.03230) or --finetune_epochs,
   beside the same from random weights and the frozen encoder, over --seeds balanced subsets.
Raw pixels and a random encoder always go along. --modes, if given, are trained at every number of --labels.

Unlike the field, the probe is fitted by L-BFGS without augmentation, its L2 and scaling chosen inside the labels, and
no test image chooses anything: the test split is read for a classifier when it is trained. With 60,000 labels a probe
takes minutes. Everything resumes.
"""

import time

from experiments import START
from experiments.shared import cli, methods, pages
from experiments.shared.cli import FLAGS

LABELS = ["1%", "10%", "all"]  # the defaults of flags here
FINETUNE_EPOCHS = 20.0
ALL, FEW = ["frozen", "knn:20", "knn:200"], ["scratch", "frozen", "full"]  # modes with all labels, and with fewer
NOTE = (
  "frozen: a head on the frozen encoder, of classes a logistic regression; knn:K: its K nearest neighbours; full: the "
  "whole encoder fine-tuned. The line 'no pretraining' is a random encoder, frozen, and training from scratch under "
  "'full'. Below all labels: mean ± standard deviation over label subsets; ↑ (↓): the 95% interval of the difference "
  "to scratch, paired by subset, lies above (below) zero. With all labels there is one subset, hence no spread."
)


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.report import statistics

  compared, dataset = methods.given()
  cli.default(labels=LABELS, finetune_epochs=FINETUNE_EPOCHS)
  cli.recipe()
  size, everything = len(dataset.train), len(dataset.train) - cli.heldout()
  directory = methods.open_directory("linear_eval", dataset)
  timings = {"start-up": time.monotonic() - START}

  def modes_at(labels: int) -> list[str]:
    return FLAGS.modes if FLAGS["modes"].present else ALL if labels == everything else FEW

  outcome = methods.run_variants("linear_eval", compared, dataset, directory, timings, modes_at)
  counts = cli.label_counts(dataset, cli.heldout())
  names = {n: f"{statistics.labels_text(n)} ({100 * n / size:.3g}%)" for n in counts}
  title = f"{', '.join(v.title for v in compared)} on {dataset.name}: linear evaluation and semi-supervised fine-tuning"
  heading, facts = "Linear evaluation", methods.budget()
  pages.write_report("linear_eval", title, directory, heading, outcome, timings, facts, note=NOTE, label_names=names)


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
