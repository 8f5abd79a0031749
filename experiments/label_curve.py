"""How many labels does pretraining save?

Draws accuracy against the number of labels, and says how many labels training from scratch needs to catch up.

    python -m experiments.label_curve --method=simclr
    python -m experiments.label_curve --methods=denoise,simclr --seeds=3
    python -m experiments.label_curve --checkpoint=DIR --at=30

Pretrains with --method or --methods, or starts from --checkpoint, and trains --modes (default scratch, full, frozen) on
nested, balanced subsets of --labels (default 10, 30, 100 ... 10,000, as far as the data go), --seeds of each. The
figure is the one of Henaff et al. (Data-Efficient Image Recognition with Contrastive Predictive Coding, 2020, arXiv
1905.09272); the table says how many labels training from scratch needs to be as accurate as the pretrained encoder: the
ratio of the two, less one, is the utility of Newell & Deng (How Useful is Self-Supervised Pretraining for Visual
Tasks?, 2020, arXiv 2003.14323); the table's note says how it is read off. Scratch is given every chance: at least 20
passes over the labels, or --finetune_epochs, and as many for `full`.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from experiments import START
from experiments.shared import cli, methods, pages
from experiments.shared.cli import FLAGS
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx.data import Dataset

flags.DEFINE_integer("at", None, "How many labels are told of in words. Default: 100, or the middle of --labels.")

LABELS = (10, 30, 100, 300, 1000, 3000, 10_000)  # the defaults of flags here
MODES = ["scratch", "full", "frozen"]
FINETUNE_EPOCHS = 20.0
AT = 100
NEEDED_NOTE = (
  "How many labels training from scratch needs to be as good as the pretrained encoder is with the number at the "
  "head of the column, and how many times as many these are: by its mean curve, straight between the numbers of labels "
  "that it was trained with, in their logarithm. >: it does not get there with the most; ≤: it is there with the "
  "fewest."
)


def main() -> None:
  """Runs the experiment on the parsed flags."""
  compared, dataset = methods.given()
  cli.default(labels=methods.fitting(LABELS, dataset), modes=MODES, finetune_epochs=FINETUNE_EPOCHS)
  curve("label_curve", compared, dataset)


def curve(experiment: str, compared: Sequence[methods.Variant], dataset: "Dataset") -> None:
  """Trains `compared` at every number of --labels, and writes the curves, the labels that are saved, and the report.

  Raises:
    UserError: --at is none of --labels.
  """
  from sslx import report
  from sslx.report import figures, labels_saved, statistics
  from sslx.report.pages import Figure

  counts = cli.label_counts(dataset, cli.heldout())
  at = FLAGS.at or (AT if AT in counts else counts[len(counts) // 2])
  if at not in counts:
    raise UserError(f"--at={at}: name one of --labels: {', '.join(map(str, counts))}.")
  directory = methods.open_directory(experiment, dataset)
  timings = {"start-up": time.monotonic() - START}
  outcome = methods.run_variants(experiment, compared, dataset, directory, timings)
  summary = report.summarise(outcome.rows)
  needs = labels_saved.labels_needed(summary)
  score, note = summary[0].score, report.curve_note(summary[0].score, folded=report.folded(summary))
  heading = f"{statistics.title(score)} against number of labels"
  lead = None
  if needs:
    sign = 1 if score.higher_is_better else -1
    first = max((need for need in needs if need.labels == at), key=lambda need: sign * need.value)
    spans = [figures.Span(at, first.needed, first.value, f"{labels_saved.times_text(first)} the labels")]
    path = directory / "figures/labels.png"
    drawing = figures.label_curve([e for e in summary if e.mode != "raw"], spans)
    assert drawing is not None  # scratch has several numbers of labels
    figures.save(drawing, path)
    caption = (
      f"Mean and standard deviation over label subsets. The arrow: from {first.name} at {at:,} labels to scratch."
    )
    tables = [
      report.Table(heading, report.curve_cells(summary), note),
      report.Table("Labels that training from scratch needs", labels_saved.needed_cells(needs), NEEDED_NOTE),
    ]
    told, drawn = labels_saved.needed_sentences(needs, at), Figure(heading, caption, path, "plot")
    lead = pages.Lead(tables, [note, NEEDED_NOTE], [], told, drawn)
  title = f"{', '.join(v.title for v in compared)} on {dataset.name}: {heading.lower()}"
  facts = methods.budget()
  pages.write_report(
    experiment, title, directory, "Modes", outcome, timings, facts, lead=lead, told=lambda entry: entry.labels == at
  )


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
