"""Peak memory and time of `experiments.low_label` as images and labels grow.

    ./launch.sh benchmarks.memory --json=benchmarks/results/memory.json

The images are the first of MNIST's training split; two passes over them, whatever their number.
"""

import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import common
from benchmarks.low_label import run_job

FLAGS = flags.FLAGS
flags.DEFINE_list("images", ["10000", "30000", "60000"], "Numbers of training images, ascending.")
flags.DEFINE_list("labels", ["100", "1000"], "Numbers of labels, ascending.")


def main(_: list[str]) -> None:
  """Runs the job once for each size."""
  from sslx import data

  mnist = data.load("mnist")
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    for images in map(int, FLAGS.images):
      path = Path(folder) / f"mnist{images}.npz"
      train, test, some = mnist.train, mnist.test, np.arange(images)
      np.savez(
        path,
        train_images=train.x[some],
        train_labels=train.targets()[some],
        test_images=test.x[np.arange(len(test))],
        test_labels=test.targets(),
      )
      for labels in map(int, FLAGS.labels):
        row = run_job([f"--dataset=npz:{path}", f"--labels={labels}"])
        rows.append({"images": images, "labels": labels, **row})
        print(f"{images} images, {labels} labels: {row['whole command']:.1f} s, {row['peak_mib']} MiB", flush=True)
  common.write_json(FLAGS.json, "memory", rows, machine=common.machine())


if __name__ == "__main__":
  app.run(main)
