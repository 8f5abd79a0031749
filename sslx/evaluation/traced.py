"""Heads as functions of jax arrays, for programs that are exported: what `Head.outputs` computes with numpy, traced.

The same to float32's precision. Of neighbours that are equally near to the last bits, either may be taken.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sslx.evaluation.finetune import Placed
from sslx.evaluation.heads import Constant
from sslx.evaluation.knn import LEAST_VOTE, Knn
from sslx.evaluation.propagation import LEAST_BELIEF, Propagated
from sslx.tasks.linear import Linear, Scaling
from sslx.tasks.regression import Ridge
from sslx.types import Array, Head


def traced(head: Head) -> Callable[[Array], Array]:
  """Features f32 [B,...] -> the answers [B,...] of `head.outputs`; B may be symbolic.

  Raises:
    KeyError: a kind of head that HEADS does not have.
  """
  make, kind = HEADS[type(head)], head
  return lambda features: make(kind, features)


def _unit(x: Array) -> Array:
  return x / jnp.maximum(jnp.linalg.norm(x, axis=1, keepdims=True), 1e-8)


def _scaled(scaling: Scaling, x: Array) -> Array:
  x = (x - scaling.mean) * scaling.scale
  return _unit(x) if scaling.unit else x


def _linear(head: Linear, features: Array) -> Array:
  return _scaled(head.scaling, features) @ jnp.asarray(head.weight) + head.bias


def _ridge(head: Ridge, features: Array) -> Array:
  return jnp.clip(_linear(head.linear, features), head.low, head.high)


def _constant(head: Constant, features: Array) -> Array:
  return jnp.broadcast_to(jnp.asarray(head.answer), (features.shape[0], len(head.answer)))


def _knn(head: Knn, features: Array) -> Array:
  similarity, index = jax.lax.top_k(_unit(features) @ jnp.asarray(head.bank).T, head.k)
  weight = jnp.exp((similarity - 1) / head.temperature)
  votes = (weight[:, :, None] * jax.nn.one_hot(jnp.asarray(head.y)[index], head.classes)).sum(1)
  # The least vote is below float32's range, its logarithm is not.
  return jnp.where(votes > 0, jnp.log(jnp.where(votes > 0, votes, 1)), np.log(LEAST_VOTE))


def _propagated(head: Propagated, features: Array) -> Array:
  space = head.graph.space
  turned = features if space.basis is None else (features - jnp.asarray(space.mean)) @ jnp.asarray(space.basis)
  index = jax.lax.top_k(_unit(turned) @ jnp.asarray(head.graph.bank).T, head.graph.k)[1]
  return jnp.log(jnp.maximum(jnp.asarray(head.belief)[index].mean(1), LEAST_BELIEF))


def _placed(head: Placed, features: Array) -> Array:
  apply = getattr(head.apply, "__wrapped__", head.apply)  # compiler options are the outermost jit's alone
  return apply(head.params, features)


HEADS: dict[type, Callable[[Any, Array], Array]] = {
  Linear: _linear, Ridge: _ridge, Constant: _constant, Knn: _knn, Propagated: _propagated, Placed: _placed,
}  # fmt: skip
