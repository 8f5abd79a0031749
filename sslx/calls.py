"""How the functions of `sslx` are called: what is wrong with a call, and every other error of bad input, is told in one
line of Python's words, by a traceback that ends where the function was called.
"""

import functools
import inspect
import numbers
import re
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np

from sslx import options
from sslx.evaluation.recipe import Recipe
from sslx.pretext import METHODS
from sslx.training.config import Config
from sslx.types import UserError, cut

P = ParamSpec("P")
R = TypeVar("R")

ARGUMENTS = {  # what they are, by name
  "name": "the name of a data set, such as 'mnist' or 'folder:DIR'",
  "method": "the name of a method, such as 'denoise'",
  "labels": "a number of labels, such as 600, or a fraction, such as 0.01",
  "directory": "the path of a folder",
  "data_dir": "the path of a folder",
  "labels_file": "the path of a file",
  "targets": "a name of a column or number, or several",
  "source": "a Run, the directory of one, or a file of word vectors",
}
TYPES = {  # what others are, by type
  "Dataset": "a Dataset, such as that of sslx.load_data",
  "Split": "a split of the data, such as data.test",
  "Run": "a Run, as sslx.pretrain and sslx.load give it",
  "Fitted": "a Fitted, as sslx.fit gives it",
  "Recipe": "a Recipe of sslx.evaluation.recipe",
  "PathLike": "the path of a folder",
  "int": "an integer", "float": "a number", "str": "a text", "bool": "True or False",
}  # fmt: skip
ARRAYS = (
  "; of arrays make one by sslx.data.types.image_classes(name, class_names, Split(x, y), Split(test_x, test_y)), or "
  'save them with numpy.savez and read "npz:FILE" with sslx.load_data'
)
SAME = (
  "method", "hp", "max_parameters", "labels", "subset", "data_dir", "image_size", "in_memory_limit", "background",
  "bits", "task", "sample_rate", "seconds", "min_count", "max_words", "max_length", "labels_file", "format",
  "workers",
)  # fmt: skip
FLAGS = {  # that are arguments here: {flag: argument}
  **dict(zip(SAME, SAME, strict=True)),
  **{"modes": "mode", "checkpoint": "directory", "out": "directory", "target": "targets"},
  **{setting.flag: setting.name for setting in options.settings(Config) if setting.flag},
}


def public(function: Callable[P, R]) -> Callable[P, R]:
  """The function as `sslx` has it.

  Called in a wrong way, or with what it refuses, it raises UserError, whose traceback ends here; that of the function
  itself is the error's `__context__`.
  """

  @functools.wraps(function)
  def call(*args: P.args, **kwargs: P.kwargs) -> R:
    try:
      check_call(function, args, kwargs)
      return function(*args, **kwargs)
    except UserError as error:
      raise type(error)(in_python(str(error), function.__name__)) from None

  return call


def check_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
  """Raises UserError for arguments that the function does not have, that are missing, in each other's place, or of a
  type that it does not take.
  """
  signature, called = inspect.signature(function), f"sslx.{function.__name__}"
  known = signature.parameters
  if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
    for name in kwargs:
      if name not in known:
        raise no_argument(name, function.__name__, dict.fromkeys(known, f"an argument of {called}"))
  try:
    bound = signature.bind(*args, **kwargs).arguments
  except TypeError as error:
    raise UserError(f"{called}: {error}; write {_written(function)}.") from None
  kinds = {name: known[name].annotation for name in bound if known[name].kind is not inspect.Parameter.VAR_KEYWORD}
  wrong = [name for name, kind in kinds.items() if not _fits(bound[name], kind)]
  for name in wrong:
    for other in kinds:
      if other != name and _fits(bound[other], kinds[name]) and _fits(bound[name], kinds[other]):
        raise UserError(f"{called}: {name} and {other} are in each other's place; write {_written(function)}.")
  for name in wrong:
    raise UserError(_wrong(name, bound[name], kinds[name]))


def no_argument(name: str, function: str, known: Mapping[str, str]) -> UserError:
  """That a function has no argument of this name: where it belongs, or which one of the `known` is near.

  known: {name: what it is}.
  """
  places = _places(name, function)
  if places:
    return UserError(f"{name}: no such argument; it is {' and '.join(places)}.")
  near = options.close(name, known, n=1)
  if near:
    return UserError(f"{name}: no such argument; did you mean {near[0]!r} ({known[near[0]]})?")
  return UserError(f"{name}: no such argument. Known: {', '.join(known)}.")


def in_python(text: str, function: str) -> str:
  """A text that names flags with the names that they have here: `--hp=level=2: ...` becomes `level=2: ...`."""
  flags = FLAGS | {"dataset": "name" if function == "load_data" else "data"}
  text = re.sub(r"""(?<![^\s('"`])--hp=(?=\w)""", "", text)
  return re.sub(r"""(?<![^\s('"`])--([a-z_]+)""", lambda match: flags.get(match[1], match[0]), text)


def _functions() -> dict[str, Callable[..., Any]]:
  import sslx  # above this module, and ready whenever one of its functions is called

  return {name: getattr(sslx, name) for name in sslx.__all__}


def _places(name: str, function: str) -> list[str]:
  """What an argument of this name is elsewhere: of another function, of the recipe, of a method."""
  if name == "hp":
    return ["written out: each hyper-parameter by its name, such as level=0.3"]
  others = [other for other, each in _functions().items() if name in inspect.signature(each).parameters]
  methods = [method for method, each in METHODS.items() if name in options.parameters(each.factory)]
  recipe = function in ("fit", "classify") and any(setting.name == name for setting in options.settings(Recipe))
  return [
    *([f"written recipe=Recipe({name}=...), with the Recipe of sslx.evaluation.recipe"] if recipe else []),
    *([f"an argument of {', '.join(f'sslx.{other}' for other in others)}"] if others and not recipe else []),
    *([f"an option of {', '.join(methods)}"] if methods else []),
  ]


def _written(function: Callable[..., Any]) -> str:
  """How it is called: `sslx.pretrain(method, data, ...)`."""
  parameters = list(inspect.signature(function).parameters.values())
  first = [
    p.name if p.default is p.empty else f"{p.name}={p.default!r}"
    for p in parameters
    if p.kind is p.POSITIONAL_OR_KEYWORD
  ]
  return f"sslx.{function.__name__}({', '.join([*first, *(['...'] if len(first) < len(parameters) else [])])})"


def _fits(value: Any, annotation: Any) -> bool:
  """Whether a value is of the type that an argument is annotated with."""
  kinds = get_args(annotation) if get_origin(annotation) in (UnionType, Union) else (annotation,)
  return any(_is(value, kind) for kind in kinds)


def _is(value: Any, kind: Any) -> bool:
  if kind is Any:
    return True
  if get_origin(kind) is Literal:  # which one it may be, the function says
    return isinstance(value, str)
  if kind in (int, float):
    return isinstance(value, numbers.Integral if kind is int else numbers.Real) and not isinstance(value, bool)
  if kind is bool:
    return isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1))
  return isinstance(value, get_origin(kind) or kind)


def _wrong(name: str, value: Any, annotation: Any) -> str:
  """What an argument is to be, and is not."""
  words = []
  for kind in options.alternatives(annotation):
    words += get_args(kind) if get_origin(kind) is Literal else [TYPES.get(kind.__name__, kind.__name__)]
  wanted = ARGUMENTS.get(name) or " or ".join(map(str, words))
  if value is None or isinstance(value, str | int | float):
    return f"{name}={cut(repr(value), 60)}: expected {wanted}."
  arrays = hasattr(value, "dtype") or isinstance(value, tuple | list | dict)
  cure = ARRAYS if arrays and wanted == TYPES["Dataset"] else ""
  return f"{name}: expected {wanted}, not a value of type {type(value).__name__}{cure}."
