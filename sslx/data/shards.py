"""The files that hold a data set, of this machine and behind URLs: which there are, and pieces of them."""

import functools
import glob
import itertools
import os
import re
import uuid
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sslx.data.fingerprint import digest_of
from sslx.data.types import Request
from sslx.data.urls import changes, is_url, reaching, system_of
from sslx.data.warn import say
from sslx.types import UserError

_OPEN = 256  # files that a process keeps open at most
_MOST = 1_000_000  # files that braces may stand for


class File(NamedTuple):
  """A file as it was when the data set was loaded."""

  path: str
  """From the root, or a URL."""
  stamp: str
  """What tells it from another file of its name: its size and time of change."""


def stamped(paths: Sequence[str]) -> list[File]:
  """The files with their stamps of now. Raises UserError naming the one that cannot be reached."""

  try:
    return [File(path, stamp) for path, stamp in zip(paths, changes(paths), strict=True)]
  except OSError as error:
    raise UserError(f"{error.filename}: cannot be read ({error.strerror or error})") from error


def expanded(pattern: str) -> list[str]:
  """What braces stand for, as in a shell: `{0000..0123}`, `{train,test}`. Raises UserError of too many."""
  match = next((m for m in re.finditer(r"\{([^{}]*)\}", pattern) if ".." in m[1] or "," in m[1]), None)
  if match is None:
    return [pattern]
  before, inside, after = pattern[: match.start()], match[1], pattern[match.end() :]
  ends = re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", inside)
  if ends is None and "," not in inside:
    raise UserError(f"{pattern}: {{{inside}}} is no range; write {{0000..0123}}")
  if ends is None:
    choices = inside.split(",")
  else:
    first, last = int(ends[1]), int(ends[2])
    if abs(last - first) >= _MOST:
      raise UserError(f"{pattern}: {{{inside}}} stands for more than {_MOST:,} files")
    width = max(map(len, ends.groups())) if any(end[0] == "0" and len(end) > 1 for end in ends.groups()) else 0
    choices = [f"{n:0{width}}" for n in range(first, last + (1 if last >= first else -1), 1 if last >= first else -1)]
  return [path for choice in choices for path in expanded(before + choice + after)]


def matching(pattern: str, kind: str, spec: str) -> list[str]:
  """The files that a name, a folder, a glob or braces stand for, in the order of their names, each once.

  Args:
    pattern: paths from the root, or URLs.
    kind: a regular expression that is found in the names of such files; others of a folder or a glob are passed over,
      and so are hidden ones and those that begin with `_`, such as _SUCCESS.
    spec: the data set's name, for messages.

  Raises:
    UserError: there is none, or a file that braces stand for is missing.
  """
  paths: list[str] = []
  for each in [pattern] if os.path.exists(pattern) else expanded(pattern):
    paths += _remote_files(each, kind) if is_url(each) else _local_files(each, kind)
  if not paths:
    scheme = spec.partition(":")[0]
    raise UserError(
      f"--dataset={spec}: {pattern} matches no file of this kind; give a file, a folder, or a glob in quotes, such as "
      f"'{scheme}:DIR/train-*'"
    )
  return sorted(dict.fromkeys(paths))


def _of_kind(path: str, kind: str) -> bool:
  path = path.partition("?")[0] if is_url(path) else path  # what a web server is asked beside the file
  name = path.rstrip("/").rpartition("/")[2]
  return re.search(kind, name) is not None and not name.startswith((".", "_"))


def _local_files(pattern: str, kind: str) -> list[str]:
  if os.path.isfile(pattern):
    return [pattern]
  is_glob = glob.has_magic(pattern) and not os.path.exists(pattern)
  if not is_glob and not os.path.exists(pattern):
    raise UserError(f"{pattern}: no such file or folder")
  tops = glob.glob(pattern, recursive=True) if is_glob else [pattern]
  below = [
    os.path.join(where, name) for top in tops if os.path.isdir(top)
    for where, _, names in os.walk(top, followlinks=True) for name in names
  ]  # fmt: skip
  return [path for path in [*filter(os.path.isfile, tops), *below] if _of_kind(path, kind)]


def _remote_files(url: str, kind: str) -> list[str]:
  is_glob = "*" in url or "[" in url
  if not is_glob and _of_kind(url, kind):  # whoever asks a web server whether it is a folder, loads all of it
    return [url]
  system, path = system_of(url)
  with reaching(url):
    names = system.glob(path) if is_glob else system.find(path)
    return [system.unstrip_protocol(name) for name in names if _of_kind(name, kind)]


class _Descriptor:
  """An open file, closed when nobody reads it any more: another thread may still do when it leaves the cache."""

  def __init__(self, path: str):
    self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    weakref.finalize(self, os.close, self.number)


@functools.lru_cache(maxsize=_OPEN)
def _opened(file: File) -> _Descriptor:
  """By its stamp too: a file that was written anew under its name is opened anew."""
  return _Descriptor(file.path)


def read_pieces(files: Sequence[File], starts: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
  """Bytes `starts[i]` to `starts[i] + sizes[i]` of files[i]; those behind URLs all at once. A size of -1: all of it.

  Thread-safe. Each process opens files by itself, when it first reads from them.

  Raises:
    UserError: naming the file that cannot be read, or ends before.
  """
  pieces: list[Any] = [None] * len(files)
  remote = [i for i, file in enumerate(files) if is_url(file.path)]
  if remote:
    system, _ = system_of(files[remote[0]].path)
    names = [system_of(files[i].path)[1] for i in remote]
    first = [starts[i] if sizes[i] >= 0 else None for i in remote]
    last = [starts[i] + sizes[i] if sizes[i] >= 0 else None for i in remote]
    with reaching(files[remote[0]].path):
      found = system.cat_ranges(names, first, last)
    for i, piece in zip(remote, found, strict=True):
      with reaching(files[i].path):
        if isinstance(piece, Exception):
          raise piece
      pieces[i] = piece
  for i, file in enumerate(files):
    if pieces[i] is None:
      try:
        opened = _opened(file)  # is held until it has been read: the cache may let go of it before
        pieces[i] = os.pread(opened.number, sizes[i], starts[i])
      except OSError as error:
        raise UserError(f"{file.path}: cannot be read ({error.strerror or error}); load the data set again") from error
    if 0 <= sizes[i] != len(pieces[i]):
      raise UserError(f"{file.path}: ends before byte {starts[i] + sizes[i]:,}; copy it anew")
  return pieces


def copied(files: Sequence[File], request: Request) -> tuple[Path, list[str]]:
  """(a folder of data_dir, the paths of the copies in it), below which the files lie as below their common folder.

  Each is copied once; when a copy is cut short, the next one goes on with the file that is missing.

  Raises:
    UserError: a URL that cannot be read, or a data_dir that cannot be written.
  """
  folder = Path(request.data_dir) / "remote" / digest_of([f"{path}\0{stamp}\0".encode() for path, stamp in files])[:12]
  places = [folder.joinpath(*names) for names in below_common([file.path for file in files])]
  missing = [(file.path, place) for file, place in zip(files, places, strict=True) if not place.exists()]
  if missing:
    say(request.spec, f"{len(missing)} of {len(files)} files are copied once into {folder}; this takes a while")
  for url, place in missing:
    _copy(url, place)
  return folder, list(map(str, places))


def _copy(url: str, place: Path) -> None:
  partial = place.with_name(f"{place.name}.incomplete{uuid.uuid4().hex[:8]}")
  system, path = system_of(url)
  try:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial.touch()
  except OSError as error:
    why = error.strerror or error
    raise UserError(f"{place}: cannot be written ({why}); name a writable folder with --data_dir") from error
  try:
    with reaching(url):
      system.get_file(path, str(partial))
    partial.replace(place)
  finally:
    partial.unlink(missing_ok=True)


def below_common(paths: Sequence[str]) -> list[tuple[str, ...]]:
  """The folders and the name of each file below the deepest folder that all share."""
  folders = [path.split("/")[:-1] for path in paths]
  depth = sum(1 for _ in itertools.takewhile(lambda level: len(set(level)) == 1, zip(*folders, strict=False)))
  return [tuple(path.split("/")[depth:]) for path in paths]
