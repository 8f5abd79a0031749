"""davis:DIR: videos with masks, as DAVIS 2016 and 2017 lay them out."""

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.data import geometry
from sslx.types import UserError

MASK = np.zeros((8, 12), np.uint8)
MASK[2:5, 3:9] = 1
MASK[5:7, 3:9] = 38


def save(path, values, mode=None):
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(values)
  if mode == "P":
    image.putpalette([0, 0, 0, 128, 0, 0] + [7] * 762)
  elif mode:
    image = image.convert(mode)
  image.save(path)


def write(root, resolution="480p", lists="2017", test="val", mode="P", videos=("bear", "cow", "dog")):
  """Two frames of each video; the last video is test."""
  inner = [resolution] if resolution else []
  for i, video in enumerate(videos):
    for frame in range(2):
      grey = np.full((8, 12, 3), 40 * i + 9 * frame + 60, np.uint8)
      save(root.joinpath("JPEGImages", *inner, video, f"{frame:05d}.jpg"), grey)
      save(root.joinpath("Annotations", *inner, video, f"{frame:05d}.png"), np.roll(MASK, frame, 1), mode)
  names(root, "train", videos[:-1], lists)
  names(root, test, videos[-1:], lists)
  return f"davis:{root}"


def names(root, part, lines, lists="2017"):
  path = root / "ImageSets" / lists / f"{part}.txt"
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(f"{line}\n" for line in lines))


def refused(spec, message, **how):
  with pytest.raises(UserError, match=message) as error:
    data.load(spec, **how)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("resolution", "lists", "test"), [("480p", "2017", "val"), ("", "", "test"), ("Full-Resolution", "480p", "val")]
)
@pytest.mark.parametrize("mode", ["P", None, "RGB"])
def test_every_object_is_one_class(tmp_path, capsys, resolution, lists, test, mode):
  dataset = data.load(write(tmp_path, resolution, lists, test, mode))
  assert (dataset.task.name, dataset.task.names) == ("segmentation", ("background", "object"))
  assert dataset.split_sizes == {"train": 4, "test": 2}
  np.testing.assert_array_equal(dataset.train.y, [np.roll(MASK > 0, frame, 1) for frame in (0, 1, 0, 1)])
  np.testing.assert_array_equal(dataset.test.x[:, 0, 0, 0], [140, 149])
  assert dataset.train.files[1].endswith("bear/00001.jpg")
  assert capsys.readouterr().err == ""


def test_white_is_an_object_too(tmp_path):
  spec = write(tmp_path)
  save(tmp_path / "Annotations/480p/bear/00000.png", np.where(MASK > 0, 255, 0).astype(np.uint8))
  np.testing.assert_array_equal(data.load(spec).train.y[0], MASK > 0)


def test_masks_are_cut_with_their_images(tmp_path):
  dataset = data.load(write(tmp_path), image_size=6)
  assert dataset.x_shape == (6, 6, 3)
  np.testing.assert_array_equal(dataset.train.y[0], geometry.square_mask((MASK > 0).astype(np.uint8), 6))


def test_pairs_of_2016(tmp_path):
  spec = write(tmp_path, lists="480p")
  pairs = [f"/JPEGImages/480p/{v}/0000{i}.jpg /Annotations/480p/{v}/0000{i}.png" for v, i in (("bear", 1), ("cow", 0))]
  names(tmp_path, "train", [*pairs, "", "/JPEGImages/480p/cow/00001.jpg"], "480p")
  dataset = data.load(spec)
  assert dataset.split_sizes == {"train": 2, "test": 2, "unlabeled": 1}
  np.testing.assert_array_equal(dataset.train.y, [np.roll(MASK > 0, 1, 1), MASK > 0])
  for line, message in (
    ("/JPEGImages/480p/bear/9.jpg", "line 1: .*bear/9.jpg: no such file"),
    (pairs[0].replace("1.png", "7.png"), "line 1: .*bear/00007.png: no such file"),
    (pairs[0] + " /Annotations/480p/bear/00000.png", "line 1: write an image and its mask"),
  ):
    names(tmp_path, "train", [line], "480p")
    refused(spec, rf"train\.txt, {message}")


def test_frames_without_a_mask(tmp_path, capsys):
  spec = write(tmp_path)
  for video in ("bear", "dog"):
    (tmp_path / f"Annotations/480p/{video}/00001.png").unlink()
  dataset = data.load(spec)
  assert dataset.split_sizes == {"train": 3, "test": 1, "unlabeled": 1}
  np.testing.assert_array_equal(dataset.unlabeled.x[0, 0, 0], [69] * 3)
  line = capsys.readouterr().err
  assert f"left out 1 frames of test without a mask, such as {tmp_path}/JPEGImages/480p/dog/00001.jpg" in line
  (tmp_path / "Annotations/480p/dog/00000.png").unlink()
  refused(spec, r"val\.txt: no frame of its videos has a mask in .*Annotations")


def test_the_latest_list_and_480p_are_taken(tmp_path, capsys):
  spec = write(tmp_path)
  write(tmp_path, "1080p", "2016", videos=("cow", "bear"))
  dataset = data.load(spec)
  assert "/480p/" in dataset.train.files[0]
  assert dataset.split_sizes["train"] == 4
  line = capsys.readouterr().err
  assert f"videos are those of {tmp_path}/ImageSets/2017; passed over {tmp_path}/ImageSets/2016" in line
  (tmp_path / "JPEGImages/480p").rename(tmp_path / "JPEGImages/240p")
  refused(spec, r"JPEGImages: holds 1080p, 240p; name the one to be read 480p")


@pytest.mark.parametrize(
  ("lines", "message"),
  [
    (["bear", "eel"], r"train\.txt, line 2: no such video, .*480p/eel"),
    (["bear", "bear"], r"train\.txt, line 2: bear stands there twice"),
    (["bear", "dog"], r"val\.txt: the video dog is in .*train\.txt too"),
    ([], r"train\.txt: names no video"),
  ],
)
def test_lists_that_are_wrong(tmp_path, lines, message):
  spec = write(tmp_path)
  names(tmp_path, "train", lines)
  refused(spec, message)


def test_masks_that_are_wrong(tmp_path):
  spec = write(tmp_path)
  path = tmp_path / "Annotations/480p/cow/00001.png"
  save(path, MASK.T)
  refused(spec, r"cow/00001\.png: is 12x8, but its image .* is 8x12")
  path.write_bytes(b"")
  refused(spec, r"cow/00001\.png: empty file")
  path.rename(path.with_name("7.png"))
  refused(spec, r"cow/7\.png: has no frame of this name in .*cow")


def test_folders_that_are_missing(tmp_path):
  spec = write(tmp_path)
  (tmp_path / "ImageSets/2017/val.txt").unlink()
  refused(spec, r"2017: holds neither test\.txt nor val\.txt")
  (tmp_path / "ImageSets/2017/train.txt").unlink()
  refused(spec, r"ImageSets: holds no train\.txt")
  (tmp_path / "ImageSets").rename(tmp_path / "Sets")
  refused(spec, r"ImageSets: no such folder; davis:DIR needs DIR/JPEGImages")
  refused("davis:/nowhere/at/all", r"/nowhere/at/all: no such folder")


def test_masks_without_any_object(tmp_path):
  spec = write(tmp_path)
  for path in (tmp_path / "Annotations").rglob("*.png"):
    save(path, MASK * 0)
  refused(spec, "the masks of train hold background only; at least two classes are needed")
