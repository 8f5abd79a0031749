"""Labels as they stand in files, which may be any whole numbers, to the places of classes that a task reads."""

from collections.abc import Sequence

import numpy as np

from sslx.data.warn import warn
from sslx.types import UserError


def places(
  source: str, train: np.ndarray, test: np.ndarray, names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
  """(class names, train i32 [N], test i32 [M]) of labels that are integers of any kind.

  Without names every value that occurs in training is a class and is called by its number. Values that are not 0..K-1
  are numbered anew, in their order, and a line on stderr says so: ids of twenty millions need no twenty million
  outputs, and labels 1..10 have no class 0.

  Args:
    source: the file or folder, for messages.
    train: [N].
    test: [M].
    names: of the classes, where the data has them: labels are places in them, or as many different values as names.

  Raises:
    UserError: negative labels, names that do not fit, or a test label that never occurs in training.
  """
  for part, y in (("train", train), ("test", test)):
    if y.size and y.min() < 0:
      raise UserError(
        f"{source}: {part}_labels holds {y.min()}..{y.max()}; labels are class indices 0, 1, 2 ..., and images that "
        "have no label (-1) belong to the unlabeled split"
      )
    if y.size and y.max() > np.iinfo(np.int64).max:
      raise UserError(f"{source}: {part}_labels holds {y.max()}, which is too large for a label")
  train, test = train.astype(np.int64), test.astype(np.int64)
  values = np.unique(train)
  known = values.size if names is None else len(names)
  if not train.size:  # the rules of every data set (`check`) tell of that, and of whatever else passes here
    return tuple(names or ("0",)), train.astype(np.int32), np.zeros(test.shape, np.int32)
  if np.array_equal(values, np.arange(known)) or (names is not None and _within(train, known) and _within(test, known)):
    if test.size and test.max() > np.iinfo(np.int32).max:
      raise UserError(f"{source}: test label {test.max()} is outside 0..{known - 1} ({known} classes)")
    return tuple(names or map(str, range(known))), train.astype(np.int32), test.astype(np.int32)
  if names is not None and values.size != known:
    part, y = ("test", test) if _within(train, known) else ("train", train)
    raise UserError(
      f"{source}: {part} label {y[y >= known][0]} is outside 0..{known - 1}, the places of its {known} class "
      f"names, and {values.size} different labels occur; give one name for each"
    )
  unknown = np.setdiff1d(test, values)
  if unknown.size:
    raise UserError(f"{source}: test class '{unknown[0]}' never occurs in the training split")
  called = "the classes are called by them" if names is None else "class_names are theirs in this order"
  warn(source, f"its {values.size} labels {_listed(values)} are numbered anew, 0..{values.size - 1}; {called}")
  return (
    tuple(map(str, values) if names is None else names),
    np.searchsorted(values, train).astype(np.int32),
    np.searchsorted(values, test).astype(np.int32),
  )


def _within(y: np.ndarray, count: int) -> bool:
  return not y.size or int(y.max()) < count


def _listed(values: np.ndarray) -> str:
  shown = [str(value) for value in values]
  return ", ".join(shown if len(shown) <= 5 else [*shown[:2], "...", shown[-1]])
