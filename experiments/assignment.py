"""Self-supervised methods against supervised training.

Each method's network frozen, partly and fully trained, with 100 labels and with all, against one that only labels have
trained. The report says in words what wins.

    python -m experiments.assignment --methods=rotation,simclr
    python -m experiments.assignment --dataset=fashion_mnist --labels=100,1000
    python -m experiments.assignment --flagfile=experiments/flags/assignment.flags

The last line makes the table of docs/comparisons.md. What a course asks for: on a data set of choice, at least two
self-supervised methods against a supervised network with exactly as many parameters (asserted, and in the table), its
encoder frozen (`frozen`), its last block trained (`last:1`) or all of it (`full`), with 100 labels and with all of
them. The report reads each method's table in words, from the numbers: which mode wins where, by how much, and whether
that is more than chance.

Modes that train by gradient make at least 150 steps and 5 passes over the labels, or --finetune_epochs.

Measured with the flag file on two CPU cores, in 11 minutes (no published figure). 100 labels, five subsets: scratch
87.8 ± 1.7; rotation frozen 87.2 ± 2.1, full 89.8 ± 1.0; simclr frozen 92.9 ± 0.4, full 92.4 ± 0.8. All 60,000, one
training of each: scratch 99.4; rotation 98.6, 99.5; simclr 99.1, 99.5: fully trained, no measurable difference to
scratch.
"""

import time
from typing import TYPE_CHECKING

from experiments import START
from experiments.shared import cli, methods, pages
from experiments.shared.cli import FLAGS
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import report

METHODS = ["rotation", "simclr"]  # the defaults of flags here
LABELS = ["100", "all"]
FINETUNE_EPOCHS = 5.0
HEADING = "Frozen, partly and fully trained"


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx import report
  from sslx.evaluation.modes import CONTROLS, MODES, mode
  from sslx.report import figures, readings

  if FLAGS["method"].present or FLAGS.checkpoint:
    raise UserError("--method, --checkpoint: several methods are compared here; name them with --methods=A,B.")
  compared, dataset = methods.given(methods=METHODS)
  if len(compared) < 2:
    raise UserError(f"--methods={','.join(FLAGS.methods)}: name at least two self-supervised methods.")
  cli.default(labels=LABELS, finetune_epochs=FINETUNE_EPOCHS)
  counts = cli.label_counts(dataset, cli.heldout())
  directory = methods.open_directory("assignment", dataset)
  timings = {"start-up": time.monotonic() - START}
  outcome = methods.run_variants("assignment", compared, dataset, directory, timings)
  summary = report.summarise(outcome.rows)

  known = [row for row in outcome.rows if row["mode"].partition(":")[0] in MODES]  # of a mode that is gone, any
  sizes = {row["parameters_total"] for row in known if mode(row["mode"]).whole}
  assert len(sizes) == 1, f"the compared networks differ in their number of parameters: {sizes}"
  sentences = [f"Every network has {sizes.pop():,} parameters, encoder and head."]
  for labels in counts:
    at = [entry for entry in summary if entry.labels == labels and entry.mode not in CONTROLS]
    for variant in compared:
      mine = [e for e in at if e.method in (variant.title, methods.NONE)]
      ranked = readings.ranking(mine, lambda e: e.mode, len(dataset.test))
      sentences.append(readings.reading(f"{variant.title}, {labels:,} labels", ranked))
    overall = readings.ranking(at, lambda e: called(e), len(dataset.test))
    sentences.append(readings.reading(f"All methods, {labels:,} labels", overall))

  score = summary[0].score
  tables, note = [], report.curve_note(score, folded=report.folded(summary))
  for variant in compared:
    entries = [e for e in summary if e.method in (variant.title, methods.NONE)]
    tables.append(report.Table(variant.title, report.curve_cells(entries), note))
  figures.save(figures.score_dots(summary), directory / "figures/accuracy.png")
  lead = pages.Lead(tables, [note, readings.note(score)], [], sentences)
  title = f"{', '.join(v.title for v in compared)} and supervised training on {dataset.name}"
  pages.write_report("assignment", title, directory, HEADING, outcome, timings, methods.budget(), lead=lead)


def called(entry: "report.Entry") -> str:
  """`simclr frozen`, or `scratch`, which belongs to no method."""
  return entry.mode if entry.method == methods.NONE else f"{entry.method} {entry.mode}"


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
