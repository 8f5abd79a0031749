"""Segmentation: of which class is each pixel? Everything in sslx that knows of masks is here.

A mask is u8 [H,W]: 0 is the background, and IGNORED is of no class, and counts nowhere.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sslx import losses, nn
from sslx.tasks.subsets import example_subsets, random_folds
from sslx.types import Array, Score, Task

MIOU = Score("mIoU", "%", "points", 100.0, True)
IGNORED = 255
STRIDE = 4  # pixels to a place of the maps that are read
BACKGROUND = 0.15  # weight of a background pixel in the loss: with 1, all becomes background


def segmentation(names: Sequence[str]) -> Task:
  """The task of a data set whose labels y u8 [B,H,W] are places in `names`, the first of which is the background.

  Outputs are logits [B,h,w,K] of places at STRIDE / zoom pixels; a mask is their largest, and may be a little higher
  and wider than the image, to whose size it is cut.
  """
  classes = len(names)

  def answer(logits: Array) -> Array:
    return logits.argmax(-1).astype(jnp.uint8)

  def loss(logits: Array, y: Array) -> Array:
    logits = logits[:, : y.shape[1], : y.shape[2]]
    known = y != IGNORED
    weight = jnp.where(y == 0, BACKGROUND, 1.0) * known
    each = losses.cross_entropies(logits, jnp.where(known, y, 0).astype(jnp.int32))
    return (weight * each).sum((1, 2)) / jnp.maximum(weight.sum((1, 2)), 1e-6)

  def watched(logits: Array, y: Array) -> dict[str, Array]:
    guess, known = answer(logits)[:, : y.shape[1], : y.shape[2]], y != IGNORED
    ink = known & ((y > 0) | (guess > 0))
    return {"foreground_accuracy": ((guess == y) & ink).sum() / jnp.maximum(ink.sum(), 1)}

  return Task(
    name="segmentation",
    outputs=classes,
    names=tuple(names),
    score=MIOU,
    loss=loss,
    scores=lambda answers, y: scores(answers, y, classes),
    decide=lambda answers: answers,
    subset=example_subsets,
    folds=random_folds,
    head=lambda: nn.PlaceHead(classes, zoom=STRIDE),
    reading=f"maps{STRIDE}",
    recipe=(("steps", 400), ("epochs", 40.0), ("batch_size", 25), ("learning_rates", (4e-3,)), ("weight_decay", 0.3)),
    answer=answer,
    watched=watched,
  )


def confusion(answers: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
  """i64 [K,K]: how many pixels of the true class (row) were given the answered one (column), of all images."""
  counts = np.zeros(classes * classes, np.int64)
  for start in range(0, len(y), 256):
    truth = y[start : start + 256]
    guess = answers[start : start + 256, : truth.shape[1], : truth.shape[2]]
    known = truth != IGNORED
    counts += np.bincount(truth[known].astype(np.int64) * classes + guess[known], minlength=classes * classes)
  return counts.reshape(classes, classes)


def scores(answers: np.ndarray, y: np.ndarray, classes: int) -> dict[str, Any]:
  """mIoU over the classes that occur in y or in answers, IoU of all foreground as one class, and the share of right
  pixels.
  """
  counts = confusion(answers, y, classes)
  right, union = np.diag(counts), counts.sum(0) + counts.sum(1) - np.diag(counts)
  found, outside = counts[1:, 1:].sum(), counts.sum() - counts[0, 0]
  return {
    MIOU.name: (right[union > 0] / union[union > 0]).mean() if union.any() else 0.0,
    "foreground_IoU": found / max(outside, 1),
    "pixel_accuracy": right.sum() / max(counts.sum(), 1),
  }


def boundary_f(answers: np.ndarray, y: np.ndarray, tolerance: float = 0.008) -> float:
  """F of the boundaries of masks u8 [N,H,W]: the mean, over images and their foreground classes, of 2PR / (P + R).

  P is the share of answered boundary pixels that are near a true one, R the other way round; near: within `tolerance`
  of the image's diagonal, rounded up to pixels. As in DAVIS (Perazzi et al., A Benchmark Dataset and Evaluation
  Methodology for Video Object Segmentation, CVPR 2016). A class of which neither has a boundary is left out.
  """
  from scipy.ndimage import binary_dilation

  height, width = y.shape[1:]
  radius = int(np.ceil(tolerance * np.hypot(height, width)))
  rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
  disk = rows**2 + columns**2 <= radius**2
  each = []
  for guess, truth in zip(answers[:, :height, :width], y, strict=True):
    known = truth != IGNORED
    for label in np.union1d(guess[known], truth[known]):
      if label == 0:
        continue
      ours, theirs = (_boundary((mask == label) & known) for mask in (guess, truth))
      if not (ours.any() or theirs.any()):  # both fill the image
        continue
      found = (ours & binary_dilation(theirs, disk)).sum(), (theirs & binary_dilation(ours, disk)).sum()
      precision, recall = (n / max(total.sum(), 1) for n, total in zip(found, (ours, theirs), strict=True))
      each.append(2 * precision * recall / max(precision + recall, 1e-12))
  return float(np.mean(each)) if each else 0.0


def _boundary(mask: np.ndarray) -> np.ndarray:
  """Where a mask [H,W] differs from its neighbour at the right, below, or at the right below."""
  padded = np.pad(mask, ((0, 1), (0, 1)), "edge")
  return (mask ^ padded[:-1, 1:]) | (mask ^ padded[1:, :-1]) | (mask ^ padded[1:, 1:])
