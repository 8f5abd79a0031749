"""Splits and data sets of any signal: lazy arrays, rows of them, and the names of older versions."""

import dataclasses

import numpy as np
import pytest

from sslx.data import Dataset, Split
from sslx.data.lazy import LazyArray, in_memory, take
from sslx.data.types import image_classes
from sslx.tasks import TASKS
from sslx.types import UserError

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


def for_three_tasks(x: np.ndarray | LazyArray = IMAGES) -> Dataset:
  rng = np.random.default_rng(0)

  def split(x: np.ndarray | LazyArray) -> Split:
    n = len(x)
    others = {"regression": rng.normal(size=(n, 2)).astype(np.float32), "multilabel": np.eye(3, dtype=np.uint8)[:n]}
    return Split(x, np.arange(n, dtype=np.int32) % 2, [f"{i}.png" for i in range(n)], others)

  made = image_classes("toy", ("even", "odd"), split(x), split(IMAGES[:3]), Split(IMAGES[:4], None))
  others = {"regression": TASKS["regression"](("a", "b")), "multilabel": TASKS["multilabel"](("p", "q", "r"))}
  return dataclasses.replace(made, others=others)


def test_a_data_set_does_another_of_its_tasks():
  toy = for_three_tasks()
  other = toy.doing("regression")
  assert other.task is toy.others["regression"]
  assert set(other.others) == {"classification", "multilabel"}
  assert (other.name, other.modality, other.unlabeled) == (toy.name, toy.modality, toy.unlabeled)
  for name in ("train", "test"):
    before, after = getattr(toy, name), getattr(other, name)
    assert after.x is before.x  # nothing is read or copied, and what is cached of x stays
    assert after.files is before.files
    assert after.y is before.others["regression"]
    assert set(after.others) == {"classification", "multilabel"}
    assert after.others["classification"] is before.y
  assert toy.task.name == "classification"  # the first one stays what it is
  assert toy.doing("classification") is toy


@pytest.mark.parametrize("path", [("regression",), ("multilabel", "regression"), ("regression", "multilabel")])
def test_tasks_of_a_data_set_come_back(path):
  toy = for_three_tasks(lazy())
  again = toy
  for name in (*path, "classification"):
    again = again.doing(name)
    assert again.task.name == name
  assert again.task is toy.task
  assert dict(again.others) == dict(toy.others)
  for before, after in ((toy.train, again.train), (toy.test, again.test)):
    assert (after.x is before.x, after.y is before.y) == (True, True)
    assert after.others.keys() == before.others.keys()
    assert all(after.others[name] is before.others[name] for name in before.others)


def test_a_task_that_a_data_set_has_no_targets_for():
  message = r"^--task=detection: toy has no targets for it; it is for classification, regression, multilabel$"
  with pytest.raises(UserError, match=message):
    for_three_tasks().doing("detection")
  with pytest.raises(UserError, match=r"^--task=regression: toy has no targets for it; it is for classification$"):
    dataset().doing("regression")


@pytest.mark.parametrize("x", [IMAGES, lazy()], ids=["in memory", "lazy"])
def test_part_of_a_split_keeps_all_that_belongs_to_its_rows(x):
  whole, rows = for_three_tasks(x).train, np.array([5, 2, 100])
  whole = dataclasses.replace(whole, others={**whole.others, "multilabel": np.eye(103, 3, dtype=np.uint8)})
  part = whole.part(rows)
  assert type(part.x) is type(x)
  np.testing.assert_array_equal(part.x[np.arange(3)], IMAGES[rows])
  assert part.y is not None
  assert part.y.tolist() == [1, 0, 0]
  assert part.files == ["5.png", "2.png", "100.png"]
  assert set(part.others) == {"regression", "multilabel"}
  for name, y in part.others.items():
    np.testing.assert_array_equal(y, whole.others[name][rows])
  bare = Split(x, None).part(rows)
  assert (len(bare), bare.y, bare.files, dict(bare.others)) == (3, None, None, {})


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
