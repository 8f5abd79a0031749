"""What a train step sends on many devices, of a large batch of large images; nothing is run.

    ./launch.sh benchmarks.communication --json=benchmarks/results/communication.json

Collectives are counted in the program that XLA makes for one device, those in loops as often as they run, in bytes that
a device sends over a ring: of n devices 2 (n-1)/n of what is summed, (n-1)/n of what is gathered. See
`benchmarks/programs.py`.
"""

import itertools
from typing import Any

from absl import app, flags

from benchmarks import collectives, common, programs
from benchmarks.programs import Program

FLAGS = flags.FLAGS
flags.DEFINE_string("json", "", "File for the results.")
flags.DEFINE_string("encoder", "resnet50", "Encoder of all methods.")
flags.DEFINE_integer("batch_size", 4096, "Images of all devices together.", lower_bound=1)
flags.DEFINE_integer("image_size", 224, "Pixels a side.", lower_bound=16)
flags.DEFINE_list("devices", ["8", "64", "512"], "Numbers of devices.")
flags.DEFINE_float("limit", 300, "Seconds for each program.", lower_bound=1)
flags.DEFINE_string("worker", "", "Internal: compile this program.")

METHODS = (
  ("simclr", {"projector": (2048, 128), "norm": True}),
  ("vicreg", {"projector": (8192, 8192, 8192)}),
  ("swav", {"projector": (2048, 128), "prototypes": 3000}),
  ("byol", {"projector": (4096, 256), "predictor": (4096,)}),
)
"""With the heads of their papers."""


def measure(program: Program) -> dict[str, Any]:
  """Parameters' bytes, and by kind of collective: how many a step runs, bytes of their results, and bytes sent."""
  counted = collectives.collectives(programs.compiled(program).as_text())
  _, state, _, _ = programs.describe(program)

  def total(kind: str) -> dict[str, float]:
    of_kind = [each for each in counted if each.kind == kind]
    return {
      "count": sum(each.times for each in of_kind),
      "bytes": sum(each.times * each.bytes for each in of_kind),
      "sent": round(sum(each.sent for each in of_kind)),
    }

  kinds = dict.fromkeys(each.kind for each in counted)
  return {"parameters": programs.bytes_of(state.params), "kinds": {kind: total(kind) for kind in kinds}}


def main(_: list[str]) -> None:
  """One child process for each program."""
  if FLAGS.worker:
    return programs.answer(measure, FLAGS.worker)
  rows, shape = [], (FLAGS.image_size, FLAGS.image_size, 3)
  for (method, hp), devices in itertools.product(METHODS, map(int, FLAGS.devices)):
    program = Program(method, FLAGS.encoder, FLAGS.batch_size, shape, devices, hp)
    row = programs.in_child("benchmarks.communication", program, "", FLAGS.limit)
    rows.append({**program._asdict(), **row})
    told = row.get("error") or {kind: f"{of['count']}: {of['sent'] / 1e6:.1f} MB" for kind, of in row["kinds"].items()}
    print(f"{method:8s} {devices:4d} devices: {told} ({row.get('seconds')} s)", flush=True)
  return common.write_json(FLAGS.json, "communication", rows, machine=common.machine())


if __name__ == "__main__":
  app.run(main)
