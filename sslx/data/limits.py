"""Flags that are for data of one modality: which, and what they may be."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sslx.data.recordings import FRAME, LONGEST, RATES
from sslx.types import UserError


class Limit(NamedTuple):
  """Of one flag."""

  modality: str
  low: float
  """The least that it may be."""
  high: float
  """The most."""


LIMITS = {
  "image_size": Limit("image", 1, 4096),
  "sample_rate": Limit("sound", *RATES),
  "seconds": Limit("sound", FRAME, LONGEST),
  "min_count": Limit("text", 1, 1 << 30),
  "max_words": Limit("text", 2, 1 << 24),
  "max_length": Limit("text", 2, 1 << 16),
  "frames": Limit("video", 2, 1024),
  "stride": Limit("video", 1, 1024),
  "size": Limit("video", 8, 4096),
}

Given = float | tuple[int, ...]


def frame_size(size: int | str | tuple[int, ...] | None) -> tuple[int, ...] | None:
  """--size as (height, width), or as (shorter side,): of 96x160, or of 96.

  Raises:
    UserError: it is neither.
  """
  if size is None:
    return None
  texts = (
    size.split("x") if isinstance(size, str) else [str(side) for side in (size if isinstance(size, tuple) else (size,))]
  )
  if len(texts) not in (1, 2) or not all(text.isdecimal() and len(text) < 10 for text in texts):
    raise UserError(f"--size={size}: write HEIGHTxWIDTH, such as 96x160, or one number, the shorter side of frames")
  return tuple(map(int, texts))


def check_limits(given: Mapping[str, Given | None], scheme: str, modalities: Sequence[str]) -> None:
  """Raises UserError for a value of a flag that is out of range, or is for another modality than those of `scheme`."""
  values = {flag: value for flag, value in given.items() if value is not None}
  for flag, value in values.items():
    _, low, high = LIMITS[flag]
    if not all(low <= number <= high for number in (value if isinstance(value, tuple) else (value,))):
      raise UserError(f"--{flag}={_number(value)}: must be between {_number(low)} and {_number(high)}")
  for flag, value in values.items():
    modality = LIMITS[flag].modality
    if modality not in modalities:
      of = "images" if modality == "image" else modality
      raise UserError(f"--{flag}={_number(value)}: is for {of}, and {scheme} is {' or '.join(modalities)}")


def _number(value: Given) -> str:
  if isinstance(value, tuple):
    return "x".join(map(str, value))
  return str(value) if isinstance(value, int) else f"{value:g}"
