"""Scores of tracked masks: loops over pixels, cases whose value is known, which frames and objects count."""

import numpy as np
import pytest

from sslx.data.types import Video
from sslx.evaluation import segments
from sslx.types import UserError


def blobs(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
  from scipy import ndimage

  noise = np.random.default_rng(seed).standard_normal(shape)
  return ndimage.gaussian_filter(noise, [0] * (len(shape) - 2) + [3, 3]) > 0


def square(top: int = 20, left: int = 20, side: int = 16, size: tuple[int, int] = (64, 64)) -> np.ndarray:
  mask = np.zeros(size, bool)
  mask[top : top + side, left : left + side] = True
  return mask


def naive_outline(mask: np.ndarray) -> list[tuple[int, int]]:
  """Pixels that differ from the one to the right, below, or both; at the last column and row only from the one that
  is there."""
  height, width = mask.shape
  return [
    (i, j)
    for i in range(height)
    for j in range(width)
    if any(
      mask[i, j] != mask[i + a, j + b]
      for a, b in ((0, 1), (1, 0), (1, 1))
      if i + a < height and j + b < width
    )
  ]  # fmt: skip


def naive_boundary(true: np.ndarray, tracked: np.ndarray) -> float:
  edges, others = naive_outline(true), naive_outline(tracked)
  radius = np.ceil(0.008 * np.sqrt(true.shape[0] ** 2 + true.shape[1] ** 2))

  def share(of: list, near: list) -> float:
    hits = [any((i - a) ** 2 + (j - b) ** 2 <= radius**2 for a, b in near) for i, j in of]
    return sum(hits) / len(hits) if hits else 1.0

  precision, recall = share(others, edges), share(edges, others)
  return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("size", [(20, 31), (64, 64), (120, 60)])  # radius 1, 1 and 2 pixels
def test_scores_are_those_of_loops_over_pixels(size):
  true, tracked = blobs((3, *size)), blobs((3, *size), seed=1) | blobs((3, *size))
  both = [sum(a and b for a, b in zip(t.ravel(), m.ravel(), strict=True)) for t, m in zip(true, tracked, strict=True)]
  either = [sum(a or b for a, b in zip(t.ravel(), m.ravel(), strict=True)) for t, m in zip(true, tracked, strict=True)]
  np.testing.assert_allclose(segments.region(true, tracked), np.array(both) / either)
  expected = [naive_boundary(t, m) for t, m in zip(true, tracked, strict=True)]
  assert 0.1 < min(expected) < 1
  np.testing.assert_allclose(segments.boundary(true, tracked), expected)


def test_masks_that_touch_the_frame_have_the_outline_of_loops():
  for mask in (np.ones((5, 7), bool), square(0, 0, 4, (5, 7)), square(2, 3, 9, (5, 7)), blobs((9, 11))):
    assert [tuple(at) for at in np.argwhere(segments.outline(mask))] == naive_outline(mask)


EMPTY = np.zeros((64, 64), bool)


@pytest.mark.parametrize(
  ("true", "tracked", "region", "boundary"),
  [
    (square(), square(), 1, 1),
    (square(), square(40, 40), 0, 0),
    (square(), square(20, 21), 15 / 17, 1),  # a pixel is within the tolerance of 64 x 64
    (square(), square(21, 20), 15 / 17, 1),
    (square(), square(20, 16, 24), 256 / 576, None),
    (EMPTY, EMPTY, 1, 1),
    (EMPTY, square(), 0, 0),
    (square(), EMPTY, 0, 0),
    (~EMPTY, ~EMPTY, 1, 1),
  ],
)
def test_known_scores(true, tracked, region, boundary):
  assert segments.region(true, tracked) == pytest.approx(region)
  if boundary is not None:
    assert segments.boundary(true, tracked) == pytest.approx(boundary)


def test_a_shift_of_two_pixels_is_beyond_the_tolerance_of_a_small_frame_and_within_that_of_a_large_one():
  assert segments.boundary(square(), square(22, 22)) < 0.5
  large = (480, 854)  # tolerance 8
  assert segments.boundary(square(100, 100, 200, large), square(102, 102, 200, large)) == 1
  assert segments.boundary(square(100, 100, 200, large), square(109, 109, 200, large)) < 0.2


def video(masks: np.ndarray, annotated: np.ndarray | None = None) -> Video:
  annotated = np.ones(len(masks), bool) if annotated is None else annotated
  return Video("clip", np.zeros((*masks.shape, 3), np.uint8), masks, annotated)


def two_objects(frames: int = 4) -> np.ndarray:
  masks = np.zeros((frames, 64, 64), np.uint8)
  masks[:, square(4, 4)], masks[:, square(40, 40)] = 1, 2
  return masks


def test_a_video_score_is_the_mean_over_frames_of_each_object_then_over_objects():
  masks, tracked = two_objects(), two_objects()
  tracked[1:, 40:], tracked[1] = 0, two_objects()[1]  # the second object is lost after one of three frames
  found = segments.score(video(masks), tracked)
  np.testing.assert_allclose(found.objects, [[1, 1], [1 / 3, 1 / 3]])
  np.testing.assert_allclose(found.frames[:, 1, 0], [1, 0, 0])
  assert (found.region, found.boundary) == pytest.approx((2 / 3, 2 / 3))
  assert found.both == pytest.approx(2 / 3)


def test_the_given_frame_and_those_without_annotation_do_not_count():
  masks, annotated = two_objects(), np.array([True, False, True, False])
  masks[~annotated] = 0
  tracked = two_objects()
  for frame in (0, 1, 3):
    changed = tracked.copy()
    changed[frame] = 7
    assert segments.score(video(masks, annotated), changed).both == 1
  tracked[2] = 0
  assert segments.score(video(masks, annotated), tracked).both == 0


def test_objects_that_appear_later_are_not_asked_for():
  masks = two_objects()
  masks[0][masks[0] == 2] = 0
  assert segments.objects_of(video(masks)).tolist() == [1]
  assert segments.score(video(masks), np.where(masks == 1, masks, 0)).both == 1


def test_videos_without_anything_to_score_are_refused_in_one_line():
  masks = two_objects()
  with pytest.raises(UserError, match="video clip: no frame behind its first one is annotated"):
    segments.score(video(masks, np.array([True, False, False, False])), masks)
  masks[0] = 0
  with pytest.raises(UserError, match="video clip: its first frame has no object"):
    segments.score(video(masks), masks)


def test_means_count_each_video_alike_and_the_challenge_each_object():
  ones, zeros = two_objects(), np.zeros((4, 64, 64), np.uint8)
  single = np.where(ones == 1, ones, 0)
  scores = [segments.score(video(ones), ones), segments.score(video(single), zeros)]
  assert segments.means(scores) == segments.Means(0.5, 0.5, 0.5, pytest.approx(2 / 3))
