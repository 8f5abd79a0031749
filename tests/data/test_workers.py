"""Worker processes: the same batches in the same order, few of them in flight, and an end that leaves nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sslx.data import LazyArray
from sslx.data.batches import step_indices, stream
from sslx.data.workers import in_flight
from sslx.types import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (103, 4, 5, 3)).astype(np.uint8)
ENDLESS = """
import os, pathlib, signal, sys, time
import numpy as np
from sslx.data.batches import step_indices, stream
from sslx.data.lazy import LazyArray

def main(folder, last_step):
  def fetch(rows):
    (folder / str(os.getpid())).touch()
    return np.zeros((len(rows), 4), np.uint8)

  stopped, left = [], 30  # more batches than are in flight, so that each worker has to make some
  for number in (signal.SIGINT, signal.SIGTERM):  # as sslx.training.loop does
    signal.signal(number, lambda *_: stopped.append("stopped"))
  batches = stream(LazyArray((50, 4), fetch), step_indices(0, 50, 5, 0, last_step), 8, workers=2)
  for number, _ in enumerate(batches):
    if number == 10:
      print("streaming", flush=True)
    time.sleep(0.02 if stopped else 0.001)
    left -= bool(stopped)
    if not left:
      break
  batches.close()
  print(*stopped, flush=True)

if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
"""


def lazy(fetch, shape=IMAGES.shape):
  return LazyArray(shape, fetch)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers):
  images, slow = IMAGES, {5, 60}

  def fetch(rows):  # a closure, over an array too
    time.sleep(0.05 if slow & set(rows.tolist()) else 0)
    return images[rows]

  indices = step_indices(3, len(IMAGES), 8, 5, 60)
  streamed = list(stream(lazy(fetch), indices, 8, workers))
  np.testing.assert_array_equal(streamed, list(stream(lazy(fetch), indices, 8)))
  np.testing.assert_array_equal(streamed, [IMAGES[i] for i in indices])
  assert all(type(batch) is np.ndarray for batch in streamed)  # and not grain's shared memory, which it unmaps


def test_a_worker_takes_no_signal_of_the_terminal_and_no_accelerator():
  def fetch(rows):
    import jax

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN and signal.SIGINT in mask
    return np.full((len(rows), 3), [os.getpid(), ignored, jax.config.jax_platforms == "cpu"], np.int64)

  x = LazyArray((9, 3), fetch, np.dtype(np.int64))
  facts = np.stack(list(stream(x, step_indices(0, 9, 3, 0, 6), 8, workers=2)))[:, 0]
  assert len({os.getpid(), *facts[:, 0].tolist()}) == 3
  assert facts[:, 1:].all()
  assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_at_most_so_many_batches_are_in_flight(tmp_path):
  def fetch(rows):
    with open(tmp_path / str(os.getpid()), "a") as file:
      file.write("x")
    return IMAGES[rows]

  def read():
    return sum(path.stat().st_size for path in tmp_path.iterdir())

  def settled(taken):
    before, now = -1, read()
    while before < now or now < taken:
      time.sleep(0.3)
      before, now = now, read()
    return now - taken

  for workers, most in ((0, 2 * 3 + 1), (2, in_flight(2, 128))):
    batches = stream(lazy(fetch), step_indices(0, len(IMAGES), 8, 0, 10**6), 3, workers)
    for _ in range(5):
      next(batches)
    ahead = settled(5)
    batches.close()
    assert 0 < ahead <= most
    for path in tmp_path.iterdir():
      path.unlink()


def test_large_batches_are_read_ahead_less_often():
  assert in_flight(2, 10**6) == 20
  assert in_flight(2, 16) == 2 * (2 + 2 * 3)
  assert in_flight(2, 2) == in_flight(2, 8) == 8  # one that is made, one in the queue, one before it is used ...
  assert in_flight(4, 2) == 16


def broken(rows):
  if 50 in rows:
    raise UserError("cat.png: truncated")
  return IMAGES[rows]


def missing(rows):
  return {}[int(rows[0])]


def killed(rows):
  if 50 in rows:
    os.kill(os.getpid(), signal.SIGKILL)
  return IMAGES[rows]


def test_what_goes_wrong_in_a_worker_is_told_here():
  indices = step_indices(0, len(IMAGES), 8, 0, 12)
  with pytest.raises(UserError, match=r"^cat.png: truncated$"):
    list(stream(lazy(broken), indices, 8, workers=2))
  with pytest.raises(KeyError) as error:
    list(stream(lazy(missing), indices, 8, workers=1))
  assert "in missing" in error.value.__notes__[0]
  with pytest.raises(UserError, match=r"--workers=2: a process that reads the data is gone .*exit code -9\)[^\n]*$"):
    list(stream(lazy(killed), indices, 8, workers=2))
  lock = threading.Lock()
  with pytest.raises(UserError, match=r"--workers=2: these data cannot be handed to other processes .*lock[^\n]*$"):
    list(stream(lazy(lambda rows: (lock, IMAGES[rows])[1]), indices, 8, workers=2))


def test_what_is_in_memory_needs_no_workers(monkeypatch):
  monkeypatch.setattr("sslx.data.batches.in_processes", None)
  indices = step_indices(0, len(IMAGES), 8, 0, 4)
  np.testing.assert_array_equal(list(stream(IMAGES, indices, 2, workers=2)), [IMAGES[i] for i in indices])
  assert list(stream(lazy(broken), [], 2, workers=2)) == []


def alive(pid):
  try:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  except OSError:
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [0, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_what_started_them(tmp_path, number):
  """At the end of the stream, by Ctrl-C, by a scheduler, and by what nobody can answer."""
  program, folder = tmp_path / "program.py", tmp_path / "workers"
  program.write_text(ENDLESS)
  folder.mkdir()
  command = [sys.executable, str(program), str(folder), str(10**9 if number else 50)]
  process = subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=Path.cwd(),
    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
  )  # fmt: skip
  assert process.stdout
  assert process.stdout.readline() == "streaming\n"
  workers = [int(path.name) for path in folder.iterdir()]
  assert len(workers) == 2
  if number == signal.SIGKILL:
    assert all(map(alive, workers))
    process.kill()
  elif number:
    os.killpg(process.pid, number)  # as a terminal does, or a scheduler
  out, err = process.communicate(timeout=30)
  if number != signal.SIGKILL:
    assert (out, err, process.returncode) == ("stopped\n" if number else "\n", "", 0)
  deadline = time.monotonic() + 20
  while any(map(alive, workers)) and time.monotonic() < deadline:
    time.sleep(0.1)
  assert not any(map(alive, workers))
