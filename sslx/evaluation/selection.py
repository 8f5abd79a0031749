"""Which examples to label next: pure functions of features or probabilities, and a seed.

typical: TypiClust. Hacohen, Dekel, Weinshall: Active Learning on a Budget: Opposite Strategies Suit High and Low
Budgets, ICML 2022, arXiv 2202.02794, algorithm 1.

    typicality(x) = 1 / mean of |x - x_i| over the K = 20 nearest x_i of x's cluster

The features are clustered into as many parts as there will be labels, at most 500. Clusters with the fewest labels come
first, of these the largest, and each gives its most typical example that has no label. Clusters of at most 5 examples
are left out. As the authors' code does, neighbours are those without a label, at most half of these. Unlike there:
distances are not squared (they are not in the paper), one k-means starts from k-means++ and sees all examples in each
round, and where all clusters are small, none is left out.

coreset: the example that is farthest from all that are labelled or chosen already. Sener, Savarese: Active Learning for
Convolutional Neural Networks: A Core-Set Approach, ICLR 2018, arXiv 1708.00489, algorithm 1 (k-center greedy).

margin: the example whose two most probable classes differ least. Scheffer, Decomain, Wrobel: Active Hidden Markov
Models for Information Extraction, IDA 2001.
"""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.compile import jit
from sslx.pretext.families import clusters
from sslx.types import UserError, brief

NEIGHBOURS = 20  # K of the typicality
MOST_CLUSTERS = 500
SMALL = 5  # a cluster of at most so many examples is left out
ROUNDS = 25  # of k-means
CHUNK = 2000  # rows whose distances are held at a time


STRATEGIES = ("typical", "margin", "coreset", "random")
# Labels of a class up to which typical examples are worth more than uncertain ones. On held-out training images (swav,
# 400 labels in rounds of 50, three seeds) 5, 10 and 20 came out alike. On MNIST, margin alone was behind below 150
# labels (86.7 against 94.7 % at 50) and typical alone from 200 on (97.0 against 98.2 % at 400).
FEW = 10


class Choice(NamedTuple):
  """Examples of a pool, the first choice first, and why each was chosen."""

  rows: np.ndarray
  """i64 [n]: places in the pool, each once."""
  scores: np.ndarray
  """f64 [n]: typicality, margin, or distance; of random ones 0."""

  __repr__ = brief


def usual(labels: int, classes: int) -> str:
  """The strategy where none is named, by how many labels there are."""
  return "typical" if labels < FEW * classes else "margin"


def choose(
  strategy: str,
  pool: np.ndarray,
  labelled: np.ndarray,
  probabilities: np.ndarray | None,
  count: int,
  seed: int,
) -> Choice:
  """One of STRATEGIES on features [N,D] of a pool and [M,D] of what is labelled; probabilities: of the pool, [N,K],
  for margin.
  """
  if strategy == "margin":
    assert probabilities is not None
    return margin(probabilities, count)
  if strategy == "random":
    return random(len(pool), count, seed)
  return {"typical": typical, "coreset": coreset}[strategy](pool, labelled, count, seed)


def random(size: int, count: int, seed: int) -> Choice:
  """`count` of so many examples, all equally likely."""
  rows = np.random.default_rng(seed).permutation(size)[: _checked(count, size)]
  return Choice(rows, np.zeros(count))


def margin(probabilities: np.ndarray, count: int) -> Choice:
  """Those of probabilities [N,K], K of at least 2, of which the two largest differ least; of several the first."""
  best = -np.partition(-probabilities.astype(np.float64), 1, axis=1)[:, :2]
  margins = best[:, 0] - best[:, 1]
  rows = np.argsort(margins, kind="stable")[: _checked(count, len(margins))]
  return Choice(rows, margins[rows])


def coreset(pool: np.ndarray, labelled: np.ndarray, count: int, seed: int) -> Choice:
  """Each is the farthest in features [N,D] from `labelled` [M,D] and those before it; without any, the first is a
  random one.
  """
  count, pool = _checked(count, len(pool)), pool.astype(np.float64)
  free = np.ones(len(pool), bool)
  distance = np.full(len(pool), np.inf)
  for start in range(0, len(labelled), CHUNK):
    distance = np.minimum(distance, _squared(pool, labelled[start : start + CHUNK].astype(np.float64)).min(1))
  rows, scores = [], []
  for _ in range(count):
    if rows or len(labelled):
      row = int(np.where(free, distance, -1).argmax())
    else:
      row = int(np.random.default_rng(seed).integers(len(pool)))
    rows.append(row)
    scores.append(np.sqrt(distance[row]))
    free[row] = False
    distance = np.minimum(distance, _squared(pool, pool[row : row + 1])[:, 0])
  return Choice(np.array(rows, np.int64), np.array(scores))


def typical(pool: np.ndarray, labelled: np.ndarray, count: int, seed: int) -> Choice:
  """The most typical example of each cluster of features [N,D], of those clusters that have the fewest of `labelled`
  [M,D].
  """
  count = _checked(count, len(pool))
  points = np.concatenate([pool, labelled]).astype(np.float32)
  number = min(len(labelled) + count, MOST_CLUSTERS)
  member = k_means(points, number, seed)
  sizes, labels = (np.bincount(part, minlength=number) for part in (member, member[len(pool) :]))
  usable = np.flatnonzero(sizes > SMALL)
  usable = usable if len(usable) else np.flatnonzero(sizes)
  usable = usable[np.lexsort((-sizes[usable], labels[usable]))]
  free, of_pool = np.ones(len(pool), bool), member[: len(pool)]
  rows, scores = [], []
  while len(rows) < count:
    before = len(rows)
    for cluster in usable:
      places = np.flatnonzero(free & (of_pool == cluster))
      if len(places) and len(rows) < count:
        typicalities = typicality(pool[places], min(NEIGHBOURS, len(places) // 2))
        best = int(typicalities.argmax())
        rows.append(int(places[best]))
        scores.append(typicalities[best])
        free[places[best]] = False
    if len(rows) == before:  # nothing is left in them: go on with the small ones
      usable = np.unique(of_pool[free])
  return Choice(np.array(rows, np.int64), np.array(scores))


def typicality(features: np.ndarray, k: int) -> np.ndarray:
  """[N,D] -> f64 [N]: the inverse of the mean distance to the k nearest others; 0 each where k is 0."""
  if k < 1:
    return np.zeros(len(features))
  features, means = features.astype(np.float64), []
  for start in range(0, len(features), CHUNK):
    squared = _squared(features[start : start + CHUNK], features)
    squared[np.arange(len(squared)), start + np.arange(len(squared))] = np.inf  # not itself
    means.append(np.sqrt(np.partition(squared, k - 1, axis=1)[:, :k]).mean(1))
  return 1 / (np.concatenate(means) + 1e-5)


def k_means(points: np.ndarray, number: int, seed: int) -> np.ndarray:
  """f32 [N,D] -> i64 [N]: the cluster of each, of so many; some may be empty."""
  from scipy.cluster.vq import kmeans2

  start = jit(clusters.spread_out, static_argnames="number")(jax.random.key(seed), jnp.asarray(points), number=number)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # of a cluster without a point, which stays where it is
    return kmeans2(points, np.asarray(start), iter=ROUNDS, minit="matrix")[1].astype(np.int64)


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """f64 [N,D], [M,D] -> [N,M]: squared distances."""
  return np.maximum(np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T, 0)


def _checked(count: int, size: int) -> int:
  if not 1 <= count <= size:
    raise UserError(f"--count={count}: there are {size:,} examples without a label to choose from.")
  return count
