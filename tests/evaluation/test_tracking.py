"""Tracking: against loops over places, what must not matter, known motions, grids and pixels, features of frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import nn
from sslx.evaluation import frames as of_frames
from sslx.evaluation import tracking
from sslx.evaluation.tracking import Settings
from sslx.types import Refusal


def features(*shape: int, seed: int = 0, unit: bool = True) -> np.ndarray:
  x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
  return x / np.linalg.norm(x, axis=-1, keepdims=True) if unit else x


def some_labels(h: int, w: int, classes: int = 3, seed: int = 1) -> np.ndarray:
  return np.random.default_rng(seed).dirichlet(np.ones(classes), (h, w)).astype(np.float32)


def naive(x: np.ndarray, first_labels: np.ndarray, settings: Settings) -> np.ndarray:
  """Place by place."""
  frames, h, w, _ = x.shape
  labels = [first_labels.astype(np.float64)]
  for t in range(1, frames):
    labels.append(np.zeros_like(labels[0]))
    for i in range(h):
      for j in range(w):
        seen = []
        for s in (0, *range(max(1, t - settings.context), t)):
          for a in range(h):
            for b in range(w):
              if s == 0 or (a - i) ** 2 + (b - j) ** 2 <= settings.radius**2:
                difference = x[t, i, j].astype(np.float64) - x[s, a, b]
                seen.append((-(difference @ difference) / 2, labels[s][a, b]))
        best = sorted(seen, key=lambda pair: -pair[0])[: settings.k]
        weights = np.exp([(score - best[0][0]) / settings.temperature for score, _ in best])
        labels[t][i, j] = sum(weight * label for weight, (_, label) in zip(weights, best, strict=True)) / weights.sum()
  return np.stack(labels)


@pytest.mark.parametrize("block", [1 << 23, 1000, 1])  # scores at once: whole frames, some rows, single rows
@pytest.mark.parametrize(
  "settings",
  [Settings(2, 0.1, 5, 2), Settings(1.5, 0.5, 3, 4), Settings(0, 0.1, 10, 1), Settings(9, 0.05, 1, 3),
   Settings(2, 0.1, 5, 0), Settings(1, 1.0, 500, 2)],
)  # fmt: skip
def test_labels_are_those_of_loops_over_places(settings, block, monkeypatch):
  monkeypatch.setattr(tracking, "BLOCK", block)
  tracking._neighbours.cache_clear()
  x, labels = features(5, 5, 4, 6, unit=False), some_labels(5, 4)
  found = tracking.propagate(x, labels, settings)
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, naive(x, labels, settings), atol=2e-5)
  tracking._neighbours.cache_clear()


def test_blocks_of_rows_hold_no_more_scores_than_asked_for():
  for h, w, reach, context in ((16, 16, 4, 4), (60, 107, 12, 20), (120, 214, 12, 4)):
    rows = tracking._rows(h, w, reach, context)
    assert 1 <= rows <= h
    assert rows * w * w * (h + context * (rows + 2 * reach)) <= tracking.BLOCK or rows == 1


def test_a_smaller_k_shares_the_neighbours_of_a_larger_one():
  x, labels = features(6, 4, 5, 8), some_labels(4, 5)
  settings = Settings(2, 0.1, 3, 2)
  found = tracking.neighbours(x, 2, 10, 2)
  assert (np.diff(found.score[1:], axis=-1) <= 0).all()
  np.testing.assert_allclose(
    tracking.copy_labels(labels, found, settings), tracking.propagate(x, labels, settings), atol=1e-6
  )


def test_what_does_not_move_keeps_its_labels():
  x, labels = np.repeat(features(1, 6, 7, 16), 5, axis=0), some_labels(6, 7)
  found = tracking.propagate(x, labels, Settings(0, 0.1, 1, 0))
  np.testing.assert_array_equal(found, np.broadcast_to(labels, found.shape))


@pytest.mark.parametrize("context", [0, 3])
def test_what_moves_a_place_a_frame_is_followed(context):
  """Random features that move to the lower right: each place takes the label from where it came from."""
  wide, frames, size = features(1, 20, 20, 16)[0], 5, 8
  labels = np.eye(size * size, dtype=np.float32).reshape(size, size, -1)
  start = range(6, 6 - frames, -1)
  x = np.stack([wide[s : s + size, s : s + size] for s in start])
  found = tracking.propagate(x, labels, Settings(2, 0.01, 1, context))
  for t in range(frames):
    np.testing.assert_array_equal(found[t, t:, t:], labels[: size - t, : size - t])


def test_context_is_sought_within_the_radius_and_the_first_frame_everywhere():
  """A place that jumps further than the radius is found in the first frame; in the second it is out of reach."""
  x = np.zeros((3, 1, 8, 2), np.float32)
  x[..., 0] = 1
  x[0, 0, 0] = x[1, 0, 6] = x[2, 0, 1] = 0, 1
  labels = np.eye(8, dtype=np.float32)[None]
  found = tracking.propagate(x, labels, Settings(2, 0.01, 1, 1))
  assert found[1, 0, 6].argmax() == 0
  assert found[2, 0, 1].argmax() == 0
  x[0, 0, 0] = 1, 0  # unlike anything in the first frame, and in the second one out of reach
  index = tracking.neighbours(x, 2, 1, 1).index[2, 1, 0]
  assert index != 8 + 6
  assert tracking.neighbours(x, 5, 1, 1).index[2, 1, 0] == 8 + 6


def test_neither_the_order_of_channels_nor_a_rotation_of_them_matters():
  x, labels = features(5, 5, 5, 12), some_labels(5, 5)
  rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((12, 12)))[0].astype(np.float32)
  expected = tracking.propagate(x, labels, Settings())
  for changed in (x[..., np.random.default_rng(2).permutation(12)], x @ rotation):
    np.testing.assert_allclose(tracking.propagate(changed, labels, Settings()), expected, atol=1e-4)


@pytest.mark.parametrize("frames", [2, 7, 16])
def test_later_frames_change_nothing_before_them(frames):
  x, labels = features(19, 4, 4, 8), some_labels(4, 4)
  whole = tracking.propagate(x, labels, Settings(2, 0.1, 4, 3))
  np.testing.assert_allclose(tracking.propagate(x[:frames], labels, Settings(2, 0.1, 4, 3)), whole[:frames], atol=1e-6)


def test_labels_stay_shares_and_a_video_of_one_frame_is_its_labels():
  labels = some_labels(4, 6)
  found = tracking.propagate(features(9, 4, 6, 8), labels, Settings())
  np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
  np.testing.assert_array_equal(tracking.propagate(features(1, 4, 6, 8), labels, Settings()), labels[None])


def test_where_places_are_alike_later_and_nearer_ones_go_first():
  found = tracking.neighbours(np.ones((4, 3, 3, 2), np.float32), 1, 6, 2)
  place = 4  # the middle, which has five places within the radius
  assert found.index[3, place].tolist() == [9 + 4, 9 + 1, 9 + 3, 9 + 5, 9 + 7, 18 + 4]


def test_on_unit_features_temperatures_are_those_of_cosines():
  x = features(2, 3, 3, 8)
  cosine = np.einsum("id,jd->ij", x[1].reshape(9, 8), x[0].reshape(9, 8))
  weights = np.exp(cosine / 0.2) / np.exp(cosine / 0.2).sum(1, keepdims=True)
  labels = np.eye(9, dtype=np.float32).reshape(3, 3, 9)
  found = tracking.propagate(x, labels, Settings(0, 0.2, 9, 0))
  np.testing.assert_allclose(found[1].reshape(9, 9), weights, atol=1e-5)
  np.testing.assert_allclose(tracking.attention(x[1], x[0], (1, 2), 0.2).ravel(), weights[5], atol=1e-5)


# ---- masks and places ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "shape"), [((16, 24), (4, 6)), ((15, 22), (4, 6)), ((18, 25), (4, 6))])
def test_cells_hold_the_shares_of_their_pixels(size, shape):
  masks = np.random.default_rng(0).integers(0, 3, (2, *size)).astype(np.uint8)
  found = tracking.to_grid(masks, shape, 4, 2)
  for t in range(2):
    for i in range(4):
      for j in range(6):
        cell = masks[t, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
        np.testing.assert_allclose(found[t, i, j], [(cell == k).mean() for k in range(3)], atol=1e-6)


def test_pixels_are_interpolated_between_the_middles_of_cells():
  labels = np.random.default_rng(0).random((1, 3, 4, 2)).astype(np.float32)
  found = tracking.to_pixels(labels, (13, 15), 4)  # neither is a multiple of the stride
  margin = []
  for y in range(13):
    for x in range(15):
      row, column = (y + 0.5) / 4 - 0.5, (x + 0.5) / 4 - 0.5
      near = [
        (max(0, 1 - abs(i - min(max(row, 0), 2))) * max(0, 1 - abs(j - min(max(column, 0), 3))), labels[0, i, j])
        for i in range(3)
        for j in range(4)
      ]
      value = sum(weight * label for weight, label in near)
      margin.append(abs(value[1] - value[0]))
      assert found[0, y, x] == (value[1] > value[0])
  assert min(margin) > 1e-6


def test_halves_of_a_frame_come_back_from_the_grid_as_they_were():
  masks = np.zeros((2, 32, 30), np.uint8)
  masks[0, :, 12:], masks[1, :16] = 1, 2
  np.testing.assert_array_equal(tracking.through_grid(masks, (8, 8), 4), masks)


def test_a_tracked_video_keeps_its_first_mask_and_size():
  mask = np.zeros((21, 30), np.uint8)
  mask[5:6, 7:20] = 3  # too thin for the grid
  found = tracking.track(np.repeat(features(1, 6, 8, 8), 3, axis=0), mask, 4, Settings())
  assert found.shape == (3, 21, 30)
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found[0], mask)


# ---- features of frames ----------------------------------------------------------------------------------------------


def encoder(spec: str, size: int = 16) -> tuple[nn.Encoder, dict, dict]:
  body = nn.build(spec)
  return body, *nn.init(body, jax.random.key(0), jnp.zeros((1, size, size, 3)))


def clip(frames: int, h: int = 16, w: int = 16) -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, (frames, h, w, 3)).astype(np.uint8)


@pytest.mark.parametrize(
  ("spec", "block", "stride"),
  [
    ("grid", "code", 4),
    ("grid", "half1", 2),
    ("conv", "block3", 8),
    ("conv:code=8", "block2", 4),
    ("vit:patch=7", "patches", 7),
  ],
)
def test_the_stride_of_a_block_is_found_from_shapes(spec, block, stride):
  assert of_frames.stride_of(nn.build(spec), block) == stride


def test_a_block_without_places_is_refused_in_one_line():
  with pytest.raises(Refusal, match=r"--features=code: has no map of places.*--encoder=grid"):
    of_frames.frame_features(*encoder("conv:code=8"), clip(2), "code")


@pytest.mark.parametrize("frames", [3, 70])  # one batch, and three of which the last is not full
def test_features_of_frames_have_unit_length_and_are_those_of_each_frame_alone(frames):
  weights, x = encoder("conv:widths=8-8,norm=group"), clip(frames)
  found = of_frames.frame_features(*weights, x, "block2")
  assert found.shape == (frames, 4, 4, 8)
  np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)
  np.testing.assert_allclose(of_frames.frame_features(*weights, x[-1:], "block2"), found[-1:], atol=1e-5)


def test_only_the_lightness_of_frames_is_seen_unless_colours_are_asked_for():
  weights = encoder("conv:widths=8-8")
  x = np.full((1, 16, 16, 3), 80, np.uint8)
  x[:, :, 8:] = 200, 30, 90
  grey = np.repeat((255 * np.asarray(of_frames.color.grey(jnp.asarray(x / 255.0, jnp.float32)))[..., :1]), 3, -1)
  grey = grey.round().astype(np.uint8)
  seen, same = (of_frames.frame_features(*weights, frames, "block2") for frames in (x, grey))
  np.testing.assert_allclose(seen, same, atol=0.02)
  coloured, same = (of_frames.frame_features(*weights, frames, "block2", colours=True) for frames in (x, grey))
  assert abs(coloured - same).max() > 0.1
  np.testing.assert_allclose(of_frames.patches(x, 6, 4), of_frames.patches(grey, 6, 4), atol=0.002)
  assert of_frames.patches(x, 6, 4, colours=True).shape[-1] == 3 * 36


@pytest.mark.parametrize(("size", "stride"), [(4, 4), (6, 4), (8, 4), (2, 4), (3, 1)])
@pytest.mark.parametrize("shape", [(16, 12), (18, 13)])
def test_patches_stand_about_the_middle_of_their_cells(size, stride, shape):
  x = np.repeat(clip(2, *shape)[..., :1], 3, axis=-1)  # grey, so that nothing is made grey
  found = of_frames.patches(x, size, stride)
  h, w = (-(-n // stride) for n in shape)
  assert found.shape == (2, h, w, size * size)
  for i in range(h):
    for j in range(w):
      rows, columns = (
        np.clip(np.arange(size) + round((at + 0.5) * stride - size / 2), 0, n - 1)
        for at, n in zip((i, j), shape, strict=True)
      )
      expected = x[1][np.ix_(rows, columns)][..., 0].ravel() / 255
      np.testing.assert_allclose(found[1, i, j] * size, expected, atol=1e-3)


def test_a_squared_distance_of_patches_is_a_mean_over_their_values():
  x = np.zeros((2, 8, 8, 3), np.uint8)
  x[1] = 255
  for size, colours in ((4, False), (8, False), (6, True)):
    black, white = of_frames.patches(x, size, 4, colours)
    np.testing.assert_allclose(np.square(white - black).sum(-1), 1, rtol=1e-4)
