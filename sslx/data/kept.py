"""Arrays that are made once and kept in data_dir: NumPy's own files, with digests that tell a damaged one."""

import contextlib
import functools
import hashlib
import io
import json
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sslx.data.fingerprint import digest_of
from sslx.data.lazy import LazyArray, Rows
from sslx.data.types import Request
from sslx.data.warn import say, warn
from sslx.types import UserError

Layout = Mapping[str, Mapping[str, tuple[str, tuple[int, ...]]]]
"""{split: {name of an array: its dtype, as NumPy writes it, and its shape}}"""
Parts = Iterator[tuple[str, Iterator[NamedTuple]]]
"""(split, pieces of its arrays along the first axis, by name) ..., one split after the other; what is in no layout is
left out."""
Arrays = dict[str, dict[str, Rows]]
"""{split: {name of an array: the array}}"""
_FACTS = "facts.json"


def kept(
  request: Request, folder: str, facts: Mapping[str, Any], layout: Layout, make: Callable[[], Parts], size: int
) -> Arrays:
  """The arrays of `layout`, read from data_dir; where they are not there, or are damaged, they are made.

  Args:
    request: data_dir; in_memory_limit: an array beyond it stays on the disk, `x` as a LazyArray.
    folder: the name of the data set's folder in data_dir, in which each set of arrays has one.
    facts: all that the arrays depend on.
    layout: what they must be.
    make: makes them.
    size: bytes of all of them, about.

  Raises:
    UserError: data_dir cannot be written, and the user named it, or the arrays are too large for memory.
  """
  return _kept(request, folder, facts, layout, lambda: (layout, make()), size, "rendered")


def kept_as_made(
  request: Request,
  folder: str,
  facts: Mapping[str, Any],
  make: Callable[[], tuple[Layout, Parts]],
  size: int,
  how: str,
) -> Arrays:
  """As `kept`, of arrays whose shapes are known only when they are made: their layout is kept with them.

  how: what is said to be done to make them, such as "rendered".
  """
  return _kept(request, folder, facts, None, make, size, how)


def find(request: Request, folder: str, facts: Mapping[str, Any]) -> Arrays | None:
  """What `kept_as_made` has kept; None where it is not there, or damaged."""
  return _read(_place(request, folder, facts), None, request.in_memory_limit)


def _place(request: Request, folder: str, facts: Mapping[str, Any]) -> Path:
  return Path(request.data_dir) / folder / digest_of([json.dumps(facts, sort_keys=True).encode()])[:12]


def _kept(
  request: Request,
  folder: str,
  facts: Mapping[str, Any],
  layout: Layout | None,
  make: Callable[[], tuple[Layout, Parts]],
  size: int,
  how: str,
) -> Arrays:
  place = _place(request, folder, facts)
  arrays = _read(place, layout, request.in_memory_limit)
  if arrays is not None:
    return arrays
  try:
    _write(place, facts, make, request, how)
    arrays = _read(place, layout, request.in_memory_limit)
  except OSError as error:
    refused = f"cannot write {request.data_dir} ({error.strerror or error})"
    if request.data_dir_is_given or size > request.in_memory_limit:
      raise UserError(f"{refused}; name a writable folder with --data_dir") from error
    warn(request.spec, f"{refused}; made in memory instead")
    made_of, parts = make()
    return {part: _joined(pieces, made_of[part]) for part, pieces in parts}
  if arrays is None:
    raise UserError(f"{place}: damaged as soon as it was written; name another --data_dir")
  return arrays


def _joined(pieces: Iterable[NamedTuple], names: Iterable[str]) -> dict[str, Rows]:
  collected = [{name: getattr(piece, name) for name in names} for piece in pieces]
  return {name: np.concatenate([piece[name] for piece in collected]) for name in collected[0]}


def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
  """The first bytes of the file of such an array."""
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
  return header.getvalue()


def _write(
  place: Path, facts: Mapping[str, Any], make: Callable[[], tuple[Layout, Parts]], request: Request, how: str
) -> None:
  """Writes into a folder of its own, which gets its name when it is whole: what is there under this name is whole."""
  unfinished = place.with_name(f"{place.name}.incomplete{uuid.uuid4().hex[:8]}")
  unfinished.mkdir(parents=True)
  try:
    say(request.spec, f"{how} once, and kept in {place}; this takes a while")
    layout, parts = make()
    digests = {}
    for part, pieces in parts:
      with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(open(unfinished / f"{part}_{name}.npy", "wb")) for name in layout[part]}
        hashes = {name: hashlib.blake2b(digest_size=16) for name in files}
        for name, file in files.items():
          file.write(_header(*layout[part][name]))
        for piece in pieces:
          for name in files:
            content = np.ascontiguousarray(getattr(piece, name), layout[part][name][0]).tobytes()
            files[name].write(content)  # a full disk ends this with an error, and a memory map with the process
            hashes[name].update(content)
      digests |= {f"{part}_{name}": value.hexdigest() for name, value in hashes.items()}
    (unfinished / _FACTS).write_text(json.dumps({"made_from": facts, "layout": layout, "digests": digests}, indent=1))
    _rename(unfinished, place, layout, request.in_memory_limit)
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def _rename(unfinished: Path, place: Path, layout: Layout, limit: int) -> None:
  if place.exists() and _read(place, layout, limit) is None:
    shutil.rmtree(place)
  try:
    unfinished.rename(place)
  except OSError:
    if not place.exists():  # else another process was faster, which is no error
      raise


def _read(place: Path, layout: Layout | None, in_memory_limit: int) -> Arrays | None:
  """The arrays of `layout`, or where it is None of the one that is kept with them; None where one of them is missing or
  damaged. Of those that stay on the disk, only the size is looked at."""
  try:
    facts = json.loads((place / _FACTS).read_text())
    digests = facts["digests"]
    if layout is None:
      layout = {
        part: {name: (dtype, tuple(shape)) for name, (dtype, shape) in forms.items()}
        for part, forms in facts["layout"].items()
      }
    return {
      part: {
        name: _array(place / f"{part}_{name}.npy", *form, digests[f"{part}_{name}"], in_memory_limit, name == "x")
        for name, form in forms.items()
      }
      for part, forms in layout.items()
    }
  except (OSError, ValueError, KeyError, TypeError, AttributeError):
    return None


def _array(path: Path, dtype: str, shape: tuple[int, ...], digest: str, in_memory_limit: int, lazy: bool) -> Rows:
  """Raises OSError or ValueError where the file is not such an array."""
  header = _header(dtype, shape)
  size = math.prod(shape) * np.dtype(dtype).itemsize
  with open(path, "rb") as file:
    if file.read(len(header)) != header or os.path.getsize(path) != len(header) + size:
      raise ValueError(f"{path}: not {dtype} {shape}")
    if size > in_memory_limit:
      on_disk = functools.partial(np.memmap, path, dtype, "r", len(header), shape)
      if not lazy:
        return on_disk()
      # It is opened for every batch: a worker process is then handed its path, and not all that is in it.
      return LazyArray(shape, lambda rows: np.asarray(on_disk()[rows]), np.dtype(dtype), files=(str(path),))
    array = np.fromfile(file, dtype).reshape(shape)
  if hashlib.blake2b(array.reshape(-1).view(np.uint8).data, digest_size=16).hexdigest() != digest:
    raise ValueError(f"{path}: damaged")
  return array
