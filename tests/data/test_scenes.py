"""scenes: what is painted and what is said of it agree; names, numbers, and what is kept."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from sslx import data
from sslx.data import scenes
from sslx.data.digits import INK, Digits, tight_boxes, warp
from sslx.data.idx import read_idx_folder
from sslx.data.lazy import LazyArray
from sslx.data.render import OVERLAP, Rendered, Scenes, render
from sslx.types import UserError

FEW = "train=30,test=20"
PLAIN = {"clutter": 0, "noise": 0.0}


@pytest.fixture(scope="module")
def digits() -> dict[str, Digits]:
  splits = read_idx_folder(scenes._MNIST)
  return {part: Digits(np.asarray(split.x)[..., 0], split.targets()) for part, split in splits.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
  """A --data_dir that the tests share which only read it."""
  return str(tmp_path_factory.mktemp("scenes"))


def rendered(source: Digits, count: int = 192, stream=(0, 0), **settings) -> Rendered:
  chunks = list(render(source, count, Scenes(**settings), stream))
  return Rendered(*map(np.concatenate, zip(*chunks, strict=True)))


def equal(one: Rendered, other: Rendered) -> bool:
  return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def overlaps(boxes: np.ndarray) -> np.ndarray:
  """[M,4] -> intersection over union [M,M]."""
  low, high = (np.stack([boxes[:, [i, i + 1]]] * len(boxes)) for i in (0, 2))
  common = np.clip(np.minimum(high, high.swapaxes(0, 1)) - np.maximum(low, low.swapaxes(0, 1)), 0, None).prod(-1)
  area = np.diag(common)
  return common / (area[:, None] + area - common)


# ---- what is rendered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"colour": True, "objects": (1, 4), "clutter": 6}, {"size": 96}])
def test_the_same_seed_gives_the_same_scenes_and_fewer_are_the_first_of_more(digits, settings):
  everything = rendered(digits["train"], **settings)
  assert equal(everything, rendered(digits["train"], **settings))
  assert equal(rendered(digits["train"], 133, **settings), Rendered(*(array[:133] for array in everything)))
  other = rendered(digits["train"], stream=(1, 0), **settings)
  assert not any(np.array_equal(a, b) for a, b in zip(everything, other, strict=True))


@pytest.mark.parametrize(
  "settings", [{}, {"objects": (1, 1), "digits": (14, 28), "degrees": 45.0}, {"objects": (2, 5), "digits": (12, 28)}]
)
def test_boxes_are_the_tight_boxes_of_masks_of_their_class(digits, settings):
  made = rendered(digits["train"], **settings)
  alone = 0
  for boxes, mask in zip(made.boxes, made.masks, strict=True):
    boxes = boxes[boxes[:, 0] >= 0].astype(int)
    iou = overlaps(boxes[:, 1:])
    assert iou[~np.eye(len(boxes), dtype=bool)].max(initial=0) <= OVERLAP
    outside = np.ones_like(mask, bool)
    for i, (label, top, left, bottom, right) in enumerate(boxes):
      inside = mask[top:bottom, left:right]
      outside[top:bottom, left:right] = False
      assert (top, left) >= (0, 0)
      assert inside.shape == (bottom - top, right - left)
      if np.count_nonzero(iou[i]) == 1:  # of others, it may be cut
        alone += 1
        assert set(np.unique(inside)) == {0, label + 1}
        assert tight_boxes(inside[None] > 0).tolist() == [[0, 0, *inside.shape]]
    assert not mask[outside].any()
  assert alone > 80


def test_every_digit_is_the_one_that_is_recorded(digits):
  """Its class is the label of its source; its mask is the source, turned and scaled as its numbers say."""
  made = rendered(digits["test"], objects=(1, 1), digits=(14, 28), degrees=45.0)
  source, (size, angle) = made.sources[:, 0], made.poses[:, 0].T
  assert np.array_equal(made.boxes[:, 0, 0], digits["test"].labels[source])
  assert (np.abs(angle) <= 45).all()
  assert angle.min() < -40
  assert angle.max() > 40
  assert ((size >= 14) & (size <= 28)).all()
  images = digits["test"].images[source]
  ink = tight_boxes(images >= INK * 255)
  longer = (ink[:, 2:] - ink[:, :2]).max(1)
  alphas = warp(images[..., None], (ink[:, :2] + ink[:, 2:]) / 2, size / longer, angle)[..., 0]
  for alpha, mask in zip(alphas, made.masks, strict=True):
    crops = []
    for whole in (alpha >= INK, mask > 0):
      ((top, left, bottom, right),) = tight_boxes(whole[None])
      crops.append(whole[top:bottom, left:right])
    assert np.array_equal(*crops)


@pytest.mark.parametrize("angle", [30.0, -75.0])
def test_an_angle_is_counter_clockwise(digits, angle):
  image = digits["train"].images[:20, ..., None]
  middle, scale = np.full((20, 2), 14.0), np.full(20, 1.5)
  upright, turned = (warp(image, middle, scale, np.full(20, degrees))[..., 0] for degrees in (0.0, angle))
  for one, other in zip(upright, turned, strict=True):
    right, wrong = (ndimage.rotate(one, degrees, reshape=False, order=1) for degrees in (angle, -angle))
    assert np.abs(other - right).mean() < 0.01
    assert np.abs(other - wrong).mean() > 0.04


def test_a_size_is_that_of_the_upright_digit(digits):
  made = rendered(digits["train"], objects=(1, 1), digits=(10, 28), degrees=0.0)
  error = np.abs((made.boxes[:, 0, 3:] - made.boxes[:, 0, 1:3]).max(1) - made.poses[:, 0, 0])
  assert error.mean() < 0.6
  assert np.quantile(error, 0.98) < 1.5


@pytest.mark.parametrize("colour", [False, True])
def test_ink_stands_out_from_the_background(digits, colour):
  made = rendered(digits["train"], colour=colour, contrast=0.7, **PLAIN)
  for image, mask, boxes in zip(made.x / 255, made.masks, made.boxes, strict=True):
    for label, *edges in boxes.astype(int)[boxes[:, 0] >= 0]:
      top, left, bottom, right = edges
      around, here = image[top:bottom, left:right], mask[top:bottom, left:right]
      background, ink = around[here == 0].mean(0), np.quantile(around[here == label + 1], 0.8, axis=0)
      assert (ink - background).max() > 0.2
  assert made.x.shape[-1] == (3 if colour else 1)
  assert not colour or (np.ptp(made.x, axis=-1).max((1, 2)) > 60).all()


def test_clutter_and_noise_change_pixels_and_nothing_that_is_asked_for(digits):
  plain, cluttered, noisy = (
    rendered(digits["train"], clutter=pieces, noise=noise) for pieces, noise in ((0, 0.0), (8, 0.0), (0, 0.1))
  )
  for other in (cluttered, noisy):
    assert equal(plain, other._replace(x=plain.x))
  changed = np.abs(cluttered.x.astype(int) - plain.x).max(-1) > 60
  assert 0.03 < changed.mean() < 0.3
  assert changed[plain.masks > 0].mean() < 0.3 * changed[plain.masks == 0].mean()  # it is behind the digits
  assert changed.any(0).mean() > 0.9  # and everywhere
  difference = (noisy.x.astype(int) - plain.x)[(plain.x > 90) & (plain.x < 160)] / 255
  assert difference.std() == pytest.approx(0.1, rel=0.05)


def test_digits_are_dealt_without_repetition_as_long_as_they_last(digits):
  sources = rendered(digits["train"], 1500, objects=(1, 4), digits=(12, 20)).sources
  kept = sources[sources >= 0]
  assert len(kept) > 3000
  assert len(np.unique(kept)) == len(kept)
  few = Digits(*(array[:40] for array in digits["train"]))
  counts = np.bincount(rendered(few, 100, objects=(1, 1)).sources[:, 0], minlength=40)
  assert set(counts) == {2, 3}


@pytest.mark.parametrize("degrees", [0.0, 20.0, 45.0, 180.0])
def test_the_largest_digits_that_are_allowed_fit(digits, degrees):
  size = next(n for n in range(24, 400) if fits(f"scenes:size={n},digits=28,degrees={degrees}"))
  made = rendered(digits["train"], 200, size=size, digits=(28, 28), degrees=degrees, objects=(1, 9))
  here = made.boxes[..., 0] >= 0
  assert here[:, 0].all()  # one at least
  assert here.sum() < 400  # there is no room for more
  assert (np.diff(here.astype(int)) <= 0).all()  # those that are left out leave no gap
  assert (made.boxes[..., 1:] >= 0).all()
  assert (made.boxes[..., 1:] <= size).all()
  for array in (made.boxes[..., 1:], made.poses):
    assert not array[~here].any()
  assert (made.sources[~here] == -1).all()
  assert (made.boxes[..., 0][~here] == -1).all()


def fits(spec: str) -> bool:
  try:
    return bool(scenes.settings(spec))
  except UserError:
    return False


# ---- the data set ----------------------------------------------------------------------------------------------------


def test_what_a_data_set_holds(folder):
  dataset = data.load(f"scenes:{FEW}", folder)
  assert dataset.task.name == "detection"
  assert dataset.task.names == tuple("0123456789")
  assert list(dataset.others) == ["segmentation", "regression"]
  assert dataset.others["segmentation"].names == ("background", *"0123456789")
  assert dataset.others["regression"].names == ("count",)
  for split, n in ((dataset.train, 30), (dataset.test, 20)):
    assert split.x.shape == (n, 64, 64, 1)
    assert split.x.dtype == np.uint8
    assert split.y is not None
    assert split.y.shape == (n, 3, 5)
    assert split.y.dtype == np.float32
    assert split.others["segmentation"].shape == (n, 64, 64)
    assert split.others["segmentation"].dtype == np.uint8
    assert np.array_equal(split.others["regression"][:, 0], (split.y[..., 0] >= 0).sum(1))
    assert split.others["regression"].dtype == np.float32
  assert set(np.unique(dataset.train.others["regression"])) == {1, 2, 3}


def test_numbers_of_scenes_of_one_digit(folder):
  dataset = data.load(f"scenes:one,{FEW}", folder)
  assert dataset.task.name == "regression"
  assert dataset.task.names == ("y", "x", "size", "angle")
  boxes, y = dataset.train.others["detection"][:, 0], dataset.train.targets()
  assert np.array_equal(y[:, 0], (boxes[:, 1] + boxes[:, 3]) / 2)
  assert np.array_equal(y[:, 1], (boxes[:, 2] + boxes[:, 4]) / 2)
  assert y[:, 2].min() >= 14
  assert np.ptp(y[:, 3]) > 45
  chosen = data.load(f"scenes:one,{FEW}", folder, targets=("angle", "x"))
  assert chosen.task.names == ("angle", "x")
  assert np.array_equal(chosen.train.targets(), y[:, [3, 1]])
  assert data.load(f"scenes:one,{FEW}", folder, task="detection").train.targets().shape == (30, 1, 5)


def test_train_and_test_are_of_mnists_own_splits(folder, digits):
  dataset = data.load(f"scenes:one,{FEW}", folder, task="detection")
  found = []
  for path in Path(folder).glob("sslx_scenes/*/*_sources.npy"):
    part = path.name.partition("_")[0]
    boxes, sources = np.load(path.with_name(f"{part}_boxes.npy")), np.load(path)
    if np.array_equal(boxes, getattr(dataset, part).targets()):
      found.append(part)
      assert np.array_equal(digits[part].labels[sources], boxes[..., 0])
  assert sorted(found) == ["test", "train"]


def test_options(folder):
  dataset = data.load(f"scenes:size=96,objects=2-4,digits=12,colour=true,{FEW}", folder)
  assert dataset.x_shape == (96, 96, 3)
  boxes = dataset.train.targets()
  assert boxes.shape[1] == 4
  assert set((boxes[..., 0] >= 0).sum(1)) == {2, 3, 4}
  assert (boxes[..., 3:] - boxes[..., 1:3]).max() < 17
  same = data.load(f"scenes:objects=3,{FEW}", folder)
  assert list(same.others) == ["segmentation"]
  with pytest.raises(UserError, match="has no targets for it; it is for detection, segmentation"):
    same.doing("regression")
  assert scenes.settings("scenes") == scenes.settings("scenes:") == Scenes()
  hard = scenes.settings("scenes:hard,clutter=1,digits=10-20")
  assert (hard.objects, hard.clutter, hard.digits, hard.degrees) == ((1, 4), 1, (10, 20), 25.0)


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("scenes:oen", r"--dataset=scenes:oen: no scenes are called 'oen'. Did you mean 'one'\? Known: clutter, .*"),
    ("scenes:szie=96", r"--dataset=scenes:szie=96: .* has no option 'szie'. Did you mean 'size' .*\? Known: .*"),
    ("scenes:size", "--dataset=scenes:size: expected name=value, .*"),
    ("scenes:size=big", "--dataset=scenes:size=big: expected integer, not 'big'."),
    ("scenes:size=64,size=96", "--dataset=scenes:size=96: 'size' is given twice."),
    ("scenes:size=64,one", "--dataset=scenes:size=64,one: 'one' stands first, and once: scenes:one,..."),
    ("scenes:one,hard", "--dataset=scenes:one,hard: 'hard' stands first.*"),
    ("scenes:objects=3-1", "--dataset=scenes:objects=3-1: objects must be one number, or two .*: objects=6-9"),
    ("scenes:objects=1-2-3", ".*: objects must be one number, or two .*"),
    ("scenes:digits=", ".*: digits must be one number, or two .*"),
    ("scenes:objects=0-2", ".*: objects must be at least 1."),
    ("scenes:objects=2-10", ".*: objects must be at most 9."),
    ("scenes:size=23", ".*: size must be at least 24."),
    ("scenes:size=513", ".*: size must be at most 512."),
    ("scenes:digits=5-9", ".*: digits must be at least 6."),
    ("scenes:degrees=-1", ".*: degrees must be at least 0."),
    ("scenes:degrees=nan", ".*: must be a number between .*"),
    ("scenes:contrast=0", ".*: contrast must be at least 0.1."),
    ("scenes:clutter=51", ".*: clutter must be at most 50."),
    ("scenes:noise=2", ".*: noise must be at most 1."),
    ("scenes:seed=-1", ".*: seed must be at least 0."),
    ("scenes:train=0", ".*: train must be at least 1."),
    ("scenes:test=0", ".*: test must be at least 1."),
    ("scenes:size=32", ".*: size=32 is too small for digits of 28 pixels, turned by up to 10 degrees, .* size=36; .*"),
    ("scenes:size=512,train=100000", ".*: that is 50 GB of scenes, more than 16; make size or train smaller"),
    ("scens:one", "--dataset=scens:one: unknown; did you mean scenes.*"),
    ("qqqqqqq", r".*scenes\[:SETTINGS\].*"),
  ],
)
def test_settings_that_are_wrong(spec, message, folder):
  with pytest.raises(UserError, match=f"^{message}$") as error:
    data.load(spec, folder)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("spec", "targets", "message"),
  [
    (f"scenes:{FEW}", ("y",), r"--target=y: .* has no number 'y'. Known: count."),
    (f"scenes:one,{FEW}", ("x", "angel"), r"--target=x,angel: .* has no number 'angel'. Did you mean 'angle'\? .*"),
    (f"scenes:one,{FEW}", ("count",), r"--target=count: .* has no number 'count'. Known: angle, size, x, y."),
    (f"scenes:one,{FEW}", ("x", "x"), "--target=x,x: .*: 'x' is given twice."),
    (f"scenes:objects=2,{FEW}", ("count",), "--target=count: .* has no numbers, as .*; try scenes:one"),
  ],
)
def test_numbers_that_are_wrong(spec, targets, message, folder):
  with pytest.raises(UserError, match=f"^{message}$"):
    data.load(spec, folder, targets=targets)


@pytest.mark.parametrize(
  ("spec", "cure"), [("scenes", "scenes:size=32"), ("scenes:", "scenes:size=32"), ("scenes:one", "scenes:one,size=32")]
)
def test_scenes_are_rendered_at_their_size(spec, cure, folder):
  with pytest.raises(UserError, match=f"^--image_size=32: .*; write --dataset={cure}$"):
    data.load(spec, folder, image_size=32)


def test_the_name_is_no_path():
  assert data.path_of("scenes:one") is None
  assert data.located("scenes:one,size=96") == "scenes:one,size=96"


# ---- what is kept ----------------------------------------------------------------------------------------------------


def arrays(dataset: data.Dataset) -> list[np.ndarray]:
  splits = (dataset.train, dataset.test)
  return [np.asarray(array) for split in splits for array in (split.x, split.targets(), *split.others.values())]


def same(one: data.Dataset, other: data.Dataset) -> bool:
  return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def forbidden(*_):
  raise AssertionError("rendered again")


def test_scenes_are_rendered_once(tmp_path, monkeypatch, capsys):
  first = data.load(f"scenes:{FEW}", str(tmp_path))
  (line,) = capsys.readouterr().err.splitlines()
  (kept,) = (tmp_path / "sslx_scenes").iterdir()
  assert line == f"scenes:{FEW}: rendered once, and kept in {kept}; this takes a while"
  monkeypatch.setattr(scenes, "render", forbidden)
  assert same(first, data.load(f"scenes:{FEW}", str(tmp_path)))
  assert same(first, data.load("scenes:test=20,train=30,size=64", str(tmp_path)))  # the same settings by another name
  assert capsys.readouterr().err == ""
  for spec in (f"scenes:{FEW},seed=1", "scenes:train=31,test=20"):
    with pytest.raises(AssertionError, match="rendered again"):
      data.load(spec, str(tmp_path))
  monkeypatch.setattr(scenes, "RENDERER", scenes.RENDERER + 1)
  with pytest.raises(AssertionError, match="rendered again"):
    data.load(f"scenes:{FEW}", str(tmp_path))
  assert [*(tmp_path / "sslx_scenes").iterdir()] == [kept]  # and nothing unfinished is left


@pytest.mark.parametrize("kind", ["truncated", "longer", "a byte", "other header", "gone", "no facts", "other facts"])
def test_damaged_scenes_are_rendered_anew(tmp_path, monkeypatch, kind):
  first = data.load(f"scenes:{FEW}", str(tmp_path))
  (kept,) = (tmp_path / "sslx_scenes").iterdir()
  file = kept / ("facts.json" if "facts" in kind else "train_masks.npy")
  content = bytearray(file.read_bytes())
  if kind in ("gone", "no facts"):
    file.unlink()
  elif kind == "truncated":
    file.write_bytes(content[: len(content) // 2])
  elif kind == "longer":
    file.write_bytes(content + b"\0")
  elif kind == "other facts":
    file.write_text("[]")
  else:
    content[-1000 if kind == "a byte" else 20] ^= 1
    file.write_bytes(content)
  assert same(first, data.load(f"scenes:{FEW}", str(tmp_path)))
  monkeypatch.setattr(scenes, "render", forbidden)
  assert same(first, data.load(f"scenes:{FEW}", str(tmp_path)))


def test_another_process_may_be_faster(tmp_path, monkeypatch):
  original, spec = scenes.render, f"scenes:{FEW}"

  def slow(*args):
    monkeypatch.setattr(scenes, "render", original)
    data.load(spec, str(tmp_path))
    return original(*args)

  monkeypatch.setattr(scenes, "render", slow)
  dataset = data.load(spec, str(tmp_path))
  assert len(list((tmp_path / "sslx_scenes").iterdir())) == 1
  assert same(dataset, data.load(spec, str(tmp_path)))


def test_large_scenes_stay_on_the_disk(folder):
  whole = data.load(f"scenes:{FEW}", folder)
  lazy = data.load(f"scenes:{FEW}", folder, in_memory_limit=1000)
  assert isinstance(lazy.train.x, LazyArray)
  assert isinstance(whole.train.x, np.ndarray)
  assert same(whole, lazy)
  assert np.array_equal(lazy.train.x[np.array([3, 1])], whole.train.x[np.array([3, 1])])


@pytest.mark.parametrize("kind", ["below a file", "disk full"])
def test_a_data_dir_that_cannot_be_written(tmp_path, monkeypatch, capsys, kind):
  spec = f"scenes:{FEW}"
  expected = data.load(spec, str(tmp_path / "good"))
  capsys.readouterr()
  monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  home = tmp_path / "home" / "tensorflow_datasets"
  if kind == "below a file":
    (tmp_path / "home").write_text("")
  else:

    def full(*_):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
  assert same(expected, data.load(spec))
  (line,) = [line for line in capsys.readouterr().err.splitlines() if "cannot write" in line]
  assert line.startswith(f"warning: {spec}: cannot write {home} (")
  assert line.endswith("); made in memory instead")
  with pytest.raises(UserError, match=r"^cannot write .*; name a writable folder with --data_dir$"):
    data.load(spec, in_memory_limit=1000)  # it is too large for memory
  with pytest.raises(UserError, match=r"^cannot write .*; name a writable folder with --data_dir$"):
    data.load(spec, str(home))
  assert kind == "below a file" or not any((home / "sslx_scenes").iterdir())
