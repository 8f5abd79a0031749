"""Labels of any whole numbers become places of classes, and say so."""

import gzip
import struct

import numpy as np
import pytest

from sslx import data
from sslx.data.labels import places
from sslx.types import UserError

I32 = np.dtype(np.int32)


def numbered(train, test=None, names=None, dtype=np.int64):
  train = np.array(train, dtype)
  return places("set.npz", train, train[:2] if test is None else np.array(test, dtype), names)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_labels_from_zero_are_as_they_were(capsys, dtype):
  names, train, test = numbered([2, 0, 1, 1], [1, 2], dtype=dtype)
  assert (names, train.tolist(), test.tolist()) == (("0", "1", "2"), [2, 0, 1, 1], [1, 2])
  assert train.dtype == test.dtype == I32
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
  ("values", "told"),
  [
    (range(20_000_000, 20_000_010), "its 10 labels 20000000, 20000001, ..., 20000009 are numbered anew, 0..9"),
    (range(1, 11), "its 10 labels 1, 2, ..., 10 are numbered anew, 0..9"),
    ((0, 1, 3), "its 3 labels 0, 1, 3 are numbered anew, 0..2"),
    ((7, 1 << 40, 3), "its 3 labels 3, 7, 1099511627776 are numbered anew, 0..2"),
  ],
)
def test_the_values_that_occur_are_the_classes(capsys, values, told):
  values = list(values)
  names, train, test = numbered(values + values[::-1], values[1:])
  order = sorted(values)
  assert names == tuple(map(str, order))
  assert [order[i] for i in train] == values + values[::-1]
  assert [order[i] for i in test] == values[1:]
  assert train.dtype == test.dtype == I32
  assert capsys.readouterr().err == f"warning: set.npz: {told}; the classes are called by them\n"


def test_names_that_are_given(capsys):
  abc = ("a", "b", "c")
  assert numbered([2, 0, 2], [0], abc)[0] == abc  # b never occurs, and keeps its place
  assert numbered([2, 0, 2], [0], abc)[1].tolist() == [2, 0, 2]
  assert capsys.readouterr().err == ""
  names, train, test = numbered([3, 1, 2, 1], [2, 3], abc)
  assert (names, train.tolist(), test.tolist()) == (abc, [2, 0, 1, 0], [1, 2])
  assert capsys.readouterr().err == (
    "warning: set.npz: its 3 labels 1, 2, 3 are numbered anew, 0..2; class_names are theirs in this order\n"
  )


@pytest.mark.parametrize(
  ("labels", "message"),
  [
    (
      ([1, 2, 5], [5], ("a", "b")),
      r"train label 2 is outside 0\.\.1, the places of its 2 class names, and 3 different",
    ),
    (([0, 1, 1], [7], ("a", "b", "c")), r"test label 7 is outside 0\.\.2"),
    (([5, 6], [7]), "test class '7' never occurs in the training split"),
    (([0, 1], [1 << 40]), r"test label 1099511627776 is outside 0\.\.1"),
    (([0, -1], [0]), r"train_labels holds -1\.\.0; .*no label \(-1\) belong to the unlabeled split"),
    (([0, 1], [-7]), r"test_labels holds -7\.\.-7"),
  ],
)
def test_labels_that_do_not_fit(labels, message):
  with pytest.raises(UserError, match=f"^set.npz: {message}") as error:
    numbered(*labels)
  assert "\n" not in str(error.value)


def test_labels_beyond_all_integers():
  with pytest.raises(UserError, match="18446744073709551615, which is too large"):
    numbered([(1 << 64) - 1, 0], dtype=np.uint64)


# ---- in files

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4)).astype(np.uint8)


def test_ids_in_an_npz(tmp_path, capsys):
  y = np.array([3, 1, 2, 1, 2, 3]) + 20_000_000
  arrays = {"train_images": IMAGES, "train_labels": y, "test_images": 255 - IMAGES[:3], "test_labels": y[:3, None]}
  np.savez(tmp_path / "ids.npz", **arrays)
  dataset = data.load(f"npz:{tmp_path / 'ids.npz'}")
  assert (dataset.task.outputs, dataset.task.names) == (3, ("20000001", "20000002", "20000003"))
  assert dataset.train.y.tolist() == [2, 0, 1, 0, 1, 2]
  assert dataset.test.y.tolist() == [2, 0, 1]
  assert capsys.readouterr().err.count("\n") == 1
  np.savez(tmp_path / "named.npz", **arrays, class_names=np.array(["cat", "dög", "b\xff"]).astype("U"))
  assert data.load(f"npz:{tmp_path / 'named.npz'}").task.names == ("cat", "dög", "b\xff")
  np.savez(tmp_path / "bytes.npz", **arrays, class_names=np.array([b"cat", "dög".encode(), b"b\xff"]))
  assert data.load(f"npz:{tmp_path / 'bytes.npz'}").task.names == ("cat", "dög", "b\ufffd")


def test_labels_from_one_in_idx_files(tmp_path, capsys):
  for part, images in (("train", IMAGES), ("t10k", 255 - IMAGES)):
    for name, array in (("images-idx3", images), ("labels-idx1", np.array([1, 2, 4, 4, 2, 1], np.uint8))):
      header = struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape)
      (tmp_path / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
  dataset = data.load(f"idx:{tmp_path}")
  assert dataset.task.names == ("1", "2", "4")
  assert dataset.test.y.tolist() == [0, 1, 2, 2, 1, 0]
  assert capsys.readouterr().err == (
    f"warning: {tmp_path}: its 3 labels 1, 2, 4 are numbered anew, 0..2; the classes are called by them\n"
  )
