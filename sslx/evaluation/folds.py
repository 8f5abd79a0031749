"""Cross-validation: what a predictor is worth, by labelled examples that it did not learn from, where there is no test
split; and a case's own labels, answered by predictors that did not see them.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslx.evaluation.bench import Bench, Case, Labelled, subset_of
from sslx.evaluation.modes import mode
from sslx.types import Subset, Task, UserError


class Fold(NamedTuple):
  """One part of one repetition of a cross-validation."""

  repetition: int
  number: int
  of: int
  """Parts of each repetition."""


def split(task: Task, y: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
  """(rows to learn from, rows to judge by) of each part, i32; of classes in proportion, and so few parts that each
  class is in all of them.

  Raises:
    UserError: labels that cannot be parted, such as a class with a single one.
  """
  try:
    return task.folds(y, folds, seed)
  except ValueError as error:
    raise UserError(
      f"there is no test split, and {len(y)} labelled examples cannot judge one another ({error}); label more, or add "
      "a test split."
    ) from error


def largest(task: Task, y: np.ndarray, folds: int) -> int:
  """How many labels are left to learn from in every part."""
  return min(len(fit) for fit, _ in split(task, y, folds, 0))


def draw(
  task: Task, y: np.ndarray, sizes: Sequence[int], repetitions: int, folds: int, pool: np.ndarray, how: Subset
) -> Labelled:
  """Repeated cross-validation over the labelled rows `pool` of y: for every part of every repetition nested subsets of
  the other parts, and the rows of the part, which judge them. They are numbered repetition by repetition.

  Raises:
    UserError: labels that cannot be parted, or a size that the smallest of the others does not have.
  """
  subsets: dict[int, Mapping[int, np.ndarray]] = {}
  judges: dict[int, np.ndarray] = {}
  of: dict[int, Fold] = {}
  for repetition in range(repetitions):
    parts = split(task, y[pool], folds, repetition)
    for number, (fit, judge) in enumerate(parts):
      seed = repetition * len(parts) + number
      drawn = subset_of("--labels", task, y[pool[fit]], sizes, seed, how)
      subsets[seed] = {size: pool[fit[rows]] for size, rows in drawn.items()}
      judges[seed], of[seed] = pool[judge], Fold(repetition, number, len(parts))
  return Labelled(subsets, None, how, judges, of)


def out_of_fold(bench: Bench, case: Case, folds: int = 5) -> np.ndarray:
  """A case's labelled rows [n], answered by predictors that were made as the case's is, but without the fold that a row
  is of: outputs [n,...], in the order of `bench.rows(case)`.

  Raises:
    UserError: labels that cannot be parted.
  """
  outputs: np.ndarray | None = None
  for judge, answers in answered(bench, case, folds):
    outputs = np.zeros((len(bench.rows(case)), *answers.shape[1:]), answers.dtype) if outputs is None else outputs
    outputs[judge] = answers
  assert outputs is not None
  return outputs


def answered(bench: Bench, case: Case, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """`out_of_fold` fold by fold: (places [m] in `bench.rows(case)`, outputs [m,...]).

  What does not depend on the fold, such as features and graphs of all examples, is made once for all of them.
  """
  rows, train = bench.rows(case), bench.dataset.train
  shared = dataclasses.replace(bench, labelled=bench.labelled.of([case]), say=lambda line: None, memory={})
  shared.once("rows", shared.labelled.rows)  # of all folds: their features are computed together
  for fit, judge in split(bench.task, train.targets()[rows], folds, case.subset_seed):
    # Each fold is a subset of its own with the case's seed: what is drawn by it (weights, order) is as in the case.
    labelled = shared.labelled._replace(subsets={case.subset_seed: {len(fit): rows[fit]}})
    part = dataclasses.replace(shared, labelled=labelled)
    predictor = mode(case.mode).fit(part, case._replace(labels=len(fit)))
    yield judge, np.asarray(predictor.outputs(train.x[rows[judge]]))
