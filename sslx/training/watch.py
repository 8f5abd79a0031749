"""A method's loss and metrics on examples that it does not train on."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sslx.compile import jit
from sslx.training.step import Prepare, prepared
from sslx.types import Array, Batch, Metrics, Params, Pretext, State, TrainState, gathered

Watch = Callable[[TrainState], Metrics]


def make_watch(pretext: Pretext, prepare: Prepare, data: Mapping[str, np.ndarray], batch_size: int) -> Watch:
  """train_state -> the mean loss and metrics over raw `data` in batches of the
  training's size, as training computes them.

  The remainder of the last batch is left out; fewer examples than a batch make one. Noise and masks are the same in
  every call, so that a change is the parameters'. Batch normalisation uses the statistics of these batches.
  """
  n = len(data["x"])
  parts = np.arange(max(1, n // batch_size) * min(n, batch_size)).reshape(-1, min(n, batch_size))
  batches = [{name: jnp.asarray(array[rows]) for name, array in data.items()} for rows in parts]

  @jit
  def of_batch(params: Params, state: State, key: Array, batch: Batch) -> Metrics:
    transform_key, loss_key = jax.random.split(key)
    view = pretext.transform(transform_key, prepared(batch, prepare))
    loss, (_, metrics) = pretext.loss(gathered(pretext, params, view), state, loss_key, view)
    return {"loss": loss, **metrics}

  def watch(ts: TrainState) -> Metrics:
    keys = jax.random.split(jax.random.key(0), len(batches))
    each = [of_batch(ts.params, ts.state, key, batch) for key, batch in zip(keys, batches, strict=True)]
    return {name: jnp.stack([metrics[name] for metrics in each]).mean() for name in each[0]}

  return watch


def joined(watches: Sequence[Watch]) -> Watch:
  """The metrics of all of them."""
  return lambda ts: {name: value for watch in watches for name, value in watch(ts).items()}
