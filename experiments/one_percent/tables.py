"""Tables, sentences, figures and the page of the course project's comparison."""

import time
from collections.abc import Mapping, Sequence

from experiments.one_percent import PUBLISHED, black_dots, protocol
from experiments.shared import methods, pages, pictures
from experiments.shared.cli import FLAGS
from experiments.shared.table import Measured

FIXED, TUNED = "as published", "both tuned"  # the tables
NOTE = (
  "Mean ± standard deviation over seeds; the difference to scratch is paired by seed. Raw pixels go through a logistic "
  "regression that is tuned in both tables."
)


def budgets(rates: int) -> str:
  """How many settings each side chose among."""
  from sslx.tasks.classification import L2_GRID
  from sslx.tasks.linear import SCALINGS

  probes = len(L2_GRID) * len(SCALINGS)
  same = "the budgets are equal" if probes == rates else "the budgets are NOT equal"
  return (
    f"Settings to choose among by cross-validation inside the labels: {rates} learning rates for the modes that "
    f"train the encoder, {probes} of L2 and scaling for frozen: {same}."
  )


def write(shared: protocol.Shared, measured: Mapping[str, Measured], models: Sequence[black_dots.Model]) -> None:
  """Writes the report."""
  from sslx import report
  from sslx.report import figures, readings
  from sslx.report.pages import Figure

  folder, dataset = shared.directory / "figures", shared.dataset
  pictures.draw_predictions(dataset, folder, measured[FIXED].answers)
  titled = [{**row, "method": title} for title, each in measured.items() for row in each.everything]
  summary = report.summarise(titled)
  note = f"{report.scored(summary[0].score)}. {NOTE}"
  tables = [
    report.results_table(report.summarise(each.everything))._replace(title=f"{title[0].upper()}{title[1:]}", note=note)
    for title, each in measured.items()
  ]
  figures.save(figures.score_dots(summary), folder / "accuracy.png")
  gain = 100 * (PUBLISHED["frozen"] - PUBLISHED["scratch"])
  sentences = [
    *readings.method_or_tuning(measured[FIXED].rows, measured[TUNED].rows),
    budgets(len(measured[TUNED].rows[0]["settings"]["learning_rates"])),
    f"Published, one run: scratch {100 * PUBLISHED['scratch']:.2f}%, frozen {100 * PUBLISHED['frozen']:.2f}%: "
    f"{gain:+.2f} points.",
  ]
  notes, shown = [note], []
  if models:
    begin = time.monotonic()
    dots = black_dots.look(models, shared.part)
    shared.timings["black dots"] = time.monotonic() - begin
    if dots.pictures:
      figures.save(figures.picture_rows(dots.pictures), folder / "black_dots.png")
      shown.append(Figure("Black dots?", "Training images and their reconstructions.", folder / "black_dots.png"))
      tables.append(report.Table("Black dots", dots.cells, black_dots.NOTE))
      sentences += dots.sentences
      notes.append(black_dots.NOTE)
  theirs = pictures.drawn(protocol.pretrained(shared, 0).directory / "figures", dataset.task.score)
  lead = pages.Lead(tables, notes, [*pictures.drawn(folder, dataset.task.score), *theirs, *shown], sentences)
  title = f"{FLAGS.method} on {dataset.name}, then few labels: the method, or the hyper-parameters?"
  facts = {"train_fraction": FLAGS.train_fraction, "fixed_learning_rate": FLAGS.fixed_learning_rate}
  outcome, facts = pages.Outcome(titled), {**methods.budget(), **facts}
  pages.write_report(
    "one_percent", title, shared.directory, "", outcome, shared.timings, facts, lead=lead,
    told=lambda entry: entry.method == TUNED,
  )  # fmt: skip
