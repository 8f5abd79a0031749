"""Clusters of what a method sees, found while it trains: k-means++, then mini-batch k-means, then frozen.

Arthur, Vassilvitskii: k-means++: The Advantages of Careful Seeding, SODA 2007. Sculley: Web-Scale K-Means Clustering,
WWW 2010: a centre is the running mean of all points that were nearest to it when they came.
"""

import jax
import jax.numpy as jnp

from sslx.types import Array

Clusters = dict[str, Array]
"""centres f32 [K,D]; counts f32 [K]: points that each is the mean of; steps i32 []: batches that moved them."""

ROUNDS = 10  # of k-means on the first batch


def empty(number: int, width: int) -> Clusters:
  """Before the first batch."""
  return {
    "centres": jnp.zeros((number, width)),
    "counts": jnp.zeros(number),
    "steps": jnp.zeros((), jnp.int32),
  }


def nearest(centres: Array, points: Array) -> Array:
  """[K,D], [...,D] -> i32 [...]: the nearest centre; of several the first."""
  return jnp.square(points[..., None, :] - centres).sum(-1).argmin(-1)


def spread_out(key: Array, points: Array, number: int) -> Array:
  """k-means++: [N,D] -> [number,D]: points, each drawn in proportion to its squared distance from the nearest of those
  before it. Where all points are at one of them already, any point.
  """

  def add(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
    centres, distance = carry
    alike = (i == 0) | (distance.max() == 0)
    chosen = jax.random.categorical(jax.random.fold_in(key, i), jnp.log(jnp.where(alike, 1.0, distance)))
    centre = points[chosen]
    return centres.at[i].set(centre), jnp.minimum(distance, jnp.square(points - centre).sum(-1))

  start = jnp.zeros((number, points.shape[-1])), jnp.full(len(points), jnp.inf)
  return jax.lax.fori_loop(0, number, add, start)[0]


def _sums(centres: Array, points: Array) -> tuple[Array, Array]:
  """(sums [K,D], counts [K]) of the points [N,D] that are nearest to each centre."""
  member = jax.nn.one_hot(nearest(centres, points), len(centres))
  return jnp.matmul(member.T, points, precision=jax.lax.Precision.HIGHEST), member.sum(0)


def lloyd(centres: Array, points: Array, rounds: int) -> Array:
  """k-means: [K,D], [N,D] -> [K,D]: so often, each centre becomes the mean of the points nearest to it. One without any
  stays."""

  def step(_: int, centres: Array) -> Array:
    sums, counts = _sums(centres, points)
    return jnp.where(counts[:, None] > 0, sums / jnp.maximum(counts, 1)[:, None], centres)

  return jax.lax.fori_loop(0, rounds, step, centres)


def follow(clusters: Clusters, key: Array, points: Array, steps: int) -> Clusters:
  """After a batch of points [N,D]: started by the first one, moved by the next ones, the same after `steps` batches."""
  number = len(clusters["centres"])

  def moved(clusters: Clusters) -> Clusters:
    started = clusters["steps"] > 0
    centres = jax.lax.cond(
      started,
      lambda: clusters["centres"],
      lambda: lloyd(spread_out(key, points, number), points, ROUNDS),
    )
    sums, counts = _sums(centres, points)
    total = clusters["counts"] + counts
    centres = centres + (sums - counts[:, None] * centres) / jnp.maximum(total, 1)[:, None]
    return {"centres": centres, "counts": total, "steps": clusters["steps"] + 1}

  return jax.lax.cond(clusters["steps"] < steps, moved, lambda clusters: dict(clusters), clusters)
