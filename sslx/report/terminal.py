"""Tables and sentences as a terminal shows them: of any width, and nothing is folded letter by letter.

A table that is wider than the terminal has its headers folded at words first, then loses the columns that it can spare,
then letters from the middle of long names. What still does not fit stands in several tables, each with the names of the
rows, or, where no two columns stand side by side, row by row as `name: value`. Where there is no terminal, each table
is as wide as it is, one line a row, for programs that read it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sslx.report.tables import Table, numeric
from sslx.types import visible

if TYPE_CHECKING:
  from rich.console import Group
  from rich.table import Table as RichTable
  from rich.text import Text

NARROWEST = 20  # a terminal that says it is narrower is taken for this wide
ENDLESS = 100_000  # columns of what is no terminal
NAMES = (32, 16, 12)  # letters that are left of long names: what is tried one after the other
WORD = re.compile(r"(?:\[[^][]{,20}\]|\S)+")  # an interval is one, too
INDENT = 2  # of a paragraph's lines after the first
SPACE = 2  # between two columns; 1 where there is no room


class Column(NamedTuple):
  """A column of a table, with names of at most `limit` letters."""

  header: str
  cells: tuple[str, ...]
  is_number: bool
  natural: int
  """Width of its longest text."""
  least: int
  """Width at which its header, and where it is no number its cells, are folded at words and no word is cut."""


def show(parts: Iterable[Table | str], elsewhere: str = "", style: str = "") -> None:
  """Prints tables and paragraphs on stdout, as wide as the terminal is. elsewhere: the file that has all columns;
  style: of paragraphs.
  """
  from rich.console import Console

  console = Console()
  fits = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
  width = max(console.width, NARROWEST) if fits else None
  console = Console(width=width or ENDLESS)
  for part in parts:
    drawn = fitted_table(part, width, elsewhere) if isinstance(part, Table) else paragraph(part, width, style)
    console.print(drawn, soft_wrap=not isinstance(part, Table))


def paragraph(text: str, width: int | None, style: str = "", indent: int = INDENT) -> Text:
  """A text in lines of at most `width` columns, folded at words; longer words lose their middle. All lines but the
  first are indented. width: None for one line.
  """
  from rich.text import Text

  text = visible(text)
  return Text(text if width is None else _folded(text, width, indent), style)


def fitted_table(table: Table, width: int | None, elsewhere: str = "") -> Group:
  """A table with its title and its note, in `width` columns; None: as wide as it is. See the module."""
  from rich.console import Group

  title = [paragraph(table.title, width, "bold", 0)] if table.title else []
  note = [paragraph(table.note, width, "dim", 0)] if table.note else []
  if width is None:
    columns = _columns(table, None)
    return Group(*title, _drawn(columns, [column.natural for column in columns], SPACE), *note, "")
  left_out, body = _fitted(table, width)
  if left_out:
    where = f"; {elsewhere} has them" if elsewhere else ""
    note.append(paragraph(f"Columns left out: {', '.join(left_out)}{where}.", width, "dim", 0))
  return Group(*title, *body, *note, "")


def _fitted(table: Table, width: int) -> tuple[list[str], Sequence[RichTable | Text | str]]:
  """The headers of the columns that are left out, and what stands between title and note."""
  spare = [header for header in table.spare if header in table.cells.headers]
  tries = [(None, 0), *((NAMES[0], count) for count in range(len(spare))), *((limit, len(spare)) for limit in NAMES)]
  for limit, count in tries:
    drawn = _side_by_side([c for c in _columns(table, limit) if c.header not in spare[:count]], width)
    if drawn is not None:
      return spare[:count], [drawn]
  needed = [column for column in _columns(table, NAMES[1]) if column.header not in spare]
  names, values = needed[: table.names], needed[table.names :]
  parts = _parts(names, values, width)
  if len(parts) == len(values):  # a table of one column each is worse to read than a row after the other
    return spare, list(_stacked(table, width))
  tables = [drawn for part in parts if (drawn := _side_by_side([*names, *part], width)) is not None]
  return spare, [each for table in tables for each in ("", table)][1:]


def _parts(names: list[Column], values: list[Column], width: int) -> list[list[Column]]:
  """The columns `values` in groups, each as large as fits beside the names; one by one where they do not fit at all."""
  parts: list[list[Column]] = []
  for column in values:
    if parts and _widths([*names, *parts[-1], column], width) is not None:
      parts[-1].append(column)
    else:
      parts.append([column])
  return parts if all(_widths([*names, *part], width) is not None for part in parts) else [[c] for c in values]


def _columns(table: Table, limit: int | None) -> list[Column]:
  """The columns of a table. limit: letters of a name; None for all of them."""
  columns, cells = [], table.cells
  for place, (header, is_number) in enumerate(zip(cells.headers, numeric(cells), strict=True)):
    header, texts = visible(header), [visible(row[place]) for row in cells.rows]
    if limit is not None:
      texts = texts if is_number else _names(texts, limit)
      header = _shortened_words(header, max(limit, *map(_width, texts)) if is_number else limit)
    longest = max(map(_width, texts), default=0)
    word = max(map(_width, WORD.findall(header)), default=0)
    least = max(word, longest if is_number or limit is None else min(longest, limit), 1)
    columns.append(Column(header, tuple(texts), is_number, max(_width(header), longest, 1), least))
  return columns


def _names(texts: Sequence[str], limit: int) -> list[str]:
  """The texts with words of at most `limit` columns; those that are alike then get numbers that tell them apart."""
  short = {text: _shortened_words(text, limit) for text in texts}
  alike = {name: [text for text, other in short.items() if other == name] for name in short.values()}

  def named(text: str) -> str:
    others = alike[short[text]]
    number = f"({others.index(text) + 1})"
    return short[text] if len(others) == 1 else _shortened_words(text, limit - len(number)) + number

  return [named(text) for text in texts]


def _side_by_side(columns: list[Column], width: int) -> RichTable | None:
  """A table of the columns; None where they are too wide."""
  widths = _widths(columns, width)
  if widths is None:
    return None
  space = SPACE if sum(widths) + SPACE * (len(widths) - 1) <= width else 1
  return _drawn(columns, widths, space)


def _widths(columns: list[Column], width: int) -> list[int] | None:
  """A width for each column, with a space between two; None where they are too wide."""
  widths = [column.natural for column in columns]
  room = width - (len(columns) - 1)
  if sum(column.least for column in columns) > room:
    return None
  while sum(widths) > room:
    spread = [wide - column.least for wide, column in zip(widths, columns, strict=True)]
    widths[spread.index(max(spread))] -= 1
  return widths


def _drawn(columns: list[Column], widths: list[int], space: int) -> RichTable:
  from rich import box
  from rich.table import Table as RichTable
  from rich.text import Text

  drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, space - 1, 0, 0), pad_edge=False, show_edge=False)
  for column, width in zip(columns, widths, strict=True):
    header = Text(_folded(column.header, width))  # Text: a name like [red] is a name, not markup
    drawn.add_column(header, justify="right" if column.is_number else "left", width=width)
  for cells in zip(*(column.cells for column in columns), strict=True):
    drawn.add_row(*(Text(_folded(cell, width)) for cell, width in zip(cells, widths, strict=True)))
  return drawn


def _stacked(table: Table, width: int) -> Iterator[Text]:
  """Row by row, with its number in front: `1  labels: 100`."""
  from rich.text import Text

  rows = table.cells.rows
  margin = len(str(len(rows))) + 2
  columns = [column for column in _columns(table, width - margin - INDENT) if column.header not in table.spare]
  for number in range(len(rows)):
    lines = [f"{column.header}: {column.cells[number]}" for column in columns if column.cells[number]]
    folded = [line for text in lines for line in _folded(text, width - margin, INDENT).split("\n")]
    yield Text("\n".join(f"{'' if place else number + 1:<{margin}}{line}" for place, line in enumerate(folded)))


def _folded(text: str, width: int, indent: int = 0) -> str:
  """A text in lines of at most `width` columns; all but the first begin with `indent` spaces."""
  lines, line = [], ""
  for word in WORD.findall(_shortened_words(text, width - indent)):
    if line.strip() and _width(line) + 1 + _width(word) > width:
      lines.append(line)
      line = " " * indent + word
    else:
      line += f" {word}" if line.strip() else word
  return "\n".join([*lines, line])


def _shortened_words(text: str, limit: int) -> str:
  """Each word of a text in at most `limit` columns: the middle of a longer one is left out."""
  return " ".join(_shortened(word, limit) for word in WORD.findall(text))


def _shortened(word: str, limit: int) -> str:
  if _width(word) <= limit:
    return word
  left, right, room = "", "", limit - 1
  for letter in word:
    if _width(left + letter) > room // 2:
      break
    left += letter
  for letter in reversed(word):
    if _width(letter + right) > room - _width(left):
      break
    right = letter + right
  return f"{left}…{right}"


def _width(text: str) -> int:
  """Columns of a terminal: a Chinese letter takes two."""
  from rich.cells import cell_len

  return cell_len(text)
