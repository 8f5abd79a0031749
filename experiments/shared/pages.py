"""The report of a comparison of methods: tables on the terminal and in files, sentences, figures, and a page."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.shared import cli
from experiments.shared.publish import publish
from experiments.shared.table import Row, Timings
from experiments.shared.terminal import announce

if TYPE_CHECKING:
  from experiments.shared.pictures import Answers
  from sslx import report
  from sslx.evaluation.bench import Case
  from sslx.report import pages

METRICS, RANK = "pretext metrics", "heldout_feature_rank"
SPARE = ("images/s", "loss", "active", "squared error")  # of `methods_table`, on a narrow terminal


class Outcome(NamedTuple):
  """The rows of a comparison, and what it has to show."""

  rows: list[Row]
  lines: list[Row] = []
  """Of each method: title, loss, metrics ..., or why it was left out."""
  figures: list[tuple[str, Path]] = []
  """Title -> what the method sees and makes."""
  answers: "Mapping[str, Mapping[Case, Answers]]" = {}
  """Title -> what its classifiers say of the test images, where that was kept."""


class Lead(NamedTuple):
  """What a report shows of the scores."""

  tables: "Sequence[report.Table]"
  notes: Sequence[str]
  """Once for all tables."""
  figures: "Sequence[pages.Figure]"
  sentences: Sequence[str] = ()
  answer: "pages.Figure | None" = None
  """In place of the scores as dots, beside the answer."""


def methods_table(lines: Sequence[Row]) -> "report.Cells":
  """What each method ended with while pretraining, and why one was left out."""
  from sslx import report

  knn = next((name for line in lines for name in line if name.startswith("heldout_knn_")), "")
  columns = ("loss", "heldout_loss", METRICS, knn, RANK, "squared error", "active", "images/s", "left out")
  full = [{**line, METRICS: metrics_text(line)} for line in lines]
  known = [name for name in columns if any(line.get(name, "") != "" for line in full)]
  rows = [
    [line["method"], *(f"{v:.4g}" if isinstance(v := line.get(k, ""), float) else str(v) for k in known)]
    for line in full
  ]
  headers = ["method", *(name.replace("heldout_", "held-out ").replace("_", " ") for name in known)]
  return report.Cells(headers, rows)


def metrics_text(line: Mapping[str, Any]) -> str:
  """A method's own metrics, on held-out images where there are any: `rotation accuracy 0.954`."""
  others = ("loss", RANK, "squared error", "active", "images/s")  # with a column of their own
  metrics = {
    k: v for k, v in line.items() if isinstance(v, float) and k not in others and not k.startswith("heldout_knn_")
  }
  held = {k.removeprefix("heldout_"): v for k, v in metrics.items() if k.startswith("heldout_")}
  return ", ".join(f"{k.replace('_', ' ')} {v:.3g}" for k, v in (held or metrics).items() if k != "loss")


def write_report(
  experiment: str,
  title: str,
  directory: Path,
  heading: str,
  outcome: Outcome,
  timings: Timings,
  config: Row,
  baseline: str = "scratch",
  note: str | None = None,
  lead: Lead | None = None,
  label_names: Mapping[int, str] | None = None,
  told: "Callable[[report.Entry], bool] | None" = None,
  extra: Lead | None = None,
) -> Lead:
  """Tables in tables.md, in summary.jsonl and on the terminal, figures, and report.html.

  baseline: the mode that differences are taken to; note: what the tables' arrows and lines mean; lead: in place of a
  table for each number of labels and its figures; label_names: what numbers of labels are called in titles; told: which
  entries, the baseline's among them, the large numbers of the page are of, where not of all; extra: tables, figures and
  sentences beside these. Returns what it showed.
  """
  announce("drawing the report")
  from sslx import report
  from sslx.report import pages

  begin = time.monotonic()
  folder = directory / "figures"
  rows = with_short_names(outcome.rows)
  summary = report.summarise(rows, baseline)
  note = (
    f"{report.scored(summary[0].score)}. {note}"
    if note
    else f"{report.curve_note(summary[0].score, folded=report.folded(summary))} {UNTRAINED}"
  )
  verdicts = report.against(rows, "random")
  first = summary if told is None else list(filter(told, summary))
  answers = report.answer(first) if lead is None else []
  if lead is None:
    lead = by_labels(heading, summary, verdicts, note, folder, label_names or {}, baseline)
  if extra is not None:
    lead = lead._replace(
      tables=[*lead.tables, *extra.tables],
      figures=[*extra.figures, *lead.figures],
      sentences=[*lead.sentences, *extra.sentences],
    )
  tables, folded = list(lead.tables), []
  printed = [shown._replace(note="") for shown in tables[:-1]]
  printed += [shown._replace(note=" ".join(lead.notes)) for shown in tables[-1:]]  # once for all of them
  if outcome.lines:
    folded.append(report.Table(f"{heading}: pretraining", methods_table(outcome.lines), PRETRAINING_NOTE, SPARE))
    printed.append(folded[-1]._replace(note=""))
  pictures = [
    pages.Figure(f"{name}: what it sees and makes", "Training images.", path) for name, path in outcome.figures
  ]
  figures = [*pictures, *lead.figures]
  timings["report"] = time.monotonic() - begin
  said = [*report.constant_features(summary, answers), *verdicts.values(), *report.small_tests(summary)]
  texts = [f"{shown.title}\n\n{report.markdown(shown.cells)}" for shown in [*tables, *folded]]
  told_first = [answer.text for answer in answers]
  notes = [*(f"- {sentence}" for sentence in [*told_first, *lead.sentences, *said]), "", *lead.notes]
  notes += [PRETRAINING_NOTE] if outcome.lines else []
  publish(
    directory,
    title,
    cli.command(experiment),
    cli.flag_names(config, rows[0]["settings"]),
    rows,
    summary,
    figures,
    timings,
    tables=printed,
    sentences=[*(f"The best, {sentence}" for sentence in report.best(summary, answers)), *said],
    first=tables,
    lead=lead.sentences,
    markdown="\n".join([*texts, *notes]) + "\n",
    opening=told_first,
    answer=lead.answer,
    folded=folded,
    told=first,
  )
  return lead._replace(sentences=[*told_first, *lead.sentences])


def by_labels(
  heading: str,
  summary: "Sequence[report.Entry]",
  verdicts: Mapping[int, str],
  note: str,
  folder: Path,
  label_names: Mapping[int, str],
  baseline: str,
) -> Lead:
  """A table of the methods for each number of labels, and the curve of frozen encoders. Their dots are a file too."""
  from sslx import report
  from sslx.report import figures, statistics
  from sslx.report.pages import Figure

  tables, judged = [], {entry.labels for entry in summary if entry.reads == "pretrained"}
  for labels in sorted(judged or {entry.labels for entry in summary}):
    verdict = f"{verdicts[labels]} " if labels in verdicts else ""
    name = label_names.get(labels, statistics.labels_text(labels))
    tables.append(report.Table(f"{heading}, {name}", report.methods_cells(summary, labels), verdict + note))
  figures.save(figures.score_dots(summary), folder / "methods.png")
  shown, curve = [], figures.label_curve([e for e in summary if e.mode in ("frozen", baseline)])
  if curve is not None:
    name = statistics.title(summary[0].score)
    shown.append(Figure(f"{heading}: frozen encoders", f"{name} against labels.", folder / "labels.png", "plot"))
    figures.save(curve, folder / "labels.png")
  return Lead(tables, [note], shown)


def with_short_names(rows: Sequence[Row]) -> list[Row]:
  """The rows; those of several data sets with `digits` for `npz:/data/digits.npz`, which is a column's name then."""
  full = dict.fromkeys(row["dataset"] for row in rows)
  short = {name: short_name(name) for name in full}
  if len(full) == 1 or len(set(short.values())) < len(full):
    return list(rows)
  return [{**row, "dataset": short[row["dataset"]]} for row in rows]


def short_name(dataset: str) -> str:
  """`digits` of `npz:/data/digits.npz`; `scenes:one` stays, as settings alone say nothing of what they are of."""
  from sslx.data import DATASETS

  scheme, _, argument = dataset.partition(":")
  has_settings = scheme in DATASETS and DATASETS[scheme].argument.startswith("[")
  if has_settings:
    return dataset
  of_several = [part for part in Path(argument).parts if not set(part) & set("*?[{")]  # of a glob, its folder
  return Path(of_several[-1]).stem if of_several else dataset


UNTRAINED = "The line 'no pretraining' is a random encoder, frozen, and training from scratch under 'full'."
PRETRAINING_NOTE = (
  "loss: mean over the last steps of pretraining; held-out loss and pretext metrics: at its end, on training images "
  "that it did not train on; knn accuracy: of those by their labels, each by its 20 nearest others; feature rank: how "
  "many directions their features spread over. squared error: of reconstructions of test images, per pixel in [0, 1]; "
  "active: fraction of the code's units above 1% of the largest. images/s: median while pretraining."
)
