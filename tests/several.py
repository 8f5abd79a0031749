"""What tests of several processes share: the command, its processes, and what they leave."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from launchers import local

ROOT = Path(__file__).parents[1]
STEPS = 40


def environment() -> dict[str, str]:
  """Of a child: its own devices, and the compiled programs that all tests share."""
  flags = [f for f in os.environ["XLA_FLAGS"].split() if "host_platform_device_count" not in f]
  return {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": " ".join(flags)}


def command(toy_npz: str, out: Path, *more: str) -> list[str]:
  return [
    "-m", "experiments.pretrain", f"--dataset={toy_npz}", "--method=simclr", "--encoder=mlp:widths=8,code=4",
    "--batch_size=16", f"--steps={STEPS}", "--hp=projector=8-8", "--optimizer=sgd", f"--out={out}", *more,
  ]  # fmt: skip


def start(count: int, *arguments: str) -> list[subprocess.Popen]:
  """As launch.sh --processes, without a parent."""
  shared = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{local.free_port()}", "JAX_NUM_PROCESSES": str(count)}
  return [
    subprocess.Popen(
      [sys.executable, "-P", *arguments],
      env={**environment(), **shared, "JAX_PROCESS_ID": str(rank)} if count > 1 else environment(),
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    for rank in range(count)
  ]  # fmt: skip


def ended(started: list[subprocess.Popen], within: float = 120) -> list[tuple[int, str]]:
  """(exit status, stderr) of each; none may take longer."""
  try:
    return [(process.wait(within), process.communicate()[1]) for process in started]
  finally:
    for process in started:
      process.kill()


def rows(out: Path) -> list[dict]:
  (path,) = out.glob("*/metrics.jsonl")
  return [json.loads(line) for line in path.read_text().splitlines()]


def digests(out: Path) -> dict:
  """Of the last checkpoint: of every bit of the state."""
  (path,) = out.glob(f"*/checkpoints/{STEPS}/meta/metadata")
  return json.loads(path.read_text())["digests"]


def wait_for_checkpoint(out: Path, started: list[subprocess.Popen]) -> None:
  until = time.monotonic() + 120
  while not any(path.name.isdecimal() for path in out.glob("*/checkpoints/*")):
    assert time.monotonic() < until
    assert all(process.poll() is None for process in started), ended(started)
    time.sleep(0.01)
