"""Which examples experiments.label_next shows: those to label next, or those that are perhaps labelled wrong."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.shared import cli
from experiments.shared.cli import FLAGS
from experiments.shared.labels_page import Shown, item, name_of
from experiments.shared.terminal import announce
from sslx.types import UserError

if TYPE_CHECKING:
  from experiments.shared.given import Given
  from sslx.data import Split
  from sslx.evaluation.selection import Choice
  from sslx.fitted import Fitted

STRATEGIES = ("auto", "typical", "margin", "coreset", "random")
WHY = {
  "typical": "The most typical example of a cluster with the fewest labels",
  "margin": "The model hesitates between two classes",
  "coreset": "Far from all that have labels",
  "random": "Drawn at random",
}
SCORES = {"typical": "typicality", "margin": "margin", "coreset": "distance", "random": ""}


def chosen(given: "Given") -> Shown:
  """--count examples without a label, by --strategy.

  Raises:
    UserError: there is none, or margin is asked of an encoder alone.
  """
  from sslx.evaluation import selection

  part, rows, labelled = _pool(given)
  pool, fitted = given.split(part), given.fitted
  if not len(rows):
    raise UserError(f"--model={FLAGS.model}: every example of {given.dataset.name} has a label.")
  count = min(FLAGS.count, len(rows)) if not FLAGS["count"].present else FLAGS.count
  strategy = FLAGS.strategy
  if strategy == "auto":
    strategy = "typical" if fitted is None else selection.usual(len(labelled), fitted.task.outputs)
  if strategy == "margin" and fitted is None:
    raise UserError("--strategy=margin: is for a model with a classifier, and this is an encoder alone; try typical.")
  announce(f"choosing among {len(rows):,} examples ({strategy})")
  choice = _choice(given, pool, rows, labelled, strategy, count)
  picked = rows[choice.rows]
  suggested = [None] * count if fitted is None else _said(fitted, pool.x[picked])
  lines, items = [], []
  for number, (row, score) in enumerate(zip(picked, choice.scores, strict=True), 1):
    said, score_text = suggested[number - 1], f"{score:.4g}" if SCORES[strategy] and math.isfinite(score) else ""
    why = f"{WHY[strategy]}{f'; {SCORES[strategy]} {score_text}' if score_text else ''}."
    name, sure = said or ("", None)
    path = name_of(given, part, int(row))
    lines.append([path, number, strategy, score_text, name, "" if sure is None else f"{sure:.4f}"])
    items.append(item(given, pool, int(row), path)._replace(why=why, suggested=name, confidence=sure))
  told = f"{count:,} of {len(rows):,} examples without a label, chosen by {strategy}; {len(labelled):,} have one."
  headers = ["path", "rank", "strategy", "score", "suggested", "confidence"]
  return Shown(
    "label_next", "labels", headers, lines, items, f"What to label next: {given.name} on {given.dataset.name}", told
  )


def _pool(given: "Given") -> tuple[str, np.ndarray, np.ndarray]:
  """(the split to choose from, its rows without a label, the training rows that are labelled)."""
  train, unlabeled, everything = given.dataset.train, given.dataset.unlabeled, np.arange(len(given.dataset.train))
  if unlabeled is not None and len(unlabeled):
    return "unlabeled", np.arange(len(unlabeled)), everything if train.y is not None else everything[:0]
  known = np.zeros(0, np.int64) if given.fitted is None else given.fitted.rows
  known = known[known < len(everything)]  # of a --smoke run fewer examples are there
  return "train", np.setdiff1d(everything, known), known


def _choice(
  given: "Given", pool: "Split", rows: np.ndarray, labelled: np.ndarray, strategy: str, count: int
) -> "Choice":
  from sslx.evaluation import selection
  from sslx.evaluation.features import extract
  from sslx.evaluation.propagation import principal

  empty = np.zeros((len(rows), 0), np.float32)
  if strategy == "margin":
    assert given.fitted is not None
    return selection.choose(strategy, empty, empty, _probabilities(given.fitted, _taken(pool, rows)), count, FLAGS.seed)
  if strategy == "random":
    return selection.choose(strategy, empty, empty, None, count, FLAGS.seed)
  features = extract(given.represent, _taken(pool, rows))
  theirs = extract(given.represent, given.dataset.train.x[labelled]) if len(labelled) else features[:0]
  space = principal(np.concatenate([features, theirs]))
  return selection.choose(strategy, space(features), space(theirs), None, count, FLAGS.seed)


def _taken(split: "Split", rows: np.ndarray) -> Any:
  from sslx.data.lazy import take

  return take(split.x, rows)


def _probabilities(fitted: "Fitted", x: Any) -> np.ndarray:
  """f32 [N,K] of raw x [N,...]."""
  from sslx.fitted import answers

  return answers(fitted, fitted.predictor.outputs(x))


def _said(fitted: "Fitted", x: Any) -> list[tuple[str, float]]:
  """(class, how sure) of each."""
  probabilities = _probabilities(fitted, x)
  return [(fitted.task.names[row.argmax()], float(row.max())) for row in probabilities]


# ---- what is labelled wrong ------------------------------------------------------------------------------------------


def suspects(given: "Given") -> Shown:
  """The first --count labelled training examples whose label models that did not see it doubt.

  Raises:
    UserError: the network itself has seen these labels, or the data have none.
  """
  from sslx.evaluation.bench import Bench, Case, Labelled
  from sslx.evaluation.folds import out_of_fold
  from sslx.evaluation.mislabelled import suspects

  dataset, task = given.dataset, given.dataset.task
  if dataset.train.y is None or task.name != "classification":
    raise UserError(f"--suspects: {dataset.name} has no labels.")
  assert task.probabilities is not None
  _check_unseen(given)
  y, rows = dataset.train.y, np.arange(len(dataset.train))
  announce(f"judging {len(rows):,} labels by models that did not see them")
  bench = Bench(dataset, Labelled({FLAGS.seed: {len(rows): rows}}, None), given.represent, cli.recipe(task), FLAGS.seed)
  outputs = out_of_fold(bench, Case("frozen", len(rows), FLAGS.seed), FLAGS.folds)
  found = suspects(task.probabilities(outputs), y)
  lines, items = [], []
  for row, likely, margin, confident in list(zip(*found, strict=True))[: FLAGS.count]:
    path, label, other = name_of(given, "train", int(row)), task.names[y[row]], task.names[likely]
    lines.append([path, label, other, f"{margin:.4g}", "yes" if confident else "no"])
    why = f"{'Confidently doubted' if confident else 'Doubted'}; margin {margin:.2f}."
    items.append(item(given, dataset.train, int(row), path)._replace(why=why, given=label, suggested=other))
  sure = found.confident.sum()
  told = (
    f"Models that did not see them doubt {len(found.rows):,} of {len(rows):,} labels, {sure:,} of these confidently; "
    f"{len(lines):,} are shown. Such models are wrong, too: look before you change a label."
  )
  headers = ["path", "class", "likely", "margin", "confident"]
  return Shown(
    "suspects", "suspects", headers, lines, items, f"What is mislabelled: {dataset.name} by {given.name}", told
  )


def _check_unseen(given: "Given") -> None:
  """Raises UserError for a network that was trained on labels: it would agree with the wrong ones."""
  from sslx.evaluation.modes import mode
  from sslx.pretext import METHODS

  fitted, method = given.fitted, METHODS.get(given.method)
  if (fitted is not None and mode(fitted.mode).trains_encoder) or (method is not None and method.labels):
    raise UserError(
      f"--suspects: the network of {given.name} was trained on these labels itself; name the run directory of a "
      "pretraining without labels."
    )
