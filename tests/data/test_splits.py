"""Data without a test split, or without any label, from every kind of file that may lack them."""

import dataclasses
import shutil

import numpy as np
import pytest
import soundfile
from PIL import Image

from sslx import data
from sslx.data.check import checked
from sslx.data.fingerprint import fingerprint
from sslx.data.types import Split, no_examples
from sslx.types import UserError

CLASSES = ("cat", "dog")
WORDS = {"cat": "the cat sits and purrs", "dog": "the dog runs and barks"}


def save(path, value, size=(6, 8)):
  """An image of one value, a recording or a text that is not like others of another value."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == ".png":
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
  elif path.suffix == ".wav":
    soundfile.write(path, 0.5 * np.sin(np.arange(800) * 0.01 * value), 8000)
  else:
    path.write_text(f"{WORDS['dog' if value > 200 else 'cat']} {'again ' * (value % 7 + 1)}")


def tree(root, ending, parts):
  """Three files of each class in train, two in test, and four in unlabeled."""
  for part in parts:
    for i, name in enumerate(CLASSES):
      for k in range({"train": 3, "test": 2, "unlabeled": 2}[part]):
        folder = root / part / name if part != "unlabeled" else root / part
        save(folder / f"{name}{k}.{ending}", 100 * (i + 1) + 10 * k + len(part))
  return root


KINDS = [("folder", "png", {}), ("audio", "wav", {}), ("text", "txt", {"min_count": 1})]


@pytest.mark.parametrize("limit", [1 << 30, 1])
@pytest.mark.parametrize(("kind", "ending", "how"), KINDS)
def test_files_without_a_test_split(tmp_path, kind, ending, how, limit):
  root = tree(tmp_path, ending, ("train", "unlabeled"))
  dataset = data.load(f"{kind}:{root}", in_memory_limit=limit, **how)
  assert dataset.split_sizes == {"train": 6, "test": 0, "unlabeled": 4}
  assert dataset.task.names == CLASSES
  assert dataset.train.y.tolist() == [0, 0, 0, 1, 1, 1]
  assert dataset.test.x.shape == (0, *dataset.x_shape)
  assert (dataset.test.x.dtype, dataset.test.y.dtype) == (dataset.train.x.dtype, np.int32)
  shutil.rmtree(root / "unlabeled")
  assert data.load(f"{kind}:{root}", in_memory_limit=limit, **how).split_sizes == {"train": 6, "test": 0}


@pytest.mark.parametrize("limit", [1 << 30, 1])
@pytest.mark.parametrize(("kind", "ending", "how"), KINDS)
def test_files_without_any_label(tmp_path, kind, ending, how, limit):
  root = tree(tmp_path, ending, ("unlabeled",))
  dataset = data.load(f"{kind}:{root}", in_memory_limit=limit, **how)
  assert (dataset.task.name, dataset.task.outputs) == ("none", 0)
  assert dataset.split_sizes == {"train": 4, "test": 0}
  assert [path.rpartition("/")[2] for path in dataset.train.files] == [
    f"{name}{k}.{ending}" for name in CLASSES for k in range(2)
  ]
  assert (dataset.train.y, dataset.test.y, dataset.unlabeled) == (None, None, None)
  assert dataset.pretraining_x.shape == (4, *dataset.x_shape)
  assert len(fingerprint(dataset)) == 32


@pytest.mark.parametrize(("kind", "ending", "how"), KINDS)
def test_a_test_split_needs_train(tmp_path, kind, ending, how):
  root = tree(tmp_path, ending, ("test", "unlabeled"))
  with pytest.raises(UserError, match=f"train: missing; {kind}:DIR needs DIR/train/CLASS/ with "):
    data.load(f"{kind}:{root}", **how)


def test_images_are_resized_without_a_test_split(tmp_path):
  root = tree(tmp_path, "png", ("train",))
  save(root / "train" / "cat" / "wide.png", 7, (20, 60))
  dataset = data.load(f"folder:{root}", image_size=5)
  assert (dataset.train.x.shape, dataset.test.x.shape) == ((7, 5, 5, 3), (0, 5, 5, 3))
  arrays = tmp_path / "a.npz"  # which are resized when they are loaded
  np.savez(arrays, train_images=dataset.train.x, train_labels=dataset.train.y)
  assert data.load(f"npz:{arrays}", image_size=3).test.x.shape == (0, 3, 3, 3)


def test_folders_that_are_not_read_are_told_with_their_cure(tmp_path):
  for name in CLASSES:
    save(tmp_path / "set" / name / "a.png", 100)
  (tmp_path / "set" / "notes").mkdir()
  with pytest.raises(UserError, match=r": move the folders cat, dog into .*set/train$"):
    data.load(f"folder:{tmp_path / 'set'}")
  save(tmp_path / "flat" / "a.png", 100)
  with pytest.raises(UserError, match=r": move the images of .*flat into .*flat/unlabeled$"):
    data.load(f"folder:{tmp_path / 'flat'}")


# ---- arrays and tables

IMAGES = np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6)
LABELS = np.array([3, 5, 3, 5])


def npz(tmp_path, **arrays):
  np.savez(tmp_path / "a.npz", **arrays)
  return data.load(f"npz:{tmp_path / 'a.npz'}")


def test_arrays_without_a_test_split(tmp_path):
  dataset = npz(tmp_path, train_images=IMAGES, train_labels=LABELS, unlabeled_images=IMAGES[:3])
  assert dataset.split_sizes == {"train": 4, "test": 0, "unlabeled": 3}
  assert (dataset.task.names, dataset.train.y.tolist()) == (("3", "5"), [0, 1, 0, 1])
  assert (dataset.test.x.shape, dataset.test.y.dtype) == ((0, 6, 6, 1), np.int32)


def test_arrays_without_any_label(tmp_path):
  dataset = npz(tmp_path, unlabeled_images=IMAGES)
  assert (dataset.task.name, dataset.split_sizes, dataset.train.y) == ("none", {"train": 4, "test": 0}, None)
  np.testing.assert_array_equal(dataset.train.x[..., 0], IMAGES)


@pytest.mark.parametrize(
  ("given", "lacks"),
  [
    (["train_images"], "train_labels"),
    (["train_images", "train_labels", "test_images"], "test_labels"),
    (["train_images", "train_labels", "test_labels"], "test_images"),
    (["test_images", "test_labels", "unlabeled_images"], "train_images, train_labels"),
    (["train_labels", "unlabeled_images"], "train_images"),
    (["class_names"], "train_images, train_labels"),
  ],
)
def test_arrays_that_lack_some(tmp_path, given, lacks):
  arrays = {name: LABELS if name.endswith("labels") else IMAGES for name in given}
  with pytest.raises(UserError, match=f"lacks the arrays {lacks}; it holds {', '.join(given)}$"):
    npz(tmp_path, **arrays)


def csv(tmp_path, header, *rows):
  for name in "abcd":
    save(tmp_path / f"{name}.png", 10 * ord(name) % 256)
  (tmp_path / "t.csv").write_text("\n".join([header, *(",".join(row) for row in rows)]))
  return data.load(f"csv:{tmp_path / 't.csv'}")


def test_a_table_without_splits_and_with_empty_cells(tmp_path):
  rows = (("a.png", "1"), ("b.png", ""), ("c.png", "3"), ("d.png", ""))
  dataset = csv(tmp_path, "path,age", *rows)
  assert (dataset.task.name, dataset.train.y.tolist(), dataset.test.y.shape) == ("regression", [[1], [3]], (0, 1))
  assert [path[-5:] for path in dataset.unlabeled.files] == ["b.png", "d.png"]
  dataset = csv(tmp_path, "path,split,animal", ("a.png", "", "cat"), ("b.png", "train", "dog"), ("c.png", "train", ""))
  assert (dataset.task.names, dataset.train.y.tolist()) == (("cat", "dog"), [0, 1])
  assert dataset.split_sizes == {"train": 2, "test": 0, "unlabeled": 1}
  dataset = csv(tmp_path, "path,split,animal", ("a.png", "", "cat"), ("b.png", "", "dog"), ("c.png", "test", "dog"))
  assert dataset.split_sizes == {"train": 2, "test": 1}
  dataset = csv(tmp_path, "path,x,y", ("a.png", "1", "0"), ("b.png", "", ""), ("c.png", "0", "1"))
  assert (dataset.task.name, dataset.test.y.shape) == ("multilabel", (0, 2))


@pytest.mark.parametrize(
  ("header", "row"), [("path", ()), ("path,age", ("",)), ("path,split,age", ("unlabeled", "5")), ("path,split", ("",))]
)
def test_a_table_without_any_label(tmp_path, header, row):
  dataset = csv(tmp_path, header, ("a.png", *row), ("b.png", *row))
  assert (dataset.task.name, dataset.split_sizes, dataset.train.y) == ("none", {"train": 2, "test": 0}, None)


@pytest.mark.parametrize(
  ("header", "rows", "message"),
  [
    ("path,split,age", [("test", "1"), ("", "")], "no row of train has a value of age; fill some of them"),
    ("path,x,y", [("1", "0"), ("1", "")], "line 3: y is empty; fill it"),
  ],
)
def test_tables_with_mistakes(tmp_path, header, rows, message):
  with pytest.raises(UserError, match=message):
    csv(tmp_path, header, *(("a.png", *row) for row in rows))


# ---- made by hand


@pytest.mark.parametrize("name", ["mnist", "scenes:one,train=20,test=5,size=48", "spoken_digits"])
def test_rules_hold_without_a_test_split(name, tmp_path):
  whole = data.load(name, str(tmp_path))
  for task in (whole.task.name, *whole.others):
    dataset = whole.doing(task)
    alone = dataclasses.replace(dataset, test=no_examples(dataset.train))
    assert checked(alone) is alone
    assert (alone.test.y.shape, alone.test.y.dtype) == ((0, *dataset.test.y.shape[1:]), dataset.test.y.dtype)
    assert {name: y.shape for name, y in alone.test.others.items()} == {
      name: (0, *y.shape[1:]) for name, y in dataset.test.others.items()
    }
  for part in ("train", "unlabeled"):
    with pytest.raises(UserError, match=f"the {part} split is empty"):
      checked(dataclasses.replace(whole, **{part: no_examples(whole.train)}))
  wrong = no_examples(whole.train)
  with pytest.raises(UserError, match=r"0 test \w+s but 1 test labels"):
    checked(dataclasses.replace(whole, test=Split(wrong.x, whole.test.y[:1])))
