"""Linear heads on cached features: scaling, the coordinates that a solver works in, and threads.

Features are computed once; every head trains from the cache. Statistics are of unlabelled features.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sslx.tasks.subsets import group_folds, random_folds
from sslx.types import brief

SCALINGS = ("standardize", "l2")
LARGE = 5_000_000  # numbers in the features from which threads and principal axes (`make_space`) pay
MANY = 10_000  # labels from which fitting a head takes minutes
SMALLEST_L2 = 1e-5  # that a head chooses among, unless it has many labels


def unit(x: np.ndarray) -> np.ndarray:
  """[N,D] -> [N,D], rows of unit length; rows of 0 stay."""
  return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-8)


class Scaling(NamedTuple):
  """x -> (x - mean) * scale, then to unit length where `unit`."""

  mean: np.ndarray
  scale: np.ndarray
  unit: bool

  __repr__ = brief

  def __call__(self, x: np.ndarray) -> np.ndarray:
    """f32 [N,D] -> f32 [N,D]."""
    x = (x - self.mean) * self.scale
    return unit(x) if self.unit else x


def identity(d: int) -> Scaling:
  """Features as they are."""
  return Scaling(np.zeros(d, np.float32), np.ones(d, np.float32), False)


def fit_scaling(name: str, reference: np.ndarray) -> Scaling:
  """The scaling called `name`, its statistics from unlabelled features [M,D].

  standardize: zero mean and unit variance per feature, divided by sqrt(D) so that L2 means the same at any width
  (features that never vary are set to 0). center: zero mean, and one scale for all, by which squares sum to about one.
  l2: unit length per sample. raw: as they are.
  """
  d = reference.shape[1]
  if name == "standardize":
    std = reference.std(0, dtype=np.float64)
    alive = std > 1e-6 * max(std.max(), 1e-30)
    scale = np.where(alive, 1 / np.where(alive, std, 1), 0) / np.sqrt(d)
    return Scaling(reference.mean(0, dtype=np.float64).astype(np.float32), scale.astype(np.float32), False)
  if name == "center":
    total = np.sqrt(reference.var(0, dtype=np.float64).sum())
    scale = np.full(d, 1 / total if total > 0 else 0.0, np.float32)
    return Scaling(reference.mean(0, dtype=np.float64).astype(np.float32), scale, False)
  if name == "l2":
    return identity(d)._replace(unit=True)
  if name == "raw":
    return identity(d)
  raise ValueError(f"unknown scaling {name!r}; known: standardize, center, l2, raw")


Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # features and y to fit on, features and y to judge by


def choice_parts(
  features: np.ndarray,
  y: np.ndarray,
  k: int,
  seed: int,
  heldout: tuple[np.ndarray, np.ndarray] | None,
  versions: int = 1,
  groups: np.ndarray | None = None,
) -> list[Part]:
  """What the hyper-parameters of a head are chosen by: heldout = (features, y) where it is given, else k folds of the
  labelled examples, one of them where these are MANY; none where they are fewer than five.

  versions: see `every_version`. groups: i32 [N], such as who speaks: folds are then of whole groups.
  """
  if heldout is not None:
    return [(features, y, *heldout)]
  n = len(y) // versions
  folds = [] if n < 5 else random_folds(y[:n], k, seed) if groups is None else group_folds(groups, k, seed)
  folds = folds[:1] if n >= MANY else folds
  parts = [(every_version(fit, n, versions), valid) for fit, valid in folds]
  return [(features[fit], y[fit], features[valid], y[valid]) for fit, valid in parts]


def every_version(rows: np.ndarray, n: int, versions: int) -> np.ndarray:
  """The rows of n examples that stand `versions` times one behind the other, such as themselves and views of them:
  what a head is fitted on is all versions of an example, and what it is judged by the first, of other examples.
  """
  return (rows + n * np.arange(versions)[:, None]).ravel()


class Linear(NamedTuple):
  """A linear head on scaled features: a `sslx.types.Head`."""

  weight: np.ndarray  # f32 [D,K]
  bias: np.ndarray  # f32 [K]
  scaling: Scaling
  chosen: dict[str, Any]  # the hyper-parameters that were chosen

  __repr__ = brief

  def outputs(self, features: np.ndarray) -> np.ndarray:
    """f32 [N,D] -> f32 [N,K]."""
    return self.scaling(features) @ self.weight + self.bias

  @property
  def size(self) -> int:
    """Number of its parameters."""
    return self.weight.size + self.bias.size


class Space(NamedTuple):
  """Scaled features in the coordinates that the solver works in."""

  scaling: Scaling
  basis: np.ndarray | None  # f32 [D,R], orthogonal columns, or None: the features' own
  x: np.ndarray  # f32 [N,R]
  penalty: np.ndarray  # f32 [] or [R,1], squared length of the basis' columns: |basis @ W|^2 = sum penalty * W^2

  def project(self, features: np.ndarray) -> np.ndarray:
    """Features f32 [N,D] in these coordinates, [N,R]."""
    scaled = self.scaling(features)
    return scaled if self.basis is None else scaled @ self.basis

  def lift(self, weight: np.ndarray) -> np.ndarray:
    """Weights [R,K] in these coordinates -> [D,K] of the scaled features."""
    return weight if self.basis is None else self.basis @ weight


def make_space(scaling: Scaling, features: np.ndarray) -> Space:
  """The span of the samples where they are few; where the problem is large, principal axes scaled to equal curvature.

  The Hessian of the cross-entropy is at most X'X / 2N (Boehning, Multinomial logistic regression algorithm, 1992).
  Where that is near the identity, tens of L-BFGS steps do what took hundreds; the minimiser is the same.
  """
  scaled, unchanged = scaling(features), np.ones((), np.float32)
  if scaled.shape[1] > scaled.shape[0]:
    basis = np.linalg.qr(scaled.T.astype(np.float64))[0].astype(np.float32)  # [D,N]
    return Space(scaling, basis, scaled @ basis, unchanged)
  if features.size < LARGE:
    return Space(scaling, None, scaled, unchanged)
  curvature, axes = np.linalg.eigh((scaled.T @ scaled / np.float32(len(scaled))).astype(np.float64))
  penalty = 1 / (np.maximum(curvature, 0) + 2 * SMALLEST_L2)
  basis = (axes * np.sqrt(penalty)).astype(np.float32)
  return Space(scaling, basis, scaled @ basis, penalty[:, None].astype(np.float32))


def few_threads(function: Callable) -> Callable:
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
