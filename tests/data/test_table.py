"""csv:FILE: what its columns are taken for, and which line is wrong."""

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.types import UserError

ROWS = (("a", "train", "1.5", "cat", "0"), ("b", "train", "-2", "dog", "1"), ("c", "test", "3e2", "cat", "1"))


@pytest.fixture
def folder(tmp_path):
  for i, name in enumerate("abcd"):
    (tmp_path / "pictures").mkdir(exist_ok=True)
    Image.fromarray(np.full((6, 8), 60 * i + 70, np.uint8)).save(tmp_path / "pictures" / f"{name}.png")
  return tmp_path


def write(folder, header, *rows, encoding="utf-8"):
  """Writes a table, whose first cells are names of pictures."""
  lines = [header, *(",".join((f"pictures/{row[0]}.png", *row[1:])) for row in rows)]
  (folder / "t.csv").write_text("\n".join(lines) + "\n", encoding)
  return f"csv:{folder / 't.csv'}"


def columns(*numbers):
  """The rows of ROWS with path, split, and some of the columns age (2), animal (3), old (4)."""
  return [(*row[:2], *(row[i] for i in numbers)) for row in ROWS]


def refused(spec, message, **how):
  with pytest.raises(UserError, match=message) as error:
    data.load(spec, **how)
  assert "\n" not in str(error.value)


# ---- what columns are taken for


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_column_of_numbers_is_regression(folder, capsys, encoding):
  dataset = data.load(write(folder, "path,split,age", *columns(2), encoding=encoding))
  assert (dataset.task.name, dataset.task.names) == ("regression", ("age",))
  assert dataset.train.y.dtype == np.float32
  np.testing.assert_array_equal(dataset.train.y, [[1.5], [-2]])
  np.testing.assert_array_equal(dataset.test.y, [[300]])
  np.testing.assert_array_equal(dataset.train.x[:, 0, 0, 0], [70, 130])
  assert dataset.x_shape == (6, 8, 1)
  assert dataset.test.files == [str(folder / "pictures/c.png")]
  assert capsys.readouterr().err == ""


def test_a_column_of_text_is_classification(folder):
  dataset = data.load(write(folder, "path,split,animal", *columns(3)))
  assert (dataset.task.name, dataset.task.names) == ("classification", ("cat", "dog"))
  assert (dataset.train.y.dtype, dataset.train.y.tolist(), dataset.test.y.tolist()) == (np.int32, [0, 1], [0])


def test_several_columns_of_numbers(folder):
  spec = write(folder, "path,split,age,old", *columns(2, 4))
  dataset = data.load(spec)
  assert (dataset.task.name, dataset.task.names) == ("regression", ("age", "old"))
  np.testing.assert_array_equal(dataset.train.y, [[1.5, 0], [-2, 1]])
  np.testing.assert_array_equal(data.load(spec, targets=["old", "age"]).train.y, [[0, 1.5], [1, -2]])


def test_several_columns_of_0_and_1_are_multilabel(folder):
  dataset = data.load(write(folder, "path,split,x,y", ("a", "train", "0", "1.0"), ("b", "train", "1", "0"),
                            ("c", "test", "1", "1")))  # fmt: skip
  assert (dataset.task.name, dataset.task.names) == ("multilabel", ("x", "y"))
  assert dataset.train.y.dtype == np.uint8
  assert (dataset.train.y.tolist(), dataset.test.y.tolist()) == ([[0, 1], [1, 0]], [[1, 1]])


def test_few_whole_numbers_may_be_meant_as_classes(folder, capsys):
  assert data.load(write(folder, "path,split,old", *columns(4))).task.name == "regression"
  assert "old holds 2 whole numbers, which are taken as numbers; write classes as text" in capsys.readouterr().err


def test_the_column_is_chosen(folder):
  spec = write(folder, "path,split,age,animal,old", *columns(2, 3, 4))
  assert data.load(spec, targets=["animal"]).task.name == "classification"
  assert data.load(spec, targets=["age"]).task.names == ("age",)
  assert data.load(spec, targets=["age", "old"]).task.names == ("age", "old")
  refused(spec, r"which column is asked for\? .*: age \(numbers\), animal \(text\), old \(numbers\)")
  refused(spec, r"--target=age,animal: several targets must be numbers; .*animal \(text\)", targets=["age", "animal"])
  refused(spec, r"--target=size: .* no such column 'size' of targets; it has age", targets=["size"])
  refused(spec, "--target=split: .* no such column", targets=["split"])
  refused(spec, "--target=age,age: names 'age' twice", targets=["age", "age"])
  two = write(folder, "path,split,animal,kind", *columns(3, 3))
  refused(two, r"which column is asked for\?")


@pytest.mark.parametrize("header", ["FileName,split,age", "image,Split,age", "where,split,age", "split,file,age"])
def test_the_column_of_paths(folder, header):
  rows = columns(2)
  spec = write(folder, header, *rows)
  if header.startswith("split"):
    lines = [header, *(f"{part},pictures/{name}.png,{age}" for name, part, age in rows)]
    (folder / "t.csv").write_text("\n".join(lines))
  np.testing.assert_array_equal(data.load(spec).train.x[:, 0, 0, 0], [70, 130])


def test_paths_from_the_root_quotes_and_empty_lines(folder):
  text = f'path,split,animal\r\n"{folder}/pictures/a.png",train,"a cat, black"\r\n\r\npictures/b.png,train, dog \r\n'
  (folder / "t.csv").write_bytes((text + "pictures/c.png,TEST,dog\r\n").encode())
  dataset = data.load(f"csv:{folder / 't.csv'}")
  assert dataset.task.names == ("a cat, black", "dog")
  assert dataset.split_sizes == {"train": 2, "test": 1}


def test_unlabeled_rows_need_no_targets(folder):
  for cell in ("", "nonsense"):
    dataset = data.load(write(folder, "path,split,age", *columns(2), ("d", "unlabeled", cell)), image_size=4)
    assert dataset.split_sizes == {"train": 2, "test": 1, "unlabeled": 1}
    assert dataset.unlabeled.y is None
    assert dataset.unlabeled.x[0, 0, 0, 0] == 250
    assert dataset.x_shape == (4, 4, 1)


# ---- what is wrong, and where


@pytest.mark.parametrize(
  ("header", "row", "message"),
  [
    ("path,split,age", ("d", "test", ""), r"line 5: age is empty; fill it, or write unlabeled as its split"),
    ("path,split,age", ("d", "test", "tall"), r"line 5: age is 'tall', no number"),
    ("path,split,age", ("d", "test", "1_000"), r"line 5: age is '1_000', no number"),
    ("path,split,age", ("d", "train", "nan"), r"line 5: age is nan; it must be a finite number"),
    ("path,split,age", ("d", "train", "-inf"), r"line 5: age is -inf; it must be a finite number"),
    ("path,split,age", ("d", "train", "1e39"), r"line 5: age is 1e39; it must be a finite number of 32 bits"),
    ("path,split,age", ("d", "val", "1"), r"line 5: split is 'val'; write train, test or unlabeled"),
    ("path,split,age", ("z", "test", "1"), r"line 5: .*pictures/z\.png: no such file"),
    ("path,split,age", ("d", "test"), r"line 5: has 2 cells, and the header 3"),
    ("path,split,age", ("d", "test", "1", ""), r"line 5: has 4 cells, and the header 3"),
    ("path,split,age", ("d", "test", '"1'), r"cannot be read as CSV after line 4"),
    ("path,split,path", ("d", "test", "1"), r"its column 3 is called 'path'; give each"),
    ("path,split,", ("d", "test", "1"), r"its column 3 is called ''; give each"),
    ("path;split;age", ("d", "test", "1"), r"its header is one cell, 'path;split;age'; separate cells with commas"),
  ],
)  # fmt: skip
def test_the_line_is_named(folder, header, row, message):
  refused(write(folder, header, *columns(2), row), rf"t\.csv(, |: ){message}")


def test_a_class_that_only_test_has(folder):
  refused(write(folder, "path,split,animal", *columns(3), ("d", "test", "eel")),
          r"t\.csv, line 5: the class 'eel' of a test row never occurs in train")  # fmt: skip


def test_a_number_among_text_is_a_class(folder):
  assert data.load(write(folder, "path,split,animal", *columns(3), ("d", "train", "7"))).task.names == (
    "7",
    "cat",
    "dog",
  )


def test_an_image_that_cannot_be_read_is_named_with_its_line(folder):
  spec = write(folder, "path,split,age", *columns(2))
  (folder / "pictures" / "c.png").write_text("no picture")
  refused(spec, r"t\.csv, line 4: .*c\.png: not a readable image")
  (folder / "pictures" / "c.png").unlink()
  (folder / "pictures" / "c.png").mkdir()
  refused(spec, r"t\.csv, line 4: .*c\.png: not a file")
  (folder / "t.csv").write_text("path,split,age\n,train,1\n,test,2\n")
  refused(spec, r"t\.csv, line 2: path is empty")


def test_tables_that_are_none(folder):
  spec = f"csv:{folder / 't.csv'}"
  refused(spec, r"t\.csv: no such file")
  refused(f"csv:{folder}", "no such file; csv:FILE reads a table")
  for content, message in (
    (b"", "its first line is empty"),
    (b"path,split,age\n", "holds no rows below its header"),
    (b"path,split\npictures/a.png,train\npictures/b.png,test\n", "has no column of targets beside path, split"),
    (b"path,split,age\npictures/a.png,test,1\n", "no row of train has a value of age; fill some of them"),
    (b"path,split,age\npictures/a.png,test,\xff\n", "is no text in UTF-8"),
  ):
    (folder / "t.csv").write_bytes(content)
    refused(spec, rf"t\.csv: {message}")


def test_targets_that_do_not_vary(folder):
  refused(write(folder, "path,split,age", ("a", "train", "2"), ("b", "train", "2"), ("c", "test", "1")),
          "age is 2 in all of train; nothing can be learnt of it")  # fmt: skip


def test_a_table_without_its_kind(folder):
  refused(str(folder / "t.csv"), r"write csv:.*t\.csv$")
