"""Accuracy against the share of labels that is known.

The curve of label_curve, for the two methods that did best here, with 0.1% to 100% of all labels.

    python -m experiments.data_efficiency --method=byol
    python -m experiments.data_efficiency --labels=1%,10% --seeds=3
    python -m experiments.data_efficiency --flagfile=experiments/flags/data_efficiency.flags

The last line makes the figure of docs/comparisons.md. `experiments.label_curve` says how the curve is read; its tables
and figure are these. Fractions of all labels are what Henaff et al. (Data-Efficient Image Recognition with
Contrastive Predictive Coding, 2020, arXiv 1905.09272) draw it for, 1% to 100% of ImageNet: there a pretrained network
with a half to a fifth of the labels was as accurate as one trained from scratch on all of them. Scratch and `full` make
at least 20 passes over the labels, or --finetune_epochs.

Measured with the flag file on two CPU cores, in 42 minutes beside other work, three subsets: with 600 labels (1%)
scratch 95.5 ± 0.4, swav frozen 97.5 ± 0.1 (as good as scratch with 3.7 times as many labels), simclr frozen 97.0 ± 0.3
(2.5 times); with all, one training each, scratch 99.3, swav fine-tuned 99.5, frozen 99.2. Published, ImageNet: two to
five times.
"""

from experiments import label_curve
from experiments.shared import cli, methods

METHODS = ["swav", "simclr"]  # the defaults of flags here
SHARES = (0.1, 0.3, 1, 3, 10)  # of all labels, in percent; and all of them


def main() -> None:
  """Runs the experiment on the parsed flags."""
  compared, dataset = methods.given(methods=METHODS)
  enough = [f"{share:g}%" for share in SHARES if share * len(dataset.train) >= 100 * dataset.task.fewest]
  cli.default(labels=[*enough, "all"], modes=label_curve.MODES, finetune_epochs=label_curve.FINETUNE_EPOCHS)
  label_curve.curve("data_efficiency", compared, dataset)


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
