"""Pretrains an encoder without labels, and saves it.

    python -m experiments.pretrain --method=denoise --dataset=mnist

Continues after a kill; running it again when it is done does nothing. The encoder is in the run directory printed at
the end: `sslx.load_encoder(DIR)`, or `python -m experiments.probe --checkpoint=DIR`.
"""

from experiments.shared import cli, runs


def main() -> None:
  """Runs the experiment on the parsed flags."""
  job = runs.setup(cli.config())
  _, seconds = runs.pretrain(job)
  cli.tell(f"{job.directory}  ({seconds:.0f} s)")


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
