"""Splits and data sets of any signal: lazy arrays, rows of them, and the names of older versions."""

import numpy as np
import pytest

from sslx.data import Dataset, Split
from sslx.data.types import LazyArray, image_classes, in_memory, take

IMAGES = np.random.default_rng(0).integers(0, 256, (103, 4, 5, 3)).astype(np.uint8)


def lazy(array: np.ndarray = IMAGES) -> LazyArray:
  return LazyArray(array.shape, lambda rows: array[rows], array.dtype)


def test_lazy_arrays_index_like_arrays():
  images = lazy()
  assert (len(images), images.shape, images.nbytes, images.dtype) == (103, IMAGES.shape, IMAGES.nbytes, np.uint8)
  keys = [5, -1, slice(3, 90, 7), slice(None, None, -1), [4, 4, -103], np.array([102, 0], np.int32), np.int64(2), []]
  for key in keys:
    expected = IMAGES[key] if not (isinstance(key, list) and not key) else IMAGES[:0]
    np.testing.assert_array_equal(images[key], expected)
    assert images[key].shape == expected.shape
  np.testing.assert_array_equal(np.asarray(images), IMAGES)
  for key in [103, -104, [0, 103], 1.5, np.zeros((2, 2), int), np.ones(103, bool)]:
    with pytest.raises(IndexError, match=r"out of range|takes an integer"):
      images[key]


def test_in_memory_joins_chunks_in_order():
  many = np.arange(5000, dtype=np.int64).view(np.uint8).reshape(5000, 2, 4, 1)
  np.testing.assert_array_equal(in_memory(lazy(many)), many)


@pytest.mark.parametrize(
  "array",
  [
    np.random.default_rng(1).integers(-9, 9, (2100, 6)).astype(np.int16),  # sound [N,T]
    np.random.default_rng(2).standard_normal((7, 3, 2, 2)).astype(np.float32),
    np.arange(11, dtype=np.int32),  # one number an example
  ],
  ids=["i16", "f32", "i32"],
)
def test_lazy_arrays_of_other_signals(array):
  signal = lazy(array)
  assert (len(signal), signal.shape, signal.dtype) == (len(array), array.shape, array.dtype)
  assert (signal.ndim, signal.nbytes) == (array.ndim, array.nbytes)
  for key in (3, -1, slice(1, 6, 2), [4, 0, 4], []):
    expected = array[key] if key != [] else array[:0]
    assert signal[key].dtype == array.dtype
    np.testing.assert_array_equal(signal[key], expected)
  np.testing.assert_array_equal(np.asarray(signal), array)
  np.testing.assert_array_equal(np.asarray(signal, np.float64), array.astype(np.float64))
  assert in_memory(signal).dtype == array.dtype


def test_rows_of_a_lazy_array_are_lazy():
  read = []

  def fetch(rows: np.ndarray) -> np.ndarray:
    read.append(len(rows))
    return IMAGES[rows]

  rows = np.array([5, 1, 100])
  part = take(LazyArray(IMAGES.shape, fetch), rows)
  assert isinstance(part, LazyArray)
  assert part.shape == (3, 4, 5, 3)
  assert not read
  np.testing.assert_array_equal(part[[2, 0]], IMAGES[[100, 5]])
  assert read == [2]
  np.testing.assert_array_equal(take(IMAGES, rows), IMAGES[rows])


def dataset(unlabeled: Split | None = None) -> Dataset:
  y = np.arange(103, dtype=np.int32) % 2
  return image_classes("toy", ("even", "odd"), Split(IMAGES, y), Split(IMAGES[:9], y[:9]), unlabeled)


def test_pretraining_sees_the_training_split_then_what_has_no_labels():
  assert dataset().pretraining_x is dataset().train.x
  more = 255 - IMAGES[:10]
  both = np.concatenate([IMAGES, more])
  np.testing.assert_array_equal(dataset(Split(more, None)).pretraining_x, both)
  joined = dataset(Split(lazy(more), None)).pretraining_x
  assert isinstance(joined, LazyArray)
  assert joined.dtype == np.uint8
  np.testing.assert_array_equal(joined[[0, 112, 103, 50]], both[[0, 112, 103, 50]])


def test_sizes_names_and_task_of_a_data_set():
  toy = dataset(Split(IMAGES[:4], None))
  assert toy.x_shape == (4, 5, 3)
  assert toy.split_sizes == {"train": 103, "test": 9, "unlabeled": 4}
  assert (toy.modality.name, toy.task.name, toy.task.names) == ("image", "classification", ("even", "odd"))


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("image_shape", "x_shape"),
    ("class_names", "task.names"),
    ("num_classes", "task.outputs"),
    ("pretraining_images", "pretraining_x"),
  ],
)
def test_old_names_of_a_data_set_say_the_new_ones(old, new):
  with pytest.raises(AttributeError, match=rf"^Dataset\.{old} is called {new} since sslx 0\.2: see CHANGELOG\.md$"):
    getattr(dataset(), old)


def test_old_names_of_a_split_say_the_new_ones():
  for old, new in (("images", "x"), ("labels", "y")):
    with pytest.raises(AttributeError, match=rf"^Split\.{old} is called {new} since sslx 0\.2"):
      getattr(dataset().train, old)


def test_names_that_never_were():
  with pytest.raises(AttributeError, match=r"^Split has no attribute 'picture'$"):
    dataset().train.picture  # noqa: B018
  with pytest.raises(AttributeError, match=r"^Dataset has no attribute 'picture'$"):
    dataset().picture  # noqa: B018
  assert not hasattr(dataset(), "__array__")
