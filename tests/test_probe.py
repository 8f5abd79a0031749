"""Probes: the optimum is an optimum, the shortcut in the span of the samples is exact, kNN equals a naive one."""

import numpy as np
import pytest

from sslx.evaluation import probe
from sslx.types import UserError


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
  model = probe.fit_linear(features, labels, 3, features, l2_grid=(l2,), scalings=("raw",))
  weight, bias = gradient(model, features, labels, l2)
  assert np.abs(weight).max() < 2e-4
  assert np.abs(bias).max() < 2e-4
  assert model.weight.shape == (d, 3)


def test_the_span_of_the_samples_is_enough():
  features, labels = blobs(24, 60)
  narrow = probe.fit_linear(features, labels, 3, features, l2_grid=(0.01,), scalings=("raw",))
  repeated = np.concatenate([features] * 3)  # the same problem with more samples than features: solved directly
  wide = probe.fit_linear(repeated, np.concatenate([labels] * 3), 3, features, l2_grid=(0.01,), scalings=("raw",))
  queries, _ = blobs(50, 60, seed=5)
  np.testing.assert_allclose(narrow.logits(queries), wide.logits(queries), atol=1e-2)


@pytest.mark.parametrize("l2", [1e-4, 1e-2])
def test_principal_axes_have_the_same_minimum(l2, monkeypatch):
  """Features of very unequal variance, some of them dead or copies of others."""
  features, labels = blobs(300, 20, classes=4)
  features = np.concatenate(
    [features * np.logspace(0, -2, 20, dtype=np.float32), features[:, :3], features[:, :2] * 0], 1
  )
  options = {"l2_grid": (l2,), "scalings": ("l2",)}
  direct = probe.fit_linear(features, labels, 4, features, **options)
  monkeypatch.setattr(probe, "LARGE", 0)
  assert probe._space(direct.scaling, features).penalty.shape == (25, 1)
  turned = probe.fit_linear(features, labels, 4, features, **options)
  for model in (direct, turned):
    weight, bias = gradient(model, features, labels, l2)
    assert np.abs(weight).max() < 5e-4
    assert np.abs(bias).max() < 5e-4
  np.testing.assert_allclose(turned.logits(features), direct.logits(features), atol=0.1)


def test_with_many_labels_one_fold_chooses_and_less_l2_is_tried(monkeypatch):
  features, labels = blobs(90, 5, spread=20)
  solved = []
  real = probe._lbfgs
  monkeypatch.setattr(probe, "_lbfgs", lambda *a: solved.append((int((a[2] > 0).sum()), a[3], a[5])) or real(*a))
  model = probe.fit_linear(features, labels, 3, features)
  few, solved[:] = list(solved), []
  assert {l2 for _, l2, _ in few} == set(probe.L2_GRID)
  assert sum(n < 90 for n, _, _ in few) == 5 * 2 * len(probe.L2_GRID)
  assert 0 <= model.chosen["validation_accuracy"] <= 1
  monkeypatch.setattr(probe, "MANY", 90)
  model = probe.fit_linear(features, labels, 3, features)
  assert sum(n < 90 for n, _, _ in solved) == 2 * len(probe.L2_GRID + probe.MANY_L2)
  assert [steps for n, _, steps in solved if n == 90][-1] == 500
  assert {steps for n, _, steps in solved[:-1]} == {probe.CHOICE_STEPS}
  assert model.chosen["validation_accuracy"] == 1  # of those held out, not of all


def test_standardisation_is_the_references_and_ignores_dead_features():
  rng = np.random.default_rng(0)
  reference = (rng.normal(size=(500, 4)) * [1, 10, 0, 0.1] + [5, 0, 3, 1]).astype(np.float32)
  scaled = probe.fit_scaling("standardize", reference)(reference) * 2  # sqrt(4)
  np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)
  np.testing.assert_allclose(scaled.std(0), [1, 1, 0, 1], atol=1e-4)
  unit = probe.fit_scaling("l2", reference)(reference)
  np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
  with pytest.raises(ValueError, match="unknown scaling"):
    probe.fit_scaling("max", reference)


def test_cross_validation_prefers_what_generalises():
  # 200 noise features of large scale beside 2 informative ones: only standardisation shows the latter.
  rng = np.random.default_rng(1)
  labels = (np.arange(90) % 3).astype(np.int32)
  informative = np.eye(3)[labels][:, :2] * 0.01 + rng.normal(size=(90, 2)) * 1e-3
  features = np.concatenate([informative, rng.normal(size=(90, 3)) * 50], 1).astype(np.float32)
  model = probe.fit_linear(features, labels, 3, features)
  assert model.chosen["scaling"] == "standardize"
  assert model.chosen["validation_accuracy"] > 0.9


def test_ties_take_the_stronger_penalty_and_one_label_a_class_works():
  features, labels = blobs(3, 5, spread=50)
  model = probe.fit_linear(features, labels, 3, features)
  assert model.chosen["validation_accuracy"] is None
  assert (model.predict(features) == labels).all()


def test_held_out_labels_take_the_place_of_folds():
  features, labels = blobs(30, 5)
  held = blobs(300, 5, seed=8)
  model = probe.fit_linear(features, labels, 3, features, heldout=held)
  best = max(
    (probe.fit_linear(features, labels, 3, features, l2_grid=(l2,), scalings=(s,)).predict(held[0]) == held[1]).mean()
    for l2 in probe.L2_GRID
    for s in probe.SCALINGS
  )
  assert model.chosen["validation_accuracy"] == pytest.approx(best, abs=0.011)


def test_knn_equals_a_naive_one():
  bank, labels = blobs(80, 6)
  queries, _ = blobs(40, 6, seed=3)
  for k, temperature in ((1, 0.07), (20, 0.07), (80, 0.1)):
    got = probe.fit_knn(bank, labels, 3, k, temperature).predict(queries)
    for query, guess in zip(queries, got, strict=True):
      similarity = bank @ query / np.linalg.norm(bank, axis=1) / np.linalg.norm(query)
      votes = np.zeros(3)
      for i in np.argsort(-similarity)[:k]:
        votes[labels[i]] += np.exp(similarity[i] / temperature)
      assert guess == votes.argmax()


def test_knn_refuses_more_neighbours_than_labels():
  with pytest.raises(UserError, match="knn:5"):
    probe.fit_knn(np.ones((4, 2), np.float32), np.zeros(4, np.int32), 2, 5)


def test_extract_pads_the_last_batch_only_inside():
  seen = []

  def encode(x):
    seen.append(x.shape)
    return x.reshape(len(x), -1) * 2.0

  images = np.arange(7 * 4, dtype=np.uint8).reshape(7, 2, 2, 1)
  np.testing.assert_array_equal(probe.extract(encode, images, 3), images.reshape(7, 4) * 2.0)
  assert set(seen) == {(3, 2, 2, 1)}
