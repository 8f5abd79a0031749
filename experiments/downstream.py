"""What is one pretrained network worth for classes, numbers, pixels and boxes?

Pretrains once for each method, then does every task that the data set has targets for, with few labelled examples, from
scratch, on the frozen network, and fine-tuned. One report for all of them.

    python -m experiments.downstream --dataset=scenes --methods=jigsaw,simclr
    python -m experiments.downstream --dataset=scenes:one --labels=100,500
    python -m experiments.downstream --dataset=coco:DIR --tasks=detection

Every task reads the same encoders, on the same labelled examples: --labels of them (default 100, 500), in --seeds
subsets. Heads have the same form in all --modes, so that parameters are equal. The line `oracle` is the network trained
from scratch with all labels, for --oracle_steps steps of --oracle_batch_size (0 leaves it out): what few labels are
to be held against. Raw pixels stand in the table where a head on them has a meaning.

Results, figures and a page of each task are in a folder of its name, in the run directory; report.html has the tables
and pictures of all. --boundary adds boundary F to the scores of masks.
"""

import dataclasses
import time
from typing import TYPE_CHECKING

from absl import flags

from experiments import START
from experiments.shared import cli, methods, overview, pages, runs, table
from experiments.shared.cli import FLAGS
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx.data import Dataset

flags.DEFINE_list("tasks", None, "Tasks to do, of those that the data has targets for. Default: all of them.")
flags.DEFINE_integer("oracle_steps", 3000, "Steps of the row with all labels. 0 leaves it out.")
flags.DEFINE_integer("oracle_batch_size", 64, "Batch size of the row with all labels.")
flags.DEFINE_bool("boundary", False, "Also score the boundaries of masks. It takes a second for 100 images.")
cli.bound("oracle_steps", low=0, high=10**9)
cli.bound("oracle_batch_size", above=0)

LABELS = (100, 500)  # the defaults of flags here
MODES = ["scratch", "frozen", "last:1", "full"]
METHODS = ["jigsaw", "simclr", "inpaint"]


def main() -> None:
  """Runs the experiment on the parsed flags."""
  cli.default(methods=METHODS, encoder=methods.MAPS_ENCODER, modes=MODES)
  names = methods.named(FLAGS.methods)
  dataset = runs.load_dataset(FLAGS.dataset)
  cli.default(labels=methods.fitting(LABELS, dataset))
  parts = {name: dataset.doing(name) for name in asked(dataset)}
  directory = methods.open_directory("downstream", dataset)
  timings = {"start-up": time.monotonic() - START}
  once = methods.pretraining_once()
  compared = [methods.Variant(name, name, images=methods.IMAGES) for name in names]
  sections = []
  for name, part in parts.items():
    cli.say(f"task: {name}")
    more = table.boundary(part) if FLAGS.boundary and name == "segmentation" else None
    spent = dict(timings) if not sections else {}
    folder = directory / name
    outcome = methods.run_variants(
      "downstream", compared, part, folder, spent, pretrain=once, pictured=True, more=more
    )
    if FLAGS.oracle_steps:
      oracle = methods.oracle("downstream", part, folder, spent, FLAGS.oracle_steps, FLAGS.oracle_batch_size)
      outcome = outcome._replace(rows=[*outcome.rows, *oracle])
    title = f"{name.capitalize()} on {part.name}, with few labels"
    lead = pages.of_task(title, part, folder, outcome, first=not sections)
    pages.write_report("downstream", title, folder, name.capitalize(), outcome, spent, methods.budget(), lead=lead)
    sections.append(overview.section(name, title, part, folder, outcome, lead))
  overview.write(directory, f"One encoder, {len(sections)} tasks: {dataset.name}", sections)


def asked(dataset: "Dataset") -> list[str]:
  """The names of --tasks. Raises UserError for one that the data has no targets for."""
  known = [dataset.task.name, *dataset.others]
  names = list(dict.fromkeys(name.strip() for name in FLAGS.tasks or known if name.strip()))
  for name in names:
    if name not in known:
      raise UserError(f"--tasks={name}: {dataset.name} has no targets for it; it is for {', '.join(known)}.")
  if not names:
    raise UserError(f"--tasks=: name at least one of {', '.join(known)}.")
  return names


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
