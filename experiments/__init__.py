"""One thin file per comparison: `python -m experiments.NAME --help`."""

import time
from pathlib import Path

from experiments.shared import interrupt, start

START = time.monotonic()  # before anything slow is imported: reports say how long the start-up took
LAUNCHER = Path(__file__).resolve().parents[1] / "launch.sh"


def called(experiment: str = "") -> str:
  """How a user calls an experiment, or the list of all: by launch.sh in a checkout, else by Python."""
  if LAUNCHER.is_file():
    return f"./launch.sh {experiment}".rstrip()
  return f"python -m experiments.{experiment}".rstrip(".")


# Before all other imports. `experiments.shared.cli.run` makes Ctrl-C a KeyboardInterrupt again.
interrupt.stop_at_once()
start.use_huge_pages()
start.greet()
