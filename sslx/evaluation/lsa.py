"""Latent semantic analysis: texts along the directions in which the bags of words of all training texts lie furthest.

    X = U S V^T of the texts' bags (tf-idf, unit length), features of a bag x: x V_K

Deerwester, Dumais, Furnas, Landauer, Harshman: Indexing by Latent Semantic Analysis, JASIS 1990. What there is to know
of words that stand together without any training by gradient. X is not centred, as its zeros are most of it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sslx import nn
from sslx.data import Dataset
from sslx.data.lazy import Rows
from sslx.evaluation.ppmi import truncated_svd
from sslx.ops.text import FIRST, Vocabulary
from sslx.types import UserError

LSA_WIDTH = 100
AT_ONCE = 10_000  # texts


def lsa(dataset: Dataset, width: int | None = None) -> nn.Representation:
  """The features of a data set of text along `width` directions, of its training texts and those without labels.

  width: None is LSA_WIDTH, or as many as a small set has.

  Raises:
    UserError: more directions than it has.
  """
  vocabulary = dataset.vocabulary
  assert vocabulary is not None
  texts = bags(dataset.pretraining_x, vocabulary, nn.WORDS)
  count, words = texts.shape
  most = min(count, words) - 1
  width = min(LSA_WIDTH, most) if width is None else width
  if width > most:
    raise UserError(f"--modes=lsa:{width}: {count} texts of {words} words have {most} directions at most.")
  _, _, directions = truncated_svd(texts, width, tolerance=0)
  kernel = np.ascontiguousarray(directions.T, np.float32)
  params = {"axes": {"directions": kernel * np.sign(kernel.sum(0))}}
  return nn.Representation(nn.along(vocabulary, width), "flatten", params, {}, dataset.modality.prepare)


def bags(x: Rows, vocabulary: Vocabulary, words: int) -> Any:  # a scipy.sparse.csr_matrix
  """Texts i32 [N,T] -> what `nn.weighed` gives of them, f32 [N,n], of which only what is not 0 is kept."""
  from scipy.sparse import csr_matrix, vstack

  n, parts = max(1, min(words, len(vocabulary))), []
  idf = np.pad(vocabulary.idf[FIRST:], (0, 1))[:n]
  for start in range(0, len(x), AT_ONCE):
    ids = np.asarray(x[np.arange(start, min(start + AT_ONCE, len(x)))])
    rows, places = np.nonzero((ids >= FIRST) & (ids < FIRST + n))
    counts = csr_matrix((np.ones(len(rows), np.float32), (rows, ids[rows, places] - FIRST)), (len(ids), n))
    weighed = counts.multiply(idf).tocsr()
    length = np.sqrt(weighed.multiply(weighed).sum(1))
    parts.append(weighed.multiply(1 / np.maximum(length, 1e-6)).tocsr())
  return vstack(parts).tocsr().astype(np.float32)


def check(argument: str, block_names: Sequence[str]) -> None:
  """Raises ValueError for a K that is no number of directions; "" is the usual one."""
  if argument and not 1 <= int(argument) <= 9999:
    raise ValueError(argument)
