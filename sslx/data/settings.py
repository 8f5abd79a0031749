"""What is checked of the settings that stand behind a data set's name, such as `scenes:size=96,objects=1-2`."""

from collections.abc import Mapping, Sequence
from typing import Any

from sslx import options
from sslx.types import UserError


def with_ranges(spec: str, values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
  """The values, those of `names` as (least, greatest): one number stands for both.

  Raises:
    UserError: of more numbers than two, or with the greater one first.
  """
  out = dict(values)
  for name in names:
    if name not in values:
      continue
    numbers = values[name]
    if len(numbers) not in (1, 2) or numbers[0] > numbers[-1]:
      raise UserError(f"--dataset={spec}: {name} must be one number, or two with the smaller first: {name}=6-9")
    out[name] = numbers[0], numbers[-1]
  return out


def check_ranges(spec: str, made: Any, limits: Mapping[str, tuple[float, float]]) -> None:
  """Raises UserError for a setting that is below or beyond its limits."""
  for name, (low, high) in limits.items():
    value = getattr(made, name)
    for number in value if isinstance(value, tuple) else (value,):
      why = options.beyond(number, low=low, high=high)
      if why:
        raise UserError(f"--dataset={spec}: {name} {why}")
