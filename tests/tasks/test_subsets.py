import zlib

import numpy as np
import pytest

from sslx.tasks.subsets import (
  example_subsets,
  label_subsets,
  multilabel_subsets,
  number_subsets,
  random_folds,
  stratified_folds,
)
from sslx.types import UserError

LABELS = np.random.default_rng(0).choice(10, 5000, p=np.array([4, 1, 1, 1, 1, 1, 1, 1, 1, 1]) / 13).astype(np.int32)


@pytest.mark.parametrize("size", [10, 100, 105, 600, 1009])
def test_counts_differ_by_at_most_one(size):
  subset = label_subsets(LABELS, [size], seed=3)[size]
  counts = np.bincount(LABELS[subset], minlength=10)
  assert subset.dtype == np.int32
  assert len(np.unique(subset)) == size
  assert counts.sum() == size
  assert counts.max() - counts.min() == (size % 10 > 0)


def test_nested_and_independent_of_the_other_sizes():
  subsets = label_subsets(LABELS, [600, 100, 5000], seed=1)
  np.testing.assert_array_equal(subsets[600][:100], subsets[100])
  np.testing.assert_array_equal(subsets[5000][:600], subsets[600])
  np.testing.assert_array_equal(np.sort(subsets[5000]), np.arange(5000))
  np.testing.assert_array_equal(label_subsets(LABELS, (size for size in [100]), seed=1)[100], subsets[100])


def test_seeds_draw_other_images_and_other_classes_one_ahead():
  labels = np.sort(LABELS)  # as folder: gives them
  draws = [label_subsets(labels, [105], seed)[105] for seed in range(40)]
  assert len({draw.tobytes() for draw in draws}) == 40
  ahead = np.sum([np.bincount(labels[draw], minlength=10) - 10 for draw in draws], axis=0)
  assert ahead.sum() == 200
  assert (
    ahead.min() >= 8
  )  # 20 expected for each class, standard deviation 3.2: no class is favoured, the large one neither
  assert ahead.max() <= 32


def test_every_image_of_a_class_is_equally_likely():
  labels = np.repeat([0, 1], 10)
  chosen = np.concatenate([label_subsets(labels, [4], seed)[4] for seed in range(500)])
  counts = np.bincount(chosen, minlength=20)  # 100 expected, standard deviation 9
  assert 60 < counts.min() <= counts.max() < 140


def test_a_rare_class_gives_all_and_the_others_fill_up():
  labels = np.repeat([0, 1, 2], [3, 100, 100])
  assert np.bincount(labels[label_subsets(labels, [61], seed=0)[61]]).tolist() in (
    [3, 29, 29],
    [3, 30, 28],
    [3, 28, 30],
  )
  assert sorted(np.bincount(labels[label_subsets(labels, [62], seed=0)[62]]).tolist()) == [3, 29, 30]


def test_classes_are_the_values_that_occur():
  labels = np.repeat([3, 7], 20)
  assert np.bincount(labels[label_subsets(labels, [2], seed=0)[2]])[[3, 7]].tolist() == [1, 1]


@pytest.mark.parametrize(
  ("size", "message"),
  [(0, "must be positive"), (-5, "must be positive"), (9, "10 classes"), (5001, "only 5000 labelled")],
)
def test_impossible_sizes(size, message):
  with pytest.raises(UserError, match=message):
    label_subsets(LABELS, [100, size], seed=0)


def test_folds_partition_and_keep_every_class_in_training():
  subset = label_subsets(LABELS, [104], seed=0)[104]
  labels = LABELS[subset]
  folds = stratified_folds(labels, 5, seed=0)
  assert len(folds) == 5
  np.testing.assert_array_equal(np.sort(np.concatenate([valid for _, valid in folds])), np.arange(104))
  for train, valid in folds:
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(104))
    assert len(valid) in (20, 21)
    assert set(labels[train]) == set(range(10))
    counts = np.bincount(labels[valid], minlength=10)
    assert counts.max() - counts.min() <= 1
  assert not np.array_equal(folds[0][1], stratified_folds(labels, 5, seed=1)[0][1])
  np.testing.assert_array_equal(folds[0][1], stratified_folds(labels, 5, seed=0)[0][1])


def test_fewer_folds_for_a_rare_class():
  labels = np.repeat([0, 1], [2, 50])
  folds = stratified_folds(labels, 5, seed=0)
  assert len(folds) == 2
  for train, valid in folds:
    assert set(labels[train]) == set(labels[valid]) == {0, 1}


@pytest.mark.parametrize(("labels", "k"), [(np.arange(10), 5), ([0, 0, 1], 2), ([0, 0, 1, 1], 1), ([], 2)])
def test_folds_that_cannot_be(labels, k):
  with pytest.raises(ValueError, match="at least"):
    stratified_folds(np.asarray(labels, int), k, seed=0)


# ---- stratified ------------------------------------------------------------------------------------------------------

UNEVEN = {
  "two classes": (2000, 60),
  "even": (300, 300, 300),
  "one for all": (910, 10, 10, 10, 10, 10, 10, 10, 10, 10),
  "as a folder": (5, 417, 33, 2, 900, 1, 1, 77, 250, 14),
}


@pytest.mark.parametrize("counts", UNEVEN.values(), ids=UNEVEN)
def test_a_stratified_subset_of_any_size_has_the_shares_of_the_whole(counts):
  """The bounds that the docstring states, for every size at once: subsets are beginnings of one order."""
  counts, total = np.array(counts), sum(counts)
  labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
  order = label_subsets(labels, [total], seed=1, how="stratified")[total]
  assert order.dtype == np.int32
  np.testing.assert_array_equal(np.sort(order), np.arange(total))
  seen = np.cumsum(labels[order][:, None] == np.arange(len(counts)), 0)
  first = len(counts)  # K
  assert seen[first - 1].tolist() == [1] * first
  for m in range(first, total + 1):
    share = m * counts / total
    rare = ((m - first) * counts / total < 1).sum()
    assert (seen[m - 1] < share + 1).all()
    assert (seen[m - 1] > (m - rare) * counts / total - 1).all()
    if not rare:
      assert (np.floor(share) <= seen[m - 1]).all()
      assert (seen[m - 1] <= np.ceil(share)).all()


def test_balanced_takes_all_of_a_rare_class_and_stratified_its_share():
  labels = np.repeat([0, 1], (2000, 60))
  counts = {
    how: np.bincount(labels[label_subsets(labels, [206], 0, how)[206]]).tolist() for how in ("balanced", "stratified")
  }
  assert counts == {"balanced": [146, 60], "stratified": [200, 6]}


def test_stratified_subsets_are_nested_and_seeded():
  subsets = label_subsets(LABELS, [600, 100], seed=1, how="stratified")
  np.testing.assert_array_equal(subsets[600][:100], subsets[100])
  np.testing.assert_array_equal(label_subsets(LABELS, [100], 1, "stratified")[100], subsets[100])
  draws = {label_subsets(LABELS, [100], seed, "stratified")[100].tobytes() for seed in range(20)}
  assert len(draws) == 20
  images = np.concatenate([label_subsets(np.repeat([0, 1], 10), [4], seed, "stratified")[4] for seed in range(500)])
  counts = np.bincount(images, minlength=20)  # 100 expected, standard deviation 9
  assert 60 < counts.min() <= counts.max() < 140
  with pytest.raises(UserError, match="--subset=even: expected balanced or stratified"):
    label_subsets(LABELS, [100], 0, "even")


def test_balanced_subsets_are_those_that_they_were():
  """A digest of what sslx drew before there was another way."""
  drawn = label_subsets(LABELS, [10, 105, 5000], seed=3)
  digests = {size: zlib.crc32(rows.astype("<i4").tobytes()) for size, rows in drawn.items()}
  assert digests == {10: 96603365, 105: 1695728530, 5000: 462248284}


# ---- numbers, several labels, whole examples -------------------------------------------------------------------------

NUMBERS = np.random.default_rng(0).gamma(0.5, size=(203, 2)).astype(np.float32)  # most of them small, a few large
SEVERAL = (np.random.default_rng(1).random((203, 3)) < [0.9, 0.5, 0.02]).astype(np.uint8)
DRAWN = [(number_subsets, NUMBERS), (multilabel_subsets, SEVERAL), (example_subsets, NUMBERS[:, :, None])]


@pytest.mark.parametrize("how", ["balanced", "stratified"])
@pytest.mark.parametrize(("draw", "y"), DRAWN)
def test_other_subsets_are_nested_seeded_and_of_whole_examples(draw, y, how):
  subsets = draw(y, (size for size in [203, 7, 50]), 1, how)
  assert {size: len(rows) for size, rows in subsets.items()} == {203: 203, 7: 7, 50: 50}
  np.testing.assert_array_equal(np.sort(subsets[203]), np.arange(203))
  np.testing.assert_array_equal(subsets[203][:50], subsets[50])
  np.testing.assert_array_equal(draw(y, [7], 1, how)[7], subsets[50][:7])
  assert subsets[7].dtype == np.int32
  assert len({draw(y, [7], seed, how)[7].tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize(("draw", "y"), DRAWN)
@pytest.mark.parametrize(("size", "how", "message"), [
  (0, "balanced", "a subset of 0 labels: there are 203"),
  (204, "balanced", "a subset of 204 labels: there are 203"),
  (204, "stratified", "a subset of 204 labels: there are 203"),
  (5, "even", "--subset=even: expected balanced or stratified"),
])  # fmt: skip
def test_other_subsets_that_cannot_be(draw, y, size, how, message):
  with pytest.raises(UserError, match=message):
    draw(y, [5, size], 0, how)


def test_balanced_numbers_come_from_each_tenth_in_turn():
  """However uneven they are, and however many are alike."""
  for y in (NUMBERS, np.round(NUMBERS), np.zeros_like(NUMBERS)):
    order = number_subsets(y, [203], 5)[203]
    rank = np.argsort(np.argsort(y[:, 0], kind="stable"), kind="stable")
    for start in range(0, 200, 10):
      assert sorted((rank[order[start : start + 10]] * 10 // 203).tolist()) == list(range(10))
  as_they_come = [number_subsets(NUMBERS, [10], seed, "stratified")[10] for seed in range(20)]
  rank = np.argsort(np.argsort(NUMBERS[:, 0]))
  assert any(len(set((rank[rows] * 10 // 203).tolist())) < 8 for rows in as_they_come)


def test_fewer_numbers_than_tenths():
  order = number_subsets(NUMBERS[:4], [4], 0)[4]
  np.testing.assert_array_equal(np.sort(order), np.arange(4))


def test_balanced_labels_bring_rare_classes_early():
  """In each round one example of every rarest class that any has, and one without a class."""
  y = np.zeros((200, 4), np.uint8)  # the last class has no example
  y[:190, 0] = 1
  y[20:60, 1] = 1
  y[[5, 25, 150], 2] = 1
  groups = np.where(y[:, 2], 2, np.where(y[:, 1], 1, np.where(y[:, 0], 0, 3)))
  for seed in range(5):
    order = multilabel_subsets(y, [200], seed)[200]
    for start in (0, 4, 8):
      assert sorted(groups[order[start : start + 4]].tolist()) == [0, 1, 2, 3]
    assert sorted(groups[order[12:15]].tolist()) == [0, 1, 3]  # all three of the rarest are behind
  as_they_come = [multilabel_subsets(y, [8], seed, "stratified")[8] for seed in range(5)]
  assert not all(y[rows, 2].any() for rows in as_they_come)


@pytest.mark.parametrize(("n", "k", "expected"), [(104, 5, 5), (3, 5, 3), (2, 2, 2)])
def test_random_folds_are_a_partition(n, k, expected):
  y = np.zeros((n, 2), np.float32)
  folds = random_folds(y, k, seed=0)
  assert len(folds) == expected
  np.testing.assert_array_equal(np.sort(np.concatenate([valid for _, valid in folds])), np.arange(n))
  for train, valid in folds:
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(n))
    assert len(valid) in (n // expected, n // expected + 1)
  np.testing.assert_array_equal(folds[0][1], random_folds(y, k, seed=0)[0][1])
  if n > 3:
    assert not np.array_equal(folds[0][1], random_folds(y, k, seed=1)[0][1])


@pytest.mark.parametrize(("n", "k"), [(1, 5), (0, 2), (10, 1)])
def test_random_folds_that_cannot_be(n, k):
  with pytest.raises(ValueError, match="two parts, and two examples"):
    random_folds(np.zeros((n, 1)), k, 0)
