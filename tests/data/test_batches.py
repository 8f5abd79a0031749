"""Which examples make up a step, and reading them ahead."""

import itertools

import numpy as np
import pytest

from sslx.data.batches import epoch_order, step_indices, stream
from sslx.data.lazy import LazyArray
from sslx.types import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (103, 4, 5, 3)).astype(np.uint8)


def lazy(images=IMAGES):
  return LazyArray(images.shape, lambda rows: images[rows])


def test_epoch_order_is_the_documented_one():
  order = epoch_order(7, 2, 50)
  assert order.dtype == np.int32
  np.testing.assert_array_equal(order, np.random.default_rng([7, 2]).permutation(50))
  assert not np.array_equal(order, epoch_order(7, 3, 50))
  assert not np.array_equal(order, epoch_order(8, 2, 50))


def test_an_epoch_visits_each_image_at_most_once_in_its_order():
  steps = list(step_indices(seed=1, n=103, batch_size=10, first_step=0, last_step=25))
  assert len(steps) == 25
  assert all(step.shape == (10,) and step.dtype == np.int32 for step in steps)
  for epoch in range(2):
    np.testing.assert_array_equal(np.concatenate(steps[10 * epoch : 10 * epoch + 10]), epoch_order(1, epoch, 103)[:100])
  np.testing.assert_array_equal(np.concatenate(steps[20:]), epoch_order(1, 2, 103)[:50])


@pytest.mark.parametrize("k", [0, 1, 9, 10, 11, 20])
def test_resumed_at_step_k_sees_what_the_whole_run_saw(k):
  whole = list(step_indices(1, 103, 10, 0, 23))
  resumed = list(step_indices(1, 103, 10, k, 23))
  assert len(resumed) == 23 - k
  np.testing.assert_array_equal(resumed, whole[k:])


def test_a_batch_larger_than_the_set_is_the_set():
  steps = list(step_indices(0, 7, 256, 0, 3))
  assert [len(step) for step in steps] == [7, 7, 7]
  np.testing.assert_array_equal(steps[1], epoch_order(0, 1, 7))


def test_step_indices_refuse_nonsense():
  assert list(step_indices(0, 10, 5, 4, 4)) == []
  for arguments in [(0, 0, 5, 0, 1), (0, 10, 0, 0, 1), (0, 10, 5, -1, 1)]:
    with pytest.raises(ValueError, match="batch_size"):
      step_indices(*arguments)


@pytest.mark.parametrize("num_threads", [0, 1, 4])
@pytest.mark.parametrize("images", [IMAGES, lazy()], ids=["array", "lazy"])
def test_streaming_equals_memory(images, num_threads):
  indices = step_indices(3, len(IMAGES), 8, 5, 60)
  streamed = list(stream(images, indices, num_threads))
  expected = [IMAGES[i] for i in indices]
  assert streamed[0].dtype == np.uint8
  np.testing.assert_array_equal(streamed, expected)
  np.testing.assert_array_equal(list(stream(images, iter(indices), num_threads)), expected)


def test_streaming_keeps_the_order_when_early_batches_are_slow():
  def fetch(rows):
    import time

    time.sleep(0.05 if rows[0] < 2 else 0)
    return IMAGES[rows]

  indices = [np.array([i], np.int32) for i in range(20)]
  streamed = list(stream(LazyArray(IMAGES.shape, fetch), indices, num_threads=4))
  np.testing.assert_array_equal(streamed, [IMAGES[i] for i in indices])


def test_streaming_does_not_list_a_long_run():
  batches = stream(IMAGES, step_indices(0, 103, 10, 0, 10**9), num_threads=2)
  np.testing.assert_array_equal(next(batches), IMAGES[epoch_order(0, 0, 103)[:10]])


def test_an_unreadable_image_ends_the_stream_with_its_name():
  def fetch(rows):
    raise UserError("cat.png: truncated")

  with pytest.raises(UserError, match="cat"):
    list(stream(LazyArray((10, 4, 4, 1), fetch), step_indices(0, 10, 2, 0, 5), num_threads=2))


def test_two_runs_interleaved_do_not_disturb_each_other():
  one, two = iter(step_indices(1, 103, 10, 0, 30)), iter(step_indices(2, 103, 10, 0, 30))
  pairs = list(itertools.chain.from_iterable(zip(one, two, strict=True)))
  np.testing.assert_array_equal(pairs[0::2], list(step_indices(1, 103, 10, 0, 30)))
  np.testing.assert_array_equal(pairs[1::2], list(step_indices(2, 103, 10, 0, 30)))
