"""Data that stay on the disk: images a second of a stream, steps beside those of data in memory, resident memory.

    ./launch.sh benchmarks.stream --json=benchmarks/results/stream.json
    ./launch.sh benchmarks.stream --long --json=benchmarks/results/stream.json

The set is a folder of pictures, 20 times as large, decoded, as the --in_memory_limit that it is loaded with: a few
hundred different files under many names (hard links), each of which is opened and decoded. --dataset streams another
one. Memory is that of the process and its workers together (what they share counts for each), sampled 50 times. --long
reads as many batches as an hour of training takes, at the speed of the step that was measured before.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import common

FLAGS = flags.FLAGS
flags.DEFINE_string("json", "", "File for the results.")
flags.DEFINE_string("dataset", "", "Data set to stream in place of the folder, such as parquet:GLOB.")
flags.DEFINE_integer("image_size", 32, "Pixels a side that pictures are resized to.", lower_bound=1)
flags.DEFINE_integer("file_size", 32, "Pixels a side of the files of the folder.", lower_bound=1)
flags.DEFINE_enum("format", "png", ["png", "jpg"], "Of the files of the folder.")
flags.DEFINE_integer("images", 40_000, "Files of the folder.", lower_bound=1000)
flags.DEFINE_integer("limit", 0, "Bytes of --in_memory_limit. 0: a twentieth of the set, decoded.")
flags.DEFINE_string("method", "simclr", "Of the step.")
flags.DEFINE_string("encoder", "resnet18", "Of the step.")
flags.DEFINE_integer("batch_size", 64, "Images.", lower_bound=1)
flags.DEFINE_list("workers", ["0", "2"], "Numbers of worker processes; 0: threads.")
flags.DEFINE_integer("repeats", 4, "Rounds.", lower_bound=1)
flags.DEFINE_float("round_seconds", 5.0, "Seconds of a round.", lower_bound=0.01)
flags.DEFINE_integer("batches", 600, "Batches in which memory is sampled.", lower_bound=100)
flags.DEFINE_bool("long", False, "An hour's worth of batches instead.")
flags.DEFINE_string("worker", "", "Internal: be the worker of this name.")

FILES = 500  # different ones
THREADS = 8  # as the training loop has them


def make_folder(folder: Path) -> None:
  """--images pictures in folder/train/CLASS."""
  from PIL import Image

  rng, side = np.random.default_rng(0), FLAGS.file_size
  for number in range(FLAGS.images):
    label, name = number % FILES % 10, f"{number:07d}.{FLAGS.format}"
    path, first = folder / "train" / str(label) / name, folder / "train" / str(label) / f"{number % FILES:07d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if number < FILES:  # smooth, as photos are
      small = Image.fromarray(rng.integers(0, 256, (max(1, side // 4), max(1, side // 4), 3), dtype=np.uint8))
      small.resize((side, side), Image.Resampling.BICUBIC).save(path)
    else:
      os.link(first.with_suffix(path.suffix), path)


def load(limit: int) -> Any:
  """x of the set, in memory or lazy."""
  from sslx import data

  return data.load(FLAGS.dataset, image_size=FLAGS.image_size, in_memory_limit=limit).train.x


def batches(x: Any, workers: int) -> Iterator[np.ndarray]:
  """The stream of a training run."""
  from sslx.data.batches import step_indices, stream

  order = step_indices(0, len(x), FLAGS.batch_size, 0, 10**9, blocks=x.blocks)
  return stream(x, order, THREADS, workers)


def resident() -> float:
  """MiB that this process and its children keep in memory."""
  children = [pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
  pids = [os.getpid(), *map(int, children)]
  pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
  return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def sampled(workers: int) -> dict[str, Any]:
  """What memory does while --batches batches are read, after a tenth of them have been."""
  x = load(FLAGS.limit)
  before, begin, read = resident(), time.perf_counter(), batches(x, workers)
  for _ in range(FLAGS.batches // 10):
    next(read)
  samples = []
  for number in range(FLAGS.batches):
    next(read)
    if number % (FLAGS.batches // 50) == 0:
      samples.append(round(resident(), 1))
  read.close()
  spent = time.perf_counter() - begin
  return {"decoded_mib": x.nbytes / 2**20, "limit_mib": FLAGS.limit / 2**20, "before_mib": before, "mib": samples,
          "batches": FLAGS.batches, "seconds": spent}  # fmt: skip


def build(kind: str, workers: int) -> Callable[[], object]:
  """A function that reads a batch (`alone`), and makes a step on it (`step`, `memory` where x is in memory)."""
  x = load(1 << 40 if kind == "memory" else FLAGS.limit)
  if kind == "alone":
    read = batches(x, workers)
    return lambda: next(read)
  update = common.sslx_update(common.pretext(FLAGS.method, FLAGS.encoder), {"x": np.asarray(x[:1])})
  if kind == "memory":
    import jax

    from sslx.data.batches import step_indices

    rows, on_device = iter(step_indices(0, len(x), FLAGS.batch_size, 0, 10**9)), {"x": jax.device_put(x)}
    return lambda: update(on_device, next(rows))
  read, everything = batches(x, workers), np.arange(FLAGS.batch_size, dtype=np.int32)
  return lambda: update({"x": next(read)}, everything)


def be_worker(name: str) -> None:
  """A worker's side. name: `kind,workers`."""
  kind, workers = name.split(",")
  if kind != "resident":
    return common.serve_built(lambda: build(kind, int(workers)), FLAGS.batch_size)
  try:
    print(json.dumps(sampled(int(workers))), flush=True)
  except Exception as error:
    common.fail(error)


def start(name: str, limit: int, **changed: Any) -> tuple[str, list[str], dict[str, str]]:
  """The worker of this name, as `common.compare` and `common.Worker` take it."""
  values = {"image_size": FLAGS.image_size, "batch_size": FLAGS.batch_size, "method": FLAGS.method,
            "encoder": FLAGS.encoder, "dataset": FLAGS.dataset, "limit": limit, **changed}  # fmt: skip
  return "benchmarks.stream", [f"--worker={name}", *(f"--{k}={v}" for k, v in values.items())], common.OURS


def called(workers: str) -> str:
  """How a table calls it."""
  return "threads" if workers == "0" else f"{workers} workers"


def main(_: list[str]) -> None:
  """Runs all of it, or one part as a worker."""
  if FLAGS.worker:
    return be_worker(FLAGS.worker)
  with tempfile.TemporaryDirectory() as folder:
    if not FLAGS.dataset:
      make_folder(Path(folder))
      FLAGS.dataset = f"folder:{folder}"
    limit = FLAGS.limit or load(1).nbytes // 20
    kinds = FLAGS.workers
    print("images a second of the stream alone:")
    alone = common.compare({called(w): start(f"alone,{w}", limit) for w in kinds}, FLAGS.repeats, 2)
    print(f"and with a step of {FLAGS.method} on {FLAGS.encoder}:")
    names = {"in memory": "memory,0", **{f"streamed, {called(w)}": f"step,{w}" for w in kinds}}
    steps = common.compare({k: start(v, limit) for k, v in names.items()}, FLAGS.repeats, FLAGS.round_seconds)
    hour = round(3600 * statistics.median(r["images_per_second"] for r in steps) / FLAGS.batch_size)
    rows = [{"kind": "alone", **r} for r in alone] + [{"kind": "step", **r} for r in steps]
    for w in kinds:
      worker = common.Worker(*start(f"resident,{w}", limit, batches=hour if FLAGS.long else FLAGS.batches))
      row = {"kind": "memory", "framework": called(w), "hour": hour, **worker.ready}
      worker.close()
      rows.append(row)
      told = row.get("error") or f"{min(row['mib']):.0f} to {max(row['mib']):.0f} MiB in {row['batches']} batches"
      print(f"  memory, {called(w)}: {told}", flush=True)
  setup = {name: FLAGS[name].value for name in ("method", "encoder", "batch_size", "image_size")}
  common.write_json(FLAGS.json, "stream", rows, **setup, machine=common.machine("grain", "pillow"))


if __name__ == "__main__":
  sys.exit(app.run(main))
