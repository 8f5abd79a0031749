"""The rules that every data set of text keeps: `sslx.data.check` has the others."""

from collections.abc import Mapping

import numpy as np

from sslx.data.types import Dataset, Split
from sslx.ops.text import PAD
from sslx.types import UserError

_ROWS = 4096  # that are looked at together


def texts(dataset: Dataset, splits: Mapping[str, Split], image_size: int | None) -> None:
  """Raises UserError for texts that are not i32 [N,T] of one T, or have no vocabulary, an id beyond it, or no word."""
  name, vocabulary = dataset.name, dataset.vocabulary
  if vocabulary is None:
    raise UserError(
      f"{name}: text without a vocabulary; say what its ids mean, Dataset(..., vocabulary=Vocabulary(...))"
    )
  if len(vocabulary) < 2:
    raise UserError(f"{name}: its vocabulary holds {len(vocabulary)} words; at least two are needed")
  for part, split in splits.items():
    shape = split.x.shape
    if len(shape) != 2 or 0 in shape[1:]:
      raise UserError(f"{name}: {part} texts have shape {list(shape)}; they must be [N,T], ids of words")
    if split.x.dtype != np.int32:
      raise UserError(
        f"{name}: {part} texts are {split.x.dtype}; they must be int32: x.astype(np.int32) of ids of words"
      )
    if shape[1:] != dataset.x_shape:
      raise UserError(
        f"{name}: train texts are of {dataset.x_shape[0]} words but {part} texts are of {shape[1]}; make them one "
        f"length, with {PAD} behind the ends of shorter ones"
      )
    for start, rows in split.pieces(_ROWS):
      wrong = (rows < 0) | (rows >= vocabulary.size)
      if wrong.any():
        row = start + int(np.argmax(wrong.any(1)))
        raise UserError(
          f"{name}: {_named(part, split, row)} holds the id {rows[wrong][0]}, outside 0..{vocabulary.size - 1} of its "
          "vocabulary"
        )
      empty = (rows == PAD).all(1)
      if empty.any():
        row = start + int(np.argmax(empty))
        raise UserError(f"{name}: {_named(part, split, row)} is of padding alone ({PAD}); leave it out")


def _named(part: str, split: Split, row: int) -> str:
  return str(split.files[row]) if split.files is not None else f"{part} text {row}"
