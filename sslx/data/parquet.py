"""`parquet:GLOB`: Parquet files with a column of images and one of labels, of the `datasets` library or others.

A row group is what such a file can be entered at: it is read as one, and the last ones stay in memory, as they stand
in the file: those of two windows of an epoch's order, which so reads each once (`LazyArray.blocks`).
Files whose row groups hold some hundred images, as the `datasets` library writes them, suit that well.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from sslx.data.batches import blocks_kept
from sslx.data.columns import Columns, columns_of, image_bytes, joined, labels_of
from sslx.data.samples import NO_LABEL, Samples, by_part, dataset_of
from sslx.data.shards import File, matching, stamped
from sslx.data.types import Dataset, Request
from sslx.data.urls import EXTRA, first_line, is_url, system_of
from sslx.data.warn import warn
from sslx.types import UserError

KIND = r"\.(parquet|parq|pq)$"
LARGE = 4 << 30  # bytes that the row groups in memory may hold without a word
_AT_ONCE = 8  # files whose labels are read


def load_parquet(request: Request) -> Dataset:
  """Splits are told by words of the files' and folders' names: train, test, validation or val, unlabeled; without one
  of these a file is of train. The column of labels is the one of --target, else see `columns.columns_of`.

  Raises:
    UserError: pyarrow is not there, no file, one that is damaged, or without a column of images; columns that could be
      meant and are not told apart; and what `samples.dataset_of` refuses.
  """
  try:
    import pyarrow.parquet  # noqa: F401  # it is there
  except ImportError as error:
    raise UserError(f"--dataset={request.spec}: needs pyarrow: {EXTRA.format('parquet')}") from error
  files = stamped(matching(request.argument, KIND, request.spec))
  parts = by_part([file.path for file in files])
  unlabeled = parts.get("unlabeled", ())
  with futures.ThreadPoolExecutor(_AT_ONCE) as pool:
    tables = dict(
      zip(files, pool.map(lambda file: _table(file, request.targets, file.path not in unlabeled), files), strict=True)
    )
  _tell_large(tables, request)
  labels, texts = joined([table.labels for table in tables.values()], request.spec)
  ends = np.cumsum([len(table.labels) for table in tables.values()])
  pieces = {
    file.path: (file, table, y) for (file, table), y in zip(tables.items(), np.split(labels, ends), strict=False)
  }
  samples = {part: _samples([pieces[path] for path in paths]) for part, paths in parts.items()}
  return dataset_of(request, samples, _names(tables), texts)


class _Table(NamedTuple):
  """A file, as far as it is read when a data set is loaded."""

  columns: Columns
  groups: tuple[int, ...]
  """Rows of each row group."""
  labels: np.ndarray | list[str | None]
  largest: int
  """Bytes of the largest row group."""


def _table(file: File, targets: Sequence[str], labelled: bool) -> _Table:
  with _reading(file) as parquet:
    columns = columns_of(parquet.schema_arrow, targets, file.path, labelled)
    groups = [parquet.metadata.row_group(i) for i in range(parquet.metadata.num_row_groups)]
    rows = tuple(group.num_rows for group in groups)
    largest = max((group.total_byte_size for group in groups), default=0)
    if columns.label is None:
      return _Table(columns, rows, np.full(sum(rows), NO_LABEL), largest)
    return _Table(columns, rows, labels_of(parquet.read([columns.label])[columns.label], file.path), largest)


def _tell_large(tables: dict[File, _Table], request: Request) -> None:
  file, table = max(tables.items(), key=lambda each: each[1].largest)
  kept = blocks_kept([size for each in tables.values() for size in each.groups])
  if kept * table.largest > max(request.in_memory_limit, LARGE):
    warn(
      request.spec,
      f"a row group is read as one, {kept} of them stay in memory, and they hold up to {table.largest:,} bytes, as in "
      f"{file.path}: write such files with row groups of some hundred images",
    )


@contextlib.contextmanager
def _reading(file: File, metadata: Any = None) -> Iterator[Any]:
  """A Parquet file that is open; what goes wrong with it is one line that names it."""
  import pyarrow as pa
  import pyarrow.parquet as pq

  where, system = system_of(file.path)[::-1] if is_url(file.path) else (file.path, None)
  try:
    with pq.ParquetFile(where, metadata=metadata, filesystem=system, pre_buffer=True) as parquet:
      yield parquet
  except UserError:
    raise
  except Exception as error:
    damaged = isinstance(error, pa.ArrowException) or (isinstance(error, OSError) and error.errno is None)
    what = "no whole Parquet file" if damaged else "cannot be read"
    raise UserError(f"{file.path}: {what} ({first_line(error)}); copy or write it anew") from error


def _names(tables: dict[File, _Table]) -> tuple[str, ...] | None:
  """The names of the classes, which all files that say some must agree on."""
  said = {file.path: table.columns.names for file, table in tables.items() if table.columns.names}
  for path, names in said.items():
    if names != next(iter(said.values())):
      raise UserError(f"{path}: its class names are others than those of {next(iter(said))}; write both in one way")
  return next(iter(said.values()), None)


class _Groups(NamedTuple):
  """The row groups of a split, one after another."""

  files: tuple[File, ...]
  columns: tuple[str, ...]
  """Of images, of each file."""
  file_of: np.ndarray
  """i64 [G]: in `files`."""
  number: np.ndarray
  """i64 [G]: of the row group in its file."""
  starts: np.ndarray
  """i64 [G + 1]: the first row of each."""
  kept: int
  """How many of them stay in memory."""


def _samples(pieces: Sequence[tuple[File, _Table, np.ndarray]]) -> Samples:
  """The examples of some files, with their labels."""
  files, tables, labels = zip(*pieces, strict=True)
  sizes, counts = [size for table in tables for size in table.groups], [len(table.groups) for table in tables]
  columns, numbers = tuple(table.columns.image for table in tables), np.concatenate([np.arange(n) for n in counts])
  groups = _Groups(
    files, columns, np.repeat(np.arange(len(files)), counts), numbers, np.cumsum([0, *sizes]), blocks_kept(sizes)
  )
  read, called = functools.partial(_read, groups), functools.partial(_called, groups)
  paths, how = tuple(file.path for file in files), ",".join(dict.fromkeys(columns))
  return Samples(sum(sizes), read, called, np.concatenate(labels), paths, how, tuple(size for size in sizes if size))


def _called(groups: _Groups, row: int) -> str:
  group = int(np.searchsorted(groups.starts, row, "right")) - 1
  first = groups.starts[np.searchsorted(groups.file_of, groups.file_of[group])]  # of the file's first row group
  return f"{groups.files[groups.file_of[group]].path}, row {row - first}"


def _read(groups: _Groups, rows: np.ndarray) -> list[bytes]:
  out: list[bytes] = [b""] * len(rows)
  group_of = np.searchsorted(groups.starts, rows, "right") - 1
  for group in np.unique(group_of).tolist():
    file = groups.file_of[group]
    column = _column(groups.files[file], int(groups.number[group]), groups.columns[file], groups.kept)
    for i in np.flatnonzero(group_of == group).tolist():
      out[i] = image_bytes(column[int(rows[i] - groups.starts[group])].as_py(), _called(groups, int(rows[i])))
  return out


class _Once:
  """A column of a row group, which the first of several threads that ask for it reads, while the others wait."""

  def __init__(self):
    self.lock, self.column = threading.Lock(), None


_LOCK = threading.Lock()  # two threads that ask for a new row group at once must get the same _Once


@functools.cache
def _memory(kept: int) -> Callable[[File, int, str], _Once]:
  """What remembers the row groups that were asked for last, so many of them."""
  return functools.lru_cache(maxsize=kept)(lambda file, group, column: _Once())


def _column(file: File, group: int, column: str, kept: int) -> Any:
  """A column of a row group, as it stands in the file."""
  with _LOCK:
    once = _memory(kept)(file, group, column)
  with once.lock:
    if once.column is None:
      with _reading(file, _footer(file)) as parquet:
        once.column = parquet.read_row_group(group, [column])[column]
    return once.column


@functools.lru_cache(maxsize=1024)
def _footer(file: File) -> Any:
  """What a file says of its row groups, which takes a while to be parsed."""
  with _reading(file) as parquet:
    return parquet.metadata
