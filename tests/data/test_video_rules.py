"""What every data set of video keeps: rules of clips, of whole videos, and of what a model is given."""

import dataclasses

import numpy as np
import pytest

from sslx.data.check import checked
from sslx.data.inputs import accepted
from sslx.data.lazy import LazyArray
from sslx.data.types import Video, clips
from sslx.modalities import MODALITIES
from sslx.types import UserError

X = np.random.default_rng(0).integers(0, 256, (5, 4, 8, 12, 3)).astype(np.uint8)
MASKS = np.zeros((6, 8, 12), np.uint8)
MASKS[:, 2:5, 3:6] = 1
GOOD = Video("bear", X[0].repeat(2, 0)[:6], MASKS, np.arange(6) != 3)
SHAPE = (4, 8, 12, 3)


def refused(dataset, message: str) -> None:
  with pytest.raises(UserError, match=f"^{message}$") as error:
    checked(dataset)
  assert "\n" not in str(error.value)


def lazy(x: np.ndarray) -> LazyArray:
  return LazyArray(x.shape, lambda rows: x[rows], x.dtype)


@pytest.mark.parametrize("x", [X, lazy(X)], ids=["in memory", "lazy"])
@pytest.mark.parametrize("videos", [{}, {"test": [GOOD], "validation": []}])
@pytest.mark.parametrize("test", [None, X[:2]])
def test_what_keeps_the_rules_passes(x, videos, test, capsys):
  dataset = clips("name", x, videos, test)
  assert checked(dataset) is dataset
  if test is None:
    assert not capsys.readouterr().err


def test_test_clips_that_are_training_clips_are_told(capsys):
  checked(clips("name", X, {}, X[3:4]))
  assert "1 of 1 test examples have the same values as training examples" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("x", "message"),
  [
    (X[0], r"name: train clips have shape \[4, 8, 12, 3\]; they must be \[N,T,H,W,3\]; of one clip, give x\[None\]"),
    (X[:, :0], r"name: train clips have shape \[5, 0, 8, 12, 3\]; they must be \[N,T,H,W,3\]"),
    (X[..., :1], r"name: train clips have 1 channels; .*: repeat it, np\.repeat\(x, 3, -1\)"),
    (X.transpose(0, 1, 4, 2, 3), r".* have 12 channels; .*: move the channels last, np\.moveaxis\(x, 2, -1\)"),
    (X.transpose(0, 4, 1, 2, 3), r".* have 12 channels; .*: move the channels last, np\.moveaxis\(x, 1, -1\)"),
    (X[:, :1], "name: train clips are of one frame; they need two at least"),
    (X / np.float32(255), "name: train clips are float32 .*; they must be uint8, where 255 is white: .*"),
    (X // 200, "name: train clips hold no value above 1, where 255 is white: .*"),
    (X * np.uint8(0), "name: every train clip is black, all values are 0; look at what they are read from"),
    (X[:0], "name: the train split is empty; it needs at least one example"),
  ],
)
def test_clips_that_break_a_rule(x, message):
  refused(clips("name", x, {}), message)


def test_splits_of_two_sizes():
  refused(clips("name", X, {}, X[:, :3]), "name: train clips are 4x8x12x3 but test clips are 3x8x12x3; .* one size")


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"frames": X[0, ..., 0]}, r"frames are uint8 of shape \[4, 8, 12\]; they must be uint8 \[T,H,W,3\], T 2 at least"),
    ({"frames": GOOD.frames / 255}, "frames are float64 of .*"),
    (
      {"frames": GOOD.frames[:1], "masks": MASKS[:1], "annotated": np.ones(1, bool)},
      r"frames are .*\[1, 8, 12, 3\]; .*",
    ),
    ({"masks": MASKS[:, :4]}, r"masks are uint8 of shape \[6, 4, 12\]; they must be uint8 \[6, 8, 12\], as its frames"),
    ({"masks": MASKS[:5]}, r"masks are uint8 of shape \[5, 8, 12\]; .*"),
    ({"masks": MASKS > 0}, "masks are bool of .*"),
    ({"annotated": np.ones(5, bool)}, r"annotated is bool of shape \[5\]; it must be bool \[6\], .*"),
    ({"annotated": np.ones(6)}, r"annotated is float64 of .*"),
    ({"annotated": np.arange(6) > 0}, "the mask of its first frame is not known, and tracking begins with it"),
    ({"masks": MASKS * (np.arange(6) > 0)[:, None, None].astype(np.uint8)}, "the mask .* holds no object, and .*"),
    ({"masks": MASKS.tolist()}, "masks are of type list; give a NumPy array"),
  ],
)
def test_videos_that_break_a_rule(changed, message):
  refused(clips("name", X, {"test": [GOOD, GOOD._replace(**changed)]}), f"name: the test video 'bear': {message}")


def test_only_the_first_mask_of_a_lazy_video_is_read():
  seen = []
  masks = LazyArray(MASKS.shape, lambda rows: seen.extend(rows) or MASKS[rows])
  frames = LazyArray(GOOD.frames.shape, lambda rows: seen.extend(rows) or GOOD.frames[rows])
  checked(clips("name", lazy(X), {"test": [GOOD._replace(frames=frames, masks=masks)]}))
  assert seen == [0]


@pytest.mark.parametrize(
  ("x", "message"),
  [
    (X[0], r"x of shape \(4, 8, 12, 3\) is a single example; .*: give x\[None\]\."),
    (
      X.transpose(0, 1, 4, 2, 3),
      r".*: clips with the channels behind the frames; .*: give numpy\.moveaxis\(x, 2, -1\)\.",
    ),
    (X.transpose(0, 4, 1, 2, 3), r".*: clips with the channels first; .*: give numpy\.moveaxis\(x, 1, -1\)\."),
    (X[..., 0], r".*: grey clips; .*: give numpy\.repeat\(x\[\.\.\., None\], 3, -1\)\."),
    (X[..., :1], r".*: grey clips; .*: give numpy\.repeat\(x, 3, -1\)\."),
    (GOOD.frames, r".*: the frames of one video, or images; .*: cut clips of 4 frames out, x\[None, :4\]\."),
    (X[:, :3], r".*: clips of 3 frames; .*: give 4 frames of each\."),
    (X[:, :, :4], r".*: clips of frames of another size; .*: resize them\."),
    (X[:, 0, 0], r"x of shape \(5, 12, 3\): expected \[N,4,8,12,3\], the shape that the model was made for\."),
  ],
)
def test_hints_about_what_a_model_is_given(x, message):
  with pytest.raises(UserError, match=f"^{message}$"):
    accepted(x, MODALITIES["video"], SHAPE)


def test_a_hint_is_true():
  """What it says makes clips of the model's shape."""
  for x in (np.moveaxis(X.transpose(0, 1, 4, 2, 3), 2, -1), np.moveaxis(X.transpose(0, 4, 1, 2, 3), 1, -1)):
    np.testing.assert_array_equal(accepted(x, MODALITIES["video"], SHAPE), X)
  assert accepted(np.repeat(X[..., :1], 3, -1), MODALITIES["video"], SHAPE).shape == X.shape
  assert accepted(GOOD.frames[None, :4], MODALITIES["video"], SHAPE).shape == (1, *SHAPE)


def test_a_data_set_keeps_its_videos_when_a_split_is_replaced():
  dataset = clips("name", X, {"test": [GOOD]})
  assert dataclasses.replace(dataset, train=dataset.train.part(np.array([1, 2]))).videos["test"] == [GOOD]
