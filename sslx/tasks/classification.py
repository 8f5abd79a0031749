"""Classification: which of K classes is it? Everything in sslx that knows of classes' logits and accuracy is here.

The linear head is multinomial logistic regression. Feature scaling and L2 are chosen by cross-validation inside the
labelled subset, or on a held-out set that the caller names: no other label is read.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.special

from sslx import losses, nn
from sslx.tasks.linear import (
  MANY,
  SCALINGS,
  SMALLEST_L2,
  Linear,
  Space,
  every_version,
  few_threads,
  fit_scaling,
  make_space,
)
from sslx.tasks.regression import fit_ridge
from sslx.tasks.subsets import group_folds, label_subsets, stratified_folds
from sslx.types import Score, Task

ACCURACY = Score("accuracy", "%", "points", 100.0, True)
L2_GRID = (SMALLEST_L2, 1e-4, 1e-3, 1e-2, 1e-1)
MANY_L2 = (1e-7, 1e-6)  # tried too where labels are MANY
CHOICE_STEPS = 20  # L-BFGS steps for each L2 while choosing, started at the solution before; the chosen one gets 500


def classification(names: Sequence[str]) -> Task:
  """The task of a data set whose labels y i32 [B] are places in `names`, the classes. Outputs are logits [B,K]."""
  classes = len(names)

  def fit_head(
    features: np.ndarray, y: np.ndarray, reference: np.ndarray, kind: str = "logistic", **how: Any
  ) -> Linear:
    if kind == "ridge":  # of 1 for the class and 0 for all others
      return fit_ridge(features, np.eye(classes, dtype=np.float32)[y], reference, **how).linear
    return fit_logistic(features, y, classes, reference, **how)

  return Task(
    name="classification",
    outputs=classes,
    names=tuple(names),
    score=ACCURACY,
    loss=losses.cross_entropies,
    scores=lambda logits, y: {ACCURACY.name: (logits.argmax(-1) == y).mean()},
    decide=lambda logits: logits.argmax(-1),
    probabilities=lambda logits: scipy.special.softmax(logits, axis=-1),
    subset=label_subsets,
    fewest=classes,
    folds=stratified_folds,
    head=lambda: nn.Linear(classes, zero=True),
    fit_head=fit_head,
  )


def _lbfgs(
  space: "Space", targets: np.ndarray, weight: np.ndarray, l2: float, start: np.ndarray, steps: int
) -> np.ndarray:
  """argmin over theta f32 [R+1,K] (last row: a free bias) of sum_i weight_i CE_i / sum weight + l2/2 |W|^2.

  L-BFGS by scipy, on the host: a problem of a hundred samples is too small to pay for a compilation or for dispatching
  to a device.
  """
  from scipy.optimize import minimize

  x, used = space.x, weight > 0
  if not used.all():
    x, targets = x[used], targets[used]
  weight = (weight[used] / weight.sum())[:, None]

  def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
    theta = flat.reshape(start.shape).astype(x.dtype)
    logits = x @ theta[:-1] + theta[-1]
    logits -= logits.max(1, keepdims=True)
    p = np.exp(logits)
    total = p.sum(1, keepdims=True)
    loss = float((weight * (np.log(total) - (logits * targets).sum(1, keepdims=True))).sum())
    error = weight * (p / total - targets)
    weighted = space.penalty * theta[:-1]
    grad = np.concatenate([x.T @ error + l2 * weighted, error.sum(0, keepdims=True)])
    return loss + 0.5 * l2 * float((weighted * theta[:-1]).sum()), grad.ravel().astype(np.float64)

  options = {"maxiter": steps, "gtol": 1e-5, "ftol": 1e-9}
  solution = minimize(objective, start.ravel().astype(np.float64), jac=True, method="L-BFGS-B", options=options)
  return solution.x.reshape(start.shape).astype(np.float32)


@few_threads
def fit_logistic(
  features: np.ndarray,
  labels: np.ndarray,
  num_classes: int,
  reference: np.ndarray,
  *,
  seed: int = 0,
  folds: int | None = None,
  heldout: tuple[np.ndarray, np.ndarray] | None = None,
  versions: int = 1,
  groups: np.ndarray | None = None,
  l2_grid: Sequence[float] | None = None,
  scalings: Sequence[str] = SCALINGS,
) -> Linear:
  """L-BFGS multinomial logistic regression; scaling and L2 chosen by cross-validation inside (features, labels).

  Args:
    features: f32 [N,D]; labels: i32 [N]. No other label is read unless `heldout` = (features, labels) is given, which
      then takes the place of the folds.
    reference: f32 [M,D], unlabelled features for the statistics of `standardize`.
    versions: how often each example stands in (features, labels), see `every_version`; folds are of examples.
    groups: i32 [N], such as who speaks: folds are then of whole groups.
    folds: None for 5, or 3 above 300 labels; reduced where the rarest class has fewer members. With one per class
      nothing can be held out, and the first scaling and the middle of the grid are used.

  With more features than samples the problem is solved in the span of the samples, which is exact for L2 (the
  minimiser lies in it): D is then N. A large one is solved along principal axes (see `_space`). From 10,000
  labels one of the folds is enough to choose by, and l2_grid (default L2_GRID) goes down to 1e-7.
  """
  n = len(labels) // versions
  many = n >= MANY
  l2_grid = l2_grid or (*L2_GRID, *(MANY_L2 if many else ()))
  grid = [(name, l2) for name in scalings for l2 in sorted(l2_grid, reverse=True)]
  targets = np.eye(num_classes, dtype=np.float32)[labels]
  spaces = {name: make_space(fit_scaling(name, reference), features) for name in scalings}

  def path(name: str, weight: np.ndarray, l2s: Sequence[float], steps: int = CHOICE_STEPS):
    """Solutions for decreasing L2, each started at the one before."""
    theta = np.zeros((spaces[name].x.shape[1] + 1, num_classes), np.float32)
    for l2 in l2s:
      hurry = many and l2 != l2s[-1]  # a start for the next one only
      theta = _lbfgs(spaces[name], targets, weight, l2, theta, CHOICE_STEPS if hurry else steps)
      yield theta

  ones = np.ones(len(labels), np.float32)
  if len(grid) == 1:
    best, score = grid[0], None
  elif heldout is not None:
    scores = {}
    for name in scalings:
      for l2, theta in zip(sorted(l2_grid, reverse=True), path(name, ones, sorted(l2_grid, reverse=True)), strict=True):
        scores[name, l2] = _score(spaces[name].project(heldout[0]), heldout[1], theta)
    best = max(scores, key=scores.__getitem__)
    score = scores[best][0]
  else:
    try:
      k = folds or (5 if n <= 300 else 3)
      parts = stratified_folds(labels[:n], k, seed) if groups is None else group_folds(groups, k, seed)
      parts = parts[:1] if many else parts
    except ValueError:
      parts = []
    totals = {setting: np.zeros(2) for setting in grid}
    for train, valid in parts:
      weight = np.zeros(len(labels), np.float32)
      weight[every_version(train, n, versions)] = 1
      for name in scalings:
        l2s = sorted(l2_grid, reverse=True)
        for l2, theta in zip(l2s, path(name, weight, l2s), strict=True):
          totals[name, l2] += np.array(_score(spaces[name].x[valid], labels[valid], theta)) * len(valid)
    if parts:
      best = max(grid, key=lambda setting: tuple(totals[setting]))  # accuracy, then likelihood; ties: the stronger L2
      score = float(totals[best][0] / sum(len(valid) for _, valid in parts))
    else:
      best, score = (scalings[0], sorted(l2_grid)[len(l2_grid) // 2]), None
  name, l2 = best
  *_, theta = path(name, ones, [value for value in sorted(l2_grid, reverse=True) if value >= l2], 500)
  return Linear(
    spaces[name].lift(theta[:-1]),
    theta[-1],
    spaces[name].scaling,
    {"scaling": name, "l2": l2, "validation_accuracy": score},
  )


def _score(x: np.ndarray, labels: np.ndarray, theta: np.ndarray) -> tuple[float, float]:
  """(accuracy, mean log-likelihood)."""
  logits = x @ theta[:-1] + theta[-1]
  shifted = logits - logits.max(1, keepdims=True)
  log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
  return float((logits.argmax(1) == labels).mean()), float(log_p[np.arange(len(labels)), labels].mean())
