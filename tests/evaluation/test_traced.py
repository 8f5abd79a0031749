"""The heads' jax functions against what the heads compute with numpy."""

import inspect
import sys
from collections.abc import Callable

import jax
import numpy as np
import pytest

from sslx.evaluation import bench, finetune, heads, knn, propagation
from sslx.evaluation.traced import HEADS, traced
from sslx.tasks import TASKS, linear
from sslx.tasks.linear import Linear, Scaling
from sslx.tasks.regression import Ridge
from sslx.types import Head

D, K, N = 6, 3, 40
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(7, D)).astype(np.float32) * np.arange(1, D + 1, dtype=np.float32) + 2
BANK = RNG.normal(size=(N, D)).astype(np.float32) * np.arange(1, D + 1, dtype=np.float32) + 2
Y = np.arange(N, dtype=np.int32) % K
MAPS = RNG.normal(size=(4, 5, 6, D)).astype(np.float32)


def linear_head(unit: bool) -> Linear:
  scaling = Scaling(BANK.mean(0), 1 / BANK.std(0), unit)
  return Linear(RNG.normal(size=(D, K)).astype(np.float32), np.arange(K, dtype=np.float32), scaling, {})


def placed(name: str, names: tuple[str, ...]) -> Head:
  task = TASKS[name](names)
  params = task.head().init(jax.random.key(0), MAPS)["params"]
  return finetune.head_maker(task)(params, {})


def propagated(plain: bool) -> Head:
  return propagation.propagate(propagation.graph(BANK, 5, plain), np.arange(K), Y[:K], K)


CASES: dict[str, Callable[[], Head]] = {
  "scaled": lambda: linear_head(False),
  "unit length": lambda: linear_head(True),
  "ridge": lambda: Ridge(linear_head(False), np.full(K, -0.5, np.float32), np.full(K, 0.5, np.float32)),
  "majority": lambda: heads.Constant(np.eye(K, dtype=np.float32)[1], {}),
  "neighbours": lambda: knn.fit_knn(BANK, Y, K, 5),
  "one neighbour": lambda: knn.fit_knn(BANK, Y, K, 1),  # the other classes have no vote at all
  "propagated": lambda: propagated(False),
  "propagated, plain": lambda: propagated(True),
  "masks": lambda: placed("segmentation", ("background", "a")),
  "boxes": lambda: placed("detection", ("a", "b")),
}


@pytest.mark.parametrize("name", CASES)
def test_a_head_answers_the_same_as_a_jax_function(name):
  head = CASES[name]()
  features = MAPS if isinstance(head, finetune.Placed) else FEATURES
  expected = np.asarray(head.outputs(features))
  got = np.asarray(jax.jit(traced(head))(features))
  assert got.shape == expected.shape
  assert got.dtype.kind == expected.dtype.kind
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
  assert len(np.unique(expected.round(3))) > 1  # a head that says one thing always would agree with anything


def test_features_of_zero_stay_finite():
  zeros = np.zeros((2, D), np.float32)
  for head in (linear_head(True), knn.fit_knn(BANK, Y, K, 5)):
    got = np.asarray(jax.jit(traced(head))(zeros))
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, head.outputs(zeros), rtol=1e-5, atol=1e-5)


def test_every_kind_of_head_has_a_function():
  found = {
    kind
    for module in (bench, finetune, heads, knn, propagation, linear, sys.modules[Ridge.__module__])
    for kind in vars(module).values()
    if inspect.isclass(kind) and {"outputs", "chosen", "size"} <= set(dir(kind)) and kind is not Head
  }
  assert found == set(HEADS)
  assert {type(make()) for make in CASES.values()} == set(HEADS)
