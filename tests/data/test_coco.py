"""coco:DIR: boxes, and masks of polygons."""

import json

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.data import geometry
from sslx.data.polygons import fill
from sslx.types import UserError

CATEGORIES = [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}]
HEIGHT, WIDTH = 20, 30


def picture(path, size=(HEIGHT, WIDTH), **how):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.random.default_rng(len(str(path))).integers(0, 256, (*size, 3)).astype(np.uint8)).save(path, **how)


def corners(left, top, width, height):
  return [[left, top, left + width, top, left + width, top + height, left, top + height]]


def thing(number, image, category, box, **more):
  return {"id": number, "image_id": image, "category_id": category, "bbox": box, "segmentation": corners(*box)} | more


TRAIN = [
  thing(100, 1, 9, [2, 3, 4, 5]),
  thing(101, 2, 3, [10, 0, 20, 20]),
  thing(102, 2, 9, [12, 4, 6, 8]),
]
TEST = [thing(7, 5, 3, [1, 1, 10, 10])]


def write(root, train=TRAIN, test=TEST, layout="annotations/instances_{}.json", folders=("train", "test"), **changes):
  """Three training images, the last of which has no annotation, and one of test."""
  for folder, ids, annotations in zip(folders, ((1, 2, 4), (5,)), (train, test), strict=True):
    images = [{"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in ids]
    for image in images:
      picture(root / folder / image["file_name"])
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES} | changes
    path = root / layout.format(folder)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
  return f"coco:{root}"


def refused(spec, message, **how):
  with pytest.raises(UserError, match=message) as error:
    data.load(spec, **how)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("layout", "folders"),
  [
    ("annotations/instances_{}.json", ("train", "test")),
    ("{}.json", ("train", "val")),
    ("annotations/instances_{}.json", ("train2017", "val2017")),
  ],
)
def test_boxes_are_top_left_bottom_right(tmp_path, capsys, layout, folders):
  dataset = data.load(write(tmp_path, layout=layout, folders=folders))
  assert (dataset.task.name, dataset.task.names) == ("detection", ("cat", "dog"))  # by their ids
  none = [-1, 0, 0, 0, 0]
  expected = [[[1, 3, 2, 8, 6], none], [[0, 0, 10, 20, 30], [1, 4, 12, 12, 18]], [none, none]]
  np.testing.assert_array_equal(dataset.train.y, expected)
  assert dataset.train.y.dtype == np.float32
  np.testing.assert_array_equal(dataset.test.y, [[[0, 1, 1, 11, 11], none]])
  assert dataset.x_shape == (HEIGHT, WIDTH, 3)
  assert dataset.train.files == [str(tmp_path / folders[0] / f"{i}.png") for i in (1, 2, 4)]
  assert capsys.readouterr().err == ""


def test_polygons_are_masks_and_small_things_lie_over_large_ones(tmp_path):
  dataset = data.load(write(tmp_path), task="segmentation")
  assert dataset.task.names == ("background", "cat", "dog")
  expected = np.zeros((3, HEIGHT, WIDTH), np.uint8)
  expected[0, 3:8, 2:6] = 2
  expected[1, :, 10:] = 1
  expected[1, 4:12, 12:18] = 2
  np.testing.assert_array_equal(dataset.train.y, expected)
  assert "detection" in dataset.others
  turned = data.load(write(tmp_path, TRAIN[::-1]), task="segmentation")
  np.testing.assert_array_equal(turned.train.y, expected)


def test_boxes_and_masks_follow_the_resized_image(tmp_path):
  """By half, to 10x15, of which the square is from column 2 to 12."""
  dataset = data.load(write(tmp_path), image_size=10)
  none = [-1, 0, 0, 0, 0]
  expected = [[[1, 1.5, 0, 4, 1], none], [[0, 0, 3, 10, 10], [1, 2, 4, 6, 7]], [none, none]]
  np.testing.assert_array_equal(dataset.train.y, expected)
  full = data.load(f"coco:{tmp_path}", task="segmentation")
  masks = data.load(f"coco:{tmp_path}", image_size=10, task="segmentation")
  assert masks.x_shape == (10, 10, 3)
  for small, large in zip(masks.train.y, full.train.y, strict=True):
    wrong = small != geometry.square_mask(large, 10)
    assert wrong.sum() <= 10  # only where an edge goes through the centre of a pixel
  narrow = write(tmp_path, [TRAIN[0] | {"bbox": [2, 3, 2.6, 5]}, *TRAIN[1:]])  # 0.6 of 2.6 is less than a quarter
  np.testing.assert_array_equal(data.load(narrow, image_size=10).train.y[0], [none, none])


def test_a_box_may_leave_its_image_by_a_pixel(tmp_path):
  dataset = data.load(write(tmp_path, [*TRAIN, thing(103, 4, 3, [-1, -0.5, 31.9, 21.5])]))
  np.testing.assert_array_equal(dataset.train.y[2, 0], [0, 0, 0, 20, 30])


@pytest.mark.parametrize("box", [[-1.1, 0, 5, 5], [0, -2, 5, 5], [26, 0, 5.1, 5], [0, 16, 5, 5.01]])
def test_a_box_beyond_its_image(tmp_path, box):
  spec = write(tmp_path, [*TRAIN, thing(103, 4, 3, box)])
  refused(spec, r"instances_train\.json: annotation 103: its box .* is not inside its image .*train/4\.png, 20x30")


def test_crowds_and_boxes_without_area_are_left_out_and_counted(tmp_path, capsys):
  more = [
    thing(103, 4, 3, [0, 0, 5, 5], iscrowd=1, segmentation={"counts": [0, 600], "size": [20, 30]}),
    thing(104, 4, 3, [0, 0, 5, 0]),
    thing(105, 4, 3, [30, 0, 1, 5]),  # nothing of it is inside
  ]
  dataset = data.load(write(tmp_path, [*TRAIN, *more]))
  assert (dataset.train.y[2, :, 0] == -1).all()
  assert "segmentation" in dataset.others
  assert [line.partition("left out ")[2].partition(",")[0] for line in capsys.readouterr().err.splitlines()] == [
    "1 annotations of crowds of train",
    "2 boxes without area of train",
  ]


@pytest.mark.parametrize("outline", [{"counts": "abc", "size": [20, 30]}, [], None])
def test_without_polygons_it_is_for_detection_only(tmp_path, capsys, outline):
  spec = write(tmp_path, [*TRAIN[:2], TRAIN[2] | {"segmentation": outline}])
  assert not data.load(spec).others
  assert "for detection only: 1 of 4 annotations have no polygons (run lengths are not read)" in capsys.readouterr().err
  refused(spec, "--task=segmentation: .* has no targets for it; it is for detection", task="segmentation")
  bare = [[each | {"segmentation": []} for each in part] for part in (TRAIN, TEST)]
  capsys.readouterr()
  assert not data.load(write(tmp_path, *bare)).others
  assert capsys.readouterr().err == ""


def test_masks_larger_than_memory_is_meant_for_are_not_made(tmp_path, capsys):
  assert data.load(write(tmp_path), in_memory_limit=1800).others
  capsys.readouterr()
  assert not data.load(write(tmp_path), in_memory_limit=1799).others
  assert "for detection only: " in (line := capsys.readouterr().err)
  assert "3 masks of 20x30 (height x width) take 1,800 bytes, more than --in_memory_limit=1799" in line


def test_further_images_are_unlabeled_and_images_that_no_file_names_are_told(tmp_path, capsys):
  spec = write(tmp_path)
  picture(tmp_path / "unlabeled2017" / "u.png")
  picture(tmp_path / "train" / "x.png")
  assert data.load(spec).split_sizes == {"train": 3, "test": 1, "unlabeled": 1}
  assert f"passed over 1 images of train that {tmp_path}/annotations/instances_train.json does not name, such as " in (
    capsys.readouterr().err
  )


def test_the_test_split_with_annotations_is_taken(tmp_path, capsys):
  spec = write(tmp_path, folders=("train", "val"))
  (tmp_path / "test").mkdir()
  assert data.load(spec).split_sizes["test"] == 1
  write(tmp_path)
  capsys.readouterr()
  data.load(spec)
  assert f"passed over {tmp_path}/annotations/instances_val.json" in capsys.readouterr().err


# ---- what is wrong, and where


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"image_id": 77}, "annotation 102: no image has its image_id, 77"),
    ({"category_id": 1}, "annotation 102: no category has its category_id, 1"),
    ({"category_id": [1]}, r"entry 2 of its annotations has the category_id \[1\]; it must be a number"),
    ({"bbox": [1, 2, 3]}, r"annotation 102: its bbox is \[1, 2, 3\]; it must be \[left, top, width, height\]"),
    ({"bbox": [1, 2, -3, 3]}, "annotation 102: its bbox is"),
    ({"bbox": [1, 2, float("nan"), 3]}, "annotation 102: its bbox is"),
    ({"bbox": [1, 2, 10**400, 3]}, "annotation 102: its bbox is"),
    ({"bbox": "1 2 3 4"}, "annotation 102: its bbox is"),
    ({"segmentation": [[1, 2, 3, 4]]}, r"annotation 102: its polygon is \[1, 2, 3, 4\]; it must be \[x, y, x, y"),
    ({"segmentation": [[1, 2, 3, 4, 5, "6"]]}, "annotation 102: its polygon is"),
    ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "annotation 102: its polygon is"),
  ],
)
def test_annotations_that_cannot_be_meant(tmp_path, change, message):
  refused(write(tmp_path, [*TRAIN[:2], TRAIN[2] | change]), rf"instances_train\.json: {message}")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"images": []}, "holds no images"),
    ({"images": None}, "has no list of images; it is no JSON of COCO's instances"),
    ({"images": [{"id": 1}]}, "entry 0 of its images has no file_name"),
    ({"images": [{"id": 1, "file_name": "1.png"}] * 2}, "two images have the id 1"),
    ({"images": [{"id": 1, "file_name": "z.png"}]}, r"its image 1 is not there: .*train/z\.png"),
    ({"categories": []}, "its categories are none"),
    ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "its categories are a, a; give each a name"),
    ({"categories": [{"id": 1, "name": "a"}, {"id": "2", "name": "b"}]}, "the ids of its categories are of several"),
    ({"annotations": [{"id": 1}]}, "entry 0 of its annotations has no image_id"),
    ({"annotations": [3]}, "entry 0 of its annotations has no id"),
  ],
)
def test_files_that_cannot_be_meant(tmp_path, changes, message):
  refused(write(tmp_path, **changes), rf"instances_train\.json: {message}")


def test_files_that_are_no_json_or_are_not_there(tmp_path):
  spec = write(tmp_path)
  path = tmp_path / "annotations" / "instances_test.json"
  for content in (b"{", b"\xff", b"[" * 100_000):
    path.write_bytes(content)
    refused(spec, r"instances_test\.json: is no JSON \(.*\); export it again")
  path.write_text("[]")
  refused(spec, r"instances_test\.json: has no list of categories")
  path.unlink()
  refused(spec, r"instances_test\.json: no such file, nor .*/test\.json")
  (tmp_path / "test").rename(tmp_path / "held_out")
  refused(spec, "has no folder test or val or test2017 or val2017 with the images of test")
  refused(f"coco:{tmp_path / 'none'}", "none: no such folder")


def test_categories_that_differ(tmp_path):
  spec = write(tmp_path)
  path = tmp_path / "annotations" / "instances_test.json"
  path.write_text(path.read_text().replace("dog", "hog"))
  refused(spec, r"instances_test\.json: its categories are not those of .*instances_train\.json")


def test_images_of_another_size_than_their_file_says(tmp_path):
  spec = write(tmp_path)
  picture(tmp_path / "train" / "2.png", (HEIGHT, WIDTH + 1))
  refused(spec, r"train/2\.png: is 20x31, but .*instances_train\.json says 20x30", image_size=8)


@pytest.mark.parametrize(("image", "is_refused"), [(2, True), (4, False)])
def test_an_image_that_is_turned_has_no_annotation(tmp_path, image, is_refused):
  exif = Image.Exif()
  exif[0x0112] = 3
  spec = write(tmp_path)
  picture(tmp_path / "train" / f"{image}.png", exif=exif)
  if is_refused:
    refused(spec, r"train/2\.png: its EXIF data turn or mirror it, .* annotation")
  else:
    assert data.load(spec).split_sizes["train"] == 3


def test_without_any_box_nothing_can_be_learnt(tmp_path):
  refused(write(tmp_path, []), "the train split has no boxes; at least one is needed")


# ---- polygons


def test_a_pixel_is_filled_where_its_centre_is_inside():
  rng = np.random.default_rng(0)
  rows, columns = np.mgrid[:24, :32] + 0.5
  for _ in range(20):
    points = rng.uniform(-6, 36, (3, 2))
    mask = np.zeros((24, 32), np.uint8)
    fill(mask, [points], 5)
    sides, margin = [], np.inf
    for a, b in zip(points, np.roll(points, -1, 0), strict=True):
      normal = np.array([-(b - a)[1], (b - a)[0]]) / np.linalg.norm(b - a)
      distance = (rows - a[0]) * normal[0] + (columns - a[1]) * normal[1]
      sides.append(distance)
      margin = np.minimum(margin, np.abs(distance))
    inside = np.all([s > 0 for s in sides], 0) | np.all([s < 0 for s in sides], 0)
    sure = margin > 0.4  # of a pixel, whose quarters Pillow draws
    np.testing.assert_array_equal(mask[sure] == 5, inside[sure])


def test_several_polygons_are_one_thing_and_may_leave_the_image():
  mask = np.zeros((6, 8), np.uint8)
  rectangles = [np.array([[0, 0], [0, 3], [2, 3], [2, 0]]), np.array([[4, 5], [4, 99], [99, 99], [99, 5]])]
  fill(mask, rectangles, 2)
  expected = np.zeros((6, 8), np.uint8)
  expected[:2, :3] = expected[4:, 5:] = 2
  np.testing.assert_array_equal(mask, expected)
  fill(mask, [rectangles[0] - 50], 1)
  np.testing.assert_array_equal(mask, expected)
