"""Does it hold for speakers who were never heard?

Each speaker of spoken_digits in turn is left out of pretraining and of the labels, and is the test.

    python -m experiments.new_speakers --method=cpc_audio
    python -m experiments.new_speakers --methods=cpc_audio,simclr --labels=600,all
    python -m experiments.new_speakers --method=cpc_audio --augment=auto

There are as many folds as speakers, six, and a pretraining of each method in each; intervals are over the folds, which
are paired: every mode meets the same unknown voices. Recordings of the same voices in training and test, as in the
official split, say little of new ones: voices differ by more than takes do. Stopped and started again, it goes on fold
by fold. Heads are least squares (--head=ridge), whose strength is chosen by speakers left out of the labelled ones; for
--augment, with which every mode learns from random views of its labelled recordings too, see docs/sound.md.
"""

import time
from typing import Any

from experiments import START
from experiments.shared import cli, methods, pages, runs
from experiments.shared.cli import FLAGS
from sslx.types import UserError

MODES = ["scratch", "frozen", "last:1", "full"]  # the defaults of flags here
DATASET = "spoken_digits"


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.data.spoken import SPEAKERS

  cli.default(dataset=DATASET, modes=MODES, labels=["all"], seeds=1, head="ridge")
  if FLAGS.dataset != DATASET:
    raise UserError(f"--dataset={FLAGS.dataset}: this is of the speakers of {DATASET}; leave --dataset out.")
  if FLAGS.checkpoint is not None:
    raise UserError("--checkpoint: its pretraining has heard all speakers but one at most; give --method instead.")
  if FLAGS.seeds != 1:
    raise UserError(f"--seeds={FLAGS.seeds}: the folds are its repetitions, with one subset each; leave --seeds out.")
  variants, dataset = methods.given(methods=["cpc_audio"])
  directory = methods.open_directory("new_speakers", dataset)
  timings = {"start-up": time.monotonic() - START}
  rows, lines, figures = [], [], []
  for fold, speaker in enumerate(SPEAKERS):
    cli.say(f"fold {fold + 1}: {speaker} is new")
    held_out = runs.load_dataset(f"{DATASET}:speaker={speaker}")
    made = methods.run_variants("new_speakers", variants, held_out, directory, timings, fold=fold)
    rows += [{**row, "dataset": DATASET, "settings": of_no_fold(row["settings"])} for row in made.rows]
    lines, figures = lines or made.lines, figures or made.figures
  outcome = pages.Outcome(rows, lines, figures)
  title = f"{', '.join(v.title for v in variants)} on {DATASET}: speakers who were never heard"
  note = "Means, deviations and intervals are over the speakers left out, not over label subsets."
  pages.write_report("new_speakers", title, directory, "New speakers", outcome, timings, methods.budget(), note=note)


def of_no_fold(settings: dict[str, Any]) -> dict[str, Any]:
  """A row's settings without what tells folds apart, so that one table holds them."""
  return {**settings, "data": "", "labels_crc32": 0}


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
