"""The comparison: trains one case after the other, and reads the test split once for each, when it is trained. Where
there is none, it reads in its place the fold of the labelled examples that the case did not learn from.
"""

import dataclasses
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslx.data import Split
from sslx.evaluation.bench import MAPS_AT_ONCE, Bench, Case, Predictor
from sslx.evaluation.features import extract
from sslx.evaluation.modes import mode
from sslx.types import Task, brief

ROUNDING = 1e-5  # a feature that varies by less than this part of its largest value does not vary


class Trained(NamedTuple):
  """A predictor, and the seconds that its choice of hyper-parameters and training took."""

  predictor: Predictor
  seconds: float

  __repr__ = brief


class Scored(NamedTuple):
  """What a case's predictor says of the test split, or of its fold, and how right it is."""

  predictor: Predictor
  seconds: float
  outputs: np.ndarray
  scores: dict[str, float]
  testing: float
  """Seconds that this took."""
  targets: np.ndarray
  """What is true of them."""
  constant_features: float | None
  """See `constant_share`; of maps by a hundred examples; None where no encoder is read."""

  __repr__ = brief


def evaluate(bench: Bench, cases: Sequence[Case]) -> Iterator[tuple[Case, Scored]]:
  """Trains a case, then tests it, and gives it at once, so that it can be kept before the next one is begun.

  No case learns from what another one's test says: nothing is chosen between them.
  """
  memory: dict[Hashable, np.ndarray] = {}
  for case, trained in training(bench, cases):
    split, rows = bench.judged_by(case)
    yield case, test_one(case, trained, split, bench.task, memory, rows)


def train(bench: Bench, cases: Sequence[Case]) -> dict[Case, Trained]:
  """All of `training`."""
  return dict(training(bench, cases))


def training(bench: Bench, cases: Sequence[Case]) -> Iterator[tuple[Case, Trained]]:
  """Trains every case, in their order. Reads targets of the bench's subsets (and of labelled.heldout) only, but for the
  mode majority, which is told the most frequent class, and nothing of the test split.

  The scratch encoder is drawn anew for each subset. All modes whose answer is an encoder with a linear head have the
  same number of parameters: asserted.
  """
  bench = dataclasses.replace(bench, memory={})
  totals: set[int] = set()
  say, count = bench.say, bench.done + len(cases)
  for number, case in enumerate(cases, bench.done + 1):
    bench = dataclasses.replace(bench, say=lambda line: say(f"{number} of {count}: {line}"))
    begin, shared = time.monotonic(), bench.shared_seconds
    predictor = mode(case.mode).fit(bench, case)
    seconds = time.monotonic() - begin - (bench.shared_seconds - shared)
    totals |= {predictor.total} if mode(case.mode).whole else set()
    assert len(totals) <= 1, f"modes with Mode.whole differ in their number of parameters: {totals}"
    bench.say(f"{case}: {seconds:.1f} s")
    yield case, Trained(predictor, seconds)


def test(trained: Mapping[Case, Trained], split: Split, task: Task) -> dict[Case, Scored]:
  """`test_one` of all of them."""
  memory: dict[Hashable, np.ndarray] = {}
  return {case: test_one(case, each, split, task, memory, None) for case, each in trained.items()}


def test_one(
  case: Case,
  trained: Trained,
  split: Split,
  task: Task,
  memory: dict[Hashable, np.ndarray],
  rows: np.ndarray | None,
) -> Scored:
  """The only function that reads the test split. memory: its features [N,D] by an encoder that no mode trains, which
  are computed once for all cases that share it. rows: which of its examples count; None: all.
  """
  begin = time.monotonic()
  represent, kind = trained.predictor.represent, mode(case.mode)
  x, y = (split.x, split.targets()) if rows is None else (split.x[rows], split.targets()[rows])
  if represent.is_map:
    features = extract(represent, x[np.arange(min(MAPS_AT_ONCE, len(x)))], MAPS_AT_ONCE)
    outputs = trained.predictor.outputs(x)
  else:
    if kind.trains_encoder:
      features = extract(represent, x)
    else:
      key = kind.reads, represent.encoder, represent.reading
      if key not in memory:
        memory[key] = extract(represent, split.x)
      features = memory[key] if rows is None else memory[key][rows]
    outputs = trained.predictor.head.outputs(features)
  scores = {name: float(value) for name, value in task.scores(outputs, y).items()}
  encodes = kind.reads != "raw" or kind.trains_encoder
  constant = constant_share(features) if encodes else None
  return Scored(trained.predictor, trained.seconds, outputs, scores, time.monotonic() - begin, y, constant)


def constant_share(features: np.ndarray) -> float | None:
  """Which share of the features [N,...] is the same for all N examples, up to rounding; None for fewer than two.

  Such a feature tells no example from another: a unit that is dead, as each relu is that never gets above zero, or
  all of them, where the encoder collapsed.
  """
  columns = features.reshape(len(features), -1)
  if len(columns) < 2 or not columns.shape[1]:
    return None
  low, high = columns.min(0), columns.max(0)
  with np.errstate(invalid="ignore"):  # infinite ones
    return float(np.mean(high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high))))
