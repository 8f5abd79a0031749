"""Data sets of IDX files: `mnist`, which comes with sslx, `fashion_mnist` and `idx:DIR`."""

import dataclasses
from pathlib import Path

import numpy as np

from sslx.data.idx import find_idx, has_idx, read_idx, read_idx_folder
from sslx.data.labels import places
from sslx.data.types import Dataset, Request, Split, image_classes
from sslx.types import UserError

_MNIST = Path(__file__).parent / "mnist"
_DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def load_mnist(request: Request) -> Dataset:
  """The digits that come with sslx."""
  from sslx.data import builders

  dataset = builders.load_idx_builder("mnist", request, lambda: _MNIST)
  assert dataset is not None
  return dataset


def load_fashion_mnist(request: Request) -> Dataset:
  """Of IDX files in data_dir or of Debian's package, else of the TFDS catalogue.

  Raises:
    UserError: MNIST's files in their place, or none that can be had.
  """
  from sslx.data import builders, catalogue

  def find():
    root = Path(request.data_dir)
    places = (root / "fashion_mnist", root / "fashion-mnist", root, _DEBIAN_FASHION_MNIST)
    folder = next((place for place in places if has_idx(place)), None)
    if folder is not None and _is_mnist(folder):
      raise UserError(f"{folder}: these IDX files are MNIST's, not Fashion-MNIST's; put the others there (--data_dir)")
    return folder

  dataset = builders.load_idx_builder("fashion_mnist", request, find)
  if dataset is not None:
    return dataset
  try:
    return catalogue.load_catalogue(dataclasses.replace(request, argument="fashion_mnist"))
  except UserError as error:
    raise UserError(
      f"{error}; or put its four IDX .gz files in {request.data_dir} (--data_dir), "
      "or install Debian's package dataset-fashion-mnist"
    ) from error


def _is_mnist(folder: Path) -> bool:
  """Both sets use the same file names, and one trained on as the other would go unnoticed."""
  ours, theirs = find_idx(_MNIST, "t10k", "labels"), find_idx(folder, "t10k", "labels")
  return ours is not None and theirs is not None and np.array_equal(read_idx(*ours), read_idx(*theirs))


def load_idx(request: Request) -> Dataset:
  """The four IDX files of a folder. Raises UserError for one that is missing or wrong."""
  folder = Path(request.argument).expanduser()
  if not folder.is_dir():
    raise UserError(f"{folder}: no such folder")
  splits = read_idx_folder(folder, request.in_memory_limit)
  class_names, *labels = places(str(folder), splits["train"].targets(), splits["test"].targets())
  train, test = (Split(splits[part].x, y) for part, y in zip(("train", "test"), labels, strict=True))
  return image_classes(request.spec, class_names, train, test)
