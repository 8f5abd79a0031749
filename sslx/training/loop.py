"""The one loop, for every method and for the supervised baseline."""

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.data.batches import step_indices, stream
from sslx.training.hooks import Hook
from sslx.training.step import TrainStep
from sslx.types import Metrics, TrainState, UserError


class Interrupted(Exception):
  """Ctrl-C or SIGTERM during `fit`, raised after the hooks have saved the state."""


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


def fit(
  ts: TrainState, train_step: TrainStep, data: Mapping[str, Any], loop: Loop, hooks: Sequence[Hook] = ()
) -> TrainState:
  """Trains from ts.step to loop.steps and returns the last TrainState. `ts` is consumed.

  Args:
    ts: where it starts.
    train_step: of `make_train_step`.
    data: raw arrays [N,...] by name. numpy or jax arrays live on the device; anything else with [indices] streams.
    loop: see `Loop`.
    hooks: get a row {step, loss, ..., examples_per_second} every log_every steps and at the end, and may save.

  Raises:
    UserError: the loss is not finite; nothing is saved after that.
    Interrupted: Ctrl-C or SIGTERM, after saving.
  """
  first, steps = int(ts.step), loop.steps
  n = len(data["x"])
  indices = step_indices(loop.seed, n, loop.batch_size, first, steps, loop.shuffle)
  batch_size = min(loop.batch_size, n)
  if all(isinstance(a, (np.ndarray, jax.Array)) for a in data.values()):
    arrays = {name: jnp.asarray(array) for name, array in data.items()}
    at_once = loop.steps_per_call or (1 if jax.default_backend() == "cpu" else loop.log_every)
    batches = ((arrays, rows) for rows in _grouped(indices, first, min(at_once, loop.log_every), loop.log_every))
  else:
    batches = _streamed(data, indices)
  pending: list[tuple[int, Metrics]] = []
  logged_at, logged_step = time.monotonic(), first
  savers = [hook for hook in hooks if hook.save]

  def flush() -> None:
    """Fetches the metrics since the last flush (the only host round trip), checks the loss, and hands their mean on."""
    nonlocal logged_at, logged_step
    if not pending:
      return
    step = pending[-1][0]
    fetched = jax.device_get([metrics for _, metrics in pending])
    pending.clear()
    values = {name: np.concatenate([metrics[name] for metrics in fetched]) for name in fetched[0]}
    means = {name: float(np.mean(v)) for name, v in values.items()}
    if not np.isfinite(values["loss"]).all():
      raise UserError(
        f"the loss is not finite ({means['loss']}) at or before step {step}; lower --learning_rate, "
        "or start again with --fresh. The last checkpoint is from before."
      )
    speed = (step - logged_step) * batch_size / max(time.monotonic() - logged_at, 1e-9)
    row = {"step": step, **means, "examples_per_second": speed}
    for hook in hooks:
      row = hook.logged(ts, row)
    logged_at, logged_step = time.monotonic(), step  # what hooks take is no part of the speed

  def save() -> None:
    flush()
    for hook in savers:
      assert hook.save
      hook.save(ts)

  with _signals() as stop:
    step = first
    for source, rows in batches:
      ts, metrics = train_step(ts, source, rows)
      step += len(rows)
      pending.append((step, metrics))
      if step % loop.log_every == 0 or step == steps:
        flush()
      stopping = stop.is_set()
      if savers and step < steps and (stopping or any(hook.due() for hook in savers)):
        save()
      if stopping and step < steps:
        raise Interrupted(f"stopped at step {step} of {steps}")
    if first < steps:
      save()
    if stop.is_set():
      raise Interrupted(f"stopped at step {steps} of {steps}")
  return ts


def _grouped(indices: Sequence[np.ndarray], first: int, at_once: int, log_every: int) -> Iterator[np.ndarray]:
  """The index arrays stacked to i32[K,B] with K <= at_once such that no stack crosses a log line."""
  done = 0
  while done < len(indices):
    k = min(at_once, log_every - (first + done) % log_every, len(indices) - done)
    yield np.stack(indices[done : done + k])
    done += k


def _streamed(data: Mapping[str, Any], indices: Sequence[np.ndarray]) -> Iterable[tuple[dict[str, Any], np.ndarray]]:
  """(batch, all of its rows i32[1,B]) for each index array: x through grain, in threads; small arrays (y) directly."""
  # `indices` is a lazy sequence: walked twice, never listed, however long the run.
  for x, rows in zip(stream(data["x"], indices, num_threads=8), indices, strict=True):
    batch = {"x": x, **{name: array[rows] for name, array in data.items() if name != "x"}}
    yield batch, np.arange(len(rows), dtype=np.int32)[None]


class _signals:
  """Within: SIGINT and SIGTERM set an event instead of ending the process mid-step; a second SIGINT ends it."""

  def __enter__(self) -> threading.Event:
    self.event, self.old = threading.Event(), {}

    def handler(number: int, frame: Any) -> None:
      if self.event.is_set():
        raise KeyboardInterrupt
      self.event.set()

    if threading.current_thread() is threading.main_thread():
      self.old = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    return self.event

  def __exit__(self, *exc: Any) -> None:
    for number, old in self.old.items():
      signal.signal(number, old)
