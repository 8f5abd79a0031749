"""folder:DIR as people keep their pictures: links, loops, odd names, other files, the same picture twice."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.data.check import checked
from sslx.data.lazy import LazyArray
from sslx.data.tree import readable
from sslx.data.types import Split, image_classes
from sslx.types import UserError


def save(path, value=0, size=(4, 4), **how):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.full(size, value, np.uint8)).save(path, **how)
  return path


def tree(root, names=("cat", "dog")):
  """One training image of value 10, 20 ... and one test image of value 15, 25 ... for each class."""
  for i, name in enumerate(names):
    save(root / "train" / name / "a.png", 10 * i + 10)
    save(root / "test" / name / "a.png", 10 * i + 15)
  return root


def load(root, **how):
  dataset = data.load(f"folder:{root}", **how)
  values = np.asarray(dataset.train.x)[:, 0, 0, 0]
  return dataset, [sorted(values[dataset.train.y == i].tolist()) for i in (0, 1)]


def lines(capsys):
  """What is told, but not that these pictures are as dark as they are made."""
  return [line for line in capsys.readouterr().err.splitlines() if "nearly black" not in line]


# ---- links


def test_a_link_to_a_folder_elsewhere_is_followed_once(tmp_path, capsys):
  tree(tmp_path / "set")
  save(tmp_path / "pool" / "deep" / "b.png", 77)
  for name in ("one", "two"):
    (tmp_path / "set" / "train" / "cat" / name).symlink_to(tmp_path / "pool")
  (tmp_path / "set" / "train" / "dog" / "three").symlink_to(tmp_path / "pool" / "deep")
  _, (cats, dogs) = load(tmp_path / "set")
  assert (cats, dogs) == ([10, 77], [20])
  (line,) = lines(capsys)
  assert "passed over 2 folders behind links that are read elsewhere" in line
  assert str(tmp_path / "set" / "train" / "cat" / "two") in line


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "../dog", "../../test/cat", "../../unlabeled"])
def test_a_link_within_the_data_set_multiplies_nothing(tmp_path, capsys, target):
  root = tree(tmp_path / "set")
  save(root / "unlabeled" / "u.png", 99)
  (root / "train" / "cat" / "loop").symlink_to(target)
  dataset, (cats, dogs) = load(root)
  assert (cats, dogs) == ([10], [20])
  assert dataset.split_sizes == {"train": 2, "test": 2, "unlabeled": 1}
  (line,) = lines(capsys)
  assert line.startswith(
    f"warning: folder:{root}: passed over 1 folder behind links that is read elsewhere or holds the "
  )
  assert str(root / "train" / "cat" / "loop") in line


def test_links_of_two_classes_to_each_other(tmp_path):
  root = tree(tmp_path)
  (root / "train" / "cat" / "x").symlink_to("../dog")
  (root / "train" / "dog" / "x").symlink_to("../cat")
  assert load(root)[1] == [[10], [20]]


def test_class_folders_may_be_links_but_not_to_one_folder(tmp_path, capsys):
  root = tree(tmp_path / "set")
  save(tmp_path / "pool" / "cats" / "b.png", 33)
  save(tmp_path / "pool" / "c.png", 44)
  (root / "train" / "ant").symlink_to(tmp_path / "pool")
  (root / "train" / "bee").symlink_to(tmp_path / "pool" / "cats")  # lies in ant's, and is a class of its own
  assert load(root)[1] == [[44], [33]]
  (root / "train" / "eel").symlink_to(tmp_path / "pool")
  with pytest.raises(UserError, match=r"eel: holds no images"):
    load(root)
  assert f"{root / 'train' / 'eel'} is {root / 'train' / 'ant'}" in capsys.readouterr().err


def test_a_test_split_that_is_the_training_split(tmp_path, capsys):
  root = tree(tmp_path)
  os.rename(root / "test", root / "old")
  (root / "test").symlink_to("train")
  with pytest.raises(UserError, match="test: holds no images"):
    load(root)
  assert "test/cat is " in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
  root, scandir = tree(tmp_path), os.scandir
  (root / "train" / "cat" / "shut").mkdir()

  def refuse(path):
    if os.fspath(path).endswith("shut"):
      raise PermissionError(13, "Permission denied", path)
    return scandir(path)

  monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as root, whom no permission stops
  with pytest.raises(UserError, match=r"shut: cannot be read \(Permission denied\)"):
    load(root)


def test_a_class_without_a_test_folder(tmp_path):
  root = tree(tmp_path)
  save(root / "train" / "eel" / "a.png", 30)
  assert load(root)[0].test.y.tolist() == [0, 1]


# ---- which files


@pytest.mark.parametrize("ending", ["webp", "bmp", "tif", "tiff", "gif", "jpe", "jfif", "JPG"])
def test_pictures_of_other_kinds_are_read(tmp_path, capsys, ending):
  root = tree(tmp_path)
  kind = {"jpe": "JPEG", "jfif": "JPEG"}.get(ending)
  save(root / "train" / "cat" / f"b.{ending}", 200, format=kind, **({"lossless": True} if ending == "webp" else {}))
  assert load(root)[1] == [[10, 200], [20]]
  assert lines(capsys) == []


def test_other_files_are_counted_and_named(tmp_path, capsys):
  root = tree(tmp_path)
  for i in range(10):
    (root / "train" / "dog" / f"{i}.TXT").write_text("")
  for path in ("train/labels.csv", "test/cat/deep/x.csv", "train/cat/LICENSE", "train/cat/.DS_Store", "README.md"):
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text("")
  save(root / "train" / "loose.png")
  load(root)
  assert lines(capsys) == [
    f"warning: folder:{root}: passed over 13 files that are no images: 10 .txt, 2 .csv, 1 without an ending",
    f"warning: folder:{root}: passed over 1 image outside the class folders, such as {root / 'train' / 'loose.png'}",
  ]


@pytest.mark.parametrize("name", ["unlabelled", "Unlabeled", "UNLABELLED", "un-labeled"])
def test_unlabeled_in_another_spelling_is_told(tmp_path, capsys, name):
  root = tree(tmp_path)
  save(root / name / "a.png", 99)
  assert "unlabeled" not in load(root)[0].split_sizes
  (line,) = lines(capsys)
  assert line.endswith(f"passed over the folder {root / name}; call it unlabeled/ to pretrain on its images too")


def test_other_folders_are_told(tmp_path, capsys):
  root = tree(tmp_path)
  save(root / "val" / "cat" / "a.png", 99)
  (root / "same").symlink_to("train")
  load(root)
  (line,) = lines(capsys)
  assert f"passed over the folder {root / 'val'}" in line


def test_of_many_frames_the_first_is_read_and_that_is_said_once(tmp_path, capsys):
  root = tree(tmp_path)
  frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (50, 60, 70)]
  for name in ("b.gif", "c.tif", "d.webp"):
    how = {"lossless": True} if name == "d.webp" else {}
    frames[0].save(root / "train" / "cat" / name, save_all=True, append_images=frames[1:], **how)
  frames[0].save(root / "train" / "dog" / "e.jpg", "MPO", save_all=True, append_images=frames[1:])  # a phone's preview
  assert load(root)[1] == [[10, 50, 50, 50], [20, 50]]
  (line,) = lines(capsys)
  assert "only the first frame or page is read of 3 files: " in line


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_few_bits_in_files_of_sixteen_are_told(tmp_path, capsys, limit):
  for part in ("train", "test"):
    for name, value in (("cat", 700), ("dog", 1000)):
      (tmp_path / part / name).mkdir(parents=True)
      values = np.full((4, 4), value + 20 * (part == "test"), np.uint16)
      Image.fromarray(values).save(tmp_path / part / name / "a.png")
  dataset, _ = load(tmp_path, in_memory_limit=limit)
  assert np.asarray(dataset.train.x)[:, 0, 0, 0].tolist() == [2, 3]
  train, test = lines(capsys)[:2]
  assert "train images of 16 bits have no value above 1000 (2 of 2 looked at): 4 of 256 levels" in train
  assert "test images of 16 bits have no value above 1020" in test
  assert "--bits=10 keeps all" in test
  assert np.asarray(load(tmp_path, bits=10)[0].train.x)[:, 0, 0, 0].tolist() == [700 >> 2, 1000 >> 2]
  assert lines(capsys) == []
  Image.fromarray(np.full((4, 4), 60000, np.uint16)).save(tmp_path / "train" / "cat" / "a.png")
  load(tmp_path)
  assert "test images" in "".join(lines(capsys))


# ---- names


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep names in Unicode")
def test_class_names_that_are_no_text(tmp_path, capsys):
  names = [os.fsdecode(name) for name in (b"caf\xe8", b"caf\xe9")]
  root = tree(tmp_path, names)
  (root / "train" / names[0] / os.fsdecode(b"\xff.txt")).write_text("")
  (root / os.fsdecode(b"\xe9")).mkdir()
  dataset, images = load(root)
  assert images == [[10], [20]]
  assert dataset.task.names == ("caf\ufffd", "caf\ufffd\ufffd")
  assert "".join(lines(capsys)).isascii()


def test_readable_names_are_all_different():
  names = [os.fsdecode(name) for name in (b"a\xe8", b"a\xe9", "a\ufffd".encode(), b"b", "ä".encode())]
  made = readable(names)
  assert len(set(made)) == len(names)
  assert made[2:] == ("a\ufffd", "b", "ä")
  assert all(name.encode() for name in made)


# ---- the same picture in both splits


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_test_images_that_are_training_images_are_counted_and_named(tmp_path, capsys, limit):
  root = tree(tmp_path)
  noise = np.random.default_rng(0).integers(0, 256, (3, 80, 80)).astype(np.uint8)  # files above what is compared first
  other = noise[1].copy()
  other[0, 0] ^= 1
  for part, pictures in (("train", noise), ("test", (noise[0], other, noise[2], noise[0]))):
    for i, picture in enumerate(pictures):
      Image.fromarray(picture).save(save(root / part / "dog" / f"{i}.bmp"))
  dataset, _ = load(root, image_size=80, in_memory_limit=limit)
  assert isinstance(dataset.train.x, LazyArray) == (limit == 0)
  (line,) = lines(capsys)
  assert line.startswith(f"warning: folder:{root}: 3 of 6 test examples have the same values as training examples")
  for i in (0, 2):
    assert f"{root / 'test' / 'dog' / f'{i}.bmp'} = {root / 'train' / 'dog' / f'{i}.bmp'}" in line
  assert "3.bmp" not in line


def test_the_same_pixels_in_another_file_are_found_in_memory(tmp_path, capsys):
  root = tree(tmp_path)
  save(root / "test" / "dog" / "b.bmp", 10)
  load(root)
  assert "1 of 3 test examples" in capsys.readouterr().err


def test_duplicates_in_arrays_are_told_by_row(capsys):
  rng = np.random.default_rng(0)
  train, y = rng.integers(0, 256, (50, 9, 7, 3)).astype(np.uint8), np.arange(50, dtype=np.int32) % 2
  test = train[[7, 3, 7, 9]].copy()
  test[3, 4, 4, 1] ^= 1
  checked(image_classes("npz:x", ("a", "b"), Split(train, y), Split(test, y[:4])))
  assert lines(capsys) == [
    "warning: npz:x: 3 of 4 test examples have the same values as training examples, and say nothing of new ones: "
    "test example 0 = training example 7, test example 1 = training example 3"
  ]
  checked(image_classes("npz:x", ("a", "b"), Split(train, y), Split(test[3:], y[:1])))
  assert lines(capsys) == []


def test_lazy_arrays_that_are_no_files_are_not_read(capsys):
  def refuse(rows):
    raise AssertionError("read")

  lazy, y = LazyArray((4, 2, 2, 1), refuse), np.arange(4, dtype=np.int32) % 2
  checked(image_classes("tfds:x", ("a", "b"), Split(lazy, y), Split(lazy, y)))
  assert lines(capsys) == []
