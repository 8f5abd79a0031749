"""Docstrings of installed packages, as paragraphs of words: modules are parsed, and never imported."""

import ast
import contextlib
import gc
import importlib.metadata
import os
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sslx.data.words import words_of
from sslx.types import UserError

READER = 1
"""Version of all that turns modules into paragraphs: one more where the same modules give others."""
PYTHON = "python"
"""What the standard library is called."""
_NO_LIBRARY = {"site-packages", "dist-packages", "__pycache__"}  # folders in that of the standard library
_TEST = re.compile(r"(^|/)(tests?|testing|conftest|test_[^/]*|[^/]*_tests?|idle_test)(\.py)?(?=/|$)")
_BLANK = re.compile(r"\n\s*\n")
_EXAMPLE = re.compile(r"^\s*>>>", re.MULTILINE)
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")  # where a statement holds others


class Package(NamedTuple):
  """A package and its modules."""

  name: str
  version: str
  modules: Sequence[tuple[str, str]]
  """(path below the folder that packages lie in, with slashes; path of the file), sorted; tests are left out."""


# ---- which packages --------------------------------------------------------------------------------------------------


def packages_beside(root: str = "sslx") -> list[Package]:
  """The standard library, and all that the package `root` requires, directly or by others: not itself, nor its extras,
  nor what else is installed. By name.

  Raises:
    UserError: `root` is not installed.
  """
  from packaging.requirements import Requirement

  found: dict[str, importlib.metadata.Distribution | None] = {}
  waiting = [root]
  while waiting:
    name = _normalised(waiting.pop())
    if name in found:
      continue
    found[name] = beside = _installed(name)
    for text in (beside.requires if beside else None) or []:
      requirement = Requirement(text)
      if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        waiting.append(requirement.name)
  if found.pop(_normalised(root)) is None:
    raise UserError(f"python_docs: {root} is not installed, so that nothing tells its packages; pip install .")
  return sorted([standard_library(), *(_package(name, beside) for name, beside in found.items() if beside)])


def _installed(name: str) -> importlib.metadata.Distribution | None:
  try:
    return importlib.metadata.distribution(name)
  except importlib.metadata.PackageNotFoundError:
    return None


def standard_library() -> Package:
  """The modules that come with Python."""
  folder = sysconfig.get_path("stdlib")
  return Package(PYTHON, platform.python_version(), without_tests(_walked(folder, folder)))


def without_tests(modules: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
  """Modules, sorted, but for tests: those called test, tests, testing, conftest, test_* or *_test, and all in folders
  that are called so."""
  return sorted(each for each in modules if not _TEST.search(each[0]))


def _normalised(name: str) -> str:
  return re.sub(r"[-_.]+", "-", name).lower()


def _package(name: str, found: importlib.metadata.Distribution) -> Package:
  files = found.files
  if files is not None:
    inside = [file for file in files if file.suffix == ".py" and ".." not in file.parts]
    modules = [(file.as_posix(), str(found.locate_file(file))) for file in inside]
  else:  # as packages of a Linux distribution may come
    tops = (found.read_text("top_level.txt") or name.replace("-", "_")).split()
    folder = str(found.locate_file(""))
    modules = [each for top in tops for each in _walked(os.path.join(folder, top), folder)]
  return Package(name, found.version, without_tests(modules))


def _walked(top: str, folder: str) -> Iterator[tuple[str, str]]:
  for where, folders, files in os.walk(top):
    folders[:] = [name for name in folders if name not in _NO_LIBRARY]
    for name in files:
      if name.endswith(".py"):
        path = os.path.join(where, name)
        yield Path(path).relative_to(folder).as_posix(), path


# ---- what is read of them --------------------------------------------------------------------------------------------


def paragraphs_of(path: str) -> Iterator[list[str]]:
  """The words of each paragraph of each docstring of a module, in their order; none of a file that is no module.

  Paragraphs are separated by blank lines. Examples of code (>>>) are left out, with what they print.
  """
  for text in _docstrings(path):
    for paragraph in _BLANK.split(text):
      example = _EXAMPLE.search(paragraph)
      words = words_of(paragraph[: example.start()] if example else paragraph)
      if words:
        yield words


def _docstrings(path: str) -> Iterator[str]:
  try:
    content = Path(path).read_bytes()
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # of what is unusual in modules of others
      tree = ast.parse(content)
  except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # templates, and files for other versions
    return
  waiting: list[ast.AST] = [tree]
  while waiting:
    node = waiting.pop()
    if isinstance(node, _DOCUMENTED):
      text = ast.get_docstring(node)
      if text:
        yield text
    inner = [statement for body in _BODIES for statement in getattr(node, body, ())]
    waiting += reversed([each for each in inner if hasattr(each, "body")])


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
  """No search for cycles, which syntax trees do not have: it would take a third of the time of parsing them."""
  enabled = gc.isenabled()
  gc.disable()
  try:
    yield
  finally:
    if enabled:
      gc.enable()
