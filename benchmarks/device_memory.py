"""Memory of a train step on each of several devices, of a large batch of large images; nothing is run.

    ./launch.sh benchmarks.device_memory --json=benchmarks/results/device_memory.json

The step is compiled by XLA for as many host devices and asked how much memory it takes: see `benchmarks/programs.py`.
Beside it stands what the forward pass keeps for the backward pass, which no compiler has a say in.
"""

import itertools
from typing import Any

from absl import app, flags

from benchmarks import common, programs
from benchmarks.programs import Program

FLAGS = flags.FLAGS
flags.DEFINE_string("json", "", "File for the results.")
flags.DEFINE_integer("batch_size", 4096, "Images of all devices together.", lower_bound=1)
flags.DEFINE_integer("image_size", 224, "Pixels a side.", lower_bound=16)
flags.DEFINE_list("devices", ["8", "32"], "Numbers of devices.")
flags.DEFINE_float("limit", 240, "Seconds for each program.", lower_bound=1)
flags.DEFINE_string("worker", "", "Internal: compile this program.")

MODELS = (
  ("simclr", "resnet50", {"projector": (2048, 128), "norm": True}),
  ("simclr", "vit:width=384,depth=12,heads=6,patch=16,pool=true", {"projector": (2048, 128), "norm": True}),
  ("byol", "resnet50", {"projector": (4096, 256), "predictor": (4096,)}),
  ("mae", "vit:width=384,depth=12,heads=6,patch=16", {}),
)
SETTINGS: tuple[dict[str, Any], ...] = (
  {},
  {"precision": "bfloat16"},
  {"remat": True},
  {"precision": "bfloat16", "remat": True},
  {"precision": "bfloat16", "remat": True, "accumulate": 4},
)


def measure(program: Program) -> dict[str, Any]:
  """Bytes on a device: what stays between steps, the images of a step, what a step needs besides, and all of it."""
  compiled = programs.compiled(program)
  _, state, batch, _ = programs.describe(program)
  memory = compiled.memory_analysis()
  return {
    "state": programs.bytes_of(state),
    "batch_bytes": programs.bytes_of(batch) // program.devices,
    "temporaries": memory.temp_size_in_bytes,
    "total": memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
    - memory.alias_size_in_bytes,
    "kept": programs.kept_for_the_gradient(program) // program.devices,
  }  # fmt: skip


def main(_: list[str]) -> None:
  """One child process for each program."""
  if FLAGS.worker:
    return programs.answer(measure, FLAGS.worker)
  rows, shape = [], (FLAGS.image_size, FLAGS.image_size, 3)
  for (method, encoder, hp), devices, how in itertools.product(MODELS, map(int, FLAGS.devices), SETTINGS):
    if method != "simclr" and how not in SETTINGS[::3]:
      continue
    program = Program(method, encoder, FLAGS.batch_size, shape, devices, hp, **how)
    row = programs.in_child("benchmarks.device_memory", program, programs.BARRIERS, FLAGS.limit)
    rows.append({**program._asdict(), **row})
    told = row.get("error") or ", ".join(f"{name} {row[name] / 2**30:.2f}" for name in ("total", "temporaries", "kept"))
    print(f"{method:8s} {encoder:40s} {devices:3d} devices {how}: {told} ({row.get('seconds')} s)", flush=True)
  return common.write_json(FLAGS.json, "device_memory", rows, machine=common.machine())


if __name__ == "__main__":
  app.run(main)
