"""What methods on two views of each image share: the views, a projector, and both views in one pass."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sslx import losses, nn
from sslx.modalities import views
from sslx.ops.rows import deinterleave, interleave
from sslx.pretext.families import averages, checks, common
from sslx.types import Array, Batch, Params, Pretext, State, UserError

View = dict[str, Array]  # view1, view2: f32 [B,H,W,C]
ROLES = ("encoder", "projector")  # the twins' own, which a target network copies


class Twins(NamedTuple):
  """Pieces of a Pretext on two views."""

  init: Callable[[Array, Batch], tuple[Params, State]]
  """Roles encoder and projector."""
  transform: Callable[[Array, Batch], View]
  embed: Callable[[Params, State, Array], tuple[Array, State]]
  """Images -> embeddings [B,D] and the state after; training mode."""
  project: Callable[[Params, State, View], tuple[Array, Array, State]]
  """-> embeddings z1, z2 [B,D] and the state after; training mode, both views share the batch statistics."""
  show: Callable[[Params, State, Array, Batch], dict[str, Array]]
  views: str
  """The text of the views, for the report."""


def twins(encoder: nn.Encoder, projector: tuple[int, ...], norm: bool, views_spec: str) -> Twins:
  """projector: widths of its layers; norm: with batch normalisation; views_spec: see `sslx.modalities.views.build`."""
  checks.widths(projector=projector)
  head, view = nn.Projector(projector, norm), views.build(views_spec, spectrogram=encoder.spectrogram)
  body = encoder.body  # views of sound are spectrograms already

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "projector")
    x = encoder.spectrogram(batch["x"])
    params, stats, outputs = common.init_encoder(body, keys["encoder"], x)
    head_params, head_stats = nn.init(head, keys["projector"], common.code(body, outputs, x))
    return {"encoder": params, "projector": head_params}, {"encoder": stats, "projector": head_stats}

  def transform(key: Array, batch: Batch) -> View:
    first, second = views.pair(views_spec, jax.random.fold_in(key, 2), batch["x"])
    key1, key2 = jax.random.split(key)
    return {"view1": view(key1, first), "view2": view(key2, second)}

  def embed(params: Params, state: State, image: Array) -> tuple[Array, State]:
    outputs, stats = nn.apply(body, params["encoder"], state["encoder"], image, train=True)
    code = common.code(body, outputs, image)
    z, head_stats = nn.apply(head, params["projector"], state["projector"], code, train=True)
    return z, {**state, "encoder": stats, "projector": head_stats}

  def project(params: Params, state: State, view: View) -> tuple[Array, Array, State]:
    z, state = embed(params, state, interleave(view["view1"], view["view2"]))
    z1, z2 = deinterleave(z, 2)
    return z1, z2, state

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    return {"original": encoder.spectrogram(batch["x"]), **transform(key, batch)}

  return Twins(init, transform, embed, project, show, views_spec)


class Predictor(NamedTuple):
  """A head on the embeddings of `Twins`, in the role predictor."""

  init: Callable[[Array, Batch], tuple[Params, State]]
  """The twins' init, and the predictor's."""
  predict: Callable[[Params, State, Array, Array], tuple[Array, Array, State]]
  """z1, z2 [B,D] -> p1, p2 [B,D] and the state after; training mode."""


def predictor_on(base: Twins, hidden: tuple[int, ...], width: int) -> Predictor:
  """hidden: widths of its layers before the last, which has `width` units, the
  embeddings'; with batch normalisation."""
  checks.widths(predictor=hidden)
  h = nn.Projector((*hidden, width), norm=True)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "base", "predictor")
    params, state = base.init(keys["base"], batch)
    predictor, stats = nn.init(h, keys["predictor"], jnp.zeros((1, width)))
    return {**params, "predictor": predictor}, {**state, "predictor": stats}

  def predict(params: Params, state: State, z1: Array, z2: Array) -> tuple[Array, Array, State]:
    p, stats = nn.apply(h, params["predictor"], state["predictor"], interleave(z1, z2), train=True)
    p1, p2 = deinterleave(p, 2)
    return p1, p2, {**state, "predictor": stats}

  return Predictor(init, predict)


class Prototypes(NamedTuple):
  """Directions that the embeddings of `Twins` are compared with, f32 [K,D] in the role prototypes."""

  init: Callable[[Array, Batch], tuple[Params, State]]
  """The twins' init, and the prototypes."""
  score: Callable[[Params, Array, Array], tuple[Array, Array]]
  """z1, z2 [B,D] -> their cosines with the prototypes, [B,K] each."""


def prototypes_on(base: Twins, count: int, width: int) -> Prototypes:
  """count: K; width: D, the embeddings'. Of unit length at the start, and wherever they are used."""
  if count < 2:
    raise UserError(f"--hp=prototypes={count}: needs at least 2.")

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "base", "prototypes")
    params, state = base.init(keys["base"], batch)
    return {**params, "prototypes": losses.normalised(jax.random.normal(keys["prototypes"], (count, width)))}, state

  def score(params: Params, z1: Array, z2: Array) -> tuple[Array, Array]:
    s1, s2 = deinterleave(losses.cosines(interleave(z1, z2), params["prototypes"]), 2)
    return s1, s2

  return Prototypes(init, score)


def with_target(params: Params, state: State, roles: tuple[str, ...] = ROLES) -> State:
  """`state` with a copy of the network in the role target: {"params", "state"} of `roles`."""
  stats = {r: state[r] for r in roles if r in state}
  return {**state, "target": {"params": {r: params[r] for r in roles}, "state": stats}}


def follow(params: Params, state: State, momentum: float | Array) -> State:
  """`state` after the target's parameters, of the roles that it has, moved towards `params`, see `averages.ema`."""
  target = state["target"]
  moved = averages.ema(target["params"], {r: params[r] for r in target["params"]}, momentum)
  return {**state, "target": {**target, "params": moved}}


def joint(
  encoder: nn.Encoder,
  projector: tuple[int, ...],
  norm: bool,
  views_spec: str,
  objective: Callable[[Array, Array], Array],
) -> Pretext:
  """A method whose loss is a function of the embeddings z1, z2 [B,D] of two views."""
  base = twins(encoder, projector, norm, views_spec)

  def loss(params: Params, state: State, key: Array, view: View):
    z1, z2, state = base.project(params, state, view)
    return objective(z1, z2), (state, losses.spread(z1, z2))

  return Pretext(base.init, loss, base.transform, common.no_update, base.show, views=base.views)
