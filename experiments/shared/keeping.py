"""What is kept of a comparison: the model of its best line, or of each, calibrated, in the run directory's models/.

"Best" is by the score that the table reports, of the rows with the most labels. Where there is a test split, the model
is that of the first label subset; where the labels judge each other, it is trained once more, on all of them.
"""

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli, command, machine
from experiments.shared.cli import FLAGS
from experiments.shared.terminal import notify
from sslx.types import UserError

if TYPE_CHECKING:
  from experiments.shared.table import Line, Measured
  from sslx.evaluation.bench import Bench, Case, Predictor
  from sslx.evaluation.calibration import Calibration
  from sslx.report.pages import Kept
  from sslx.report.statistics import Entry

BEST = Path("models", "best")
PATIENCE = 60.0  # seconds that the folds of a calibration may take; else one of them has to do
FOLDS = 5


class Offer(NamedTuple):
  """A line of the table, of which a model may be kept."""

  line: "Line"
  bench: "Bench"
  measured: "Measured"


def wanted(case: "Case", cases: "Sequence[Case]", bench: "Bench") -> bool:
  """Whether a predictor that was just trained may be the one that is kept."""
  if FLAGS.save == "none" or bench.labelled.judges is not None:
    return False
  return case.labels == max(other.labels for other in cases) and case.subset_seed == next(iter(bench.labelled.subsets))


def keep(offers: Sequence[Offer], timings: dict[str, float], worth: float | None = None) -> None:
  """Keeps the model of the best of all lines as models/best, and with --save=all one for each line, as METHOD-MODE.

  A model that is there already, and was made of the same, stays. worth: the score of the best, where that is known
  without the luck of being the best.
  """
  from sslx.report.worth import moved

  if FLAGS.save == "none":
    return
  entries = entries_of(offers)
  if not entries:
    return
  best = best_of(entries)
  best = best if worth is None else moved(best, worth - best.mean)
  dataset = offers[0].bench.dataset
  # A command for several data sets or tasks has a best model of each: the first one is called best.
  subject = [dataset.name, dataset.task.name]
  first = command.once(("kept", offers[0].line.directory), lambda: subject)
  named = {"best" if first == subject else slug(f"best-{dataset.name}-{dataset.task.name}"): best}
  named |= {slug(f"{entry.method}-{entry.mode}"): entry for entry in entries} if FLAGS.save == "all" else {}
  begin = time.monotonic()
  for name, entry in named.items():
    offer = next(o for o in offers if o.line.method == entry.method)
    try:
      _keep(offer, entry, len(entries), offer.line.directory / "models" / name)
    except UserError as error:  # the table is worth more than that
      notify(f"no model is kept of {entry.mode}: {error}")
  timings["keeping"] = timings.get("keeping", 0.0) + time.monotonic() - begin


def entries_of(offers: Sequence[Offer]) -> "list[Entry]":
  """The lines at the most labels, but for `majority`, which no one needs a model of."""
  from sslx import report
  from sslx.evaluation.modes import MAJORITY

  rows = [row for offer in offers for row in offer.measured.rows if row["mode"] != MAJORITY]
  most = max((row["labels"] for row in rows), default=0)
  return report.summarise([row for row in rows if row["labels"] == most])


def best_of(entries: "Sequence[Entry]") -> "Entry":
  """The one with the best mean; of equal ones the first."""
  from sslx.report import statistics

  return max(entries, key=lambda entry: statistics.goodness(entry.score, entry.mean))


def slug(name: str) -> str:
  """A name as that of a folder."""
  return re.sub(r"[^\w.=+]+", "-", name)[:80].strip("-.")


def _keep(offer: Offer, entry: "Entry", compared: int, directory: Path) -> None:
  from sslx import models
  from sslx.evaluation import evaluate
  from sslx.fitted import Fitted

  bench, case = _subject(offer, entry)
  key = _key(offer, entry, case)
  if models.holds(directory) and _made_of(directory) == key:
    return
  folds = FOLDS if (entry.seconds or 0.0) * (FOLDS - 1) <= PATIENCE else 1
  cli.say(f"keeping {case.mode}, {_labels(offer, case)}, calibrating in {folds} fold{'' if folds == 1 else 's'}")
  quiet = _quiet(bench)
  predictor: Predictor | None = offer.measured.predictors.get(case)
  predictor = predictor or evaluate.train(quiet, [case])[case].predictor
  calibration = calibrated(quiet, case, folds)
  about = {**_about(offer, entry, case, compared), **told(calibration, bench.task.name), "made_of": key}
  dataset, heat = bench.dataset, calibration.temperature if calibration else 1.0
  fitted = Fitted(
    case.mode, bench.rows(case), bench.task, dataset.modality, dataset.x_shape, predictor, dataset.meaning, heat, about
  )  # fmt: skip
  models.write(fitted, directory)


def _subject(offer: Offer, entry: "Entry") -> "tuple[Bench, Case]":
  """The labels that the model learns, and its case."""
  from sslx.evaluation.bench import Case, Labelled

  bench, labelled = offer.bench, offer.bench.labelled
  if labelled.judges is None:
    return bench, Case(entry.mode, entry.labels, next(iter(labelled.subsets)))
  held = [] if labelled.heldout is None else labelled.heldout
  rows = np.setdiff1d(np.arange(len(bench.dataset.train)), held)
  everything = Labelled({0: {len(rows): rows}}, labelled.heldout, labelled.how)
  return dataclasses.replace(bench, labelled=everything), Case(entry.mode, len(rows), 0)


def _quiet(bench: "Bench") -> "Bench":
  return dataclasses.replace(bench, say=lambda line: None)


def calibrated(bench: "Bench", case: "Case", folds: int) -> "Calibration | None":
  """How sure a case's predictor may be, by so many folds of its labels; None where that cannot be told."""
  from sslx.evaluation import calibration

  return calibration.calibrate(bench, case, FOLDS, one_part=folds == 1)


def _labels(offer: Offer, case: "Case") -> str:
  anew = offer.measured.predictors.get(case) is None
  if offer.bench.labelled.judges is not None:
    return f"{case.labels:,} labels: training it on all labels"
  return f"{case.labels:,} labels{': training it once more' if anew else ''}"


def _key(offer: Offer, entry: "Entry", case: "Case") -> str:
  """A digest of all that the model and what is told of it are made of."""
  rows = [row for row in offer.measured.rows if (row["mode"], row["labels"]) == (entry.mode, entry.labels)]
  told = {**offer.line.names, "case": case._asdict(), "dataset": offer.bench.dataset.name, "seed": offer.bench.seed}
  told |= {"settings": rows[0]["settings"], "values": entry.values, "version": 1}
  return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _made_of(directory: Path) -> str | None:
  """That digest of the model in a folder; None of a damaged one."""
  from sslx import models

  try:
    return models.read(directory).about.get("made_of")
  except UserError:
    return None


def _about(offer: Offer, entry: "Entry", case: "Case", compared: int) -> dict[str, Any]:
  from sslx import fitting
  from sslx.data import images

  line, bench = offer.line, offer.bench
  made = fitting.about(
    bench.dataset, case, bench.labelled.how, bench.recipe, line.method, line.encoder, line.pretraining
  )
  score = {
    "name": entry.score.name, "mean": entry.mean, "std": entry.std, "low": entry.mean_low, "high": entry.mean_high,
    "labels": entry.labels, "subsets": entry.n, "test_examples": entry.test_examples, "folds": entry.folds,
    "compared": compared,
  }  # fmt: skip
  reading = {"background": images.colour(FLAGS.background), "bits": FLAGS.bits}
  return {**made, "experiment": line.experiment, "features": bench.pretrained.reading, "score": score,
          "score_told": score_told(entry, compared), "reading": reading, "smoke": FLAGS.smoke}  # fmt: skip


def score_told(entry: "Entry", compared: int) -> str:
  """`Accuracy 86.7% (standard deviation 1.2 over 5 label subsets of 100) on 10,000 test examples. ...`"""
  from sslx.report import statistics
  from sslx.report.worth import within

  score = f"{statistics.title(entry.score)} {statistics.quantity(entry.score, entry.mean)}"
  if entry.folds:
    low, high = entry.mean_low, entry.mean_high
    interval = "" if low is None or high is None else f" (95% CI {within(entry.score, low, high)})"
    text = f"{score}{interval} by cross-validation of {entry.test_examples:,} labels in {entry.folds} folds."
  else:
    spread = "" if entry.std is None else f", standard deviation {statistics.number(entry.score, entry.std)}"
    subsets = f"{entry.n} label subset{'' if entry.n == 1 else 's'} of {entry.labels:,}"
    tested = f"{entry.test_examples:,} test examples" if entry.test_examples else "the test split"  # of older rows
    text = f"{score} on {tested} ({subsets}{spread})."
  chosen = f" It was chosen among {compared} by this very score, which flatters it a little." if compared > 1 else ""
  return text + chosen


def shown(directory: Path) -> "Kept | None":
  """What a report says of the run's best model, where it has one. Draws how well its confidences agree."""
  from sslx import models
  from sslx.report import figures
  from sslx.report.pages import Figure, Kept

  path = directory / "figures" / "calibration.png"
  try:
    about = models.read(directory / BEST).about
  except UserError:
    path.unlink(missing_ok=True)
    return None
  figure, calibration = None, about.get("calibration")
  if calibration:
    bins = {"as trained": calibration["bins_before"], "calibrated": calibration["bins_after"]}
    figures.save(figures.reliability(bins), path)
    caption = "Labels out of fold: how many in a hundred are right among answers of about one confidence. Large: many."
    figure = Figure("How sure, and how often right", caption, path, "plot")
  elif path.exists():
    path.unlink()
  labels = f"{about['labels']:,} label{'' if about['labels'] == 1 else 's'}"
  made = f"{about['method']}, {about['mode']}" if about["reads"] == "pretrained" else about["mode"]
  sentences = [f"In models/best: {made}, trained on {labels}. {about['score_told']}", about["calibration_told"]]
  return Kept(sentences, f"python -m experiments.predict --model={machine.quoted(str(directory))} --images=DIR", figure)


def told(calibration: "Calibration | None", task: str) -> Mapping[str, Any]:
  """What `Fitted.about` says of the calibration."""
  if calibration is None:
    why = "too few labels to be calibrated" if task in ("classification", "multilabel") else "no confidences"
    return {"calibrated": False, "calibration_told": f"Not calibrated: {why}."}
  c = calibration
  text = (
    f"Temperature {c.temperature:.3g}, by {c.examples:,} labels out of fold, of which {c.accuracy:.0%} were right: "
    f"mean confidence {c.confidence_before:.0%} before and {c.confidence_after:.0%} after, expected calibration error "
    f"{100 * c.error_before:.1f} and {100 * c.error_after:.1f} points."
  )
  return {"calibrated": True, "calibration_told": text, "calibration": {
    **c._asdict(), "bins_before": [each._asdict() for each in c.bins_before],
    "bins_after": [each._asdict() for each in c.bins_after],
  }}  # fmt: skip
