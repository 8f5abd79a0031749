"""Classification: scores, and a logistic head whose optimum is one, exact in the span of the samples."""

import importlib

import numpy as np
import pytest

from sslx.tasks import TASKS, linear
from sslx.tasks.classification import fit_logistic

classification = importlib.import_module("sslx.tasks.classification")  # its function has the same name


def blobs(n, d, classes=3, seed=0, spread=2.0):
  rng = np.random.default_rng(seed)
  labels = (np.arange(n) % classes).astype(np.int32)
  centres = np.random.default_rng(99).normal(size=(classes, d)) * spread / np.sqrt(d)
  return (centres[labels] + rng.normal(size=(n, d))).astype(np.float32), labels


def gradient(model, features, labels, l2):
  """Gradient of the objective at the model, by hand."""
  x = model.scaling(features).astype(np.float64)
  logits = x @ model.weight + model.bias
  p = np.exp(logits - logits.max(1, keepdims=True))
  p /= p.sum(1, keepdims=True)
  p[np.arange(len(labels)), labels] -= 1
  return x.T @ p / len(labels) + l2 * model.weight, p.mean(0)


@pytest.mark.parametrize(("n", "d"), [(60, 7), (30, 200)])
@pytest.mark.parametrize("l2", [1e-3, 1.0])
def test_the_optimum_is_stationary(n, d, l2):
  features, labels = blobs(n, d)
  model = fit_logistic(features, labels, 3, features, l2_grid=(l2,), scalings=("raw",))
  weight, bias = gradient(model, features, labels, l2)
  assert np.abs(weight).max() < 2e-4
  assert np.abs(bias).max() < 2e-4
  assert model.weight.shape == (d, 3)


def test_the_span_of_the_samples_is_enough():
  features, labels = blobs(24, 60)
  narrow = fit_logistic(features, labels, 3, features, l2_grid=(0.01,), scalings=("raw",))
  repeated = np.concatenate([features] * 3)  # the same problem with more samples than features: solved directly
  wide = fit_logistic(repeated, np.concatenate([labels] * 3), 3, features, l2_grid=(0.01,), scalings=("raw",))
  queries, _ = blobs(50, 60, seed=5)
  np.testing.assert_allclose(narrow.outputs(queries), wide.outputs(queries), atol=1e-2)


@pytest.mark.parametrize("l2", [1e-4, 1e-2])
def test_principal_axes_have_the_same_minimum(l2, monkeypatch):
  """Features of very unequal variance, some of them dead or copies of others."""
  features, labels = blobs(300, 20, classes=4)
  features = np.concatenate(
    [features * np.logspace(0, -2, 20, dtype=np.float32), features[:, :3], features[:, :2] * 0], 1
  )
  options = {"l2_grid": (l2,), "scalings": ("l2",)}
  direct = fit_logistic(features, labels, 4, features, **options)
  monkeypatch.setattr(linear, "LARGE", 0)
  assert linear.make_space(direct.scaling, features).penalty.shape == (25, 1)
  turned = fit_logistic(features, labels, 4, features, **options)
  for model in (direct, turned):
    weight, bias = gradient(model, features, labels, l2)
    assert np.abs(weight).max() < 5e-4
    assert np.abs(bias).max() < 5e-4
  np.testing.assert_allclose(turned.outputs(features), direct.outputs(features), atol=0.1)


def test_with_many_labels_one_fold_chooses_and_less_l2_is_tried(monkeypatch):
  features, labels = blobs(90, 5, spread=20)
  solved = []
  real = classification._lbfgs
  monkeypatch.setattr(
    classification, "_lbfgs", lambda *a: solved.append((int((a[2] > 0).sum()), a[3], a[5])) or real(*a)
  )
  model = fit_logistic(features, labels, 3, features)
  with_folds, solved[:] = list(solved), []
  assert {l2 for _, l2, _ in with_folds} == set(classification.L2_GRID)
  assert sum(n < 90 for n, _, _ in with_folds) == 5 * 2 * len(classification.L2_GRID)
  assert 0 <= model.chosen["validation_accuracy"] <= 1
  monkeypatch.setattr(classification, "MANY", 90)
  model = fit_logistic(features, labels, 3, features)
  assert sum(n < 90 for n, _, _ in solved) == 2 * len(classification.L2_GRID + classification.MANY_L2)
  assert [steps for n, _, steps in solved if n == 90][-1] == 500
  assert {steps for n, _, steps in solved[:-1]} == {classification.CHOICE_STEPS}
  assert model.chosen["validation_accuracy"] == 1  # of those held out, not of all


def test_cross_validation_prefers_what_generalises():
  # 200 noise features of large scale beside 2 informative ones: only standardisation shows the latter.
  rng = np.random.default_rng(1)
  labels = (np.arange(90) % 3).astype(np.int32)
  informative = np.eye(3)[labels][:, :2] * 0.01 + rng.normal(size=(90, 2)) * 1e-3
  features = np.concatenate([informative, rng.normal(size=(90, 3)) * 50], 1).astype(np.float32)
  model = fit_logistic(features, labels, 3, features)
  assert model.chosen["scaling"] == "standardize"
  assert model.chosen["validation_accuracy"] > 0.9


def test_ties_take_the_stronger_penalty_and_one_label_a_class_works():
  features, labels = blobs(3, 5, spread=50)
  model = fit_logistic(features, labels, 3, features)
  assert model.chosen["validation_accuracy"] is None
  assert (model.outputs(features).argmax(1) == labels).all()


def test_held_out_labels_take_the_place_of_folds():
  features, labels = blobs(30, 5)
  held = blobs(300, 5, seed=8)
  model = fit_logistic(features, labels, 3, features, heldout=held)
  best = max(
    (
      fit_logistic(features, labels, 3, features, l2_grid=(l2,), scalings=(s,)).outputs(held[0]).argmax(1) == held[1]
    ).mean()
    for l2 in classification.L2_GRID
    for s in linear.SCALINGS
  )
  assert model.chosen["validation_accuracy"] == pytest.approx(best, abs=0.011)


def test_the_task_of_named_classes():
  task = TASKS["classification"](("cat", "dog", "eel"))
  assert (task.name, task.outputs, task.names) == ("classification", 3, ("cat", "dog", "eel"))
  logits, y = np.float32([[3, 1, 0], [0, 1, 2], [0, 5, 0], [1, 2, 0]]), np.array([0, 2, 0, 1])
  assert task.scores(logits, y) == {"accuracy": 0.75}
  assert next(iter(task.scores(logits, y))) == task.score.name
  assert task.decide(logits).tolist() == [0, 2, 1, 1]
  e = np.exp(logits)
  np.testing.assert_allclose(task.probabilities(logits), e / e.sum(1, keepdims=True), rtol=1e-5)
  expected = [np.log(row.sum()) - z[label] for row, z, label in zip(e, logits, y, strict=True)]
  np.testing.assert_allclose(task.loss(logits, y), expected, rtol=1e-5)


def test_the_head_of_the_task_is_the_logistic_one():
  features, labels = blobs(60, 5)
  task = TASKS["classification"](("a", "b", "c"))
  head, same = task.fit_head(features, labels, features, seed=3), fit_logistic(features, labels, 3, features, seed=3)
  np.testing.assert_array_equal(head.outputs(features), same.outputs(features))
  assert head.chosen == same.chosen
