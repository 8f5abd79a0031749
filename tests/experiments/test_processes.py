"""Several processes as one program, on loopback: what one process does, two do; and none of them is left hanging."""

import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from several import command, digests, ended, rows, start, wait_for_checkpoint

from experiments.shared import processes
from launchers import local
from sslx.types import UserError

STREAMED = "--in_memory_limit=1"  # each process then reads its share of every batch


@pytest.fixture(scope="module")
def photos(toy, tmp_path_factory) -> str:
  """The toy set as --dataset=folder:DIR."""
  root = tmp_path_factory.mktemp("photos")
  for part, split in (("train", toy.train), ("test", toy.test)):
    for i, (x, y) in enumerate(zip(split.x, split.y, strict=True)):
      folder = root / part / toy.task.names[y]
      folder.mkdir(parents=True, exist_ok=True)
      Image.fromarray(x[..., 0]).save(folder / f"{i:03d}.png")
  return f"folder:{root}"


@pytest.fixture(scope="module")
def alone(photos, tmp_path_factory) -> Path:
  out = tmp_path_factory.mktemp("alone")
  ((status, stderr),) = ended(start(1, *command(photos, out)))
  assert status == 0, stderr
  return out


@pytest.fixture(scope="module")
def two(photos, tmp_path_factory) -> Path:
  """Two processes of two devices, which do not hold the data in memory."""
  out = tmp_path_factory.mktemp("two")
  for status, stderr in ended(start(2, *command(photos, out, "--devices=2", STREAMED))):
    assert status == 0, stderr
  return out


def test_two_processes_of_two_devices_are_one_of_one(alone, two):
  for one, other in zip(rows(alone), rows(two), strict=True):
    assert one.keys() == other.keys()
    for name in one.keys() - {"examples_per_second"}:
      np.testing.assert_allclose(other[name], one[name], rtol=1e-4, err_msg=name)


SLOW = ("--save_seconds=0",)  # a checkpoint after each step: there is time to end a process in the middle


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_is_killed_ends_the_other_and_the_run_goes_on_exactly(photos, two, tmp_path, rank):
  started = start(2, *command(photos, tmp_path, "--devices=2", STREAMED, *SLOW))
  wait_for_checkpoint(tmp_path, started)
  started[rank].send_signal(signal.SIGKILL)
  (status, stderr) = ended([started[1 - rank]], within=30)[0]
  if rank == 0 and status == -signal.SIGABRT:  # jax's own service, which was the first process's, was faster
    assert "another task died" in stderr
  else:
    assert status == 1
    assert [line for line in stderr.splitlines() if line.startswith("error")] == [
      f"error: process {rank} of 2: has ended without a word (killed, or its machine is gone); all are ended. Run the "
      "same command to go on."
    ]
  started[rank].wait(30)
  for status, stderr in ended(start(2, *command(photos, tmp_path, "--devices=2", STREAMED))):
    assert status == 0, stderr
  assert digests(tmp_path) == digests(two)


def test_a_signal_to_one_stops_all_after_the_same_step_and_one_process_goes_on(photos, alone, tmp_path):
  started = start(2, *command(photos, tmp_path, *SLOW))
  wait_for_checkpoint(tmp_path, started)
  started[1].send_signal(signal.SIGTERM)
  (first, stderr), (second, _) = ended(started, within=60)
  assert (first, second) == (130, 130)
  assert "stopped at step" in stderr
  ((status, stderr),) = ended(start(1, *command(photos, tmp_path)))
  assert status == 0, stderr
  assert "continuing at step" in stderr
  last, expected = rows(tmp_path)[-1], rows(alone)[-1]
  for name in expected.keys() - {"examples_per_second"}:
    np.testing.assert_allclose(last[name], expected[name], rtol=1e-3, err_msg=name)


BROKEN = """
import runpy, sys
from experiments.shared import together

def train(message):
  raise ValueError("no such luck")

together._train_along = train
sys.argv[0] = "pretrain"
runpy.run_module("experiments.pretrain", run_name="__main__")
"""


def test_an_error_of_one_is_told_once_by_the_first(photos, tmp_path):
  (first, stderr), (second, silent) = ended(start(2, "-c", BROKEN, *command(photos, tmp_path)[2:]))
  assert (first, second) == (1, 1)
  assert [line for line in stderr.splitlines() if "error" in line.lower()] == [
    "error: process 1 of 2: ValueError: no such luck; all are ended. Run the same command to go on."
  ]
  assert "luck" not in silent


def test_what_the_environment_says(monkeypatch):
  for name in ("SSLX_DISTRIBUTED", *processes.WORLDS, *processes.SLURM, "SLURM_NTASKS"):
    monkeypatch.delenv(name, raising=False)
  assert not processes.wanted()
  for name in processes.SLURM:  # a shell of sbatch has no step: one process, whatever the number of tasks
    monkeypatch.setenv(name, "0")
  monkeypatch.setenv("SLURM_NTASKS", "1")
  assert not processes.wanted()
  monkeypatch.setenv("SLURM_NTASKS", "4")
  assert processes.wanted()
  monkeypatch.delenv("SLURM_STEP_NODELIST")
  assert not processes.wanted()
  monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
  assert processes.wanted()
  monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
  with pytest.raises(UserError, match="JAX_COORDINATOR_ADDRESS: missing"):
    processes.join()
  monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1")
  monkeypatch.setenv("JAX_PROCESS_ID", "x")
  with pytest.raises(UserError, match="JAX_PROCESS_ID: must be a number"):
    processes.join()


def test_launcher_waits_for_all_and_gives_the_status_of_the_first_that_failed():
  script = (
    "import os, sys; sys.exit(3 * int(os.environ['JAX_PROCESS_ID']) + (int(os.environ['JAX_NUM_PROCESSES']) != 2))"
  )
  assert local.wait(local.start(2, ["-c", script])) == 3
  assert local.wait(local.start(2, ["-c", "import os; os.kill(os.getpid(), 9)"])) == 137
  assert local.main(["no"]) == 2
