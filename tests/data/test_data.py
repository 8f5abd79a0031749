"""MNIST's facts, and the rules that hold whatever the source."""

import hashlib
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.data.check import checked
from sslx.data.lazy import LazyArray
from sslx.data.types import Split, image_classes
from sslx.types import UserError

# sha256 of the four IDX files' content, as published and as in sslx/data/mnist/README.md
SHA256 = {
  "train": (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
  ),
  "test": (
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
  ),
}


@pytest.fixture(scope="module")
def mnist(mnist_dir):
  return data.load("mnist", mnist_dir)


def test_mnist_is_mnist(mnist):
  assert mnist.split_sizes == {"train": 60000, "test": 10000}
  assert mnist.x_shape == (28, 28, 1)
  assert mnist.task.names == tuple("0123456789")
  assert mnist.unlabeled is None
  assert mnist.train.x.dtype == np.uint8
  assert mnist.train.y.dtype == np.int32
  assert mnist.train.y[:5].tolist() == [5, 0, 4, 1, 9]
  assert np.bincount(mnist.train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
  assert np.bincount(mnist.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize("part", ["train", "test"])
def test_mnist_is_byte_for_byte_the_original(mnist, part):
  split = getattr(mnist, part)
  images = struct.pack(">4I", 0x803, *split.x.shape[:3]) + np.ascontiguousarray(split.x).tobytes()
  labels = struct.pack(">2I", 0x801, len(split.y)) + split.y.astype(np.uint8).tobytes()
  assert (hashlib.sha256(images).hexdigest(), hashlib.sha256(labels).hexdigest()) == SHA256[part]


def test_lazy_mnist_reads_the_same_images(mnist, mnist_dir):
  for _ in range(2):  # the second time, labels come from their cache
    lazy = data.load("mnist", mnist_dir, in_memory_limit=10_000_000)
    assert isinstance(lazy.train.x, LazyArray)
    assert isinstance(lazy.test.x, np.ndarray)  # 7.8 MB
    np.testing.assert_array_equal(lazy.train.y, mnist.train.y)
    rows = np.array([59999, 0, 5, 5, 31234], np.int32)
    np.testing.assert_array_equal(lazy.train.x[rows], mnist.train.x[rows])


def test_image_size_applies_to_any_source(mnist, mnist_dir):
  limit = 60000 * 14 * 14 - 1
  small = data.load("mnist", mnist_dir, image_size=14, in_memory_limit=limit)
  assert small.x_shape == (14, 14, 1)
  assert isinstance(small.train.x, LazyArray)
  assert isinstance(small.test.x, np.ndarray)
  rows = np.array([59999, 0, 7], np.int32)
  pictures = [Image.fromarray(image[..., 0]) for image in mnist.train.x[rows]]
  expected = [np.asarray(picture.resize((14, 14), Image.Resampling.BILINEAR))[..., None] for picture in pictures]
  np.testing.assert_array_equal(small.train.x[rows], expected)


def test_no_tensorflow_and_nothing_heavy_at_import(mnist_dir):
  code = f"""
import sys
from sslx import data
from sslx.data import batches
from sslx.tasks import subsets
assert not {{"tensorflow_datasets", "grain", "array_record"}} & set(sys.modules), "imported too early"
mnist = data.load("mnist", {mnist_dir!r}, in_memory_limit=0)
next(batches.stream(mnist.train.x, batches.step_indices(0, 60000, 8, 0, 3), 2))
assert "tensorflow_datasets" in sys.modules and "grain" in sys.modules
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
"""
  done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert done.stdout == ""


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("mnsit", "did you mean mnist"),
    ("fashion-mnist", "did you mean fashion_mnist"),
    ("nzp:file.npz", "did you mean npz"),
    ("cifar10", "did you mean tfds:cifar10"),
    ("", "unknown; mnist,.* fashion_mnist,.* idx:DIR"),
    ("qqqqqqq", "unknown; mnist,.* fashion_mnist,.* idx:DIR"),
    ("some/arrays.npz", "write npz:some/arrays.npz"),
    ("some/train-{00..12}.tar", "write webdataset:some/train"),
    ("some/*.parquet", "write parquet:some/"),
    (os.curdir, r"folder:\."),
    ("npz", "write npz:FILE"),
    ("folder:", "write folder:DIR"),
    ("mnist:fast", "takes nothing after its name"),
  ],
)
def test_unknown_names(spec, message):
  with pytest.raises(UserError, match=message) as error:
    data.load(spec)
  assert "\n" not in str(error.value)
  assert str(error.value).startswith(f"--dataset={spec}: ")


@pytest.mark.parametrize("size", [0, -1, 100_000])
def test_impossible_image_size(size):
  with pytest.raises(UserError, match=f"--image_size={size}"):
    data.load("mnist", image_size=size)


def test_every_dataset_has_one_line_of_help():
  for name, source in data.DATASETS.items():
    assert name == name.lower()
    assert source.help
    assert "\n" not in source.help


def split(n=4, shape=(2, 2, 1), labels=(0, 1, 0, 1)):
  return Split(np.zeros((n, *shape), np.uint8), None if labels is None else np.array(labels, np.int32))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"train": split(0, labels=())}, "the train split is empty"),
    ({"test": split(0, labels=(0,))}, "0 test images but 1 test labels"),
    ({"unlabeled": split(0, labels=None)}, "the unlabeled split is empty"),
    ({"test": split(3)}, "3 test images but 4 test labels"),
    ({"train": split(labels=None)}, "4 train images but 0 train labels"),
    ({"train": split(labels=(0, 1, 2, 0))}, r"train label 2 is outside 0\.\.1"),
    ({"test": split(labels=(0, -1, 1, 0))}, r"test label -1 is outside 0\.\.1"),
    ({"train": split(labels=(1, 1, 1, 1))}, "one class only"),
    ({"class_names": ("a", "b", "c"), "test": split(labels=(0, 2, 1, 0))}, "test class 'c' never occurs"),
    ({"test": split(shape=(2, 3, 1))}, "train images are 2x2x1 but test images are 2x3x1.*--image_size"),
    ({"unlabeled": split(shape=(2, 2, 3), labels=None)}, "unlabeled images are 2x2x3"),
    ({"train": split(shape=(2, 2, 2))}, "2 channels"),
    ({"train": split(shape=(0, 2, 1))}, r"shape \[4, 0, 2, 1\]"),
  ],
)
def test_rules_of_every_dataset(change, message):
  good = {"name": "npz:x", "class_names": ("a", "b"), "train": split(), "test": split()}
  assert checked(image_classes(**good)).task.outputs == 2
  with pytest.raises(UserError, match=f"npz:x: .*{message}"):
    checked(image_classes(**good | change))


def test_image_size_reconciles_sizes_but_not_channels():
  dataset = image_classes("npz:x", ("a", "b"), split(), split(shape=(3, 5, 1)))
  assert checked(dataset, image_size=2) is dataset
  with pytest.raises(UserError, match="number of channels"):
    checked(image_classes("npz:x", ("a", "b"), split(), split(shape=(2, 2, 3))), image_size=2)
