"""The order of rows that are read in blocks: a permutation in windows, of which a reader keeps few blocks."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest

from sslx.data import LazyArray, Split
from sslx.data.batches import blocks_kept, epoch_order, step_indices
from sslx.data.blocks import of_both, of_rows
from sslx.data.images import resized, with_channels
from sslx.data.lazy import take
from sslx.data.types import Dataset

UNEVEN = (3, 1, 40, 2, 2, 0, 7, 25, 1, 1, 9, 3, 3, 3, 5, 30)  # 135 rows


def array(n, blocks):
  values = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
  return LazyArray(values.shape, lambda rows: values[rows], blocks=blocks)


def block_of(blocks):
  return np.repeat(np.arange(len(blocks)), blocks)


def windows(order, blocks, size):
  """The order cut where as few whole blocks as have `size` rows end, one row at a time."""
  places, window, seen = block_of(blocks), [], collections.Counter()
  for row in order:
    window.append(int(row))
    seen[places[row]] += 1
    if len(window) >= size and all(seen[block] == blocks[block] for block in seen):
      yield window
      window, seen = [], collections.Counter()
  if window:
    yield window


@pytest.mark.parametrize("blocks", [UNEVEN, (10,) * 13, (200, 1, 1), (1,) * 50, (64,)])
@pytest.mark.parametrize("size", [1, 16, 1000])
def test_an_epoch_is_a_permutation_in_windows_of_whole_blocks(blocks, size):
  n = sum(blocks)
  for epoch in range(3):
    order = epoch_order(5, epoch, n, blocks, size)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    cut = list(windows(order, blocks, size))
    assert all(size <= len(window) < size + max(blocks) for window in cut[:-1])
    turns = [block_of(blocks)[window].tolist() for window in cut]
    assert sum(len(set(turn)) for turn in turns) == np.count_nonzero(blocks)  # no block is in two windows
    assert not np.array_equal(order, epoch_order(5, epoch + 1, n, blocks, size))
  assert np.array_equal(order, epoch_order(5, 2, n, blocks, size))
  assert not np.array_equal(order, epoch_order(6, 2, n, blocks, size))


def test_blocks_come_in_random_order_and_rows_of_a_window_too():
  first, inside, epochs = collections.Counter(), collections.Counter(), 4000
  for epoch in range(epochs):
    order = epoch_order(0, epoch, 10, (2, 2, 2, 2, 2), 4).tolist()
    first[frozenset(row // 2 for row in order[:4])] += 1
    least = sorted(order[:4])
    inside[tuple(least.index(row) for row in order[:4])] += 1
  for counts, kinds in ((first, 10), (inside, 24)):  # pairs of five blocks; orders of four rows
    assert len(counts) == kinds
    assert max(abs(count - epochs / kinds) for count in counts.values()) < 5 * np.sqrt(epochs / kinds)


def test_without_blocks_the_order_is_what_it_was():
  for n in (1, 10, 1000):
    np.testing.assert_array_equal(epoch_order(3, 1, n), np.random.default_rng([3, 1]).permutation(n))
  with pytest.raises(ValueError, match="have 9 rows together, not 10"):
    epoch_order(0, 0, 10, (4, 5))


def reads(order, blocks, kept, ahead, seed):
  """How many blocks a reader reads that keeps the `kept` used last, where rows come up to `ahead` too early or late."""
  rng, places, cache, count = np.random.default_rng(seed), block_of(blocks), collections.OrderedDict(), 0
  late = np.argsort(np.arange(len(order)) + rng.random(len(order)) * ahead, kind="stable")
  for block in places[order[late]].tolist():
    count += block not in cache
    cache[block] = None
    cache.move_to_end(block)
    if len(cache) > kept:
      cache.popitem(last=False)
  return count


@pytest.mark.parametrize(
  ("blocks", "few"), [((10,) * 60, 9), ((7, 30, 2, 2, 11) * 12, 5), ((1, 99) * 6, 1), ((150,) * 4, 0)]
)
def test_a_reader_that_keeps_the_blocks_of_two_windows_reads_each_once(blocks, few):
  n, size = sum(blocks), 100
  kept = blocks_kept(blocks, size)
  for seed in range(5):
    order = epoch_order(seed, 0, n, blocks, size)
    assert reads(order, blocks, kept, size // 2, seed) == len(blocks)
    if few:  # of a window, not all fit
      assert reads(order, blocks, few, size // 2, seed) > 2 * len(blocks)
    if kept < len(blocks):  # what the windows are for
      assert reads(epoch_order(seed, 0, n), blocks, kept, 0, seed) > 2 * len(blocks)


def test_how_many_blocks_are_kept():
  assert blocks_kept((100,) * 500) == 2 * 82  # 81 blocks have 8,100 rows, and one more has 8,192 of them
  assert blocks_kept((8192,) * 10) == 2
  assert blocks_kept((1000,) * 3) == 3
  assert blocks_kept((100_000,) * 9) == 2


@pytest.mark.parametrize("k", [0, 1, 12, 13, 14, 30])
def test_resumed_at_step_k_with_blocks_sees_what_the_whole_run_saw(k):
  whole = step_indices(1, 135, 10, 0, 40, blocks=UNEVEN)
  np.testing.assert_array_equal(list(step_indices(1, 135, 10, k, 40, blocks=UNEVEN)), list(whole)[k:])
  np.testing.assert_array_equal(np.concatenate(whole[13:26]), epoch_order(1, 1, 135, UNEVEN)[:130])


def test_what_is_taken_keeps_what_is_left_of_its_blocks():
  x, rng = array(135, UNEVEN), np.random.default_rng(0)
  for size in (0, 1, 20, 134, 135):
    rows = np.sort(rng.permutation(135)[:size])
    left = [len(list(group)) for _, group in itertools.groupby(block_of(UNEVEN)[rows])]
    part = take(x, rows)
    assert part.blocks == tuple(left)
    np.testing.assert_array_equal(part[np.arange(size)].ravel(), rows)
  assert take(x, np.array([4, 3])).blocks == ()
  assert take(array(135, ()), np.arange(9)).blocks == ()
  assert of_rows((2, 2), np.array([0, 0, 1, 3])) == (3, 1)


def test_two_arrays_together_have_the_blocks_of_both(toy):
  lazy, plain = array(10, (6, 4)), array(7, ())

  def both(first, second):
    dataset = dataclasses.replace(toy, train=Split(first, None), unlabeled=Split(second, None))
    assert isinstance(dataset, Dataset)
    return dataset.pretraining_x.blocks

  assert both(lazy, lazy) == (6, 4, 6, 4)
  assert both(lazy, plain) == (6, 4, 6, 1)
  assert both(np.zeros((12, 1, 1, 1), np.uint8), lazy) == (6, 6, 6, 4)
  assert both(plain, plain) == ()
  assert of_both((5,), 5, (), 0) == (5,)


def test_images_that_are_changed_row_by_row_keep_their_blocks():
  split = Split(array(10, (6, 4)), None)
  assert resized(split, 2, 0).x.blocks == with_channels(split, 3, 0).x.blocks == (6, 4)
