"""Pretrains an encoder without labels, and saves it.

    python -m experiments.pretrain --method=denoise --dataset=mnist

Continues after a kill; running it again when it is done does nothing. The encoder is in the run directory printed at
the end: `sslx.load_encoder(DIR)`, or `python -m experiments.probe --checkpoint=DIR`.
"""

from absl import flags

from experiments.shared import cli as common

FLAGS = flags.FLAGS


def main() -> None:
  """Runs the experiment on the parsed flags."""
  run = common.setup(FLAGS.features)
  _, seconds = common.pretrain(run)
  print(f"{run.directory}  ({seconds:.0f} s)")


if __name__ == "__main__":
  raise SystemExit(common.run(main, __name__))
