"""One thin file per comparison: `python -m experiments.NAME --help`."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

START = time.monotonic()  # before anything slow is imported: reports say how long the start-up took
LAUNCHER = Path(__file__).resolve().parents[1] / "launch.sh"


def called(experiment: str = "") -> str:
  """How a user calls an experiment, or the list of all: by launch.sh in a checkout, else by Python."""
  if LAUNCHER.is_file():
    return f"./launch.sh {experiment}".rstrip()
  return f"python -m experiments.{experiment}".rstrip(".")


def is_program() -> bool:
  """Whether this process is `python -m experiments.NAME`, and not a notebook or a test."""
  pairs = zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
  return any(flag == "-m" and name.startswith("experiments.") for flag, name in pairs)


def stop(number: int, frame: Any) -> None:
  """Ends the process while it imports, which takes seconds: nothing is begun that had to be kept."""
  os.write(2, b"interrupted; nothing was begun.\n")
  os._exit(130)


# Python's own handler is left alone where there is another: Ctrl-C is ignored by what a shell runs in the background.
# `experiments.shared.cli.run` puts it back, and lets a signal wait while it starts the program again.
if is_program() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
  signal.signal(signal.SIGINT, stop)
if is_program() and hasattr(signal, "pthread_sigmask"):
  signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
