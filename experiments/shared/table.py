"""What the experiments that compare modes share: training what is missing, rows, figures, report."""

import dataclasses
import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli, command, keeping, logs, pictures, runs
from experiments.shared.cli import FLAGS
from experiments.shared.directories import agrees, upgraded
from experiments.shared.pictures import Answers
from experiments.shared.publish import publish
from experiments.shared.terminal import announce
from sslx.evaluation.recipe import Recipe
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset
  from sslx.evaluation.bench import Bench, Case, Labelled, Predictor

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
  """The rows of a line."""

  rows: list[Row]
  """Those that were asked for, in their order."""
  answers: "Mapping[Case, Answers]"
  """Of its scratch and frozen classifiers, as far as they were kept for figures."""
  others: Sequence[Row] = ()
  """Further rows of results.jsonl that were made alike, by commands with other modes, labels or subsets."""
  predictors: "Mapping[Case, Predictor]" = {}
  """Those of this command that may be kept as a model, see `keeping.wanted`."""

  @property
  def everything(self) -> list[Row]:
    """What a page shows: the rows that were asked for, then the others."""
    return [*self.rows, *self.others]


def draw(dataset: "Dataset", modes: Callable[[int], Sequence[str]] | Sequence[str]) -> "Labelled":
  """The label subsets that --labels, --seeds and --validation ask for.

  modes: what they are for, at every number of labels or as a function of it.

  Raises:
    UserError: more labels than there are, or fewer than a mode needs.
  """
  from sslx.evaluation.bench import draw
  from sslx.evaluation.modes import check_amounts

  heldout = cli.heldout()
  counts = cli.label_counts(dataset, heldout)
  drawn = draw(dataset, counts, FLAGS.seeds, heldout, FLAGS.subset, FLAGS.folds)
  examples = len(dataset.train) + len(dataset.unlabeled or ())
  for labels in counts:
    check_amounts(modes(labels) if callable(modes) else modes, labels, examples)
  return drawn


def bench(
  dataset: "Dataset",
  labelled: "Labelled",
  pretrained: "nn.Representation",
  recipe: Recipe | None = None,
  seed: int | None = None,
) -> "Bench":
  """What modes work with; recipe, seed: in place of the flags'."""
  from sslx.evaluation.bench import Bench

  return Bench(
    dataset, labelled, pretrained, recipe or cli.recipe(dataset.task), FLAGS.seed if seed is None else seed, cli.say
  )


def compare(line: Line, bench: "Bench", modes: Sequence[str], timings: Timings) -> None:
  """Trains and tests the predictors that results.jsonl lacks, appends their rows, and writes the report.

  modes: what is compared, beside its controls.
  """
  from sslx.evaluation.modes import controls

  modes = [*controls(modes, bench.dataset), *modes]
  measured = run_modes(line, bench, modes, timings)
  keeping.keep([keeping.Offer(line, bench, measured)], timings)
  _report(line, bench.dataset, measured, timings)


def run_modes(
  line: Line,
  bench: "Bench",
  modes: Sequence[str] | Mapping[int, Sequence[str]],
  timings: Timings,
  more: Callable[[np.ndarray], Row] = lambda outputs: {},
  pictured: bool = True,
) -> Measured:
  """The rows of all modes, labels and subsets.

  modes: at every number of labels, or for each of them. more: test outputs [N,K] -> further entries of a row.
  pictured: whether what the figures of predictions need is kept.
  What is missing is trained; each classifier, once it is, is tested, and its row appended: a kill costs one classifier.
  Where all labels are used, the subsets are the same, and only the first counts.
  """
  from sslx.evaluation import evaluate
  from sslx.evaluation.bench import Case
  from sslx.evaluation.modes import mode
  from sslx.report import checks, records

  results, dataset, labelled = line.directory / "results.jsonl", bench.dataset, bench.labelled
  targets = dataset.train.targets(), dataset.test.targets()
  crc = 0  # rows of other labels or another test split are not these
  for y in targets:
    crc = zlib.crc32(np.ascontiguousarray(y).data, crc)  # of masks, a copy of all would be large
  features = bench.pretrained.reading
  drawn = {"validation": FLAGS.validation, "subset": labelled.how, "labels_crc32": crc}
  drawn |= {} if labelled.folds is None else {"folds": labelled.folds[0].of}
  settings = {"features": features, **drawn, "data": runs.fingerprint(dataset), **bench.recipe.to_json()}
  names = json.loads(json.dumps(line.names))  # as a row that is read back has them
  everything = len(dataset.train) - (0 if labelled.heldout is None else len(labelled.heldout))
  first = next(iter(labelled.subsets))
  cases = [
    Case(mode, n, seed)
    for n in labelled.subsets[first]
    for mode in dict.fromkeys(modes[n] if isinstance(modes, Mapping) else modes)
    for seed in labelled.subsets
    if n < everything or seed == first or labelled.judges is not None
  ]

  made = {"experiment": line.experiment, "dataset": dataset.name, **names, "seed": bench.seed}

  def known_rows() -> dict[Case, Row]:
    fitting = []
    for number, saved in checks.numbered_results(results):
      try:
        row = {"seed": bench.seed, **upgraded(saved)}
        fits = all(agrees(row.get(k), v) for k, v in made.items()) and agrees(settings_of(row), settings)
      except (UserError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise UserError(f"{results}: line {number} is not sound ({error}); remove or mend that line") from error
      if fits:
        fitting.append(row)
    fitting.sort(key=_tells_data)  # what is known to be of these data counts
    return {Case(row["mode"], row["labels"], row["subset_seed"]): row for row in fitting}

  known = known_rows()
  missing = [case for case in cases if case not in known]
  done = len(cases) - len(missing)
  if done and missing:
    cli.say(f"{done} of {len(cases)} are there already")
  begin, testing, score = time.monotonic(), 0.0, bench.task.score
  shared = {"command": cli.command(line.experiment), "flags": cli.given_flags()}
  shared |= {"data_origin": dataset.origin} if dataset.origin else {}
  shared |= records.provenance() if missing else {}
  # Features are those of all cases, so that what a second command trains is to the last bit what one would have.
  bench, predictors = dataclasses.replace(bench, labelled=labelled.of(cases), done=done), {}
  for case, (predictor, seconds, outputs, scores, waited, y, constant) in evaluate.evaluate(bench, missing):
    kind, fold = mode(case.mode), _fold(bench, case, outputs, y)
    row = {
      "experiment": line.experiment, **line.names, "dataset": dataset.name, "features": features, **case._asdict(),
      "modality": dataset.modality.name, "reads": kind.reads, "trains_encoder": kind.trains_encoder,
      "task": bench.task.name, "score": score._asdict(), **{f"test_{name}": value for name, value in scores.items()},
      "parameters_total": predictor.total, "parameters_trainable": predictor.trainable, "seconds": seconds,
      "chosen": predictor.head.chosen, "test_examples": len(y), "seed": bench.seed,
      "constant_features": constant,
      "settings": settings, **fold, **more(outputs), **shared,
    }  # fmt: skip
    if pictured:
      pictures.keep(line.directory, {**made, "settings": settings}, case, bench.task, outputs, labelled)
    records.append_row(results, row)
    logs.tell(line.directory)
    predictors |= {case: predictor} if keeping.wanted(case, cases, bench) else {}
    testing += waited
  if missing:
    spent = {"training on labels": time.monotonic() - begin - testing, "testing": testing}
    timings |= {name: timings.get(name, 0) + seconds for name, seconds in spent.items()}
    known = known_rows()
  logs.tell(line.directory)
  if not all(map(_tells_data, known.values())):
    command.say_once(
      f"{results}: rows from before sslx 0.2 are kept without knowing whether the test images are the same; --fresh "
      "makes them anew."
    )
  others = [row for case, row in known.items() if case not in cases]
  answers = pictures.kept(line.directory, {**made, "settings": settings}, list(known), labelled) if pictured else {}
  return Measured([known[case] for case in cases], answers, others, predictors)


def _fold(bench: "Bench", case: "Case", outputs: np.ndarray, y: np.ndarray) -> Row:
  """Of a row that was judged by a fold: which one it is and, of classes, which of its examples are right (1) or wrong
  (0), in the order of their rows.
  """
  if bench.labelled.folds is None:
    return {}
  fold: Row = {"fold": bench.labelled.folds[case.subset_seed]._asdict()}
  if bench.task.name == "classification":
    fold["right"] = "".join("01"[int(right)] for right in bench.task.decide(outputs) == y)
  return fold


def run_pairs(
  of_seed: "Callable[[int], tuple[Line, Bench]]",
  labelled: "Labelled",
  modes: Sequence[str],
  timings: Timings,
  more: Callable[[np.ndarray], Row] = lambda outputs: {},
) -> Measured:
  """`run_modes` where each subset has a pretraining of its own: of_seed(seed) is its
  line, and a bench of any labels."""
  rows, answers, others = [], {}, []
  for seed, subset in labelled.subsets.items():
    line, bench = of_seed(seed)
    bench = dataclasses.replace(bench, labelled=labelled._replace(subsets={seed: subset}))
    measured = run_modes(line, bench, modes, timings, more)
    rows += measured.rows
    answers |= measured.answers
    others += measured.others
  return Measured(rows, answers, others)


def _tells_data(row: Mapping[str, Any]) -> bool:
  """Whether a row says of which data it is: those from before sslx 0.2 do not."""
  return bool(row.get("settings", {}).get("data"))


def settings_of(row: Mapping[str, Any]) -> Row:
  """What a row's predictor was trained and tested with; a row that is older than a setting has its default."""
  settings = row.get("settings", {})
  kept = {name: settings.get(name) for name in ("features", "validation", "labels_crc32", "data")}
  parts = {} if settings.get("folds") is None else {"folds": settings["folds"]}
  return {**kept, **parts, "subset": settings.get("subset", "balanced"), **Recipe.read(settings).to_json()}


def _report(line: Line, dataset: "Dataset", measured: Measured, timings: Timings) -> None:
  announce("drawing the report")
  from sslx import report
  from sslx.report import figures

  begin, rows = time.monotonic(), measured.everything
  folder, summary = line.directory / "figures", report.summarise(rows)
  answers = report.answer(summary)

  def save(figure: Any, name: str) -> None:
    path = folder / f"{name}.png"
    if figure is None:
      path.unlink(missing_ok=True)  # of other --labels
    else:
      figures.save(figure, path)

  save(figures.score_dots(summary), "accuracy")
  save(figures.label_curve(summary), "labels")
  pictures.draw_predictions(dataset, folder, measured.answers)
  timings["report"] = time.monotonic() - begin

  drawn = pictures.drawn(folder, dataset.task.score, not len(dataset.test))
  curve = next((figure for figure in drawn if Path(figure.path).stem == "labels"), None)
  in_place = curve if len({entry.labels for entry in summary}) > 2 else None
  publish(
    line.directory,
    f"{line.method} on {dataset.name}: what is it worth with few labels?",
    cli.command(line.experiment),
    cli.flag_names(line.pretraining or {}, rows[0]["settings"]),
    rows,
    summary,
    [figure for figure in drawn if figure is not in_place],
    timings,
    tables=[report.results_table(summary)],
    sentences=[*report.verdict(summary, answers), *report.parameters(summary)],
    opening=[answer.text for answer in answers],
    answer=in_place,
  )
