"""What hyper-parameters may be: a UserError with the flag and the cure, in one line."""

from sslx.types import UserError


def at_least_one(**values: int) -> None:
  """Raises UserError for a size below 1."""
  for name, value in values.items():
    if value < 1:
      raise UserError(f"--hp={name}={value}: must be at least 1.")


def widths(**widths: tuple[int, ...]) -> None:
  """Raises UserError for a head without layers or with an empty one."""
  for name, value in widths.items():
    if not value or min(value) < 1:
      raise UserError(f"--hp={name}={'-'.join(map(str, value))}: needs widths of at least 1, such as 256-128.")


def positive(**values: float) -> None:
  """Raises UserError for a value that is not a positive number."""
  for name, value in values.items():
    if not 0 < value < float("inf"):
      raise UserError(f"--hp={name}={value:g}: must be positive.")


def averages(ramp: int = 0, **momenta: float) -> None:
  """Raises UserError for a moving average's momentum outside [0, 1], or a negative
  number of steps over which it rises."""
  for name, value in momenta.items():
    if not 0 <= value <= 1:
      raise UserError(f"--hp={name}={value:g}: must be in [0, 1].")
  if ramp < 0:
    raise UserError(f"--hp=ramp={ramp}: a number of steps, 0 for a constant momentum.")


def share(**values: float) -> None:
  """Raises UserError for a fraction of the batch that is none."""
  for name, value in values.items():
    if not 0 < value <= 1:
      raise UserError(f"--hp={name}={value:g}: must be in (0, 1], the fraction of the batch that every unit keeps.")
