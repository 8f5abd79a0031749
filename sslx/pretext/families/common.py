"""What several methods share: an encoder in its role, and pieces of a Pretext that do nothing."""

from collections.abc import Callable

import jax

from sslx import nn
from sslx.types import Array, Batch, Params, State


def init_encoder(encoder: nn.Encoder, key: Array, x: Array) -> tuple[dict, dict, dict[str, Array]]:
  """(params, stats, outputs of every block for `x`): what a method's init starts from."""
  params, stats = nn.init(encoder, key, x)
  return params, stats, nn.apply(encoder, params, stats, x)[0]


def as_is(key: Array, batch: Batch) -> Batch:
  """The `transform` of a method without any."""
  return batch


def no_update(params: Params, state: State, step: Array) -> State:
  """The `update` of a method without EMA targets."""
  return state


def adversary(
  opinion: Callable[[dict, Array], Array], params: dict, real: Array, fake: Array
) -> tuple[Array, Array, Array]:
  """(how badly `fake` fools D, how badly D tells real from fake, D's accuracy): gradients of the first reach `fake`
  alone, of the second `params` alone, so that their sum trains both sides.

    softplus(-D_sg(fake)),  softplus(-D(real)) + softplus(D(sg(fake)))

  opinion: D, (params, x) -> logits [B], positive for real.
  """
  fooled = jax.nn.softplus(-opinion(jax.lax.stop_gradient(params), fake)).mean()
  on_real, on_fake = opinion(params, real), opinion(params, jax.lax.stop_gradient(fake))
  judging = jax.nn.softplus(-on_real).mean() + jax.nn.softplus(on_fake).mean()
  return fooled, judging, ((on_real > 0).mean() + (on_fake <= 0).mean()) / 2


def last(outputs: dict[str, Array]) -> Array:
  """Output of the last block."""
  return outputs[next(reversed(outputs))]


def code(encoder: nn.Encoder, outputs: dict[str, Array], x: Array) -> Array:
  """What a head reads of the last block: all of it, or of sound its means over three parts of what was recorded."""
  return last(outputs) if encoder.share is None else encoder.read(outputs, "time3", x)


def split(key: Array, *names: str) -> dict[str, Array]:
  """One key a name."""
  return dict(zip(names, jax.random.split(key, len(names)), strict=True))
