"""Blocks that read text: a table of vectors, a weighted bag of words, and tokens for a transformer."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sslx.nn.vit import positions
from sslx.ops.text import FIRST, PAD, Vocabulary, is_word
from sslx.types import Array

Weight = Literal["idf", "none"]


class WordVectors(nn.Module):
  """A vector for each word, times its inverse document frequency where `weight` says so: the mean over a text is then
  its tf-idf-weighted mean. What is no known word has a vector of 0.
  """

  vocabulary: Vocabulary
  width: int
  weight: Weight = "idf"

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """Ids i32 [B,T] -> [B,T,width]."""
    table = jnp.asarray(self.param("table", start, (self.vocabulary.size, self.width)))
    weight = jnp.asarray(self.vocabulary.idf)[x] if self.weight == "idf" else is_word(x).astype(jnp.float32)
    return table[x] * weight[..., None]


def start(key: Array, shape: tuple[int, int]) -> Array:
  """Vectors [V,d] as word2vec draws them: uniform between -1/2d and 1/2d; those of what is no word are 0."""
  low = 0.5 / shape[1]
  table = jax.random.uniform(key, shape, minval=-low, maxval=low)
  return jnp.where(jnp.arange(shape[0])[:, None] >= FIRST, table, 0)


class Bag(nn.Module):
  """How often each of the most frequent words stands in a text, times its inverse document frequency, and all of that
  to unit length; no parameters.
  """

  vocabulary: Vocabulary
  words: int
  weight: Weight = "idf"

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """Ids i32 [B,T] -> f32 [B,n], n words; place i is the word of id FIRST + i."""
    n = max(1, min(self.words, len(self.vocabulary)))
    place = jnp.where(is_word(x) & (x < FIRST + n), x - FIRST, n)  # n is dropped
    rows = jnp.broadcast_to(jnp.arange(x.shape[0])[:, None], x.shape)
    counts = jnp.zeros((x.shape[0], n)).at[rows, place].add(1.0, mode="drop")
    if self.weight == "idf":
      counts = counts * jnp.asarray(np.pad(self.vocabulary.idf[FIRST:], (0, 1))[:n])
    return counts / jnp.maximum(jnp.linalg.norm(counts, axis=1, keepdims=True), 1e-6)

  @nn.nowrap
  def waveform(self, x: Array) -> Array:
    """A bag is shown as it is."""
    return x


class Tokens(nn.Module):
  """A vector for each word, hidden and unknown ones too, plus its position; 0 at padding, which tells it."""

  vocabulary: Vocabulary
  width: int

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """Ids i32 [B,T] -> [B,T,width]."""
    fresh = nn.initializers.normal(self.width**-0.5)  # a word says as much as its position
    table = jnp.asarray(self.param("table", fresh, (self.vocabulary.size, self.width)))
    place = jnp.asarray(positions(1, x.shape[1], self.width)[0])
    return jnp.where((x != PAD)[..., None], table[x] * np.sqrt(self.width) + place, 0)
