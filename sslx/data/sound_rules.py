"""The rules that every data set of sound keeps: `sslx.data.check` has the others."""

from collections.abc import Mapping

import numpy as np

from sslx.data.types import Dataset, Split
from sslx.data.warn import warn
from sslx.ops.sound import RAW_PAD
from sslx.types import UserError

_ROWS = 1024  # that are looked at together


def recordings(dataset: Dataset, splits: Mapping[str, Split], image_size: int | None) -> None:
  """Raises UserError for recordings that are not i16 [N,T], of several lengths, without a sample rate, of padding
  alone, or with the value that stands for padding before their end."""
  name = dataset.name
  if dataset.rate < 1:
    raise UserError(f"{name}: its rate is {dataset.rate}; say how many samples a second are, Dataset(..., rate=16000)")
  for part, split in splits.items():
    shape = split.x.shape
    if len(shape) != 2 or 0 in shape[1:]:
      raise UserError(f"{name}: {part} recordings have shape {list(shape)}; they must be [N,T], of one channel")
    if not len(split) and part != "test":
      raise UserError(f"{name}: the {part} split is empty; it needs at least one recording")
    if split.x.dtype != np.int16:
      cure = "np.rint(x * 32767).astype(np.int16) of values in [-1, 1]"
      raise UserError(f"{name}: {part} recordings are {split.x.dtype}; they must be int16: {cure}")
    if shape[1:] != dataset.x_shape:
      raise UserError(
        f"{name}: train recordings are of {dataset.x_shape[0]} samples but {part} recordings are of {shape[1]}; make "
        "them one length"
      )
    for start, rows in split.pieces(_ROWS):
      sound = rows != RAW_PAD
      if not sound[:, 0].all():
        row = start + int(np.argmin(sound[:, 0]))
        raise UserError(f"{name}: {_named(part, split, row)} is of padding alone ({RAW_PAD}); leave it out")
      holes = (sound[:, 1:] & ~sound[:, :-1]).any(1)
      if holes.any():
        row = start + int(np.argmax(holes))
        raise UserError(
          f"{name}: {_named(part, split, row)} holds {RAW_PAD} before its end, which stands for padding; "
          f"where it is a sample, write np.maximum(x, {RAW_PAD + 1})"
        )


def tell_silent(dataset: Dataset) -> None:
  """Tells on stderr which splits in memory hold recordings that are nothing but zeros."""
  for part, split in (("train", dataset.train), ("test", dataset.test), ("unlabeled", dataset.unlabeled)):
    if dataset.modality.name != "sound" or split is None:
      continue
    silent = [start + int(i) for start, rows in split.pieces(_ROWS) for i in np.flatnonzero(_silent(rows))]
    if silent:
      are = "is" if len(silent) == 1 else "are"
      first = _named(part, split, silent[0])
      warn(dataset.name, f"{len(silent):,} of {len(split):,} {part} recordings {are} silent, all values 0: {first}")


def _silent(rows: np.ndarray) -> np.ndarray:
  return ((rows == 0) | (rows == RAW_PAD)).all(1)


def _named(part: str, split: Split, row: int) -> str:
  return str(split.files[row]) if split.files is not None else f"{part} recording {row}"
