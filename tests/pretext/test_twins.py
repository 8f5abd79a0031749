"""Methods on two views: losses by hand, targets that move by averages, no collapse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, PREPARE, apply, assert_trees, build, jitted, pixels, prepared, trained

from sslx import losses, nn
from sslx.training import optim, step
from sslx.types import UserError

TINY = "mlp:widths=8,code=5"
VIEWS = "digits:degrees=10"


@functools.cache
def make(method, encoder=TINY, **hp):
  return jitted(build(method, encoder, {"views": VIEWS, **hp}))


def make_batch(n=6, seed=0):
  return {"x": prepared(pixels(n, 8, 8, 1, seed))}


def unit(z):
  return z / np.linalg.norm(z, axis=-1, keepdims=True)


@functools.cache
def heads(method, **hp):
  """(pretext, params, state, view) at a generic point."""
  pretext, batch = make(method, **hp), make_batch()
  params, state = pretext.init(KEY, batch)
  rng = np.random.default_rng(3)
  move = lambda x: x + 0.1 * rng.standard_normal(x.shape).astype(np.float32)  # noqa: E731
  return pretext, jax.tree.map(move, params), state, pretext.transform(KEY, batch)


@functools.partial(jax.jit, static_argnums=(3, 4))
def embed(params, state, image, norm, widths):
  code = nn.apply(nn.build(TINY), params["encoder"], {}, image)[0]["code"]
  return nn.apply(nn.Projector(widths, norm), params["projector"], state["projector"], code, train=True)[0]


def test_byol_is_its_equation():
  pretext, params, state, view = heads("byol", projector=(6, 4), predictor=(5,))
  both = np.concatenate([view["view1"], view["view2"]])
  z = embed(params, state, both, True, (6, 4))
  target = embed(state["target"]["params"], state["target"]["state"], both, True, (6, 4))
  p, _ = apply(nn.Projector((5, 4), True), params["predictor"], state["predictor"], z, train=True)
  expected = np.square(unit(np.asarray(p)) - unit(np.roll(np.asarray(target), 6, axis=0))).sum(1).mean()
  value, (after, _) = pretext.loss(params, state, KEY, view)
  np.testing.assert_allclose(value, expected, rtol=1e-4)
  assert 0 <= value <= 4
  assert_trees(after["target"]["params"], state["target"]["params"], rtol=0)  # moves in `update` alone


@pytest.mark.parametrize(("tau", "ramp", "at"), [(1.0, 0, 0), (0.0, 0, 0), (0.9, 0, 3), (0.9, 10, 10)])
def test_byol_target_is_a_moving_average_after_the_optimiser(tau, ramp, at):
  _, params, state, _ = heads("byol")  # the same for all
  after = make("byol", tau=tau, ramp=ramp).update(params, state, jnp.asarray(at))
  tau = 1.0 if ramp == at == 10 else tau
  for role in ("encoder", "projector"):
    expected = jax.tree.map(lambda t, o: tau * t + (1 - tau) * o, state["target"]["params"][role], params[role])
    assert_trees(after["target"]["params"][role], expected, rtol=1e-5, atol=1e-7)


def test_byol_target_without_momentum_is_what_the_optimiser_left():
  pretext, tx, raw = make("byol", tau=0.0, ramp=0), optim.optimizer(0.1, "sgd"), {"x": pixels(6, 8, 8, 1)}
  ts = step.make_init(pretext, tx, PREPARE)(KEY, raw)
  first = jax.tree.map(np.array, ts.params)
  ts, _ = step.make_train_step(pretext, tx, PREPARE)(ts, raw, np.arange(6)[None])
  assert_trees(ts.state["target"]["params"]["encoder"], ts.params["encoder"], rtol=1e-6)
  assert np.any(jax.tree.leaves(first["encoder"])[1] != jax.tree.leaves(ts.params["encoder"])[1])


def test_moco_is_its_equation_and_enqueues_after_the_logits():
  pretext, params, state, view = heads("moco", projector=(6, 4), queue=10, temperature=0.2)
  q = embed(params, state, view["view1"], False, (6, 4))
  k = embed(state["target"]["params"], state["target"]["state"], view["view2"], False, (6, 4))
  value, (after, _) = pretext.loss(params, state, KEY, view)
  np.testing.assert_allclose(value, losses.info_nce(q, k, state["queue"], 0.2), rtol=1e-4)  # the queue of before
  np.testing.assert_allclose(after["queue"][:6], unit(np.asarray(k)), rtol=1e-4, atol=1e-6)
  np.testing.assert_array_equal(after["queue"][6:], state["queue"][:4])
  np.testing.assert_allclose(np.linalg.norm(state["queue"], axis=1), 1, rtol=1e-5)
  moved = pretext.update(params, state, jnp.asarray(0))["target"]["params"]["encoder"]
  average = jax.tree.map(lambda t, o: 0.99 * t + 0.01 * o, state["target"]["params"]["encoder"], params["encoder"])
  assert_trees(moved, average, rtol=1e-5, atol=1e-7)


def test_moco_versions():
  shapes = {
    version: {name: dense["kernel"].shape for name, dense in heads("moco", version=version)[1]["projector"].items()}
    for version in ("v1", "v2")
  }
  assert shapes == {"v1": {"Dense_0": (5, 128)}, "v2": {"Dense_0": (5, 256), "Dense_1": (256, 128)}}


def test_simsiam_gradient_is_that_with_the_other_side_held_fixed():
  pretext, params, state, view = heads("simsiam", projector=(6, 4), predictor=(3,))
  both = np.concatenate([view["view1"], view["view2"]])
  fixed = jnp.roll(embed(params, state, both, True, (6, 4)), 6, axis=0)

  def by_hand(params):
    z = embed(params, state, both, True, (6, 4))
    p, _ = nn.apply(nn.Projector((3, 4), True), params["predictor"], state["predictor"], z, train=True)
    return losses.cosine_distance(p, fixed)

  value, grads = jax.jit(jax.value_and_grad(lambda p: pretext.loss(p, state, KEY, view)[0]))(params)
  expected, right = jax.jit(jax.value_and_grad(by_hand))(params)
  np.testing.assert_allclose(value, expected, rtol=1e-4)
  assert_trees(grads, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["simclr", "moco", "byol", "simsiam", "barlow_twins", "vicreg", "swav", "dino"])
def test_embeddings_do_not_collapse(method, toy):
  """Sixty steps on stripes: images stay apart, and views of one come closer to each other than to others."""
  pretext = make(method, "conv:widths=4-8", **({"queue": 200} if method == "moco" else {}))
  rows = trained(pretext, optim.optimizer(3e-3), toy.train.x, steps=60, batch_size=60, log_every=15)
  assert rows[-1]["embedding_std"] > 0.5
  assert rows[-1]["participation_ratio"] > 2
  if method == "moco":
    return  # its keys are those of an older network
  assert rows[-1]["alignment"] < 0.8 * (2 - 2 * (1 - rows[-1]["embedding_std"] ** 2))


@pytest.mark.parametrize(
  ("method", "hp"),
  [
    ("byol", {"tau": 1.5}),
    ("byol", {"ramp": -1}),
    ("byol", {"predictor": ()}),
    ("moco", {"queue": 0}),
    ("moco", {"momentum": -0.1}),
    ("moco", {"temperature": 0.0}),
    ("simsiam", {"projector": (4, 0)}),
    ("barlow_twins", {"off_diagonal": 0.0}),
    ("vicreg", {"variance": -1.0}),
    ("vicreg", {"views": "photo"}),
  ],
)
def test_bad_hyper_parameters(method, hp):
  with pytest.raises(UserError, match=f"--hp={next(iter(hp))}="):
    build(method, TINY, hp)
