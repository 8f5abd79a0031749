"""What features are worth: kNN and multinomial logistic regression on cached features.

Features are computed once; every probe trains from the cache. Feature scaling and L2 are chosen by cross-validation
inside the labelled subset, or on a held-out set that the caller names: no other label is read.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.data import LazyImages
from sslx.tasks.subsets import stratified_folds
from sslx.evaluation.propagation import unit
from sslx.types import Array, UserError

L2_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
CHOICE_STEPS = 20  # L-BFGS steps for each L2 while choosing, started at the solution before; the chosen one gets 500
SCALINGS = ("standardize", "l2")
LARGE = 5_000_000  # numbers in the features from which a problem pays for threads, and for principal axes (`_space`)
MANY = 10_000  # labels from which one fold of the cross-validation does, and less L2 is tried too
MANY_L2 = (1e-7, 1e-6)


def extract(encode: Callable[[Array], Array], images: np.ndarray | LazyImages, batch_size: int = 500) -> np.ndarray:
  """Features f32 [N,D] of raw images u8 [N,H,W,C]; `encode` should be jitted. Every batch has
  the same shape (the last is padded), so that one compilation serves all sets of images.
  """
  out = []
  for start in range(0, len(images), batch_size):
    batch = np.asarray(images[np.arange(start, min(start + batch_size, len(images)))])
    padding = [(0, batch_size - len(batch))] + [(0, 0)] * (batch.ndim - 1)
    out.append(encode(jnp.asarray(np.pad(batch, padding))))  # not waited for: the next batch is read meanwhile
    if len(out) > 1:
      out[-2] = np.asarray(out[-2])
  return np.concatenate(out)[: len(images)].astype(np.float32, copy=False)


class Scaling(NamedTuple):
  """x -> (x - mean) * scale, then to unit length where `unit`."""

  mean: np.ndarray
  scale: np.ndarray
  unit: bool

  def __call__(self, x: np.ndarray) -> np.ndarray:
    """f32 [N,D] -> f32 [N,D]."""
    x = (x - self.mean) * self.scale
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-8) if self.unit else x


def identity(d: int) -> Scaling:
  """Features as they are."""
  return Scaling(np.zeros(d, np.float32), np.ones(d, np.float32), False)


def fit_scaling(name: str, reference: np.ndarray) -> Scaling:
  """The scaling called `name`, its statistics from unlabelled features [M,D].

  standardize: zero mean and unit variance per feature, divided by sqrt(D) so that L2 means the same at any width
  (features that never vary are set to 0). l2: unit length per sample. raw: as they are.
  """
  d = reference.shape[1]
  if name == "standardize":
    std = reference.std(0, dtype=np.float64)
    alive = std > 1e-6 * max(std.max(), 1e-30)
    scale = np.where(alive, 1 / np.where(alive, std, 1), 0) / np.sqrt(d)
    return Scaling(
      reference.mean(0, dtype=np.float64).astype(np.float32), scale.astype(np.float32), name == "standardize_l2"
    )
  if name == "l2":
    return identity(d)._replace(unit=True)
  if name == "raw":
    return identity(d)
  raise ValueError(f"unknown scaling {name!r}; known: standardize, l2, raw")


class Linear(NamedTuple):
  """A linear classifier on scaled features."""

  weight: np.ndarray  # f32 [D,K]
  bias: np.ndarray  # f32 [K]
  scaling: Scaling
  chosen: dict  # the hyper-parameters that were chosen

  def logits(self, features: np.ndarray) -> np.ndarray:
    """f32 [N,D] -> f32 [N,K]."""
    return self.scaling(features) @ self.weight + self.bias

  def predict(self, features: np.ndarray) -> np.ndarray:
    """f32 [N,D] -> class i64 [N]."""
    return self.logits(features).argmax(1)


def _lbfgs(
  space: "_Space", targets: np.ndarray, weight: np.ndarray, l2: float, start: np.ndarray, steps: int
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
  found = minimize(objective, start.ravel().astype(np.float64), jac=True, method="L-BFGS-B", options=options)
  return found.x.reshape(start.shape).astype(np.float32)


def _few_threads(function: Callable) -> Callable:
  """Linear algebra of small problems in one thread: threads that wait for each other made it four times slower."""

  @functools.wraps(function)
  def limited(features: np.ndarray, *args, **kwargs):
    with _threadpools().limit(limits=1 if features.size < LARGE else None, user_api="blas"):
      return function(features, *args, **kwargs)

  return limited


@functools.cache
def _threadpools():
  import scipy.linalg  # noqa: F401  its BLAS is another one than numpy's, and has to be loaded to be found
  from threadpoolctl import ThreadpoolController

  return ThreadpoolController()


@_few_threads
def fit_linear(
  features: np.ndarray,
  labels: np.ndarray,
  num_classes: int,
  reference: np.ndarray,
  *,
  seed: int = 0,
  folds: int | None = None,
  heldout: tuple[np.ndarray, np.ndarray] | None = None,
  l2_grid: Sequence[float] | None = None,
  scalings: Sequence[str] = SCALINGS,
) -> Linear:
  """L-BFGS multinomial logistic regression; scaling and L2 chosen by cross-validation inside (features, labels).

  Args:
    features: f32 [N,D]; labels: i32 [N]. No other label is read unless `heldout` = (features, labels) is given, which
      then takes the place of the folds.
    reference: f32 [M,D], unlabelled features for the statistics of `standardize`.
    folds: None for 5, or 3 above 300 labels; reduced where the rarest class has fewer members. With one per class
      nothing can be held out, and the first scaling and the middle of the grid are used.

  With more features than samples the problem is solved in the span of the samples, which is exact for L2 (the
  minimiser lies in it): D is then N. A large one is solved along principal axes (see `_space`). From 10,000
  labels one of the folds is enough to choose by, and l2_grid (default L2_GRID) goes down to 1e-7.
  """
  many = len(labels) >= MANY
  l2_grid = l2_grid or (*L2_GRID, *(MANY_L2 if many else ()))
  grid = [(name, l2) for name in scalings for l2 in sorted(l2_grid, reverse=True)]
  targets = np.eye(num_classes, dtype=np.float32)[labels]
  spaces = {name: _space(fit_scaling(name, reference), features) for name in scalings}

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
      parts = stratified_folds(labels, folds or (5 if len(labels) <= 300 else 3), seed)
      parts = parts[:1] if many else parts
    except ValueError:
      parts = []
    totals = {setting: np.zeros(2) for setting in grid}
    for train, valid in parts:
      weight = np.zeros(len(labels), np.float32)
      weight[train] = 1
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


class _Space(NamedTuple):
  """Scaled features in the coordinates that the solver works in."""

  scaling: Scaling
  basis: np.ndarray | None  # f32 [D,R], orthogonal columns, or None: the features' own
  x: np.ndarray  # f32 [N,R]
  penalty: np.ndarray  # f32 [] or [R,1], squared length of the basis' columns: |basis @ W|^2 = sum penalty * W^2

  def project(self, features: np.ndarray) -> np.ndarray:
    scaled = self.scaling(features)
    return scaled if self.basis is None else scaled @ self.basis

  def lift(self, weight: np.ndarray) -> np.ndarray:
    return weight if self.basis is None else self.basis @ weight


def _space(scaling: Scaling, features: np.ndarray) -> _Space:
  """The span of the samples where they are few; where the problem is large, principal axes scaled to equal curvature.

  The Hessian of the cross-entropy is at most X'X / 2N (Boehning, Multinomial logistic regression algorithm, 1992). Where
  that is near the identity, tens of L-BFGS steps do what took hundreds; the minimiser is the same.
  """
  scaled, one = scaling(features), np.ones((), np.float32)
  if scaled.shape[1] > scaled.shape[0]:
    basis = np.linalg.qr(scaled.T.astype(np.float64))[0].astype(np.float32)  # [D,N]
    return _Space(scaling, basis, scaled @ basis, one)
  if features.size < LARGE:
    return _Space(scaling, None, scaled, one)
  curvature, axes = np.linalg.eigh((scaled.T @ scaled / np.float32(len(scaled))).astype(np.float64))
  penalty = 1 / (np.maximum(curvature, 0) + 2 * min(L2_GRID))
  basis = (axes * np.sqrt(penalty)).astype(np.float32)
  return _Space(scaling, basis, scaled @ basis, penalty[:, None].astype(np.float32))


def _score(x: np.ndarray, labels: np.ndarray, theta: np.ndarray) -> tuple[float, float]:
  """(accuracy, mean log-likelihood)."""
  logits = x @ theta[:-1] + theta[-1]
  shifted = logits - logits.max(1, keepdims=True)
  log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
  return float((logits.argmax(1) == labels).mean()), float(log_p[np.arange(len(labels)), labels].mean())


@functools.partial(jax.jit, static_argnames=("k", "num_classes"))
def _knn(bank: Array, labels: Array, queries: Array, k: int, temperature: float, num_classes: int) -> Array:
  return _votes(queries @ bank.T, labels, k, temperature, num_classes)


@functools.partial(jax.jit, static_argnames=("k", "num_classes"))
def _knn_of_others(bank: Array, labels: Array, k: int, temperature: float, num_classes: int) -> Array:
  itself = jnp.eye(len(bank), dtype=bool)
  return _votes(jnp.where(itself, -jnp.inf, bank @ bank.T), labels, k, temperature, num_classes)


def _votes(similarity: Array, labels: Array, k: int, temperature: float, num_classes: int) -> Array:
  similarity, index = jax.lax.top_k(similarity, k)
  votes = jnp.exp((similarity - 1) / temperature)[:, :, None] * jax.nn.one_hot(labels[index], num_classes)
  return votes.sum(1)


class Knn(NamedTuple):
  """k-nearest-neighbour classifier by cosine similarity, votes weighted exp(similarity / temperature).

  Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018, arXiv 1805.01978. The field
  reports k=200, T=0.1 (there, MoCo) and k=20, T=0.07 (DINO).
  """

  bank: np.ndarray  # f32 [N,D], unit length
  labels: np.ndarray  # i32 [N]
  k: int
  temperature: float
  num_classes: int
  chosen: dict

  def logits(self, features: np.ndarray) -> np.ndarray:
    """Votes of each class, f32 [Q,K]."""
    bank, queries = jnp.asarray(self.bank), unit(features)
    parts = [queries[i : i + 500] for i in range(0, len(queries), 500)]
    return np.concatenate([_knn(bank, self.labels, q, self.k, self.temperature, self.num_classes) for q in parts])

  def predict(self, features: np.ndarray) -> np.ndarray:
    """f32 [Q,D] -> class i64 [Q]."""
    return self.logits(features).argmax(1)


def usual_temperature(k: int) -> float:
  """The one that the field goes with k: 0.07 up to 20 neighbours, else 0.1."""
  return 0.07 if k <= 20 else 0.1


def leave_one_out(features: np.ndarray, labels: np.ndarray, num_classes: int, k: int) -> float:
  """Accuracy of a kNN classifier (see `Knn`) on features f32 [N,D], each classified by the N - 1 others; k < N."""
  votes = _knn_of_others(jnp.asarray(unit(features)), jnp.asarray(labels), k, usual_temperature(k), num_classes)
  return float((np.asarray(votes).argmax(1) == labels).mean())


def fit_knn(
  features: np.ndarray, labels: np.ndarray, num_classes: int, k: int, temperature: float | None = None
) -> Knn:
  """A kNN classifier over features f32 [N,D]; temperature None: `usual_temperature`.

  Raises:
    UserError: k is larger than the number of labels.
  """
  if not 1 <= k <= len(features):
    raise UserError(f"--modes=knn:{k}: k must be between 1 and the number of labels ({len(features)}).")
  temperature = temperature or usual_temperature(k)
  return Knn(unit(features), labels, k, temperature, num_classes, {"k": k, "temperature": temperature})
