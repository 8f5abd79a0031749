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
