"""Vectors of words without a network: counts of words that stand near each other, factorised.

    PPMI(w, c) = max(0, log P(w, c) / (P(w) P'(c)) - log k),    P'(c) = #(c)^.75 / sum over all words of #^.75

    vectors = U S^p of the truncated SVD U S V' of that matrix

Levy, Goldberg: Neural Word Embedding as Implicit Matrix Factorization, NIPS 2014, showed that skip-gram with negative
samples factorises such a matrix: what it learns has to be held against this. The settings are those that Levy,
Goldberg, Dagan advise (Improving Distributional Similarity with Lessons Learned from Word Embeddings, TACL 2015):
contexts smoothed by the power .75, no shift (k = 1) for an SVD, and its symmetric variant p = .5, not the "correct"
p = 1. None of them is chosen by our scores. A pair counts by how near its words are, (window + 1 - distance) / window,
which is how often the random windows of word2vec hold it.
"""

from typing import Any, cast

import numpy as np

from sslx.data.lazy import Rows
from sslx.ops.text import FIRST, PAD, UNKNOWN, Vocabulary

SMOOTHING, POWER = 0.75, 0.5
IDS_AT_ONCE = 1 << 21  # that are counted at a time
TOLERANCE = 0.01  # of ARPACK: what an analogy is answered with does not change, and it takes half of the time
DENSE = 64  # words up to which, or vectors that nearly span the matrix, a dense SVD is the one that works


def cooccurrences(x: Rows, size: int, window: int = 5) -> Any:
  """A sparse matrix f64 [size,size], symmetric: how often two words stand at most `window` words from each other.

  x: ids i32 [N,T] below `size`. PAD and the end of a row end a line, beyond which no window reaches; UNKNOWN is taken
  out before there are windows, as word2vec does.
  """
  from scipy.sparse import coo_matrix, csr_matrix

  counts = csr_matrix((size, size), dtype=np.float64)
  rows = max(1, IDS_AT_ONCE // max(1, x.shape[1]))
  for start in range(0, len(x), rows):
    ids = np.asarray(x[np.arange(start, min(start + rows, len(x)))])
    ids = np.pad(ids, ((0, 0), (0, 1)), constant_values=PAD).ravel()
    ids = ids[ids != UNKNOWN]
    line = np.cumsum(ids == PAD)
    line, ids = line[ids != PAD], ids[ids != PAD]
    for distance in range(1, window + 1):
      same = line[:-distance] == line[distance:]
      pair = ids[:-distance][same], ids[distance:][same]
      weight = np.full(len(pair[0]), (window + 1 - distance) / window)
      counts = counts + coo_matrix((weight, pair), (size, size)).tocsr()
  return csr_matrix(counts + counts.T)


def ppmi(counts: Any, smoothing: float = SMOOTHING, shift: float = 1.0) -> Any:
  """The positive pointwise mutual information of a matrix of counts [V,V], sparse; shift: k, see the module."""
  matrix = counts.tocoo()
  words, contexts = (np.asarray(counts.sum(axis)).ravel() for axis in (1, 0))
  smoothed = contexts**smoothing
  with np.errstate(divide="ignore"):  # of words that stand alone
    word, context = np.log(words), np.log(smoothed / max(smoothed.sum(), 1e-300))
  # log P(w, c) / (P(w) P'(c)): the sum of all counts cancels out.
  matrix.data = np.maximum(np.log(matrix.data) - word[matrix.row] - context[matrix.col] - np.log(shift), 0)
  made = matrix.tocsr()
  made.eliminate_zeros()
  return made


def truncated_svd(
  matrix: Any, width: int, seed: int = 0, tolerance: float = TOLERANCE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """(U [N,k], S [k], V' [k,M]) of a sparse matrix [N,M], k <= width, the largest first; tolerance: of ARPACK."""
  from scipy.sparse.linalg import svds

  if min(matrix.shape) <= max(width + 1, DENSE):
    u, s, v = np.linalg.svd(matrix.toarray(), full_matrices=False)
    return u[:, :width], s[:width], v[:width]
  start = np.random.default_rng(seed).normal(size=min(matrix.shape)).astype(np.float32)
  error: Any = tolerance  # which scipy's types say is an integer
  parts = svds(matrix.astype(np.float32), width, v0=start, tol=error)
  u, s, v = cast("tuple[np.ndarray, ...]", parts)
  return u[:, ::-1], s[::-1], v[::-1]


def vectors(x: Rows, vocabulary: Vocabulary, width: int = 100, window: int = 5, power: float = POWER) -> np.ndarray:
  """f32 [V,width] of text x i32 [N,T], ids of the vocabulary: a row for each id, 0 for what is no word."""
  u, s, _ = truncated_svd(ppmi(cooccurrences(x, vocabulary.size, window)), width)
  made = (u * s**power).astype(np.float32)
  made[:FIRST] = 0
  return np.pad(made, ((0, 0), (0, width - made.shape[1])))
