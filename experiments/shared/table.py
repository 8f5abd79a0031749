"""What the experiments that compare modes share: train what is missing, test once, rows, tables, figures, report."""

import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments.shared import cli as common
from sslx.types import UserError

FLAGS = flags.FLAGS

PICTURED = 40  # test images in the figure of sample predictions
FIGURES = (  # file, title, caption; those that a run has are shown in this order
  ("accuracy", "Test accuracy", "Mean over label subsets; whiskers are one standard deviation, points the subsets."),
  ("labels", "Accuracy against number of labels", "Mean and standard deviation over label subsets."),
  ("loss", "Pretraining loss", "Each point is the mean over the steps since the one before."),
  ("pretext", "What the method sees and makes", "The first training images, after pretraining."),
  ("views", "The views", "Each operation alone, then two views with all of them. Every image draws its own strengths."),
  ("predictions_scratch", "Sample predictions, scratch", "The first test images, first label subset."),
  ("predictions_frozen", "Sample predictions, frozen", "The first test images, first label subset."),
  ("confusion_scratch", "Confusion, scratch", "First label subset, whole test split."),
  ("confusion_frozen", "Confusion, frozen", "First label subset, whole test split."),
)


class Subject(NamedTuple):
  """A pretrained encoder, what it is called in the rows, and the data to compare it on."""

  experiment: str
  directory: Path
  dataset: Any  # sslx.data.Dataset
  encoder: Any  # sslx.nn.Encoder
  features: str
  names: dict[str, Any]  # method, encoder, pretraining: as in the rows
  seed: int
  pretrained: dict[str, Any]  # {"params", "stats"}


def draw(dataset: Any) -> Any:
  """The label subsets that --labels, --seeds and --validation ask for."""
  from sslx.evaluation.compare import draw

  heldout = common.heldout()
  return draw(dataset.train.labels, common.label_counts(dataset, heldout), FLAGS.seeds, heldout)


def check_neighbours(modes: Mapping[int, Sequence[str]]) -> None:
  """Raises UserError for a knn:K among {labels: modes} of more neighbours than there are labels, before any training."""
  for labels, names in modes.items():
    for mode in names:
      if mode.startswith("knn:") and int(mode.partition(":")[2]) > labels:
        raise UserError(f"--modes={mode}: k must be between 1 and the number of labels ({labels:,}).")


def compare(subject: Subject, labelled: Any, timings: dict[str, float]) -> None:
  """Trains the classifiers that results.jsonl lacks, tests them once, appends their rows, and writes the report."""
  from sslx.evaluation.compare import check_modes, controls

  modes = check_modes(FLAGS.modes, subject.encoder.block_names)
  modes = (*controls(modes), *modes)
  rows, predicted = run_modes(subject, modes, labelled, timings)
  _report(subject, rows, predicted, timings)


def run_modes(
  subject: Subject,
  modes: Sequence[str] | Mapping[int, Sequence[str]],
  labelled: Any,
  timings: dict[str, float],
  recipe: Any = None,
  more: Callable[[np.ndarray], dict[str, Any]] = lambda logits: {},
) -> tuple[list[dict[str, Any]], dict[Any, np.ndarray]]:
  """(rows of all modes, labels and subsets, {task: test logits} of those that results.jsonl lacked).

  modes: at every number of labels, or for each of them. recipe: the sslx.finetune.Recipe in place of the flags'.
  more: test logits f32 [N,K] -> further entries of a row.
  What is missing is trained first; then the test images are read once, and the rows appended. Where all labels are
  used, the subsets are the same, and only the first counts.
  """
  from sslx.report import records
  from sslx.evaluation.compare import Task, logits, train_classifiers
  from sslx.evaluation.finetune import encode_fn

  recipe = recipe or common.recipe()
  results = subject.directory / "results.jsonl"
  labels = (subject.dataset.train.labels, subject.dataset.test.labels)
  crc = zlib.crc32(b"".join(a.tobytes() for a in labels))  # rows of other labels or another test split are not these
  settings = {"features": subject.features, "validation": FLAGS.validation, "labels_crc32": crc, **recipe._asdict()}
  settings = json.loads(json.dumps(settings))  # as a row that is read back has it
  names = json.loads(json.dumps(subject.names))
  everything = len(subject.dataset.train) - (0 if labelled.heldout is None else len(labelled.heldout))
  first = next(iter(labelled.subsets))
  tasks = [
    Task(mode, n, seed)
    for n in labelled.subsets[first]
    for mode in dict.fromkeys(modes[n] if isinstance(modes, Mapping) else modes)
    for seed in labelled.subsets
    if n < everything or seed == first
  ]

  def mine() -> dict[Task, dict[str, Any]]:
    wanted = {"experiment": subject.experiment, "dataset": subject.dataset.name, **names}
    rows = [r for r in records.read_rows(results) if all(r.get(k) == v for k, v in wanted.items())]
    rows = [r for r in rows if settings_of(r) == settings]
    return {Task(r["mode"], r["labels"], r["subset_seed"]): r for r in rows}

  known = mine()
  todo = [task for task in tasks if task not in known]
  if not todo:
    return [known[task] for task in tasks], {}
  begin = time.monotonic()
  encode = encode_fn(subject.encoder, subject.features)
  trained = train_classifiers(
    todo,
    subject.dataset,
    labelled,
    subject.encoder,
    subject.features,
    encode,
    subject.pretrained,
    recipe,
    subject.seed,
    common.say,
  )
  timings["training on labels"] = timings.get("training on labels", 0) + time.monotonic() - begin

  begin = time.monotonic()
  test = subject.dataset.test
  predicted = logits(trained, encode, test)
  shared = {"command": common.command(subject.experiment), "flags": common.given_flags(), **records.provenance()}
  for task in todo:
    classifier, seconds = trained[task]
    row = {
      "experiment": subject.experiment, **subject.names, "dataset": subject.dataset.name, "features": subject.features,
      **task._asdict(), "test_accuracy": float((predicted[task].argmax(1) == test.labels).mean()),
      "parameters_total": classifier.total, "parameters_trainable": classifier.trainable, "seconds": seconds,
      "chosen": classifier.head.chosen, "seed": subject.seed, "settings": settings, **more(predicted[task]), **shared,
    }  # fmt: skip
    records.append_row(results, row)
  timings["testing"] = timings.get("testing", 0) + time.monotonic() - begin
  known = mine()
  return [known[task] for task in tasks], predicted


def run_pairs(
  subject: Callable[[int], Subject],
  modes: Sequence[str],
  labelled: Any,
  timings: dict[str, float],
  **how: Any,
) -> tuple[list[dict[str, Any]], dict[Any, np.ndarray]]:
  """`run_modes` where every subset has a pretraining run of its own: subject(seed), and how as there."""
  rows, predicted = [], {}
  for seed, subset in labelled.subsets.items():
    found = run_modes(subject(seed), modes, labelled._replace(subsets={seed: subset}), timings, **how)
    rows += found[0]
    predicted |= found[1]
  return rows, predicted


def settings_of(row: Mapping[str, Any]) -> dict[str, Any]:
  """What a row's classifier was trained and tested with; a row that is older than a setting has its default."""
  from sslx.evaluation.finetune import Recipe

  return {**json.loads(json.dumps(Recipe()._asdict())), **row.get("settings", {})}


def _report(subject: Subject, rows: Sequence[dict[str, Any]], predicted: dict, timings: dict[str, float]) -> None:
  from rich.console import Console

  from sslx import report
  from sslx.report import figures, pages, records

  begin = time.monotonic()
  folder, summary = subject.directory / "figures", report.summarise(rows)

  def save(figure: Any, name: str) -> None:
    path = folder / f"{name}.png"
    if figure is None:
      path.unlink(missing_ok=True)  # of other --labels
    else:
      figures.save(figure, path)

  save(figures.accuracy_bars(summary), "accuracy")
  save(figures.label_curve(summary), "labels")
  draw_predictions(subject.dataset, folder, predicted, min(r["labels"] for r in rows))
  timings["report"] = time.monotonic() - begin

  records.write_rows(subject.directory / "summary.jsonl", summary)
  console = Console(soft_wrap=True)
  console.print(report.results_table(summary))
  console.print(report.parameters_table(summary))
  for line in report.verdict(summary):
    print(line)
  print("Time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in timings.items()) + ".")
  page = pages.write_html(
    subject.directory,
    f"{subject.names['method']} on {subject.dataset.name}: what is it worth with few labels?",
    common.command(subject.experiment),
    {**subject.names["pretraining"], **rows[0]["settings"]},
    rows,
    summary,
    drawn(folder),
    timings,
  )
  print(f"Report: {page}")


def drawn(folder: Path) -> list[tuple[str, str, Path]]:
  """(title, caption, file) of those of FIGURES that are in `folder`."""
  paths = [(title, caption, folder / f"{name}.png") for name, title, caption in FIGURES]
  return [figure for figure in paths if figure[2].exists()]


def draw_predictions(dataset: Any, folder: Path, predicted: Mapping[Any, np.ndarray], labels: int) -> None:
  """Draws what scratch and frozen said of the test images, as far as they are among `predicted`, into `folder`."""
  for task, logits in predicted.items():
    if task.mode in ("scratch", "frozen") and task.labels == labels and task.subset_seed == 0:
      _draw_predictions(dataset, folder, task.mode, logits)


def _draw_predictions(dataset: Any, folder: Path, mode: str, logits: np.ndarray) -> None:
  from sslx.report import figures

  test, names = dataset.test, dataset.class_names
  probability = np.exp(logits - logits.max(1, keepdims=True))
  confidence = (probability / probability.sum(1, keepdims=True)).max(1)
  few, guess = np.arange(min(PICTURED, len(test))), logits.argmax(1)
  samples = figures.predictions(test.images[few], test.labels[few], guess[few], names, confidence[few])
  figures.save(samples, folder / f"predictions_{mode}.png")
  figures.save(figures.confusion(test.labels, guess, names), folder / f"confusion_{mode}.png")
