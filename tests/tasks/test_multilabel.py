"""Multi-label classification: average precision and logistic regressions against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from sslx.tasks import TASKS
from sslx.tasks.classification import L2_GRID
from sslx.tasks.linear import SCALINGS
from sslx.tasks.multilabel import fit_logistics, mean_average_precision


def labelled(n: int, d: int, classes: int = 3, noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(seed)
  features = rng.normal(size=(n, d)).astype(np.float32)
  weight = np.random.default_rng(9).normal(size=(d, classes))
  return features, (features @ weight + noise * rng.normal(size=(n, classes)) > 0.5).astype(np.uint8)


@pytest.mark.parametrize("values", [None, 5, 2, 1], ids=lambda v: f"{v} values")
def test_average_precision_is_scikit_learns(values):
  """Also where many examples have the same logit, or all of them."""
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(80, 4)) if values is None else rng.integers(0, values, (80, 4)).astype(float)
  y = (rng.random((80, 4)) < [0.5, 0.1, 0.9, 1]).astype(np.uint8)
  expected = np.mean([average_precision_score(y[:, k], logits[:, k]) for k in range(4)])
  assert mean_average_precision(logits.astype(np.float32), y) == pytest.approx(expected, rel=1e-6)


def test_average_precision_by_hand():
  logits = np.float32([[4], [3], [2], [1]])
  assert mean_average_precision(logits, np.uint8([[1], [0], [1], [0]])) == pytest.approx((1 + 2 / 3) / 2)
  assert mean_average_precision(logits, np.uint8([[0], [0], [0], [1]])) == 0.25
  assert mean_average_precision(logits, np.uint8([[1], [1], [0], [0]])) == 1


def test_classes_that_no_example_has_are_left_out():
  logits, y = np.float32([[2, 0, 1], [1, 5, 0]]), np.uint8([[1, 0, 0], [0, 0, 0]])
  assert mean_average_precision(logits, y) == 1
  assert mean_average_precision(logits, 0 * y) == 0


@pytest.mark.parametrize(("n", "d"), [(60, 5), (30, 50)])
@pytest.mark.parametrize("l2", [1e-3, 0.1])
def test_each_class_is_a_logistic_regression(n, d, l2):
  (features, y), others = labelled(n, d), labelled(40, d, seed=4)[0]
  head = fit_logistics(features, y, features, l2_grid=(l2,), scalings=("raw",))
  assert head.chosen == {"scaling": "raw", "l2": l2}
  assert head.size == (d + 1) * 3
  for k in range(3):
    expected = LogisticRegression(C=1 / (n * l2), tol=1e-8, max_iter=5000).fit(features, y[:, k])
    logits = expected.decision_function(others)
    np.testing.assert_allclose(head.outputs(others)[:, k], logits, rtol=0.02, atol=0.02)


def test_scaling_and_l2_are_those_with_the_least_loss_on_what_is_held_out():
  (features, y), held = labelled(25, 6, noise=2), labelled(300, 6, noise=2, seed=5)
  features[:, 0] *= 30
  held[0][:, 0] *= 30
  head, losses = fit_logistics(features, y, features, heldout=held), {}
  for scaling in SCALINGS:
    for l2 in L2_GRID:
      logits = fit_logistics(features, y, features, l2_grid=(l2,), scalings=(scaling,)).outputs(held[0])
      losses[scaling, l2] = np.logaddexp(0, np.where(held[1] > 0, -logits, logits)).sum()
  best = min(losses.values())
  assert losses[head.chosen["scaling"], head.chosen["l2"]] == pytest.approx(best, rel=0.01)
  inside = fit_logistics(features, y, features, seed=1)
  np.testing.assert_array_equal(
    inside.outputs(features), fit_logistics(features, y, features, seed=1).outputs(features)
  )


@pytest.mark.parametrize("n", [1, 3, 20])
def test_classes_that_all_or_none_of_the_labelled_have(n):
  features = labelled(n, 4)[0]
  head = fit_logistics(features, np.tile(np.uint8([0, 1]), (n, 1)), features)
  logits = head.outputs(features)
  assert np.isfinite(logits).all()
  assert (logits[:, 0] < 0).all()
  assert (logits[:, 1] > 0).all()


def test_what_can_be_told_is_told():
  features, y = labelled(200, 4, noise=0)
  task = TASKS["multilabel"](("a", "b", "c"))
  logits = task.fit_head(features, y, features).outputs(features)
  scores = task.scores(logits, y)
  assert list(scores) == ["mAP", "accuracy"]
  assert scores["mAP"] == pytest.approx(1, abs=0.002)
  decided = task.decide(logits)
  assert decided.dtype == np.uint8
  assert scores["accuracy"] == (decided == y).mean() > 0.97


def test_the_loss_is_the_cross_entropy_of_each_class():
  logits, y = np.float32([[2, -1], [0, 30]]), np.uint8([[1, 1], [0, 0]])
  task = TASKS["multilabel"](("a", "b"))
  expected = [(np.log1p(np.exp(-2)) + np.log1p(np.exp(1))) / 2, (np.log(2) + 30) / 2]
  np.testing.assert_allclose(task.loss(logits, y), expected, rtol=1e-6)
  assert float(task.watched(logits, y)["label_accuracy"]) == task.scores(logits, y)["accuracy"] == 0.5
