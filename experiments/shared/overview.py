"""What a report of several tasks shows of each: its tables, its curve, and what predictors answer beside the truth."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.shared import cli, pictures
from experiments.shared.methods import NONE
from experiments.shared.pages import Lead, Outcome, with_short_names

if TYPE_CHECKING:
  from sslx.data import Dataset
  from sslx.report.pages import Figure, Section

ALL_SCORES = "Means over label subsets, of all scores that the task has."
ORACLE = "All {labels:,} labels, from scratch (the oracle): {score}."


def extra(dataset: "Dataset", folder: Path, outcome: Outcome) -> Lead:
  """Beside the tables of methods: every score of the task, the oracle in a sentence, and pictures of answers."""
  from sslx import report
  from sslx.report import statistics

  rows = with_short_names(outcome.rows)
  everything = len(dataset.train)
  counts = sorted({row["labels"] for row in rows} - {everything})
  tables = []
  for labels in [*counts, everything]:
    cells = report.scores_cells(rows, labels)
    if cells is not None:
      tables.append(report.Table(f"All scores, {statistics.labels_text(labels)}", cells, ALL_SCORES))
  told = [
    ORACLE.format(labels=everything, score=f"{entry.score.name} {statistics.quantity(entry.score, entry.mean)}")
    for entry in report.summarise(rows)
    if (entry.labels, entry.mode) == (everything, "scratch")
  ]
  return Lead(tables, [], _drawn(dataset, folder, outcome), told)


def further(dataset: "Dataset", boundary: bool) -> Callable[[np.ndarray], dict[str, float]]:
  """Answers to the test split -> scores beside the task's own: boundary F of masks, where it is asked for."""
  from sslx.tasks.segmentation import boundary_f

  if not boundary or dataset.task.name != "segmentation":
    return lambda answers: {}
  return lambda answers: {"test_boundary_F": boundary_f(answers, dataset.test.targets())}


def _drawn(dataset: "Dataset", folder: Path, outcome: Outcome) -> "list[Figure]":
  """Answers of the network from scratch, and of the frozen encoder with the best mean score, each with the most labels
  but all of them.
  """
  from sslx import report

  summary = [e for e in report.summarise(outcome.rows) if e.mode == "frozen" and e.reads == "pretrained"]
  best = max(summary, key=lambda e: report.goodness(e.score, e.mean), default=None)
  titles = [NONE, *([best.method] if best else [])]
  shown: list[Figure] = []
  for title in titles:
    kept = {case: found for case, found in outcome.answers.get(title, {}).items() if case.labels < len(dataset.train)}
    most = max((case.labels for case in kept), default=0)
    kept = {case: found for case, found in kept.items() if case.labels == most}
    pictures.draw_predictions(dataset, folder / "figures", kept)
  for figure in pictures.drawn(folder / "figures", dataset.task.score):
    if Path(figure.path).stem.partition("_")[2] in ("scratch", "frozen"):
      title = figure.title.replace("pretrained", best.method) if best else figure.title
      shown.append(figure._replace(title=title))
  return shown


def section(name: str, lead: Lead, folder: Path) -> "Section":
  """Of a task's report, in the run directory's page."""
  from sslx.report.pages import Link, Section

  link = Link(f"{folder.name}/report.html", "The whole report", "every comparison, predictor and setting of this task")
  return Section(name.capitalize(), lead.sentences, lead.tables, lead.figures, link)


def write(directory: Path, title: str, subtitle: str, sections: "Sequence[Section]", smoke: bool) -> None:
  """Writes the page of all tasks, and says where it is."""
  from sslx.report import pages

  page = pages.write_tasks(directory / "report.html", title, subtitle, cli.command("downstream"), sections, smoke)
  cli.tell(f"All tasks: {page}")
