"""Encoders of text, and the front that lets encoders of any signal read bags of words."""

import functools

from sslx.nn.encoder import Encoder
from sslx.nn.hearing import Front
from sslx.nn.text import Bag, Tokens, Weight, WordVectors
from sslx.nn.vit import TransformerBlock
from sslx.ops.text import Vocabulary, share
from sslx.types import UserError


def words(vocabulary: Vocabulary, *, width: int = 100, weight: Weight = "idf") -> Encoder:
  """A vector for each word, as word2vec learns them: cbow and skipgram. Read by pool, a text is their mean.

  width: numbers of a vector; weight: what a word counts in a text, by its inverse document frequency or all alike.
  """
  return Encoder(
    (("vectors", functools.partial(WordVectors, vocabulary, width, weight)),), axes=1, ids=True, share=share
  )


def transformer(vocabulary: Vocabulary, *, width: int = 64, depth: int = 2, heads: int = 4) -> Encoder:
  """Words in their order: a vector for each and its position, then `depth` blocks in which every word attends to every
  other: `width` units and `heads` heads.
  """
  if width % 4 or width % heads:
    raise UserError(
      f"--encoder=transformer:width={width},heads={heads}: the width must be a multiple of 4 and of the heads."
    )
  make = functools.partial(TransformerBlock, heads, padded=True)
  blocks = [(f"block{i + 1}", functools.partial(make, final=i + 1 == depth)) for i in range(depth)]
  tokens = ("tokens", functools.partial(Tokens, vocabulary, width))
  return Encoder((tokens, *blocks), any_size=True, axes=1, ids=True, share=share)


def bag(vocabulary: Vocabulary, *, words: int = 5000, weight: Weight = "idf") -> Front:
  """A bag of words: how often each stands in a text (tf-idf), to unit length.

  words: how many of the most frequent ones; weight: times a word's inverse document frequency, or as they are.
  """
  return functools.partial(Bag, vocabulary, words, weight)
