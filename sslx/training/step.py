"""The one train step, for every method and for the supervised baseline."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from sslx.compile import jit, jit_once
from sslx.training import parallel
from sslx.types import (
  ENCODER,
  Array,
  Batch,
  Metrics,
  Params,
  Pretext,
  State,
  TrainState,
  UserError,
  View,
  gathered,
  replaced,
)

Prepare = Callable[[Array], Array]  # of a Modality
TrainStep = Callable[[TrainState, Mapping[str, Any], Any], tuple[TrainState, Metrics]]


def prepared(batch: Batch, prepare: Prepare) -> Batch:
  """The batch with its raw x as networks read it."""
  return {**batch, "x": prepare(batch["x"])}


def make_init(
  pretext: Pretext, tx: optax.GradientTransformation, prepare: Prepare
) -> Callable[[Array, Batch], TrainState]:
  """(key, raw batch) -> fresh TrainState; the batch gives the shapes, one example will do.

  Jitted, so that no two leaves share memory: donating them would fail.

  Raises:
    TypeError: the method's params or state have no role ENCODER, which is what checkpoints and probes take from it.
  """

  @jit_once
  def init(key: Array, batch: Batch) -> TrainState:
    init_key, step_key = jax.random.split(key)
    params, state = pretext.init(init_key, prepared(batch, prepare))
    if ENCODER not in params or ENCODER not in state:
      raise TypeError(
        f"Pretext.init: params and state need the role {ENCODER!r} (the encoder's parameters, and its batch statistics "
        f"or {{}}); they have {sorted(params)} and {sorted(state)}"
      )
    return TrainState(jnp.zeros((), jnp.int32), step_key, params, state, tx.init(params))

  return init


def part_size(batch_size: int, accumulate: int) -> int:
  """Examples in each of the `accumulate` parts of a batch. Raises UserError where they would not be equal."""
  if batch_size % accumulate:
    raise UserError(
      f"--accumulate={accumulate}: a batch of {batch_size} images does not split into as many equal parts."
    )
  return batch_size // accumulate


def make_train_step(
  pretext: Pretext,
  tx: optax.GradientTransformation,
  prepare: Prepare,
  accumulate: int = 1,
  by_rows: bool = False,
  mesh: Mesh | None = None,
) -> TrainStep:
  """The jitted (train_state, data, indices) -> (train_state, metrics). The old train_state is donated.

  data: raw arrays [N,...]; indices i32[K,B]: each row picks the batch of one of K steps, on the device; None: data is
  the batch of one step. Metrics are [K]. Step order: prepare -> transform -> value_and_grad(loss) over params only ->
  optimiser -> update. All randomness is fold_in(key, step), so that a resumed run is the same run.
  accumulate: parts of a batch that are transformed and differentiated one after the other, each with a key of its own,
  in a fraction of the memory; one optimiser step with the mean of their gradients, one `update`. The state passes
  through all of them: batch statistics move with every part, a queue takes in every key. The loss of a part knows this
  part only: a contrastive one has fewer negatives, and batch normalisation normalises within it.
  by_rows: whether `tx` moves each number by its own gradient alone, as plain descent does. Where a method names the
  rows of a table that it reads (`Pretext.rows`), only these are then differentiated and moved, and a step costs the
  same whatever the size of the table; otherwise, and with parts, gradients and updates are as large as the table.
  mesh: the devices that train_state and data live on (`sslx.training.parallel`), over which a batch is shared out.
  """
  by_rows = by_rows and pretext.rows is not None and accumulate == 1

  def gradients(params: Params, state: State, key: Array, batch: Batch) -> tuple[Params, State, Metrics, View]:
    """With regard to all params or, by rows, to what the loss reads of them."""
    transform_key, loss_key = jax.random.split(key)
    view = pretext.transform(transform_key, prepared(batch, prepare))

    def loss(params: Params):
      return pretext.loss(params if by_rows else gathered(pretext, params, view), state, loss_key, view)

    seen = gathered(pretext, params, view) if by_rows else params
    (value, (state, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(seen)
    return grads, state, {"loss": value, **metrics}, view

  def moved(params: Params, updates: Any, view: View) -> Params:
    """Params after the updates, of which those of rows join their tables: an id that stands twice gets both."""
    if not by_rows:
      return cast(Params, optax.apply_updates(params, updates))
    assert pretext.rows
    after = cast(Params, optax.apply_updates(gathered(pretext, params, view), updates))
    for path, ids in pretext.rows(view).items():
      table: Any = functools.reduce(operator.getitem, path, params)
      update = functools.reduce(operator.getitem, path, updates)
      after = replaced(after, path, table.at[ids].add(update))
    return after

  def accumulated(params: Params, state: State, key: Array, parts: Any, pick: Callable[[Any], Batch]):
    """`gradients` of the batches pick(parts[0]), pick(parts[1]), ... on average; the state after the last."""

    def part(carry: tuple[State, Params], this: tuple[Array, Any]):
      state, total = carry
      grads, state, metrics, _ = gradients(params, state, this[0], pick(this[1]))
      return (state, jax.tree.map(jnp.add, total, grads)), metrics

    start = state, jax.tree.map(jnp.zeros_like, params)
    (state, total), metrics = jax.lax.scan(part, start, (jax.random.split(key, accumulate), parts))
    return jax.tree.map(lambda g: g / accumulate, total), state, {name: m.mean(0) for name, m in metrics.items()}

  def one_step(ts: TrainState, data: Mapping[str, Array], indices: Array | None) -> tuple[TrainState, Metrics]:
    key = jax.random.fold_in(ts.key, ts.step)

    def pick(rows: Array) -> Batch:
      return parallel.constrain({name: array[rows] for name, array in data.items()}, mesh)

    def apart(rows: Array) -> Array:
      """[B,...] -> [parts,B/parts,...]: every so many-th row, so that each device of a mesh has its share of each."""
      size = part_size(len(rows), accumulate)
      return rows.reshape(size, accumulate, *rows.shape[1:]).swapaxes(0, 1)

    view = None
    if accumulate == 1:
      batch = parallel.constrain(dict(data), mesh) if indices is None else pick(indices)
      grads, state, metrics, view = gradients(ts.params, ts.state, key, batch)
    else:
      parts = jax.tree.map(apart, dict(data) if indices is None else indices)
      batch_of = functools.partial(parallel.constrain, mesh=mesh) if indices is None else pick
      grads, state, metrics = accumulated(ts.params, ts.state, key, parts, batch_of)
    updates, opt_state = tx.update(grads, ts.opt_state, ts.params)
    params = moved(ts.params, updates, view)
    state = pretext.update(params, state, ts.step)
    return TrainState(ts.step + 1, ts.key, params, state, opt_state), metrics

  def train_step(ts: TrainState, data: Mapping[str, Array], indices: Array | None) -> tuple[TrainState, Metrics]:
    if indices is None or len(indices) == 1:  # without the loop, in which the CPU's compiler is slower
      ts, metrics = one_step(ts, data, None if indices is None else indices[0])
      return ts, {name: value[None] for name, value in metrics.items()}
    return jax.lax.scan(lambda ts, rows: one_step(ts, data, rows), ts, indices)

  # Every device has all of the state: the compiler might share it out, too.
  placed = {} if mesh is None else {"out_shardings": parallel.whole(mesh)}
  return jit(train_step, donate_argnums=0, **placed)
