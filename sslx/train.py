"""One train step and one loop, for every method and for the supervised baseline."""

import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sslx.compile import jit, jit_once
from sslx.data.batches import step_indices, stream
from sslx.progress import progress
from sslx.types import Array, Batch, Metrics, Params, Pretext, State, TrainState, UserError

TrainStep = Callable[[TrainState, Mapping[str, Any], np.ndarray | None], tuple[TrainState, Metrics]]


class Interrupted(Exception):
  """Ctrl-C or SIGTERM during `fit`, raised after the state was saved."""


def make_init(pretext: Pretext, tx: optax.GradientTransformation) -> Callable[[Array, Batch], TrainState]:
  """(key, batch) -> fresh TrainState; the batch gives the shapes, one image will do.

  Jitted, so that no two leaves share memory: donating them would fail.
  """

  @jit_once
  def init(key: Array, batch: Batch) -> TrainState:
    init_key, step_key = jax.random.split(key)
    params, state = pretext.init(init_key, batch)
    return TrainState(jnp.zeros((), jnp.int32), step_key, params, state, tx.init(params))

  return init


def part_size(batch_size: int, accumulate: int) -> int:
  """Images in each of the `accumulate` parts of a batch. Raises UserError where they would not be equal."""
  if batch_size % accumulate:
    raise UserError(
      f"--accumulate={accumulate}: a batch of {batch_size} images does not split into as many equal parts."
    )
  return batch_size // accumulate


def make_train_step(pretext: Pretext, tx: optax.GradientTransformation, accumulate: int = 1) -> TrainStep:
  """The jitted step (train_state, data, indices) -> (train_state, metrics). The old train_state is donated.

  data: arrays [N,...]; indices i32[B] picks the batch on the device. With indices None, data is the batch. indices
  i32[K,B] makes K steps in one call, with metrics [K].
  Step order: transform -> value_and_grad(loss) over params only -> optimiser -> update. All randomness is
  fold_in(key, step), so that a resumed run is the same run.
  accumulate: parts of a batch that are transformed and differentiated one after the other, each with a key of its own,
  in a fraction of the memory; one optimiser step with the mean of their gradients, one `update`. The state passes
  through all of them: batch statistics move with every part, a queue takes in every key. The loss of a part knows this
  part only: a contrastive one has fewer negatives, and batch normalisation normalises within it.
  """
  grad = jax.value_and_grad(pretext.loss, has_aux=True)

  def gradients(params: Params, state: State, key: Array, batch: Batch) -> tuple[Params, State, Metrics]:
    transform_key, loss_key = jax.random.split(key)
    view = pretext.transform(transform_key, batch)
    (loss, (state, metrics)), grads = grad(params, state, loss_key, view)
    return grads, state, {"loss": loss, **metrics}

  def accumulated(params: Params, state: State, key: Array, batches: Any, pick: Callable[[Any], Batch]):
    """`gradients` of the parts pick(batches[0]), pick(batches[1]), ... on average; the state after the last."""

    def part(carry: tuple[State, Params], this: tuple[Array, Any]):
      state, total = carry
      grads, state, metrics = gradients(params, state, this[0], pick(this[1]))
      return (state, jax.tree.map(jnp.add, total, grads)), metrics

    start = state, jax.tree.map(jnp.zeros_like, params)
    (state, total), metrics = jax.lax.scan(part, start, (jax.random.split(key, accumulate), batches))
    return jax.tree.map(lambda g: g / accumulate, total), state, {name: m.mean(0) for name, m in metrics.items()}

  def train_step(ts: TrainState, data: Mapping[str, Array], indices: Array | None) -> tuple[TrainState, Metrics]:
    if indices is not None and indices.ndim == 2:
      return jax.lax.scan(lambda ts, i: train_step(ts, data, i), ts, indices)
    key = jax.random.fold_in(ts.key, ts.step)

    def pick(part: Any) -> Batch:
      return part if indices is None else {name: array[part] for name, array in data.items()}

    batch = data if indices is None else indices
    if accumulate == 1:
      grads, state, metrics = gradients(ts.params, ts.state, key, pick(batch))
    else:
      parts = jax.tree.map(lambda a: a.reshape(accumulate, part_size(len(a), accumulate), *a.shape[1:]), batch)
      grads, state, metrics = accumulated(ts.params, ts.state, key, parts, pick)
    updates, opt_state = tx.update(grads, ts.opt_state, ts.params)
    params: Any = optax.apply_updates(ts.params, updates)
    state = pretext.update(params, state, ts.step)
    return TrainState(ts.step + 1, ts.key, params, state, opt_state), metrics

  return jit(train_step, donate_argnums=0)


def make_watch(pretext: Pretext, data: Mapping[str, np.ndarray], batch_size: int) -> Callable[[TrainState], Metrics]:
  """train_state -> the mean loss and metrics over `data` in batches of the training's size, as training computes them.

  The remainder of the last batch is left out; fewer images than a batch make one. Noise and masks are the same in every
  call, so that a change is the parameters'. Batch normalisation uses the statistics of these batches.
  """
  n = len(data["image"])
  parts = np.arange(max(1, n // batch_size) * min(n, batch_size)).reshape(-1, min(n, batch_size))
  batches = [{name: jnp.asarray(array[rows]) for name, array in data.items()} for rows in parts]

  @jit
  def one(params: Params, state: State, key: Array, batch: Batch) -> Metrics:
    transform_key, loss_key = jax.random.split(key)
    loss, (_, metrics) = pretext.loss(params, state, loss_key, pretext.transform(transform_key, batch))
    return {"loss": loss, **metrics}

  def watch(ts: TrainState) -> Metrics:
    keys = jax.random.split(jax.random.key(0), len(batches))
    each = [one(ts.params, ts.state, key, batch) for key, batch in zip(keys, batches, strict=True)]
    return {name: jnp.stack([metrics[name] for metrics in each]).mean() for name in each[0]}

  return watch


def fit(
  ts: TrainState,
  train_step: TrainStep,
  data: Mapping[str, Any],
  *,
  steps: int,
  batch_size: int,
  seed: int,
  log: Callable[[dict[str, float]], None] = lambda row: None,
  log_every: int = 50,
  save: Callable[[TrainState], None] | None = None,
  save_seconds: float = 30.0,
  steps_per_call: int | None = None,
  watch: Callable[[TrainState], Metrics] | None = None,
  watches: int = 20,
  title: str | None = None,
  shuffle: bool = True,
) -> TrainState:
  """Trains from ts.step to `steps` and returns the last TrainState. `ts` is consumed.

  Args:
    data: arrays [N,...] by name. numpy or jax arrays live on the device; anything else with [indices] streams.
    batch_size: reduced to N where larger; the remainder of an epoch is dropped. The order is drawn anew each epoch
      from (seed, epoch).
    log: called every `log_every` steps and at the end with {step, loss, ..., images_per_second}.
    save: called every `save_seconds`, at the end, and on Ctrl-C or SIGTERM.
    steps_per_call: steps that run as one call on the device, where data is in memory. They end at multiples of
      log_every. None: 1 on the CPU, where a loop around the step gains nothing, else log_every.
    watch: its metrics join a logged row as heldout_NAME about `watches` times in a run of `steps`, and at its end.
    title: what the progress bar says; None shows none.
    shuffle: False takes the images in their own order, in every epoch.

  Raises:
    UserError: the loss is not finite; nothing is saved after that.
    Interrupted: Ctrl-C or SIGTERM, after saving.
  """
  first = int(ts.step)
  n = len(data["image"])
  indices = step_indices(seed, n, batch_size, first, steps, shuffle)
  batch_size = min(batch_size, n)
  in_memory = all(isinstance(a, (np.ndarray, jax.Array)) for a in data.values())
  if in_memory:
    arrays = {name: jnp.asarray(array) for name, array in data.items()}
    at_once = steps_per_call or (1 if jax.default_backend() == "cpu" else log_every)
    batches = ((arrays, i) for i in _grouped(indices, first, min(at_once, log_every), log_every))
  else:
    batches = _streamed(data, indices)

  watch_every = log_every * max(1, round(steps / log_every / watches))
  watched: dict[str, float] = {}  # by the last time
  pending: list[tuple[int, Metrics]] = []
  saved_at, logged_at, logged_step = time.monotonic(), time.monotonic(), first

  def flush() -> None:
    """Fetches the metrics since the last flush (the only host round trip), logs their mean, checks the loss."""
    nonlocal logged_at, logged_step, watched
    if not pending:
      return
    step = pending[-1][0]
    rows = jax.device_get([m for _, m in pending])
    pending.clear()
    values = {name: np.concatenate([np.atleast_1d(row[name]) for row in rows]) for name in rows[0]}
    means = {name: float(np.mean(v)) for name, v in values.items()}
    now = time.monotonic()
    speed = (step - logged_step) * batch_size / max(now - logged_at, 1e-9)
    logged_at, logged_step = now, step
    if not np.isfinite(values["loss"]).all():
      raise UserError(
        f"the loss is not finite ({means['loss']}) at or before step {step}; lower --learning_rate, "
        "or start again with --fresh. The last checkpoint is from before."
      )
    seen = {}
    if watch and (step % watch_every == 0 or step == steps):
      seen = {f"heldout_{name}": float(value) for name, value in jax.device_get(watch(ts)).items()}
      watched = {name.replace("_", " "): value for name, value in seen.items() if name != "heldout_loss"}
      logged_at = time.monotonic()  # watching is no part of the speed
    log({"step": step, **means, **seen, "images_per_second": speed})
    bar.update(step - first, {"loss": means["loss"], **watched}, speed)

  with progress(title, steps - first) as bar, _signals() as stop:
    step = first
    for source, idx in batches:
      ts, metrics = train_step(ts, source, idx)
      step += 1 if idx is None or idx.ndim == 1 else len(idx)
      pending.append((step, metrics))
      if step % log_every == 0 or step == steps:
        flush()
      stopping = stop.is_set()
      if save and step < steps and (stopping or time.monotonic() - saved_at > save_seconds):
        flush()
        save(ts)
        saved_at = time.monotonic()
      if stopping and step < steps:
        raise Interrupted(f"stopped at step {step} of {steps}")
    if save and first < steps:
      save(ts)
    if stop.is_set():
      raise Interrupted(f"stopped at step {steps} of {steps}")
  return ts


def _grouped(indices: Any, first: int, at_once: int, log_every: int):
  """The index arrays one by one, or stacked to i32[K,B] with K <= at_once such that no stack crosses a log line."""
  if at_once == 1:
    yield from indices
    return
  done = 0
  while done < len(indices):
    k = min(at_once, log_every - (first + done) % log_every, len(indices) - done)
    yield np.stack(indices[done : done + k])
    done += k


def _streamed(data: Mapping[str, Any], indices: Any):
  """(batch, None) for each index array: images through grain, in threads; small arrays (labels) directly."""
  # `indices` is a lazy sequence: walked twice, never listed, however long the run.
  for image, i in zip(stream(data["image"], indices, num_threads=8), indices, strict=True):
    yield {"image": image, **{name: array[i] for name, array in data.items() if name != "image"}}, None


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
