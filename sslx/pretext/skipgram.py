"""Skip-gram with negative sampling: from a word, tell the words around it from words drawn at random.

    L = sum over pairs (i, j) of -log s(c_j . v_i) + k mean over negatives n of -log s(-c_n . v_i),  s the sigmoid

Mikolov, Sutskever, Chen, Corrado, Dean: Distributed Representations of Words and Phrases and their Compositionality,
2013, arXiv 1310.4546, equations 4 and 5; Mikolov, Chen, Corrado, Dean 2013, arXiv 1301.3781. v is the encoder's table
and c a second one; j is at most b words from i in the same line, b drawn from 1 to `window` for each i; frequent words
are dropped before. Deviations: the k negatives of a pair are k times the mean over `shared` ones, which all words of a
row share (Ji, Satish, Li, Dubey: Parallelizing Word2Vec in Shared and Distributed Memory, 2016, arXiv 1604.04661), and
may be words of the window; a step moves the vectors of a few hundred words at once, by the sum of their gradients;
windows end with the rows of a corpus; and the rate falls by a cosine. The metric `nats` is L for one pair.
"""

from collections.abc import Mapping

from sslx import nn
from sslx.ops.text import Vocabulary
from sslx.pretext.families import words
from sslx.types import Array, Pretext

OFTEN = 6  # a word counts in a step at most, see `words.bounded`


def skipgram(
  encoder: nn.Encoder,
  vocabulary: Vocabulary,
  *,
  window: int = 5,
  negatives: int = 5,
  shared: int = 64,
  sample: float = 1e-3,
) -> Pretext:
  """Skip-gram, for --encoder=words.

  window: words to the left and to the right that may be a word's context; negatives: k, what a pair's negatives weigh;
  shared: how many are drawn for each row of text; sample: t, words more frequent than it are dropped at times; 0: none.
  """
  settings = words.Settings(window, negatives, shared, sample)
  words.check("skipgram", encoder, settings)

  def losses(v: Array, c: Array, drawn: Array, view: Mapping[str, Array]) -> tuple[Array, Array]:
    pairs = words.pairs(view, window) * words.weights(view, window, OFTEN)
    near = pairs * words.nats(words.products(v, c, pairs))
    far = words.nats(-(v @ drawn.swapaxes(1, 2))).sum(2) * pairs.sum(2)
    return near.sum() + negatives / shared * far.sum(), pairs.sum()

  return words.method(encoder, vocabulary, settings, losses)
