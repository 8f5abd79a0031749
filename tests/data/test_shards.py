"""Images in shards, whatever their format: parquet:, hf:, webdataset: and array_record: of digits of MNIST."""

import io
import shutil
from pathlib import Path

import cloudpickle
import fsspec
import numpy as np
import pytest
from PIL import Image
from shard_files import NAMES, WRITERS, png, write_tables, write_webdataset

from sslx import data
from sslx.data import samples, shards
from sslx.data.fingerprint import fingerprint
from sslx.data.lazy import LazyArray
from sslx.types import UserError

TRAIN, TEST = 210, 50
LAZY = {"in_memory_limit": 0}


@pytest.fixture(scope="module")
def digits():
  mnist = data.load("mnist")
  return mnist.train.x[:TRAIN], mnist.train.y[:TRAIN], mnist.test.x[:TEST], mnist.test.y[:TEST]


@pytest.fixture(scope="module", params=list(WRITERS))
def written(request, digits, tmp_path_factory):
  """(kind, the folder of its files)."""
  folder = tmp_path_factory.mktemp(request.param) / "set"
  for part, x, y in (("train", *digits[:2]), ("test", *digits[2:])):
    WRITERS[request.param](folder, part, [png(image) for image in x], y)
  return request.param, folder


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_images_labels_and_splits_are_those_that_were_written(written, digits, tmp_path, limit):
  kind, folder = written
  dataset = data.load(f"{kind}:{folder}", str(tmp_path), in_memory_limit=limit)
  assert isinstance(dataset.train.x, LazyArray) == (limit == 0)
  order = np.random.default_rng(0).permutation(TRAIN)
  np.testing.assert_array_equal(np.asarray(dataset.train.x), digits[0])
  np.testing.assert_array_equal(dataset.train.x[order], digits[0][order])
  np.testing.assert_array_equal(dataset.train.x[order[:7]], digits[0][order[:7]])
  np.testing.assert_array_equal(np.asarray(dataset.test.x), digits[2])
  np.testing.assert_array_equal(dataset.train.y, digits[1])
  np.testing.assert_array_equal(dataset.test.y, digits[3])
  assert dataset.unlabeled is None
  assert dataset.task.name == "classification"
  assert list(dataset.task.names) == (NAMES if kind in ("parquet", "hf") else list("0123456789"))


def test_a_lazy_array_goes_to_another_process(written, digits, tmp_path):
  kind, folder = written
  x = data.load(f"{kind}:{folder}", str(tmp_path), **LAZY).train.x
  rows = np.array([200, 3, 3, 77])
  np.testing.assert_array_equal(x[rows], digits[0][rows])  # with files open
  content = cloudpickle.dumps(x)
  np.testing.assert_array_equal(cloudpickle.loads(content)[rows], digits[0][rows])
  assert len(content) < 60_000  # of the images there are 210 x 784 bytes


def test_the_fingerprint_goes_with_the_files(written, tmp_path):
  kind, folder = written
  copies = [tmp_path / name / "set" for name in ("a", "b")]
  for copy in copies:
    shutil.copytree(folder, copy)  # with the times of the files
  first, second = (data.load(f"{kind}:{copy}", str(tmp_path), **LAZY) for copy in copies)
  assert fingerprint(first) == fingerprint(second)
  victim = next(path for path in sorted(copies[1].rglob("*")) if path.stat().st_size > 5000)
  victim.touch()
  assert fingerprint(second) != fingerprint(first)


def test_a_shard_that_is_cut_in_half_is_named(written, tmp_path):
  kind, folder = written
  shutil.copytree(folder, tmp_path / "set")
  victim = next(path for path in sorted((tmp_path / "set").rglob("*train*")) if path.is_file() or kind == "hf")
  victim = next(victim.glob("*.arrow")) if kind == "hf" else victim
  victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
  with pytest.raises(UserError, match="anew") as error:
    np.asarray(data.load(f"{kind}:{tmp_path / 'set'}", str(tmp_path), **LAZY).train.x)
  assert "\n" not in str(error.value)
  assert kind == "hf" or str(victim) in str(error.value)


def test_files_behind_urls_are_those_of_this_machine(written, digits, tmp_path):
  kind, folder = written
  memory = fsspec.filesystem("memory")
  memory.put(str(folder), f"/{kind}-set", recursive=True)
  url = f"memory://{kind}-set"
  dataset = data.load(f"{kind}:{url}", str(tmp_path), **LAZY)
  np.testing.assert_array_equal(np.asarray(dataset.train.x), digits[0])
  np.testing.assert_array_equal(dataset.test.x[np.arange(TEST)[::-1]], digits[2][::-1])
  np.testing.assert_array_equal(dataset.train.y, digits[1])
  assert data.located(f"{kind}:{url}") == f"{kind}:{url}"
  assert data.path_of(f"{kind}:{url}") is None
  assert fingerprint(data.load(f"{kind}:{url}", str(tmp_path), **LAZY)) == fingerprint(dataset)
  first = fingerprint(dataset)
  victim = max(memory.find(f"/{kind}-set"), key=memory.size)
  memory.pipe_file(victim, memory.cat_file(victim))  # written anew: its time changes, and its size does not
  assert fingerprint(data.load(f"{kind}:{url}", str(tmp_path), **LAZY)) != first
  memory.rm(f"/{kind}-set", recursive=True)
  with pytest.raises(UserError, match="memory://") as error:
    data.load(f"{kind}:{url}", str(tmp_path))
  assert "\n" not in str(error.value)


# ---- what they share, with tar files


def tars(folder: Path, images, labels, part="train", **how) -> str:
  write_webdataset(folder, part, [image if isinstance(image, bytes) else png(image) for image in images], labels, **how)
  return f"webdataset:{folder}"


def load(spec: str, folder: Path, **how):
  return data.load(spec, str(folder / "data_dir"), **how)


def test_images_of_several_sizes(digits, tmp_path):
  images = [np.asarray(Image.fromarray(image[..., 0]).resize((30, 40))) for image in digits[0][:20]]
  spec = tars(tmp_path, [*digits[0][:20], *images], np.tile(digits[1][:20], 2))
  with pytest.raises(UserError, match=r"is 28x28 but .*-0001.tar, image at byte \d+ is 40x30 .* give --image_size"):
    load(spec, tmp_path)
  small, lazy = (load(spec, tmp_path, image_size=20, **how) for how in ({}, LAZY))
  assert small.train.x.shape == (40, 20, 20, 1)
  np.testing.assert_array_equal(small.train.x, np.asarray(lazy.train.x))
  save = tmp_path / "tree" / "train"
  for i, image in enumerate([*digits[0][:20], *images]):
    (save / str(i % 2)).mkdir(parents=True, exist_ok=True)
    (save / str(i % 2) / f"{i:03d}.png").write_bytes(png(image))
  tree = data.load(f"folder:{tmp_path / 'tree'}", image_size=20)
  np.testing.assert_array_equal(tree.train.x, np.concatenate([small.train.x[::2], small.train.x[1::2]]))


def test_of_many_images_some_are_looked_at(digits, tmp_path, monkeypatch):
  monkeypatch.setattr(samples, "ALL", 100)
  monkeypatch.setattr(samples, "_TOGETHER", 5)
  odd = np.zeros((9, 9), np.uint8)
  images = [png(image) for image in digits[0]]
  images[207] = png(np.zeros((28, 28, 3), np.uint8))  # is looked at
  images[50] = png(odd)  # is not
  lazy = load(tars(tmp_path, images, digits[1]), tmp_path, **LAZY)
  assert lazy.train.x.shape == (TRAIN, 28, 28, 3)
  np.testing.assert_array_equal(lazy.train.x[np.array([3, 49])], digits[0][[3, 49]].repeat(3, axis=3))
  with pytest.raises(UserError, match=r"-0000.tar, image at byte \d+ is 9x9 but others are 28x28 .* give --image_size"):
    np.asarray(lazy.train.x)


def test_a_validation_split_is_the_test_split_where_there_is_no_other(digits, tmp_path, capsys):
  x, y = digits[0], digits[1]
  tars(tmp_path, x[:100], y[:100])
  spec = tars(tmp_path, x[100:150], y[100:150], "val")
  np.testing.assert_array_equal(load(spec, tmp_path).test.x, x[100:150])
  tars(tmp_path, x[150:160], np.full(10, -1), "test")  # as of a contest that keeps its labels
  dataset = load(spec, tmp_path)
  np.testing.assert_array_equal(dataset.test.y, y[100:150])
  assert "its test split, which has no labels, is passed over (10 images)" in capsys.readouterr().err
  tars(tmp_path, x[160:170], y[160:170], "test")
  np.testing.assert_array_equal(load(spec, tmp_path).test.x, x[160:170])
  assert "its validation split is passed over (50 images)" in capsys.readouterr().err


def test_images_without_a_label_are_unlabeled(digits, tmp_path):
  x, y = digits[0], digits[1].astype(int)
  y[::3] = -1
  spec = tars(tmp_path, x[:100], y[:100])
  for how in ({}, LAZY):
    dataset = load(spec, tmp_path, **how)
    np.testing.assert_array_equal(np.asarray(dataset.train.x), x[:100][y[:100] >= 0])
    np.testing.assert_array_equal(dataset.train.y, y[:100][y[:100] >= 0])
    np.testing.assert_array_equal(np.asarray(dataset.unlabeled.x), x[:100:3])
  tars(tmp_path, x[100:120], y[100:120], "unlabeled", form="")
  for how in ({}, LAZY):
    dataset = load(spec, tmp_path, **how)
    np.testing.assert_array_equal(np.asarray(dataset.unlabeled.x), np.concatenate([x[:100:3], x[100:120]]))
    assert len(dataset.pretraining_x) == 120


def test_data_without_labels(digits, tmp_path):
  spec = tars(tmp_path, digits[0], digits[1], form="")
  dataset = load(spec, tmp_path)
  assert (dataset.task.name, dataset.train.y, len(dataset.test)) == ("none", None, 0)
  np.testing.assert_array_equal(dataset.train.x, digits[0])
  shutil.rmtree(tmp_path / "data_dir")
  for path in tmp_path.glob("train-*"):
    path.rename(path.with_name(path.name.replace("train", "unlabeled")))
  dataset = load(spec, tmp_path)
  assert (dataset.task.name, len(dataset.train), dataset.unlabeled) == ("none", TRAIN, None)


def test_labels_that_are_text_are_the_classes_of_train(digits, tmp_path):
  x, y = digits[0], digits[1]
  words = ["even" if label % 2 == 0 else "odd" for label in y]
  spec = tars(tmp_path, x[:100], words[:100], form="json")
  tars(tmp_path, x[100:130], words[100:130], "test")
  tars(tmp_path, x[130:140], ["a prime"] * 10, "validation")  # is not read
  dataset = load(spec, tmp_path)
  assert dataset.task.names == ("even", "odd")
  np.testing.assert_array_equal(dataset.train.y, y[:100] % 2)
  np.testing.assert_array_equal(dataset.test.y, y[100:130] % 2)
  tars(tmp_path, x[100:130], ["a prime"] * 30, "test")
  with pytest.raises(UserError, match="test class 'a prime' never occurs in the training split"):
    load(spec, tmp_path)


def test_there_must_be_something_to_train_on(digits, tmp_path):
  tars(tmp_path / "a" / "test", digits[2], digits[3], "x")
  spec = tars(tmp_path / "a" / "validation", digits[2], digits[3], "x")
  with pytest.raises(
    UserError, match=f"--dataset=webdataset:{tmp_path / 'a'}: holds test and validation, and no image"
  ):
    load(f"webdataset:{tmp_path / 'a'}", tmp_path)
  assert len(load(spec, tmp_path).train) == TEST  # all of them are below the folder of that name


# ---- which files


@pytest.mark.parametrize(
  ("pattern", "names"),
  [
    ("a.tar", ["a.tar"]),
    ("x-{0..2}.tar", ["x-0.tar", "x-1.tar", "x-2.tar"]),
    ("x-{008..010}.tar", ["x-008.tar", "x-009.tar", "x-010.tar"]),
    ("x-{10..8}.tar", ["x-10.tar", "x-9.tar", "x-8.tar"]),
    ("{a,b}/{0..1}", ["a/0", "b/0", "a/1", "b/1"]),
    ("{train,test-{0..1}}", ["train", "test-0", "test-1"]),
    ("odd{name}.tar", ["odd{name}.tar"]),
  ],
)
def test_braces(pattern, names):
  assert sorted(set(shards.expanded(pattern))) == sorted(names)


def test_braces_of_too_many_or_none():
  for pattern in ("{0..9999999999}", "{a..b}"):
    with pytest.raises(UserError, match=r"^\{"):
      shards.expanded(pattern)


def test_files_of_a_folder_a_glob_and_braces(tmp_path, monkeypatch):
  for name in ("b/x-0.tar", "a/x-1.tar", "a/x-0.tar", "a/_x.tar", "a/.x.tar", "a/notes.txt", "a/x[1].tar"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()

  def found(pattern: str) -> list[str]:
    paths = shards.matching(str(tmp_path / pattern), r"\.tar$", "webdataset:GLOB")
    return [str(Path(path).relative_to(tmp_path)) for path in paths]

  assert found("") == found("**") == found("*") == ["a/x-0.tar", "a/x-1.tar", "a/x[1].tar", "b/x-0.tar"]
  assert found("?/x-0.tar") == found("{a,b}/x-{0..0}.tar") == ["a/x-0.tar", "b/x-0.tar"]
  assert found("a/x[1].tar") == ["a/x[1].tar"]
  assert found("a/notes.txt") == ["a/notes.txt"]  # whoever names a file means it
  with pytest.raises(UserError, match=r"a/x-2.tar: no such file"):
    found("a/x-{0..2}.tar")
  for nothing in ("c*", "a/*.parquet"):
    with pytest.raises(UserError, match=r"--dataset=webdataset:GLOB: .* matches no file .* in quotes"):
      found(nothing)
  monkeypatch.chdir(tmp_path)
  assert data.located("webdataset:a/x-{0..1}.tar") == f"webdataset:{tmp_path}/a/x-{{0..1}}.tar"
  assert data.located("parquet:s3://bucket/*.parquet") == "parquet:s3://bucket/*.parquet"
  assert data.located("hf:owner/name") == "hf:owner/name"
  assert data.located("folder:gs://bucket/photos") == "folder:gs://bucket/photos"
  url = "https://host.example/x-{0..1}.tar?download=true"  # is not asked for here: no web server is asked for folders
  assert shards.matching(url, r"\.tar$", "") == [url.replace("{0..1}", number) for number in "01"]
  assert data.located("hf:a") == f"hf:{tmp_path}/a"
  assert data.path_of("parquet:a/*") is None


@pytest.mark.parametrize(
  ("names", "parts"),
  [
    (["train-00000-of-00002.parquet", "test-00000.parquet"], ["train", "test"]),
    (["trainval-0.tar", "contest-1.tar"], ["train", "train"]),
    (["data/train/x.tar", "data/val/x.tar"], ["train", "validation"]),
    (["imagenet_val_01.tar", "imagenet_train_01.tar"], ["validation", "train"]),
    (["test/0.tar", "test/1.tar"], ["train", "train"]),  # the folder that all are in says nothing
    (["a/unlabelled.tar", "a/b/UNLABELED2.tar"], ["unlabeled", "unlabeled"]),
    (["mnist-test.array_record-00000-of-00001", "dev/train-1.tar"], ["test", "train"]),
  ],
)
def test_splits_by_names(names, parts):
  files = [f"/top/of/{name}" for name in names]
  found = samples.by_part(files)
  assert {file: part for part, each in found.items() for file in each} == dict(zip(files, parts, strict=True))


def test_blocks_go_with_the_rows_that_are_left(tmp_path, digits):
  labels = [None if i < 5 or i == 40 else int(label) for i, label in enumerate(digits[1])]
  rows = {"image": [png(image) for image in digits[0]], "label": labels}
  write_tables(tmp_path, "train", rows, group=32)
  write_tables(tmp_path, "unlabeled", {"image": rows["image"][:40]}, group=16)
  dataset = data.load(f"parquet:{tmp_path}", **LAZY)
  assert dataset.train.x.blocks == (27, 31, 32, 32, 32, 32, 18)
  assert dataset.unlabeled.x.blocks == (5, 1, 16, 16, 8)
  np.testing.assert_array_equal(np.asarray(dataset.train.x), digits[0][[label is not None for label in labels]])
  expected = np.concatenate([digits[0][:5], digits[0][40:41], digits[0][:40]])
  np.testing.assert_array_equal(np.asarray(dataset.unlabeled.x), expected)


@pytest.mark.parametrize("how", [{}, {"bits": 12}, {"background": "red"}, {"image_size": 9}])
def test_pictures_are_read_as_those_of_a_folder(tmp_path, capsys, how):
  rng = np.random.default_rng(0)
  images = [Image.fromarray(rng.integers(0, 4096, (12, 10)).astype(np.uint16)) for _ in range(6)]  # of sixteen bits
  images[3] = Image.fromarray(rng.integers(0, 256, (12, 10, 4), np.uint8))  # transparent
  files = [io.BytesIO() for _ in images]
  for i, (image, file) in enumerate(zip(images, files, strict=True)):
    image.save(file, "PNG")
    (tmp_path / "train" / str(i // 3)).mkdir(parents=True, exist_ok=True)
    (tmp_path / "train" / str(i // 3) / f"{i}.png").write_bytes(file.getvalue())
  spec = tars(tmp_path / "tars", [file.getvalue() for file in files], [0, 0, 0, 1, 1, 1])
  folder, warned = data.load(f"folder:{tmp_path}", **how), capsys.readouterr().err
  shard = load(spec, tmp_path, **how)
  assert shard.train.x.shape[3] == 3
  np.testing.assert_array_equal(shard.train.x, folder.train.x)
  told = [line.split(": the train")[1] for line in warned.splitlines() if "images of 16 bits" in line]
  assert told == [line.split(": the train")[1] for line in capsys.readouterr().err.splitlines() if "16 bits" in line]
  assert len(told) == ("bits" not in how)
