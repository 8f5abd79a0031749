"""SimCLR's views of grey digits per second: sslx on the device, beside PyTorch per sample and batched.

    ./launch.sh benchmarks.augment --json=benchmarks/results/augment.json

The libraries bring a PyTorch of their own, hence an environment of their own. Same strengths where a library has that
operation (benchmarks/augment_torch.py). Images go in as uint8 on the host, two views of each come out.
"""

from collections.abc import Callable

from absl import app, flags

from benchmarks import common

FLAGS = flags.FLAGS
flags.DEFINE_string("json", "", "File for the results.")
flags.DEFINE_integer("batch_size", 256, "Images; twice as many views.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "Rounds.", lower_bound=1)
flags.DEFINE_float("round_seconds", 1.5, "Seconds of a framework in a round.", lower_bound=0.01)
flags.DEFINE_string("worker", "", "Internal: be the worker of this name.")

NAMES = ("sslx", "by hand", "kornia", "torchvision")


def build(name: str) -> Callable[[], object]:
  """A function that makes two views of a batch and returns when they are there."""
  images, _ = common.random_images(FLAGS.batch_size)
  if name == "sslx":
    import itertools

    import jax

    from sslx import compile
    from sslx.modalities import MODALITIES

    prepare, transform = MODALITIES["image"].prepare, common.pretext("simclr", "conv").transform
    views = compile.jit(lambda key, raw: transform(key, {"x": prepare(raw)}))
    steps = itertools.count()
    return lambda: jax.block_until_ready(views(jax.random.key(next(steps)), images))
  from benchmarks.augment_torch import VIEWS

  views = VIEWS[name]()
  return lambda: views(images)


def main(_: list[str]) -> None:
  """Runs all of them, or one as a worker."""
  if FLAGS.worker:
    return common.serve_built(lambda: build(FLAGS.worker), 2 * FLAGS.batch_size)
  workers = {
    name: (
      "benchmarks.augment",
      [f"--worker={name}", f"--batch_size={FLAGS.batch_size}"],
      common.OURS if name == "sslx" else {},
    )
    for name in NAMES
  }
  rows = common.compare(workers, FLAGS.repeats, FLAGS.round_seconds)
  machine = common.machine("torch", "torchvision", "kornia")
  common.write_json(FLAGS.json, "augment", [{"batch_size": FLAGS.batch_size, **r} for r in rows], machine=machine)


if __name__ == "__main__":
  app.run(main)
