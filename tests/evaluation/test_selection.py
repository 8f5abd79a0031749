"""What is labelled next: closed forms of each strategy; never twice, never what has a
label, the same for the same seed."""

import numpy as np
import pytest

from sslx.evaluation import selection
from sslx.types import UserError

CENTRES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
SIZES = (60, 40, 30)


def blobs(seed=0):
  """Three blobs, the largest first; the first point of each is its centre, where it is
  densest."""
  rng = np.random.default_rng(seed)
  parts = []
  for centre, size in zip(CENTRES, SIZES, strict=True):
    directions = rng.normal(size=(size, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = np.linspace(0, 0.1, size)[:, None]
    parts.append(centre + radii * directions)
  return np.concatenate(parts).astype(np.float32)


def none_labelled():
  return np.zeros((0, 3), np.float32)


def blob_of(rows):
  return [int(np.searchsorted(np.cumsum(SIZES), row, side="right")) for row in rows]


def test_typical_gives_the_densest_of_each_blob_the_largest_first():
  pool = blobs()
  choice = selection.typical(pool, none_labelled(), 3, seed=0)
  assert blob_of(choice.rows) == [0, 1, 2]
  for row, size, first in zip(choice.rows, SIZES, np.cumsum((0, *SIZES)), strict=False):
    distance = np.linalg.norm(pool[first : first + size] - pool[row], axis=1)
    densities = [np.sort(np.linalg.norm(pool[first : first + size] - p, axis=1))[1 : 1 + min(20, size // 2)].mean()
                 for p in pool[first : first + size]]  # fmt: skip
    assert distance.min() == 0
    assert row - first == int(np.argmin(densities))
  naive = 1 / (np.sort(np.linalg.norm(pool[:60] - pool[choice.rows[0]], axis=1))[1:21].mean() + 1e-5)
  assert choice.scores[0] == pytest.approx(naive, rel=1e-4)


def test_typical_begins_with_what_has_no_label():
  pool = blobs()
  labelled = pool[[0, 1, 65]]
  rest = np.delete(np.arange(len(pool)), [0, 1, 65])
  # six clusters: the blob without a label has one of its own that is taken first
  choice = selection.typical(pool[rest], labelled, 3, seed=0)
  member = selection.k_means(np.concatenate([pool[rest], labelled]), 6, 0)
  with_labels = set(member[len(rest) :])
  assert not with_labels & set(member[choice.rows])
  sizes = np.bincount(member)[member[choice.rows]]
  assert list(sizes) == sorted(sizes, reverse=True)
  assert 2 in blob_of(rest[choice.rows])


def test_typical_leaves_small_clusters_for_last(monkeypatch):
  pool = np.concatenate([blobs()[:60], np.full((5, 3), 9, np.float32) + np.arange(5)[:, None] * np.float32(0.001)])
  first = selection.typical(pool, none_labelled(), 2, seed=0)
  assert max(first.rows) < 60
  monkeypatch.setattr(selection, "MOST_CLUSTERS", 2)
  every = selection.typical(pool, none_labelled(), 65, seed=0)
  assert sorted(every.rows) == list(range(65))
  assert set(every.rows[:60]) == set(range(60))


def test_few_examples_all_of_small_clusters():
  choice = selection.typical(CENTRES, none_labelled(), 3, seed=0)
  assert sorted(choice.rows) == [0, 1, 2]


def test_typicality_in_pieces_is_that_of_the_whole(monkeypatch):
  pool = blobs()
  whole = selection.typicality(pool, 7)
  monkeypatch.setattr(selection, "CHUNK", 13)
  np.testing.assert_allclose(selection.typicality(pool, 7), whole)


def test_k_means_finds_blobs():
  member = selection.k_means(blobs(), 3, seed=1)
  assert sorted(np.bincount(member)) == sorted(SIZES)
  assert [len(set(part)) for part in np.split(member, np.cumsum(SIZES)[:-1])] == [1, 1, 1]


def test_coreset_picks_the_farthest_each_time():
  pool = np.array([[0.0], [1], [2], [7], [10]], np.float32)
  choice = selection.coreset(pool, pool[[0]], 3, seed=0)
  assert list(choice.rows) == [4, 3, 2]
  np.testing.assert_allclose(choice.scores, [10, 3, 2], atol=1e-6)


def test_coreset_without_labels_begins_at_random():
  pool = np.array([[0.0], [1], [10]], np.float32)
  starts = {int(selection.coreset(pool, pool[:0], 1, seed).rows[0]) for seed in range(20)}
  assert starts == {0, 1, 2}


def test_coreset_in_pieces(monkeypatch):
  pool, labelled = blobs(), blobs(3)
  whole = selection.coreset(pool, labelled, 9, seed=0)
  monkeypatch.setattr(selection, "CHUNK", 7)
  assert list(selection.coreset(pool, labelled, 9, seed=0).rows) == list(whole.rows)


def test_margin_is_between_the_two_best():
  probabilities = np.array([[0.9, 0.1, 0], [0.5, 0.1, 0.4], [0.4, 0.4, 0.2], [0.2, 0.4, 0.4]])
  choice = selection.margin(probabilities, 3)
  assert list(choice.rows) == [2, 3, 1]  # of ties the first
  np.testing.assert_allclose(choice.scores, [0, 0, 0.1], atol=1e-12)


def test_random_is_a_permutation():
  assert sorted(selection.random(9, 9, 0).rows) == list(range(9))
  assert len({tuple(selection.random(9, 3, seed).rows) for seed in range(10)}) > 5


@pytest.mark.parametrize("name", ["typical", "coreset", "margin", "random"])
def test_each_once_and_the_same_for_a_seed(name):
  pool, labelled = blobs(), blobs(5)[:20]

  def chosen(count, seed):
    if name == "random":
      return selection.random(len(pool), count, seed)
    if name == "margin":
      return selection.margin(np.abs(pool), count)
    return getattr(selection, name)(pool, labelled, count, seed)

  for count in (1, 37, len(pool)):
    choice = chosen(count, 4)
    assert len(choice.rows) == len(choice.scores) == len(set(choice.rows)) == count
    assert list(chosen(count, 4).rows) == list(choice.rows)
  with pytest.raises(UserError, match="--count=131"):
    chosen(len(pool) + 1, 0)
  with pytest.raises(UserError, match="--count=0"):
    chosen(0, 0)


def test_alike_examples_are_chosen_without_numbers_that_are_not_finite():
  pool = np.zeros((30, 4), np.float32)
  for choose in (selection.typical, selection.coreset):
    choice = choose(pool, pool[:2], 30, 0)
    assert sorted(choice.rows) == list(range(30))
    assert np.isfinite(choice.scores).all()
