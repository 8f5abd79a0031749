"""What a command prints: results on stdout; progress, warnings and errors on stderr."""

import os
import sys

from experiments.shared.start import is_program
from sslx.types import visible


def say(line: str) -> None:
  """Progress of long work, on stderr: one line that replaces itself on a terminal, else one line each."""
  line, end = visible(line), "\n"
  if sys.stderr.isatty():
    room, end = _columns() - 1, "\033[K\r"
    line = line if len(line) <= room else f"{line[: room - 1]}…"  # what went on in a second line would stay there
  print(line, end=end, file=sys.stderr, flush=True)


def announce(line: str) -> None:
  """`say` of what comes next and takes seconds, in a program: a notebook's cell says what it does."""
  if is_program():
    say(f"{line} ...")


def notify(line: object) -> None:
  """A line on stderr that stays there."""
  clear_line()
  print(visible(line), file=sys.stderr, flush=True)


def tell(line: object) -> None:
  """A line of results, on stdout."""
  clear_line()
  print(visible(line), flush=True)


def clear_line() -> None:
  """Takes what `say` left off the terminal: what is printed next may be shorter."""
  if sys.stderr.isatty():
    print(end="\033[K", file=sys.stderr, flush=True)


def _columns() -> int:
  """Of the terminal that stderr is."""
  try:
    return os.get_terminal_size(sys.stderr.fileno()).columns or 80
  except OSError:
    return 80
