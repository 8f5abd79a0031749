"""Further classes of the same examples: who speaks, beside what is said."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sslx.types import UserError

if TYPE_CHECKING:
  from sslx.data import Dataset, Split


def with_classes(dataset: "Dataset", names: Sequence[str], load: "Callable[..., Dataset]") -> "Dataset":
  """The data set, of sound, with targets `names` among its `others`, by these names; load: gives it with other
  `targets`.

  Raises:
    UserError: it is not of sound, has no such targets, or they are no classes.
  """
  if names and dataset.modality.name != "sound":
    raise UserError(f"--dataset={dataset.name}: is {dataset.modality.name} data; give sound, such as spoken_digits.")
  for name in names:
    what = f"--by={name}: {dataset.name} cannot be sorted by it"
    try:
      other = load(targets=(name,))
    except UserError as error:
      raise UserError(f"{what} ({str(error).removeprefix('--')}).") from error
    if other.task.name != "classification":
      raise UserError(f"{what}: its targets are of {other.task.name}; name some that are classes.")
    others = {**dataset.others, name: other.task}
    parts = {"train": _having(dataset.train, name, other.train), "test": _having(dataset.test, name, other.test)}
    dataset = dataclasses.replace(dataset, others=others, **parts)
  return dataset


def without_classes(dataset: "Dataset") -> "Dataset":
  """The data set without its `others`: what is pretrained on it does not depend on them."""
  parts = {name: dataclasses.replace(getattr(dataset, name), others={}) for name in ("train", "test")}
  return dataclasses.replace(dataset, others={}, **parts)


def _having(split: "Split", name: str, other: "Split") -> "Split":
  return dataclasses.replace(split, others={**split.others, name: other.targets()})
