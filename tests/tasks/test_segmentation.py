"""Segmentation: scores and loss against loops over pixels."""

import importlib

import jax
import numpy as np
import pytest

from sslx.tasks import TASKS

segmentation = importlib.import_module("sslx.tasks.segmentation")  # its function has the same name
CLASSES = ("background", "cat", "dog", "eel")
TASK = TASKS["segmentation"](CLASSES)


def masks(n: int, height: int, width: int, classes: int = 3, ignored: float = 0.1, seed: int = 0) -> np.ndarray:
  rng = np.random.default_rng(seed)
  y = rng.integers(0, classes, (n, height, width)).astype(np.uint8)
  y[rng.random(y.shape) < ignored] = segmentation.IGNORED
  return y


def naive(answers: np.ndarray, y: np.ndarray) -> dict[str, float]:
  """The three scores, pixel by pixel."""
  right = pixels = both = either = 0
  inter, union = [0] * 4, [0] * 4
  for n, i, j in np.ndindex(y.shape):
    truth, guess = int(y[n, i, j]), int(answers[n, i, j])
    if truth == 255:
      continue
    pixels += 1
    right += truth == guess
    both += truth > 0 and guess > 0
    either += truth > 0 or guess > 0
    for k in range(4):
      inter[k] += truth == k and guess == k
      union[k] += truth == k or guess == k
  ious = [a / b for a, b in zip(inter, union, strict=True) if b]
  return {"mIoU": np.mean(ious), "foreground_IoU": both / max(either, 1), "pixel_accuracy": right / pixels}


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_loops_over_pixels(seed):
  """Of the four classes some occur in the truth only, in answers only, or nowhere; more images than are counted at once
  and answers that are larger than the masks.
  """
  y = masks(300, 3, 2, classes=2 + seed % 2, seed=seed)
  answers = masks(300, 4, 4, classes=3 if seed else 2, ignored=0, seed=10 + seed)
  scores = TASK.scores(answers, y)
  assert list(scores) == ["mIoU", "foreground_IoU", "pixel_accuracy"]
  assert scores == pytest.approx(naive(answers, y))


def test_the_confusion_is_of_truth_and_answer():
  y = np.uint8([[[0, 1, 255], [2, 2, 0]]])
  answers = np.uint8([[[0, 2, 1, 3], [2, 1, 1, 3], [3, 3, 3, 3]]])
  expected = np.zeros((4, 4), int)
  for truth, guess in ((0, 0), (1, 2), (2, 2), (2, 1), (0, 1)):
    expected[truth, guess] += 1
  np.testing.assert_array_equal(segmentation.confusion(answers, y, 4), expected)


def test_right_answers_score_1_and_what_is_ignored_counts_nowhere():
  y = masks(5, 6, 7, classes=4)
  answers = np.where(y == 255, masks(5, 6, 7, 4, 0, seed=1), y)
  assert TASK.scores(answers, y) == {"mIoU": 1, "foreground_IoU": 1, "pixel_accuracy": 1}
  nothing = TASK.scores(np.zeros_like(y), np.full_like(y, 255))
  assert nothing == {"mIoU": 0, "foreground_IoU": 0, "pixel_accuracy": 0}


def test_classes_that_occur_nowhere_are_left_out_and_a_wrong_one_is_not():
  y = np.uint8([[[0, 0, 1, 1]]])
  assert TASK.scores(y, y)["mIoU"] == 1
  wrong = np.uint8([[[0, 3, 1, 1]]])  # background 1 of 2, cat 2 of 2, eel 0 of 1
  assert TASK.scores(wrong, y)["mIoU"] == pytest.approx((0.5 + 1 + 0) / 3)


def naive_loss(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
  losses = []
  for image, mask in zip(logits.astype(np.float64), y, strict=True):
    total = weights = 0.0
    for i, j in np.ndindex(mask.shape):
      if mask[i, j] != 255:
        weight = segmentation.BACKGROUND if mask[i, j] == 0 else 1.0
        total += weight * (np.log(np.exp(image[i, j]).sum()) - image[i, j, mask[i, j]])
        weights += weight
    losses.append(total / max(weights, 1e-6))
  return np.array(losses)


def test_the_loss_is_a_weighted_cross_entropy_of_the_known_pixels():
  y, logits = masks(4, 5, 6, classes=4, ignored=0.3), np.random.default_rng(0).normal(size=(4, 8, 8, 4))
  y[3] = 255  # an image of which nothing is known
  logits = logits.astype(np.float32)
  each, slope = jax.jit(lambda o: (TASK.loss(o, y), jax.grad(lambda o: TASK.loss(o, y).sum())(o)))(logits)
  np.testing.assert_allclose(each, naive_loss(logits, y), rtol=1e-5)
  assert each[3] == 0
  assert np.isfinite(slope).all()
  slope = np.array(slope)
  inside = slope[:, :5, :6]
  assert (np.abs(inside).max(-1) > 0).tolist() == (y != 255).tolist()
  inside[:] = 0
  assert not slope.any()  # beyond the masks


def test_answers_are_the_largest_logits_as_bytes():
  logits = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
  answers = np.asarray(TASK.answer(logits))
  assert answers.dtype == np.uint8
  np.testing.assert_array_equal(answers, logits.argmax(-1))
  np.testing.assert_array_equal(TASK.decide(answers), answers)


def test_what_is_watched_is_the_share_of_right_pixels_of_the_foreground():
  y = np.uint8([[[0, 1, 2, 255, 0]]])
  answers = np.uint8([[[0, 1, 1, 2, 3]]])
  logits = np.eye(4, dtype=np.float32)[answers]
  assert float(TASK.watched(logits, y)["foreground_accuracy"]) == pytest.approx(1 / 3)


def test_its_head_answers_for_pixels():
  read = np.zeros((1, 4, 3, 5), np.float32)  # of an image of 16 x 12 or a little less
  outputs = jax.eval_shape(lambda x: TASK.head().init_with_output(jax.random.key(0), x)[0], read)
  stride = int(TASK.reading.removeprefix("maps"))
  assert outputs.shape == (1, 4 * stride, 3 * stride, 4)


# ---- boundaries ------------------------------------------------------------------------------------------------------


def naive_boundary_f(answers: np.ndarray, y: np.ndarray, radius: int) -> float:
  """By lists of the places of boundaries, and the distances of each to all others."""

  def boundary(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    places = []
    for i, j in np.ndindex(mask.shape):
      down, right = min(i + 1, height - 1), min(j + 1, width - 1)
      if len({bool(mask[i, j]), bool(mask[down, j]), bool(mask[i, right]), bool(mask[down, right])}) > 1:
        places.append((i, j))
    return np.array(places, float).reshape(-1, 2)

  def near(some: np.ndarray, others: np.ndarray) -> float:
    distance = np.linalg.norm(some[:, None] - others[None], axis=-1)
    return float((distance <= radius).any(1).mean()) if len(some) and len(others) else 0.0

  each = []
  for guess, truth in zip(answers, y, strict=True):
    for k in range(1, 4):
      ours, theirs = (boundary((mask == k) & (truth != 255)) for mask in (guess, truth))
      if len(ours) or len(theirs):
        precision, recall = near(ours, theirs), near(theirs, ours)
        each.append(2 * precision * recall / max(precision + recall, 1e-12))
  return float(np.mean(each)) if each else 0.0


def shapes(n: int, size: int, seed: int) -> np.ndarray:
  """Masks of rectangles, and of some ignored pixels."""
  rng = np.random.default_rng(seed)
  y = np.zeros((n, size, size), np.uint8)
  for image in y:
    for _ in range(3):
      top, left, height, width = rng.integers(0, size - 3), rng.integers(0, size - 3), *rng.integers(3, size, 2)
      image[top : top + height, left : left + width] = rng.integers(0, 4)
  y[rng.random(y.shape) < 0.02] = segmentation.IGNORED
  return y


@pytest.mark.parametrize("tolerance", [0.008, 0.1])
def test_boundary_f_equals_distances_between_all_places(tolerance):
  y = shapes(6, 20, 0)
  answers = np.roll(y, 1, axis=2)
  answers[answers == segmentation.IGNORED] = 1
  answers[3:] = np.where(shapes(3, 20, 5) == segmentation.IGNORED, 0, shapes(3, 20, 5))
  radius = int(np.ceil(tolerance * np.hypot(20, 20)))
  expected = naive_boundary_f(answers, y, radius)
  assert 0.1 < expected < 0.95
  larger = np.pad(answers, ((0, 0), (0, 4), (0, 2)), constant_values=2)
  assert segmentation.boundary_f(larger, y, tolerance) == pytest.approx(expected)


def test_boundary_f_of_right_answers_is_1_and_of_what_is_nowhere_0():
  y = shapes(5, 20, 1)
  assert segmentation.boundary_f(np.where(y == 255, 2, y), y) == 1
  assert segmentation.boundary_f(np.zeros_like(y), y) == 0
  assert segmentation.boundary_f(np.zeros_like(y), np.zeros_like(y)) == 0
  y[0] = 3  # it fills the image, which leaves it without a boundary
  assert segmentation.boundary_f(np.where(y == 255, 2, y), y) == 1


def test_boundaries_a_pixel_away_count_and_farther_ones_do_not():
  y, near, far = (np.zeros((1, 40, 40), np.uint8) for _ in range(3))
  y[0, 10:20, 10:20] = near[0, 10:20, 11:21] = far[0, 10:20, 30:40] = 1
  assert segmentation.boundary_f(near, y) == 1
  assert segmentation.boundary_f(far, y) == 0


def discs(centres: list[tuple[int, int]], label: int = 1, size: tuple[int, int] = (48, 64), radius: int = 9):
  """A mask u8 [1,H,W] of discs."""
  rows, columns = np.ogrid[: size[0], : size[1]]
  inside = [np.hypot(rows - i, columns - j) <= radius for i, j in centres]
  return (label * np.any(inside, 0)).astype(np.uint8)[None]


def test_boundary_f_of_right_and_nearly_right_masks():
  truth = discs([(20, 20), (30, 48)])
  assert segmentation.boundary_f(truth, truth) == 1
  assert segmentation.boundary_f(discs([(21, 20), (30, 49)]), truth) == 1  # by a pixel: the tolerance of 80 is one
  two = segmentation.boundary_f(discs([(22, 20), (30, 50)]), truth)
  assert 0.2 < two < 0.95
  assert segmentation.boundary_f(discs([(22, 20), (30, 50)]), truth, 0.02) == 1
  one_of_two = segmentation.boundary_f(discs([(20, 20)]), truth)
  assert one_of_two == pytest.approx(2 * 0.5 / 1.5, abs=0.01)  # all that is answered is right, half of it is missed
  assert segmentation.boundary_f(truth, discs([(20, 20)])) == pytest.approx(one_of_two)


def test_boundary_f_of_masks_far_away_is_0():
  near, far = discs([(10, 10)], radius=4), discs([(36, 50)], radius=4)
  assert segmentation.boundary_f(near, far) == 0
  assert segmentation.boundary_f(2 * near, near) == 0  # of another class
  assert segmentation.boundary_f(0 * near, near) == 0
  assert segmentation.boundary_f(near, 0 * near) == 0
  assert segmentation.boundary_f(0 * near, 0 * near) == 0  # nothing to be found


def test_what_is_ignored_has_no_boundary_f():
  """Answers under it may be anything, and each image and class counts alike."""
  truth = discs([(20, 20)])
  truth[0, :, 40:] = 255
  answers = truth.copy()
  answers[0, :, 40:] = discs([(20, 50)], 2)[0, :, 40:]
  assert segmentation.boundary_f(answers, truth) == 1
  both = np.concatenate([truth, discs([(20, 20)])]), np.concatenate([answers, discs([(36, 50)])])
  assert segmentation.boundary_f(both[1], both[0]) == pytest.approx(0.5)
