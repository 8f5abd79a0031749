"""The rules that every dataset keeps, whatever file it came from: of all, of its modality, and of its task."""

from collections.abc import Callable, Mapping

import numpy as np

from sslx.data.duplicates import duplicates
from sslx.data.types import Dataset, Split
from sslx.data.warn import warn
from sslx.types import UserError

Splits = Mapping[str, Split]


def checked(dataset: Dataset, image_size: int | None = None) -> Dataset:
  """Returns `dataset` if it is fit for training and evaluation, once its images are resized to `image_size` (if given).

  Raises:
    UserError: an empty split, counts of examples and targets that differ, or what is against the rules of its modality
      (`images`) or task (`classes`).

  Test examples that equal training examples are told on stderr.
  """
  splits = {"train": dataset.train, "test": dataset.test}
  everything = splits if dataset.unlabeled is None else {**splits, "unlabeled": dataset.unlabeled}
  if dataset.modality.name in MODALITY_RULES:
    MODALITY_RULES[dataset.modality.name](dataset, everything, image_size)
  for part, split in everything.items():
    if not len(split):
      raise UserError(f"{dataset.name}: the {part} split is empty; it needs at least one example")
    if image_size is None and tuple(split.x.shape[1:]) != dataset.x_shape:
      raise UserError(
        f"{dataset.name}: train examples are {dataset.x_shape} but {part} examples are {tuple(split.x.shape[1:])}"
      )
    if isinstance(split.x, np.ndarray) and split.x.dtype.kind == "f" and not np.isfinite(split.x).all():
      raise UserError(f"{dataset.name}: {part} examples hold values that are not finite (NaN or infinity)")
  for part, split in splits.items():
    if split.y is None or len(split.y) != len(split):
      raise UserError(
        f"{dataset.name}: {len(split)} {part} images but {0 if split.y is None else len(split.y)} {part} labels; "
        "there must be one label per image"
      )
  if dataset.task.name in TASK_RULES:
    TASK_RULES[dataset.task.name](dataset)
  _tell_duplicates(dataset)
  return dataset


def images(dataset: Dataset, splits: Splits, image_size: int | None) -> None:
  """Raises UserError for images that are not [N,H,W,C] with C of 1 or 3, or whose shapes differ between splits."""
  name = dataset.name
  for part, split in splits.items():
    shape = split.x.shape
    if len(shape) != 4 or 0 in shape[1:]:
      raise UserError(f"{name}: {part} images have shape {list(shape)}; they must be [N,H,W] or [N,H,W,C]")
    if shape[3] not in (1, 3):
      raise UserError(f"{name}: {part} images have {shape[3]} channels; the last axis must be 1 (grey) or 3 (RGB)")
    if not len(split):
      raise UserError(f"{name}: the {part} split is empty; it needs at least one image")
    same = shape[1:] == dataset.x_shape if image_size is None else shape[3] == dataset.x_shape[2]
    if not same:
      raise UserError(
        f"{name}: train images are {_size(dataset.x_shape)} but {part} images are {_size(shape[1:])}; "
        "make them one size, with --image_size, and one number of channels"
      )


def classes(dataset: Dataset) -> None:
  """Raises UserError for fewer than two classes, labels out of range, or a test class that training never shows."""
  name, count = dataset.name, dataset.task.outputs
  train, test = dataset.train.targets(), dataset.test.targets()
  for part, y in (("train", train), ("test", test)):
    if part == "train" and len(np.unique(y)) < 2:
      raise UserError(f"{name}: the training labels hold one class only; at least two are needed")
    if y.min() < 0 or y.max() >= count:
      bad = y[(y < 0) | (y >= count)][0]
      raise UserError(f"{name}: {part} label {bad} is outside 0..{count - 1} ({count} classes)")
  unknown = np.setdiff1d(test, train)
  if unknown.size:
    raise UserError(f"{name}: test class {dataset.task.names[unknown[0]]!r} never occurs in the training split")


def _tell_duplicates(dataset: Dataset) -> None:
  twins = duplicates(dataset.train, dataset.test)
  if twins:
    test, train = dataset.test.files, dataset.train.files
    shown = [
      f"{test[row] if test else f'test example {row}'} = {train[twin] if train else f'training example {twin}'}"
      for row, twin in twins[:2]
    ]
    warn(
      dataset.name,
      f"{len(twins)} of {len(dataset.test)} test examples have the same values as training examples, and say nothing "
      "of new ones: " + ", ".join(shown),
    )


MODALITY_RULES: dict[str, Callable[[Dataset, Splits, int | None], None]] = {"image": images}
TASK_RULES: dict[str, Callable[[Dataset], None]] = {"classification": classes}


def _size(shape: tuple[int, ...]) -> str:
  return "x".join(map(str, shape))
