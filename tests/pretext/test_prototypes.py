"""SwAV and DINO: balanced codes, cross-entropies against loops, what is held fixed, a teacher that follows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, assert_trees, build, pixels, prepared

from sslx import losses, nn
from sslx.types import UserError

TINY = "mlp:widths=8,code=5"
K, B, QUEUE = 7, 6, 15
HEAD = {"projector": (6, 4), "prototypes": K, "views": "digits:degrees=10"}


def with_queue(method):
  return {"queue": QUEUE} if method == "swav" else {}


@functools.cache
def start(method):
  """(fresh params, state, view) that fit all settings below."""
  pretext = build(method, TINY, {**HEAD, **with_queue(method)})
  batch = {"x": prepared(pixels(B, 8, 8, 1))}
  params, state = jax.device_get(jax.jit(pretext.init)(KEY, batch))
  return params, state, jax.device_get(jax.jit(pretext.transform)(KEY, batch))


def make(method, **hp):
  return build(method, TINY, {**HEAD, **hp})


@functools.cache
def graded(method, **hp):
  """(params, state, view) -> ((loss, (state, metrics)), gradients), compiled."""
  loss = make(method, **hp).loss
  return jax.jit(lambda params, state, view: jax.value_and_grad(loss, has_aux=True)(params, state, KEY, view))


def moved(tree, seed=3):
  """A generic point: elsewhere than the target network, which starts as a copy."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: x + 0.1 * rng.standard_normal(x.shape).astype(np.float32), tree)


@jax.jit
def embed(params, state, view):
  """Both views' embeddings [2B,D] in training mode, and the projector's statistics after."""
  both = jnp.concatenate([view["view1"], view["view2"]])
  code = nn.apply(nn.build(TINY), params["encoder"], {}, both)[0]["code"]
  return nn.apply(nn.Projector((6, 4), True), params["projector"], state["projector"], code, train=True)


def unit(z):
  return np.asarray(z) / np.linalg.norm(z, axis=1, keepdims=True)


def cosines(z, c):
  return unit(z) @ unit(c).T


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def cross_entropy(q, p):
  return -sum(q[i, k] * np.log(p[i, k]) for i in range(len(q)) for k in range(q.shape[1])) / len(q)


def both_ways(q, p):
  """[H(q2, p1) + H(q1, p2)] / 2 of [2B,K], view 1 first."""
  return (cross_entropy(q[B:], p[:B]) + cross_entropy(q[:B], p[B:])) / 2


def scores(n, k, seed=0):
  return np.random.default_rng(seed).uniform(-1, 1, (n, k)).astype(np.float32)


# losses


def sinkhorn_by_hand(s, epsilon, iterations):
  """The paper's listing: a matrix of prototypes by samples, in double precision."""
  q = np.exp(s.T.astype(np.float64) / epsilon)
  q /= q.sum()
  k, b = q.shape
  for _ in range(iterations):
    for row in range(k):
      q[row] /= q[row].sum() * k
    for column in range(b):
      q[:, column] /= q[:, column].sum() * b
  return (q * b).T


@pytest.mark.parametrize("iterations", [1, 3])
def test_sinkhorn_is_the_papers(iterations):
  s = scores(10, 4)
  np.testing.assert_allclose(losses.sinkhorn(s, 0.2, iterations), sinkhorn_by_hand(s, 0.2, iterations), rtol=1e-4)
  np.testing.assert_allclose(losses.sinkhorn(s, 0.05), sinkhorn_by_hand(s, 0.05, 3), rtol=1e-3, atol=1e-7)


def test_sinkhorn_shares_out():
  q = losses.sinkhorn(scores(12, 4), 0.05)
  np.testing.assert_allclose(q.sum(1), 1, rtol=1e-5)  # after three iterations already
  np.testing.assert_allclose(losses.sinkhorn(scores(12, 4), 0.05, 200).sum(0), 3, rtol=1e-3)
  np.testing.assert_allclose(losses.sinkhorn(np.full((5, 8), 0.3, np.float32), 0.05), 1 / 8, rtol=1e-5)
  # all images at one prototype: the codes still use every one of them, as much as the next
  crowded = np.tile(np.array([0.9, 0.1, 0.0, -0.5], np.float32), (8, 1))
  np.testing.assert_allclose(losses.sinkhorn(crowded, 0.05), 1 / 4, rtol=1e-4)


def test_sinkhorn_survives_a_small_epsilon():
  """exp(score / epsilon) is beyond float32 on both sides; a column far from every image is filled all the same."""
  s = scores(12, 4)
  s[:, 2] = -1
  q = losses.sinkhorn(s, 1e-3, 50)
  assert np.isfinite(q).all()
  np.testing.assert_allclose(q.sum(1), 1, rtol=1e-4)
  assert q[:, 2].sum() > 1


def test_swapped_is_symmetric_in_the_views():
  q1, q2 = softmax(scores(5, 3)), softmax(scores(5, 3, 1))
  l1, l2 = 3 * scores(5, 3, 2), 3 * scores(5, 3, 3)
  expected = (cross_entropy(q2, softmax(l1)) + cross_entropy(q1, softmax(l2))) / 2
  np.testing.assert_allclose(losses.swapped(q1, q2, l1, l2), expected, rtol=1e-5)
  np.testing.assert_allclose(losses.swapped(q2, q1, l2, l1), expected, rtol=1e-5)
  flat = np.full((5, 3), 0.4, np.float32)
  np.testing.assert_allclose(losses.swapped(q1, q2, flat, flat), np.log(3), rtol=1e-5)


def test_perplexity_counts():
  np.testing.assert_allclose(losses.perplexity(np.array([[0.25] * 4, [0.5, 0.5, 0, 0], [0, 1, 0, 0]])), [4, 2, 1])


# methods


@jax.jit
def graded_by_hand(params, state, view, q, temperature):
  """(loss, gradients) with the codes q [2B,K] held fixed."""

  def loss(params):
    logits = losses.cosines(embed(params, state, view)[0], params["prototypes"]) / temperature
    return losses.swapped(q[:B], q[B:], logits[:B], logits[B:])

  return jax.value_and_grad(loss)(params)


@pytest.mark.parametrize("queue", [0, QUEUE])
def test_swav_is_its_equation_with_the_codes_held_fixed(queue):
  params, state, view = start("swav")
  params, remembered = moved(params), state["queue"][:queue]
  state = state if queue else {role: leaf for role, leaf in state.items() if role != "queue"}
  np.testing.assert_allclose(np.linalg.norm(remembered, axis=1), 1, rtol=1e-5)
  z = np.asarray(embed(params, state, view)[0])
  s, past = cosines(z, params["prototypes"]), cosines(remembered, params["prototypes"])
  q = np.concatenate([sinkhorn_by_hand(np.concatenate([one, past]), 0.1, 3)[:B] for one in (s[:B], s[B:])])
  (value, (after, metrics)), grads = graded("swav", queue=queue, temperature=0.2, epsilon=0.1)(params, state, view)
  np.testing.assert_allclose(value, both_ways(q, softmax(s / 0.2)), rtol=1e-4)
  expected, right = graded_by_hand(params, state, view, q.astype(np.float32), 0.2)
  np.testing.assert_allclose(value, expected, rtol=1e-4)
  assert_trees(grads, right, rtol=1e-3, atol=1e-5)
  assert ("queue" in after) == bool(queue)
  if queue:  # newest in front, of both views
    np.testing.assert_allclose(after["queue"][: 2 * B], unit(z), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(after["queue"][2 * B :], remembered[: queue - 2 * B])
  assert 1 <= metrics["prototypes_used"] <= B
  np.testing.assert_allclose(metrics["code_accuracy"], (s[:B].argmax(1) == q[B:].argmax(1)).mean(), rtol=1e-6)


@pytest.mark.parametrize("method", ["swav", "dino"])
def test_views_are_equals_and_prototypes_directions(method):
  params, state, view = start(method)
  params = moved(params)
  call = graded(method, **with_queue(method))
  value = call(params, state, view)[0][0]
  other = {"view1": view["view2"], "view2": view["view1"]}
  np.testing.assert_allclose(call(params, state, other)[0][0], value, rtol=1e-4)
  longer = {**params, "prototypes": params["prototypes"] * np.linspace(0.2, 5, K, dtype=np.float32)[:, None]}
  np.testing.assert_allclose(call(longer, state, view)[0][0], value, rtol=1e-4)


@pytest.mark.parametrize("method", ["swav", "dino"])
def test_knows_nothing_at_the_start(method):
  """The loss is log K, where a high temperature takes away what the cosines happen to be."""
  loss = graded(method, temperature=100.0, **with_queue(method))(*start(method))[0][0]
  np.testing.assert_allclose(loss, np.log(K), rtol=0.01)


def test_dino_is_its_equation():
  params, state, view = start("dino")
  params, rng = moved(params), np.random.default_rng(1)
  state = {**state, "center": rng.uniform(-0.3, 0.3, K).astype(np.float32)}
  target = state["target"]
  said, stats = embed(target["params"], target["state"], view)
  said = cosines(said, target["params"]["prototypes"])
  q = softmax((said - state["center"]) / 0.08)  # the centre of before
  p = softmax(cosines(embed(params, state, view)[0], params["prototypes"]) / 0.1)
  (value, (after, metrics)), _ = graded("dino", teacher_temperature=0.08)(params, state, view)
  np.testing.assert_allclose(value, both_ways(q, p), rtol=1e-4)
  np.testing.assert_allclose(after["center"], 0.9 * state["center"] + 0.1 * said.mean(0), rtol=1e-4, atol=1e-6)
  entropy = -(q[:B] * np.log(q[:B])).sum(1)
  np.testing.assert_allclose(metrics["teacher_perplexity"], np.exp(entropy).mean(), rtol=1e-4)
  mean = q[:B].mean(0)
  np.testing.assert_allclose(metrics["prototypes_used"], np.exp(-(mean * np.log(mean)).sum()), rtol=1e-4)
  # the teacher's parameters move in `update` alone; its batch statistics are those of its own outputs, and move here
  assert_trees(after["target"]["params"], target["params"], rtol=0)
  assert_trees(after["target"]["state"]["projector"], stats, rtol=1e-3, atol=1e-6)


def test_dino_sends_nothing_to_the_teacher_or_the_centre():
  """The student's gradient is that with the teacher's outputs held fixed, even where both networks are the same."""
  params, state, view = start("dino")
  q = jax.nn.softmax(losses.cosines(embed(params, state, view)[0], params["prototypes"]) / 0.04)
  assert_trees(
    graded("dino")(params, state, view)[1], graded_by_hand(params, state, view, q, 0.1)[1], rtol=1e-3, atol=1e-5
  )
  loss = make("dino").loss
  kept = jax.jit(jax.grad(lambda p: sum(x.sum() for x in jax.tree.leaves(gradient_free(loss(p, state, KEY, view)[1])))))
  assert not any(np.any(g) for g in jax.tree.leaves(kept(params)))


def gradient_free(aux):
  """Of (state after, metrics): the teacher and the centre."""
  return aux[0]["target"], aux[0]["center"]


@pytest.mark.parametrize(("momentum", "ramp", "kept"), [(1.0, 0, 1.0), (0.0, 0, 0.0), (0.9, 0, 0.9), (0.9, 10, 1.0)])
def test_dino_teacher_follows(momentum, ramp, kept):
  """Encoder, projector and prototypes, after the optimiser."""
  first, state, _ = start("dino")
  params, target = moved(first), state["target"]["params"]
  assert set(target) == {"encoder", "projector", "prototypes"}
  after = make("dino", momentum=momentum, ramp=ramp).update(params, state, jnp.asarray(10))
  assert_trees(target, {role: first[role] for role in target}, rtol=0)  # begins as a copy
  expected = jax.tree.map(lambda t, o: kept * t + (1 - kept) * o, target, {role: params[role] for role in target})
  assert_trees(after["target"]["params"], expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(after["center"], state["center"])


@pytest.mark.parametrize(
  ("method", "hp"),
  [
    ("swav", {"prototypes": 1}),
    ("swav", {"temperature": 0.0}),
    ("swav", {"epsilon": -0.1}),
    ("swav", {"queue": -1}),
    ("swav", {"projector": ()}),
    ("dino", {"prototypes": 0}),
    ("dino", {"teacher_temperature": 0.0}),
    ("dino", {"momentum": 1.1}),
    ("dino", {"center_momentum": -0.5}),
    ("dino", {"ramp": -2}),
  ],
)
def test_bad_hyper_parameters(method, hp):
  (name,) = hp
  with pytest.raises(UserError, match=f"^--hp={name}=[^\n]*$"):
    make(method, **hp)
