"""The rules for data sets made by hand, and for images on another scale than 0..255."""

import dataclasses
import gzip
import struct

import numpy as np
import pytest

from sslx import data
from sslx.data.check import checked
from sslx.data.lazy import LazyArray
from sslx.data.types import Split, image_classes
from sslx.types import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 0, 1, 1, 0], np.int32)
UNIT = (IMAGES / 255).astype(np.float32)


def made(x=IMAGES, y=LABELS, **changes):
  return dataclasses.replace(image_classes("mine", ("a", "b"), Split(x, y), Split(255 - IMAGES, LABELS)), **changes)


def lazy(x):
  return LazyArray(x.shape, lambda rows: x[rows], x.dtype)


@pytest.mark.parametrize(
  ("dataset", "message"),
  [
    (made(np.moveaxis(IMAGES, -1, 1)), r"train images have 8 channels; the last axis must be .*; \[6, 3, 8, 8\] looks "
                                       r"like \[N,C,H,W\]: move the channels last, np\.moveaxis\(x, 1, -1\)$"),
    (made(IMAGES[:, :1], test=Split(IMAGES[:, :1], LABELS)), None),  # one pixel high is not channels first
    (made(IMAGES[..., :2]), r"train images have 2 channels; the last axis must be 1 \(grey\) or 3 \(RGB\)$"),
    (made(IMAGES[..., 0]), r"train images have shape \[6, 8, 8\]; add the axis of the channels, x\[\.\.\., None\]"),
    (made(IMAGES.reshape(6, -1)), r"train images have shape \[6, 192\]; they must be \[N,H,W,C\]"),
    (made(UNIT), r"train images are float32 in \[0, 1\]; .*: np\.rint\(x \* 255\)\.astype\(np\.uint8\)"),
    (made(IMAGES.astype(np.float64)), r"float64 in \[0, 255\]; .*255 is white: x\.astype\(np\.uint8\)"),
    (made(UNIT - 0.5), r"float32 in \[-0.5, 0.5\]; they must be uint8"),
    (made(IMAGES.astype(np.int64)), r"int64 in \[0, 255\]; .*x\.astype\(np\.uint8\)"),
    (made(IMAGES > 99), r"train images are bool; .*x \* np\.uint8\(255\)"),
    (made(lazy(UNIT)), r"train images are float32; they must be uint8"),
    (made(IMAGES // 128), "train images hold no value above 1, where 255 is white"),
    (made(IMAGES * 0 + 1), "train images hold no value above 1"),
    (made(IMAGES * 0), None),  # black, which no factor mends
    (made(unlabeled=Split(IMAGES // 128, None)), "unlabeled images hold no value above 1"),
    (made(test=Split(IMAGES // 128, LABELS)), "test images hold no value above 1"),
    (made(IMAGES.tolist()), r"train\.x is of type list; give a NumPy array, np\.asarray\(x\)"),
    (made(y=LABELS.tolist()), r"train\.y is of type list; give a NumPy array, np\.asarray\(y\)"),
    (made(y=LABELS.astype(np.float32)), r"train labels are float32 of shape \[6\]; they must be integers"),
    (made(y=np.eye(2, dtype=np.int32)[LABELS]), r"train labels are int32 of shape \[6, 2\]; they must be integers"),
    (made(y=LABELS.astype(np.uint8)), None),
    (made(test=(IMAGES, LABELS)), r"test is of type tuple; it must be a Split\(x, y\)"),
  ],
)  # fmt: skip
def test_what_is_made_by_hand(dataset, message):
  if message is None:
    assert checked(dataset) is dataset
    return
  with pytest.raises(UserError, match=f"^mine: .*{message}") as error:
    checked(dataset)
  assert "\n" not in str(error.value)


def test_what_is_no_data_set():
  with pytest.raises(UserError, match=r"^data: expected a Dataset, as of sslx\.load_data, not str$"):
    checked("mnist")


def told(capsys, **changes):
  checked(made(**changes))
  return capsys.readouterr().err


def test_images_that_are_dark_are_told(capsys):
  assert told(capsys) == ""
  assert told(capsys, x=IMAGES // 4 + 1) == ""  # 64
  assert told(capsys, x=IMAGES // 16 + 1) == (
    "warning: mine: no value of the train images is above 16, where 255 is white: all is nearly black; multiply them "
    "by 15 if 16 is to be white\n"
  )
  black = Split(IMAGES * 0, LABELS)
  assert told(capsys, test=black) == "warning: mine: every test image is black: all values are 0\n"
  assert told(capsys, x=lazy(IMAGES // 16)) == ""  # not read


def npz(path, **changes):
  arrays = {
    "train_images": IMAGES,
    "train_labels": LABELS,
    "test_images": 255 - IMAGES,
    "test_labels": LABELS,
  } | changes
  np.savez(path / "x.npz", **arrays)
  return f"npz:{path / 'x.npz'}"


@pytest.mark.parametrize("part", ["train_images", "test_images", "unlabeled_images"])
def test_images_of_0_and_1_in_an_npz(tmp_path, capsys, part):
  binary = IMAGES // 128
  with pytest.raises(UserError, match=rf"x\.npz: {part[:4]}.* hold no value above 1, where 255 is white.*by 255"):
    data.load(npz(tmp_path, **{part: binary}))
  for right in (binary * np.uint8(255), binary > 0, binary.astype(np.float32)):
    dataset = data.load(npz(tmp_path, **{part: right}))
    np.testing.assert_array_equal(getattr(dataset, part.split("_")[0]).x, binary * np.uint8(255))
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_images_divided_twice_in_an_npz(tmp_path, capsys, dtype):
  twice = (IMAGES / 255 / 255).astype(dtype)
  with pytest.raises(UserError, match=r"train_images is float in \[0, 0\.0039.*\], and white is 1: .*by 255$"):
    data.load(npz(tmp_path, train_images=twice))
  with pytest.raises(UserError, match="perhaps divided by 255 twice"):
    data.load(npz(tmp_path, train_images=twice * dtype(0.5)))
  black = data.load(npz(tmp_path, train_images=twice * 0))
  assert black.train.x.max() == 0
  assert "every train image is black: all values are 0" in capsys.readouterr().err


def test_digits_in_0_to_16_are_told_on_stderr(tmp_path, capsys):
  spec = npz(tmp_path, train_images=IMAGES // 16, test_images=(255 - IMAGES) // 16)
  assert data.load(spec).train.x.max() == 15
  lines = capsys.readouterr().err.splitlines()
  assert [line.partition(" images")[0] for line in lines] == [
    f"warning: {spec}: no value of the {part}" for part in ("train", "test")
  ]


def test_images_of_0_and_1_in_idx_files(tmp_path):
  for part in ("train", "t10k"):
    for name, array in (("images-idx4", IMAGES // 128), ("labels-idx1", LABELS.astype(np.uint8))):
      header = struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape)
      (tmp_path / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
  with pytest.raises(UserError, match=r"^idx:.*: train images hold no value above 1, where 255 is white"):
    data.load(f"idx:{tmp_path}")
