"""Files behind URLs (gs://, s3://, https:// ...), which fsspec reads. It is an extra, imported where one is given.

What is tried again when a network fails, and how often, is fsspec's business and its file systems'.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

from sslx.types import UserError

EXTRA = 'pip install "sslx[{0}]" or ./launch.sh --extras={0} ...'
_CHANGED = ("etag", "ETag", "LastModified", "last_modified", "updated", "mtime", "created")  # of fsspec's systems
_AT_ONCE = 32  # files that a server is asked for


def is_url(path: str) -> bool:
  """Whether fsspec reads it, rather than the operating system."""
  return "://" in path


def system_of(url: str) -> tuple[Any, str]:
  """(fsspec's file system, what it calls the file). Raises UserError where a package is missing."""
  try:
    import fsspec.core

    return fsspec.core.url_to_fs(url)
  except ImportError as error:
    raise UserError(f"{url}: cannot be read ({first_line(error)}): {EXTRA.format('remote')}") from error
  except ValueError as error:
    raise UserError(f"{url}: {first_line(error)}; write gs://, s3:// or https://") from error


@contextlib.contextmanager
def reaching(url: str) -> Iterator[None]:
  """What goes wrong inside is a UserError that names the URL: networks have no common base class of errors."""
  try:
    yield
  except UserError:
    raise
  except FileNotFoundError as error:
    raise UserError(f"{url}: no such file or folder, or no such server; check the address and the network") from error
  except Exception as error:
    why = f"{type(error).__name__}: {first_line(error)}"
    raise UserError(f"{url}: cannot be read ({why}); check the address, the network and your credentials") from error


def changes(files: Sequence[str]) -> Iterator[str]:
  """Size and time of each file; of a URL what its server says of these, or an etag.

  Raises:
    OSError: with its name, that a file of this machine is gone, or cannot be read.
    UserError: a URL cannot be reached.
  """
  if not any(map(is_url, files)):
    yield from map(_changed, files)
    return
  with futures.ThreadPoolExecutor(_AT_ONCE) as pool:  # it is the servers that take their time
    yield from pool.map(_changed, files)


def _changed(file: str) -> str:
  if not is_url(file):
    facts = os.stat(file)
    return f"{facts.st_size} {facts.st_mtime_ns}"
  system, path = system_of(file)
  with reaching(file):
    info = system.info(path)
  return stamp_of(info)


def stamp_of(info: Mapping[str, Any]) -> str:
  """What tells a file from another of its name, of what fsspec says of it."""
  return " ".join([str(info.get("size")), *(f"{key} {info[key]}" for key in _CHANGED if info.get(key) is not None)])


def first_line(error: Exception) -> str:
  """What an error says, on one line; its type where it says nothing."""
  return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
