"""Examples a second of SimCLR's train step on 1, 2 and 4 host devices, and on 1 and 2 processes, on this machine.

    ./launch.sh benchmarks.scaling --json=benchmarks/results/scaling.json

Host devices and processes share this machine's cores: twice as fast is what two cores can give at most, and one device
uses both already, since XLA's own threads do. What is measured is what sharing out costs, not what more machines give.
Strong: the same batch shared out; weak: a batch for each device. Every way to run is processes of their own, which take
turns, all of them in each round.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import common

FLAGS = flags.FLAGS
flags.DEFINE_string("json", "", "File for the results.")
flags.DEFINE_integer("repeats", 3, "Rounds.", lower_bound=3)
flags.DEFINE_float("round_seconds", 2.0, "Seconds of a way to run in a round.", lower_bound=0.01)
flags.DEFINE_list("models", ["conv", "resnet18"], "Encoders, of conv and resnet18.")
flags.DEFINE_string("worker", "", "Internal: run this way, a JSON object.")

BATCH = {"conv": 256, "resnet18": 16}
ENCODER = {"conv": "conv:widths=32-64-128,norm=group", "resnet18": "resnet18"}
WAYS = ((1, 1), (1, 2), (1, 4), (2, 1), (2, 2))
"""(processes, devices of each)"""
START = 120  # seconds that processes have to find each other and compile


def build(way: dict[str, Any]) -> Callable[[], object]:
  """One step of a process, which returns when it is done on all of them."""
  import jax

  from sslx import nn
  from sslx.modalities import MODALITIES
  from sslx.pretext import build as method
  from sslx.tasks import TASKS
  from sslx.training import optim, parallel
  from sslx.training.step import make_init, make_train_step

  if way["processes"] > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(way["address"], way["processes"], way["rank"], initialization_timeout=START)
  mesh, prepare, tx = parallel.mesh_over(jax.devices()), MODALITIES["image"].prepare, optim.optimizer(1e-3)
  pretext = method("simclr", nn.build(ENCODER[way["model"]]), {}, TASKS["classification"](tuple("0123456789")), "pool")
  images, _ = common.random_images(way["batch"], 32, 3)
  state = parallel.replicate(make_init(pretext, tx, prepare)(jax.random.key(0), {"x": images[:1]}), mesh)
  rows = parallel.own_rows(len(images), mesh)
  batch = {"x": parallel.join(images[rows], len(images), mesh)}
  step = make_train_step(pretext, tx, prepare, mesh=mesh)

  def update() -> float:
    nonlocal state
    state, metrics = step(state, batch, None)
    return float(np.asarray(metrics["loss"].addressable_data(0))[0])

  return update


def serve(way: dict[str, Any]) -> None:
  """A worker's side: `ready`, then for every line `steps` on stdin the seconds that so many steps took."""
  update = build(way)
  for _ in range(3):
    update()
  print(json.dumps({"ready": True}), flush=True)
  for line in sys.stdin:
    begin = time.perf_counter()
    for _ in range(int(line)):
      update()
    print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)


class Group:
  """The processes of one way to run, which make the same number of steps when asked and sleep otherwise."""

  def __init__(self, model: str, processes: int, devices: int, batch: int):
    with socket.socket() as free:
      free.bind(("127.0.0.1", 0))
      address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, **common.OURS, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    environment |= {"NPROC": "1"} if processes > 1 else {}  # as sslx does, see `experiments.shared.processes`
    way = {"model": model, "processes": processes, "batch": batch, "address": address}
    self.members: list[subprocess.Popen[bytes]] = []
    for rank in range(processes):
      command = [sys.executable, "-m", "benchmarks.scaling", f"--worker={json.dumps({**way, 'rank': rank})}"]
      pipe = subprocess.PIPE  # without a buffer: gloo writes a line of its own, and `select` sees the pipe alone
      member = subprocess.Popen(command, 0, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
      self.members.append(member)
    try:
      self._answers(START)
    except RuntimeError:
      self.close()
      raise

  def run(self, steps: int) -> float:
    """Seconds that the slowest process took."""
    for member in self.members:
      assert member.stdin
      member.stdin.write(f"{steps}\n".encode())
      member.stdin.flush()
    return max(answer["seconds"] for answer in self._answers(120))

  def _answers(self, seconds: float) -> list[dict[str, Any]]:
    """A JSON line of each. Raises RuntimeError where one has ended, or says nothing for so long."""
    answers, end = [], time.monotonic() + seconds
    for member in self.members:
      out, line = member.stdout, b""
      assert out
      while not line.startswith(b"{"):
        if not select.select([out], [], [], max(0, end - time.monotonic()))[0]:
          raise RuntimeError(f"silent for {seconds:.0f} s")
        line = out.readline()
        if not line:
          raise RuntimeError(f"ended with exit status {member.wait()}")
      answers.append(json.loads(line))
    return answers

  def close(self) -> None:
    """Ends them."""
    for member in self.members:
      member.kill()
      member.wait()


def measure(model: str) -> list[dict[str, Any]]:
  """A row for every way to run, strong and weak; one that cannot be run is told and left out."""
  batch, groups = BATCH[model], {}
  for processes, devices in WAYS:
    for kind, size in (("strong", batch), ("weak", batch * processes * devices)):
      if (processes, devices, kind) == (1, 1, "weak"):
        continue  # the same as strong
      try:
        groups[processes, devices, kind] = Group(model, processes, devices, size), size
      except RuntimeError as error:
        print(f"  {model}, {processes} x {devices}, {kind}: left out: {error}", flush=True)
  paces = {name: group.run(2) / 2 for name, (group, _) in groups.items()}
  rates: dict[tuple[int, int, str], list[float]] = {name: [] for name in groups}
  for _ in range(FLAGS.repeats):
    for name, (group, size) in groups.items():
      steps = max(2, round(FLAGS.round_seconds / paces[name]))
      group.run(max(1, steps // 3))  # while the others had their turn, its caches were lost
      rates[name].append(steps * size / group.run(steps))
  rows = []
  for (processes, devices, kind), (group, size) in groups.items():
    group.close()
    how = {"model": model, "processes": processes, "devices": devices, "kind": kind, "batch_size": size}
    rows.append({**how, **common.summary(rates[processes, devices, kind])})
    low, high = rows[-1]["spread"]
    rate = rows[-1]["images_per_second"]
    print(
      f"  {model:9s} {processes} x {devices} {kind:7s} {size:5d}: {rate:8.0f} /s [{low:.0f}, {high:.0f}]", flush=True
    )
  return rows


def main(_: list[str]) -> None:
  """Measures all models, or is a worker."""
  if FLAGS.worker:
    return serve(json.loads(FLAGS.worker))
  rows = [row for model in FLAGS.models for row in measure(model)]
  return common.write_json(FLAGS.json, "scaling", rows, machine=common.machine())


if __name__ == "__main__":
  app.run(main)
