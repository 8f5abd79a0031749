"""moving_digits: clips and masks against a painter that goes pixel by pixel; how digits move; splits; what is kept."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from sslx import data
from sslx.data import motion, moving_digits
from sslx.data.digits import INK, Digits
from sslx.data.fingerprint import fingerprint
from sslx.data.idx import read_idx_folder
from sslx.data.lazy import LazyArray
from sslx.data.motion import MovingDigits, Rendered, render
from sslx.types import UserError

FEW = "size=40,frames=4,digits=14-20,train=12,validation=4,test=6"
SMALL = {"size": 40, "frames": 4, "digits": (14, 20)}


@pytest.fixture(scope="module")
def digits() -> dict[str, Digits]:
  splits = read_idx_folder(moving_digits._MNIST)
  return {part: Digits(np.asarray(split.x)[..., 0], split.targets()) for part, split in splits.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
  """A --data_dir that the tests share which only read it."""
  return str(tmp_path_factory.mktemp("moving_digits"))


def rendered(source: Digits, count: int = 20, stream=(0, 0), **settings) -> Rendered:
  chunks = list(render(source, count, MovingDigits(**settings), stream))
  return Rendered(*map(np.concatenate, zip(*chunks, strict=True)))


def equal(one: Rendered, other: Rendered) -> bool:
  return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# ---- what is rendered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [SMALL, {"frames": 3, "objects": (1, 4), "digits": (10, 28)}])
def test_the_same_seed_gives_the_same_clips_and_fewer_are_the_first_of_more(digits, settings):
  everything = rendered(digits["train"], 70, **settings)
  assert equal(everything, rendered(digits["train"], 70, **settings))
  assert equal(rendered(digits["train"], 33, **settings), Rendered(*(array[:33] for array in everything)))
  other = rendered(digits["train"], 70, stream=(1, 0), **settings)
  assert not any(np.array_equal(a, b) for a, b in zip(everything, other, strict=True))
  assert len(np.unique(everything.x.reshape(70, -1), axis=0)) == 70


def test_clips_are_what_a_painter_paints_pixel_by_pixel(digits, monkeypatch):
  """Each digit is read from its image at every pixel of the frame, and covers those before it; the mask is the number
  of the last whose alpha is at least INK."""
  calls: dict[str, list] = {"_patches": [], "_backgrounds": [], "_placed": []}
  for name, seen in calls.items():
    function = getattr(motion, name)

    def record(*arguments, function=function, seen=seen):
      result = function(*arguments)
      seen.append((arguments, np.copy(result) if isinstance(result, np.ndarray) else result))
      return result

    monkeypatch.setattr(motion, name, record)
  settings = {"size": 40, "frames": 5, "digits": (16, 24), "objects": (2, 4), "degrees": 20.0, "noise": 0.0}
  made = rendered(digits["train"], 8, **settings)
  ((painted, middle, scales, angles, centres), _), (_, background) = calls["_patches"][0], calls["_backgrounds"][0]
  (_, clip, *_), (_, is_placed) = calls["_placed"][0]
  y, x = np.mgrid[:40, :40] + 0.5
  hidden = 0
  for i, t in itertools.product(range(8), range(5)):
    canvas, mask = background[i, t].copy(), np.zeros((40, 40), np.uint8)
    for number, row in enumerate(np.flatnonzero(is_placed & (clip == i)), 1):
      turn, (cy, cx) = np.deg2rad(angles[row, t]), centres[row, t]
      cos, sin = np.cos(turn) / scales[row, t], np.sin(turn) / scales[row, t]
      place = [cos * (y - cy) + sin * (x - cx) + middle[row, 0], cos * (x - cx) - sin * (y - cy) + middle[row, 1]]
      layers = [
        ndimage.map_coordinates(painted[row, ..., k] / 255.0, np.array(place) - 0.5, order=1, mode="grid-constant")
        for k in range(4)
      ]
      canvas += layers[3][..., None] * (np.stack(layers[:3], -1) - canvas)
      hidden += np.count_nonzero(mask[layers[3] >= INK])
      mask[layers[3] >= INK] = number
    assert np.abs(made.x[i, t] - canvas * 255).max() <= 1
    assert np.count_nonzero(made.masks[i, t] != mask) <= 1  # an alpha that rounding takes over INK
    assert made.masks[i, t].max() == (made.sources[i] >= 0).sum()
  assert hidden > 500  # there is something that a wrong order would show


def test_digits_are_dilated_and_keep_their_ink(digits):
  """The image behind a digit is that of its source, each pixel the brightest of its 3x3 neighbours."""
  images = digits["train"].images[:30]
  ink = motion._textured(np.random.default_rng(0), images, np.zeros(30, np.float32))[..., 3]
  padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
  np.testing.assert_array_equal(ink, ndimage.grey_dilation(padded, (1, 3, 3), mode="constant"))


@pytest.mark.parametrize("speed", [1.0, 3.0])
def test_digits_move_turn_and_grow_smoothly(digits, speed):
  made = rendered(digits["train"], 20, objects=(1, 1), speed=speed, degrees=0.0, digits=(24, 24), noise=0.0, frames=8)
  middles = np.array([[ndimage.center_of_mass(mask) for mask in masks] for masks in made.masks])
  steps = np.linalg.norm(np.diff(middles, axis=1), axis=-1)
  assert steps.max() < speed + 0.25  # masks are of whole pixels
  assert np.median(steps) > 0.4 * speed
  areas = (rendered(digits["train"], 20, objects=(1, 1), noise=0.0).masks > 0).sum((2, 3))
  assert (np.abs(np.diff(areas, axis=1)) < 0.13 * areas[:, 1:]).all()  # the size by 4 %, the area by twice that
  assert (areas.max(1) > 1.3 * areas.min(1)).any()


def test_angles_and_sizes_change_evenly_and_within_their_limits():
  settings = MovingDigits(degrees=7.0, digits=(15, 25), frames=9)
  sizes, angles = motion._poses(np.random.default_rng(0), 500, settings)
  for values, most in ((sizes, 10 / 8), (angles, 7.0)):
    steps = np.diff(values, axis=1)
    np.testing.assert_allclose(steps, np.repeat(steps[:, :1], 8, 1), atol=1e-9)
    assert 0.9 * most < np.abs(steps).max() <= most + 1e-9
  assert sizes.min() >= 15
  assert sizes.max() <= 25
  assert np.abs(angles[:, 4]).max() <= motion.TILT


def test_every_digit_is_visible_in_the_first_frame(digits):
  made = rendered(digits["train"], 60, frames=2)
  numbers = [np.bincount(masks[0].reshape(-1), minlength=4)[1:] for masks in made.masks]
  visible = np.array(numbers)[made.sources >= 0]
  assert visible.min() >= 60
  assert set((made.sources >= 0).sum(1)) == {2, 3}


def test_digits_that_find_no_place_leave_no_gap(digits):
  made = rendered(digits["train"], 40, size=24, digits=(19, 19), objects=(5, 5), frames=2)
  here = made.sources >= 0
  assert here[:, 0].all()
  assert here.sum() < 150
  assert (np.diff(here.astype(int)) <= 0).all()
  assert [masks[0].max() for masks in made.masks] == here.sum(1).tolist()


def test_the_background_drifts_and_only_as_far_as_it_may():
  """What is in the middle of the last frame is found in the first one, at another place."""
  settings = MovingDigits(size=48, frames=9, drift=2.0)
  made = motion._backgrounds(np.random.default_rng(0), np.linspace(0, 1, 12, dtype=np.float32), settings)
  assert made.shape == (12, 9, 48, 48, 3)
  moved = 0
  for first, *_, last in made[..., 1]:
    errors = {
      (dy, dx): np.abs(last[20:28, 20:28] - first[20 + dy : 28 + dy, 20 + dx : 28 + dx]).mean()
      for dy in range(-20, 21)
      for dx in range(-20, 21)
    }
    best = min(errors, key=lambda place: errors[place])
    assert errors[best] < 0.06
    assert np.abs(best).max() <= 16 + 1  # eight steps of two pixels
    moved += np.abs(best).max() > 4
  assert moved > 6
  fixed = motion._backgrounds(np.random.default_rng(0), np.zeros(2, np.float32), MovingDigits(drift=0.0))
  np.testing.assert_array_equal(fixed[:, 1:], fixed[:, :-1])


def test_colours_tell_digits_and_background_apart():
  hues = motion._hues(np.random.default_rng(0), 200, 4).astype(float)
  gaps = np.abs(hues[:, :, None] - hues[:, None])[:, ~np.eye(4, dtype=bool)]
  assert np.minimum(gaps, 1 - gaps).min() > 0.6 / 4 - 1e-6
  assert (hues.argsort(1)[:, 0] != 0).any()  # the background is not always of the first hue


def test_noise_is_of_each_frame_and_less_of_it_changes_nothing_else(digits):
  plain, noisy = (rendered(digits["train"], noise=noise, **SMALL) for noise in (0.0, 0.1))
  assert equal(plain._replace(x=noisy.x), noisy)
  difference = (noisy.x.astype(float) - plain.x)[:, :2] / 255
  inner = ((plain.x > 90) & (plain.x < 160))[:, :2]
  assert difference[inner].std() == pytest.approx(0.1, rel=0.05)
  both = inner.all(1)
  assert abs(np.corrcoef(difference[:, 0][both], difference[:, 1][both])[0, 1]) < 0.05


# ---- the data set ----------------------------------------------------------------------------------------------------


def test_what_a_data_set_holds(folder):
  dataset = data.load(f"moving_digits:{FEW}", folder)
  assert (dataset.modality.name, dataset.task.name) == ("video", "none")
  assert dataset.split_sizes == {"train": 12, "test": 6}
  assert dataset.train.x.shape == (12, 4, 40, 40, 3)
  assert {part: len(videos) for part, videos in dataset.videos.items()} == {"test": 6, "validation": 4}
  for video, clip in zip(dataset.videos["test"], dataset.test.x, strict=True):
    np.testing.assert_array_equal(video.frames, clip)
    assert video.masks.shape == (4, 40, 40)
    assert video.annotated.tolist() == [True] * 4
  names = [video.name for videos in dataset.videos.values() for video in videos]
  assert len(set(names)) == 10
  assert not {path.name for path in Path(folder).glob("*/*/train_*")} - {"train_x.npy", "train_sources.npy"}


def test_test_clips_are_of_digits_that_no_other_clip_shows(folder, digits, monkeypatch):
  """Those of MNIST's test split; clips for validation are of training digits that no training clip shows."""
  dataset = data.load(f"moving_digits:{FEW},seed=3", folder)
  streams = {"train": (3, 0), "validation": (3, 1), "test": (3, 2)}
  counts = {"train": 12, "validation": 4, "test": 6}
  again = {part: rendered(digits[part], counts[part], streams[part], **SMALL) for part in ("train", "test")}
  np.testing.assert_array_equal(dataset.train.x, again["train"].x)
  kept = [
    path.parent for path in Path(folder).glob("*/*/train_x.npy") if np.array_equal(np.load(path), again["train"].x)
  ]
  sources = {part: np.load(kept[0] / f"{part}_sources.npy") for part in streams}
  for part in again:
    np.testing.assert_array_equal(sources[part], again[part].sources)
  rows = sources["validation"]
  shown = np.unique(rows[rows >= 0])
  assert len(shown) == (rows >= 0).sum()
  assert not set(shown) & set(sources["train"].reshape(-1))
  chosen = Digits(*(array[shown] for array in digits["train"]))
  monkeypatch.setattr(
    motion, "dealt", lambda count, stream: iter(np.searchsorted(shown, rows[rows >= 0]).tolist() * 30)
  )
  again["validation"] = rendered(chosen, 4, streams["validation"], **SMALL)
  for part, videos in dataset.videos.items():
    np.testing.assert_array_equal([video.frames for video in videos], again[part].x)
    np.testing.assert_array_equal([video.masks for video in videos], again[part].masks)
  train, test = ({image.tobytes() for image in digits[part].images} for part in ("train", "test"))
  tested = {digits["test"].images[source].tobytes() for source in again["test"].sources[again["test"].sources >= 0]}
  assert tested <= test
  assert not tested & train


def test_digits_that_are_left_for_validation():
  left = moving_digits._left(100, MovingDigits(objects=(1, 2), train=30, validation=20))
  assert len(left) == 40
  assert not set(left) & set(itertools.islice(motion.dealt(100, (0, 0)), 60))
  assert len(moving_digits._left(100, MovingDigits(objects=(1, 2), train=30, validation=21))) == 100
  assert len(moving_digits._left(100, MovingDigits(train=2000))) == 100


def test_what_stays_on_disk_is_the_same(folder):
  here, there = (data.load(f"moving_digits:{FEW}", folder, in_memory_limit=limit) for limit in (1 << 30, 1000))
  assert isinstance(there.train.x, LazyArray)
  np.testing.assert_array_equal(there.train.x[[3, 0]], here.train.x[[3, 0]])
  np.testing.assert_array_equal(there.test.x[:], here.test.x)
  for part, videos in here.videos.items():
    for one, other in zip(videos, there.videos[part], strict=True):
      assert isinstance(other.frames, LazyArray)
      np.testing.assert_array_equal(other.frames[[2, 1]], one.frames[[2, 1]])
      np.testing.assert_array_equal(other.masks, one.masks)
  assert fingerprint(there) == fingerprint(data.load(f"moving_digits:{FEW}", folder, in_memory_limit=1000))
  first, second = there.videos["test"][:2]
  assert fingerprint(there) != fingerprint(here)
  assert fingerprint(here) != fingerprint(data.load(f"moving_digits:{FEW},seed=1", folder))
  assert first.name != second.name


def test_settings():
  made = moving_digits.settings("moving_digits:objects=3,digits=10-20,speed=2.5")
  assert (made.objects, made.digits, made.speed) == ((3, 3), (10, 20), 2.5)
  assert moving_digits.settings("moving_digits") == moving_digits.settings("moving_digits:") == MovingDigits()


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("moving_digits:szie=96", r"--dataset=moving_digits:szie=96: .* no option 'szie'. Did you mean 'size' .*"),
    ("moving_digits:objects=3-1", "--dataset=moving_digits:objects=3-1: objects must be one number, or two .*"),
    ("moving_digits:frames=1", ".*: frames must be at least 2."),
    ("moving_digits:speed=17", ".*: speed must be at most 16."),
    ("moving_digits:size=32", ".*: size=32 is too small for digits of 28 pixels to move in, .* size=35; .*"),
    ("moving_digits:train=200000", ".*: that is 27 GB of clips, more than 16; make size, frames or train smaller"),
    ("moving_digit", "--dataset=moving_digit: unknown; did you mean moving_digits.*"),
  ],
)
def test_settings_that_are_wrong(spec, message, folder):
  with pytest.raises(UserError, match=f"^{message}$") as error:
    data.load(spec, folder)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("spec", "flag", "cure"),
  [
    ("moving_digits", {"frames": 8}, "--frames=8: .*; write --dataset=moving_digits:frames=8"),
    ("moving_digits:seed=1", {"size": "96x64"}, "--size=96x64: .*; write --dataset=moving_digits:seed=1,size=64"),
    ("moving_digits:", {"stride": 2}, "--stride=2: .*; write --dataset=moving_digits:speed=PIXELS"),
    ("moving_digits", {"image_size": 32}, "--image_size=32: is for images, and moving_digits is video"),
  ],
)
def test_flags_of_videos_are_settings_here(spec, flag, cure, folder):
  with pytest.raises(UserError, match=f"^{cure}$"):
    data.load(spec, folder, **flag)
