"""Processes that read and decode: how grain's workers begin and end, and how what goes wrong in one is told here."""

import contextlib
import dataclasses
import functools
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.data.lazy import LazyArray
from sslx.types import UserError

GRACE = 30.0  # seconds that a worker goes on after SIGTERM, which the loop answers when its step is done


class _Failure(NamedTuple):
  """What stands in for a batch that could not be read: grain would turn its error into a text, or into another one."""

  error: Exception


def in_flight(workers: int, ahead: int) -> int:
  """Batches that are read and not yet used, at most, where `ahead` are asked for: of each worker one that it makes, one
  that waits here, and the `_buffered` ones between them, twice.
  """
  return workers * (2 + 2 * _buffered(workers, ahead))


def _buffered(workers: int, ahead: int) -> int:
  """How many batches grain's queue of each worker holds; as many more wait in this process."""
  return max(1, min(4, (ahead // workers - 2) // 2))


def in_processes(
  x: LazyArray, source: Sequence[np.ndarray], workers: int, ahead: int
) -> Generator[np.ndarray, None, None]:
  """Batches x[i] for i in `source`, in that order: worker w reads numbers w, w + workers, w + 2 workers ...

  Each has its own copy of x, as cloudpickle hands it over, and so its own cache of blocks. Batches come through shared
  memory (/dev/shm). A worker does not touch an accelerator: its jax, if anything there uses it, is one of the CPU.

  ahead: batches that may be in flight, as far as each worker needs no more.

  Raises:
    UserError: what a worker raised; or it ended by itself, or x cannot be handed over.
  """
  import grain
  from absl import flags

  if not flags.FLAGS.is_parsed():  # as in a notebook: grain looks at flags of its own, whose defaults are meant
    flags.FLAGS.mark_as_parsed()
  one_by_one = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
  how = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=_buffered(workers, ahead))
  alone = dataclasses.replace(x, files=(), parents=())  # what else it says of itself is not for reading
  read = grain.MapDataset.source(source).map(functools.partial(_tried, alone)).to_iter_dataset(one_by_one)
  batches = iter(read.mp_prefetch(how, _begin))
  try:
    with _uninterrupted():  # the processes inherit it: Ctrl-C is not for them, from their first moment on
      batch = _next(batches, workers)
    while batch is not None:
      if isinstance(batch, _Failure):
        raise batch.error
      yield batch
      batch = _next(batches, workers)
  finally:
    batches.close()
    with contextlib.suppress(OSError):  # /dev/shm may be full
      _give_back()


def _give_back() -> None:
  """Waits, a second at most, until grain's thread has given back the shared memory of batches that nobody used. At the
  end of a program it would be cut off, and Python would tell of memory that is lost.
  """
  from grain.multiprocessing import SharedMemoryArray

  gc.collect()  # the exceptions by which grain's threads end keep their last batch in a circle
  last = SharedMemoryArray((1,), np.uint8)  # its turn comes after all others
  last.unlink_on_del()
  place, deadline = Path("/dev/shm", last.metadata.name), time.monotonic() + 1
  del last
  while place.exists() and time.monotonic() < deadline:
    time.sleep(0.002)


def _next(batches: Iterator, workers: int) -> np.ndarray | _Failure | None:
  """The next batch, None at the end. Whatever grain raises is of the processes, as errors of reading are values."""
  try:
    batch = next(batches, None)
    # A copy, so that grain's shared memory is given back at once, and never while jax still reads it.
    return np.array(batch) if isinstance(batch, np.ndarray) else batch
  except (pickle.PicklingError, TypeError, AttributeError) as error:
    raise UserError(
      f"--workers={workers}: these data cannot be handed to other processes ({error}); leave --workers out."
    ) from error
  except Exception as error:
    why = str(error).partition(". ")[0] or type(error).__name__
    raise UserError(
      f"--workers={workers}: a process that reads the data is gone ({why}). Out of memory, or of /dev/shm? Fewer "
      "workers and a smaller batch need less of both; --workers=0 needs no processes."
    ) from error


def _tried(x: LazyArray, rows: np.ndarray) -> np.ndarray | _Failure:
  """In a worker: x[rows], or why not, as something that certainly reaches the other process."""
  try:
    return np.ascontiguousarray(x[rows])
  except UserError as error:
    return _Failure(UserError(str(error)))
  except BaseException as error:
    import traceback

    try:
      pickle.loads(pickle.dumps(error))
      failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
    except Exception:
      failure = RuntimeError(repr(error))
    failure.add_note("in a worker process:\n" + traceback.format_exc())
    return _Failure(failure)


def _begin(worker: int, workers: int) -> None:
  """In a worker, first of all: it ends with its parent, however that ends, and not before it."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all of a group; the parent says when it is over
  signal.signal(signal.SIGTERM, _end_later)  # so does a scheduler, and the parent may be waiting for a last batch
  threading.Thread(target=_end_with_parent, daemon=True).start()
  if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_platforms", "cpu")
  else:
    os.environ["JAX_PLATFORMS"] = "cpu"


def _end_later(number: int, frame: object) -> None:
  timer = threading.Timer(GRACE, os._exit, [128 + number])
  timer.daemon = True
  timer.start()


def _end_with_parent() -> None:
  parent = multiprocessing.parent_process()
  if parent is not None:
    parent.join()
    os._exit(1)  # grain's queues would wait for it for ever


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
  """Within, SIGINT does not reach this thread, nor threads and processes that it starts. Others here take it."""
  if not hasattr(signal, "pthread_sigmask"):
    yield
    return
  from multiprocessing import resource_tracker

  resource_tracker.ensure_running()  # it is started with the first process, and lets SIGINT through where that is
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
