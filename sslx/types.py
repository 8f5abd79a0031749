"""The names every other module speaks in. Imports no sibling.

A method, from an autoencoder to BYOL, and the supervised baseline too, is a `Pretext`: a NamedTuple of pure functions.
One train step (`sslx/train.py`) serves all of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

Array = jax.Array
Params = dict[str, Any]  # trainable, by role: encoder, decoder, head, predictor, context ...
State = dict[str, Any]  # gradient-free, by role: batch statistics, target network, queue, centre
Batch = Mapping[str, Any]  # image u8[B,H,W,C], label i32[B] (absent when unlabelled), ...
Metrics = dict[str, Array]  # scalars
View = Any  # what `transform` makes of a batch and `loss` reads


class Pretext(NamedTuple):
  """A self-supervised method (or the supervised baseline) as pure functions."""

  init: Callable[[Array, Batch], tuple[Params, State]]
  """(key, batch) -> (params, state). Called under jit."""
  loss: Callable[[Params, State, Array, View], tuple[Array, tuple[State, Metrics]]]
  """(params, state, key, view) -> (scalar, (state, metrics)). Training mode."""
  encode: Callable[[Params, State, Array], Array]
  """(params, state, raw u8 or float images [B,H,W,C]) -> features [B,D]. Evaluation mode."""
  transform: Callable[[Array, Batch], View]
  """(key, batch) -> view: corrupt, two views, patches; pure JAX, on the device."""
  update: Callable[[Params, State, Array], State]
  """(params after the optimiser, state, step) -> state: EMA targets, schedules."""
  show: Callable[[Params, State, Array, Batch], dict[str, Array]] | None = None
  """(params, state, key, batch) -> {row title: images [B,H,W,C] in [0, 1]}: what the method sees and makes."""
  decode: Callable[[Params, State, Array, tuple[int, ...]], Array] | None = None
  """(params, state, output of the encoder's last block [B,...], (H,W,C)) -> images [B,H,W,C] in [0, 1], where the
  method has a decoder. Evaluation mode."""
  rates: Mapping[str, float] | None = None
  """{role: its learning rate as a multiple of the others'}, for instance of an adversary."""


class TrainState(NamedTuple):
  """All that a training run carries from step to step, and all that a checkpoint keeps."""

  step: Array  # i32[]
  key: Array  # typed PRNG key; step randomness is fold_in(key, step), so a resumed run is the same run
  params: Params
  state: State
  opt_state: Any


class UserError(Exception):
  """Bad input: one line that names the flag or file and says what to do. `experiments` prints it without a traceback."""
