"""What skip-gram and CBOW share: which words of a text are kept, their windows, negatives, and sums over windows.

A text is i32 [R,L], rows of ids with PAD between lines, see `sslx.ops.text`. What is made of it:

  words     i32 [R,m]  the kept words of each row, PAD behind them
  line      i32 [R,m]  which line of its row each is of, -1 behind them
  window    i32 [R,m]  how many words to its left and right are its context
  negatives i32 [R,S]  words drawn at random, which all words of the row share

Sums over windows are sums over the 2 w + 1 distances -w ... w, an axis K of what they need.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx import nn
from sslx.ops.text import FIRST, PAD, Vocabulary
from sslx.pretext.families import checks, common
from sslx.types import Array, Batch, Params, Pretext, Refusal, State

BLOCK = 32
"""Places whose products with their surroundings are one matrix product; m is a multiple of it."""
COUNTERS = 65_536
"""Of words in a step: those whose ids are a multiple of it apart share one, of which one at least is very rare."""
POWER = 0.75  # of the frequencies that negatives are drawn by
ENCODER_TABLE = ("encoder", "vectors", "table")
CONTEXT_TABLE = ("context", "table")


class Settings(NamedTuple):
  """Hyper-parameters of both methods."""

  window: int
  negatives: int
  shared: int
  sample: float


# ---- which words, and what they are compared with --------------------------------------------------------------------


def kept_share(vocabulary: Vocabulary, sample: float) -> np.ndarray:
  """f32 [V]: how probably a word of each id is kept: min(1, sqrt(t / f) + t / f) for a word of frequency f.

  Equation 5 of Mikolov et al. 2013, arXiv 1310.4546, says sqrt(t / f); word2vec.c and gensim add the second term. What
  is no word is never kept.
  """
  f = vocabulary.counts / max(vocabulary.counts.sum(), 1)
  share = np.minimum(np.sqrt(sample / f) + sample / f, 1) if sample else np.ones(len(f))
  return np.concatenate([np.zeros(FIRST), share]).astype(np.float32)


def places(vocabulary: Vocabulary, sample: float, length: int) -> int:
  """m, the places for kept words of a row of `length` ids: as many as are expected, to the nearest multiple of BLOCK.

  Where more are kept, the last ones of the row are lost. Of a corpus, whose rows also hold PAD and unknown words, these
  are few: 0.5% of 3.4 M words of English.
  """
  words = vocabulary.counts / max(vocabulary.counts.sum(), 1)
  expected = length * float((kept_share(vocabulary, sample)[FIRST:] * words).sum())
  return BLOCK * max(1, round(expected / BLOCK))


def bounds(vocabulary: Vocabulary) -> np.ndarray:
  """u32 [V - 1]: a random number of 32 bits stands for the word that is as many places behind the first one as bounds
  are not above it; its probability is count**0.75 over their sum.
  """
  weights = vocabulary.counts.astype(np.float64) ** POWER
  return np.minimum(np.cumsum(weights)[:-1] / weights.sum() * 2**32, 2**32 - 1).astype(np.uint32)


def viewed(key: Array, x: Array, vocabulary: Vocabulary, settings: Settings) -> dict[str, Array]:
  """Ids i32 [R,L] -> words, line, window and negatives, as above."""
  n, m = len(x), places(vocabulary, settings.sample, x.shape[1])
  bits = jax.random.bits(key, (n, x.shape[1] + m + settings.shared))  # drawn three times, a step took a sixth longer
  keep_bits, window_bits, negative_bits = jnp.split(bits, [x.shape[1], x.shape[1] + m], 1)
  below = (kept_share(vocabulary, settings.sample).astype(np.float64) * (2**32 - 1)).astype(np.uint32)
  kept = keep_bits < jnp.asarray(below)[x]
  place = jnp.where(kept, jnp.cumsum(kept, 1) - 1, m)  # m is dropped
  rows = jnp.arange(n)[:, None]
  words = jnp.full((n, m), PAD, x.dtype).at[rows, place].set(x, mode="drop")
  line = jnp.full((n, m), -1, jnp.int32).at[rows, place].set(jnp.cumsum(x == PAD, 1), mode="drop")
  window = 1 + (window_bits % settings.window).astype(jnp.int32)
  negatives = FIRST + jnp.searchsorted(jnp.asarray(bounds(vocabulary)), negative_bits, side="right").astype(x.dtype)
  return {"words": words, "line": line, "window": window, "negatives": negatives}


def pairs(view: Mapping[str, Array], most: int) -> Array:
  """f32 [R,m,K]: 1 where the word at a distance of -most ... most belongs to a word's window: it is of the same line,
  and no further than the window reaches.
  """
  line, m = view["line"], view["line"].shape[1]
  around = jnp.pad(line, ((0, 0), (most, most)), constant_values=-2)
  distances = range(-most, most + 1)
  same = jnp.stack([around[:, most + k : most + k + m] == line for k in distances], -1)
  near = jnp.asarray([abs(k) if k else most + 1 for k in distances]) <= view["window"][..., None]
  return (same & near & (line >= 0)[..., None]).astype(jnp.float32)


def bounded(words: Array, often: int) -> Array:
  """Words i32 [R,m] of a step -> f32 [R,m]: 1, and often / n of a word that stands there n > often times.

  A step moves vectors by the sum of their gradients, each of which knows of no other: without a bound, rows such as
  `tensor tensor tensor ...` (tables in docstrings) drove them to infinity, where one word after another would have been
  told once and for all.
  """
  counters = words % COUNTERS
  times = jnp.zeros(COUNTERS, jnp.int32).at[counters].add(1)[counters]
  return often / jnp.maximum(times, often)


def weights(view: Mapping[str, Array], most: int, often: int) -> Array:
  """f32 [R,m,K]: what a pair counts: as much as its two words (`bounded`), or the one that counts less."""
  weight, m = bounded(view["words"], often), view["words"].shape[1]
  around = jnp.pad(weight, ((0, 0), (most, most)))
  return jnp.stack([jnp.minimum(around[:, k : k + m], weight) for k in range(2 * most + 1)], -1)


# ---- sums over windows -----------------------------------------------------------------------------------------------
# Two bilinear maps, each of which is the other one's derivative. As matrix products of blocks of places with all that
# surrounds them they would be differentiated into further ones, of which most of the numbers are not needed.


@jax.custom_vjp
def products(c: Array, x: Array, like: Array) -> Array:
  """c, x [R,m,d], like [R,m,K] -> s [R,m,K], s_ik = c_i . x_(i+k), k = -w ... w; 0 beyond the ends of a row."""
  n, m, d = c.shape
  w = like.shape[2] // 2
  wide = BLOCK + 2 * w
  around = jnp.pad(x, ((0, 0), (w, w), (0, 0)))
  blocks = jnp.stack([around[:, start : start + wide] for start in range(0, m, BLOCK)], 1)
  s = jnp.einsum("nbid,nbjd->nbij", c.reshape(n, -1, BLOCK, d), blocks).reshape(n, m // BLOCK, -1)
  # The products that are asked for stand on diagonals, which rows of one more number turn into columns.
  s = jnp.pad(s, ((0, 0), (0, 0), (0, BLOCK))).reshape(n, m, wide + 1)
  return s[..., : 2 * w + 1]


@jax.custom_vjp
def weighted(weights: Array, x: Array) -> Array:
  """weights [R,m,K], x [R,m,d] -> h [R,m,d], h_i = sum over k of weights_ik x_(i+k); 0 beyond the ends of a row."""
  m, w = x.shape[1], weights.shape[2] // 2
  around = jnp.pad(x, ((0, 0), (w, w), (0, 0)))
  return sum((weights[..., k, None] * around[:, k : k + m] for k in range(2 * w + 1)), jnp.zeros_like(x))


def mirrored(weights: Array) -> Array:
  """[R,m,K] -> [R,m,K], what i+k gives to i: weights_(i+k),-k; 0 beyond the ends of a row."""
  m, w = weights.shape[1], weights.shape[2] // 2
  around = jnp.pad(weights, ((0, 0), (w, w), (0, 0)))
  return jnp.stack([around[:, w + k : w + k + m, w - k] for k in range(-w, w + 1)], -1)


def _products_back(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array, None]:
  c, x = saved
  return weighted(g, x), weighted(mirrored(g), c), None


def _weighted_back(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
  weights, x = saved
  return products(g, x, weights), weighted(mirrored(weights), g)


products.defvjp(lambda c, x, like: (products(c, x, like), (c, x)), _products_back)
weighted.defvjp(lambda weights, x: (weighted(weights, x), (weights, x)), _weighted_back)


def nats(s: Array) -> Array:
  """-log sigmoid(s), in a form that is fast on the CPU and has its slope at 0, where all products start."""
  size = jnp.abs(s)
  return (size - s) / 2 + jnp.log(1 + jnp.exp(-size))


# ---- the methods' common parts ---------------------------------------------------------------------------------------


def check(name: str, encoder: nn.Encoder, settings: Settings) -> None:
  """Raises Refusal for an encoder that is no table of words' vectors, and UserError for a setting out of range."""
  if encoder.block_names != ("vectors",):
    raise Refusal(f"--method={name}: learns the vectors of words; use --encoder=words.")
  checks.at_least_one(window=settings.window, negatives=settings.negatives, shared=settings.shared)
  if settings.sample:
    checks.positive(sample=settings.sample)


def method(
  encoder: nn.Encoder,
  vocabulary: Vocabulary,
  settings: Settings,
  losses: Callable[[Array, Array, Array, Mapping[str, Array]], tuple[Array, Array]],
) -> Pretext:
  """The Pretext of a loss: (vectors [R,m,d] of the encoder, vectors [R,m,d] and of negatives [R,S,d] of the context,
  view) -> (sum of the loss over what it is of, and how many these are).
  """

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    params, stats, _ = common.init_encoder(encoder, key, batch["x"])
    return {"encoder": params, "context": {"table": jnp.zeros_like(params["vectors"]["table"])}}, {"encoder": stats}

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    return viewed(key, batch["x"], vocabulary, settings)

  def rows(view: Mapping[str, Array]) -> dict[tuple[str, ...], Array]:
    context = jnp.concatenate([view["words"], view["negatives"]], 1)
    return {ENCODER_TABLE: view["words"], CONTEXT_TABLE: context}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    vectors, context = params["encoder"]["vectors"]["table"], params["context"]["table"]
    m = vectors.shape[1]
    total, count = losses(vectors, context[:, :m], context[:, m:], view)
    return total, (state, {"nats": total / jnp.maximum(count, 1)})

  return Pretext(init, loss, transform, common.no_update, rows=rows)
