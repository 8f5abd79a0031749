"""video:DIR: folders of frames, DAVIS's layout with lists and without, where clips begin, and what is wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.data import footage, video
from sslx.data.fingerprint import described, fingerprint
from sslx.data.lazy import LazyArray
from sslx.types import UserError

HEIGHT, WIDTH = 16, 24


def frames_of(number: int, count: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
  """u8 [count,H,W,3], all frames of all videos different."""
  rng = np.random.default_rng([number, count])
  return rng.integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def masks_of(count: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
  """u8 [count,H,W]: two objects, 1 and 2, that move to the right."""
  masks = np.zeros((count, height, width), np.uint8)
  for t in range(count):
    masks[t, 2:8, 1 + t : 7 + t] = 1
    masks[t, 9:14, 3 + t : 8 + t] = 2
  return masks


def save(path: Path, values: np.ndarray, palette: bool = False) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(values)
  if palette:
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [9] * 759)
  image.save(path)


def folders(root: Path, counts: dict[str, int], kind: str = "png") -> str:
  for number, (name, count) in enumerate(counts.items()):
    for t, frame in enumerate(frames_of(number, count)):
      save(root / name / f"{t}.{kind}", frame)
  return f"video:{root}"


def davis(
  root: Path, counts: dict[str, int], lists: dict[str, list[str]] | None = None, resolution: str = "480p"
) -> str:
  folders(root / "JPEGImages" / resolution, counts)
  for name, count in counts.items():
    for t, mask in enumerate(masks_of(count)):
      save(root / "Annotations" / resolution / name / f"{t}.png", mask, palette=True)
  for part, names in (lists or {}).items():
    path = root / "ImageSets" / "2017" / f"{part}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))
  return f"video:{root}"


def refused(spec: str, message: str, **how) -> None:
  with pytest.raises(UserError, match=message) as error:
    data.load(spec, **how)
  assert "\n" not in str(error.value)


# ---- clips -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ("count", "frames", "stride", "expected"),
  [
    (12, 12, 1, [0]),
    (11, 12, 1, []),
    (13, 12, 1, [0, 1]),
    (18, 12, 1, [0, 6]),
    (25, 12, 1, [0, 6, 12, 13]),
    (9, 4, 2, [0, 2]),
    (7, 4, 2, [0]),
    (6, 4, 2, []),
    (5, 2, 1, [0, 1, 2, 3]),
    (10, 3, 3, [0, 3]),
  ],
)
def test_where_clips_begin(count, frames, stride, expected):
  """Every half of frames * stride frames; the last clip ends with the video."""
  starts = video.starts(count, frames, stride)
  assert starts.tolist() == expected
  if expected:
    assert starts[-1] + (frames - 1) * stride == count - 1


@pytest.mark.parametrize("limit", [1 << 30, 1000])
def test_clips_of_folders(tmp_path, capsys, limit):
  counts = {"a": 13, "b": 5, "c": 9}
  spec = folders(tmp_path, counts)
  dataset = data.load(spec, frames=3, stride=2, in_memory_limit=limit)
  expected = [
    frames_of(number, count)[[start, start + 2, start + 4]]
    for number, count in enumerate(counts.values())
    for start in {13: [0, 3, 6, 8], 5: [0], 9: [0, 3, 4]}[count]
  ]
  assert isinstance(dataset.train.x, LazyArray if limit == 1000 else np.ndarray)
  np.testing.assert_array_equal(dataset.train.x[:], expected)
  np.testing.assert_array_equal(dataset.train.x[np.array([5, 0, 5, 7])], np.array(expected)[[5, 0, 5, 7]])
  assert (dataset.modality.name, dataset.task.name) == ("video", "none")
  assert dataset.split_sizes == {"train": 8, "test": 0}
  assert not dataset.videos
  assert not capsys.readouterr().err


def test_twelve_frames_are_the_default(tmp_path):
  dataset = data.load(folders(tmp_path, {"a": 25}))
  np.testing.assert_array_equal(dataset.train.x, [frames_of(0, 25)[s : s + 12] for s in (0, 6, 12, 13)])


def test_only_frames_that_are_asked_for_are_decoded(tmp_path, monkeypatch):
  seen = []
  decode = footage.decode
  monkeypatch.setattr(footage, "decode", lambda path, *rest, **more: seen.append(path) or decode(path, *rest, **more))
  dataset = data.load(folders(tmp_path, {"a": 12, "b": 12}), frames=4, in_memory_limit=1000)
  assert not seen
  assert dataset.train.x[[1, 6]].shape == (2, 4, HEIGHT, WIDTH, 3)
  names = [f"a/{t}.png" for t in range(2, 6)] + [f"b/{t}.png" for t in range(2, 6)]
  assert seen == [str(tmp_path / name) for name in names]
  seen.clear()
  dataset.train.x[[0, 1]]
  assert len(seen) == 6  # two of the eight frames are in both


def test_frames_come_in_the_order_of_their_numbers():
  names = ["frame10.png", "frame9.png", "frame1.png", "frame100.png", "b2.png", "a.png"]
  assert footage.in_order(names) == ["a.png", "b2.png", "frame1.png", "frame9.png", "frame10.png", "frame100.png"]
  assert footage.in_order(["00010.jpg", "00009.jpg"]) == ["00009.jpg", "00010.jpg"]
  assert footage.in_order(["1_10.png", "1_9.png", "01_1.png"]) == ["01_1.png", "1_9.png", "1_10.png"]


def test_grey_frames_become_red_green_and_blue(tmp_path):
  grey = frames_of(0, 4)[..., 0]
  for t, frame in enumerate(grey):
    save(tmp_path / "a" / f"{t}.png", frame)
  dataset = data.load(f"video:{tmp_path}", frames=4)
  np.testing.assert_array_equal(dataset.train.x, np.repeat(grey[None, ..., None], 3, -1))


@pytest.mark.parametrize(
  ("height", "width", "size", "expected"),
  [
    (480, 854, None, (480, 854)),
    (480, 854, (96, 160), (96, 160)),
    (480, 854, (96,), (96, 168)),
    (854, 480, (96,), (168, 96)),
    (100, 100, (50,), (50, 50)),
    (100, 104, (50,), (50, 56)),
    (100, 101, (50,), (50, 50)),
    (64, 640, (10,), (10, 104)),
  ],
)
def test_the_size_of_frames(height, width, size, expected):
  """One number is the shorter side; the longer one is in proportion, to a multiple of eight pixels."""
  assert footage.fitted(height, width, size) == expected


@pytest.mark.parametrize("size", ["8x12", 8])
def test_frames_and_masks_are_resized(tmp_path, size):
  dataset = data.load(davis(tmp_path, {"a": 6}), frames=6, size=size)
  wide = 12 if size == "8x12" else 16
  frames = [Image.fromarray(frame).resize((wide, 8), Image.Resampling.BILINEAR) for frame in frames_of(0, 6)]
  np.testing.assert_array_equal(dataset.train.x[0], [np.asarray(frame) for frame in frames])
  (made,) = dataset.videos["test"]
  np.testing.assert_array_equal(made.frames, dataset.train.x[0])
  assert made.masks.shape == (6, 8, wide)
  assert set(np.unique(made.masks)) == {0, 1, 2}
  if wide == 12:
    np.testing.assert_array_equal(made.masks, masks_of(6)[:, 1::2, 1::2])


# ---- DAVIS -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", ["480p", ""])
@pytest.mark.parametrize("limit", [1 << 30, 1000])
def test_without_lists_clips_are_of_all_videos_and_all_with_masks_are_tracked(tmp_path, resolution, limit):
  counts = {"bear": 5, "cow": 7, "dog": 6}
  spec = davis(tmp_path, counts, resolution=resolution)
  for path in (tmp_path / "Annotations" / resolution / "cow").iterdir():
    path.unlink()
  dataset = data.load(spec, frames=4, in_memory_limit=limit)
  expected = [frames_of(n, c)[s : s + 4] for n, (c, s) in enumerate_starts(counts, 4)]
  np.testing.assert_array_equal(dataset.train.x[:], expected)
  assert dataset.split_sizes["test"] == 0
  assert list(dataset.videos) == ["test"]
  assert [each.name for each in dataset.videos["test"]] == ["bear", "dog"]
  for each, number in zip(dataset.videos["test"], (0, 2), strict=True):
    count = counts[each.name]
    assert isinstance(each.frames, LazyArray if limit == 1000 else np.ndarray)
    np.testing.assert_array_equal(each.frames[:], frames_of(number, count))
    np.testing.assert_array_equal(each.frames[np.array([3, 0, 3])], frames_of(number, count)[[3, 0, 3]])
    np.testing.assert_array_equal(each.masks[:], masks_of(count))
    assert each.annotated.all()


def enumerate_starts(counts: dict[str, int], frames: int) -> list[tuple[int, tuple[int, int]]]:
  return [(n, (c, s)) for n, c in enumerate(counts.values()) for s in video.starts(c, frames, 1)]


@pytest.mark.parametrize("test", ["val", "test"])
def test_lists_tell_what_is_trained_on_and_what_is_tracked(tmp_path, test):
  counts = {"bear": 5, "cow": 7, "dog": 6, "eel": 5}
  dataset = data.load(davis(tmp_path, counts, {"train": ["dog", "bear"], test: ["cow"]}), frames=4)
  np.testing.assert_array_equal(
    dataset.train.x, [frames_of(2, 6)[0:4], frames_of(2, 6)[2:6], frames_of(0, 5)[:4], frames_of(0, 5)[1:]]
  )
  np.testing.assert_array_equal(dataset.test.x, [frames_of(1, 7)[s : s + 4] for s in (0, 2, 3)])
  assert [each.name for each in dataset.videos["test"]] == ["cow"]


def test_a_list_of_test_videos_alone(tmp_path):
  """Then clips are of all videos, and the test split, which would be among them, is empty."""
  dataset = data.load(davis(tmp_path, {"bear": 4, "cow": 4}, {"val": ["cow"]}), frames=4)
  assert dataset.split_sizes == {"train": 2, "test": 0}
  assert [each.name for each in dataset.videos["test"]] == ["cow"]


def test_lists_of_pairs_as_davis_2016_has_them(tmp_path):
  spec = davis(tmp_path, {"bear": 4, "cow": 4})
  for part, name in (("train", "bear"), ("val", "cow")):
    lines = [f"/JPEGImages/480p/{name}/{t}.png /Annotations/480p/{name}/{t}.png\n" for t in range(4)]
    path = tmp_path / "ImageSets" / "480p" / f"{part}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
  dataset = data.load(spec, frames=4)
  assert dataset.split_sizes == {"train": 1, "test": 1}
  assert [each.name for each in dataset.videos["test"]] == ["cow"]


def rewritten(root: Path, change, mode: str | None = None) -> list[Path]:
  """Saves every mask of `bear` anew: change(mask, t); None deletes it."""
  paths = sorted((root / "Annotations" / "480p" / "bear").iterdir())
  for t, path in enumerate(paths):
    values = change(np.asarray(Image.open(path)), t)
    path.unlink()
    if values is not None:
      image = Image.fromarray(values)
      (image.convert(mode) if mode else image).save(path)
  return paths


@pytest.mark.parametrize(
  ("change", "mode", "expected"),
  [
    (lambda mask, t: (mask > 0) * np.uint8(255), None, lambda mask: mask > 0),
    (lambda mask, t: mask > 0, "1", lambda mask: mask > 0),
    (lambda mask, t: np.stack([0 * mask, 0 * mask, mask * 60], -1), None, lambda mask: mask > 0),
    (lambda mask, t: np.where(mask == 2, np.uint8(255), mask), None, lambda mask: mask == 1),
    (lambda mask, t: mask * 19, None, lambda mask: mask),
    (lambda mask, t: np.where((mask == 2) & (t == 0), np.uint8(0), mask), None, lambda mask: mask == 1),
  ],
  ids=["0 and 255", "bits", "colours", "255 is ignored", "numbered anew", "what appears later is none"],
)
def test_values_of_masks(tmp_path, change, mode, expected):
  spec = davis(tmp_path, {"bear": 4})
  rewritten(tmp_path, change, mode)
  (made,) = data.load(spec, frames=4).videos["test"]
  np.testing.assert_array_equal(made.masks, [expected(mask) for mask in masks_of(4)])


@pytest.mark.parametrize("limit", [1 << 30, 1000])
def test_frames_without_a_mask_are_not_annotated(tmp_path, limit):
  spec = davis(tmp_path, {"bear": 5})
  rewritten(tmp_path, lambda mask, t: None if t in (1, 4) else mask)
  (made,) = data.load(spec, frames=4, in_memory_limit=limit).videos["test"]
  assert made.annotated.tolist() == [True, False, True, True, False]
  np.testing.assert_array_equal(made.masks[:], masks_of(5) * made.annotated[:, None, None])


def test_a_video_with_one_mask_is_not_tracked(tmp_path, capsys):
  spec = davis(tmp_path, {"bear": 5, "cow": 4})
  rewritten(tmp_path, lambda mask, t: mask if t == 0 else None)
  assert [each.name for each in data.load(spec, frames=4).videos["test"]] == ["cow"]
  assert "nothing is tracked in bear: only the first mask is there" in capsys.readouterr().err


# ---- which data it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1 << 30, 1000])
def test_a_fingerprint_depends_on_clips_videos_and_masks(tmp_path, limit):
  spec = davis(tmp_path, {"bear": 6})
  first = data.load(spec, frames=4, in_memory_limit=limit)
  same = data.load(spec, frames=4, in_memory_limit=limit)
  before = fingerprint(first)
  assert before == fingerprint(same)
  assert before != fingerprint(data.load(spec, frames=3, in_memory_limit=limit))
  assert before != fingerprint(data.load(spec, frames=4, size="8x12", in_memory_limit=limit))
  rewritten(tmp_path, lambda mask, t: np.roll(mask, 1, 0) if t == 3 else mask)
  os.utime(tmp_path / "Annotations/480p/bear/3.png", ns=(1, 1))
  other = data.load(spec, frames=4, in_memory_limit=limit)
  np.testing.assert_array_equal(other.train.x[:], first.train.x[:])
  assert before != fingerprint(other)
  assert (described(first) is None) == (limit > 1000)


# ---- what is wrong ---------------------------------------------------------------------------------------------------


def test_folders_that_are_wrong(tmp_path, capsys):
  refused(f"video:{tmp_path / 'none'}", r"^\S*none: no such folder or file$")
  (tmp_path / "empty").mkdir()
  refused(f"video:{tmp_path / 'empty'}", r"empty: holds no videos, neither folders of frames: .*\.png.*files: \.mp4.*")
  save(tmp_path / "flat" / "0.png", frames_of(0, 1)[0])
  refused(f"video:{tmp_path / 'flat'}", r"flat: holds pictures; put .* a folder of its own, DIR/VIDEO/\*\.png$")
  (tmp_path / "flat" / "notes.txt").write_text("")
  refused(f"video:{tmp_path / 'flat' / 'notes.txt'}", r"notes\.txt: is called as no video file is \(\.mp4, ")
  refused(folders(tmp_path / "one", {"a": 5, "b": 1}), r"^\S*one/b: holds one frame, \S*b/0.png, and a video has two")
  spec = folders(tmp_path / "other", {"a": 5})
  (tmp_path / "other" / "notes.txt").write_text("")
  (tmp_path / "other" / "nothing").mkdir()
  data.load(spec, frames=4)
  assert "passed over 2 that are no videos, such as" in capsys.readouterr().err
  save(tmp_path / "other" / "a" / "0.jpg", frames_of(0, 1)[0])
  refused(spec, r"other/a: 0\.jpg and 0\.png would be the same frame; delete one of them$")


def test_frames_of_two_sizes(tmp_path):
  spec = folders(tmp_path, {"a": 5, "b": 5})
  save(tmp_path / "a" / "3.png", frames_of(0, 1, 8, 8)[0])
  for how in ({}, {"size": "8x8"}):
    refused(spec, r"^\S*a/0\.png is 16x24 but \S*a/3\.png is 8x8 \(height x width\): the frames of a video .*", **how)


def test_videos_of_two_sizes(tmp_path):
  spec = folders(tmp_path, {"a": 5})
  for t, frame in enumerate(frames_of(1, 5, 24, 16)):
    save(tmp_path / "b" / f"{t}.png", frame)
  refused(spec, r"^\S*b: its frames are 24x16, those of other videos 16x24 .*; give --size=HEIGHTxWIDTH.*", frames=4)
  refused(spec, r"^\S*b: its frames are 16x8, those of other videos 8x16 .*", frames=4, size=8)
  assert data.load(spec, frames=4, size="8x12").x_shape == (4, 8, 12, 3)


def test_videos_that_are_shorter_than_a_clip(tmp_path, capsys):
  spec = folders(tmp_path, {"a": 5, "b": 9, "c": 4})
  refused(spec, r"^\S*b: the longest video has 9 frames, and a clip of --frames=12 takes 12; lower --frames=12$")
  refused(spec, "a clip of --frames=6 and --stride=2 takes 11; lower --frames=6 or --stride=2$", frames=6, stride=2)
  assert len(data.load(spec, frames=8).train) == 2
  told = capsys.readouterr().err
  assert f"no clips are of {tmp_path / 'a'} and 1 more: it has 5 frames, and a clip of --frames=8 takes 8;" in told


def test_a_frame_that_is_damaged(tmp_path):
  spec = folders(tmp_path, {"a": 12})
  path = tmp_path / "a" / "7.png"
  path.write_bytes(path.read_bytes()[:-200])
  refused(spec, r"^\S*a/7\.png: not a readable image")
  dataset = data.load(spec, frames=4, in_memory_limit=1000)  # of what stays on disk, it is told when it is read
  assert dataset.train.x[[0]].shape == (1, 4, HEIGHT, WIDTH, 3)
  with pytest.raises(UserError, match=r"a/7\.png: not a readable image"):
    dataset.train.x[:]


def test_masks_that_are_wrong(tmp_path):
  spec = davis(tmp_path, {"bear": 5})
  folder = tmp_path / "Annotations" / "480p" / "bear"
  good = (folder / "2.png").read_bytes()
  save(folder / "2.png", np.ones((8, 8), np.uint8))
  refused(spec, r"^\S*bear/2\.png: is 8x8, but its image \S*bear/2\.png is 16x24 \(height x width\)$", frames=4)
  (folder / "2.png").write_bytes(good)
  save(folder / "9.png", masks_of(1)[0])
  refused(spec, r"^\S*bear/9\.png: has no frame of this name; delete the mask, or put its frame there$", frames=4)
  (folder / "9.png").unlink()
  first = (folder / "0.png").read_bytes()
  (folder / "0.png").unlink()
  refused(spec, r"^\S*bear/0\.png: the first frame has no mask \S*Annotations\S*bear/0\.png, and tracking .*", frames=4)
  save(folder / "0.png", np.zeros((HEIGHT, WIDTH), np.uint8))
  refused(spec, r"^\S*bear/0\.png: holds no object, its values are all 0, .*", frames=4)
  (folder / "0.png").write_bytes(first)
  Image.fromarray(masks_of(1)[0]).save(folder / "1.png", format="JPEG")
  refused(spec, r"^\S*bear/1\.png: a mask must be PNG, not JPEG", frames=4)


@pytest.mark.parametrize(
  ("lists", "message"),
  [
    ({"train": ["bear"], "val": ["bear"]}, r"val\.txt: the video bear is in \S*train\.txt too; take it out of one$"),
    ({"train": ["bear"], "val": ["wolf"]}, r"val\.txt, line 1: no such video, \S*wolf$"),
    ({"train": ["bear"], "val": []}, r"val\.txt: names no video; write one on a line$"),
    ({"train": ["bear"], "val": ["fox"]}, r"val\.txt: fox has no masks in \S*Annotations/480p/fox; .*"),
  ],
)
def test_lists_that_are_wrong(tmp_path, lists, message):
  spec = davis(tmp_path, {"bear": 4, "cow": 4}, lists)
  folders(tmp_path / "JPEGImages" / "480p", {"fox": 4})
  refused(spec, message, frames=4)


@pytest.mark.parametrize(
  ("how", "message"),
  [
    ({"frames": 1}, "^--frames=1: must be between 2 and 1024$"),
    ({"stride": 0}, "^--stride=0: must be between 1 and 1024$"),
    ({"size": "4x90"}, "^--size=4x90: must be between 8 and 4096$"),
    ({"size": "5000"}, "^--size=5000: must be between 8 and 4096$"),
    ({"size": "96 x 160"}, "^--size=96 x 160: write HEIGHTxWIDTH, such as 96x160, or one number, .*"),
    ({"size": "1x2x3"}, "^--size=1x2x3: write HEIGHTxWIDTH"),
    ({"size": ""}, "^--size=: write HEIGHTxWIDTH"),
    ({"image_size": 32}, "^--image_size=32: is for images, and video is video$"),
    ({"seconds": 1.0}, "^--seconds=1: is for sound, and video is video$"),
  ],
)
def test_flags_that_are_wrong(tmp_path, how, message):
  refused(folders(tmp_path, {"a": 4}), message, **how)


def test_flags_of_videos_are_of_videos_alone():
  refused("mnist", "^--frames=12: is for video, and mnist is image$", frames=12)
  refused("mnist", "^--size=96x160: is for video, and mnist is image$", size=(96, 160))


def test_hints_name_the_kind(tmp_path):
  refused(str(tmp_path), r"a folder needs its kind in front: .* video:")
  refused("clip.MP4", r"--dataset=clip\.MP4: write video:clip\.MP4$")
  assert data.path_of("video:clips") == Path("clips")
