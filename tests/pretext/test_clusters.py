"""Clusters that are found while a method trains: against loops in numpy, and frozen afterwards."""

import jax
import numpy as np
import pytest

from sslx.pretext.families import clusters

KEY = jax.random.key(0)
follow = jax.jit(clusters.follow, static_argnums=3)
spread_out = jax.jit(clusters.spread_out, static_argnums=2)


def points(n: int, seed: int = 0, width: int = 2) -> np.ndarray:
  return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def naive_nearest(centres, x):
  return np.array([min(range(len(centres)), key=lambda k: ((centres[k] - p) ** 2).sum()) for p in np.float64(x)])


def test_nearest_equals_a_loop():
  x, centres = points(60).reshape(4, 15, 2), points(5, 1)
  expected = naive_nearest(np.float64(centres), x.reshape(-1, 2)).reshape(4, 15)
  np.testing.assert_array_equal(clusters.nearest(centres, x), expected)


@pytest.mark.parametrize("seed", range(5))
def test_seeding_takes_no_point_twice(seed):
  """Of points that are six values, often repeated and one of them rare, it takes each once, whatever the key."""
  values = points(6)
  x = values[np.repeat(np.arange(6), [50, 50, 50, 50, 50, 1])]
  centres = np.asarray(spread_out(jax.random.key(seed), x, 6))
  np.testing.assert_array_equal(centres[np.lexsort(centres.T)], values[np.lexsort(values.T)])
  fewer = np.asarray(spread_out(jax.random.key(seed), x[:50], 3))  # one value for three centres
  np.testing.assert_array_equal(fewer, np.repeat(values[:1], 3, 0))


def test_seeding_prefers_what_is_far():
  """As squared distances say: of 990 points at 1, ten at 0 and one at 100, the last is the second centre but once in a
  thousand times.
  """
  x = np.zeros((1001, 2), np.float32)
  x[10:1000, 0], x[1000, 0] = 1, 100
  second = []
  for seed in range(200):
    centres = np.asarray(spread_out(jax.random.key(seed), x, 2))[:, 0]
    if centres[0] == 1:  # the others' squared distances are 10 times 1, and 9,801
      second.append(centres[1] == 100)
  assert len(second) > 150
  assert np.mean(second) > 0.99


def test_lloyd_equals_a_loop():
  x, centres = points(80), points(5, 1)
  centres[4] = 50  # nearest to nothing: it stays
  expected = np.float64(centres)
  for _ in range(4):
    member = naive_nearest(expected, x)
    expected = np.stack([np.float64(x[member == k]).mean(0) if (member == k).any() else expected[k] for k in range(5)])
  np.testing.assert_allclose(clusters.lloyd(centres, x, 4), expected, rtol=1e-5, atol=1e-6)
  assert (expected[4] == 50).all()


def test_the_first_batch_starts_them():
  """Groups far from each other: each centre is the mean of a group."""
  middles = np.float32([[0, 0], [50, 0], [0, 50], [50, 50]])
  x = (middles[:, None] + points(4 * 30, 2).reshape(4, 30, 2)).astype(np.float32)
  found = follow(clusters.empty(4, 2), KEY, x.reshape(-1, 2), 3)
  centres = np.asarray(found["centres"])
  np.testing.assert_allclose(centres[naive_nearest(centres, middles)], x.mean(1), rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(found["counts"], 30)
  assert found["steps"] == 1


def test_next_batches_move_them_and_then_they_are_frozen():
  """A centre is the mean of all points that were nearest to it when they came, and of those that started it."""
  found = follow(clusters.empty(4, 2), KEY, points(50), 3)
  centres, counts = np.float64(found["centres"]), np.float64(found["counts"])
  assert counts.sum() == 50
  for seed in (1, 2):
    x = points(40, seed) + 1
    member = naive_nearest(centres, x)
    found = follow(found, KEY, x, 3)
    for k in range(4):
      new = np.float64(x[member == k])
      centres[k] = (counts[k] * centres[k] + new.sum(0)) / (counts[k] + len(new))
      counts[k] += len(new)
    np.testing.assert_allclose(found["centres"], centres, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["counts"], counts)
  after = follow(found, KEY, points(40, 5), 3)
  assert after["steps"] == 3
  for name, value in found.items():
    np.testing.assert_array_equal(after[name], value)
