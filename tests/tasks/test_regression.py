"""Regression: R2, ridge against the normal equations, and answers that stay near what was learnt."""

import functools
import importlib

import numpy as np
import pytest

from sslx.tasks import TASKS
from sslx.tasks.linear import fit_scaling
from sslx.tasks.subsets import random_folds

regression = importlib.import_module("sslx.tasks.regression")  # its function has the same name
fit_ridge, r2 = regression.fit_ridge, regression.r2
standardised = functools.partial(fit_ridge, scalings=("standardize",))


def lines(n: int, d: int, targets: int = 2, noise: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Features, and numbers that are linear in them but for noise."""
  rng = np.random.default_rng(seed)
  weight = np.random.default_rng(9).normal(size=(d, targets)) / np.sqrt(d)
  features = rng.normal(size=(n, d)) * np.logspace(0, -1, d) + 2
  return features.astype(np.float32), (features @ weight + noise * rng.normal(size=(n, targets))).astype(np.float32)


def solve(x: np.ndarray, t: np.ndarray, l2: float) -> tuple[np.ndarray, np.ndarray]:
  """The normal equations of mean |x w + b - t|^2 + l2 |w|^2, b among the unknowns and without a penalty."""
  x, t = x.astype(np.float64), t.astype(np.float64)
  wide = np.concatenate([x, np.ones((len(x), 1))], 1)
  penalty = len(x) * l2 * np.diag([*np.ones(x.shape[1]), 0])
  theta = np.linalg.solve(wide.T @ wide + penalty, wide.T @ t)
  return theta[:-1], theta[-1]


# ---- scores ----------------------------------------------------------------------------------------------------------


def test_r2_by_hand():
  y = np.float32([[0, 1], [2, 1], [4, 1]])
  np.testing.assert_array_equal(r2(y, y), [1, 0])  # the second does not vary: 0, whatever is said
  np.testing.assert_array_equal(r2(np.tile(y.mean(0), (3, 1)), y), [0, 0])
  np.testing.assert_allclose(r2(y[::-1], y), [1 - 32 / 8, 0])
  np.testing.assert_allclose(r2(y + 1, y), [1 - 3 / 8, 0])


@pytest.mark.parametrize("value", [0.1, 0.3, 1234.567, -7.7, 0.0])
@pytest.mark.parametrize("n", [1, 7, 100, 1001])
def test_a_number_that_does_not_vary_scores_0_and_has_no_unit(n, value):
  """Its mean is rounded, and is another number: R2 was minus 10^13."""
  y = np.full((n, 1), value, np.float32)
  for answers in (y, y + 1, np.zeros_like(y)):
    score = r2(answers, y)
    assert score == 0
    assert not np.signbit(score)
  shift, scale = regression.units(y)
  np.testing.assert_allclose(shift, [value], rtol=1e-6)
  np.testing.assert_array_equal(scale, [1])
  head = fit_ridge(np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32), y, np.eye(3, dtype=np.float32))
  np.testing.assert_allclose(head.outputs(10 * np.eye(3, dtype=np.float32)), np.full((3, 1), value), rtol=1e-6)


def test_scores_of_several_numbers_and_of_one():
  y = np.float32([[0, 10], [2, 30], [4, 20]])
  task, answers = TASKS["regression"](("x", "speed")), y + np.float32([1, -2])
  scores = task.scores(answers, y)
  assert list(scores) == ["R2", "R2_x", "R2_speed", "MAE_x", "MAE_speed"]
  told = [1 - 3 / 8, 1 - 12 / 200]
  np.testing.assert_allclose(list(scores.values()), [np.mean(told), *told, 1, 2], rtol=1e-6)
  single = TASKS["regression"](("x",)).scores(answers[:, :1], y[:, :1])
  assert list(single) == ["R2", "MAE_x"]
  np.testing.assert_allclose(task.loss(answers, y), [2.5] * 3)
  np.testing.assert_array_equal(task.decide(answers), answers)
  assert (task.score.factor, task.score.higher_is_better) == (1, True)


def test_units_are_mean_and_deviation():
  y = lines(50, 3)[1] * np.float32([1, 1000]) + np.float32([5, -3])
  shift, scale = regression.units(y)
  assert shift.dtype == scale.dtype == np.float32
  standardised = (y - shift) / scale
  np.testing.assert_allclose(standardised.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(standardised.std(0), 1, rtol=1e-5)


# ---- ridge -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(40, 6), (15, 60), (30, 30)])
@pytest.mark.parametrize("l2", [1e-4, 1e-1])
def test_ridge_solves_the_normal_equations(n, d, l2):
  """With more numbers than labels, with fewer, and with as many: by another way each."""
  (features, y), others = lines(n, d), lines(50, d, seed=5)[0]
  head = standardised(features, y, others, l2_grid=(l2,))
  scaling = fit_scaling("standardize", others)
  weight, bias = solve(scaling(features), y, l2)
  np.testing.assert_allclose(head.linear.outputs(others), scaling(others) @ weight + bias, rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(head.linear.weight / scaling.scale[:, None], weight, rtol=2e-3, atol=2e-3)
  assert head.chosen["l2"] == [l2, l2]
  assert head.size == (d + 1) * 2


def test_both_ways_to_the_minimum_agree():
  """The same problem with each label three times, which is then longer than wide."""
  (features, y), others = lines(20, 40), lines(50, 40, seed=5)[0]
  dual = standardised(features, y, others, l2_grid=(0.01,)).linear
  primal = standardised(np.tile(features, (3, 1)), np.tile(y, (3, 1)), others, l2_grid=(0.01,)).linear
  np.testing.assert_allclose(dual.weight, primal.weight, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(dual.outputs(others), primal.outputs(others), rtol=1e-4, atol=1e-4)


def test_each_number_has_the_l2_that_is_best_for_it():
  features, y = lines(60, 5, targets=1, noise=0.01)
  y = np.concatenate([y, np.random.default_rng(3).normal(size=(60, 1)).astype(np.float32)], 1)  # nothing tells this
  head = standardised(features, y, features, seed=2)
  exact, shrunk = head.chosen["l2"]
  assert exact < shrunk
  parts, scaled = random_folds(y, 5, 2), fit_scaling("standardize", features)(features)
  for column, l2 in enumerate(head.chosen["l2"]):
    errors = {}
    for each in regression.L2_GRID:
      errors[each] = 0.0
      for fit, valid in parts:
        weight, bias = solve(scaled[fit], y[fit, column], each)
        errors[each] += float(((scaled[valid] @ weight + bias - y[valid, column]) ** 2).sum())
    assert l2 == min(errors, key=errors.__getitem__)
    alone = standardised(features, y[:, column : column + 1], features, seed=2)
    np.testing.assert_allclose(alone.outputs(features)[:, 0], head.outputs(features)[:, column], rtol=1e-5, atol=1e-6)


def test_held_out_labels_take_the_place_of_folds():
  (features, y), held = lines(12, 20), lines(200, 20, seed=8)
  head = standardised(features, y, features, heldout=held)
  tried = {
    l2: ((standardised(features, y, features, l2_grid=(l2,)).linear.outputs(held[0]) - held[1]) ** 2).sum(0)
    for l2 in regression.L2_GRID
  }
  assert head.chosen["l2"] == [min(tried, key=lambda l2: tried[l2][column]) for column in (0, 1)]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_of_a_few_labels_nothing_can_be_held_out(n):
  features, y = lines(n, 6)
  head = fit_ridge(features, y, lines(30, 6, seed=4)[0])
  assert head.chosen["l2"] == [max(regression.L2_GRID)] * 2
  assert np.isfinite(head.outputs(features)).all()
  if n == 1:
    np.testing.assert_allclose(head.outputs(lines(9, 6, seed=1)[0]), np.tile(y, (9, 1)), rtol=1e-6)


def test_answers_on_other_examples_do_not_explode():
  """A channel that hardly varies among the labelled, and much among all others. Standardised by the labelled alone, it
  is blown up ten thousand times.
  """
  rng = np.random.default_rng(0)
  reference = rng.normal(size=(500, 4)).astype(np.float32)
  y = (reference[:, :1] + 0.1 * rng.normal(size=(500, 1))).astype(np.float32)
  labelled = reference[:12].copy()
  labelled[:, 1] = 1e-4 * reference[:12, 1]
  head, naive = standardised(labelled, y[:12], reference), standardised(labelled, y[:12], labelled)
  reach = np.abs(y).max()
  assert np.abs(head.linear.outputs(reference)).max() < 1.5 * reach
  assert r2(head.outputs(reference), y) > 0.9
  assert np.abs(naive.linear.outputs(reference)).max() > 20 * reach
  assert np.abs(fit_ridge(labelled, y[:12], reference).linear.outputs(reference)).max() < 1.5 * reach
  dead = labelled * np.float32([1, 0, 1, 1])  # one that does not vary among the labelled at all
  weight = fit_ridge(dead, y[:12], reference).linear.weight
  np.testing.assert_allclose(weight[1], 0, atol=1e-6)
  assert np.abs(weight[0]) > 0.1


def test_answers_stay_near_the_range_of_the_labelled_numbers():
  features, y = lines(30, 4, noise=0.0)
  far = 1000 * features
  head, margin = fit_ridge(features, y, features), regression.BEYOND * np.ptp(y, axis=0)
  answers = head.outputs(np.concatenate([far, -far]))
  np.testing.assert_allclose(answers.min(0), y.min(0) - margin, rtol=1e-5)
  np.testing.assert_allclose(answers.max(0), y.max(0) + margin, rtol=1e-5)
  np.testing.assert_allclose(head.outputs(features), head.linear.outputs(features), rtol=1e-6)


def test_units_of_numbers_and_of_features_change_nothing():
  """Metres or millimetres, Celsius or Fahrenheit."""
  (features, y), others = lines(25, 8), lines(40, 8, seed=6)[0]
  answers = fit_ridge(features, y, others).outputs(others)
  shift, scale = np.float32([100, -3]), np.float32([1000, 0.02])
  moved = fit_ridge(features, y * scale + shift, others).outputs(others)
  np.testing.assert_allclose((moved - shift) / scale, answers, rtol=1e-3, atol=1e-3)
  more, less = np.linspace(-5, 5, 8, dtype=np.float32), np.logspace(-2, 2, 8, dtype=np.float32)
  answers = standardised(features, y, others).outputs(others)  # `center` keeps how much features vary
  turned = standardised(features * less + more, y, others * less + more).outputs(others * less + more)
  np.testing.assert_allclose(turned, answers, rtol=1e-3, atol=1e-3)


def test_the_head_of_the_task_is_the_ridge():
  features, y = lines(30, 5)
  task = TASKS["regression"](("x", "y"))
  head, same = task.fit_head(features, y, features, seed=3), fit_ridge(features, y, features, seed=3)
  np.testing.assert_array_equal(head.outputs(features), same.outputs(features))


def test_each_number_has_the_scaling_that_is_best_for_it():
  """A number that two strong features tell, and one that a weak feature tells, among many that say nothing."""
  rng = np.random.default_rng(0)
  features = rng.normal(size=(400, 60)).astype(np.float32) * np.float32([10, 10] + [0.1] * 58)
  y = np.stack([features[:, :2].sum(1), 100 * features[:, 2]], 1) + rng.normal(size=(400, 2)).astype(np.float32)
  head = fit_ridge(features[:40], y[:40], features)
  assert head.chosen["scaling"] == ["center", "standardize"]
  each = [
    fit_ridge(features[:40], y[:40], features, scalings=(name,)).outputs(features)[:, i]
    for i, name in enumerate(head.chosen["scaling"])
  ]
  np.testing.assert_allclose(head.outputs(features), np.stack(each, 1), rtol=1e-4, atol=1e-3)
