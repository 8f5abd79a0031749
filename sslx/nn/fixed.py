"""Encoders that are none: their features are what comes in, for the modes that read the signal itself."""

import functools

import flax.linen as nn
import jax.numpy as jnp

from sslx.nn.encoder import Encoder
from sslx.nn.encoders import build
from sslx.nn.hearing import mel
from sslx.nn.wording import bag
from sslx.ops.sound import share
from sslx.ops.text import NO_WORDS, Vocabulary
from sslx.types import Array


class Input(nn.Module):
  """What comes in, as it is."""

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,...] -> the same."""
    return x


RAW = Encoder((("x", Input),), any_size=True, axes=None, spec="raw")
"""No encoder at all: its features are the prepared signal. What the mode `raw` reads, not an entry of ENCODERS."""


class Places(nn.Module):
  """What comes in, and behind it where each place is: its coordinates from -1 to 1, and their squares."""

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,...,C] -> [B,...,C+2P] of P axes of places."""
    shape = x.shape[1:-1]
    axes = jnp.meshgrid(*[jnp.linspace(-1, 1, size) for size in shape], indexing="ij")
    where = jnp.stack([*axes, *[axis**2 for axis in axes]], -1)
    return jnp.concatenate([x, jnp.broadcast_to(where, (x.shape[0], *where.shape)).astype(x.dtype)], -1)


PLACES = Encoder((("x", Places),), any_size=True, axes=None, spec="places")
"""The same for tasks that answer for places: a value and where it is."""


@functools.lru_cache(maxsize=4)
def heard(rate: int) -> Encoder:
  """What `RAW` is for sound of `rate` samples a second: the spectrogram that other encoders get."""
  blocks = (("mel", mel(rate=rate)), ("x", Input))
  return Encoder(blocks, any_size=True, axes=1, front=True, share=share, spec=f"heard:{rate}")


class Axes(nn.Module):
  """What comes in, along directions that someone else found."""

  width: int

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,n] -> [B,width]."""
    return x @ jnp.asarray(self.param("directions", nn.initializers.zeros, (x.shape[-1], self.width)))


WORDS = 10_000  # of a bag that is read as it is


@functools.lru_cache(maxsize=4)
def weighed(vocabulary: Vocabulary) -> Encoder:
  """What `RAW` is for text: a bag of its most frequent words, weighed by tf-idf."""
  blocks = (("bag", bag(vocabulary, words=WORDS)), ("x", Input))
  return Encoder(blocks, any_size=True, axes=1, front=True, ids=True, spec="weighed")


@functools.lru_cache(maxsize=4)
def along(vocabulary: Vocabulary, width: int) -> Encoder:
  """The same along `width` directions, the parameters of its block axes."""
  blocks = (("bag", bag(vocabulary, words=WORDS)), ("axes", functools.partial(Axes, width)))
  return Encoder(blocks, any_size=True, axes=1, front=True, ids=True, spec=f"along:{width}")


def rebuild(spec: str, vocabulary: Vocabulary | None = None) -> Encoder:
  """The encoder whose `spec` this is: one of `build`, or one of those above.

  Raises:
    UserError: as `build`.
  """
  kind, _, number = spec.partition(":")
  words = vocabulary or NO_WORDS
  match kind:
    case "raw":
      return RAW
    case "places":
      return PLACES
    case "heard":
      return heard(int(number))
    case "weighed":
      return weighed(words)
    case "along":
      return along(words, int(number))
    case _:
      return build(spec, vocabulary=vocabulary)
