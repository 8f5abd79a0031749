"""The rules that every dataset keeps, whatever file it came from."""

import numpy as np

from sslx.data.types import Dataset
from sslx.types import UserError


def checked(dataset: Dataset, image_size: int | None = None) -> Dataset:
  """Returns `dataset` if it is fit for training and evaluation, once its images are resized to `image_size` (if given).

  Raises:
    UserError: an empty split, counts of images and labels that differ, fewer than two classes, labels out of range,
      a test class that training never shows, or image shapes that differ between splits.
  """
  name, count = dataset.name, dataset.num_classes
  splits = {"train": dataset.train, "test": dataset.test}
  if dataset.unlabeled is not None:
    splits["unlabeled"] = dataset.unlabeled
  for part, split in splits.items():
    shape = split.images.shape
    if len(shape) != 4 or 0 in shape[1:]:
      raise UserError(f"{name}: {part} images have shape {list(shape)}; they must be [N,H,W] or [N,H,W,C]")
    if shape[3] not in (1, 3):
      raise UserError(f"{name}: {part} images have {shape[3]} channels; the last axis must be 1 (grey) or 3 (RGB)")
    if not len(split):
      raise UserError(f"{name}: the {part} split is empty; it needs at least one image")
    same = shape[1:] == dataset.image_shape if image_size is None else shape[3] == dataset.image_shape[2]
    if not same:
      raise UserError(
        f"{name}: train images are {_size(dataset.image_shape)} but {part} images are {_size(shape[1:])}; "
        "make them one size, with --image_size, and one number of channels"
      )
  seen = {}
  for part in ("train", "test"):
    labels = seen[part] = splits[part].labels
    if labels is None or len(labels) != len(splits[part]):
      raise UserError(
        f"{name}: {len(splits[part])} {part} images but {0 if labels is None else len(labels)} {part} labels; "
        "there must be one label per image"
      )
    if part == "train" and len(np.unique(labels)) < 2:
      raise UserError(f"{name}: the training labels hold one class only; at least two are needed")
    if labels.min() < 0 or labels.max() >= count:
      bad = labels[(labels < 0) | (labels >= count)][0]
      raise UserError(f"{name}: {part} label {bad} is outside 0..{count - 1} ({count} classes)")
  unknown = np.setdiff1d(seen["test"], seen["train"])
  if unknown.size:
    raise UserError(f"{name}: test class {dataset.class_names[unknown[0]]!r} never occurs in the training split")
  return dataset


def _size(shape: tuple[int, ...]) -> str:
  return "x".join(map(str, shape))
