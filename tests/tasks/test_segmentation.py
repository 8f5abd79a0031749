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
