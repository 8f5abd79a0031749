"""Where the samples of shards are, and their labels: found once, by reading every shard, and kept in data_dir."""

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from sslx.data.kept import kept_as_made
from sslx.data.samples import coded
from sslx.data.shards import File
from sslx.data.types import Request

_AT_ONCE = 8  # files that are looked through
_VERSION = 1  # of what is kept


class Index(NamedTuple):
  """The samples of all shards, one shard after another."""

  shard: np.ndarray
  """i32 [N]."""
  start: np.ndarray
  """i64 [N]: of the image in its shard, in bytes or records."""
  size: np.ndarray
  """i64 [N], bytes."""
  label: np.ndarray
  """i64 [N], NO_LABEL of what has none."""
  texts: np.ndarray
  """u8: the texts that labels are places in, each with a 0 behind it, and one more 0."""


class Found(NamedTuple):
  """The samples of one shard, as a loader finds them."""

  start: Sequence[int]
  size: Sequence[int]
  label: Sequence[str | None]


def index_of(
  request: Request, kind: str, files: Sequence[File], find: Callable[[File], Found], how: str
) -> tuple[Index, list[str] | None]:
  """(the index of all files, the texts that its labels are places in; None where they are numbers).

  Args:
    request: data_dir.
    kind: the folder's name in data_dir.
    files: in their order.
    find: looks through one of them.
    how: what is said to be done, such as "indexed".

  Raises:
    UserError: a file that cannot be read, or a data_dir that cannot be written.
  """

  def make() -> tuple[Any, Any]:
    with futures.ThreadPoolExecutor(_AT_ONCE) as pool:  # of files behind URLs, most of the time is waiting
      found = list(pool.map(find, files))
    labels, texts = coded([label for each in found for label in each.label])
    index = Index(
      np.repeat(np.arange(len(files), dtype=np.int32), [len(each.start) for each in found]),
      np.array([start for each in found for start in each.start], np.int64),
      np.array([size for each in found for size in each.size], np.int64),
      labels.astype(np.int64),
      np.frombuffer(("".join(f"{text}\0" for text in texts or ()) + "\0").encode("utf-8", "surrogateescape"), np.uint8),
    )
    layout = {"index": {name: (array.dtype.str, array.shape) for name, array in index._asdict().items()}}
    return layout, iter([("index", iter([index]))])

  facts = {"version": _VERSION, "kind": kind, "files": [list(file) for file in files]}
  arrays = kept_as_made(request, kind, facts, make, 0, how)["index"]
  index = Index(**{name: np.asarray(arrays[name]) for name in Index._fields})
  texts = bytes(index.texts).decode("utf-8", "surrogateescape").split("\0")[:-2]
  return index, texts or None
