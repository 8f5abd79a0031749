"""Text of some width: docstrings, lists and commands on a terminal."""

import re
import textwrap

from experiments import called

CALL = re.compile(r"python -m experiments\.(\w+)")


def fill(line: str, width: int, hang: int) -> str:
  """One line as several of that width; `hang` spaces in front of all but the first."""
  return textwrap.fill(line, width, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False)


def command(line: str, width: int) -> list[str]:
  """A command as a shell reads it, over several lines where it is long."""
  lines = textwrap.wrap(line, width - 6, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
  return [*(f"    {part} \\" for part in lines[:-1]), f"    {lines[-1]}"]


def document(doc: str, width: int) -> str:
  """A docstring as wide as that: lists, their items and commands stay lines of their own; commands are the user's."""
  text = CALL.sub(lambda call: called(call[1]), doc)
  return "\n\n".join("\n".join(_paragraph(lines.split("\n"), width)) for lines in text.split("\n\n"))


def _paragraph(lines: list[str], width: int) -> list[str]:
  """A line goes on with the item before it where it is indented as that item's text is."""
  items: list[tuple[int, str]] = []  # (columns that an item's further lines are indented by, its text)
  named = all(re.match(r"\w+(, \w+)*: \S|  ", line) for line in lines)  # `name: what it is`
  for line in lines:
    indent = len(line) - len(line.lstrip())
    begins = line.startswith(f"    {called()}") or (named and not indent)
    if items and indent == items[-1][0] and not begins:
      items[-1] = (indent, f"{items[-1][1]} {line.strip()}")
    else:
      head = re.match(r" *\* | {4,}\S+( \S+)* {2,}", line)
      items.append((head.end() if head else 2 if named else indent, line))
  shown = []
  for hang, line in items:
    is_command = line.startswith(f"    {called()}")
    shown += command(line.strip(), width) if is_command else [fill(line, width, hang)]
  return shown
