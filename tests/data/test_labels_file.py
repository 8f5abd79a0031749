"""--labels_file: labels of files that have none, and corrections of others."""

import os

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.types import UserError


@pytest.fixture
def root(tmp_path):
  """Two images of each class, four without labels; the value of an image is its own."""
  for i, path in enumerate(("train/cat/a", "train/cat/b", "train/dog/c", "train/dog/d")):
    save(tmp_path / "set" / f"{path}.png", 10 * i + 100)
  for i, path in enumerate("efgh"):
    save(tmp_path / "set" / "unlabeled" / f"{path}.png", 10 * i + 200)
  return tmp_path / "set"


def save(path, value):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)


def write(folder, *rows, header="path,class", encoding="utf-8"):
  (folder / "labels.csv").write_bytes("\n".join([header, *rows, ""]).encode(encoding))
  return str(folder / "labels.csv")


def load(root, file, kind="folder", **how):
  dataset = data.load(f"{kind}:{root}", labels_file=file, **how)
  names = dataset.task.names
  labelled = {os.path.basename(f)[0]: names[y] for f, y in zip(dataset.train.files, dataset.train.y, strict=True)}
  return dataset, labelled


def refused(root, file, message, kind="folder"):
  with pytest.raises(UserError, match=message) as error:
    data.load(f"{kind}:{root}", labels_file=file)
  assert "\n" not in str(error.value)


CATS_AND_DOGS = {"a": "cat", "b": "cat", "c": "dog", "d": "dog"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_files_without_labels_get_them_and_others_are_corrected(root, capsys, encoding):
  file = write(
    root, "unlabeled/e.png,âne", "g.png,dog", "h.png,?", "train/cat/b.png,dog", "train/dog/c.png,dog", "f.png,",
    encoding=encoding,
  )  # fmt: skip
  dataset, labelled = load(root, file)
  assert dataset.task.names == ("cat", "dog", "âne")
  assert labelled == {"a": "cat", "b": "dog", "c": "dog", "d": "dog", "e": "âne", "g": "dog"}
  assert [os.path.basename(path) for path in dataset.unlabeled.files] == ["f.png", "h.png"]
  values = {os.path.basename(f)[0]: x[0, 0, 0] for f, x in zip(dataset.train.files, dataset.train.x, strict=True)}
  assert values == {"a": 100, "b": 110, "c": 120, "d": 130, "e": 200, "g": 220}
  assert dataset.train.y.tolist() == sorted(dataset.train.y)
  (line,) = capsys.readouterr().err.splitlines()
  assert line == (
    f"folder:{root}: by {file}, 2 files of unlabeled/ have labels, and 1 of train/ another class than their folder's, "
    "such as b.png from cat to dog"
  )


def test_paths_from_the_root_from_the_table_and_behind_links(root, tmp_path, monkeypatch):
  (tmp_path / "lists").mkdir()
  (tmp_path / "link").symlink_to(root)
  file = write(
    tmp_path / "lists", f"{root}/unlabeled/e.png,dog", "../set/unlabeled/f.png,cat", "../link/unlabeled/g.png,dog"
  )
  expected = CATS_AND_DOGS | {"e": "dog", "f": "cat", "g": "dog"}
  assert load(root, file)[1] == expected
  monkeypatch.chdir(tmp_path)
  assert load("set", "lists/labels.csv")[1] == expected
  assert load("link", "lists/labels.csv")[1] == expected


def test_labels_alone_make_a_labelled_data_set(root):
  for path in sorted((root / "train").rglob("*.png")):
    path.rename(root / "unlabeled" / path.name)
  for folder in ("train/cat", "train/dog", "train"):
    (root / folder).rmdir()
  file = write(root, "0.91,a.png,cat", "0.5,h.png,dog", "0.2,b.png,cat", header="confidence,path,class")
  dataset, labelled = load(root, file)
  assert labelled == {"a": "cat", "b": "cat", "h": "dog"}
  assert dataset.split_sizes == {"train": 3, "test": 0, "unlabeled": 5}
  assert dataset.task.name == "classification"
  every = write(root, *(f"{name}.png,{'cat' if name < 'e' else 'dog'}" for name in "abcdefgh"))
  assert load(root, every)[0].split_sizes == {"train": 8, "test": 0}


def test_a_class_whose_files_are_all_corrected_is_gone(root):
  file = write(root, "train/cat/a.png,dog", "train/cat/b.png,dog", "e.png,eel")
  assert load(root, file)[0].task.names == ("dog", "eel")
  save(root / "test" / "cat" / "t.png", 50)
  refused(root, file, "test/cat: class 'cat' is unknown to .*train$")


def test_the_same_line_twice_is_one(root):
  assert load(root, write(root, "e.png,dog", "unlabeled/e.png,dog"))[1] == CATS_AND_DOGS | {"e": "dog"}


@pytest.mark.parametrize(
  ("rows", "message"),
  [
    (["e.png,dog", "z.png,dog"], r"labels\.csv, line 3: z\.png: no file of folder:.*; write paths as they stand below"),
    (["labels.csv,dog"], r"labels\.csv, line 2: labels\.csv: no file of"),
    ([",dog"], r"labels\.csv, line 2: an empty path: no file of"),
    (
      ["e.png,dog", "f.png,cat", "unlabeled/e.png,cat"],
      r"line 4: .*e\.png: is 'cat' here, but 'dog' in line 2; delete",
    ),
    (["test/cat/t.png,dog"], r"line 2: .*t\.png: is of the test split, whose labels stay as they are"),
    (["e.png,dog,1"], r"labels\.csv, line 2: has 3 cells, and the header 2"),
    ([], r"labels\.csv: holds no rows below its header"),
  ],
)
def test_the_line_is_named(root, rows, message):
  save(root / "test" / "cat" / "t.png", 50)
  refused(root, write(root, *rows), message)


def test_tables_that_are_none(root):
  refused(root, str(root / "gone.csv"), r"gone\.csv: no such file; --labels_file reads a table")
  refused(root, write(root, "e.png,dog", header="path,label"), "has no column class, but path, label; write path,class")
  refused(root, write(root, "dog", header="animal"), "has no column path and no column class, but animal")
  for name in "abcd":
    (root / "train" / ("cat" if name < "c" else "dog") / f"{name}.png").unlink()
  for folder in ("train/cat", "train/dog", "train"):
    (root / folder).rmdir()
  refused(root, write(root, "e.png,dog", "f.png,?"), r"labels\.csv: with it, folder:.* has one class; at least two")


def test_data_sets_that_take_none(root):
  with pytest.raises(UserError, match=r"--labels_file=x.csv: mnist takes none; it is for folder:DIR, audio:DIR, text:"):
    data.load("mnist", labels_file="x.csv")
  (root / "corpus.txt").write_text("the cat and the dog and the cat " * 9)
  with pytest.raises(UserError, match=r"--labels_file=x.csv: is for documents, .* is a corpus; leave it out"):
    data.load(f"text:{root / 'corpus.txt'}", labels_file="x.csv")


def test_recordings_and_texts_are_labelled_too(tmp_path):
  import soundfile

  for folder in (tmp_path / "a" / "unlabeled", tmp_path / "t" / "unlabeled"):
    folder.mkdir(parents=True)
  for name in "xyz":
    soundfile.write(tmp_path / "a" / "unlabeled" / f"{name}.wav", 0.1 * np.sin(np.arange(800.0)), 8000)
    (tmp_path / "t" / "unlabeled" / f"{name}.txt").write_text(f"some words of {name}" * 9)
  for kind, ending in (("audio", "wav"), ("text", "txt")):
    root = tmp_path / kind[0]
    dataset, labelled = load(root, write(root, f"x.{ending},good", f"z.{ending},bad"), kind)
    assert labelled == {"x": "good", "z": "bad"}
    assert dataset.split_sizes == {"train": 2, "test": 0, "unlabeled": 1}


def test_speech_commands_have_a_list_of_their_own(tmp_path):
  (tmp_path / "testing_list.txt").write_text("a/b.wav\n")
  refused(tmp_path, "x.csv", r"is for DIR/train/ and DIR/unlabeled/, not for .*testing_list\.txt", "audio")
