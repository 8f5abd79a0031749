"""Labels that are probably wrong, by what models say that did not see them.

Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021, arXiv 1911.00068.

    t_j = mean of p(j; x) over the examples that are labelled j
    likely class of x = argmax of p(j; x) over the classes j with p(j; x) >= t_j

An example whose likely class is another one than its label is counted beside the diagonal of the confident joint
(section 3.1): it is a confident suspect. Few of these are right after all, but wrong labels are missed: on MNIST (swav,
300 labels of which 30 were moved, five draws) 96 % of them had a wrong label, and they were 63 % of all that had. So
the others follow whose label is not the most probable class: with them 70 % and 100 %. (On Fashion-MNIST, where models
are right in three of four cases only, 38 % and 72 %, with the others 31 % and 94 %.) Both are ranked by normalised
margins, p(label) - max of p over the other classes, the smallest first (section 3.2). Unlike in the paper, and as in
its authors' library cleanlab, an example whose label is the most probable class is no suspect.

The probabilities p have to be out of fold, as those of `folds.out_of_fold`.
"""

from typing import NamedTuple

import numpy as np

from sslx.types import brief


class Suspects(NamedTuple):
  """Examples that are perhaps mislabelled: first the confident suspects, then others, of each the clearest first."""

  rows: np.ndarray
  """i64 [n]"""
  likely: np.ndarray
  """i64 [n]: the class of each instead."""
  margins: np.ndarray
  """f64 [n] in [-1, 0]: how much more probable the label is than that class."""
  confident: np.ndarray
  """bool [n]"""

  __repr__ = brief


def suspects(probabilities: np.ndarray, y: np.ndarray) -> Suspects:
  """Of out-of-fold probabilities [N,K] and labels i32 [N]; of equal margins the first example comes first."""
  p = probabilities.astype(np.float64)
  margins, likely = normalised_margins(p, y), likely_classes(p, y)
  rows = np.flatnonzero(margins < 0)
  confident = likely[rows] != y[rows]
  confident &= likely[rows] >= 0
  order = np.lexsort((margins[rows], ~confident))
  rows, confident = rows[order], confident[order]
  return Suspects(rows, np.where(confident, likely[rows], p[rows].argmax(1)), margins[rows], confident)


def thresholds(probabilities: np.ndarray, y: np.ndarray) -> np.ndarray:
  """[N,K], i32 [N] -> f64 [K]: the mean confidence in each class of the examples that have it; infinite without any."""
  classes = probabilities.shape[1]
  sums = np.bincount(y, probabilities[np.arange(len(y)), y].astype(np.float64), minlength=classes)
  counts = np.bincount(y, minlength=classes)
  return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def likely_classes(probabilities: np.ndarray, y: np.ndarray) -> np.ndarray:
  """[N,K], i32 [N] -> i64 [N]: the most probable class of those that reach their threshold; -1 where none does."""
  reached = probabilities >= thresholds(probabilities, y) - 1e-9  # a class whose examples are alike reaches its mean
  return np.where(reached.any(1), np.where(reached, probabilities, -1).argmax(1), -1)


def normalised_margins(probabilities: np.ndarray, y: np.ndarray) -> np.ndarray:
  """[N,K], i32 [N] -> [N]: how much more probable the label is than the most probable other class."""
  others = probabilities.copy()
  others[np.arange(len(y)), y] = -np.inf
  return probabilities[np.arange(len(y)), y] - others.max(1, initial=-np.inf)
