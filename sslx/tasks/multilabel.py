"""Multi-label classification: which of K classes are there? Any number of them may be at once.

The linear head is a logistic regression for each class by itself, as in `classification`, with one scaling and L2 for
all, chosen inside the labelled subset.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optax
import scipy.special

from sslx import nn
from sslx.tasks.classification import L2_GRID, MANY_L2
from sslx.tasks.linear import MANY, SCALINGS, Linear, choice_parts, few_threads, fit_scaling, make_space
from sslx.tasks.subsets import multilabel_subsets, random_folds
from sslx.types import Array, Score, Task

MAP = Score("mAP", "%", "points", 100.0, True)


def multilabel(names: Sequence[str]) -> Task:
  """The task of a data set whose labels y u8 [B,K] say of each of the classes `names` whether it is there.

  Outputs are logits [B,K]; above 0 a class is said to be there.
  """

  def loss(logits: Array, y: Array) -> Array:
    return optax.sigmoid_binary_cross_entropy(logits, y).mean(-1)

  return Task(
    name="multilabel",
    outputs=len(names),
    names=tuple(names),
    score=MAP,
    loss=loss,
    scores=lambda logits, y: {
      MAP.name: mean_average_precision(logits, y),
      "accuracy": ((logits > 0) == (y > 0)).mean(),
    },
    decide=lambda logits: (logits > 0).astype(np.uint8),
    subset=multilabel_subsets,
    folds=random_folds,
    head=lambda: nn.Linear(len(names), zero=True),
    fit_head=fit_logistics,
    watched=lambda logits, y: {"label_accuracy": ((logits > 0) == (y > 0)).mean()},
  )


def mean_average_precision(logits: np.ndarray, y: np.ndarray) -> float:
  """The mean over classes of their average precision: of each example that has the class, the share of those ranked
  at or above it that have it too. Examples with the same logit count as one step. Classes that no example has are left
  out; 0 where there is no other.
  """
  each = [_average_precision(logits[:, k], y[:, k] > 0) for k in range(y.shape[1]) if y[:, k].any()]
  return float(np.mean(each)) if each else 0.0


def _average_precision(score: np.ndarray, there: np.ndarray) -> float:
  order = np.argsort(-score, kind="stable")
  score, there = score[order], there[order]
  ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # the last of those that are alike
  found = np.cumsum(there)[ends]
  gained = np.diff(found, prepend=0)
  return float((gained * found / (ends + 1)).sum() / there.sum())


@few_threads
def fit_logistics(
  features: np.ndarray,
  y: np.ndarray,
  reference: np.ndarray,
  *,
  seed: int = 0,
  heldout: tuple[np.ndarray, np.ndarray] | None = None,
  versions: int = 1,
  groups: np.ndarray | None = None,
  l2_grid: Sequence[float] | None = None,
  scalings: Sequence[str] = SCALINGS,
) -> Linear:
  """A logistic regression for each column of y u8 [N,K], as `classification.fit_logistic`; scaling and L2 are those
  with the least cross-entropy on the folds, or on heldout = (features, y).
  """
  l2_grid = sorted(l2_grid or (*L2_GRID, *(MANY_L2 if len(y) >= MANY else ())), reverse=True)
  grid = [(name, l2) for name in scalings for l2 in l2_grid]
  parts = choice_parts(features, y, 5 if len(y) <= 300 else 3, seed, heldout, versions, groups)
  loss = dict.fromkeys(grid, 0.0)
  for name in scalings:
    scaling = fit_scaling(name, reference)
    for fit_x, fit_y, valid_x, valid_y in parts:
      space = make_space(scaling, fit_x)
      there, start = valid_y > 0, np.zeros((space.x.shape[1] + 1, y.shape[1]))
      for l2 in l2_grid:
        start = _solve(space, fit_y, l2, start, 30)
        logits = space.project(valid_x) @ start[:-1] + start[-1]
        loss[name, l2] += float(np.logaddexp(0, np.where(there, -logits, logits)).sum())
  name, l2 = min(grid, key=loss.__getitem__) if parts else grid[len(l2_grid) // 2]
  space = make_space(fit_scaling(name, reference), features)
  theta = _solve(space, y, l2, np.zeros((space.x.shape[1] + 1, y.shape[1])), 500).astype(np.float32)
  return Linear(space.lift(theta[:-1]), theta[-1], space.scaling, {"scaling": name, "l2": l2})


def _solve(space: Any, y: np.ndarray, l2: float, start: np.ndarray, steps: int) -> np.ndarray:
  """argmin over theta [R+1,K] (last row: free biases) of mean CE summed over classes + l2/2 |W|^2, by L-BFGS."""
  from scipy.optimize import minimize

  x, there = space.x, (y > 0).astype(np.float64)

  def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
    theta = flat.reshape(start.shape)
    logits = x @ theta[:-1] + theta[-1]
    loss = (np.logaddexp(0, logits) - there * logits).sum() / len(x)
    error = (scipy.special.expit(logits) - there) / len(x)
    weighted = space.penalty * theta[:-1]
    grad = np.concatenate([x.T @ error + l2 * weighted, error.sum(0, keepdims=True)])
    return float(loss + 0.5 * l2 * (weighted * theta[:-1]).sum()), grad.ravel().astype(np.float64)

  options = {"maxiter": steps, "gtol": 1e-6, "ftol": 1e-9}
  return minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(start.shape)
