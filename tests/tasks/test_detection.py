"""Detection: boxes to maps and back, its loss, and COCO's average precision against one that is written out here."""

import functools
import importlib

import jax
import numpy as np
import pytest

from sslx import compile
from sslx.tasks import TASKS

detection = importlib.import_module("sslx.tasks.detection")  # its function has the same name
S = detection.STRIDE
NONE = (-1, 0, 0, 0, 0)
H, W = 8, 7  # places
targets = jax.jit(functools.partial(detection.targets, height=H, width=W, classes=2))
decode = jax.jit(functools.partial(detection.decode, classes=2))


def boxes(*images: list[tuple]) -> np.ndarray:
  """f32 [N,M,5] of boxes in places, filled up with rows that are none."""
  most = max(1, *map(len, images))
  return np.float32([[*image, *[NONE] * (most - len(image))] for image in images]) * np.float32([1, S, S, S, S])


def random_boxes(n: int, most: int, classes: int, seed: int, height: int = H * S, width: int = W * S) -> np.ndarray:
  """f32 [N,M,5] of boxes whose edges are no whole pixels; some images have none."""
  rng = np.random.default_rng(seed)
  y = np.zeros((n, most, 5), np.float32)
  size = S * rng.uniform(0.75, 3, (n, most, 2))
  y[..., 0] = np.where(rng.random((n, most)) < 0.7, rng.integers(0, classes, (n, most)), -1)
  y[..., 1:3] = rng.random((n, most, 2)) * (np.array([height, width]) - size)
  y[..., 3:] = y[..., 1:3] + size
  y[0, :, 0] = -1
  return y * (y[..., :1] >= 0) - (y[..., :1] < 0) * np.float32([1, 0, 0, 0, 0])


def right_outputs(y: np.ndarray) -> np.ndarray:
  """What a network that learnt the targets of these boxes puts out: [N,H,W,6]."""
  heat, cells, sides = map(np.asarray, targets(y))
  p = np.where(heat == 1, 1 - 1e-6, 1e-6)
  outputs = np.zeros((len(y), H * W, 6), np.float32)
  outputs[..., :2] = np.log(p / (1 - p)).reshape(len(y), -1, 2)
  for n, m in zip(*np.nonzero(y[..., 0] >= 0), strict=True):
    outputs[n, cells[n, m], 2:] = sides[n, m]
  return outputs.reshape(len(y), H, W, 6)


# ---- targets ---------------------------------------------------------------------------------------------------------


def test_heat_is_1_at_the_cells_of_the_centres_alone():
  y = boxes([(0, 0, 0, 2, 2)], [(1, 3, 2, 8, 7)], [])  # centres: 1, 1 and 5.5, 4.5
  heat, cells, sides = map(np.asarray, targets(y))
  assert np.argwhere(heat == 1).tolist() == [[0, 1, 1, 0], [1, 5, 4, 1]]
  assert heat.min() >= 0
  assert heat.max() == 1
  assert not heat[0, ..., 1].any()  # classes keep apart
  assert not heat[1, ..., 0].any()
  assert not heat[2].any()
  assert cells[:2, 0].tolist() == [1 * W + 1, 5 * W + 4]
  np.testing.assert_allclose(sides[:2, 0], [[np.log(2), np.log(2), 0, 0], [np.log(5), np.log(5), 0.5, 0.5]], atol=1e-6)
  assert np.isfinite(sides).all()


def test_heat_falls_off_around_a_centre_alike_and_is_wider_along_the_longer_side():
  y = boxes([(0, 0, 3.5, 64, 5)])  # 64 high, 1.5 wide; centre 32, 4.25
  heat = np.asarray(jax.jit(lambda y: detection.targets(y, 64, 9, 2))(y)[0])[0, ..., 0]
  assert (np.diff(heat[32:40, 4]) < 0).all()
  assert (np.diff(heat[32, 4:7]) < 0).all()
  np.testing.assert_allclose(heat[31, 4], heat[33, 4])
  np.testing.assert_allclose(heat[32, 3], heat[32, 5])
  assert heat[33, 4] > heat[32, 5]
  np.testing.assert_allclose(heat[33, 5], heat[33, 4] * heat[32, 5], rtol=1e-5)


def test_of_two_boxes_of_a_class_the_larger_heat_stays():
  first, second = (0, 0, 0, 4, 4), (0, 1, 2, 5, 6)
  both, one, other = (np.asarray(targets(boxes(image))[0]) for image in ([first, second], [first], [second]))
  np.testing.assert_array_equal(both, np.maximum(one, other))
  assert (both == 1).sum() == 2
  apart = np.asarray(targets(boxes([first, (1, *second[1:])]))[0])
  np.testing.assert_array_equal(apart[..., :1], one[..., :1])
  np.testing.assert_array_equal(apart[..., 1], other[..., 0])


def test_the_order_of_boxes_and_rows_that_are_none_change_nothing():
  y = boxes([(0, 0, 0, 4, 4), (1, 1, 2, 5, 6), (0, 2.25, 0.25, 6.25, 3)])
  mixed = np.concatenate([y[:, ::-1], np.tile(np.float32(NONE), (1, 2, 1))], 1)
  np.testing.assert_array_equal(targets(y)[0], targets(mixed)[0])
  outputs = np.random.default_rng(0).normal(size=(1, H, W, 6)).astype(np.float32)
  loss = jax.jit(lambda y: detection.loss(outputs, y, 2))
  np.testing.assert_allclose(loss(y), loss(mixed), rtol=1e-5)


# ---- decoding --------------------------------------------------------------------------------------------------------


def test_right_outputs_give_the_boxes_back():
  y = random_boxes(40, 3, 2, seed=1)
  cells = np.asarray(targets(y)[1])
  for n, m in zip(*np.nonzero(y[..., 0] >= 0), strict=True):  # of two in one cell only one can be told
    if (cells[n, :m][y[n, :m, 0] >= 0] == cells[n, m]).any():
      y[n, m] = NONE
  answers = np.asarray(decode(right_outputs(y)))
  assert answers.dtype == np.float32
  assert (np.diff(answers[..., 5], axis=1) <= 0).all()  # the best first
  assert (answers[answers[..., 0] < 0] == [-1, 0, 0, 0, 0, 0]).all()
  for truth, said in zip(y, answers, strict=True):
    truth, said = truth[truth[:, 0] >= 0], said[said[:, 5] > 0.9]
    assert len(truth) == len(said)
    order = [np.abs(said[:, :5] - box).max(1).argmin() for box in truth]
    assert len(set(order)) == len(truth)
    np.testing.assert_allclose(said[order, :5], truth, atol=0.01 * S)


def test_a_peak_is_told_once_with_its_own_box():
  outputs = np.full((1, H, W, 6), -60.0, np.float32)
  outputs[0, 3, 2] = [1, -60, np.log(2), np.log(3), 0.5, 0.25]
  outputs[0, 3, 3] = [0.9, 0.5, 0, 0, 0, 0]  # beside it, lower; of the other class a peak of its own
  outputs[0, 4, 3] = [0.8, -60, 0, 0, 0, 0]
  outputs[0, 0, 6] = [-0.5, -60, 9, 9, 0, 0]  # in a corner, and larger than the image
  answers = np.asarray(decode(outputs))[0]
  said = answers[answers[:, 5] > 0.01]
  sigmoid = 1 / (1 + np.exp(-np.array([1, 0.5, -0.5])))
  expected = [
    [0, 2.5 * S, 0.75 * S, 4.5 * S, 3.75 * S],
    [1, 2.5 * S, 2.5 * S, 3.5 * S, 3.5 * S],
    [0, 0, 0, H * S, W * S],  # cut at the edges
  ]
  np.testing.assert_allclose(said, np.concatenate([expected, sigmoid[:, None]], 1), rtol=1e-5)


@pytest.mark.parametrize("jit", [jax.jit, compile.jit], ids=["plain", "as in training"])
def test_peaks_equal_a_loop_over_places(jit):
  """Rounding of what is compared must not differ between a place and its neighbours."""
  outputs = np.random.default_rng(0).normal(size=(8, 5, 4, 6)).astype(np.float32)
  outputs[..., 2:4] = 0
  outputs[..., 4:] = 0.5
  answers = np.asarray(jit(functools.partial(detection.decode, classes=2))(outputs))
  for image, said in zip(outputs, answers, strict=True):
    peaks = []
    for i, j, k in np.ndindex(5, 4, 2):
      if image[i, j, k] == image[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2, k].max():
        peaks.append((image[i, j, k], k, i * S, j * S))
    peaks.sort(reverse=True)
    used = said[said[:, 0] >= 0]
    np.testing.assert_allclose(used[:, :3], [peak[1:] for peak in peaks], atol=1e-4)


# ---- loss ------------------------------------------------------------------------------------------------------------


def test_the_loss_is_least_for_right_outputs():
  """Close to 0, and larger the farther the boxes are that they are right for."""
  y = boxes([(0, 1.25, 1.5, 4.25, 4)], [(1, 2, 0.75, 5, 3.75), (0, 3.25, 2.25, 6.25, 6.25)])
  loss = jax.jit(lambda outputs, y: detection.loss(outputs, y, 2))
  losses = []
  for shift in (0, S / 16, S / 8, S):  # the last one leads to other cells
    moved = np.where(y[..., :1] >= 0, y + np.float32([0, shift, 0, shift, 0]), y)
    losses.append(np.asarray(loss(right_outputs(moved), y)))
  assert (losses[0] < 0.05).all()
  assert (np.diff(losses, axis=0) > 0).all()
  for wrong in (y[:, :1], y[..., [0, 1, 2, 4, 3]], y * np.float32([1, 1, 1, 1, 1.2])):  # one is missing; other sizes
    assert (np.asarray(loss(right_outputs(wrong), y))[1] > losses[0][1] + 0.02).all()
  other = y.copy()
  other[..., 0] = np.where(y[..., 0] >= 0, 1 - y[..., 0], -1)
  assert (np.asarray(loss(right_outputs(other), y)) > losses[0] + 1).all()


def test_gradients_are_finite_where_there_is_no_box_and_at_extreme_outputs():
  y = boxes([], [(0, 1.25, 1.5, 4.25, 4)], [(1, 0, 0, H, W)], [(0, 2, 2, 2, 2)])  # the last one is empty
  slope = jax.jit(jax.grad(lambda outputs: detection.loss(outputs, y, 2).sum()))
  for scale in (0, 1, 100):
    gradient = np.asarray(slope(scale * np.random.default_rng(0).normal(size=(4, H, W, 6)).astype(np.float32)))
    assert np.isfinite(gradient).all()
    assert not gradient[0, ..., 2:].any()  # without boxes nothing is learnt of them
    assert (gradient[1, ..., 2:].any(-1)).sum() == 1  # at the centre alone
    if scale == 1:
      assert gradient[0, ..., :2].all()
      assert (gradient[0, ..., :2] > 0).all()  # all heat is to fall


# ---- average precision -----------------------------------------------------------------------------------------------


def iou(a: np.ndarray, b: np.ndarray) -> float:
  """Of (top, left, bottom, right)."""
  sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
  both = max(sides[0], 0) * max(sides[1], 0)
  return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def naive_precision(answers: np.ndarray, y: np.ndarray, classes: int, overlap: float) -> list[float]:
  """COCO's average precision at an overlap, of each class that occurs: answers by descending score each take the box
  that they overlap most and none took before; of the precisions at the recalls 0, .01, ..., 1 the best at or beyond.
  """
  each = []
  for k in range(classes):
    boxes = [image[image[:, 0] == k, 1:].astype(float) for image in y]
    total, taken = sum(map(len, boxes)), [set() for _ in y]
    if not total:
      continue
    said = sorted(((row[5], n, row[1:5]) for n, image in enumerate(answers) for row in image if row[0] == k),
                  key=lambda one: -one[0])  # fmt: skip
    hits = []
    for _, n, box in said:
      free = {i: iou(box.astype(float), other) for i, other in enumerate(boxes[n]) if i not in taken[n]}
      best = max(free, key=free.__getitem__, default=None)
      hit = best is not None and free[best] >= overlap
      taken[n] |= {best} if hit else set()
      hits.append(hit)
    right = np.cumsum(hits)
    recall, precision = right / total, right / np.arange(1, len(hits) + 1)
    levels = [precision[recall >= level] for level in np.linspace(0, 1, 101)]
    each.append(np.mean([beyond.max(initial=0) for beyond in levels]))
  return each


def naive_scores(answers: np.ndarray, y: np.ndarray, classes: int) -> dict[str, float]:
  by_overlap = [np.mean(naive_precision(answers, y, classes, t) or [0]) for t in np.linspace(0.5, 0.95, 10)]
  return {"AP50": float(by_overlap[0]), "AP": float(np.mean(by_overlap))}


def guesses(y: np.ndarray, seed: int, classes: int) -> np.ndarray:
  """Boxes about right, twice each, some left out or of another class, and some that are nowhere."""
  rng = np.random.default_rng(seed)
  moved = np.concatenate([y, y, random_boxes(len(y), 2, classes, seed + 50)], 1)
  there = moved[..., 0] >= 0
  moved[..., 1:] += rng.normal(scale=0.17 * S, size=moved[..., 1:].shape) * there[..., None]
  moved[..., 3:] = np.maximum(moved[..., 3:], moved[..., 1:3] + 0.1 * S * there[..., None])
  other = there & (rng.random(there.shape) < 0.1)
  moved[..., 0] = np.where(other, rng.integers(0, classes, there.shape), moved[..., 0])
  score = rng.permutation(there.size).reshape(there.shape) / there.size  # no two alike
  moved[there & (rng.random(there.shape) < 0.2)] = NONE
  answers = np.concatenate([moved, np.where(moved[..., 0] >= 0, score, 0)[..., None]], -1)
  return np.take_along_axis(answers, np.argsort(-answers[..., 5], 1)[..., None], 1).astype(np.float32)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_as_coco_defines_it(seed, classes):
  y = random_boxes(12, 4, classes, seed)
  answers = guesses(y, seed, classes)
  expected = naive_scores(answers, y, classes)
  assert 0.02 < expected["AP"] < expected["AP50"] < 0.98
  scores = detection.average_precision(answers, y, classes)
  assert list(scores) == ["AP50", "AP"]
  assert scores == pytest.approx(expected, abs=1e-6)


def answered(y: np.ndarray, score: float = 0.5) -> np.ndarray:
  return np.concatenate([y, np.where(y[..., :1] >= 0, np.float32(score), 0)], -1)


def test_right_boxes_score_1_and_none_score_0():
  y = random_boxes(6, 3, 2, seed=3)
  assert detection.average_precision(answered(y), y, 4) == {"AP50": 1, "AP": 1}  # two classes occur nowhere
  nothing = np.zeros((6, 2, 6), np.float32) - np.float32([1, 0, 0, 0, 0, 0])
  assert detection.average_precision(nothing, y, 2) == {"AP50": 0, "AP": 0}
  assert detection.average_precision(answered(y), boxes(*[[]] * 6), 2) == {"AP50": 0, "AP": 0}
  assert detection.average_precision(nothing, boxes(*[[]] * 6), 2) == {"AP50": 0, "AP": 0}


def test_half_an_overlap_counts_and_a_second_answer_does_not():
  y = boxes([(0, 10, 10, 20, 20)])
  near = answered(boxes([(0, 12.35, 10, 22.35, 20)]))  # 7.65 / 12.35 = .62: enough for .5, .55 and .6
  assert detection.average_precision(near, y, 1) == pytest.approx({"AP50": 1, "AP": 0.3})
  far = answered(boxes([(0, 13.5, 10, 23.5, 20)]))  # 6.5 / 13.5 = .48
  assert detection.average_precision(far, y, 1) == {"AP50": 0, "AP": 0}
  wrong = answered(boxes([(1, 10, 10, 20, 20)]))
  assert detection.average_precision(wrong, y, 2) == {"AP50": 0, "AP": 0}
  first = answered(boxes([(0, 11, 11, 20, 20), (0, 10, 10, 20, 20)]))  # .81, before the one that is right
  first[0, :, 5] = 0.9, 0.8
  assert detection.average_precision(first, y, 1) == pytest.approx(naive_scores(first, y, 1))
  assert detection.average_precision(first, y, 1)["AP50"] == 1
  beside = answered(boxes([(0, 30, 30, 40, 40), (0, 10, 10, 20, 20)]))
  beside[0, :, 5] = 0.9, 0.8
  assert detection.average_precision(beside, y, 1) == pytest.approx({"AP50": 0.5, "AP": 0.5})


def test_the_order_of_images_and_the_scale_of_scores_change_nothing(capfd):
  y = random_boxes(8, 4, 2, seed=6)
  answers = guesses(y, 6, 2)
  expected = detection.average_precision(answers, y, 2)
  flipped = answers[::-1].copy()
  flipped[..., 5] = flipped[..., 5] ** 2 / 10
  assert detection.average_precision(flipped, y[::-1], 2) == pytest.approx(expected)
  assert capfd.readouterr().out == ""  # the library prints its tables


def test_the_task_of_named_classes():
  task = TASKS["detection"](("cat", "dog"))
  assert (task.outputs, task.names, task.score.name, task.requires) == (6, ("cat", "dog"), "AP50", "detection")
  y = random_boxes(6, 3, 2, seed=3)
  outputs = right_outputs(y)
  assert task.scores(np.asarray(jax.jit(task.answer)(outputs)), y)["AP50"] == pytest.approx(1)
  assert task.watched(outputs, y) == {}
  start = jax.jit(task.head().init_with_output)(jax.random.key(0), np.zeros((1, 3, 3, 4), np.float32))[0]
  assert (start[..., :2] < -1).all()  # places are rarely centres
