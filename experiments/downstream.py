"""What is a network worth for numbers, pixels, boxes?

Pretrains once for each method, then does every task that the data set has targets for, with few labelled examples: from
scratch, on the frozen network, and fine-tuned. One report for all of them.

    python -m experiments.downstream --dataset=scenes --methods=vader,simclr
    python -m experiments.downstream --dataset=scenes:one --labels=100,500
    python -m experiments.downstream --dataset=coco:DIR --tasks=detection

Every task reads the same encoders on the same labelled examples: --labels of them (default 100, 500), in --seeds
subsets. Heads have the same form in all --modes, so that parameters are equal. Raw pixels stand in the table where a
head on them has a meaning. The oracle is the network trained from scratch with all labels for --oracle_steps steps:
what few labels are to be held against.

Rows, figures and a page of each task are in a folder of its name in the run directory; report.html there shows the
tables and pictures of all. --boundary adds boundary F to the scores of masks.
"""

import time
from typing import TYPE_CHECKING

from absl import flags

from experiments import START
from experiments.shared import cli, methods, overview, pages, runs, table
from experiments.shared.cli import FLAGS
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx.data import Dataset

flags.DEFINE_list("tasks", None, "Tasks to do, of those that the data is for. Default: all of them.")
flags.DEFINE_integer("oracle_steps", 3000, "Steps of training with all labels. 0 leaves it out.")
flags.DEFINE_integer("oracle_batch_size", 64, "Batch size of training with all labels.")
flags.DEFINE_bool("boundary", False, "Also score the boundaries of masks.")
cli.bound("oracle_steps", low=0, high=10**9)
cli.bound("oracle_batch_size", above=0)

LABELS = (100, 500)  # the defaults of flags here
MODES = ["scratch", "frozen", "last:1", "full"]
METHODS = ["vader", "simclr", "inpaint"]


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx import report

  cli.default(dataset="scenes", modes=MODES)
  compared, dataset = methods.given(methods=METHODS, encoder=methods.MAPS_ENCODER)
  cli.default(labels=methods.fitting(LABELS, dataset))
  parts = asked(dataset)
  directory = methods.open_directory("downstream", dataset, all_tasks=True)
  timings = {"start-up": time.monotonic() - START}
  once = methods.pretraining_once()
  sections = []
  for name, part in parts.items():
    cli.say(f"task: {name}")
    folder, title = directory / name, f"{name.capitalize()} on {part.name}, with few labels"
    spent = {} if sections else timings
    score = overview.further(part, FLAGS.boundary)
    outcome = methods.run_variants(
      "downstream", compared, part, folder, spent, pretrain=once, pictured=True, more=score
    )
    if FLAGS.oracle_steps:
      rows = methods.run_oracle("downstream", part, folder, spent, FLAGS.oracle_steps, FLAGS.oracle_batch_size)
      few = [row for row in outcome.rows if row["labels"] < len(part.train)]  # all, by a command without the oracle
      outcome = outcome._replace(rows=[*few, *rows])
    more = overview.extra(part, folder, outcome)
    facts = methods.budget()
    lead = pages.write_report("downstream", title, folder, name.capitalize(), outcome, spent, facts, extra=more)
    sections.append(overview.section(name, lead, folder))
  title = f"{', '.join(variant.title for variant in compared)} on {dataset.name}: {report.listed([*parts])}"
  overview.write(directory, title, FLAGS.encoder, sections, FLAGS.smoke)


def asked(dataset: "Dataset") -> "dict[str, Dataset]":
  """The tasks of --tasks, each with its data. Raises UserError, before anything is trained, for one that the data is
  not for, and for what one of them does not allow.
  """
  from sslx import nn

  known = [dataset.task.name, *dataset.others]
  given = known if FLAGS.tasks is None else FLAGS.tasks
  parts = {}
  for name in dict.fromkeys(name.strip() for name in given if name.strip()):
    if name not in known:
      raise UserError(f"--tasks={name}: {dataset.name} has no targets for it; it is for {', '.join(known)}.")
    parts[name] = part = dataset.doing(name)
    table.draw(part, cli.modes(part, nn.build(FLAGS.encoder)))
    runs.reading(part.task)
  if not parts:
    raise UserError(f"--tasks=: name at least one of {', '.join(known)}.")
  if FLAGS.oracle_steps and len(dataset.train) in cli.label_counts(dataset, cli.heldout()):
    labels = ",".join(FLAGS.labels)
    raise UserError(f"--labels={labels}: all labels are the oracle's; leave them out, or it: --oracle_steps=0.")
  return parts


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
