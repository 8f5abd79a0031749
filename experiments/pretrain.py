"""Pretrains a network without labels, and saves it.

It goes on after a kill; run again when it is done, it does nothing. The run directory is printed at the end.

    python -m experiments.pretrain --method=rotation --encoder=rotnet
    python -m experiments.pretrain --dataset=folder:DIR --image_size=32
    python -m experiments.pretrain --method=denoise --hp=level=0.3 --epochs=5

The encoder is in that directory: `sslx.load_encoder(DIR)`, or `python -m experiments.probe --checkpoint=DIR`.
"""

from experiments.shared import cli, runs


def main() -> None:
  """Runs the experiment on the parsed flags."""
  job = runs.setup(cli.config())
  _, seconds = runs.pretrain(job)
  cli.tell(f"{job.directory}  ({seconds:.0f} s)")


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
