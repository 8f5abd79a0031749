"""Examples of the test split that the training split holds too: a score on them says nothing of new ones."""

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from sslx.data.types import Split
from sslx.types import UserError

_SAMPLED = 64  # values of an example that are compared first
_TAIL = 4096  # bytes of a file that are compared first


def duplicates(train: Split, test: Split) -> list[tuple[int, int]]:
  """(row of test, row of train) of the test examples that occur in the training split, each with its first twin.

  Of arrays, equal values; of splits that stay on disk, equal files. Where there is neither (a lazy split whose examples
  are no files), none are looked for.

  Raises:
    UserError: naming a file that cannot be read.
  """
  if isinstance(train.x, np.ndarray) and isinstance(test.x, np.ndarray):
    if (train.x.shape[1:], train.x.dtype) != (test.x.shape[1:], test.x.dtype):
      return []
    step = max(1, int(np.prod(train.x.shape[1:], dtype=np.int64)) // _SAMPLED)
    return _twins(train.x, test.x, (lambda x: np.ravel(x)[::step].tobytes(), lambda x: x.tobytes()))
  if train.files is not None and test.files is not None:
    return _twins(train.files, test.files, (os.path.getsize, _tail, _digest))
  return []


def _twins(
  train: Iterable[Any], test: Iterable[Any], keys: Sequence[Callable[[Any], Hashable]]
) -> list[tuple[int, int]]:
  """Compares by the first key, what it leaves by the next, and so on; the last one decides."""
  kept = [list(enumerate(train)), list(enumerate(test))]
  made: list[list[Hashable]] = []
  for key in keys:
    made = [[_read(key, item) for _, item in rows] for rows in kept]
    common = set(made[0]) & set(made[1])
    where = [[i for i, value in enumerate(values) if value in common] for values in made]
    kept = [[rows[i] for i in places] for rows, places in zip(kept, where, strict=True)]
    made = [[values[i] for i in places] for values, places in zip(made, where, strict=True)]
  first = {value: row for (row, _), value in reversed(list(zip(kept[0], made[0], strict=True)))}
  return [(row, first[value]) for (row, _), value in zip(kept[1], made[1], strict=True)]


def _read(key: Callable[[Any], Hashable], item: Any) -> Hashable:
  try:
    return key(item)
  except OSError as error:
    raise UserError(f"{item}: cannot be read ({error.strerror or error})") from error


def _tail(path: str) -> bytes:
  with open(path, "rb") as file:
    file.seek(max(0, os.path.getsize(path) - _TAIL))
    return file.read(_TAIL)


def _digest(path: str) -> bytes:
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").digest()
