"""What the experiments that compare modes share: train what is missing, test once, rows, figures, report."""

import dataclasses
import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli
from experiments.shared.cli import FLAGS
from experiments.shared.runs import upgraded
from sslx.evaluation.recipe import Recipe
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset
  from sslx.evaluation.bench import Bench, Case, Labelled
  from sslx.report.pages import Figure
  from sslx.types import Score

PICTURED = 40  # test images in the figure of sample predictions
FIGURES = (  # file, title, caption; those that a run has are shown in this order, {score} and {Score} being its name
  ("accuracy", "Test {score}", "Mean over label subsets; whiskers are one standard deviation, points the subsets."),
  ("labels", "{Score} against number of labels", "Mean and standard deviation over label subsets."),
  ("loss", "Pretraining loss", "Each point is the mean over the steps since the one before."),
  ("pretext", "What the method sees and makes", "The first training images, after pretraining."),
  ("views", "The views", "Each operation alone, then two views with all of them. Every image draws its own strengths."),
  ("predictions_scratch", "Sample predictions, scratch", "The first test images, first label subset."),
  ("predictions_frozen", "Sample predictions, frozen", "The first test images, first label subset."),
  ("confusion_scratch", "Confusion, scratch", "First label subset, whole test split."),
  ("confusion_frozen", "Confusion, frozen", "First label subset, whole test split."),
)
Row = dict[str, Any]
Timings = dict[str, float]


class Line(NamedTuple):
  """What the rows of a pretrained encoder say of it, and the directory that they are kept in."""

  experiment: str
  directory: Path
  method: str
  encoder: str
  pretraining: dict[str, Any] | None

  @property
  def names(self) -> Row:
    """As in the rows."""
    return {"method": self.method, "encoder": self.encoder, "pretraining": self.pretraining}


class Measured(NamedTuple):
  """The rows of a line, and the test outputs of the cases that results.jsonl lacked."""

  rows: list[Row]
  outputs: "Mapping[Case, np.ndarray]"


def draw(dataset: "Dataset") -> "Labelled":
  """The label subsets that --labels, --seeds and --validation ask for."""
  from sslx.evaluation.bench import draw

  heldout = cli.heldout()
  return draw(dataset, cli.label_counts(dataset, heldout), FLAGS.seeds, heldout)


def bench(
  dataset: "Dataset",
  labelled: "Labelled",
  pretrained: "nn.Representation",
  recipe: Recipe | None = None,
  seed: int | None = None,
) -> "Bench":
  """What modes work with; recipe, seed: in place of the flags'."""
  from sslx.evaluation.bench import Bench

  return Bench(dataset, labelled, pretrained, recipe or cli.recipe(), FLAGS.seed if seed is None else seed, cli.say)


def check_neighbours(modes: Mapping[int, Sequence[str]]) -> None:
  """Raises UserError for a knn:K among {labels: modes} of more neighbours than labels, before any training."""
  for labels, names in modes.items():
    for name, _, k in (mode.partition(":") for mode in names):
      if name == "knn" and int(k) > labels:
        raise UserError(f"--modes=knn:{k}: k must be between 1 and the number of labels ({labels:,}).")


def compare(line: Line, bench: "Bench", modes: Sequence[str], timings: Timings) -> None:
  """Trains the predictors that results.jsonl lacks, tests them once, appends their rows, and writes the report.

  modes: what is compared, beside the controls that can do the task.
  """
  from sslx.evaluation.modes import controls, doable

  modes = [*doable(controls(modes), bench.dataset), *modes]
  _report(line, bench.dataset, run_modes(line, bench, modes, timings), timings)


def run_modes(
  line: Line,
  bench: "Bench",
  modes: Sequence[str] | Mapping[int, Sequence[str]],
  timings: Timings,
  more: Callable[[np.ndarray], Row] = lambda outputs: {},
) -> Measured:
  """The rows of all modes, labels and subsets.

  modes: at every number of labels, or for each of them. more: test outputs [N,K] -> further entries of a row.
  What is missing is trained first; then the test split is read once, and the rows appended. Where all labels are
  used, the subsets are the same, and only the first counts.
  """
  from sslx.evaluation import evaluate
  from sslx.evaluation.bench import Case
  from sslx.evaluation.modes import mode
  from sslx.report import records

  results, dataset, labelled = line.directory / "results.jsonl", bench.dataset, bench.labelled
  targets = dataset.train.targets(), dataset.test.targets()
  crc = zlib.crc32(b"".join(y.tobytes() for y in targets))  # rows of other labels or another test split are not these
  features = bench.pretrained.reading
  settings = {"features": features, "validation": FLAGS.validation, "labels_crc32": crc, **bench.recipe.to_json()}
  names = json.loads(json.dumps(line.names))  # as a row that is read back has them
  everything = len(dataset.train) - (0 if labelled.heldout is None else len(labelled.heldout))
  first = next(iter(labelled.subsets))
  cases = [
    Case(mode, n, seed)
    for n in labelled.subsets[first]
    for mode in dict.fromkeys(modes[n] if isinstance(modes, Mapping) else modes)
    for seed in labelled.subsets
    if n < everything or seed == first
  ]

  def known_rows() -> dict[Case, Row]:
    wanted = {"experiment": line.experiment, "dataset": dataset.name, **names}
    rows = [upgraded(row) for row in records.read_rows(results)]
    rows = [row for row in rows if all(row.get(k) == v for k, v in wanted.items()) and settings_of(row) == settings]
    return {Case(row["mode"], row["labels"], row["subset_seed"]): row for row in rows}

  known = known_rows()
  missing = [case for case in cases if case not in known]
  if not missing:
    return Measured([known[case] for case in cases], {})
  begin = time.monotonic()
  trained = evaluate.train(bench, missing)
  timings["training on labels"] = timings.get("training on labels", 0) + time.monotonic() - begin

  begin = time.monotonic()
  scored = evaluate.test(trained, dataset.test, bench.task)
  score = bench.task.score
  shared = {"command": cli.command(line.experiment), "flags": cli.given_flags(), **records.provenance()}
  for case in missing:
    predictor, seconds, outputs, scores = scored[case]
    kind = mode(case.mode)
    row = {
      "experiment": line.experiment, **line.names, "dataset": dataset.name, "features": features, **case._asdict(),
      "reads": kind.reads, "trains_encoder": kind.trains_encoder,
      "task": bench.task.name, "score": score._asdict(), **{f"test_{name}": value for name, value in scores.items()},
      "parameters_total": predictor.total, "parameters_trainable": predictor.trainable, "seconds": seconds,
      "chosen": predictor.head.chosen, "seed": bench.seed, "settings": settings, **more(outputs), **shared,
    }  # fmt: skip
    records.append_row(results, row)
  timings["testing"] = timings.get("testing", 0) + time.monotonic() - begin
  known = known_rows()
  return Measured([known[case] for case in cases], {case: scored[case].outputs for case in missing})


def run_pairs(
  of_seed: "Callable[[int], tuple[Line, Bench]]",
  labelled: "Labelled",
  modes: Sequence[str],
  timings: Timings,
  more: Callable[[np.ndarray], Row] = lambda outputs: {},
) -> Measured:
  """`run_modes` where each subset has a pretraining of its own: of_seed(seed) is its
  line, and a bench of any labels."""
  rows, outputs = [], {}
  for seed, subset in labelled.subsets.items():
    line, bench = of_seed(seed)
    bench = dataclasses.replace(bench, labelled=labelled._replace(subsets={seed: subset}))
    measured = run_modes(line, bench, modes, timings, more)
    rows += measured.rows
    outputs |= measured.outputs
  return Measured(rows, outputs)


def settings_of(row: Mapping[str, Any]) -> Row:
  """What a row's predictor was trained and tested with; a row that is older than a setting has its default."""
  settings = row.get("settings", {})
  kept = {name: settings.get(name) for name in ("features", "validation", "labels_crc32")}
  return {**kept, **Recipe.read(settings).to_json()}


def _report(line: Line, dataset: "Dataset", measured: Measured, timings: Timings) -> None:
  from rich.console import Console

  from sslx import report
  from sslx.report import figures, pages, records

  begin, rows = time.monotonic(), measured.rows
  folder, summary = line.directory / "figures", report.summarise(rows)

  def save(figure: Any, name: str) -> None:
    path = folder / f"{name}.png"
    if figure is None:
      path.unlink(missing_ok=True)  # of other --labels
    else:
      figures.save(figure, path)

  save(figures.score_bars(summary), "accuracy")
  save(figures.label_curve(summary), "labels")
  draw_predictions(dataset, folder, measured.outputs, min(row["labels"] for row in rows))
  timings["report"] = time.monotonic() - begin

  records.write_rows(line.directory / "summary.jsonl", map(report.to_json, summary))
  console = Console(soft_wrap=True)
  console.print(report.rich_table(report.results_table(summary)))
  console.print(report.rich_table(report.parameters_table(summary)))
  for sentence in report.verdict(summary):
    cli.tell(sentence)
  cli.tell("Time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in timings.items()) + ".")
  page = pages.write_html(
    line.directory,
    f"{line.method} on {dataset.name}: what is it worth with few labels?",
    cli.command(line.experiment),
    cli.flag_names(line.pretraining or {}, rows[0]["settings"]),
    rows,
    summary,
    drawn(folder, dataset.task.score),
    timings,
  )
  cli.tell(f"Report: {page}")


def drawn(folder: Path, score: "Score") -> "list[Figure]":
  """Those of FIGURES that are in `folder`; score: what they are of."""
  from sslx.report.pages import Figure

  words = {"score": score.name, "Score": score.name.capitalize()}
  figures = [Figure(title.format(**words), caption, folder / f"{name}.png") for name, title, caption in FIGURES]
  return [figure for figure in figures if Path(figure.path).exists()]


def draw_predictions(dataset: "Dataset", folder: Path, outputs: "Mapping[Case, np.ndarray]", labels: int) -> None:
  """Draws what scratch and frozen said of the test images, as far as they are among `outputs`, into `folder`."""
  from sslx.report import figures

  task, test, names = dataset.task, dataset.test, dataset.task.names
  if task.probabilities is None:  # what is drawn is classes
    return
  for case, values in outputs.items():
    if case.mode not in ("scratch", "frozen") or (case.labels, case.subset_seed) != (labels, 0):
      continue
    confidence, guess = task.probabilities(values).max(1), task.decide(values)
    first, y = np.arange(min(PICTURED, len(test))), test.targets()
    pictures = dataset.modality.draw(test.x[first])
    samples = figures.predictions(pictures, y[first], guess[first], names, confidence[first])
    figures.save(samples, folder / f"predictions_{case.mode}.png")
    figures.save(figures.confusion(y, guess, names), folder / f"confusion_{case.mode}.png")
