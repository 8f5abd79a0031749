"""Training an encoder and the task's head on a few labels: scratch, last:K and full are one function with other masks.

No second trainer: `supervised` is a Pretext, and this is `fit` + given encoder weights + a mask + a label subset.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sslx import nn
from sslx.compile import jit, jit_once
from sslx.data.lazy import Rows
from sslx.evaluation.bench import Bench, Case, Predictor
from sslx.evaluation.recipe import Recipe
from sslx.pretext.supervised import supervised
from sslx.tasks.linear import Linear, identity
from sslx.training import hooks, masks, optim, parallel
from sslx.training.loop import Loop, fit
from sslx.training.step import Prepare, TrainStep, make_train_step
from sslx.types import Array, Head, Params, Task, TrainState, UserError, brief

Pair = tuple[Rows, np.ndarray]  # (x, y)


def tune(
  bench: Bench, case: Case, start: nn.Representation, blocks: tuple[str, ...], task: Task | None = None
) -> Predictor:
  """Trains the head and the encoder's `blocks` on a case's labels, from the weights of `start`.

  task: the bench's with another head.
  """
  train = make_finetune(start.encoder, start.reading, task or bench.task, blocks, bench.recipe, start.prepare)
  held = None if bench.labelled.heldout is None else bench.read(bench.labelled.heldout)
  rows = bench.rows(case)
  return train(start, *bench.read(rows), case.subset_seed, held, lambda what: bench.say(f"{case}: {what} ..."))


def scratch(bench: Bench, case: Case) -> Predictor:
  """Everything, from random weights that are drawn anew for each subset."""
  return tune(bench, case, bench.fresh(1000 + case.subset_seed), bench.pretrained.encoder.block_names)


def last(bench: Bench, case: Case) -> Predictor:
  """The head and the last K blocks of the pretrained encoder."""
  return tune(bench, case, bench.pretrained, last_blocks(case.argument, bench.pretrained.encoder.block_names))


def full(bench: Bench, case: Case) -> Predictor:
  """Everything, started at the pretrained weights."""
  return tune(bench, case, bench.pretrained, bench.pretrained.encoder.block_names)


def last_blocks(count: str, block_names: Sequence[str]) -> tuple[str, ...]:
  """The last `count` blocks.

  Raises:
    ValueError: no number. UserError: the encoder does not have so many.
  """
  if not 1 <= int(count) <= len(block_names):
    names = ", ".join(block_names)
    raise UserError(f"--modes=last:{count}: this encoder has {len(block_names)} blocks ({names}).")
  return tuple(block_names[-int(count) :])


def check_last(argument: str, block_names: Sequence[str]) -> None:
  """Raises what `last_blocks` does."""
  last_blocks(argument, tuple(block_names))


@functools.lru_cache(maxsize=16)  # scratch and full, and the next method on this encoder, share a compiled step
def make_finetune(
  encoder: nn.Encoder, reading: str, task: Task, blocks: tuple[str, ...], recipe: Recipe, prepare: Prepare
) -> Callable[..., Predictor]:
  """A function (representation, x [N,...], y [N], seed, heldout=None, say=nothing) -> Predictor.

  Trains the head and the encoder's `blocks`; the rest, batch statistics included, comes back bit-identical. The
  compiled step is shared by all calls. heldout: (x, y) to choose the learning rate on instead of folds. say: is told
  what begins.
  """
  pretext = supervised(encoder, task, reading, blocks, views=recipe.augment or None)
  make = head_maker(task)
  compiled: dict[tuple[float, int, Any], tuple[optax.GradientTransformation, TrainStep]] = {}  # by rate, steps, mesh
  sizes: set[int] = set()  # numbers of labels that a step was compiled for
  sign = 1 if task.score.higher_is_better else -1

  @jit_once
  def first_head(key: Array, x: Array, y: Array) -> Params:
    return pretext.init(key, {"x": prepare(x), "y": y})[0]["head"]

  def trained(start: nn.Representation, x: Rows, y: np.ndarray, seed: int, rate: float) -> Predictor:
    shift, scale = task.units(y) if task.units else (0.0, 1.0)
    data, key = {"x": x, "y": (y - shift) / scale if task.units else y}, jax.random.key(seed)
    head = first_head(key, x[:1], y[:1])
    tree = jax.tree.map(jnp.array, {"params": start.params, "stats": start.stats})  # a copy: the step donates it
    params = {"encoder": tree["params"], "head": head}
    mask = masks.trainable(params, blocks)
    steps = max(recipe.steps, int(recipe.epochs * (len(y) // recipe.batch_size)))
    mesh = parallel.mesh_of(start)
    if (rate, steps, mesh) not in compiled:
      schedule = optim.schedule(recipe.schedule, rate, steps)
      tx = optim.freeze(optim.optimizer(schedule, recipe.optimizer, recipe.weight_decay), mask)
      compiled[rate, steps, mesh] = tx, make_train_step(pretext, tx, prepare, mesh=mesh)
    tx, step = compiled[rate, steps, mesh]
    ts = TrainState(jnp.zeros((), jnp.int32), key, params, {"encoder": tree["stats"]}, tx.init(params))
    ts = parallel.replicate(ts, mesh)
    loop = Loop(steps, recipe.batch_size, seed, recipe.shuffle, log_every=steps)
    if recipe.patience is None:
      chosen, ts = {"learning_rate": rate}, fit(ts, step, data, loop)
    else:
      ts = _patient(ts, step, data, loop, recipe.patience, task)
      chosen = {"learning_rate": rate, "steps": int(ts.step)}
    after = start.holding(ts.params["encoder"], ts.state["encoder"])
    made = make(ts.params["head"], chosen, shift, scale)
    return Predictor(after, made, masks.count(ts.params, mask), masks.count(ts.params))

  def run(
    start: nn.Representation,
    x: Rows,
    y: np.ndarray,
    seed: int,
    heldout: Pair | None = None,
    say: Callable[[str], object] = lambda what: None,
  ) -> Predictor:
    say("training" if len(y) in sizes else "compiling and training")
    sizes.add(len(y))
    rates = recipe.learning_rates
    if len(rates) == 1:
      return trained(start, x, y, seed, rates[0])

    def score(fit_on: np.ndarray, rate: float, valid: Pair) -> float:
      """Of a predictor that never saw `valid`, times their number."""
      outputs = trained(start, x[fit_on], y[fit_on], seed, rate).outputs(valid[0])
      return float(task.scores(outputs, valid[1])[task.score.name]) * len(valid[1])

    if heldout is not None:
      parts = [(np.arange(len(y)), heldout)]
    else:
      try:
        parts = [(rows, (x[valid], y[valid])) for rows, valid in task.folds(y, recipe.folds, seed)]
      except ValueError:  # one label per class: nothing can be held out
        return trained(start, x, y, seed, rates[len(rates) // 2])
    totals = {rate: sum(score(rows, rate, valid) for rows, valid in parts) for rate in rates}
    best = max(totals, key=lambda rate: round(sign * totals[rate], 6))  # rounding: equal scores are equal
    mean = totals[best] / sum(len(valid[1]) for _, valid in parts)
    predictor = trained(start, x, y, seed, best)
    chosen = {**predictor.head.chosen, f"validation_{task.score.name}": mean}
    return predictor._replace(head=predictor.head._replace(chosen=chosen))  # type: ignore[attr-defined]

  return run


class Placed(NamedTuple):
  """A head that answers for the places of maps: a `sslx.types.Head`."""

  params: Params
  apply: Callable[[Params, Any], Array]
  """(params, maps [N,h,w,D]) -> answers; jitted, and shared by all heads of a task."""
  chosen: dict[str, Any]

  __repr__ = brief

  def outputs(self, features: Any) -> Any:
    """f32 [N,h,w,D] -> answers [N,...], on the device."""
    return self.apply(self.params, features)

  @property
  def size(self) -> int:
    """Number of its parameters."""
    return masks.count(self.params)


def head_maker(task: Task) -> Callable[..., Head]:
  """A function (a trained head's params, what was chosen, shift, scale) -> the head: of a task of places a `Placed`,
  else a linear one whose answers are in the targets' own units.
  """
  module = task.head()

  @jit
  def apply(params: Params, features: Array) -> Array:
    outputs = nn.apply(module, params, {}, features)[0]
    return task.answer(outputs) if task.answer else outputs

  def make(params: Params, chosen: dict[str, Any], shift: Any = 0.0, scale: Any = 1.0) -> Head:
    if task.is_dense:
      return Placed(params, apply, chosen)
    head = linear_head(params, chosen)
    return head if task.units is None else head._replace(weight=head.weight * scale, bias=head.bias * scale + shift)

  return make


def linear_head(params: Params, chosen: dict[str, Any]) -> Linear:
  """The linear layer that `supervised` and its kin put on features as they are."""
  layer = jax.tree.map(np.asarray, nn.only_layer(params))
  return Linear(layer["kernel"], layer["bias"], identity(len(layer["kernel"])), chosen)


def _patient(
  ts: TrainState, step: TrainStep, data: dict[str, Any], loop: Loop, patience: int, task: Task
) -> TrainState:
  """`fit` by epochs, to loop.steps at most; ends when `patience` of them in a row had no score above the best.

  As Keras' EarlyStopping: the score is the mean over an epoch's batches while it trains, and the last weights stay. Of
  a task whose score is not watched while training (boxes), the loss takes its place.
  """
  epoch = len(data["y"]) // min(loop.batch_size, len(data["y"]))
  sign = 1 if task.score.higher_is_better else -1
  best, since, rows = -np.inf, 0, []
  while int(ts.step) < loop.steps and since < patience:
    end = min(loop.steps, int(ts.step) + epoch)
    ts = fit(ts, step, data, loop._replace(steps=end, log_every=epoch), [hooks.log_to(rows.append)])
    row = rows[-1]
    score = sign * row[task.score.name] if task.score.name in row else -row["loss"]
    best, since = (score, 0) if score > best else (best, since + 1)
  return ts
