"""Text as numbers: what an id means, and the words of a data set in the order of their ids.

A text is i32 [T]: words from FIRST on by falling frequency, and below it what is no word.
"""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from sslx.types import Array

PAD = 0
"""No word: what stands behind the end of a text, and between the lines of a stream of them."""
UNKNOWN = 1
"""A word that is not in the vocabulary."""
MASK = 2
"""A word that a method hides."""
FIRST = 3
"""The id of the most frequent word."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
  """The words of a data set, by falling frequency; the word at place i has the id FIRST + i. Two are equal where all
  that they hold is.
  """

  words: tuple[str, ...]
  counts: np.ndarray
  """i64 [n]: how often each stands in the text that the vocabulary was made of."""
  texts: np.ndarray
  """i64 [n]: in how many texts (lines, paragraphs) each stands."""
  total: int
  """How many texts there were."""

  @functools.cached_property
  def digest(self) -> str:
    """32 hexadecimal digits of all that it holds."""
    return hashlib.blake2b(json.dumps(self.to_json()).encode(), digest_size=16).hexdigest()

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Vocabulary) and (self is other or self.digest == other.digest)

  def __hash__(self) -> int:
    return hash(self.digest)

  def __len__(self) -> int:
    return len(self.words)

  def __repr__(self) -> str:
    return f"Vocabulary({len(self):,} words: {', '.join(self.words[:4])}, ...)"

  @property
  def size(self) -> int:
    """How many ids there are: a table has a row for each."""
    return FIRST + len(self.words)

  @functools.cached_property
  def ids(self) -> Mapping[str, int]:
    """Word -> its id."""
    return {word: FIRST + place for place, word in enumerate(self.words)}

  def encode(self, words: Sequence[str]) -> np.ndarray:
    """i32 [T] of words; UNKNOWN for those that it does not hold."""
    return np.array([self.ids.get(word, UNKNOWN) for word in words], np.int32)

  def decode(self, ids: Any) -> list[str]:
    """The words of ids [T], without padding; ? for an unknown one, and _ for a masked one."""
    told = {UNKNOWN: "?", MASK: "_"}
    return [told.get(int(i)) or self.words[int(i) - FIRST] for i in np.asarray(ids).ravel() if i != PAD]

  @functools.cached_property
  def idf(self) -> np.ndarray:
    """f32 [size]: log((1 + texts) / (1 + texts with the word)) + 1, and 0 of what is no word."""
    words = np.log((1 + self.total) / (1 + self.texts)) + 1
    return np.concatenate([np.zeros(FIRST), words]).astype(np.float32)

  def to_json(self) -> dict[str, Any]:
    """Of JSON's types; `read` reads it."""
    counts, texts = self.counts.tolist(), self.texts.tolist()
    return {"words": " ".join(self.words), "counts": counts, "texts": texts, "total": int(self.total)}

  @classmethod
  def read(cls, saved: Mapping[str, Any]) -> "Vocabulary":
    """Of `to_json`."""
    counts, texts = (np.array(saved[name], np.int64) for name in ("counts", "texts"))
    return cls(tuple(saved["words"].split(" ")) if saved["words"] else (), counts, texts, saved["total"])


NO_WORDS = Vocabulary((), np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
"""Where only names and shapes of other things are asked for."""


def is_word(x: Array) -> Array:
  """Ids [...] -> where there is a word that the vocabulary holds."""
  return x >= FIRST


def share(x: Array) -> Array:
  """Ids [B,T] -> f32 [B]: how much of each row is text, up to its last id that is not PAD; of an empty one its first
  place, so that there is something to take a mean of.
  """
  t = x.shape[1]
  last = jnp.where(x != PAD, jnp.arange(1, t + 1), 0).max(1)
  return jnp.maximum(last, 1) / t
