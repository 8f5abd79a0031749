"""Regression: which numbers are asked for? Everything in sslx that knows of them is here.

The linear head is ridge regression in closed form. For each number its L2 is chosen by cross-validation inside the
labelled subset, or on a held-out set that the caller names: no other label is read.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sslx import nn
from sslx.tasks.linear import Linear, choice_parts, few_threads, fit_scaling, identity
from sslx.tasks.subsets import number_subsets, random_folds
from sslx.types import Array, Score, Task, brief

R2 = Score("R2", "", "", 1.0, True)
L2_GRID = tuple(float(l2) for l2 in np.logspace(-6, 1, 15))  # of features whose squares sum to about one
SCALINGS = ("standardize", "center")
BEYOND = 0.5  # how far a prediction may leave the range of the labelled numbers, as a part of this range


def regression(names: Sequence[str]) -> Task:
  """The task of a data set whose labels y f32 [B,T] are the numbers called `names`, each in a unit of its own."""

  def scores(answers: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    each, errors = r2(answers, y), np.abs(answers - y).mean(0)
    told = {f"R2_{name}": value for name, value in zip(names, each, strict=True)} if len(names) > 1 else {}
    return {"R2": each.mean(), **told, **{f"MAE_{name}": error for name, error in zip(names, errors, strict=True)}}

  def loss(outputs: Array, y: Array) -> Array:
    return jnp.square(outputs - y).mean(-1)

  return Task(
    name="regression",
    outputs=len(names),
    names=tuple(names),
    score=R2,
    loss=loss,
    scores=scores,
    decide=lambda outputs: outputs,
    subset=number_subsets,
    folds=random_folds,
    head=lambda: nn.Linear(len(names), zero=True),
    fit_head=fit_ridge,
    reading="all:moments",
    recipe=(("steps", 400), ("epochs", 40.0), ("batch_size", 25), ("learning_rates", (4e-3,))),
    watched=lambda outputs, y: {R2.name: r2(outputs, y).mean()},
    units=units,
  )


def r2(answers: Any, y: Any) -> Any:
  """Of each number the share of its variance in y [N,T] that answers [N,T] explain: 1 at best, 0 for its mean, and
  below for what is worse than this. 0 where it does not vary.
  """
  varies = y.max(0) > y.min(0)  # exactly so: the mean of equal numbers is rounded, and differs from them
  spread = ((y - y.mean(0)) ** 2).sum(0)
  missed = ((answers - y) ** 2).sum(0)
  return varies - varies * missed / (spread + (spread == 0))


def units(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(mean, standard deviation) of each of the labelled numbers [N,T]; 1 for one that does not vary."""
  varies = y.max(0) > y.min(0)
  return y.mean(0), np.where(varies, y.std(0), 1).astype(np.float32)


class Ridge(NamedTuple):
  """A linear head whose answers stay near the range of the numbers that it learnt from: a `sslx.types.Head`."""

  linear: Linear
  low: np.ndarray  # f32 [T]
  high: np.ndarray  # f32 [T]

  __repr__ = brief

  def outputs(self, features: np.ndarray) -> np.ndarray:
    """f32 [N,D] -> f32 [N,T]."""
    return np.clip(self.linear.outputs(features), self.low, self.high)

  @property
  def chosen(self) -> dict[str, Any]:
    """The hyper-parameters that were chosen for it."""
    return self.linear.chosen

  @property
  def size(self) -> int:
    """Number of its parameters."""
    return self.linear.size


@few_threads
def fit_ridge(
  features: np.ndarray,
  y: np.ndarray,
  reference: np.ndarray,
  *,
  seed: int = 0,
  heldout: tuple[np.ndarray, np.ndarray] | None = None,
  versions: int = 1,
  groups: np.ndarray | None = None,
  l2_grid: Sequence[float] = L2_GRID,
  scalings: Sequence[str] = SCALINGS,
) -> Ridge:
  """Ridge regression of numbers y f32 [N,T] on features f32 [N,D]; scaling and L2 are chosen for each number.

  Scalings: standardize, or center, which keeps how much features vary beside each other (positions want this, sizes
  that). Both are by the unlabelled reference f32 [M,D]: by the few labelled ones, a feature that hardly varies among
  them would be blown up, and answers on other examples explode. Where there are fewer than five labels, nothing is held
  out: features are standardised, with the largest L2.
  """
  t, scales = y.astype(np.float64), {name: fit_scaling(name, reference) for name in scalings}
  parts = choice_parts(features, t, 5, seed, heldout, versions, groups)
  grid = [(name, l2) for name in scalings for l2 in l2_grid]
  error = np.zeros((len(grid), t.shape[1]))
  for fit_x, fit_t, valid_x, valid_t in parts:
    solved = [pair for scale in scales.values() for pair in _solutions(scale(fit_x), fit_t, l2_grid)]
    scaled = {name: scale(valid_x).astype(np.float64) for name, scale in scales.items()}
    for i, ((name, _), (weight, bias)) in enumerate(zip(grid, solved, strict=True)):
      error[i] += ((scaled[name] @ weight + bias - valid_t) ** 2).sum(0)
  best = error.argmin(0) if parts else np.full(t.shape[1], len(l2_grid) - 1)
  weight, bias = np.zeros((features.shape[1], t.shape[1])), np.zeros(t.shape[1])
  for name, scale in scales.items():
    columns = [column for column, i in enumerate(best) if grid[i][0] == name]
    for l2, (w, b) in zip(l2_grid, _solutions(scale(features), t, l2_grid) if columns else (), strict=False):
      chosen = [column for column in columns if grid[best[column]][1] == l2]
      # in features as they are: numbers may have another scaling each
      weight[:, chosen] = w[:, chosen] * scale.scale[:, None].astype(np.float64)
      bias[chosen] = b[chosen] - scale.mean.astype(np.float64) @ weight[:, chosen]
  margin = BEYOND * np.ptp(y, axis=0)
  told = {"scaling": [grid[i][0] for i in best], "l2": [float(grid[i][1]) for i in best]}
  middle = reference.mean(0, dtype=np.float64)  # taken off first: large means would eat the digits of float32
  linear = Linear(
    weight.astype(np.float32),
    (bias + middle @ weight).astype(np.float32),
    identity(features.shape[1])._replace(mean=middle.astype(np.float32)),
    told,
  )
  return Ridge(linear, (y.min(0) - margin).astype(np.float32), (y.max(0) + margin).astype(np.float32))


def _solutions(x: np.ndarray, t: np.ndarray, l2_grid: Sequence[float]):
  """(weight [D,T], bias [T]) = argmin of mean |x w + b - t|^2 + l2 |w|^2, for each L2, by one decomposition."""
  x = x.astype(np.float64)
  mean_x, mean_t = x.mean(0), t.mean(0)
  x, t, n = x - mean_x, t - mean_t, len(x)
  if x.shape[1] > n:  # in the span of the samples, where the minimiser lies
    values, axes = np.linalg.eigh(x @ x.T)
    turned = axes.T @ t
    for l2 in l2_grid:
      weight = x.T @ (axes @ (turned / (np.maximum(values, 0) + n * l2)[:, None]))
      yield weight, mean_t - mean_x @ weight
  else:
    values, axes = np.linalg.eigh(x.T @ x)
    turned = axes.T @ (x.T @ t)
    for l2 in l2_grid:
      weight = axes @ (turned / (np.maximum(values, 0) + n * l2)[:, None])
      yield weight, mean_t - mean_x @ weight
