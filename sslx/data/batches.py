"""Which examples make up step k, and a way to have them read ahead: pure functions of the seed."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sslx.data.types import LazyArray


def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
  """The order, i32[n], in which epoch number `epoch` visits n examples."""
  return np.random.default_rng([seed, epoch]).permutation(n).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class StepIndices(Sequence):
  """Element i is i32[B], the examples of step `first_step + i`. Costs one permutation an epoch, whatever its length."""

  seed: int
  n: int
  batch_size: int
  first_step: int
  last_step: int
  shuffle: bool = True

  def __len__(self) -> int:
    return max(0, self.last_step - self.first_step)

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    if not -len(self) <= i < len(self):
      raise IndexError(f"step {i} of {len(self)}")
    epoch, place = divmod(self.first_step + i % len(self), self.n // self.batch_size)
    order = _cached_order(self.seed, epoch, self.n) if self.shuffle else np.arange(self.n, dtype=np.int32)
    return order[place * self.batch_size : (place + 1) * self.batch_size]


def step_indices(
  seed: int, n: int, batch_size: int, first_step: int, last_step: int, shuffle: bool = True
) -> StepIndices:
  """The examples of steps first_step .. last_step - 1 as a lazy sequence of i32[B].

  Every epoch visits its own `epoch_order` and drops the remainder: n // B steps an epoch, B = min(batch_size, n).
  Step k depends on nothing but (seed, n, batch_size, k), so a run resumed at k sees what the uninterrupted one saw.
  shuffle: False visits the examples in their own order, the same in every epoch.

  Raises:
    ValueError: n or batch_size below one, or a negative first_step.
  """
  if n < 1 or batch_size < 1 or first_step < 0:
    raise ValueError(f"need n >= 1, batch_size >= 1 and first_step >= 0, not {n}, {batch_size}, {first_step}")
  return StepIndices(seed, n, min(batch_size, n), first_step, last_step, shuffle)


def stream(x: np.ndarray | LazyArray, indices: Iterable[np.ndarray], num_threads: int) -> Iterator[np.ndarray]:
  """Batches x[i], [B,...], for i in indices, in that order, read ahead by grain in `num_threads` threads.

  Args:
    x: [N,...], lazy or not.
    indices: i32[B] arrays; a sequence (as from `step_indices`) is read as it goes, an iterator is listed first.
    num_threads: 0 reads in the calling thread.

  Raises:
    UserError: from within the iteration, if an example cannot be read.
  """
  import grain

  source = indices if isinstance(indices, Sequence) else list(indices)
  read_ahead = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=2 * num_threads)
  return iter(grain.MapDataset.source(source).map(lambda i: x[i]).to_iter_dataset(read_ahead))


@functools.lru_cache(maxsize=4)  # threads reading ahead may straddle two epochs
def _cached_order(seed: int, epoch: int, n: int) -> np.ndarray:
  order = epoch_order(seed, epoch, n)
  order.flags.writeable = False
  return order
