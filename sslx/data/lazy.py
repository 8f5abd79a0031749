"""Arrays that stay on the disk: an index reads what it asks for."""

import dataclasses
import os
from collections.abc import Callable
from concurrent import futures

import numpy as np

from sslx.data import blocks

_CHUNK = 1024  # rows decoded by one thread at a time when a lazy split is brought into memory


@dataclasses.dataclass(frozen=True, eq=False)
class LazyArray:
  """An array that stays on disk: `x[i32[B]]` reads and decodes just those rows, as [B,...]. Thread-safe.

  An int gives one row, a slice [B,...]; `np.asarray(x)` reads everything. Raises IndexError beyond the ends and
  UserError, naming the file, where one cannot be decoded.
  """

  shape: tuple[int, ...]
  fetch: Callable[[np.ndarray], np.ndarray]  # i64[B] in [0, N) -> [B,...]
  dtype: np.dtype = np.dtype(np.uint8)
  files: tuple[str, ...] = ()
  """What it is read from, absolute paths: what tells it from other data without reading it (`data.fingerprint`)."""
  parents: "tuple[Rows, ...]" = ()
  """The arrays that it is made of, where these and its shape say all of it: they tell it from other data instead."""
  how: str = ""
  """What else its values depend on, such as settings of a decoder."""
  blocks: tuple[int, ...] = ()
  """Numbers of rows, one after another, that are read as one, such as the row groups of a Parquet file: who reads few
  of them at a time reads each once. (): every row is read by itself."""

  @property
  def ndim(self) -> int:
    """Axes, the first of which is that of the examples."""
    return len(self.shape)

  @property
  def nbytes(self) -> int:
    """Bytes of all rows, decoded."""
    return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

  def __len__(self) -> int:
    return self.shape[0]

  def __repr__(self) -> str:
    return f"LazyArray({self.dtype}[{','.join(map(str, self.shape))}], of which an index reads what it asks for)"

  def __getitem__(self, index) -> np.ndarray:
    n = len(self)
    rows = np.arange(*index.indices(n)) if isinstance(index, slice) else np.asarray(index)
    if rows.size and (rows.dtype.kind not in "iu" or rows.ndim > 1):
      raise IndexError(f"a lazy array takes an integer, a slice or a vector of integers, not {rows.dtype}{rows.shape}")
    if rows.size and not -n <= rows.min() <= rows.max() < n:
      raise IndexError(f"index out of range for {n} rows")
    rows = np.where(rows < 0, rows + n, rows).astype(np.int64)
    if rows.ndim == 0:
      return self.fetch(rows[None])[0]
    return self.fetch(rows) if rows.size else np.empty((0, *self.shape[1:]), self.dtype)

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    everything = in_memory(self)
    return everything if dtype is None else everything.astype(dtype)


Rows = np.ndarray | LazyArray
"""[N,...]: `.shape`, `.dtype`, `len`, `[i32[B]]`."""


def take(x: Rows, rows: np.ndarray) -> Rows:
  """x[rows], lazy where `x` is: nothing is read. Rows that ascend keep what is left of the blocks of `x`."""
  if isinstance(x, np.ndarray):
    return x[rows]
  fetch, kept = x.fetch, blocks.of_rows(x.blocks, rows)
  return LazyArray((len(rows), *x.shape[1:]), lambda i: fetch(rows[i]), x.dtype, parents=(x, rows), blocks=kept)


def joined(first: Rows, second: Rows) -> Rows:
  """The rows of both, lazy where one of them is."""
  if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
    return np.concatenate([first, second])
  n, shape, dtype = len(first), tuple(first.shape[1:]), first.dtype

  def fetch(rows: np.ndarray) -> np.ndarray:
    out = np.empty((len(rows), *shape), dtype)
    out[rows < n], out[rows >= n] = first[rows[rows < n]], second[rows[rows >= n] - n]
    return out

  both = blocks.of_both(getattr(first, "blocks", ()), n, getattr(second, "blocks", ()), len(second))
  return LazyArray((n + len(second), *shape), fetch, dtype, parents=(first, second), blocks=both)


def in_memory(x: LazyArray) -> np.ndarray:
  """Reads all of `x`, in threads (decoding releases the GIL) and in pieces (so the peak is little above the result)."""
  out = np.empty(x.shape, x.dtype)

  def fill(start):
    stop = min(start + _CHUNK, len(out))
    out[start:stop] = x.fetch(np.arange(start, stop))

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    jobs = [pool.submit(fill, start) for start in range(0, len(out), _CHUNK)]
    try:
      for job in jobs:
        job.result()
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise
  return out
