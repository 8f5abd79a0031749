"""Methods of images on clips: frame by frame, or two frames as two views."""

import jax
import numpy as np
import pytest

from sslx import nn, pretext
from sslx.modalities import views
from sslx.pretext import METHODS
from sslx.pretext.families.clips import by_frames, one_frame
from sslx.tasks import TASKS
from sslx.types import Pretext, UserError

KEY = jax.random.key(0)
NONE = TASKS["none"](())
OF_IMAGES = [name for name, method in METHODS.items() if "image" in method.modalities and not method.labels]


def clips(n: int = 3, frames: int = 5, size: int = 16) -> np.ndarray:
  """Prepared clips of random pixels."""
  return np.random.default_rng(0).random((n, frames, size, size, 3)).astype(np.float32)


def numbered(n: int, frames: int) -> np.ndarray:
  """Clips [n,frames,1,1,3] whose pixels say which clip and frame they are of."""
  return (100 * np.arange(n)[:, None] + np.arange(frames))[..., None, None, None] * np.ones((1, 1, 1, 1, 3), np.float32)


@pytest.mark.parametrize("method", OF_IMAGES)
def test_every_method_of_images_takes_clips(method):
  """Shapes alone: what it computes is that of images, which the contract tests."""
  entry, x = METHODS[method], clips(2, 3, 32)
  spec = nn.suited(entry.encoder_for("video"), "video")
  encoder = nn.build(spec)
  nn.check_input(spec, encoder, x.shape[1:], "video")
  made = pretext.build(method, encoder, {}, NONE)
  params, state = jax.eval_shape(made.init, KEY, {"x": x[:1]})
  whole = jax.eval_shape(lambda key, x: nn.init(encoder, key, x), KEY, x)
  shapes = [jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (params["encoder"], whole[0])]
  assert shapes[0] == shapes[1]
  view = jax.eval_shape(made.transform, KEY, {"x": x})
  assert jax.eval_shape(made.loss, params, state, KEY, view)[0].shape == ()
  if made.show:
    assert all(len(row.shape) == 4 for row in jax.eval_shape(made.show, params, state, KEY, {"x": x}).values())
  if made.decode:
    code = jax.eval_shape(
      lambda p, s, x: nn.apply(encoder, p, s, x)[0][encoder.block_names[-1]], params["encoder"], state["encoder"], x
    )
    decoded = jax.eval_shape(lambda p, s, code: made.decode(p, s, code, x.shape[1:]), params, state, code)
    assert decoded.shape == x.shape


def test_a_step_sees_one_frame_of_each_clip():
  """Each clip draws its own, and every frame is seen."""
  x = numbered(400, 4)
  drawn = np.asarray(one_frame(KEY, x))[:, 0, 0, 0]
  np.testing.assert_array_equal(drawn // 100, np.arange(400))
  counts = np.bincount((drawn % 100).astype(int), minlength=4)
  assert counts.min() > 70
  assert len(counts) == 4


def test_a_method_on_frames_is_the_method_of_images():
  """The same key gives what the method makes of the frames that were drawn."""
  encoder = nn.build("frames+conv:widths=4")
  made = pretext.build("denoise", encoder, {}, NONE)
  plain = pretext.build("denoise", encoder.body, {}, NONE)
  x = clips()
  frame_key, key = jax.random.split(KEY)
  view, expected = made.transform(KEY, {"x": x}), plain.transform(key, {"x": one_frame(frame_key, x)})
  for name in expected:
    np.testing.assert_array_equal(view[name], expected[name])


def test_decoding_goes_frame_by_frame():
  encoder = nn.build("frames+conv:widths=4")
  made = pretext.build("autoencode", encoder, {}, NONE)
  plain = pretext.build("autoencode", encoder.body, {}, NONE)
  assert made.decode
  assert plain.decode
  x = clips(2, 3, 8)
  params, state = made.init(KEY, {"x": x})
  code = nn.apply(encoder, params["encoder"], state["encoder"], x)[0]["block1"]
  decoded = made.decode(params, state, code, x.shape[1:])
  for t in range(3):
    np.testing.assert_allclose(decoded[:, t], plain.decode(params, state, code[:, t], x.shape[2:]), rtol=1e-5)


@pytest.mark.parametrize(("gap", "frames"), [(1, 5), (3, 7), (4, 3)])
def test_two_frames_of_a_clip(gap, frames):
  """Distances 1 to `gap` (to T - 1 where clips are short), all alike, in both orders, in every place."""
  first, second = (np.asarray(x)[:, 0, 0, 0] for x in views.pair(f"frames:gap={gap}", KEY, numbered(6000, frames)))
  np.testing.assert_array_equal(first // 100, second // 100)
  far = min(gap, frames - 1)
  distances, counts = np.unique(second - first, return_counts=True)
  np.testing.assert_array_equal(distances, [*range(-far, 0), *range(1, far + 1)])
  assert counts.min() > 0.8 * 6000 / (2 * far)
  assert set(first % 100) == set(range(frames))


def test_a_gap_of_no_frame_gives_the_same_frame_twice():
  first, second = views.pair("frames:gap=0", KEY, numbered(50, 4))
  np.testing.assert_array_equal(first, second)


def test_contrastive_methods_see_two_frames():
  """Without any other change the two views are the two frames themselves."""
  plain = "frames:gap=2,crop=1,jitter=0,grey=0"
  made = pretext.build("simclr", nn.build("frames+conv:widths=4"), {"views": plain, "projector": (4,)}, NONE)
  view = made.transform(KEY, {"x": numbered(40, 6)})
  distance = np.abs(view["view1"] - view["view2"])[:, 0, 0, 0]
  assert set(distance) == {1, 2}
  usual = pretext.build("simclr", nn.build("frames+conv:widths=4"), {"projector": (4,)}, NONE)
  assert "frames" not in str(usual.views)


def test_views_of_frames_are_of_clips_alone():
  made = pretext.build("simclr", nn.build("conv:widths=4"), {"views": "frames"}, NONE)
  with pytest.raises(UserError, match="--hp=views=frames: these views are of clips"):
    made.transform(KEY, {"x": clips()[:, 0]})


def test_pictures_of_views_of_clips():
  """A row for each operation, as images; of two frames each is there."""
  x = clips(2, 5, 12)
  rows = views.pictures("frames:gap=2,blur=0.5", KEY, x)
  assert list(rows) == ["original", "the other frame", "crop", "jitter", "grey", "blur", "view 1", "view 2"]
  assert {row.shape for row in rows.values()} == {(2, 12, 12, 3)}
  plain = views.pictures("auto", KEY, x)
  np.testing.assert_array_equal(plain["original"], x[:, 0])
  assert list(plain) == ["original", "crop", "flip", "jitter", "grey", "view 1", "view 2"]


def test_by_frames_keeps_what_it_does_not_change():
  made = pretext.build("simclr", nn.build("conv:widths=4"), {}, NONE)
  turned = by_frames(made)
  changed = {name for name in Pretext._fields if getattr(turned, name) is not getattr(made, name)}
  assert changed == {"init", "transform", "show"}
