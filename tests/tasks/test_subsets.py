import zlib

import numpy as np
import pytest

from sslx.tasks.subsets import label_subsets, stratified_folds
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
