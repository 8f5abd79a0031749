"""What one command holds from its start to its end: locks, and what is made, or said, once for all that it does."""

import contextlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from experiments.shared.terminal import notify

T = TypeVar("T")


class Command(NamedTuple):
  """The command that is running."""

  held: contextlib.ExitStack
  memory: dict[Hashable, Any]


_RUNNING: ContextVar[Command | None] = ContextVar("command", default=None)


@contextlib.contextmanager
def running() -> Iterator[None]:
  """Within, a command is running. What it held is let go at the end, also after an error."""
  with contextlib.ExitStack() as held:
    token = _RUNNING.set(Command(held, {}))
    try:
      yield
    finally:
      _RUNNING.reset(token)


def once(name: Hashable, make: Callable[[], T]) -> T:
  """What `make` gives, made when this command first asks for it under this name. Outside of a command, each time."""
  command = _RUNNING.get()
  if command is None:
    return make()
  if name not in command.memory:
    command.memory[name] = make()
  return command.memory[name]


def hold(name: Hashable, manager: Callable[[], AbstractContextManager[T]]) -> None:
  """Enters what `manager` makes, once under this name, and leaves it when the command ends; at once outside of one."""
  command = _RUNNING.get()
  if command is None:
    with manager():
      return
  once(name, lambda: command.held.enter_context(manager()))


def entered(name: Hashable, manager: Callable[[], AbstractContextManager[T]]) -> T:
  """What `manager` gives when it is entered, once under this name; the running command leaves it at its end."""
  command = _RUNNING.get()
  assert command is not None
  return once(name, lambda: command.held.enter_context(manager()))


def say_once(line: str) -> None:
  """Prints a line on stderr, unless this command has said it."""
  once(("said", line), lambda: notify(line))
