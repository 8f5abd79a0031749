"""What every task of TASKS promises. A new one adds a line of targets to TARGETS."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.tasks import TASKS
from sslx.types import Score, Subset

RNG = np.random.default_rng(0)
N, D, NAMES = 60, 7, ("a", "b", "c")
TARGETS = {"classification": (np.arange(N) % 3).astype(np.int32)}  # task -> y [N]


@pytest.fixture(params=TASKS)
def task(request):
  return TASKS[request.param](NAMES)


def test_it_says_what_it_is(task):
  assert TASKS[task.name](NAMES).names == task.names
  assert task.outputs >= 1
  assert isinstance(task.score, Score)


def test_loss_and_scores_are_for_numpy_and_jax(task):
  y, outputs = TARGETS[task.name], RNG.normal(size=(N, task.outputs)).astype(np.float32)
  each = task.loss(jnp.asarray(outputs), jnp.asarray(y))
  assert each.shape == (N,)
  assert np.isfinite(each).all()
  scores = task.scores(outputs, y)
  assert next(iter(scores)) == task.score.name
  for name, value in jax.jit(task.scores)(outputs, y).items():
    np.testing.assert_allclose(value, scores[name], rtol=1e-5)
  # what is right scores better than what is not, in the direction that the score says
  features = RNG.normal(size=(N, D)).astype(np.float32)
  features[:, 0] = y.reshape(N, -1)[:, 0]
  head = task.fit_head(features, y, features)
  trained = float(task.scores(head.outputs(features), y)[task.score.name])
  assert (trained > float(scores[task.score.name])) == task.score.higher_is_better
  if task.probabilities is not None:
    np.testing.assert_allclose(task.probabilities(outputs).sum(1), 1, rtol=1e-5)
  assert len(task.decide(outputs)) == N


def test_a_head_is_fitted_inside_its_labels(task):
  y, features = TARGETS[task.name], RNG.normal(size=(N, D)).astype(np.float32)
  held = features[:20], y[:20]
  for heldout in (None, held):
    head = task.fit_head(features[20:], y[20:], features, seed=1, heldout=heldout)
    assert head.outputs(features).shape == (N, task.outputs)
    assert head.size == (D + 1) * task.outputs
    assert isinstance(head.chosen, dict)
    again = task.fit_head(features[20:], y[20:], features, seed=1, heldout=heldout)
    np.testing.assert_array_equal(head.outputs(features), again.outputs(features))


@pytest.mark.parametrize("how", get_args(Subset))
def test_subsets_are_nested_and_seeded(task, how):
  y = TARGETS[task.name]
  subsets = task.subset(y, [6, 30], 3, how)
  assert {size: len(set(rows.tolist())) for size, rows in subsets.items()} == {6: 6, 30: 30}
  assert set(subsets[6].tolist()) <= set(subsets[30].tolist())
  np.testing.assert_array_equal(task.subset(y, [6], 3, how)[6], subsets[6])
  assert not np.array_equal(task.subset(y, [30], 4, how)[30], subsets[30])


def test_folds_are_a_partition(task):
  y = TARGETS[task.name]
  parts = task.folds(y, 3, 0)
  np.testing.assert_array_equal(np.sort(np.concatenate([valid for _, valid in parts])), np.arange(N))
  assert all(not np.intersect1d(train, valid).size for train, valid in parts)
