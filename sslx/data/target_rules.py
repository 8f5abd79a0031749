"""The rules that targets of numbers, of several classes, of pixels and of boxes keep, and what is told of them.

Each rule takes a Dataset whose splits are arrays of as many targets as examples, and raises a UserError of one line.
"""

from collections.abc import Iterator

import numpy as np

from sslx.data.types import Dataset, Split
from sslx.data.warn import warn
from sslx.types import UserError

IGNORED = 255  # of a mask
_PIECE = 256  # masks looked at at once


def numbers(dataset: Dataset) -> None:
  """Regression: y f32 [N,T] of finite numbers, none of which is the same in all of training."""
  names = dataset.task.names
  for part, split, y in _labelled(dataset):
    if y.ndim == 1 and len(names) == 1:
      raise UserError(f"{dataset.name}: {part} targets have shape {list(y.shape)}; they must be [N,1]: y[:, None]")
    _check_kind(dataset, part, y, np.float32, (len(names),), "numbers [N,T], T of " + _listed(names))
    if not np.isfinite(y).all():
      row, column = np.argwhere(~np.isfinite(y))[0]
      raise UserError(
        f"{dataset.name}: {names[column]} of {_example(part, split, row)} is {y[row, column]}; it must be finite"
      )
    if part == "train" and (y == y[0]).all(0).any():
      name = names[int((y == y[0]).all(0).argmax())]
      raise UserError(
        f"{dataset.name}: {name} is {y[0, names.index(name)]:g} in all of train; nothing can be learnt of it"
      )


def several_classes(dataset: Dataset) -> None:
  """Multi-label classification: y u8 [N,K] of 0 and 1, and every class is somewhere in training."""
  names = dataset.task.names
  for part, split, y in _labelled(dataset):
    _check_kind(dataset, part, y, np.uint8, (len(names),), "0 and 1 [N,K], K of " + _listed(names))
    if y.max() > 1:
      row, column = np.argwhere(y > 1)[0]
      raise UserError(
        f"{dataset.name}: {names[column]} of {_example(part, split, row)} is {y[row, column]}; it must be 0 or 1"
      )
    if part == "train" and not y.any(0).all():
      name = names[int(y.any(0).argmin())]
      raise UserError(f"{dataset.name}: no training example is of the class {name!r}; leave it out, or add examples")


def pixels(dataset: Dataset) -> None:
  """Segmentation: y u8 [N,H,W] as large as the images, of classes 0..K-1 or 255, and two of them in training."""
  count = dataset.task.outputs
  for part, split, y in _labelled(dataset):
    size = tuple(split.x.shape[1:3])
    _check_kind(dataset, part, y, np.uint8, size, f"masks [N,H,W] of the images' size, {size[0]}x{size[1]}")
    for start in range(0, len(y), _PIECE):
      piece = y[start : start + _PIECE]
      wrong = (piece >= count) & (piece != IGNORED)
      if wrong.any():
        row, *place = np.argwhere(wrong)[0]
        raise UserError(
          f"{dataset.name}: the mask of {_example(part, split, start + row)} holds {piece[(row, *place)]}, which is "
          f"none of the {count} classes, 0..{count - 1}, nor {IGNORED} (ignored)"
        )
  there = _classes_there(dataset, dataset.train)
  if there.sum() < 2:
    which = f"{dataset.task.names[int(there.argmax())]} only" if there.any() else "ignored pixels only"
    raise UserError(f"{dataset.name}: the masks of train hold {which}; at least two classes are needed")


def boxes(dataset: Dataset) -> None:
  """Detection: y f32 [N,M,5], (class, top, left, bottom, right) with an area and inside the image; class -1 is none."""
  count = len(dataset.task.names)
  for part, split, y in _labelled(dataset):
    if y.ndim != 3 or not y.shape[1]:
      raise UserError(f"{dataset.name}: {part} targets have shape {list(y.shape)}; they must be boxes [N,M,5], M >= 1")
    _check_kind(dataset, part, y, np.float32, (y.shape[1], 5), "boxes [N,M,5]: class, top, left, bottom, right")
    height, width = split.x.shape[1:3]
    kind, top, left, bottom, right = np.moveaxis(y, -1, 0)
    is_class = (kind >= -1) & (kind < count) & (kind == np.floor(kind))
    is_inside = (top >= 0) & (left >= 0) & (bottom <= height) & (right <= width)
    rules = (
      (np.isfinite(y).all(-1), "its numbers must be finite"),
      (is_class, f"its class must be 0..{count - 1}, or -1 for no box"),
      (is_inside | (kind == -1), f"it must be inside the image, {height}x{width}"),
      (
        (top < bottom) & (left < right) | (kind == -1),
        "its bottom must be below its top, and its right beyond its left",
      ),
    )
    for kept, rule in rules:
      if not kept.all():
        row, box = np.argwhere(~kept)[0]
        where = f"{dataset.name}: box {box} of {_example(part, split, row)}"
        told = ", ".join(f"{number:g}" for number in y[row, box])
        raise UserError(f"{where} is [{told}] (class, top, left, bottom, right): {rule}")
    if not (kind >= 0).any():
      raise UserError(f"{dataset.name}: the {part} split has no boxes; at least one is needed")


def tell_unseen(dataset: Dataset) -> None:
  """Tells on stderr which classes of test masks or boxes never occur in training."""
  if dataset.task.name not in ("segmentation", "detection"):
    return
  unseen = np.flatnonzero(_classes_there(dataset, dataset.test) & ~_classes_there(dataset, dataset.train))
  if unseen.size:
    names = [dataset.task.names[i] for i in unseen]
    warn(dataset.name, f"of test, {_listed(names)} never {'occurs' if len(names) == 1 else 'occur'} in train")


def _classes_there(dataset: Dataset, split: Split) -> np.ndarray:
  """bool [K]: whether a class occurs in masks or boxes."""
  y, count = split.targets(), len(dataset.task.names)
  if dataset.task.name == "detection":
    return np.isin(np.arange(count), y[..., 0])
  counts = np.zeros(IGNORED + 1, np.int64)
  for start in range(0, len(y), _PIECE):
    counts += np.bincount(y[start : start + _PIECE].ravel(), minlength=len(counts))
  return counts[:count] > 0


def _labelled(dataset: Dataset) -> Iterator[tuple[str, Split, np.ndarray]]:
  """(name, split, y) of train, and of test where it holds examples."""
  for part, split in (("train", dataset.train), ("test", dataset.test)):
    if part == "train" or len(split):
      yield part, split, split.targets()


def _check_kind(
  dataset: Dataset, part: str, y: np.ndarray, dtype: type[np.generic], shape: tuple[int, ...], what: str
) -> None:
  kind = np.dtype(dtype)
  if tuple(y.shape[1:]) != shape:
    raise UserError(f"{dataset.name}: {part} targets have shape {list(y.shape)}; they must be {what}")
  if y.dtype != kind:
    raise UserError(f"{dataset.name}: {part} targets are {y.dtype}; they must be {kind}, y.astype(np.{kind}): {what}")


def _example(part: str, split: Split, row: int) -> str:
  return split.files[row] if split.files else f"{part} example {row}"


def _listed(names: tuple[str, ...] | list[str]) -> str:
  return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
