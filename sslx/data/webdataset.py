"""`webdataset:GLOB`: tar files in which the files of a sample stand together, under one name: 0001.jpg, 0001.cls.

Each tar is looked through once; where its images are is kept in data_dir. Images then are read from where they stand,
in any order: shuffling is exact, without a buffer, and a run that goes on enters anywhere. The `webdataset` library
does neither: it reads tars from their start, shuffles within a buffer, cannot be entered in the middle of an epoch, and
its Python pipeline was measured slow.
"""

import contextlib
import functools
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sslx.data.images import EXTENSIONS
from sslx.data.kept_index import Found, Index, index_of
from sslx.data.samples import Samples, by_part, dataset_of
from sslx.data.shards import File, matching, read_pieces, stamped
from sslx.data.types import Dataset, Request
from sslx.data.urls import first_line, is_url, reaching, system_of
from sslx.data.warn import warn
from sslx.types import UserError

KIND = r"\.tar(\.[a-z0-9]+)?$"
_BLOCK = 512  # bytes of a header, and of the zeros behind the last file
_LONGEST = 1 << 16  # bytes of a label


def load_webdataset(request: Request) -> Dataset:
  """A sample is what has one folder and one name up to the first dot: an image (jpg, png, webp ...), and its label as
  `cls` (a whole number or the name of a class) or as `json` with an entry "label".

  Splits are told by the shards' names, see `samples.by_part`.

  Raises:
    UserError: no shard, one that is damaged or compressed, without an image, and what `samples.dataset_of` refuses.
  """
  files = stamped(matching(request.argument, KIND, request.spec))
  index, texts = index_of(request, "webdataset", files, functools.partial(_look_through, spec=request.spec), "indexed")
  numbers = {file.path: i for i, file in enumerate(files)}
  parts = {
    part: _samples(files, index, [numbers[path] for path in paths])
    for part, paths in by_part([file.path for file in files]).items()
  }
  return dataset_of(request, parts, texts=texts)


class _Places(NamedTuple):
  """Where the images of a split are."""

  files: tuple[File, ...]
  shard: np.ndarray
  start: np.ndarray
  size: np.ndarray


def _samples(files: Sequence[File], index: Index, shards: Sequence[int]) -> Samples:
  rows = np.flatnonzero(np.isin(index.shard, shards))
  places = _Places(tuple(files), index.shard[rows], index.start[rows], index.size[rows])
  read, called, paths = (
    functools.partial(_read, places),
    functools.partial(_called, places),
    [files[i].path for i in shards],
  )
  return Samples(len(rows), read, called, index.label[rows], tuple(paths))


def _read(places: _Places, rows: np.ndarray) -> list[bytes]:
  files = [places.files[shard] for shard in places.shard[rows].tolist()]
  return read_pieces(files, places.start[rows].tolist(), places.size[rows].tolist())


def _called(places: _Places, row: int) -> str:
  return f"{places.files[places.shard[row]].path}, image at byte {places.start[row]}"


def _look_through(file: File, spec: str) -> Found:
  """Where the images of a tar are, and their labels."""
  samples: dict[str, dict[str, Any]] = {}
  with _opened(file) as stream:
    try:
      with tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
          tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  # else it keeps all of them
          if member.isfile():
            _note(samples, tar, member)
        stream.seek(tar.offset)
        if stream.read(_BLOCK) != bytes(_BLOCK):  # tarfile takes whatever it cannot read for the end
          raise tarfile.ReadError(f"it breaks off at byte {tar.offset:,}")
    except (tarfile.TarError, EOFError, ValueError) as error:
      cure = "copy it anew" if samples else "unpack it, if it is compressed, or copy it anew"
      raise UserError(f"{file.path}: no whole tar file ({first_line(error)}); {cure}") from error
  images = [sample for sample in samples.values() if "place" in sample]
  if not images:
    raise UserError(f"{file.path}: holds no image ({', '.join(EXTENSIONS)}); leave it out")
  if len(images) < len(samples):
    warn(spec, f"{file.path}: passed over {len(samples) - len(images)} of {len(samples)} samples, which have no image")
  starts, sizes = zip(*(sample["place"] for sample in images), strict=True)
  return Found(starts, sizes, [_label(sample, file) for sample in images])


@contextlib.contextmanager
def _opened(file: File) -> Iterator[Any]:
  if not is_url(file.path):
    with open(file.path, "rb") as stream:
      yield stream
    return
  system, path = system_of(file.path)
  with reaching(file.path), system.open(path, "rb") as stream:
    yield stream


def _note(samples: dict[str, dict[str, Any]], tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
  folder, name = os.path.split(member.name)
  key, _, extension = name.partition(".")
  extension = extension.lower()
  if not key or not extension:  # hidden files, which macOS adds, and files without a kind
    return
  sample = samples.setdefault(f"{folder}/{key}", {})
  if f".{extension}" in EXTENSIONS:
    sample.setdefault("place", (member.offset_data, member.size))
  elif extension in ("cls", "json") and member.size <= _LONGEST and (content := tar.extractfile(member)):
    sample[extension] = content.read()


def _label(sample: dict[str, Any], file: File) -> str | None:
  """The text of a label, None where there is none."""
  try:
    if "cls" in sample:
      return sample["cls"].decode().strip() or None
    said = json.loads(sample["json"]) if "json" in sample else None
  except ValueError as error:
    raise UserError(
      f"{file.path}: a label in it cannot be read ({first_line(error)}); write it as a number or text"
    ) from error
  label = said.get("label") if isinstance(said, dict) else None
  if label is None or (isinstance(label, int | str) and not isinstance(label, bool)):
    return None if label is None else str(label).strip() or None
  raise UserError(
    f"{file.path}: a label in its json files is {json.dumps(label)[:80]}; it must be a whole number or text"
  )
