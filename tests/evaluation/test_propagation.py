"""Labels spread over a graph: the graph and the iteration against dense loops, islands,
masses, and no test image in it."""

import numpy as np
import pytest

from sslx.evaluation import propagation
from sslx.tasks.linear import unit
from sslx.types import UserError


def features(n: int, d: int = 5, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def half_whitened(x: np.ndarray) -> np.ndarray:
  """Along the singular vectors, each divided by the root of its standard deviation."""
  _, s, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
  return (x - x.mean(0)) @ (axes.T / np.sqrt(s / np.sqrt(len(x))))


def dense_graph(x: np.ndarray, k: int) -> np.ndarray:
  """S by loops."""
  x = half_whitened(x)
  x = x / np.linalg.norm(x, axis=1, keepdims=True)
  edges = np.zeros((len(x), len(x)))
  for i in range(len(x)):
    near = sorted((j for j in range(len(x)) if j != i), key=lambda j: -float(x[i] @ x[j]))[:k]
    for j in near:
      edges[i, j] = edges[j, i] = 1
  degree = edges.sum(1)
  return edges / np.sqrt(degree[:, None] * degree[None, :])


def test_graph_is_the_naive_one_in_any_chunks(monkeypatch):
  x = features(37)
  expected = dense_graph(x, 4)
  for chunk in (500, 10):
    monkeypatch.setattr(propagation, "CHUNK", chunk)
    np.testing.assert_allclose(propagation.graph(x, 4).smooth.toarray(), expected, rtol=1e-5)
  assert np.all(np.diag(expected) == 0)


@pytest.mark.parametrize("class_mass", [False, True])
def test_propagation_is_the_iteration_written_out(class_mass):
  x = features(30)
  rows, labels = np.array([3, 11, 20, 25]), np.array([0, 1, 1, 2])
  given = np.zeros((30, 3))
  given[rows, labels] = 1
  smooth, found = dense_graph(x, 3), given
  for _ in range(propagation.ITERATIONS):
    found = propagation.ALPHA * smooth @ found + (1 - propagation.ALPHA) * given
  if class_mass:
    found = found / found.sum(0) * np.array([1, 2, 1]) / 4
    np.testing.assert_allclose(found.sum(0), [0.25, 0.5, 0.25])
  head = propagation.propagate(propagation.graph(x, 3), rows, labels, 3, class_mass)
  np.testing.assert_allclose(head.belief, found / found.sum(1, keepdims=True), rtol=1e-3, atol=1e-5)
  assert head.chosen["class_mass"] is class_mass


def test_plain_similarity_is_the_cosine():
  x = features(30) + 1
  cosine = unit(x) @ unit(x).T - 2 * np.eye(30)
  index = propagation.graph(x, 3, plain=True)
  expected = np.zeros((30, 30), bool)
  for i in range(30):
    for j in np.argsort(cosine[i])[-3:]:
      expected[i, j] = expected[j, i] = True
  np.testing.assert_array_equal(index.smooth.toarray() > 0, expected)
  assert np.any((propagation.graph(x, 3).smooth.toarray() > 0) != expected)


def test_similarity_is_along_the_principal_axes(monkeypatch):
  x = features(60, 8) * np.arange(1, 9) @ features(8, 8, 1) + 5
  space = propagation.principal(x)
  whole = unit(half_whitened(x))
  np.testing.assert_allclose(space(x) @ space(x).T, whole @ whole.T, rtol=1e-3, atol=1e-3)
  projected = (x - space.mean) @ space.basis
  covariance = projected.T @ projected / 60
  variance = np.linalg.svd(x - x.mean(0))[1] ** 2 / 60
  np.testing.assert_allclose(covariance, np.diag(np.sqrt(variance[::-1])), rtol=1e-2, atol=1e-2)
  monkeypatch.setattr(propagation, "AXES", 3)
  assert propagation.principal(x).basis.shape == (8, 3)
  np.testing.assert_allclose(np.abs(propagation.principal(x).basis), np.abs(space.basis[:, -3:]), rtol=1e-3, atol=1e-3)
  constant = np.concatenate([x, np.zeros((60, 2), np.float32)], axis=1)  # features that never vary say nothing
  assert np.isfinite(propagation.principal(constant)(constant)).all()


def test_one_label_is_enough_for_an_island():
  rng = np.random.default_rng(1)
  centres = np.eye(4, 6)
  truth = np.repeat(np.arange(4), 25)
  x = (centres[truth] + 0.05 * rng.standard_normal((100, 6))).astype(np.float32)
  near = propagation.graph(x, 5)
  head = propagation.propagate(near, np.array([0, 25, 50, 75]), np.array([2, 0, 3, 1]), 4)
  names = np.array([2, 0, 3, 1])
  assert (head.belief.argmax(1) == names[truth]).all()
  test = (centres[truth] + 0.05 * rng.standard_normal((100, 6))).astype(np.float32)
  assert (head.outputs(test).argmax(1) == names[truth]).all()
  # inductive: an image's answer does not depend on the others that are asked about
  np.testing.assert_array_equal(head.outputs(test[:3]), head.outputs(test)[:3])
  # an island without a label has nothing to say, and says so with finite numbers
  silent = propagation.propagate(near, np.array([0]), np.array([2]), 4)
  assert np.all(silent.belief[25:] == 0)
  assert np.isfinite(silent.outputs(test)).all()


def test_too_few_images():
  with pytest.raises(UserError, match="more than 10 training images"):
    propagation.graph(features(10))


def test_neighbours_of_the_same_features_are_found_once(monkeypatch):
  x, queries, calls = features(30), features(9, seed=2), []
  near, real = propagation.graph(x, 3), propagation.nearest
  monkeypatch.setattr(propagation, "nearest", lambda *a: calls.append(a) or real(*a))
  heads = [propagation.propagate(near, np.array([0, 1]), np.array(y), 2) for y in ([0, 1], [1, 0])]
  first, second = (head.outputs(queries) for head in heads)
  assert len(calls) == 1
  np.testing.assert_array_equal(first, second[:, ::-1])
  np.testing.assert_array_equal(heads[0].outputs(queries.copy()), first)
  assert len(calls) == 2  # other features, though equal ones
