"""The rules that every dataset keeps, whatever file it came from: of all, of its modality, and of its task."""

from collections.abc import Callable, Mapping

import numpy as np

from sslx.data import target_rules
from sslx.data.duplicates import duplicates
from sslx.data.image_rules import images, tell_dark
from sslx.data.lazy import LazyArray
from sslx.data.sound_rules import recordings, tell_silent
from sslx.data.text_rules import texts
from sslx.data.types import Dataset, Split
from sslx.data.video_rules import clips
from sslx.data.warn import warn
from sslx.tasks import NO_TASK
from sslx.types import UserError

Splits = Mapping[str, Split]


def checked(dataset: Dataset, image_size: int | None = None, tell: bool = True) -> Dataset:
  """Returns `dataset` if it is fit for training and evaluation, once its images are resized to `image_size` (if given).

  Raises:
    UserError: what is no Dataset of arrays, an empty split other than test, counts of examples and targets that differ,
      or what is against the rules of its modality (`images`, `recordings`, `texts`, `clips`) or task (`classes`,
      `target_rules`).

  Images that are nearly black, recordings that are silent, test examples that equal training examples, and classes of
  test masks or boxes that training never shows, are told on stderr, if `tell`.
  """
  if not isinstance(dataset, Dataset):
    raise UserError(f"data: expected a Dataset, as of sslx.load_data, not {type(dataset).__name__}")
  splits = {"train": dataset.train, "test": dataset.test}
  everything = splits if dataset.unlabeled is None else {**splits, "unlabeled": dataset.unlabeled}
  for part, split in everything.items():
    if not isinstance(split, Split):
      raise UserError(f"{dataset.name}: {part} is of type {type(split).__name__}; it must be a Split(x, y)")
    if not isinstance(split.x, np.ndarray | LazyArray) or not isinstance(split.y, np.ndarray | None):
      wrong = "x" if not isinstance(split.x, np.ndarray | LazyArray) else "y"
      kind = type(getattr(split, wrong)).__name__
      raise UserError(f"{dataset.name}: {part}.{wrong} is of type {kind}; give a NumPy array, np.asarray({wrong})")
  if dataset.modality.name in MODALITY_RULES:
    MODALITY_RULES[dataset.modality.name](dataset, everything, image_size)
  for part, split in everything.items():
    if not len(split) and part != "test":
      raise UserError(f"{dataset.name}: the {part} split is empty; it needs at least one example")
    if image_size is None and tuple(split.x.shape[1:]) != dataset.x_shape:
      raise UserError(
        f"{dataset.name}: train examples are {dataset.x_shape} but {part} examples are {tuple(split.x.shape[1:])}"
      )
    if isinstance(split.x, np.ndarray) and split.x.dtype.kind == "f" and not np.isfinite(split.x).all():
      raise UserError(f"{dataset.name}: {part} examples hold values that are not finite (NaN or infinity)")
  for part, split in splits.items() if dataset.task.name != NO_TASK else ():
    if split.y is None or len(split.y) != len(split):
      thing = THINGS.get(dataset.modality.name, "example")
      raise UserError(
        f"{dataset.name}: {len(split)} {part} {thing}s but {0 if split.y is None else len(split.y)} {part} labels; "
        f"there must be one label per {thing}"
      )
  if dataset.task.name in TASK_RULES:
    TASK_RULES[dataset.task.name](dataset)
  if tell:
    tell_dark(dataset)
    tell_silent(dataset)
    _tell_duplicates(dataset)
    target_rules.tell_unseen(dataset)
  return dataset


def classes(dataset: Dataset) -> None:
  """Raises UserError for targets that are not integers [N], fewer than two classes, labels out of range, or a test
  class that training never shows."""
  name, count = dataset.name, dataset.task.outputs
  train, test = dataset.train.targets(), dataset.test.targets()
  for part, y in (("train", train), ("test", test)):
    if y.ndim != 1 or y.dtype.kind not in "iu":
      raise UserError(
        f"{name}: {part} labels are {y.dtype} of shape {list(y.shape)}; they must be integers [N], the places of their "
        "classes in class_names"
      )
    if part == "train" and len(np.unique(y)) < 2:
      raise UserError(f"{name}: the training labels hold one class only; at least two are needed")
    if len(y) and (y.min() < 0 or y.max() >= count):
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


MODALITY_RULES: dict[str, Callable[[Dataset, Splits, int | None], None]] = {
  "image": images, "sound": recordings, "text": texts, "video": clips,
}  # fmt: skip
THINGS = {"image": "image", "sound": "recording", "text": "text", "video": "clip"}
"""What an example of a modality is called."""
TASK_RULES: dict[str, Callable[[Dataset], None]] = {
  "classification": classes,
  "multilabel": target_rules.several_classes,
  "regression": target_rules.numbers,
  "segmentation": target_rules.pixels,
  "detection": target_rules.boxes,
}
