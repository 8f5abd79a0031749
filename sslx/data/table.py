"""`csv:FILE`: a table with a column of image paths, one called split, and one or more of targets.

What the targets are says what is asked: one column of text is of classes, numbers are numbers, and several columns of 0
and 1 are classes of which any may be there.
"""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.data.files import headers_of, images_of
from sslx.data.types import Dataset, Request, Split, no_examples
from sslx.data.warn import warn
from sslx.modalities import MODALITIES
from sslx.tasks import TASKS
from sslx.types import Task, UserError

PATHS = ("path", "file", "filename", "image")  # names of the column of images; else it is the first
SPLIT = "split"
PARTS = ("train", "test", "unlabeled")
FEW = 20  # different whole numbers, up to which they may be meant as classes

LARGEST = float(np.finfo(np.float32).max)


class Row(NamedTuple):
  """A line of the table."""

  line: int
  cells: Mapping[str, str]


class Table(NamedTuple):
  """The whole table."""

  file: Path
  columns: tuple[str, ...]
  rows: list[Row]

  def at(self, row: Row) -> str:
    """Where a row stands."""
    return f"{self.file}, line {row.line}"


def load_table(request: Request) -> Dataset:
  """Targets are the columns of `request.targets`, else all but those of paths and splits.

  Paths are relative to the table's folder, or absolute. Without a column split, and where its cell is empty, a row is
  of train. A row of train with empty targets is unlabeled, and so are those whose split says so; where all rows are,
  the data set has no labels.

  Raises:
    UserError: naming the file and line: a missing or unreadable image, an empty cell, text where numbers are asked for,
      numbers that are not finite; or which column is missing, or cannot be chosen.
  """
  table = read_table(Path(request.argument).expanduser(), "csv:FILE")
  path, split = _path_column(table), _split_column(table)
  columns = [name for name in table.columns if name not in (path, split)]
  by_part = _by_part(table, split, [name for name in request.targets if name in columns] or columns)
  if by_part["train"] or by_part["test"] or request.targets:
    chosen = _targets(table, columns, by_part, request.targets)
    if not by_part["train"]:
      raise UserError(f"{table.file}: no row of train has a value of {', '.join(chosen)}; fill some of them")
    task, targets = _read_targets(table, chosen, by_part, request.spec)
  else:
    task, targets, by_part = TASKS["none"](()), {}, {"train": by_part["unlabeled"]}

  places: dict[str, str] = {}
  files: dict[str, list[str]] = {}
  for part, rows in by_part.items():
    for row in rows:
      image = os.path.join(table.file.parent, row.cells[path])  # an absolute path stays as it is
      if not row.cells[path] or not os.path.exists(image):
        raise UserError(
          f"{table.at(row)}: {image}: no such file" if row.cells[path] else f"{table.at(row)}: {path} is empty"
        )
      places.setdefault(image, table.at(row))
      files.setdefault(part, []).append(image)
  images = images_of(files, headers_of(files, request, places), request)
  splits = {part: Split(x, targets.get(part), files[part]) for part, x in images.items()}
  test = splits["test"] if "test" in splits else no_examples(splits["train"])
  return Dataset(request.spec, MODALITIES["image"], task, splits["train"], test, splits.get("unlabeled"))


def _by_part(table: Table, split: str | None, targets: Sequence[str]) -> dict[str, list[Row]]:
  """The rows of train, test and unlabeled. split: the column that says it; targets: the columns that may be empty."""
  by_part: dict[str, list[Row]] = {part: [] for part in PARTS}
  for row in table.rows:
    part = row.cells[split].lower() or "train" if split else "train"
    if part not in PARTS:
      raise UserError(
        f"{table.at(row)}: {SPLIT} is {row.cells[split or '']!r}; write {', '.join(PARTS[:-1])} or {PARTS[-1]}"
      )
    if part == "train" and not any(row.cells.get(name) for name in targets):
      part = "unlabeled"
    by_part[part].append(row)
  return by_part


def read_table(file: Path, what: str) -> Table:
  """A CSV file in UTF-8, with a mark of it at its start or without. what: reads it, for messages.

  Raises:
    UserError: naming the file and line: missing, empty, no CSV, or rows of another length than the header.
  """
  if not file.is_file():
    raise UserError(f"{file}: no such file; {what} reads a table with a header")
  rows: list[Row] = []
  line = 1
  try:
    with file.open(encoding="utf-8-sig", newline="") as stream:
      reader = csv.reader(stream, strict=True)
      columns = tuple(name.strip() for name in next(reader, []))
      _check_header(file, columns)
      for cells in reader:
        line = reader.line_num
        if cells and len(cells) != len(columns):
          raise UserError(f"{file}, line {line}: has {len(cells)} cells, and the header {len(columns)}")
        if cells:
          rows.append(Row(line, dict(zip(columns, map(str.strip, cells), strict=True))))
  except UnicodeDecodeError as error:
    raise UserError(f"{file}: is no text in UTF-8; save it as such") from error
  except csv.Error as error:
    raise UserError(f"{file}: cannot be read as CSV after line {line} ({error})") from error
  if not rows:
    raise UserError(f"{file}: holds no rows below its header")
  return Table(file, columns, rows)


def _check_header(file: Path, columns: Sequence[str]) -> None:
  if not columns:
    raise UserError(f"{file}: its first line is empty; write the names of the columns there")
  if len(columns) == 1 and any(sign in columns[0] for sign in ";\t|"):
    raise UserError(f"{file}: its header is one cell, {columns[0]!r}; separate cells with commas")
  for i, name in enumerate(columns):
    if not name or name in columns[:i]:
      raise UserError(f"{file}: its column {i + 1} is called {name!r}; give each column a name of its own")


def _path_column(table: Table) -> str:
  by_name = {name.lower(): name for name in table.columns}
  first = next((name for name in table.columns if name.lower() != SPLIT), table.columns[0])
  return next((by_name[name] for name in PATHS if name in by_name), first)


def _split_column(table: Table) -> str | None:
  return next((name for name in table.columns if name.lower() == SPLIT), None)


def _targets(
  table: Table, columns: Sequence[str], by_part: Mapping[str, Sequence[Row]], asked: Sequence[str]
) -> list[str]:
  """The columns of targets."""
  if not columns:
    raise UserError(f"{table.file}: has no column of targets beside {', '.join(table.columns)}; add one")
  rows = [*by_part["train"], *by_part["test"]]
  kinds = {name: "numbers" if _is_numeric(rows, name) else "text" for name in columns}
  listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
  flag = f"--target={','.join(asked)}"
  for i, name in enumerate(asked):
    if name not in columns:
      raise UserError(f"{flag}: {table.file} has no such column {name!r} of targets; it has {listed}")
    if name in asked[:i]:
      raise UserError(f"{flag}: names {name!r} twice")
  chosen = list(asked or columns)
  if len(chosen) > 1 and "text" in [kinds[name] for name in chosen]:
    if asked:
      raise UserError(f"{flag}: several targets must be numbers; of {table.file} there are {listed}")
    raise UserError(
      f"{table.file}: which column is asked for? Give --target=NAME, or several that are numbers: {listed}"
    )
  return chosen


def _is_numeric(rows: Sequence[Row], column: str) -> bool:
  """Whether most of its cells are numbers: of these the others are mistakes, and of text a number is a class."""
  cells = [row.cells[column] for row in rows if row.cells[column]]
  return 2 * sum(_number(cell) is not None for cell in cells) > len(cells)


def _number(cell: str) -> float | None:
  try:
    return None if "_" in cell else float(cell)  # Python would read 1_000
  except ValueError:
    return None


def _read_targets(
  table: Table, columns: Sequence[str], by_part: Mapping[str, Sequence[Row]], spec: str
) -> tuple[Task, dict[str, np.ndarray]]:
  """(task, split -> y [N,...])."""
  labelled = {part: by_part[part] for part in ("train", "test")}
  for row in (row for rows in labelled.values() for row in rows):
    empty = next((name for name in columns if not row.cells[name]), None)
    if empty:
      raise UserError(f"{table.at(row)}: {empty} is empty; fill it, or write unlabeled as its {SPLIT}")
  rows = [*labelled["train"], *labelled["test"]]
  if not _is_numeric(rows, columns[0]):
    return _classes(table, columns[0], labelled)
  y = {
    part: np.array([_numbers(table, row, columns) for row in rows], np.float32).reshape(-1, len(columns))
    for part, rows in labelled.items()
  }
  values = np.unique(np.concatenate(list(y.values())))
  if len(columns) > 1 and set(values.tolist()) <= {0.0, 1.0}:
    return TASKS["multilabel"](columns), {part: each.astype(np.uint8) for part, each in y.items()}
  if len(columns) == 1 and len(values) <= FEW and (values == np.rint(values)).all():
    warn(spec, f"{columns[0]} holds {len(values)} whole numbers, which are taken as numbers; write classes as text")
  return TASKS["regression"](columns), y


def _classes(table: Table, column: str, labelled: Mapping[str, Sequence[Row]]) -> tuple[Task, dict[str, np.ndarray]]:
  names = sorted({row.cells[column] for row in labelled["train"]})
  places = {name: i for i, name in enumerate(names)}
  unknown = next((row for row in labelled["test"] if row.cells[column] not in places), None)
  if unknown:
    raise UserError(f"{table.at(unknown)}: the class {unknown.cells[column]!r} of a test row never occurs in train")
  y = {part: np.array([places[row.cells[column]] for row in rows], np.int32) for part, rows in labelled.items()}
  return TASKS["classification"](names), y


def _numbers(table: Table, row: Row, columns: Sequence[str]) -> list[float]:
  numbers: list[float] = []
  for name in columns:
    number = _number(row.cells[name])
    if number is None:
      raise UserError(
        f"{table.at(row)}: {name} is {row.cells[name]!r}, no number; mend it, or write all of them as text"
      )
    if not math.isfinite(number) or abs(number) > LARGEST:
      raise UserError(f"{table.at(row)}: {name} is {row.cells[name]}; it must be a finite number of 32 bits")
    numbers.append(number)
  return numbers
