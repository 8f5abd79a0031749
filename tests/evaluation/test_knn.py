"""Nearest neighbours equal naive ones; the rank of features is its formula; features
are extracted in padded batches."""

import numpy as np
import pytest

from sslx.evaluation import knn
from sslx.evaluation.features import extract
from sslx.tasks import TASKS
from sslx.types import UserError


def blobs(n, d, classes=3, seed=0, spread=2.0):
  rng = np.random.default_rng(seed)
  labels = (np.arange(n) % classes).astype(np.int32)
  centres = np.random.default_rng(99).normal(size=(classes, d)) * spread / np.sqrt(d)
  return (centres[labels] + rng.normal(size=(n, d))).astype(np.float32), labels


def naive_votes(query, bank, labels, k, temperature):
  similarity = bank @ query / np.linalg.norm(bank, axis=1) / np.linalg.norm(query)
  votes = np.zeros(3)
  for i in np.argsort(-similarity)[:k]:
    votes[labels[i]] += np.exp(similarity[i] / temperature)
  return votes


def test_knn_equals_a_naive_one():
  bank, labels = blobs(80, 6)
  queries, _ = blobs(40, 6, seed=3)
  task = TASKS["classification"]("abc")
  for k, temperature in ((1, 0.07), (20, 0.07), (80, 0.1)):
    outputs = knn.fit_knn(bank, labels, 3, k, temperature).outputs(queries)
    for query, output in zip(queries, outputs, strict=True):
      votes = naive_votes(query, bank, labels, k, temperature)
      assert output.argmax() == votes.argmax()
      np.testing.assert_allclose(task.probabilities(output[None])[0], votes / votes.sum(), rtol=1e-3, atol=1e-6)


def test_each_is_classified_by_the_others():
  x, y = blobs(40, 5)
  right = [naive_votes(x[i], np.delete(x, i, 0), np.delete(y, i), 7, 0.07).argmax() == y[i] for i in range(40)]
  assert knn.leave_one_out(x, y, TASKS["classification"]("abc"), 7) == pytest.approx(np.mean(right))


def test_more_neighbours_than_labels_are_refused():
  with pytest.raises(UserError, match="knn:5"):
    knn.fit_knn(np.ones((4, 2), np.float32), np.zeros(4, np.int32), 2, 5)


def test_rank_is_the_entropy_of_singular_values():
  rng = np.random.default_rng(0)
  for shape in ((30, 8), (8, 30)):
    x = rng.normal(size=shape).astype(np.float32)
    s = np.linalg.svd(x.astype(np.float64), compute_uv=False)
    p = s / s.sum()
    assert knn.rank(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-6)
  assert knn.rank(np.eye(6, dtype=np.float32)) == pytest.approx(6)
  assert knn.rank(np.ones((20, 5), np.float32)) == pytest.approx(1, abs=1e-3)


def test_extract_pads_the_last_batch_only_inside():
  seen = []

  def double(x):
    seen.append(x.shape)
    return x.reshape(len(x), -1) * 2.0

  x = np.arange(7 * 4, dtype=np.uint8).reshape(7, 2, 2, 1)
  np.testing.assert_array_equal(extract(double, x, 3), x.reshape(7, 4) * 2.0)
  assert set(seen) == {(3, 2, 2, 1)}
