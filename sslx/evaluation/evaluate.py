"""The comparison: trains every case, then reads the test split once."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslx.data import Split
from sslx.evaluation.bench import Bench, Case, Predictor
from sslx.evaluation.features import extract
from sslx.evaluation.modes import mode
from sslx.types import Task


class Trained(NamedTuple):
  """A predictor, and the seconds that its choice of hyper-parameters and training took."""

  predictor: Predictor
  seconds: float


class Scored(NamedTuple):
  """What a case's predictor says of the test split, and how right it is."""

  predictor: Predictor
  seconds: float
  outputs: np.ndarray
  scores: dict[str, float]


def evaluate(bench: Bench, cases: Sequence[Case]) -> dict[Case, Scored]:
  """Trains, then tests."""
  trained = train(bench, cases)
  return test(trained, bench.dataset.test, bench.task)


def train(bench: Bench, cases: Sequence[Case]) -> dict[Case, Trained]:
  """Trains every case. Reads targets of the subsets (and of labelled.heldout) only, but for the mode majority, which
  is told the most frequent class, and nothing of the test split.

  The scratch encoder is drawn anew for each subset. All modes whose answer is an encoder with a linear head have the
  same number of parameters: asserted.
  """
  bench = dataclasses.replace(bench, labelled=bench.labelled.of(cases), memory={})
  trained: dict[Case, Trained] = {}
  for case in sorted(cases, key=_by_mode(cases)):
    begin, shared = time.monotonic(), bench.shared_seconds
    predictor = mode(case.mode).fit(bench, case)
    seconds = time.monotonic() - begin - (bench.shared_seconds - shared)
    trained[case] = Trained(predictor, seconds)
    bench.say(f"{case.mode}, {case.labels} labels, subset {case.subset_seed + 1}: {seconds:.1f} s")
  totals = {t.predictor.total for case, t in trained.items() if mode(case.mode).whole}
  assert len(totals) <= 1, f"modes with Mode.whole differ in their number of parameters: {totals}"
  return trained


def _by_mode(cases: Sequence[Case]):
  """A sort key that brings the cases of a mode together, in the order in which modes are first asked for."""
  order = {name: i for i, name in enumerate(dict.fromkeys(case.mode for case in cases))}
  return lambda case: order[case.mode]


def test(trained: Mapping[Case, Trained], split: Split, task: Task) -> dict[Case, Scored]:
  """The only function that reads the test split. Features of an encoder that no mode trains are computed once."""
  cache: dict[str, np.ndarray] = {}
  scored = {}
  for case, (predictor, seconds) in trained.items():
    represent, kind = predictor.represent, mode(case.mode)
    if kind.trains_encoder:
      features = extract(represent, split.x)
    else:
      if kind.reads not in cache:
        cache[kind.reads] = extract(represent, split.x)
      features = cache[kind.reads]
    outputs = predictor.head.outputs(features)
    scores = {name: float(value) for name, value in task.scores(outputs, split.targets()).items()}
    scored[case] = Scored(predictor, seconds, outputs, scores)
  return scored
