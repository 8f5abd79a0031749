"""Progress of one line: it replaces itself on a terminal, fits into it, and goes when something else is printed."""

import io
import os

import pytest

from experiments.shared import cli, command, machine, terminal


class Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True

  def fileno(self) -> int:
    return 2


def screen_of(monkeypatch) -> Terminal:
  """stdout and stderr, of 40 columns. No fixture: pytest sets them anew after the fixtures."""
  seen = Terminal()
  for name in ("stdout", "stderr"):
    monkeypatch.setattr(f"sys.{name}", seen)
  monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((40, 24)))
  return seen


def shown(text: str, columns: int = 40) -> list[str]:
  """The lines of a terminal of which every character, \\r, \\n and `erase to the end of the line` are understood."""
  lines, column = [""], 0
  for part in text.replace("\033[K", "\0"):
    if part == "\n":
      lines.append("")
      column = 0
    elif part == "\r":
      column = 0
    elif part == "\0":
      lines[-1] = lines[-1][:column]
    else:
      lines[-1] = lines[-1][:column] + part + lines[-1][column + 1 :]
      column += 1
      assert column < columns
  return lines


def test_a_line_replaces_the_one_before(monkeypatch):
  screen = screen_of(monkeypatch)
  terminal.say("12 of 30: scratch, 100 labels, subset 2: 2.0 s")
  terminal.say("13 of 30: full")
  assert shown(screen.getvalue()) == ["13 of 30: full"]


def test_a_long_line_is_cut_and_says_so(monkeypatch):
  screen = screen_of(monkeypatch)
  terminal.say("x" * 39)
  assert shown(screen.getvalue()) == ["x" * 39]
  terminal.say("x" * 40)
  assert shown(screen.getvalue()) == ["x" * 38 + "…"]


@pytest.mark.parametrize("printed", [cli.tell, terminal.notify, command.say_once, machine.complain])
def test_nothing_of_it_stands_behind_what_follows(printed, monkeypatch):
  screen = screen_of(monkeypatch)
  terminal.say("a long line of progress, longer than what follows"[:30])
  printed("short")
  assert [line.removeprefix("error: ") for line in shown(screen.getvalue())] == ["short", ""]


def test_where_there_is_no_terminal_lines_follow_each_other(capsys):
  for line in ("first " * 40, "second"):
    terminal.say(line)
  assert capsys.readouterr().err.splitlines() == ["first " * 40, "second"]


@pytest.mark.parametrize("program", [True, False])
def test_what_comes_next_is_announced_by_programs(program, capsys, monkeypatch):
  monkeypatch.setattr(terminal, "is_program", lambda: program)
  terminal.announce("loading the data set mnist")
  assert capsys.readouterr().err == ("loading the data set mnist ...\n" if program else "")
