"""Detection: where are things, and of which class is each? Everything in sslx that knows of boxes is here.

Boxes y are f32 [N,M,5]: (class, top, left, bottom, right) in pixels, edges half-open; a row of class -1 is none.
Answers are f32 [N,M,6], with a score at the end, the best first.

A place of a map says, for each class, whether the centre of a box lies in it, and where in it, and how high and wide
the box is, in places. Zhou, Wang, Kraehenbuehl: Objects as Points, 2019, arXiv 1904.07850 (CenterNet). Deviations: the
light head that all tasks of places share; sizes are learnt as logarithms, which keeps them positive; a centre's bump is
a Gaussian of a seventh of the box, theirs of the shift that leaves an overlap of 0.7.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sslx import nn
from sslx.tasks.subsets import example_subsets, random_folds
from sslx.types import Array, Score, Task

AP50 = Score("AP50", "%", "points", 100.0, True)
STRIDE = 4  # pixels to a place of the maps that are read
NO_BOX = -1  # the class of a row that is none
SPREAD = 0.15  # standard deviation of a centre's bump, as a part of the box's sides; at least LEAST places
LEAST = 0.6
RARE = -2.19  # logit at which heat starts: one place in ten
SIZE_WEIGHT = 0.5
MOST = 50  # boxes answered for an example


def detection(names: Sequence[str]) -> Task:
  """The task of a data set whose boxes are of the classes `names`.

  Outputs [B,h,w,K+4]: logits of the classes' heat, logarithms of height and width, and the centre's place in its cell.
  """
  classes = len(names)
  bias = (*[RARE] * classes, 0.0, 0.0, 0.5, 0.5)
  return Task(
    name="detection",
    outputs=classes + 4,
    names=tuple(names),
    score=AP50,
    loss=lambda outputs, y: loss(outputs, y, classes),
    scores=lambda answers, y: average_precision(answers, y, classes),
    decide=lambda answers: answers,
    subset=example_subsets,
    folds=random_folds,
    head=lambda: nn.PlaceHead(classes + 4, bias=bias),
    reading=f"maps{STRIDE}",
    recipe=(("steps", 400), ("epochs", 40.0), ("batch_size", 25), ("learning_rates", (4e-3,)), ("weight_decay", 1.0)),
    answer=lambda outputs: decode(outputs, classes),
    watched=lambda outputs, y: {},
    requires="detection",
  )


def targets(y: Array, height: int, width: int, classes: int) -> tuple[Array, Array, Array]:
  """(heat f32 [B,h,w,K] in [0, 1], cells i32 [B,M] of the centres in the flat map, boxes f32 [B,M,4]: logarithms of
  height and width in places, and the centre's place in its cell) of boxes [B,M,5].
  """
  kind, top, left, bottom, right = jnp.moveaxis(y / jnp.array([1.0, *[STRIDE] * 4]), -1, 0)  # [B,M] each
  tall, wide = jnp.maximum(bottom - top, 1e-3), jnp.maximum(right - left, 1e-3)
  centre_y, centre_x = (top + bottom) / 2, (left + right) / 2
  row = jnp.clip(jnp.floor(centre_y), 0, height - 1)
  column = jnp.clip(jnp.floor(centre_x), 0, width - 1)

  def bump(middle: Array, size: Array, count: int) -> Array:
    sigma = jnp.maximum(SPREAD * size, LEAST)[..., None]
    return jnp.exp(-jnp.square(jnp.arange(count) - middle[..., None]) / (2 * sigma**2))  # [B,M,count]

  def add(heat: Array, one: tuple[Array, Array, Array]) -> tuple[Array, None]:
    rows, columns, label = one
    is_class = jax.nn.one_hot(label.astype(jnp.int32), classes)  # of -1 all zero
    return jnp.maximum(heat, jnp.einsum("bh,bw,bk->bhwk", rows, columns, is_class)), None

  rows, columns = bump(row, tall, height), bump(column, wide, width)
  by_box = rows.swapaxes(0, 1), columns.swapaxes(0, 1), kind.T
  heat, _ = jax.lax.scan(add, jnp.zeros((len(y), height, width, classes)), by_box)
  boxes = jnp.stack([jnp.log(tall), jnp.log(wide), centre_y - row, centre_x - column], -1)
  return heat, (row * width + column).astype(jnp.int32), boxes


def loss(outputs: Array, y: Array, classes: int) -> Array:
  """[B]: focal loss of the heat, and the absolute errors of sizes and places at the centres, over the boxes."""
  b, height, width, _ = outputs.shape
  heat, cells, boxes = targets(y, height, width, classes)
  logits = outputs[..., :classes]
  p, log_p, log_q = jax.nn.sigmoid(logits), jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
  focal = jnp.where(heat == 1, (1 - p) ** 2 * log_p, (1 - heat) ** 4 * p**2 * log_q)
  there = y[..., 0] >= 0
  count = jnp.maximum(there.sum(1), 1)
  said = jnp.take_along_axis(outputs[..., classes:].reshape(b, -1, 4), cells[..., None], axis=1)  # [B,M,4]
  error = jnp.abs(said - boxes) * there[..., None]
  return (-focal.sum((1, 2, 3)) + SIZE_WEIGHT * error[..., :2].sum((1, 2)) + error[..., 2:].sum((1, 2))) / count


def decode(outputs: Array, classes: int) -> Array:
  """Outputs [B,h,w,K+4] -> boxes f32 [B,M,6]: the best peaks of the heat, which are no lower than their neighbours."""
  b, height, width, _ = outputs.shape
  heat = jax.nn.sigmoid(outputs[..., :classes])
  around = jnp.pad(heat, [(0, 0), (1, 1), (1, 1), (0, 0)])
  highest = heat
  for dy in range(3):
    for dx in range(3):
      highest = jnp.maximum(highest, around[:, dy : dy + height, dx : dx + width])
  peaks = jnp.where(heat == highest, heat, 0).reshape(b, -1)
  score, index = jax.lax.top_k(peaks, min(MOST, peaks.shape[1]))
  cell, kind = index // classes, index % classes
  said = jnp.take_along_axis(outputs[..., classes:].reshape(b, -1, 4), cell[..., None], axis=1)
  size = jnp.exp(jnp.clip(said[..., :2], -5, jnp.log(2.0 * max(height, width))))
  centre = jnp.stack([cell // width, cell % width], -1) + said[..., 2:]
  low, high = (centre - size / 2) * STRIDE, (centre + size / 2) * STRIDE
  edge = jnp.array([height, width]) * STRIDE
  low, high = jnp.clip(low, 0, edge), jnp.clip(high, 0, edge)
  empty = (score <= 0) | (high <= low).any(-1)
  boxes = jnp.concatenate([kind[..., None], low, high, score[..., None]], -1).astype(jnp.float32)
  return jnp.where(empty[..., None], jnp.array([NO_BOX, 0, 0, 0, 0, 0.0]), boxes)


def average_precision(answers: np.ndarray, y: np.ndarray, classes: int) -> dict[str, Any]:
  """AP50: the area under precision against recall where a box is found by one of its class that overlaps it by half,
  the mean over classes. AP: its mean over overlaps from .5 to .95. As COCO defines both (Lin et al., Microsoft COCO:
  Common Objects in Context, 2014, arXiv 1405.0312), by the library faster-coco-eval.
  """
  from faster_coco_eval import COCO, COCOeval_faster

  def listed(boxes: np.ndarray) -> list[dict[str, Any]]:
    image, row = np.nonzero(boxes[..., 0] >= 0)
    kept = boxes[image, row].astype(np.float64)
    sizes = kept[:, 3:5] - kept[:, 1:3]
    found = zip(image.tolist(), kept.tolist(), sizes.tolist(), strict=True)
    return [
      {
        "id": i, "image_id": where, "category_id": int(box[0]), "bbox": [box[2], box[1], size[1], size[0]],
        "area": size[0] * size[1], "iscrowd": 0, **({"score": box[5]} if len(box) > 5 else {}),
      }
      for i, (where, box, size) in enumerate(found, 1)
    ]  # fmt: skip

  images = [{"id": i, "height": 0, "width": 0} for i in range(len(y))]
  categories = [{"id": i, "name": str(i)} for i in range(classes)]
  found = listed(answers)
  if not found:
    return {AP50.name: 0.0, "AP": 0.0}
  with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO({"images": images, "annotations": listed(y), "categories": categories})
    judge = COCOeval_faster(truth, truth.loadRes(found), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
  told = judge.stats_as_dict
  return {AP50.name: max(float(told["AP_50"]), 0.0), "AP": max(float(told["AP_all"]), 0.0)}
