"""Label propagation: a few labels spread over the nearest-neighbour graph of all training features. The modes
propagate, propagate:cmn and, of raw signals, raw+propagate.

    F <- alpha S F + (1 - alpha) Y,    S = D^-1/2 W D^-1/2

Zhou, Bousquet, Lal, Weston, Schoelkopf: Learning with Local and Global Consistency, NIPS 2003. W is the symmetric graph
of each image's k nearest others by cosine similarity, all edges of weight 1. Inductive here: test images never enter
the graph, they take the vote of their own k nearest training images.

The features are centred and read along their 128 first principal axes, each divided by the fourth root of its variance:
half of the way to whitening. For 2048 features that is a sixteenth of the multiplications, and on held-out MNIST
(SimCLR, 100 labels) 98.6 % were right instead of 98.2. Raw pixels stay as they are: half
whitened they would be a weaker baseline.

Class-mass normalisation: Zhu, Ghahramani, Lafferty: Semi-Supervised Learning Using Gaussian Fields and Harmonic
Functions, ICML 2003, section 4. It assumes that the class frequencies are known: here, those of the labelled subset.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy import linalg, sparse

from sslx.compile import jit
from sslx.evaluation.bench import Bench, Case, Predictor, Source
from sslx.evaluation.features import extract
from sslx.tasks.linear import unit
from sslx.training import parallel
from sslx.types import Array, UserError, brief

CHUNK = 500  # rows of the similarity matrix at a time: 60,000 images take 120 MB, not 14 GB
ALPHA, ITERATIONS, NEIGHBOURS = 0.99, 50, 10
AXES = 128  # principal axes that similarity is measured along
LEAST_BELIEF = 1e-9  # where no neighbour believes in a class: its logarithm is taken


class Space(NamedTuple):
  """Where similarity is measured: features -> unit vectors along principal axes, or as they are."""

  mean: np.ndarray | None = None  # f32 [D]
  basis: np.ndarray | None = None  # f32 [D,R]

  __repr__ = brief

  def __call__(self, features: np.ndarray) -> np.ndarray:
    """f32 [N,D] -> f32 [N,R], rows of unit length."""
    return unit(features if self.basis is None else (features - self.mean) @ self.basis)


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
  """Features and who is near whom."""

  space: Space
  bank: np.ndarray  # f32 [N,R], unit length
  smooth: sparse.csr_array | None  # f32 [N,N], S; None where no label is spread any more, as in a model that is read
  k: int
  asked: list[tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=list)
  """The features whose neighbours were asked for last, and these."""

  __repr__ = brief

  def neighbours(self, features: np.ndarray) -> np.ndarray:
    """The k nearest training images of each of [Q,D]: i32 [Q,k]. They are the same for all labels that are spread over
    the graph, so those of the last features are kept.
    """
    if not self.asked or self.asked[0][0] is not features:
      self.asked[:] = [(features, nearest(self.space(features), self.bank, self.k))]
    return self.asked[0][1]


class Propagated(NamedTuple):
  """A classifier by the propagated labels of the k nearest training images."""

  graph: Graph
  belief: np.ndarray  # f32 [N,K], rows that sum to one; of 0 where no label arrived
  chosen: dict[str, Any]

  __repr__ = brief

  def outputs(self, features: np.ndarray) -> np.ndarray:
    """Log of the neighbours' mean belief in each class, f32 [Q,K]."""
    return np.log(np.maximum(self.belief[self.graph.neighbours(features)].mean(1), LEAST_BELIEF))

  @property
  def size(self) -> int:
    """Parameters: none."""
    return 0


def principal(features: np.ndarray) -> Space:
  """The first AXES principal axes of features f32 [N,D], each scaled by its variance to the power -1/4."""
  mean = features.mean(0)
  centred = features - mean
  covariance, d = (centred.T @ centred / len(features)).astype(np.float64), features.shape[1]
  variance, axes = linalg.eigh(covariance, subset_by_index=(max(0, d - AXES), d - 1))  # ascending
  scale = np.maximum(variance, 1e-6 * max(variance[-1], 1e-30)) ** -0.25
  return Space(mean, (axes * scale).astype(np.float32))


@functools.partial(jit, static_argnames="k")
def _most_similar(queries: Array, forbidden: Array, bank: Array, k: int) -> Array:
  """Queries [Q,D] -> rows i32[Q,k] of the bank [N,D]; not the row forbidden i32[Q] (N: none)."""
  similarity = queries @ bank.T
  return jax.lax.top_k(jnp.where(jnp.arange(bank.shape[0]) == forbidden[:, None], -jnp.inf, similarity), k)[1]


def nearest(
  queries: np.ndarray, bank: np.ndarray, k: int, themselves: bool = False, mesh: Mesh | None = None
) -> np.ndarray:
  """The k most similar rows of bank [N,D] for each of queries [Q,D], both of unit length: i32 [Q,k], nearest first.

  themselves: the queries are the bank, and no row is its own neighbour; mesh: devices that queries are shared out over.
  """
  on_device, out = parallel.replicate(jnp.asarray(bank), mesh), []
  at_once = CHUNK * (1 if mesh is None else mesh.size)
  for start in range(0, len(queries), at_once):
    rows = queries[start : start + at_once]
    forbidden = np.arange(start, start + len(rows)) if themselves else np.full(len(rows), len(bank))
    asked = (parallel.share(each, mesh) for each in (rows, forbidden))
    out.append(np.asarray(_most_similar(*(jnp.asarray(each) for each in asked), bank=on_device, k=k)))
  return np.concatenate(out)


def graph(features: np.ndarray, k: int = NEIGHBOURS, plain: bool = False, mesh: Mesh | None = None) -> Graph:
  """The symmetric graph of each row's k nearest others: an edge where either is among the other's k.

  features: f32 [N,D]; plain: by their cosines as they are, instead of along principal axes; mesh: see
    `nearest`.

  Raises:
    UserError: k is not below the number of rows.
  """
  n = len(features)
  if not 1 <= k < n:
    raise UserError(f"--modes=propagate: {_too_few(k, n)}.")
  space = Space() if plain else principal(features)
  bank = space(features)
  columns = nearest(bank, bank, k, themselves=True, mesh=mesh)
  one_way = sparse.csr_array((np.ones(n * k, np.float32), columns.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
  edges = one_way.maximum(one_way.T)
  scale = sparse.diags_array(1 / np.sqrt(edges.sum(axis=1)))  # every row has k edges at least
  return Graph(space, bank, sparse.csr_array(scale @ edges @ scale, dtype=np.float32), k)


def propagate(
  graph: Graph, rows: np.ndarray, labels: np.ndarray, num_classes: int, class_mass: bool = False
) -> Propagated:
  """Spreads labels i32 [n] of the images `rows` [n] over the graph.

  class_mass: scale the classes so that their shares over all images are those of `labels`.
  """
  assert graph.smooth is not None
  given = np.zeros((len(graph.bank), num_classes), np.float32)
  given[rows, labels] = 1
  spread = given
  for _ in range(ITERATIONS):
    spread = ALPHA * (graph.smooth @ spread) + (1 - ALPHA) * given
  if class_mass:
    share = np.bincount(labels, minlength=num_classes) / len(labels)
    spread = spread * (share / np.maximum(spread.sum(0), 1e-12)).astype(np.float32)
  belief = spread / np.maximum(spread.sum(1, keepdims=True), 1e-30)
  chosen = {"k": graph.k, "alpha": ALPHA, "class_mass": class_mass}
  return Propagated(graph, belief.astype(np.float32), chosen)


def graph_of(bench: Bench, reads: Source) -> Graph:
  """The graph of all training examples' features, and of the unlabelled ones behind them; one for all modes and
  subsets."""

  def make() -> Graph:
    x = bench.dataset.pretraining_x
    bench.say(f"the neighbour graph of {len(x):,} {bench.dataset.modality.name} examples ({reads} features)")
    mesh = parallel.mesh_of(bench.pretrained)
    return graph(extract(bench.source(reads), x, mesh=mesh), plain=reads == "raw", mesh=mesh)

  return bench.once(("graph", reads), make)


def spread(bench: Bench, case: Case, over: Graph, class_mass: bool = False) -> Propagated:
  """A case's labels, spread over a graph."""
  rows = bench.rows(case)
  return propagate(over, rows, bench.dataset.train.targets()[rows], bench.task.outputs, class_mass)


def spreading(reads: Source):
  """The `fit` of a mode that spreads labels over the graph of these features."""

  def fit(bench: Bench, case: Case) -> Predictor:
    represent = bench.source(reads)
    head = spread(bench, case, graph_of(bench, reads), class_mass=case.argument == "cmn")
    return Predictor(represent, head, 0, represent.size)

  return fit


def _too_few(k: int, examples: int) -> str:
  return f"its graph needs more than {k} training images, and these are {examples}"


def lacks(argument: str, labels: int, examples: int) -> str:
  """The modes' `lacks`: a graph with as many neighbours as each example has."""
  return _too_few(NEIGHBOURS, examples) if examples <= NEIGHBOURS else ""


def check(argument: str, block_names: Any) -> None:
  """Raises ValueError for what is neither nothing nor cmn."""
  if argument not in ("", "cmn"):
    raise ValueError(argument)
