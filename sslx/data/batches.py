"""Which examples make up step k, and a way to have them read ahead: pure functions of the seed."""

import dataclasses
import functools
import threading
from collections.abc import Generator, Iterable, Sequence

import numpy as np

from sslx.data.lazy import LazyArray
from sslx.data.workers import in_processes
from sslx.types import UserError

WINDOW = 8192
"""Rows of an array with blocks among which the order is random (the shuffle buffer): larger mixes better, and a reader
keeps the blocks of two windows (`blocks_kept`), so memory grows with it."""


def epoch_order(seed: int, epoch: int, n: int, blocks: Sequence[int] = (), window: int = WINDOW) -> np.ndarray:
  """The order, i32[n], in which epoch number `epoch` visits n examples.

  Without blocks: a uniform permutation. With blocks (see `LazyArray.blocks`): the blocks in random order, in windows of
  as few consecutive ones as have `window` rows together, and the last of what is left; in each window its rows in
  uniformly random order. So each block is read once, in one go, and rows of one block come at most a window apart.

  Raises:
    ValueError: blocks that do not have n rows together.
  """
  rng = np.random.default_rng([seed, epoch])
  if not len(blocks):
    return rng.permutation(np.arange(n, dtype=np.int32))  # half the memory of permutation(n), and the same
  rows = np.asarray(blocks, np.int64)
  if rows.sum() != n:
    raise ValueError(f"the blocks have {rows.sum()} rows together, not {n}")
  turn = rng.permutation(len(rows))
  ends = np.cumsum(rows[turn])
  shifts = (np.cumsum(rows) - rows)[turn] - (ends - rows[turn])  # from a place in the order to its row
  order = np.arange(n, dtype=np.int32) + np.repeat(shifts.astype(np.int32), rows[turn])
  start = 0
  while start < n:
    end = int(ends[np.searchsorted(ends, min(start + window, n))])
    rng.shuffle(order[start:end])
    start = end
  return order


def blocks_kept(blocks: Sequence[int], window: int = WINDOW) -> int:
  """How many blocks a reader has to keep, the least recently used one making room, so that none is read twice an epoch:
  as many as two windows have at most, since batches are read ahead across the border of two.

  It is enough as long as all batches in flight have no more rows than a window; else some are read again.
  """
  before_the_last = int(np.searchsorted(np.cumsum(np.sort(np.asarray(blocks, np.int64))), window))
  return max(1, min(len(blocks), 2 * (before_the_last + 1)))


@dataclasses.dataclass(frozen=True)
class StepIndices(Sequence):
  """Element i is i32[B], the examples of step `first_step + i`. Costs one permutation an epoch, whatever its length."""

  seed: int
  n: int
  batch_size: int
  first_step: int
  last_step: int
  shuffle: bool = True
  blocks: tuple[int, ...] = ()
  part: tuple[int | None, int | None] = (None, None)
  """From where to where in the batch: what one of several processes reads of it."""

  def __len__(self) -> int:
    return max(0, self.last_step - self.first_step)

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    if not -len(self) <= i < len(self):
      raise IndexError(f"step {i} of {len(self)}")
    epoch, place = divmod(self.first_step + i % len(self), self.n // self.batch_size)
    first, last = place * self.batch_size, (place + 1) * self.batch_size
    if not self.shuffle:
      return np.arange(first, last, dtype=np.int32)[slice(*self.part)]
    with _DRAWING:
      return _cached_order(self.seed, epoch, self.n, self.blocks)[first:last][slice(*self.part)]


def step_indices(
  seed: int,
  n: int,
  batch_size: int,
  first_step: int,
  last_step: int,
  shuffle: bool = True,
  blocks: Sequence[int] = (),
) -> StepIndices:
  """The examples of steps first_step .. last_step - 1 as a lazy sequence of i32[B].

  Every epoch visits its own `epoch_order` and drops the remainder: n // B steps an epoch, B = min(batch_size, n).
  Step k depends on nothing but (seed, n, batch_size, blocks, k), so a run resumed at k sees what the uninterrupted one
  saw, and a checkpoint holds no state of the order.
  shuffle: False visits the examples in their own order, the same in every epoch.
  blocks: of the array that they are read from, see `LazyArray.blocks`.

  Raises:
    ValueError: n or batch_size below one, or a negative first_step.
  """
  if n < 1 or batch_size < 1 or first_step < 0:
    raise ValueError(f"need n >= 1, batch_size >= 1 and first_step >= 0, not {n}, {batch_size}, {first_step}")
  return StepIndices(seed, n, min(batch_size, n), first_step, last_step, shuffle, tuple(blocks))


READ_AHEAD = 512 << 20
"""Bytes of batches that `stream` reads ahead at most, though always two batches, or three of each worker."""


def stream(
  x: np.ndarray | LazyArray, indices: Iterable[np.ndarray], num_threads: int, workers: int = 0
) -> Generator[np.ndarray, None, None]:
  """Batches x[i], [B,...], for i in indices, in that order, read ahead by grain: in `num_threads` threads, or in worker
  processes, which leave this process's interpreter to the training loop.

  In flight, and so in memory, are at most 2 num_threads + 1 batches, fewer where these would exceed READ_AHEAD bytes,
  and at most `workers.in_flight` of worker processes.

  Args:
    x: [N,...], lazy or not.
    indices: i32[B] arrays; a sequence (as from `step_indices`) is read as it goes, an iterator is listed first.
    num_threads: 0 reads in the calling thread.
    workers: 0 reads in threads; more are of use for what stays on the disk, and an array in memory ignores them. They
      are started at the first batch, which takes seconds, and end with the iterator, or with this process.

  Raises:
    UserError: from within the iteration, if an example cannot be read, or a worker ended by itself.
  """
  import grain

  if workers < 0:
    raise UserError(f"--workers={workers}: must be 0 or more.")
  source = indices if isinstance(indices, Sequence) else list(indices)
  if not len(source):
    return
  ahead = max(2, READ_AHEAD // max(1, len(source[0]) * (x.nbytes // max(1, len(x)))))
  if workers and isinstance(x, LazyArray):
    yield from in_processes(x, source, workers, ahead)
    return
  ahead = min(ahead, 2 * num_threads)
  read_ahead = grain.ReadOptions(num_threads=min(num_threads, ahead), prefetch_buffer_size=ahead)
  batches = iter(grain.MapDataset.source(source).map(x.__getitem__).to_iter_dataset(read_ahead))
  try:
    yield from batches
  finally:
    batches.close()


_DRAWING = threading.Lock()  # threads that reach an epoch together would each draw its order


@functools.lru_cache(maxsize=2)  # threads reading ahead may straddle two epochs
def _cached_order(seed: int, epoch: int, n: int, blocks: tuple[int, ...]) -> np.ndarray:
  order = epoch_order(seed, epoch, n, blocks)
  order.flags.writeable = False
  return order
