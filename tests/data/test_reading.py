"""Files read for a model: which are found, and that they become what the loaders make of them."""

import shutil

import numpy as np
import pytest
import soundfile
from PIL import Image

from sslx import data
from sslx.data import images, reading
from sslx.data.lazy import LazyArray
from sslx.types import UserError

RNG = np.random.default_rng(0)


def save(path, height=9, width=13, mode="RGB"):
  path.parent.mkdir(parents=True, exist_ok=True)
  shape = (height, width) if mode == "L" else (height, width, len(mode))
  Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8), mode).save(path)
  return path


@pytest.fixture
def photos(tmp_path):
  """folder:DIR of two classes, files of several sizes, kinds and modes."""
  root = tmp_path / "photos"
  for part in ("train", "test"):
    for name in ("cat", "dog"):
      save(root / part / name / "a.png", 20, 31, "RGBA")
      save(root / part / name / "b.jpg", 40, 16)
      save(root / part / name / "c.webp", 8, 8)
      save(root / part / name / "d.bmp", 7, 50, "L")
  turned = Image.fromarray(RNG.integers(0, 256, (12, 30, 3), dtype=np.uint8))
  exif = turned.getexif()
  exif[274] = 6
  turned.save(root / "train" / "dog" / "e.jpg", exif=exif)
  return root


# ---- which files


def test_folders_files_and_patterns_in_their_order_each_file_once(tmp_path):
  one, two = save(tmp_path / "b" / "one.png"), save(tmp_path / "b" / "deep" / "er" / "two.JPG")
  save(tmp_path / "b" / ".hidden" / "x.png")
  save(tmp_path / "b" / ".y.png")
  (tmp_path / "b" / "notes.txt").write_text("no image")
  three = save(tmp_path / "a" / "three.tif")
  (tmp_path / "b" / "again").symlink_to(tmp_path / "b")  # a loop
  (tmp_path / "b" / "twin.png").symlink_to(three)
  folder = [str(two), str(one), str(tmp_path / "b" / "twin.png")]
  assert reading.files_of([tmp_path / "b", tmp_path / "a"], "image") == folder
  assert reading.files_of([three, one, tmp_path / "b"], "image") == [str(three), str(one), str(two)]
  assert reading.files_of([str(tmp_path / "*" / "t*")], "image") == [str(three)]
  assert reading.files_of([str(tmp_path / "**" / "*.png")], "image") == [str(one), folder[2]]
  assert reading.files_of([str(tmp_path / "b" / "*")], "image") == folder
  assert reading.files_of([str(tmp_path / "b")], "text") == [str(tmp_path / "b" / "notes.txt")]


def test_a_file_that_is_named_may_be_called_as_it_likes(tmp_path):
  path = save(tmp_path / "a.png").rename(tmp_path / "a[1]")
  assert reading.files_of([path], "image") == [str(path)]
  assert reading.read([path], "image", (9, 9, 3)).x.shape == (1, 9, 9, 3)


def test_places_without_files(tmp_path):
  save(tmp_path / "a.png")
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError, match=r"gone: no such file or folder$"):
    reading.files_of([tmp_path / "a.png", tmp_path / "gone"], "image")
  with pytest.raises(UserError, match=r"empty: holds no images \(\.png, "):
    reading.files_of([tmp_path / "empty"], "image")
  with pytest.raises(UserError, match=r"\*\.jpg: holds no images"):
    reading.files_of([str(tmp_path / "*.jpg")], "image")
  with pytest.raises(UserError, match="no files: name images, or folders with them"):
    reading.files_of([], "image")
  with pytest.raises(UserError, match="video: files are read of image, sound, text"):
    reading.files_of([tmp_path], "video")


# ---- images


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_images_are_those_of_the_data_set(photos, limit):
  dataset = data.load(f"folder:{photos}", image_size=16, background="#204060")
  files = reading.read(
    dataset.train.files, "image", dataset.x_shape, background=(0x20, 0x40, 0x60), in_memory_limit=limit
  )
  assert isinstance(files.x, np.ndarray if limit else LazyArray)
  np.testing.assert_array_equal(np.asarray(files.x), dataset.train.x)
  assert (files.kept, files.broken) == (list(dataset.train.files), [])


def test_a_model_of_grey_images_sees_colour_as_grey(photos, tmp_path):
  for part in ("train", "test"):
    for name in ("cat", "dog"):
      save(tmp_path / "grey" / part / name / "a.png", 24, 32, "L")
  grey = data.load(f"folder:{tmp_path / 'grey'}", image_size=16)
  assert grey.x_shape == (16, 16, 1)
  np.testing.assert_array_equal(reading.read(grey.train.files, "image", grey.x_shape).x, grey.train.x)
  colour = photos / "train" / "cat" / "b.jpg"
  (row,) = reading.read([colour], "image", grey.x_shape).x
  with Image.open(colour) as image:
    luma = np.asarray(image.convert("L").resize((16, 40), Image.Resampling.BILINEAR))[12:28]
  np.testing.assert_array_equal(row[..., 0], luma)


def test_images_that_are_no_squares_are_covered(tmp_path):
  exact, wide, tall = (save(tmp_path / f"{i}.png", *size) for i, size in enumerate([(6, 8), (12, 32), (48, 16)]))
  files = reading.read([exact, wide, tall], "image", (6, 8, 3))
  with Image.open(exact) as a, Image.open(wide) as b, Image.open(tall) as c:
    np.testing.assert_array_equal(files.x[0], a)
    np.testing.assert_array_equal(files.x[1], b.resize((16, 6), Image.Resampling.BILINEAR).crop((4, 0, 12, 6)))
    np.testing.assert_array_equal(files.x[2], c.resize((8, 24), Image.Resampling.BILINEAR).crop((0, 9, 8, 15)))


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 9, 3)])
def test_a_long_strip_does_not_fill_the_memory(tmp_path, monkeypatch, shape):
  path = save(tmp_path / "strip.png", 1, 1000)  # of 8 rows, 8,000 columns
  for module in (reading, images):
    monkeypatch.setattr(module, "PICTURE_BYTES", 3 * 8 * 8000 - 1)
  with pytest.raises(UserError, match=r"strip\.png: 1x1000 \(height x width\) .* to be scaled to .*crop it"):
    reading.read([path], "image", shape, in_memory_limit=8 * 9 * 3)
  for module in (reading, images):
    monkeypatch.setattr(module, "PICTURE_BYTES", 3 * 9 * 9000)
  assert reading.read([path], "image", shape, in_memory_limit=8 * 9 * 3).x.shape == (1, *shape)


def test_broken_files_are_refused_or_listed(tmp_path):
  good = [save(tmp_path / f"{i}.png", 8, 8) for i in range(3)]
  cut, empty = tmp_path / "cut.png", tmp_path / "empty.jpg"
  cut.write_bytes(good[0].read_bytes()[:-40])
  empty.touch()
  paths = [good[0], cut, good[1], empty, good[2]]
  with pytest.raises(UserError) as error:
    reading.read(paths, "image", (8, 8, 3))
  assert str(error.value).startswith(f"{cut}: not a readable image (")
  assert str(error.value).endswith("; --skip_broken passes over images that cannot be read")
  done = []
  for limit in (1 << 30, 0):
    files = reading.read(paths, "image", (8, 8, 3), skip_broken=True, in_memory_limit=limit, progress=done.append)
    assert files.kept == list(map(str, good))
    assert [path for path, _ in files.broken] == [str(cut), str(empty)]
    assert files.broken[1][1] == "empty file; delete it or put an image there"
    np.testing.assert_array_equal(np.asarray(files.x), [np.asarray(Image.open(path)) for path in good])
  assert done == [1, 2, 3, 4, 5] * 2
  with pytest.raises(UserError, match=r"cut\.png: not a readable image .*; none of 2 images can be read"):
    reading.read([cut, empty], "image", (8, 8, 3), skip_broken=True)


def test_many_large_images_are_not_in_memory_together(tmp_path, monkeypatch):
  path = save(tmp_path / "a.png", 64, 64)
  paths = [tmp_path / f"{i}.png" for i in range(300)]
  for each in paths:
    shutil.copy(path, each)
  monkeypatch.setattr(reading, "_HELD", 1)  # fewer than a chunk
  x = reading.read(paths, "image", (64, 64, 3), in_memory_limit=64 * 64 * 3 * 299).x
  assert isinstance(x, LazyArray)
  np.testing.assert_array_equal(x[np.array([0, 299])], np.asarray(Image.open(path))[None].repeat(2, 0))


# ---- sound and text


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_recordings_are_those_of_the_data_set(tmp_path, limit):
  for i, part in enumerate(("train", "test")):
    for k, name in enumerate(("a", "b")):
      folder = tmp_path / part / name
      folder.mkdir(parents=True)
      for rate, seconds, channels in ((8000, 0.5, 1), (11025, 1.5, 2)):
        wave = 0.3 * np.sin(np.arange(int(rate * seconds)) * (0.1 + 0.1 * i + 0.05 * k))
        soundfile.write(folder / f"{rate}.wav", np.repeat(wave[:, None], channels, 1), rate)
  dataset = data.load(f"audio:{tmp_path}", sample_rate=8000, seconds=1.0)
  assert dataset.x_shape == (8000,)
  files = reading.read(dataset.train.files, "sound", dataset.x_shape, dataset.meaning, in_memory_limit=limit)
  np.testing.assert_array_equal(np.asarray(files.x), dataset.train.x)
  assert files.x.dtype == np.int16


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_texts_are_those_of_the_data_set(tmp_path, limit):
  for part in ("train", "test"):
    for name, words in (("sea", "the ship sails the sea"), ("land", "the horse walks on land today")):
      folder = tmp_path / part / name
      folder.mkdir(parents=True)
      (folder / "a.txt").write_text(f"{words} {part}")
      (folder / "b.txt").write_text(f"{words} and so on for long, {part}")
  dataset = data.load(f"text:{tmp_path}", min_count=1, max_length=8)
  paths = reading.files_of([tmp_path / "train"], "text")
  files = reading.read(dataset.test.files, "text", dataset.x_shape, dataset.meaning, in_memory_limit=limit)
  np.testing.assert_array_equal(np.asarray(files.x), dataset.test.x)
  assert sorted(paths) == sorted(dataset.train.files)
