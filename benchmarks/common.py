"""What the benchmarks share: random images, the machine in words, workers that take turns, results as JSON."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
  from sslx.types import Pretext

OURS = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # the allocator setting of launch.sh and of the experiments


def random_images(batch: int, size: int = 28, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
  """(u8 [batch,size,size,channels], labels i32 [batch]), the same for every framework."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (batch, size, size, channels), dtype=np.uint8)
  return images, rng.integers(0, 10, batch).astype(np.int32)


def pretext(method: str, encoder: str, features: str = "flatten", **hp: Any) -> "Pretext":
  """A method of sslx on digits, as its own experiments build it."""
  from sslx import nn
  from sslx.pretext import build
  from sslx.tasks import TASKS

  return build(method, nn.build(encoder), hp, TASKS["classification"](tuple("0123456789")), features)


def sslx_update(
  built: "Pretext", example: Mapping[str, np.ndarray]
) -> Callable[[Mapping[str, Any], np.ndarray], float]:
  """A function of arrays [N,...] by name and the rows i32[B] of a batch in them: one update by sslx's own train step,
  whose loss it returns when it is done.

  example: of the arrays, a row of each.
  """
  import jax

  from sslx.modalities import MODALITIES
  from sslx.training import optim
  from sslx.training.step import make_init, make_train_step

  prepare, tx = MODALITIES["image"].prepare, optim.optimizer(1e-3)
  state, step = make_init(built, tx, prepare)(jax.random.key(0), example), make_train_step(built, tx, prepare)

  def update(data: Mapping[str, Any], rows: np.ndarray) -> float:
    nonlocal state
    state, metrics = step(state, data, rows[None])
    return float(metrics["loss"][0])

  return update


def sslx_step(built: "Pretext", images: np.ndarray, labels: np.ndarray | None = None) -> Callable[[np.ndarray], float]:
  """`sslx_update` as a function of the rows alone: the images, and labels where the method reads them, stay on the
  device.
  """
  import jax

  data = {"x": images} if labels is None else {"x": images, "y": labels}
  update, on_device = sslx_update(built, {name: array[:1] for name, array in data.items()}), jax.device_put(data)
  return lambda rows: update(on_device, rows)


def machine(*libraries: str) -> dict[str, Any]:
  """Processor, cores, memory and the versions of what was measured."""
  cpu, memory = platform.processor() or platform.machine(), None
  if sys.platform == "linux":
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
  versions = {"python": platform.python_version()}
  for name in ("jax", "jaxlib", "flax", "optax", *libraries):
    try:
      versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      continue
  return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "memory_gib": memory, "versions": versions}


def serve(update: Callable[[], object], work: float, **ready: Any) -> None:
  """A worker's side: one JSON line when ready, then for every line `seconds` on stdin the rate of `work` a second.

  At least three updates are made, and every one of them is finished when it returns. A third of the time before is
  not counted: while the others had their turn, this process lost its caches, and perhaps its memory's pages.
  """
  print(json.dumps(ready), flush=True)
  for line in sys.stdin:
    seconds, begin = float(line), time.perf_counter()
    while time.perf_counter() - begin < seconds / 3:
      update()
    begin, steps = time.perf_counter(), 0
    while steps < 3 or time.perf_counter() - begin < seconds:
      update()
      steps += 1
    print(json.dumps({"rate": steps * work / (time.perf_counter() - begin)}), flush=True)


def serve_built(build: Callable[[], Callable[[], object]], work: float) -> None:
  """A worker's side: builds, warms up and serves, or says why it cannot."""
  try:
    update = build()
    for _ in range(3):
      update()
  except Exception as error:
    return fail(error)
  return serve(update, work)


def fail(error: Exception) -> None:
  """A worker's side: why it cannot work."""
  print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), flush=True)


class Worker:
  """One framework in a process of its own, which works when asked and sleeps otherwise.

  The module is called with `arguments` and calls `serve`, or `fail`.
  """

  def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]):
    clean = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES" and not k.startswith("MALLOC_")}
    self.process = subprocess.Popen(
      [sys.executable, "-m", module, *arguments],
      env={**clean, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )
    self.ready = self._read()

  def _read(self) -> dict[str, Any]:
    assert self.process.stdout
    for line in self.process.stdout:
      if line.startswith("{"):
        return json.loads(line)
    return {"error": f"ended with exit status {self.process.wait()}"}

  def run(self, seconds: float) -> dict[str, Any]:
    """What the worker measured in about `seconds`."""
    assert self.process.stdin
    print(seconds, file=self.process.stdin, flush=True)
    return self._read()

  def close(self) -> None:
    """Ends the process."""
    self.process.kill()
    self.process.wait()


def take_turns(workers: Mapping[str, Worker], repeats: int, seconds: float) -> dict[str, list[float]]:
  """{name: the rates of `repeats` rounds}: in each round every worker runs once, so that all see the same machine."""
  rates: dict[str, list[float]] = {name: [] for name in workers}
  for _ in range(repeats):
    for name, worker in workers.items():
      answer = worker.run(seconds)
      if "rate" in answer:
        rates[name].append(answer["rate"])
  return rates


def compare(
  frameworks: Mapping[str, tuple[str, Sequence[str], Mapping[str, str]]], repeats: int, seconds: float
) -> list[dict[str, Any]]:
  """One row a framework, name -> (module, arguments, environment); one that cannot work is told and left out."""
  workers = {}
  for name, (module, arguments, environment) in frameworks.items():
    worker = Worker(module, arguments, environment)
    if "error" in worker.ready:
      print(f"  {name}: left out: {worker.ready['error']}")
      worker.close()
    else:
      workers[name] = worker
  rates = take_turns(workers, repeats, seconds)
  rows = []
  for name, worker in workers.items():
    worker.close()
    rows.append({"framework": name, **summary(rates[name]), **worker.ready})
    low, high = rows[-1]["spread"]
    print(f"  {name:32s} {rows[-1]['images_per_second']:9.0f} /s  [{low:.0f}, {high:.0f}]", flush=True)
  return rows


def summary(rates: Sequence[float]) -> dict[str, Any]:
  """Median and spread of a list of rates, one a round."""
  return {
    "images_per_second": statistics.median(rates),
    "spread": [min(rates), max(rates)],
    "repeats": len(rates),
    "rates": list(rates),
  }


def write_json(path: str, benchmark: str, rows: Sequence[Mapping[str, Any]], **rest: Any) -> None:
  """{"benchmark", "machine", ..., "rows"} as one file."""
  text = json.dumps({"benchmark": benchmark, **rest, "rows": rows}, indent=1) + "\n"
  if path:
    Path(path).write_text(text)
    print(f"written to {path}")
