"""`hf:NAME|DIR`: a data set of the `datasets` library: one that it saved, a folder that it reads, or one of the hub.

Its Arrow files are mapped into memory: every row is read by itself, in any order. What it makes of other files it keeps
in its own cache ($HF_HOME), and `parquet:DIR` needs no such copy.
"""

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sslx.data.columns import columns_of, image_bytes, joined, labels_of
from sslx.data.samples import NO_LABEL, Samples, dataset_of, part_of
from sslx.data.shards import copied, stamped
from sslx.data.types import Dataset, Request
from sslx.data.urls import EXTRA, first_line, is_url, reaching, system_of
from sslx.data.warn import warn
from sslx.types import UserError

_SAVED = ("dataset_dict.json", "state.json")  # one of them is in a folder that `save_to_disk` wrote


def load_hf(request: Request) -> Dataset:
  """NAME is of the hub, `NAME:CONFIG` of several configurations; the columns are found as in `columns.columns_of`.

  Raises:
    UserError: the library is not there, no such folder or name, no network, no column of images, columns that could be
      meant and are not told apart; and what `samples.dataset_of` refuses.
  """
  try:
    import datasets
  except ImportError as error:
    raise UserError(f"--dataset={request.spec}: needs the datasets library: {EXTRA.format('hf')}") from error
  files, found = _loaded(request)
  tables: dict[str, Any] = {}
  splits = found if isinstance(found, Mapping) else {"train": found}
  for name, table in sorted(splits.items(), key=lambda each: part_of([str(each[0])]) is None):
    if not isinstance(table, datasets.Dataset):
      raise UserError(f"--dataset={request.spec}: is a stream; save it with save_to_disk, and give hf:DIR")
    part = part_of([str(name)]) or "train"
    if part in tables:
      warn(request.spec, f"its split {name} is passed over; another one is of {part}, too")
    else:
      tables[part] = table
  labels, columns = [], {}
  for part, table in tables.items():
    where = f"{request.spec}, split {part}"
    columns[part] = columns_of(table.features.arrow_schema, request.targets, where, part != "unlabeled")
    label = columns[part].label
    with _telling(request):
      arrow = None if label is None else table.select_columns([label]).with_format("arrow")[:][label]
    labels.append(np.full(len(table), NO_LABEL) if arrow is None else labels_of(arrow, where))
  codes, texts = joined(labels, request.spec)
  pieces = np.split(codes, np.cumsum([len(part) for part in labels])[:-1])
  samples = {
    part: _samples(table, columns[part].image, f"{request.spec}, split {part}", y, files)
    for (part, table), y in zip(tables.items(), pieces, strict=True)
  }
  names = [each.names for each in columns.values() if each.names]
  return dataset_of(request, samples, names[0] if names else None, texts)


def _loaded(request: Request) -> tuple[tuple[str, ...], Any]:
  """(URLs of the files that it was copied from, what the library makes of it)."""
  import datasets

  where = request.argument
  if is_url(where):
    files, where = _local(where, request)
    with _telling(request):
      return files, datasets.load_from_disk(where)
  with _telling(request):
    if not os.path.isdir(where):
      if where.startswith(("/", "~", ".")):
        raise UserError(f"{where}: no such folder")
      name, _, config = where.partition(":")
      return (), datasets.load_dataset(name, config or None)
    if any(os.path.exists(os.path.join(where, name)) for name in _SAVED):
      return (), datasets.load_from_disk(where)
    return (), datasets.load_dataset(where)


def _local(url: str, request: Request) -> tuple[tuple[str, ...], str]:
  """(the files of a folder behind a URL, the folder of this machine that holds their copies)."""
  system, path = system_of(url)
  with reaching(url):
    files = tuple(system.unstrip_protocol(name) for name in sorted(system.find(path)))
  if not any(name.endswith(_SAVED) for name in files):
    raise UserError(f"{url}: holds no data set of save_to_disk; give parquet:{url} for Parquet files")
  return files, str(copied(stamped(files), request)[0])


@contextlib.contextmanager
def _telling(request: Request) -> Iterator[None]:
  """What goes wrong inside is a UserError: the library, the hub and the network have no common base class of errors."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    cure = "check the name, or connect and run again; without a network give hf:DIR or parquet:DIR"
    if os.path.isdir(request.argument):
      cure = "write it anew with save_to_disk, or give parquet:DIR for Parquet files"
    why = f"{type(error).__name__}: {first_line(error)}"
    raise UserError(f"--dataset={request.spec}: cannot be loaded ({why}); {cure}") from error


def _samples(table: Any, image: str, where: str, labels: np.ndarray, urls: tuple[str, ...]) -> Samples:
  """urls: what is told it by; else its Arrow files are."""
  files = urls or tuple(os.path.abspath(each["filename"]) for each in table.cache_files)
  rows = table.select_columns([image]).with_format("arrow")
  read, called = functools.partial(_read, rows, image, where), functools.partial(_called, where)
  return Samples(len(table), read, called, labels, files, image)


def _called(where: str, row: int) -> str:
  return f"{where}, row {row}"


def _read(table: Any, image: str, where: str, rows: np.ndarray) -> list[bytes]:
  try:
    cells = table[rows.tolist()][image].to_pylist()
  except Exception as error:  # Arrow's, of a file that is damaged or gone
    raise UserError(f"{where}: cannot be read ({first_line(error)}); load or save it anew") from error
  return [image_bytes(cell, _called(where, row)) for cell, row in zip(cells, rows.tolist(), strict=True)]
