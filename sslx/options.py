"""Options written as `name=value` text, checked against the signature of the factory that takes them.

A method's hyper-parameters (`--hp=level=0.4`) and an encoder's settings (`--encoder=conv:widths=16-32-64`) are the
keyword-only parameters of a Python function: their names, types and defaults are written once, there.
"""

import dataclasses
import difflib
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np

from sslx.types import UserError

LARGEST = 1e6  # of the numbers that an option of a method, of its views or of an encoder may be
LONGEST = 100  # characters of a name that close ones are looked for: comparing longer ones takes long and finds none


def close(name: str, known: Iterable[str], n: int = 3, cutoff: float = 0.5) -> list[str]:
  """Up to `n` of the known names that look like `name`, the closest first."""
  return difflib.get_close_matches(name, sorted(known), n=n, cutoff=cutoff) if len(name) <= LONGEST else []


def nearest(name: str, known: Iterable[str]) -> str:
  """`; did you mean 'x'?` where something close is known, then the full list. For the end of an error line."""
  known = sorted(known)
  found = close(name, known)
  hint = f" Did you mean {' or '.join(map(repr, found))}?" if found else ""
  return f"{hint} Known: {', '.join(known)}."


def parameters(factory: Callable) -> dict[str, inspect.Parameter]:
  """The keyword-only parameters of `factory`: its options, in order."""
  return {n: p for n, p in inspect.signature(factory).parameters.items() if p.kind is p.KEYWORD_ONLY}


def describe(factory: Callable) -> str:
  """One line an option, `name=default  (type)`, for --help."""
  lines = [f"  {n}={_text(p.default)}  ({_type_name(p.annotation)})" for n, p in parameters(factory).items()]
  return "\n".join(lines) or "  (none)"


def parse(factory: Callable, assignments: Iterable[str], flag: str) -> dict[str, Any]:
  """Typed keyword arguments for `factory` from `name=value` texts.

  Args:
    factory: a function whose keyword-only parameters are annotated with int, float, bool, str, a Literal, or
      tuple[int, ...] (written 16-32-64).
    assignments: texts such as `level=0.5`.
    flag: what the user wrote them behind, for error messages: `--hp`, or `--encoder=conv:` with its own sign.

  Raises:
    UserError: an unknown name (with the nearest), a text without `=`, a value of the wrong type, a number that is not
      finite or beyond LARGEST, or a name given twice.
  """
  known, values = parameters(factory), {}
  flag = flag if flag.endswith(":") else f"{flag}="
  for text in assignments:
    name, sign, value = text.partition("=")
    if not sign:
      raise UserError(f"{flag}{text}: expected name=value, for instance {flag}{next(iter(known), 'name')}=...")
    if name not in known:
      raise UserError(f"{flag}{text}: {factory.__name__} has no option {name!r}.{nearest(name, known)}")
    if name in values:
      raise UserError(f"{flag}{text}: {name!r} is given twice.")
    values[name] = _convert(value, known[name].annotation, f"{flag}{text}")
  return values


def check(factory: Callable, values: Mapping[str, Any], flag: str) -> dict[str, Any]:
  """Typed keyword arguments for `factory` from Python values, a list for a tuple; see `parse` for what is refused."""
  return parse(factory, assignments(values), flag)


def assignments(values: Mapping[str, Any]) -> list[str]:
  """Options as `name=value` texts, which `parse` reads; a list is written as a tuple."""
  return [f"{name}={_text(tuple(value) if isinstance(value, list) else value)}" for name, value in values.items()]


def resolve(factory: Callable, values: Mapping[str, Any]) -> dict[str, Any]:
  """All options of `factory`: its defaults, overridden by `values`. What a run's configuration records."""
  return {
    n: values.get(n, p.default) for n, p in parameters(factory).items() if n in values or p.default is not p.empty
  }


def _convert(value: str, annotation: Any, where: str) -> Any:
  wanted = _type_name(annotation)
  if _is_union(annotation):
    kinds = alternatives(annotation)
    if value == "none" and len(kinds) < len(typing.get_args(annotation)):
      return None
    if value in _words(annotation):
      return value
    annotation = next((a for a in kinds if typing.get_origin(a) is not Literal), kinds[0])
  origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is Literal:
    if value not in arguments:
      raise UserError(f"{where}: unknown value.{nearest(value, arguments)}")
    return value
  try:
    if origin is tuple:
      return _bounded(tuple(int(v) for v in value.split("-")) if value else (), where)
    if annotation is bool:
      return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
    if annotation in (int, float, str):
      return _bounded(annotation(value), where)
  except (ValueError, KeyError):
    raise UserError(f"{where}: expected {wanted}, not {value!r}.") from None
  raise TypeError(f"option type {annotation} is not supported: {where}")


def _bounded(value: Any, where: str) -> Any:
  """The value. Raises UserError for a number that is not finite, or that no option can mean."""
  for number in value if isinstance(value, tuple) else (value,):
    if isinstance(number, int | float) and not -LARGEST <= number <= LARGEST:
      raise UserError(f"{where}: must be a number between {-LARGEST:.0f} and {LARGEST:.0f}.")
  return value


def _type_name(annotation: Any) -> str:
  origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is Literal:
    return " | ".join(arguments)
  if origin is tuple:
    return "integers joined by -, such as 32-64-128"
  if _is_union(annotation):
    return " or ".join("none" if a is types.NoneType else _type_name(a) for a in typing.get_args(annotation))
  return {int: "integer", float: "float", bool: "true or false", str: "text"}.get(annotation, str(annotation))


def _text(value: Any) -> str:
  if value is inspect.Parameter.empty:
    return "(taken from the data)"
  if isinstance(value, tuple):
    return "-".join(map(str, value))
  if value is None or isinstance(value, bool):
    return str(value).lower()
  return str(value)


# ---- settings: the fields of a dataclass -----------------------------------------------------------------------------


class Setting(typing.NamedTuple):
  """A field of a dataclass that is a flag, an argument in Python, and an entry of a saved configuration."""

  name: str
  flag: str | None
  """None: an experiment sets it, and no flag."""
  annotation: Any
  default: Any
  help: str
  texts: bool
  """Whether the flag may be given several times, as name=value texts."""
  above: float
  """Its numbers are above this one, which is 0 where there is a limit of this kind ..."""
  low: float
  """... and at least this one ..."""
  high: float
  """... and at most this one."""


def setting(
  default: Any,
  help: str,
  flag: str | None = "",
  texts: bool = False,
  *,
  above: float = -math.inf,
  low: float = -math.inf,
  high: float = LARGEST,
) -> Any:
  """A dataclass field with its help; flag: of another name than the field's, or None for no flag; above, low, high: the
  range of its numbers, which `check_numbers` checks.
  """
  more = {"help": help, "flag": flag, "texts": texts, "above": above, "low": low, "high": high}
  if isinstance(default, dict):
    return dataclasses.field(default_factory=lambda: dict(default), metadata=more)
  return dataclasses.field(default=default, metadata=more)


def settings(kind: type) -> list[Setting]:
  """The settings of a dataclass, in order; fields that are none are left out."""
  hints, all_settings = typing.get_type_hints(kind), []
  for field in dataclasses.fields(kind):
    if "help" in field.metadata:
      default = field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore
      more = dict(field.metadata)
      flag = field.name if more.pop("flag") == "" else field.metadata["flag"]
      all_settings.append(Setting(field.name, flag, hints[field.name], default, **more))
  return all_settings


def check_choices(values: Any) -> None:
  """Raises UserError for a setting of a dataclass that is none of its Literal's values."""
  for each in settings(type(values)):
    known = _words(each.annotation)
    value = getattr(values, each.name)
    if known and value is not None and value not in known:
      raise UserError(f"--{each.flag or each.name}={value}: unknown.{nearest(str(value), known)}")


def check_numbers(values: Any) -> None:
  """Raises UserError for a setting of a dataclass that is no number where it has to be one, or out of its range.
  Numbers of numpy become Python's, which JSON has.
  """
  for each in settings(type(values)):
    kind: Any = alternatives(each.annotation)[0]
    value: Any = getattr(values, each.name)
    several = typing.get_origin(kind) is tuple
    kind = typing.get_args(kind)[0] if several else kind
    if kind not in (int, float) or (value is None and _is_union(each.annotation)):
      continue
    given: tuple[Any, ...] = tuple(value) if several and isinstance(value, Iterable) else (value,)
    where = f"--{each.flag or each.name}={','.join(map(_number_text, given))}"
    if several and not isinstance(value, Iterable):
      raise UserError(f"{where}: expected several numbers.")
    wanted, real = ("an integer", numbers.Integral) if kind is int else ("a number", numbers.Real)
    if not all(isinstance(number, real) and not isinstance(number, bool) for number in given):
      raise UserError(f"{where}: expected {wanted}.")
    for number in given:
      why = beyond(number, each.above, each.low, each.high)
      if why:
        raise UserError(f"{where}: {'expected positive numbers.' if several and 'positive' in why else why}")
    if isinstance(value, np.generic):
      object.__setattr__(values, each.name, value.item())


def beyond(number: float, above: float = -math.inf, low: float = -math.inf, high: float = math.inf) -> str:
  """`must be positive.` and so on, for a number that is not in a range; empty for one that is. nan is in none.

  above: 0, where there is a limit of this kind.
  """
  if above == 0 and not number > 0:
    return "must be positive."
  if not number >= low:
    return "must be a number." if low == -math.inf else f"must be at least {low:g}."
  return "" if number <= high else f"must be at most {high:.15g}."


def _number_text(value: Any) -> str:
  """`0.5`, `1e+300`; Python refuses to write out integers of thousands of digits."""
  if isinstance(value, int) and abs(value) >= 1 << 63:
    return f"(an integer of {value.bit_length()} bits)"
  return f"{value:g}" if isinstance(value, float) else str(value)


def alternatives(annotation: Any) -> list[Any]:
  """The types that a union allows, without None; of any other type, itself."""
  if not _is_union(annotation):
    return [annotation]
  return [kind for kind in typing.get_args(annotation) if kind is not types.NoneType]


def _words(annotation: Any) -> list[Any]:
  """The values of the Literals among its alternatives."""
  literals = [kind for kind in alternatives(annotation) if typing.get_origin(kind) is Literal]
  return [word for kind in literals for word in typing.get_args(kind)]


def _is_union(annotation: Any) -> bool:
  return typing.get_origin(annotation) in (types.UnionType, typing.Union)
