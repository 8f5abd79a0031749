"""folder:DIR with images/ and masks/."""

import shutil

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.data import geometry
from sslx.data.fingerprint import fingerprint
from sslx.data.lazy import LazyArray
from sslx.types import UserError

RNG = np.random.default_rng(0)
MASK = RNG.integers(0, 3, (10, 16)).astype(np.uint8)
MASK[0, :3] = 255, 1, 2


def save(path, values=None, mode=None, **how):
  path.parent.mkdir(parents=True, exist_ok=True)
  values = RNG.integers(0, 256, (10, 16, 3)).astype(np.uint8) if values is None else values
  image = Image.fromarray(values)
  if mode == "P":
    image.putpalette([90, 0, 0, 0, 200, 0, 1, 1, 1] + [0] * 759)  # index 0 is not black
  elif mode:
    image = image.convert(mode)
  image.save(path, **how)


def tree(root, mode=None, mask=MASK):
  for part, names in (("train", "ab"), ("test", "c")):
    for name in names:
      save(root / part / "images" / f"{name}.jpg")
      save(root / part / "masks" / f"{name}.png", mask, mode)
  return root


def load(root, **how):
  return data.load(f"folder:{root}", **how)


def refused(root, message, **how):
  with pytest.raises(UserError, match=message) as error:
    load(root, **how)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("limit", [320, 1 << 30])
@pytest.mark.parametrize("mode", [None, "P"])
def test_masks_are_the_values_of_their_files(tmp_path, mode, limit):
  dataset = load(tree(tmp_path, mode), in_memory_limit=limit)
  assert (dataset.task.name, dataset.task.names) == ("segmentation", ("background", "1", "2"))
  assert dataset.split_sizes == {"train": 2, "test": 1}
  assert isinstance(dataset.train.x, LazyArray) == (limit == 320)
  np.testing.assert_array_equal(dataset.train.y, [MASK, MASK])
  np.testing.assert_array_equal(dataset.test.y, [MASK])
  assert dataset.test.files == [str(tmp_path / "test/images/c.jpg")]


def test_masks_keep_their_classes_where_images_are_resized(tmp_path):
  save(tree(tmp_path) / "unlabeled" / "more" / "u.png", np.zeros((30, 5, 3), np.uint8))
  save(tmp_path / "train" / "images" / "d.png", np.full((50, 24, 3), 9, np.uint8))
  tall = np.repeat(np.repeat(MASK[:, :6], 5, 0), 4, 1)
  save(tmp_path / "train" / "masks" / "d.png", tall)
  dataset = load(tmp_path, image_size=8)
  assert dataset.x_shape == (8, 8, 3)
  assert dataset.split_sizes == {"train": 3, "test": 1, "unlabeled": 1}
  np.testing.assert_array_equal(dataset.train.y[0], geometry.square_mask(MASK, 8))
  np.testing.assert_array_equal(dataset.train.y[2], geometry.square_mask(tall, 8))
  assert set(np.unique(dataset.train.y)) <= {0, 1, 2, 255}


def test_images_of_several_sizes_need_one(tmp_path):
  save(tree(tmp_path) / "train" / "images" / "d.png", np.zeros((9, 9, 3), np.uint8))
  save(tmp_path / "train" / "masks" / "d.png", MASK[:9, :9])
  refused(tmp_path, "is 10x16 but .*d.png is 9x9 .*: give --image_size to resize them all")


def test_classes_have_the_names_of_their_file(tmp_path):
  (tree(tmp_path) / "classes.txt").write_text("\ufeffground\ncat \ndog\n\n", "utf-8")
  assert load(tmp_path).task.names == ("ground", "cat", "dog")


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("a", "names 1 classes; write 2 to 255"),
    ("a\n\nb", "classes.txt, line 2: empty"),
    ("a\nb\na", "classes.txt, line 3: 'a' again"),
    ("a\nb", r"(a|b|c)\.png: holds the value 2, which is none of the 2 classes, 0\.\.1"),
  ],
)
def test_names_that_do_not_fit(tmp_path, text, message):
  (tree(tmp_path) / "classes.txt").write_text(text)
  refused(tmp_path, message)


def test_names_that_are_no_text(tmp_path):
  (tree(tmp_path) / "classes.txt").write_bytes(b"a\nb\xff")
  refused(tmp_path, r"classes\.txt: is no text in UTF-8")


def test_a_class_of_test_that_train_does_not_hold(tmp_path, capsys):
  save(tree(tmp_path) / "test" / "masks" / "c.png", MASK * 0 + 7)
  refused(tmp_path, r"c\.png: holds the value 7, which is none of the 3 classes, 0\.\.2")
  (tmp_path / "classes.txt").write_text("\n".join("abcdefgh"))
  load(tmp_path)
  assert capsys.readouterr().err == f"warning: folder:{tmp_path}: of test, h never occurs in train\n"


def test_numbers_with_gaps_are_told(tmp_path, capsys):
  tree(tmp_path, mask=np.where(MASK == 2, 9, MASK).astype(np.uint8))
  assert len(load(tmp_path).task.names) == 10
  line = capsys.readouterr().err
  assert "values up to 9, and so 10 classes, but 7 of them never occur: 2, 3, 4, 5, 6, ...; number them" in line


def test_black_and_white_masks(tmp_path):
  white = np.where(MASK == 1, 255, 0).astype(np.uint8)
  refused(tree(tmp_path, mask=white), "masks of train hold no class beside the background .0., and 255 is ignored")
  dataset = load(tree(tmp_path, mode="1", mask=white))  # of one bit, where there is no ignored
  assert dataset.task.names == ("background", "1")
  np.testing.assert_array_equal(dataset.train.y[0], MASK == 1)


# ---- what is wrong, and where


def test_an_image_without_a_mask(tmp_path):
  for name in "xy":
    save(tree(tmp_path) / "train" / "images" / f"{name}.png")
  refused(tmp_path, r"images/x\.png: has no mask .*train/masks/x\.png \(2 of 4 images have none\)")


def test_a_mask_without_an_image(tmp_path):
  save(tree(tmp_path) / "test" / "masks" / "x.png", MASK)
  refused(tmp_path, r"test/masks/x\.png: has no image of this name in .*test/images")


def test_two_images_of_one_name(tmp_path):
  save(tree(tmp_path) / "train" / "images" / "a.png")
  refused(tmp_path, r"a\.png: has the same name as .*a\.jpg")


def test_a_mask_of_another_size(tmp_path):
  save(tree(tmp_path) / "train" / "masks" / "b.png", MASK.T)
  refused(tmp_path, r"masks/b\.png: is 16x10, but its image .*images/b\.jpg is 10x16", image_size=8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_a_mask_of_colours(tmp_path, mode):
  save(tree(tmp_path) / "train" / "masks" / "b.png", MASK, mode)
  refused(tmp_path, rf"b\.png: its mode is {mode}, which is of colours or .*; save index PNG")


def test_a_mask_that_is_no_png(tmp_path):
  (tree(tmp_path) / "train" / "masks" / "b.png").unlink()
  save(tmp_path / "train" / "masks" / "b.jpg", MASK)
  refused(tmp_path, r"b\.jpg: a mask must be PNG, not JPEG")


def test_a_damaged_mask(tmp_path):
  path = tree(tmp_path) / "train" / "masks" / "b.png"
  path.write_bytes(path.read_bytes()[:60])
  refused(tmp_path, r"masks/b\.png: not a readable image")


@pytest.mark.parametrize("part", ["train/masks", "test/images"])
def test_a_folder_that_is_missing(tmp_path, part):
  shutil.rmtree(tree(tmp_path) / part)
  if part == "train/masks":  # one folder beside it is a class, and two are needed
    refused(tmp_path, "holds 1 class folders; at least two are needed")
  else:
    refused(tmp_path, "test/images: missing; a data set with masks needs images/ and masks/ in")


def test_masks_without_a_test_split(tmp_path):
  shutil.rmtree(tree(tmp_path) / "test")
  dataset = load(tmp_path)
  assert (dataset.task.names, dataset.split_sizes) == (("background", "1", "2"), {"train": 2, "test": 0})
  assert (dataset.test.x.shape, dataset.test.y.shape) == ((0, *dataset.train.x.shape[1:]), (0, *MASK.shape))
  small = load(tmp_path, image_size=6)
  assert (small.test.x.shape, small.test.y.shape) == ((0, 6, 6, 3), (0, 6, 6))
  with pytest.raises(UserError, match=r"is for classes, and folder:.* has masks"):
    load(tmp_path, labels_file="labels.csv")


def test_folders_that_are_classes_stay_classes(tmp_path):
  for part in ("train", "test"):
    for name in ("images", "masks", "other"):
      save(tmp_path / part / name / "a.png")
  assert load(tmp_path).task.names == ("images", "masks", "other")


@pytest.mark.parametrize("orientation", [1, 2, 3, 6])
@pytest.mark.parametrize("kind", ["jpg", "tif"])
def test_an_image_that_is_turned_needs_no_mask(tmp_path, orientation, kind):
  """Of a mask nobody knows whether it was drawn on the turned picture, and in half of the turns no size tells it."""
  exif = Image.Exif()
  exif[0x0112] = orientation
  (tree(tmp_path) / "train" / "images" / "b.jpg").unlink()
  save(tmp_path / "train" / "images" / f"b.{kind}", exif=exif)
  save(tmp_path / "unlabeled" / f"u.{kind}", exif=exif)
  if orientation == 1:
    assert load(tmp_path, image_size=8).split_sizes["unlabeled"] == 1
  else:
    refused(tmp_path, rf"images/b\.{kind}: its EXIF data turn or mirror it, .* mask .*; save it upright", image_size=8)


def test_masks_larger_than_memory_is_meant_for(tmp_path):
  refused(tree(tmp_path), "2 masks of 10x16 .* 320 bytes, more than --in_memory_limit=319", in_memory_limit=319)
  assert load(tmp_path, in_memory_limit=319, image_size=8).train.y.shape == (2, 8, 8)


def test_other_files_are_told(tmp_path, capsys):
  (tree(tmp_path) / "train" / "masks" / "notes.txt").write_text("")
  save(tmp_path / "train" / "loose.png")
  load(tmp_path)
  lines = capsys.readouterr().err.splitlines()
  assert [line.partition("passed over ")[2] for line in lines] == [
    "1 file that is no image: 1 .txt",
    f"1 image outside images/ and masks/, such as {tmp_path}/train/loose.png",
  ]


def test_masks_tell_data_apart(tmp_path):
  before = fingerprint(load(tree(tmp_path), in_memory_limit=320))
  mask = MASK.copy()
  mask[5, 5] = (mask[5, 5] + 1) % 3
  save(tmp_path / "train" / "masks" / "b.png", mask)
  assert fingerprint(load(tmp_path, in_memory_limit=320)) != before
