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
}


def check_limits(given: Mapping[str, float | None], scheme: str, modalities: Sequence[str]) -> None:
  """Raises UserError for a value of a flag that is out of range, or is for another modality than those of `scheme`."""
  values = {flag: value for flag, value in given.items() if value is not None}
  for flag, value in values.items():
    _, low, high = LIMITS[flag]
    if not low <= value <= high:
      raise UserError(f"--{flag}={_number(value)}: must be between {_number(low)} and {_number(high)}")
  for flag, value in values.items():
    modality = LIMITS[flag].modality
    if modality not in modalities:
      of = "images" if modality == "image" else modality
      raise UserError(f"--{flag}={_number(value)}: is for {of}, and {scheme} is {' or '.join(modalities)}")


def _number(value: float) -> str:
  return str(value) if isinstance(value, int) else f"{value:g}"
