"""The rules that every dataset keeps, whatever file it came from: of all, of its modality, and of its task."""

from collections.abc import Callable, Mapping

import numpy as np

from sslx.data import target_rules
from sslx.data.duplicates import duplicates
from sslx.data.sound_rules import recordings, tell_silent
from sslx.data.text_rules import texts
from sslx.data.types import Dataset, LazyArray, Rows, Split
from sslx.data.warn import warn
from sslx.tasks import NO_TASK
from sslx.types import UserError

Splits = Mapping[str, Split]
_DARK = 64  # images of 4 or 5 bits, or in 0..16, are below; photographs by night are not


def checked(dataset: Dataset, image_size: int | None = None, tell: bool = True) -> Dataset:
  """Returns `dataset` if it is fit for training and evaluation, once its images are resized to `image_size` (if given).

  Raises:
    UserError: what is no Dataset of arrays, an empty split, counts of examples and targets that differ, or what is
      against the rules of its modality (`images`, `recordings`, `texts`) or task (`classes`, `target_rules`).

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
    if not len(split) and (part != "test" or dataset.task.name != NO_TASK):
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
    _tell_dark(dataset)
    tell_silent(dataset)
    _tell_duplicates(dataset)
    target_rules.tell_unseen(dataset)
  return dataset


def images(dataset: Dataset, splits: Splits, image_size: int | None) -> None:
  """Raises UserError for images that are not u8 [N,H,W,C] with C of 1 or 3, whose values are 0 and 1 where white is
  255, or whose shapes differ between splits."""
  name = dataset.name
  for part, split in splits.items():
    shape = split.x.shape
    if len(shape) == 3:
      raise UserError(f"{name}: {part} images have shape {list(shape)}; add the axis of the channels, x[..., None]")
    if len(shape) != 4 or 0 in shape[1:]:
      raise UserError(f"{name}: {part} images have shape {list(shape)}; they must be [N,H,W,C]")
    if shape[3] not in (1, 3):
      first = shape[1] in (1, 3)
      cure = f"; {list(shape)} looks like [N,C,H,W]: move the channels last, np.moveaxis(x, 1, -1)" if first else ""
      raise UserError(
        f"{name}: {part} images have {shape[3]} channels; the last axis must be 1 (grey) or 3 (RGB){cure}"
      )
    if not len(split):
      raise UserError(f"{name}: the {part} split is empty; it needs at least one image")
    _bytes(f"{name}: {part} images", split.x)
    same = shape[1:] == dataset.x_shape if image_size is None else shape[3] == dataset.x_shape[2]
    if not same:
      raise UserError(
        f"{name}: train images are {_size(dataset.x_shape)} but {part} images are {_size(shape[1:])}; "
        "make them one size, with --image_size, and one number of channels"
      )


def _bytes(what: str, x: Rows) -> None:
  """Raises UserError for pixels that are not u8, or are u8 and certainly on another scale than 0..255."""
  if x.dtype != np.uint8:
    values = f" in [{x.min():g}, {x.max():g}]" if isinstance(x, np.ndarray) and x.dtype.kind in "iuf" else ""
    if x.dtype.kind == "b":
      cure = "x * np.uint8(255)"
    elif x.dtype.kind == "f" and not (isinstance(x, np.ndarray) and x.max() > 1):
      cure = "np.rint(x * 255).astype(np.uint8) of values in [0, 1]"
    else:
      cure = "x.astype(np.uint8) of values in 0..255"
    raise UserError(f"{what} are {x.dtype}{values}; they must be uint8, where 255 is white: {cure}")
  if isinstance(x, np.ndarray) and x.max() == 1:  # a lazy array is too large to be read here
    raise UserError(f"{what} hold no value above 1, where 255 is white: all is nearly black; multiply them by 255")


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
    if y.min() < 0 or y.max() >= count:
      bad = y[(y < 0) | (y >= count)][0]
      raise UserError(f"{name}: {part} label {bad} is outside 0..{count - 1} ({count} classes)")
  unknown = np.setdiff1d(test, train)
  if unknown.size:
    raise UserError(f"{name}: test class {dataset.task.names[unknown[0]]!r} never occurs in the training split")


def _tell_dark(dataset: Dataset) -> None:
  for part, split in (("train", dataset.train), ("test", dataset.test), ("unlabeled", dataset.unlabeled)):
    if dataset.modality.name != "image" or split is None or not isinstance(split.x, np.ndarray):
      continue
    top = int(split.x.max())
    if top == 0:
      warn(dataset.name, f"every {part} image is black: all values are 0")
    elif top < _DARK:
      warn(
        dataset.name,
        f"no value of the {part} images is above {top}, where 255 is white: all is nearly black; multiply them by "
        f"{255 // top} if {top} is to be white",
      )


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
  "image": images, "sound": recordings, "text": texts,
}  # fmt: skip
THINGS = {"image": "image", "sound": "recording", "text": "text"}  # what an example of a modality is called
TASK_RULES: dict[str, Callable[[Dataset], None]] = {
  "classification": classes,
  "multilabel": target_rules.several_classes,
  "regression": target_rules.numbers,
  "segmentation": target_rules.pixels,
  "detection": target_rules.boxes,
}


def _size(shape: tuple[int, ...]) -> str:
  return "x".join(map(str, shape))
