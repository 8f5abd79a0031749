"""The data-efficiency curve: accuracy against the fraction of the labels that is known, for the best methods and scratch.

    python -m experiments.data_efficiency
    python -m experiments.data_efficiency --flagfile=experiments/flags/data_efficiency.flags

`experiments.label_curve` (which says how it is read, and whose tables and figure these are) with the methods that did best
on this package's tables, and with fractions of all labels, as Henaff et al. (Data-Efficient Image Recognition with
Contrastive Predictive Coding, 2020, arXiv 1905.09272) draw it for 1% to 100% of ImageNet: there a pretrained network with a
half to a fifth of the labels was as accurate as one trained from scratch on all of them. Scratch and `full` make at least 20
passes over the labels, or --finetune_epochs.
"""

from absl import flags

from experiments import common, label_curve, variants

FLAGS = flags.FLAGS

METHODS = ["swav", "simclr"]  # the defaults of flags here
SHARES = (0.1, 0.3, 1, 3, 10)  # of all labels, in percent; and all of them


def main() -> None:
  """Runs the experiment on the parsed flags."""
  compared, dataset = variants.given(methods=METHODS)
  enough = [f"{share:g}%" for share in SHARES if share * len(dataset.train) >= 100 * dataset.num_classes]
  common.default(labels=[*enough, "all"], modes=label_curve.MODES, finetune_epochs=label_curve.FINETUNE_EPOCHS)
  label_curve.curve("data_efficiency", compared, dataset)


if __name__ == "__main__":
  raise SystemExit(common.run(main, __name__))
