"""`--labels_file=FILE`: a table with the columns path and class, which labels files that lie in DIR/unlabeled/.

A file of DIR/train/ may stand there too: its class is corrected. Paths are relative to DIR, to DIR/unlabeled/ or to the
table's own folder, or absolute. A class of `?`, or none, says nothing: the line is passed over. Further columns too.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from sslx.data.table import Row, Table, read_table
from sslx.data.warn import say
from sslx.types import UserError

COLUMNS = ("path", "class")
UNKNOWN = ("", "?")  # in place of a class


def labels_of(
  file: str, spec: str, root: Path, train: Mapping[str, str], test: Collection[str], unlabeled: Collection[str]
) -> dict[str, str]:
  """{file of the data set: its class} of all that the table labels. How many are new, or corrected, is told on stderr.

  Args:
    file: the table.
    spec: the data set's name, for messages.
    root: its DIR.
    train: its labelled files, and their classes.
    test: its files that keep their labels.
    unlabeled: its files without labels.

  Raises:
    UserError: naming the file and line: no such table, a column that is missing, a path that is no file of the data
      set, or one of the test split, or one with two classes; or fewer than two classes, with those of `train`.
  """
  table = read_table(Path(file).expanduser(), "--labels_file")
  missing = [name for name in COLUMNS if name not in table.columns]
  if missing:
    raise UserError(
      f"{file}: has no column {' and no column '.join(missing)}, but {', '.join(table.columns)}; write path,class as "
      "its first line"
    )
  places = _Places([*train, *test, *unlabeled])
  labels: dict[str, str] = {}
  lines: dict[str, Row] = {}
  for row in table.rows:
    name = row.cells["class"]
    if name in UNKNOWN:
      continue
    path = next(filter(None, map(places.found, _candidates(table, row, root))), None)
    if path is None:
      raise UserError(
        f"{table.at(row)}: {row.cells['path'] or 'an empty path'}: no file of {spec}; write paths as they stand below "
        f"{root}, or absolute ones"
      )
    if path in test:
      raise UserError(f"{table.at(row)}: {path}: is of the test split, whose labels stay as they are; delete this line")
    if labels.setdefault(path, name) != name:
      raise UserError(
        f"{table.at(row)}: {path}: is {name!r} here, but {labels[path]!r} in line {lines[path].line}; delete one of "
        "the two lines"
      )
    lines.setdefault(path, row)
  classes = {*labels.values(), *train.values()}
  if len(classes) < 2:
    raise UserError(f"{file}: with it, {spec} has {'one' if classes else 'no'} class; at least two are needed")
  _tell(file, spec, train, labels)
  return labels


class _Places:
  """The files of a data set by where they are, whatever they are called."""

  def __init__(self, files: Collection[str]):
    self.named = {os.path.abspath(path): path for path in files}
    self.real: dict[str, str] | None = None

  def found(self, path: str) -> str | None:
    """The file of the data set at this path, behind links too; None: there is none."""
    path = os.path.abspath(path)
    if path in self.named:
      return self.named[path]
    if not os.path.exists(path):
      return None
    if self.real is None:  # asks the disk for every folder above every file
      self.real = {os.path.realpath(name): path for name, path in self.named.items()}
    return self.real.get(os.path.realpath(path))


def _candidates(table: Table, row: Row, root: Path) -> Iterator[str]:
  """Where the file of a line may be. An absolute path stays as it is."""
  if row.cells["path"]:
    for folder in (root, root / "unlabeled", table.file.parent):
      yield os.path.join(folder, row.cells["path"])


def _tell(file: str, spec: str, train: Mapping[str, str], labels: Mapping[str, str]) -> None:
  new = [path for path in labels if path not in train]
  corrected = [path for path, name in labels.items() if path in train and train[path] != name]
  says = [f"{len(new):,} files of unlabeled/ have labels"]
  if corrected:
    first = corrected[0]
    example = f"{os.path.basename(first)} from {train[first]} to {labels[first]}"
    says.append(f"{len(corrected):,} of train/ another class than their folder's, such as {example}")
  say(spec, f"by {file}, {', and '.join(says)}")
