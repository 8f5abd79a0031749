"""Labelling in rounds, simulated on data whose labels are known: what a strategy of `selection` is worth."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sslx.evaluation import selection
from sslx.evaluation.propagation import principal
from sslx.types import Head, Task, brief

AUTO = "auto"  # the usual strategy for each number of labels
STRATEGIES = ("typical", "margin", AUTO, "coreset", "random")
REFERENCE = 10_000  # examples that standardisation takes its statistics from


class Pool(NamedTuple):
  """Examples that are to be labelled, and what would be said of each."""

  features: np.ndarray
  """f32 [N,D]: what heads are trained on."""
  space: np.ndarray
  """f32 [N,R]: where examples are near each other or far."""
  y: np.ndarray
  """[N]: read only for examples that were chosen."""
  task: Task

  __repr__ = brief


class Round(NamedTuple):
  """What is known after a round."""

  rows: np.ndarray
  """i64 [n]: the examples that have labels by now, in the order in which they got them."""
  head: Head
  """Trained on them."""

  __repr__ = brief


def pool_of(features: np.ndarray, y: np.ndarray, task: Task) -> Pool:
  """Near is what has similar features along their principal axes, as for label propagation."""
  return Pool(features, principal(features)(features), y, task)


def simulate(strategy: str, pool: Pool, rounds: int, size: int, seed: int) -> Iterator[Round]:
  """So many rounds, in each of which a strategy chooses `size` examples, which then get their labels.

  margin needs a classifier: its first round is the one that `random` draws with the same seed.
  """
  task, rows, head = pool.task, np.zeros(0, np.int64), None
  assert task.fit_head is not None
  assert task.probabilities is not None
  everything = np.arange(len(pool.features))
  reference = pool.features[np.random.default_rng(seed).permutation(everything)[:REFERENCE]]
  for number in range(rounds):
    rest = np.setdiff1d(everything, rows)
    name = selection.usual(len(rows), task.outputs) if strategy == AUTO else strategy
    probabilities = None
    if name == "margin":
      if head is None:
        name = "random"
      else:
        probabilities = task.probabilities(head.outputs(pool.features[rest]))
    drawn = seed + 1_000_003 * number  # each round has draws of its own
    choice = selection.choose(name, pool.space[rest], pool.space[rows], probabilities, size, drawn)
    rows = np.concatenate([rows, rest[choice.rows]])
    head = task.fit_head(pool.features[rows], pool.y[rows], reference, seed=seed)
    yield Round(rows, head)
