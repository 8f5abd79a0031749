"""Cross-validation: what a predictor is worth, by labelled examples that it did not learn from, where there is no test
split; and a case's own labels, answered by predictors that did not see them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslx.evaluation import evaluate
from sslx.evaluation.bench import Bench, Case, Labelled, subset_of
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
  rows = bench.rows(case)
  y = bench.dataset.train.targets()[rows]
  parts = split(bench.task, y, folds, case.subset_seed)
  # Each part is a subset of its own, whose seed is the case's: what is drawn by it (weights, order) is as in the case.
  outputs: np.ndarray | None = None
  for fit, judge in parts:
    labelled = Labelled({case.subset_seed: {len(fit): rows[fit]}}, bench.labelled.heldout, bench.labelled.how)
    part = dataclasses.replace(bench, labelled=labelled, say=lambda line: None)
    predictor = evaluate.train(part, [case._replace(labels=len(fit))]).popitem()[1].predictor
    answers = np.asarray(predictor.outputs(bench.dataset.train.x[rows[judge]]))
    outputs = np.zeros((len(rows), *answers.shape[1:]), answers.dtype) if outputs is None else outputs
    outputs[judge] = answers
  assert outputs is not None
  return outputs
