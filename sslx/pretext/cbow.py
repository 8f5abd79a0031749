"""Continuous bag of words: from the mean of the words around a place, tell its word from words drawn at random.

    L = sum over places i of -log s(c_i . h_i) + k mean over negatives n of -log s(-c_n . h_i),  h_i = mean of v_j

Mikolov, Chen, Corrado, Dean: Efficient Estimation of Word Representations in Vector Space, 2013, arXiv 1301.3781,
section 3.1, with the negative sampling of arXiv 1310.4546. The j are the window of i; windows, dropped words, negatives
and deviations are those of `skipgram`, but each place has its k negatives. The gradient is that of L: each v_j gets its
share of it, where word2vec.c and gensim give the whole of it to each (Irsoy, Benton, Stratos: Corrected CBOW Performs
as well as Skip-gram, 2021, arXiv 2012.15332), hence the higher learning rate. The metric `nats` is L for one place.
"""

from collections.abc import Mapping

import jax.numpy as jnp

from sslx import nn
from sslx.ops.text import Vocabulary
from sslx.pretext.families import words
from sslx.types import Array, Pretext

OFTEN = 8  # a word counts in a step at most, see `words.bounded`; more than in skip-gram, where it is in more pairs


def cbow(
  encoder: nn.Encoder,
  vocabulary: Vocabulary,
  *,
  window: int = 5,
  negatives: int = 5,
  shared: int = 32,
  sample: float = 1e-3,
) -> Pretext:
  """Continuous bag of words, for --encoder=words.

  window: words to the left and right that may be a place's context; negatives: k, what a place's negatives weigh;
  shared: how many are drawn for each row of text; sample: t, words more frequent than it are dropped at times; 0: none.
  """
  settings = words.Settings(window, negatives, shared, sample)
  words.check("cbow", encoder, settings)

  def losses(v: Array, c: Array, drawn: Array, view: Mapping[str, Array]) -> tuple[Array, Array]:
    pairs = words.pairs(view, window)
    around = pairs.sum(2)
    h = words.weighted(pairs / jnp.maximum(around, 1)[..., None], v)
    near = words.nats((h * c).sum(2))
    far = words.nats(-(h @ drawn.swapaxes(1, 2))).sum(2)
    weighed = (pairs * words.weights(view, window, OFTEN)).sum(2)
    counts = weighed / jnp.maximum(around, 1)  # 0 of a word alone in its line
    return (counts * (near + negatives / shared * far)).sum(), counts.sum()

  return words.method(encoder, vocabulary, settings, losses)
