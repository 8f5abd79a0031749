"""The one loop, for every method and for the supervised baseline."""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sslx.data.batches import StepIndices, step_indices, stream
from sslx.training import parallel
from sslx.training.hooks import Hook, Row
from sslx.training.step import TrainStep
from sslx.types import Metrics, TrainState, UserError


class Interrupted(Exception):
  """Ctrl-C or SIGTERM during `fit`, raised after the hooks have saved the state."""

  def __init__(self, step: int, steps: int, number: signal.Signals, row: Row | None, saved: bool):
    by = " by SIGTERM" if number == signal.SIGTERM else ""
    super().__init__(f"stopped at step {step} of {steps}{by}")
    self.signal = number
    """SIGINT or SIGTERM."""
    self.row = row
    """The mean over the steps since the last row, which no hook has got; None where there are none."""
    self.saved = saved
    """Whether there were hooks that save."""


Agree = Callable[[int, signal.Signals | None], signal.Signals | None]
"""(steps done, the signal that this process got) -> the signal for which all processes stop after this step."""


class Loop(NamedTuple):
  """How long, in what order, and how often something is said."""

  steps: int
  """The last one: a run that is at step 5 of 12 has 7 to go."""
  batch_size: int
  """Reduced to the number of examples where larger; the remainder of an epoch is dropped."""
  seed: int
  """Of the order, which is drawn anew each epoch from (seed, epoch)."""
  shuffle: bool = True
  """False takes the examples in their own order, in every epoch."""
  log_every: int = 50
  steps_per_call: int | None = None
  """Steps that run as one call on the device, where data is in memory. They end at multiples of log_every. None: 1 on
  the CPU, where a loop around the step gains nothing, else log_every."""
  workers: int = 0
  """Processes that read and decode data that streams; 0: threads of this one. The run is the same."""
  agree: Agree = lambda step, got: got
  """Of several processes, which have to stop after the same step; called after each, with the same steps in all."""


def fit(
  ts: TrainState, train_step: TrainStep, data: Mapping[str, Any], loop: Loop, hooks: Sequence[Hook] = ()
) -> TrainState:
  """Trains from ts.step to loop.steps and returns the last TrainState. `ts` is consumed.

  Args:
    ts: where it starts. Where it lives on a mesh of devices (`sslx.training.parallel`), batches are shared out over it.
    train_step: of `make_train_step`.
    data: raw arrays [N,...] by name. numpy or jax arrays live on the device; anything else with [indices] streams.
    loop: see `Loop`.
    hooks: get a row {step, loss, ..., examples_per_second} at the multiples of log_every and at the end, wherever the
      run was cut or saved, and may save. A row is the mean over the steps since the one before; the first after a
      restored checkpoint, which may lie between two rows, over those since that checkpoint. Of several processes' mesh
      they get what this process holds of the state.

  Raises:
    UserError: the loss is not finite; nothing is saved after that.
    Interrupted: Ctrl-C or SIGTERM, after saving.
  """
  first, steps, mesh = int(ts.step), loop.steps, parallel.mesh_of(ts)
  n = len(data["x"])
  indices = step_indices(loop.seed, n, loop.batch_size, first, steps, loop.shuffle, getattr(data["x"], "blocks", ()))
  batch_size = min(loop.batch_size, n)
  if all(isinstance(a, (np.ndarray, jax.Array)) for a in data.values()):
    arrays = {name: parallel.replicate(jnp.asarray(array), mesh) for name, array in data.items()}
    at_once = loop.steps_per_call or (1 if jax.default_backend() == "cpu" else loop.log_every)
    groups = _grouped(indices, first, min(at_once, loop.log_every), loop.log_every)
    batches = ((arrays, parallel.share(rows, mesh, axis=1), len(rows)) for rows in groups)
  else:
    batches = _streamed(data, indices, loop.workers, batch_size, mesh)
  pending: list[tuple[int, Metrics]] = []
  fetched: list[Metrics] = []
  logged_at, logged_step = time.monotonic(), first
  savers = [hook for hook in hooks if hook.save]

  def fetch() -> None:
    """Fetches the metrics of the steps since the last time (the only host round trip), and checks the loss."""
    new = jax.device_get([metrics for _, metrics in pending])
    losses = np.concatenate([metrics["loss"] for metrics in new]) if new else np.zeros(1)
    if not np.isfinite(losses).all():
      raise UserError(
        f"the loss is not finite ({float(np.mean(losses))}) at or before step {pending[-1][0]}; lower --learning_rate, "
        "or start again with --fresh. The last checkpoint is from before."
      )
    fetched.extend(new)
    pending.clear()

  def row_at(step: int) -> Row | None:
    """The mean over the steps since the last row, of which there may be none."""
    nonlocal logged_step
    fetch()
    if not fetched:
      return None
    means = {name: float(np.mean(np.concatenate([metrics[name] for metrics in fetched]))) for name in fetched[0]}
    speed = (step - logged_step) * batch_size / max(time.monotonic() - logged_at, 1e-9)
    fetched.clear()
    logged_step = step
    return {"step": step, **means, "examples_per_second": speed}

  def log(step: int) -> None:
    nonlocal logged_at
    row = row_at(step)
    assert row
    for hook in hooks:
      row = hook.logged(parallel.local(ts), row)
    logged_at = time.monotonic()  # what hooks take is no part of the speed

  def save() -> None:
    nonlocal logged_at
    fetch()
    begin = time.monotonic()
    for hook in savers:
      assert hook.save
      hook.save(parallel.local(ts))
    logged_at += time.monotonic() - begin

  with _signals() as stop, contextlib.closing(batches):  # worker processes end here, not when memory is tidied up
    step = first
    for source, rows, taken in batches:
      ts, metrics = train_step(ts, source, rows)
      if step == first:
        jax.block_until_ready(metrics)
        for hook in hooks:
          hook.begun(taken)
      step += taken
      pending.append((step, metrics))
      if step % loop.log_every == 0 or step == steps:
        log(step)
      stopping = loop.agree(step, stop[0] if stop else None)
      if savers and step < steps and (stopping or any(hook.due() for hook in savers)):
        save()
      if stopping and step < steps:
        raise Interrupted(step, steps, stopping, row_at(step), bool(savers))
    if first < steps:
      save()
    if stop:
      raise Interrupted(steps, steps, stop[0], None, bool(savers))
  return ts


def _grouped(indices: Sequence[np.ndarray], first: int, at_once: int, log_every: int) -> Iterator[np.ndarray]:
  """The index arrays stacked to i32[K,B] with K <= at_once such that no stack crosses a log line."""
  done = 0
  while done < len(indices):
    k = min(at_once, log_every - (first + done) % log_every, len(indices) - done)
    yield np.stack(indices[done : done + k])
    done += k


def _streamed(
  data: Mapping[str, Any], indices: StepIndices, workers: int, batch_size: int, mesh: Mesh | None
) -> Generator[tuple[dict[str, Any], None, int], None, None]:
  """The batch of each step: x through grain; small arrays (y) directly. Of several processes each reads what its
  devices get.
  """
  part = parallel.own_rows(batch_size, mesh)
  own = dataclasses.replace(indices, part=(part.start, part.stop))
  # A lazy sequence: walked twice, never listed, however long the run.
  with contextlib.closing(stream(data["x"], own, 8, workers)) as batches:
    for x, rows in zip(batches, own, strict=True):
      batch = {"x": x, **{name: np.asarray(array[rows]) for name, array in data.items() if name != "x"}}
      yield {name: parallel.join(array, batch_size, mesh) for name, array in batch.items()}, None, 1


class _signals:
  """Within: SIGINT and SIGTERM are put down in a list instead of ending the process mid-step; a second one ends it."""

  def __enter__(self) -> list[signal.Signals]:
    self.seen: list[signal.Signals] = []
    self.old: dict[signal.Signals, Any] = {}

    def handler(number: int, frame: Any) -> None:
      if self.seen:
        raise KeyboardInterrupt
      self.seen.append(signal.Signals(number))

    if threading.current_thread() is threading.main_thread():
      self.old = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    return self.seen

  def __exit__(self, *exc: Any) -> None:
    for number, old in self.old.items():
      signal.signal(number, old)
