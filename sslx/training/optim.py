"""Optimisers: schedules, weight-decay masks, freezing. All of it optax."""

from collections.abc import Mapping
from typing import Any

import jax
import optax

from sslx.types import Optimizer, Schedule

# Peak learning rates for a batch of 256, where none is given.
RATES = {"adamw": 1e-3, "sgd": 0.03, "lars": 0.3, "descent": 0.3}


def default_rate(kind: str, batch_size: int) -> float:
  """RATES[kind] * batch_size / 256: the linear rule (Goyal et al. 2017, arXiv 1706.02677).

  SGD's is MoCo's (arXiv 1911.05722), LARS' is SimCLR's (arXiv 2002.05709); that of descent goes as far as SGD's does
  with its momentum of 0.9.
  """
  return RATES[kind] * batch_size / 256


def cosine(peak: float, steps: int, warmup: int = 0) -> optax.Schedule:
  """Linear warm-up over `warmup` steps, then half a cosine from `peak` to 0 at `steps`."""
  warmup = min(warmup, max(steps - 1, 0))
  return optax.warmup_cosine_decay_schedule(0.0 if warmup else peak, peak, warmup, max(steps, 1))


def schedule(kind: Schedule, peak: float, steps: int, warmup: int = 0) -> optax.Schedule:
  """`cosine`, or `peak` all along after the same warm-up."""
  if kind == "cosine":
    return cosine(peak, steps, warmup)
  return optax.warmup_constant_schedule(0.0 if warmup else peak, peak, warmup)


def optimizer(
  learning_rate: float | optax.Schedule, kind: Optimizer = "adamw", weight_decay: float = 1e-4, momentum: float = 0.9
) -> optax.GradientTransformation:
  """AdamW; SGD with momentum and L2 decay; descent, w <- w - learning_rate g, without both; or LARS, which gives every
  kernel a learning rate of its own:

      v <- momentum v + learning_rate r (g + weight_decay w),  w <- w - v,  r = 0.001 |w| / |g + weight_decay w|

  (You, Gitman, Ginsburg: Large Batch Training of Convolutional Networks, 2017, arXiv 1708.03888; |g| + weight_decay |w|
  in the paper, while SimCLR and BYOL divide as here.) Weight decay and r spare vectors, biases and normalisation scales
  (r = 1), as in SimCLR and BYOL; r = 1 also for a kernel of zeros.
  """

  def matrices(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)

  if kind == "adamw":
    return optax.adamw(learning_rate, weight_decay=weight_decay, mask=matrices)
  if kind == "descent":
    return optax.sgd(learning_rate)
  if kind == "lars":
    return optax.lars(learning_rate, weight_decay, matrices, trust_ratio_mask=matrices, momentum=momentum)
  return optax.chain(
    optax.add_decayed_weights(weight_decay, mask=matrices), optax.sgd(learning_rate, momentum=momentum)
  )


def by_rows(kind: Optimizer | None) -> bool:
  """Whether it moves each number by its own gradient alone, and leaves one without a gradient where it is."""
  return kind == "descent"


def by_role(tx: optax.GradientTransformation, rates: Mapping[str, float]) -> optax.GradientTransformation:
  """`tx` with the updates of params[role] multiplied by rates[role]: learning rates of
  their own, weight decay with them.

  Raises:
    KeyError: a role that the parameters do not have.
  """

  def scale(updates: Any, params: Any = None) -> Any:
    del params
    if unknown := set(rates) - set(updates):
      raise KeyError(f"no such role: {', '.join(sorted(unknown))}")
    return {role: jax.tree.map(lambda u: u * rates.get(role, 1.0), tree) for role, tree in updates.items()}

  return optax.chain(tx, optax.stateless(scale))


def freeze(tx: optax.GradientTransformation, trainable: Any) -> optax.GradientTransformation:
  """`tx` on the parameters where `trainable` is True; the others stay bit-identical and have no optimiser state.

  The whole of `tx` goes inside: a freeze in front of AdamW would let its weight decay through, and a mask around AdamW
  alone (`optax.masked`) would let raw gradients through. XLA removes the gradients of frozen parameters altogether.
  """
  return optax.selective_transform(tx, freeze_mask=jax.tree.map(lambda t: not t, trainable))
