"""SimCLR on digits, views included: images per second of sslx beside lightly's own loader, transforms and loss.

    ./launch.sh benchmarks.simclr --json=benchmarks/results/simclr.json

Same encoder (three conv blocks 32-64-128 with GroupNorm), projector (2048-256-128) and batch.
"""

import itertools
from collections.abc import Callable

from absl import app, flags

from benchmarks import common

FLAGS = flags.FLAGS
flags.DEFINE_string("json", "", "File for the results.")
flags.DEFINE_integer("batch_size", 256, "Images; twice as many views.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "Rounds.", lower_bound=1)
flags.DEFINE_float("round_seconds", 4.0, "Seconds of a framework in a round.", lower_bound=0.01)
flags.DEFINE_string("worker", "", "Internal: be the worker of this name.")

NAMES = {"sslx": common.OURS, "lightly, 0 workers": {}, "lightly, 2 workers": {}}
IMAGES = 20_000  # so that an epoch, and the start of its loader's workers, is longer than a round


def build(name: str) -> Callable[[], object]:
  """A function that makes one step on new images and returns when it is done."""
  images, _ = common.random_images(IMAGES)
  if name == "sslx":
    from sslx.data.batches import step_indices

    update = common.sslx_step(common.pretext("simclr", "conv:widths=32-64-128,norm=group"), images)
    batches = iter(step_indices(0, IMAGES, FLAGS.batch_size, 0, 1_000_000))
    return lambda: update(next(batches))
  from benchmarks.simclr_lightly import epoch

  workers = 2 if "2" in name else 0
  losses = itertools.chain.from_iterable(epoch(images, FLAGS.batch_size, workers) for _ in itertools.count())
  return lambda: next(losses)


def main(_: list[str]) -> None:
  """Runs all of them, or one as a worker."""
  if FLAGS.worker:
    return common.serve_built(lambda: build(FLAGS.worker), FLAGS.batch_size)
  workers = {
    name: ("benchmarks.simclr", [f"--worker={name}", f"--batch_size={FLAGS.batch_size}"], environment)
    for name, environment in NAMES.items()
  }
  rows = common.compare(workers, FLAGS.repeats, FLAGS.round_seconds)
  machine = common.machine("torch", "torchvision", "lightly")
  common.write_json(FLAGS.json, "simclr", [{"batch_size": FLAGS.batch_size, **r} for r in rows], machine=machine)


if __name__ == "__main__":
  app.run(main)
