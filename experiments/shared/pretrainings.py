"""Several pretrainings of each method, with other seeds: the flag, and the jobs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from experiments.shared import cli, methods, runs
from experiments.shared.cli import FLAGS

if TYPE_CHECKING:
  from sslx.data import Dataset

flags.DEFINE_integer("pretrainings", 1, "How often each method is pretrained. With other seeds.")


def named(dataset: str, method: str) -> list[str]:
  """The methods of --methods, or of --method, each once. Sets --dataset, and --method, to these where nothing is given.

  Raises:
    UserError: none is named, or one that is not known.
  """
  cli.default(dataset=dataset, **({} if FLAGS.methods else {"method": method}))
  return list(dict.fromkeys(methods.named(FLAGS.methods or [FLAGS.method])))


def jobs(names: Sequence[str], dataset: "Dataset") -> list[runs.Job]:
  """Of each method one for each seed, from --seed on; nothing is trained yet."""
  cli.positive("pretrainings")
  seeds = range(FLAGS.seed, FLAGS.seed + FLAGS.pretrainings)
  return [runs.setup(cli.config(name, seed=seed), dataset) for name in names for seed in seeds]
