"""idx:, npz: and folder:, and what they say about bad files."""

import gzip
import os
import struct

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.data.idx import read_idx
from sslx.data.lazy import LazyArray
from sslx.types import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 28, 28)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(array):
  return struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def write_idx(folder, images=IMAGES, labels=LABELS, suffix=".gz"):
  folder.mkdir(parents=True, exist_ok=True)
  for name, array in zip(FILES, (images, labels, images[::-1], labels[::-1]), strict=True):
    content = idx_bytes(array)
    (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)
  return folder


@pytest.mark.parametrize("kind", ["npz", "idx", "folder"])
def test_a_pipe_is_refused_and_not_waited_for(kind, tmp_path):
  if kind == "npz":
    path = tmp_path / "data.npz"
    os.mkfifo(path)
  elif kind == "idx":
    path = write_idx(tmp_path / "data")
    (path / f"{FILES[0]}.gz").unlink()
    os.mkfifo(path / f"{FILES[0]}.gz")
  else:
    path = tmp_path / "data"
    for part in ("train", "test"):
      for name in ("a", "b"):
        (path / part / name).mkdir(parents=True)
        Image.fromarray(IMAGES[0]).save(path / part / name / "x.png")
    os.mkfifo(path / "train/a/pipe.png")
  with pytest.raises(UserError, match=str(path)):
    data.load(f"{kind}:{path}")


# ---- IDX


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_idx(tmp_path, suffix):
  dataset = data.load(f"idx:{write_idx(tmp_path, suffix=suffix)}")
  np.testing.assert_array_equal(dataset.train.x, IMAGES[..., None])
  np.testing.assert_array_equal(dataset.test.x, IMAGES[::-1, ..., None])
  assert dataset.test.y.tolist() == [2, 1, 0, 2, 1, 0]
  assert dataset.task.names == ("0", "1", "2")


def test_colour_idx(tmp_path):
  write_idx(tmp_path)
  colour = np.repeat(IMAGES[..., None], 3, axis=3)
  for part in ("train", "t10k"):
    (tmp_path / f"{part}-images-idx3-ubyte.gz").unlink()
    (tmp_path / f"{part}-images-idx4-ubyte").write_bytes(idx_bytes(colour))
  np.testing.assert_array_equal(data.load(f"idx:{tmp_path}").train.x, colour)


GOOD = idx_bytes(LABELS)
BAD_IDX = {
  "empty file": b"",
  "truncated gzip": gzip.compress(GOOD)[:-9],
  "corrupt gzip file": b"not gzip at all",
  "corrupt gzip": gzip.compress(GOOD)[:12] + b"\xff\xff\xff\xff" + gzip.compress(GOOD)[16:],
  "bad magic number 0000": gzip.compress(b"\0\0\x0d\1" + GOOD[4:]),  # floats
  "bad magic": gzip.compress(b"P5\n28"),
  "3 dimensions where 1": gzip.compress(idx_bytes(IMAGES)),
  "truncated in its header": gzip.compress(GOOD[:6]),
  "truncated: 4 bytes": gzip.compress(GOOD[:-2]),
  "too long: 7 bytes": gzip.compress(GOOD + b"\0"),
  r"says 4294967295": gzip.compress(b"\0\0\x08\1\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("message", BAD_IDX)
def test_bad_idx_files_are_named(tmp_path, message):
  write_idx(tmp_path)
  (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(BAD_IDX[message])
  with pytest.raises(UserError, match=f"t10k-labels-idx1-ubyte.gz: .*{message}"):
    data.load(f"idx:{tmp_path}")


def test_idx_counts_and_missing_files(tmp_path):
  with pytest.raises(UserError, match="nowhere: no such folder"):
    data.load(f"idx:{tmp_path / 'nowhere'}")
  with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz: missing"):
    data.load(f"idx:{tmp_path}")
  write_idx(tmp_path)
  (tmp_path / f"{FILES[1]}.gz").write_bytes(gzip.compress(idx_bytes(LABELS[:-1])))
  with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz: 6 images, but train-labels.* 5 labels"):
    data.load(f"idx:{tmp_path}")
  write_idx(tmp_path, IMAGES[:0], LABELS[:0])
  with pytest.raises(UserError, match="holds no images"):
    data.load(f"idx:{tmp_path}")
  with pytest.raises(UserError, match="cannot be read"):
    read_idx(tmp_path, 1)


# ---- NPZ


def npz(tmp_path, **changes):
  arrays = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS} | changes
  np.savez(tmp_path / "x.npz", **{name: array for name, array in arrays.items() if array is not None})
  return f"npz:{tmp_path / 'x.npz'}"


def test_npz(tmp_path):
  colour = RNG.integers(0, 256, (6, 9, 7, 3)).astype(np.uint8)
  names = np.array(["cat", "dog", "eel"])
  spec = npz(tmp_path, train_images=colour, test_images=colour, unlabeled_images=colour[:2], class_names=names)
  dataset = data.load(spec)
  assert dataset.x_shape == (9, 7, 3)
  assert dataset.split_sizes == {"train": 6, "test": 6, "unlabeled": 2}
  assert dataset.task.names == ("cat", "dog", "eel")
  assert dataset.unlabeled.y is None
  np.testing.assert_array_equal(dataset.train.x, colour)
  assert data.load(spec, image_size=4).unlabeled.x.shape == (2, 4, 4, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz_floats_are_rounded(tmp_path, dtype):
  spec = npz(tmp_path, train_images=(IMAGES / 255).astype(dtype), train_labels=LABELS.astype(np.int64)[:, None])
  dataset = data.load(spec)
  np.testing.assert_array_equal(dataset.train.x, IMAGES[..., None])
  almost = data.load(npz(tmp_path, train_images=np.full((6, 28, 28), 0.9985, dtype)))  # 254.6 of 255
  assert almost.train.x.min() == 255
  assert dataset.train.y.dtype == np.int32
  assert dataset.train.y.shape == (6,)


def with_value(value):
  images = (IMAGES / 255).astype(np.float32)
  images[2, 3, 4] = value
  return images


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"test_labels": None, "train_images": None}, "lacks the arrays train_images, test_labels; it holds train_labels"),
    ({"train_images": IMAGES.astype(np.int64)}, "train_images is int64; images must be uint8"),
    ({"train_images": IMAGES.astype(np.float32)}, r"float in \[0, 255\]; scale"),
    ({"test_images": with_value(-0.1)}, r"test_images is float in \[-0.1, 1\]"),
    ({"train_images": with_value(np.nan)}, "train_images holds values that are not finite"),
    ({"unlabeled_images": with_value(np.inf)}, "unlabeled_images holds values that are not finite"),
    ({"train_images": IMAGES[0]}, r"train_images has shape \[28, 28\]"),
    ({"train_images": IMAGES[:5]}, "5 train images but 6 train labels"),
    ({"train_images": IMAGES[:, :20]}, "train images are 20x28x1 but test images are 28x28x1"),
    ({"train_images": IMAGES.reshape(6, 1, 28, 28)}, "28 channels; the last axis"),
    ({"train_labels": LABELS.astype(float)}, "train_labels is float64; labels must be integers"),
    ({"train_labels": np.where(LABELS == 1, np.nan, 0.0)}, "train_labels holds values that are not finite"),
    ({"train_labels": LABELS.astype(int) - 1}, r"train_labels holds -1\.\.1"),
    ({"train_labels": np.eye(6, dtype=np.int32)}, r"train_labels has shape \[6, 6\]"),
    ({"train_labels": LABELS * 0}, "one class only"),
    ({"test_labels": LABELS + 1}, r"test label 3 is outside 0\.\.2"),
    ({"train_labels": LABELS * 2, "test_labels": LABELS + 1}, "test class '1' never occurs"),
    ({"class_names": np.array(["a", "b"])}, r"train label 2 is outside 0\.\.1"),
    ({"train_images": np.array([{}, []], object)}, r"'train_images' cannot be read \(Python objects\)"),
    ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, "the train split is empty"),
  ],
)
def test_bad_npz_arrays_are_named(tmp_path, changes, message):
  spec = npz(tmp_path, **changes)
  with pytest.raises(UserError, match=rf"x\.npz: .*({message})") as error:
    data.load(spec)
  assert "\n" not in str(error.value)


def test_bad_npz_files(tmp_path):
  path = tmp_path / "x.npz"
  with pytest.raises(UserError, match=r"x\.npz: no such file"):
    data.load(f"npz:{path}")
  content = {"empty file": b"", "not an .npz": b"hello", "not a zip file, or a truncated": None}
  npz(tmp_path)
  content["not a zip file, or a truncated"] = path.read_bytes()[:5000]
  for message, data_bytes in content.items():
    path.write_bytes(data_bytes)
    with pytest.raises(UserError, match=message):
      data.load(f"npz:{path}")
  np.save(path.with_suffix(".npy"), IMAGES)
  path.write_bytes(path.with_suffix(".npy").read_bytes())
  with pytest.raises(UserError, match=r"not an \.npz"):
    data.load(f"npz:{path}")
  npz(tmp_path)
  whole = bytearray(path.read_bytes())
  whole[2000] ^= 1
  path.write_bytes(whole)
  with pytest.raises(UserError, match=r"array 'train_images' cannot be read \(Bad CRC"):
    data.load(f"npz:{path}")


# ---- FOLDER


def save(path, array):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(array).save(path)


def tree(root, grey=False, size=(8, 8)):
  """cat and dog, 3 training and 1 test image each, each of one known value."""
  for c, name in enumerate(("cat", "dog")):
    for part, count in (("train", 3), ("test", 1)):
      for i in range(count):
        value = 100 * c + 10 * i + 5 * (part == "test")
        save(root / part / name / f"{i}.png", np.full(size if grey else (*size, 3), value, np.uint8))
  return root


def test_folder(tmp_path):
  tree(tmp_path)
  save(tmp_path / "unlabeled" / "deep" / "er" / "z.PNG", np.full((8, 8, 3), 7, np.uint8))
  save(tmp_path / "unlabeled" / "a.jpeg", np.full((8, 8, 3), 9, np.uint8))
  (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
  (tmp_path / "train" / ".hidden").mkdir()
  dataset = data.load(f"folder:{tmp_path}")
  assert dataset.task.names == ("cat", "dog")
  assert dataset.split_sizes == {"train": 6, "test": 2, "unlabeled": 2}
  assert dataset.x_shape == (8, 8, 3)
  assert dataset.train.y.tolist() == [0, 0, 0, 1, 1, 1]
  assert dataset.train.x[:, 0, 0, 0].tolist() == [0, 10, 20, 100, 110, 120]
  assert dataset.test.x[:, 0, 0, 0].tolist() == [5, 105]
  assert sorted(dataset.unlabeled.x[:, 0, 0, 0].tolist()) == [7, 9]
  assert dataset.unlabeled.y is None


def test_a_folder_beyond_the_limit_is_lazy_and_the_same(tmp_path):
  tree(tmp_path)
  memory, lazy = data.load(f"folder:{tmp_path}"), data.load(f"folder:{tmp_path}", in_memory_limit=500)
  assert isinstance(lazy.train.x, LazyArray)
  assert isinstance(lazy.test.x, np.ndarray)
  np.testing.assert_array_equal(lazy.train.x[np.array([4, 0, 4])], memory.train.x[[4, 0, 4]])
  (tmp_path / "train" / "dog" / "1.png").write_bytes(b"")
  with pytest.raises(UserError, match=r"dog.1\.png: empty file"):
    lazy.train.x[np.array([4])]


def test_grey_stays_grey_until_one_is_coloured(tmp_path):
  tree(tmp_path, grey=True)
  assert data.load(f"folder:{tmp_path}").x_shape == (8, 8, 1)
  save(tmp_path / "unlabeled" / "a.png", np.full((8, 8, 3), (200, 0, 0), np.uint8))
  dataset = data.load(f"folder:{tmp_path}")
  assert dataset.x_shape == (8, 8, 3)
  assert dataset.train.x[4, 0, 0].tolist() == [110, 110, 110]
  assert dataset.unlabeled.x[0, 0, 0].tolist() == [200, 0, 0]


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
  tree(tmp_path, grey=True)
  save(tmp_path / "test" / "cat" / "0.png", np.full((8, 8), 0x4321, np.uint16))
  assert data.load(f"folder:{tmp_path}").test.x[0, 0, 0, 0] == 0x43


def test_image_size_scales_the_shorter_side_and_cuts_the_centre(tmp_path):
  tree(tmp_path)
  wide = np.zeros((10, 40, 3), np.uint8)
  wide[:, 15:25] = 200  # exactly the centre square
  save(tmp_path / "test" / "dog" / "0.png", wide)
  with pytest.raises(UserError, match=r"cat.0\.png is 8x8 but .*dog.0\.png is 10x40.*--image_size"):
    data.load(f"folder:{tmp_path}")
  dataset = data.load(f"folder:{tmp_path}", image_size=10)
  assert dataset.x_shape == (10, 10, 3)
  np.testing.assert_array_equal(dataset.test.x[1], np.full((10, 10, 3), 200))
  half = data.load(f"folder:{tmp_path}", image_size=5)
  assert half.test.x.shape == (2, 5, 5, 3)
  assert half.test.x[1, :, 1:-1].min() > 150


def damage(root, what):
  png = root / "train" / "dog" / "1.png"
  if what == "unknown class":
    save(root / "test" / "eel" / "0.png", np.zeros((8, 8, 3), np.uint8))
  elif what == "truncated":
    save(png, RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8))
    png.write_bytes(png.read_bytes()[:-40])
  elif what == "no image":
    png.write_bytes(b"hello")
  elif what == "empty file":
    png.write_bytes(b"")
  elif what == "float":
    Image.fromarray(np.zeros((8, 8), np.float32)).save(png.with_suffix(".tiff"))
    os.replace(png.with_suffix(".tiff"), png)
  elif what == "empty class":
    for file in (root / "train" / "dog").iterdir():
      file.unlink()
  elif what == "one class":
    for part in ("train", "test"):
      os.rename(root / part / "dog", root / f"{part}-dog")
  elif what == "no train":
    os.rename(root / "train", root / "trian")
  elif what == "empty test":
    for name in ("cat", "dog"):
      (root / "test" / name / "0.png").unlink()
  elif what == "empty unlabeled":
    (root / "unlabeled").mkdir()


@pytest.mark.parametrize(
  ("what", "message"),
  [
    ("unknown class", "test.eel: class 'eel' is unknown to"),
    ("truncated", r"dog.1\.png: not a readable image"),
    ("no image", r"dog.1\.png: not a readable image \(cannot identify"),
    ("empty file", r"dog.1\.png: empty file"),
    ("float", r"dog.1\.png: 'F' pixels"),
    ("empty class", "train.dog: holds no images"),
    ("one class", "train: holds 1 class folders; at least two"),
    ("no train", "train: missing; folder:DIR needs DIR/train/CLASS/ with images, or DIR/unlabeled/ without labels"),
    ("empty test", "test: holds no images .*; delete it or fill it"),
    ("empty unlabeled", "unlabeled: holds no images"),
  ],
)
def test_bad_folders_are_named(tmp_path, what, message):
  damage(tree(tmp_path), what)
  with pytest.raises(UserError, match=message) as error:
    data.load(f"folder:{tmp_path}")
  assert "\n" not in str(error.value)


def test_no_folder(tmp_path):
  with pytest.raises(UserError, match="nowhere: no such folder"):
    data.load(f"folder:{tmp_path / 'nowhere'}")
  with pytest.raises(UserError, match="train: missing"):
    data.load(f"folder:{tmp_path}")
