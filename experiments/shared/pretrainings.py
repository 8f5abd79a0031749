"""Several pretrainings of each method, with other seeds: the flag, and the jobs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from experiments.shared import cli, runs
from experiments.shared.cli import FLAGS

if TYPE_CHECKING:
  from sslx.data import Dataset

flags.DEFINE_integer("pretrainings", 1, "How often each method is pretrained. With other seeds.")


def jobs(names: Sequence[str], dataset: "Dataset") -> list[runs.Job]:
  """Of each method one for each seed, from --seed on; nothing is trained yet."""
  cli.positive("pretrainings")
  seeds = range(FLAGS.seed, FLAGS.seed + FLAGS.pretrainings)
  return [runs.setup(cli.config(name, seed=seed), dataset) for name in names for seed in seeds]
