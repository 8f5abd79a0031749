"""`launch.sh --processes=N NAME`: starts N processes of one command on this machine, and waits for all of them. Only
the standard library. Its arguments: N, then those of Python, `-m experiments.low_label --method=simclr`.

The processes find one another by the variables that `experiments.shared.processes` reads. A signal reaches all of them.
Where one fails, the others end by themselves; what has not ended within GRACE seconds is killed.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

GRACE = 30.0


def free_port() -> int:
  """A port of this machine that nobody listens at."""
  with socket.socket() as it:
    it.bind(("127.0.0.1", 0))
    return it.getsockname()[1]


def start(count: int, arguments: Sequence[str]) -> list[subprocess.Popen]:
  """`python ARGUMENTS`, `count` times; the first one alone reads stdin."""
  shared = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": str(count)}
  return [
    subprocess.Popen(
      [sys.executable, *arguments],
      env={**os.environ, **shared, "JAX_PROCESS_ID": str(rank)},
      stdin=None if rank == 0 else subprocess.DEVNULL,
    )
    for rank in range(count)
  ]


def wait(processes: Sequence[subprocess.Popen]) -> int:
  """Waits until all have ended. The exit status is that of the first process, or where it is 0 of one that failed; of a
  killed one 128 and its signal, as a shell's.
  """
  ended_at = None
  while any(process.poll() is None for process in processes):
    if ended_at is None and any(process.returncode is not None for process in processes):
      ended_at = time.monotonic()
    if ended_at is not None and time.monotonic() - ended_at > GRACE:
      for process in processes:
        if process.poll() is None:
          process.kill()
    time.sleep(0.05)
  status = next((process.returncode for process in processes if process.returncode), 0)
  return 128 - status if status < 0 else status


def main(arguments: list[str]) -> int:
  """Returns the exit status."""
  if not arguments or not arguments[0].isdecimal() or int(arguments[0]) < 1:
    print(f"error: --processes={arguments[0] if arguments else ''}: must be a number above 0.", file=sys.stderr)
    return 2
  processes: list[subprocess.Popen] = []

  def forward(number: int, frame: object) -> None:
    for process in processes:
      if process.poll() is None:
        process.send_signal(number)

  signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal sends it to all of them by itself
  signal.signal(signal.SIGTERM, forward)
  processes.extend(start(int(arguments[0]), ["-P", *arguments[1:]]))
  return wait(processes)


if __name__ == "__main__":
  raise SystemExit(main(sys.argv[1:]))
