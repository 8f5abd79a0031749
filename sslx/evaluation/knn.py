"""K nearest neighbours in frozen features: the mode knn:K, and what is watched of a pretraining run."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx import nn
from sslx.compile import jit
from sslx.evaluation.bench import Bench, Case, Predictor
from sslx.evaluation.features import extract
from sslx.tasks.linear import unit
from sslx.training.run import Plan
from sslx.training.watch import Watch
from sslx.types import ENCODER, Array, Metrics, Task, TrainState, UserError, brief

WATCHED = 20  # neighbours by which the watched examples of a pretraining run are classified
RANKED = 500  # of these, that the rank of the features is told from
LEAST_VOTE = 1e-300  # of a class that no neighbour is of: its logarithm is taken


@functools.partial(jit, static_argnames=("k", "classes"))
def _votes_of(bank: Array, y: Array, queries: Array, k: int, temperature: float, classes: int) -> Array:
  return _votes(queries @ bank.T, y, k, temperature, classes)


@functools.partial(jit, static_argnames=("k", "classes"))
def _votes_of_others(bank: Array, y: Array, k: int, temperature: float, classes: int) -> Array:
  itself = jnp.eye(len(bank), dtype=bool)
  return _votes(jnp.where(itself, -jnp.inf, bank @ bank.T), y, k, temperature, classes)


def _votes(similarity: Array, y: Array, k: int, temperature: float, classes: int) -> Array:
  similarity, index = jax.lax.top_k(similarity, k)
  votes = jnp.exp((similarity - 1) / temperature)[:, :, None] * jax.nn.one_hot(y[index], classes)
  return votes.sum(1)


class Knn(NamedTuple):
  """k-nearest-neighbour classifier by cosine similarity, votes weighted exp(similarity / temperature).

  Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018, arXiv 1805.01978. The field
  reports k=200, T=0.1 (there, MoCo) and k=20, T=0.07 (DINO).
  """

  bank: np.ndarray  # f32 [N,D], unit length
  y: np.ndarray  # i32 [N]
  k: int
  temperature: float
  classes: int
  chosen: dict[str, Any]

  __repr__ = brief

  def outputs(self, features: np.ndarray) -> np.ndarray:
    """Logarithms of the votes for each class, f64 [Q,K]: their softmax is a class's share of the votes."""
    bank, queries = jnp.asarray(self.bank), unit(features)
    parts = [queries[i : i + 500] for i in range(0, len(queries), 500)]
    votes = [_votes_of(bank, self.y, part, self.k, self.temperature, self.classes) for part in parts]
    return np.log(np.maximum(np.concatenate(votes).astype(np.float64), LEAST_VOTE))

  @property
  def size(self) -> int:
    """Parameters: none."""
    return 0


def usual_temperature(k: int) -> float:
  """The one that the field goes with k: 0.07 up to 20 neighbours, else 0.1."""
  return 0.07 if k <= 20 else 0.1


def fit_knn(features: np.ndarray, y: np.ndarray, classes: int, k: int, temperature: float | None = None) -> Knn:
  """A kNN classifier over features f32 [N,D]; temperature None: `usual_temperature`.

  Raises:
    UserError: k is larger than the number of labels.
  """
  reason = lacks(str(k), len(features), 0)
  if reason or k < 1:
    raise UserError(f"--modes=knn:{k}: {reason or 'k must be at least 1'}.")
  temperature = temperature or usual_temperature(k)
  return Knn(unit(features), y, k, temperature, classes, {"k": k, "temperature": temperature})


def knn(bench: Bench, case: Case) -> Predictor:
  """The mode's `fit`: no head at all."""
  rows = bench.rows(case)
  head = fit_knn(*bench.features_of("pretrained", rows), bench.task.outputs, int(case.argument))
  return Predictor(bench.pretrained, head, 0, bench.pretrained.size)


def check(argument: str, block_names: Any) -> None:
  """Raises ValueError for a K that is no positive number."""
  if int(argument) < 1:
    raise ValueError(argument)


def lacks(argument: str, labels: int, examples: int) -> str:
  """The mode's `lacks`: as many labels as neighbours."""
  return f"k must be between 1 and the number of labels ({labels:,})" if int(argument) > labels else ""


def leave_one_out(features: np.ndarray, y: np.ndarray, task: Task, k: int) -> float:
  """Score of a kNN classifier (see `Knn`) on features f32 [N,D], each classified by the N - 1 others; k < N."""
  votes = _votes_of_others(jnp.asarray(unit(features)), jnp.asarray(y), k, usual_temperature(k), task.outputs)
  return float(task.scores(np.asarray(votes), y)[task.score.name])


def rank(features: np.ndarray) -> float:
  """RankMe: exp(entropy of p), p_k the share of the k-th of the features' [N,D] singular values in their sum.

  Garrido, Balestriero, Najman, LeCun: RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised
  Representations by Their Rank, ICML 2023, arXiv 2210.02885, eq. 1. Between 1 and min(N, D); labels are not asked.
  """
  gram = features.astype(np.float64)
  gram = gram @ gram.T if len(gram) < gram.shape[1] else gram.T @ gram
  singular = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))
  p = singular / max(singular.sum(), 1e-30)
  return float(np.exp(-np.sum(p * np.log(np.maximum(p, 1e-30)))))


def watches(plan: Plan, online_knn: bool = True) -> list[Watch]:
  """What a pretraining run is watched by beside its own loss: features of the watched examples are ranked, and
  classified by the `WATCHED` nearest others where they have labels. Nothing is trained or chosen by
  it. Empty where there are too few.
  """
  y, task = plan.watched_y, plan.task
  if not online_knn or y is None or len(y) <= WATCHED or task.name != "classification":
    return []
  encoder, prepare = plan.meta.build_encoder("float32"), plan.modality.prepare

  def watch(ts: TrainState) -> Metrics:
    represent = nn.Representation(encoder, plan.meta.features, ts.params[ENCODER], ts.state[ENCODER], prepare)
    features = extract(represent, plan.watched["x"])
    score = leave_one_out(features, y, task, WATCHED)
    return {f"knn_{task.score.name}": jnp.asarray(score), "feature_rank": jnp.asarray(rank(features[:RANKED]))}

  return [watch]
