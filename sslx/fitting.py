"""Training on few labels from Python: `fit` for any task, and `classify`, which is `fit` for classes."""

import math
import sys
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from sslx.calls import public
from sslx.checks import check_data, check_seed, same_shape
from sslx.data import Dataset, located
from sslx.evaluation import evaluate
from sslx.evaluation.bench import Bench, Case, Labelled
from sslx.evaluation.modes import check_extra, check_modes
from sslx.evaluation.modes import mode as mode_of
from sslx.evaluation.recipe import Recipe
from sslx.fitted import Fitted
from sslx.report import records
from sslx.training.run import Run
from sslx.types import Subset, UserError

OF_CLASSES = ("classification", "multilabel")  # tasks


@public
def fit(
  run: Run,
  data: Dataset,
  labels: int | float = 0.01,
  mode: str = "frozen",
  *,
  subset: Subset = "balanced",
  seed: int = 0,
  features: str | None = None,
  recipe: Recipe | None = None,
) -> Fitted:
  """Trains a run's encoder for the task of `data`, on few labels of `data.train` and on no other label.

  The same subset and training as `python -m experiments.low_label` with these flags. Says so on stderr where the run
  was stopped before its end.

  Example:
    >>> fitted = sslx.fit(run, data, labels=0.1, mode="frozen")
    >>> folder = sslx.save(fitted, "runs/mine/models/best")  # which sslx.load reads

  Args:
    run: see `pretrain` and `load`.
    data: of the shape that the run was made for; of its task, or of another one.
    labels: how many, or a fraction of the training split: 600, or 0.01; 1.0 is all of it.
    mode: frozen (a head), last:K (head and last K blocks), full (everything), scratch (everything, from random
      weights), random (a head on random weights), raw (on pixels); of classes also knn:K, propagate, or self_train (all
      of the network, on all training images): see `sslx.evaluation.modes.MODES`.
    subset: of classes balanced, or stratified: each class in proportion to its frequency. Of numbers balanced: as many
      from each tenth of them.
    seed: of the subset.
    features: how the encoder is read; default: as the run says where it was made for the same task, else as the task
      does.
    recipe: of last:K, full, scratch, self_train, and of heads for masks and boxes: a
      `sslx.evaluation.recipe.Recipe`; default: the task's.

  Returns:
    A Fitted, which `predict`, `scores`, `accuracy`, `save` and the plots take; fitted.rows are what it learnt from, and
    fitted.about says what it was made of.

  Raises:
    UserError: more labels than there are, fewer than classes, an unknown mode or subset, a mode that cannot do the
      task, features that it cannot read, or a library that its scores need and is not installed.
  """
  return _fit(run, data, labels, mode, subset, seed, features, recipe)


@public
def classify(
  run: Run,
  data: Dataset,
  labels: int | float = 0.01,
  mode: str = "frozen",
  *,
  subset: Subset = "balanced",
  seed: int = 0,
  features: str | None = None,
  recipe: Recipe | None = None,
) -> Fitted:
  """`fit` for data of classes: turns a run's encoder into a classifier.

  Example:
    >>> classifier = sslx.classify(run, data, labels=0.1, mode="frozen")

  Args:
    run: see `pretrain` and `load`.
    data: whose task is classification or multilabel; of the shape that the run was made for.
    labels: see `fit`.
    mode: see `fit`.
    subset: see `fit`.
    seed: see `fit`.
    features: see `fit`.
    recipe: see `fit`.

  Returns:
    As `fit`.

  Raises:
    UserError: data of another task, and as `fit`.
  """
  if data.task.name not in OF_CLASSES:
    raise UserError(f"data={data.name}: its task is {data.task.name}, and classify is for classes; use sslx.fit.")
  return _fit(run, data, labels, mode, subset, seed, features, recipe)


def _fit(
  run: Run,
  data: Dataset,
  labels: int | float,
  mode: str,
  subset: Subset,
  seed: int,
  features: str | None,
  recipe: Recipe | None,
) -> Fitted:
  task = data.task
  check_seed(seed)
  if data.train.y is None:
    raise UserError(f"data={data.name}: its training split has no labels; load_data gives files some by labels_file.")
  check_extra(task)
  if run.unfinished:
    print(f"warning: the run was {run.unfinished}; its encoder is what it was then.", file=sys.stderr)
  if features is not None:
    task.check_reading(features)
  represent = run.representation(features or (task.reading if run.meta.task != task.name else None))
  check_modes((mode,), represent.encoder.block_names, task.name, data.modality.name)
  same_shape(f"data={data.name}", data.train, run.meta.config.x_shape)
  check_data(data, targets=True)
  if not 0 < labels < math.inf:
    raise UserError(f"labels={labels}: expected a number of labels, such as 600, or a fraction, such as 0.01.")
  if subset not in get_args(Subset):
    raise UserError(f"subset={subset}: expected {' or '.join(get_args(Subset))}.")
  n = int(labels) if isinstance(labels, int | np.integer) or labels > 1 else round(labels * len(data.train))
  try:
    rows = task.subset(data.train.y, [n], seed, subset)[n]
  except UserError as error:
    raise UserError(f"labels={labels}: {error}") from error
  case, recipe = Case(mode, n, seed), recipe or Recipe(**dict(task.recipe))
  bench = Bench(data, Labelled({seed: {n: rows}}, None, subset), represent, recipe, run.meta.config.seed)
  predictor = evaluate.train(bench, [case])[case].predictor
  config = run.meta.config
  facts = about(data, case, subset, recipe, config.method, str(config.encoder), config.to_json())
  return Fitted(mode, rows, task, data.modality, data.x_shape, predictor, data.meaning, about=facts)


def about(
  data: Dataset, case: Case, subset: Subset, recipe: Recipe, method: str, encoder: str, config: Mapping[str, Any] | None
) -> dict[str, Any]:
  """What a model is made of, in JSON's types: `Fitted.about`. config: of its pretraining, where there was one."""
  made = {
    "dataset": data.name,
    "place": located(data.name),
    "mode": case.mode,
    "reads": mode_of(case.mode).reads,
    "labels": case.labels,
    "subset": subset,
    "subset_seed": case.subset_seed,
    "recipe": recipe.to_json(),
    "method": method,
    "encoder": encoder,
    "config": config,
  }
  return records.plain({**made, **records.provenance()})
