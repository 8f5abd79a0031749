"""Deep InfoMax: estimates against loops, which pairs are real, two sides of an adversary that do not mix, learning."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, assert_trees, build, pixels, prepared, trained

from sslx import losses, nn
from sslx.pretext.families import common
from sslx.training import run
from sslx.training.config import Config
from sslx.types import UserError

SPEC = "conv:widths=4-6"  # 8x7 pixels -> 4x4x4 -> 2x2x6
FLAT = "mlp:widths=6,code=3"
SMALL = {"summary": (7, 5), "score": (6, 3), "discriminator": (4,)}
B = 4
LOG2 = np.log(2)
pair_jsd, pair_nce = jax.jit(losses.pair_jsd), jax.jit(losses.pair_nce)  # a compilation a shape, not one an operation


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def softplus(x):
  return np.log1p(np.exp(x))


def some_scores(n=4, places=3, seed=0):
  return 2 * np.random.default_rng(seed).standard_normal((n, places, n)).astype(np.float32)


def make_batch(n=B, seed=0):
  return {"x": prepared(pixels(n, 8, 7, 1, seed))}


@functools.cache
def case(spec=SPEC, **hp):
  """(pretext, params, state, view) at a generic point, the same for roles that two cases share."""
  pretext = build("deep_infomax", spec, {**SMALL, **hp})
  shapes, state = jax.eval_shape(pretext.init, KEY, make_batch())
  params = {}
  for role, tree in shapes.items():
    rng = np.random.default_rng(len(role))
    params[role] = jax.tree.map(lambda x, r=rng: 0.7 * r.standard_normal(x.shape).astype(np.float32), tree)
  return pretext, params, state, make_batch()


@functools.cache
def jitted(loss):
  return jax.jit(loss)


def value(made, params=None, key=KEY, image=None):
  pretext, drawn, state, view = made
  return jitted(pretext.loss)(drawn if params is None else params, state, key, view if image is None else {"x": image})


def nonzero(tree):
  return any(np.any(leaf) for leaf in jax.tree.leaves(tree))


# losses


def test_jsd_is_its_definition():
  t = some_scores()
  n, places, _ = t.shape
  real, others = [], []
  for i in range(n):
    for p in range(places):
      for j in range(n):
        if i == j:
          real.append(LOG2 - softplus(-t[i, p, j]))
        else:
          others.append(softplus(-t[i, p, j]) + t[i, p, j] - LOG2)
  np.testing.assert_allclose(pair_jsd(t), np.mean(others) - np.mean(real), rtol=1e-5)


def test_jsd_at_its_ends():
  assert pair_jsd(np.zeros((4, 3, 4), np.float32)) == pytest.approx(0, abs=1e-6)  # E+ = E- = 0
  sure = 200 * np.broadcast_to(2 * np.eye(4, dtype=np.float32) - 1, (3, 4, 4)).swapaxes(0, 1)
  assert pair_jsd(sure) == pytest.approx(-2 * LOG2, rel=1e-6)  # -E+ = E- = -log 2: no estimate is higher
  assert pair_jsd(-sure) == pytest.approx(2 * 200 - 2 * LOG2, rel=1e-6)  # finite
  assert np.isfinite(pair_jsd(np.ones((1, 2, 1), np.float32)))  # no others


def test_nce_is_its_definition():
  t = some_scores()
  n, places, _ = t.shape
  terms = [
    -np.log(np.exp(t[i, p, i]) / sum(np.exp(t[i, p, j]) for j in range(n))) for i in range(n) for p in range(places)
  ]
  np.testing.assert_allclose(pair_nce(t), np.mean(terms), rtol=1e-5)
  assert pair_nce(np.zeros((4, 3, 4), np.float32)) == pytest.approx(np.log(4), rel=1e-6)
  shift = np.random.default_rng(1).standard_normal((n, places, 1)).astype(np.float32)  # of one summary at one place
  np.testing.assert_allclose(pair_nce(t + shift), pair_nce(t), rtol=1e-5)


@pytest.mark.parametrize("loss", [pair_jsd, pair_nce])
def test_the_real_pairs_are_the_diagonal_and_no_others(loss):
  t = some_scores()
  grad, diagonal = np.asarray(jax.jit(jax.grad(loss))(t)), np.eye(4, dtype=bool)[:, None]
  np.testing.assert_array_equal(grad < 0, np.broadcast_to(diagonal, t.shape))
  np.testing.assert_array_equal(grad > 0, np.broadcast_to(~diagonal, t.shape))
  order = np.array([3, 0, 1, 2])
  np.testing.assert_allclose(loss(t[order][:, :, order]), loss(t), rtol=1e-5)
  np.testing.assert_allclose(loss(t[:, [2, 0, 1]]), loss(t), rtol=1e-5)
  assert abs(loss(t[:, :, order]) - loss(t)) > 0.01
  np.testing.assert_array_equal(losses.pair_labels(jnp.asarray(t)), np.repeat(np.arange(4)[:, None], 3, 1))


# adversary


def test_sides_of_an_adversary_get_their_own_gradient_only():
  rng = np.random.default_rng(0)
  params, real, fake = {"w": rng.standard_normal(3)}, rng.standard_normal((5, 3)), rng.standard_normal((6, 3))

  def opinion(params, x):
    return x @ params["w"]

  fooled, judging, right = common.adversary(opinion, params, jnp.asarray(real), jnp.asarray(fake))
  on_real, on_fake = real @ params["w"], fake @ params["w"]
  np.testing.assert_allclose(fooled, -np.log(sigmoid(on_fake)).mean(), rtol=1e-5)
  np.testing.assert_allclose(judging, -np.log(sigmoid(on_real)).mean() - np.log(sigmoid(-on_fake)).mean(), rtol=1e-5)
  assert right == pytest.approx(((on_real > 0).mean() + (on_fake <= 0).mean()) / 2)
  by = jax.jit(jax.jacrev(lambda p, f: common.adversary(opinion, p, jnp.asarray(real), f)[:2], (0, 1)))(params, fake)
  assert not nonzero(by[0][0])  # exact zeros
  assert nonzero(by[0][1])
  assert nonzero(by[1][0])
  assert not nonzero(by[1][1])


# method


@functools.cache
def outputs_of(spec):
  """Every block's output, of the encoder in `case`."""
  _, params, _, view = case(spec)
  return jax.jit(lambda p, x: nn.apply(nn.build(spec), p, {}, x)[0])(params["encoder"], view["x"])


def projector(params, x):
  """nn.Projector of two layers, in numpy."""
  first, second = params["Dense_0"], params["Dense_1"]
  return np.maximum(x @ first["kernel"] + first["bias"], 0) @ second["kernel"] + second["bias"]


def shortcut(params, x):
  return projector(params["Projector_0"], x) + x @ params["Dense_0"]["kernel"]


def pieces(made, spec=SPEC, block="block2"):
  """(output of `block`, y [B,D])."""
  outputs = jax.device_get(outputs_of(spec))
  return outputs[block], projector(made[1]["summary"], outputs[nn.build(spec).block_names[-1]].reshape(B, -1))


def pair_scores(params, x, y):
  """T(place p of image j, y_i), pair by pair: x [B,P,C]."""
  t = np.zeros((len(y), x.shape[1], len(y)), np.float32)
  for i in range(len(y)):
    for j in range(len(y)):
      for p in range(x.shape[1]):
        t[i, p, j] = shortcut(params["place"], x[j, p]) @ shortcut(params["summary"], y[i])
  return t


@pytest.mark.parametrize("estimator", ["jsd", "infonce"])
def test_loss_and_metrics_are_their_equations(estimator):
  made = case(alpha=0.5, beta=2.0, gamma=0.3, estimator=estimator)
  params, (x, y) = made[1], pieces(made)
  places = {"global": x.reshape(B, 1, -1), "local": x.reshape(B, -1, 6)}
  t = {term: pair_scores(params[term], p, y) for term, p in places.items()}
  pair_loss = {"jsd": pair_jsd, "infonce": pair_nce}[estimator]
  noise = np.asarray(jax.random.uniform(KEY, y.shape))
  on_noise, on_fake = (projector(params["discriminator"], v) for v in (noise, sigmoid(y)))
  fooled, judging = softplus(-on_fake).mean(), softplus(-on_noise).mean() + softplus(on_fake).mean()
  expected = 0.5 * pair_loss(t["global"]) + 2 * pair_loss(t["local"]) + 0.3 * fooled + judging
  loss, (_, metrics) = value(made)
  np.testing.assert_allclose(loss, expected, rtol=1e-4)
  for term, score in t.items():
    right = [score[i, p].argmax() == i for i in range(B) for p in range(score.shape[1])]
    assert metrics[f"{term}_pair_accuracy"] == pytest.approx(np.mean(right)), term
  right = np.concatenate([on_noise > 0, on_fake <= 0])
  assert metrics["discriminator_accuracy"] == pytest.approx(right.mean())


def test_encoder_and_discriminator_learn_from_their_own_terms():
  made = case(FLAT, alpha=0.5, gamma=0.3)
  pretext, params, state, view = made
  grads, without = (
    jax.jit(jax.grad(lambda p, f=f: f(p, state, KEY, view)[0]))(params)
    for f in (pretext.loss, case(FLAT, alpha=0.5, gamma=0.0)[0].loss)
  )
  assert not nonzero(without.pop("discriminator"))

  def prior(params, discriminator):
    """The prior's term, and what D learns from, without a stopped gradient."""
    outputs, _ = nn.apply(nn.build(FLAT), params["encoder"], {}, view["x"])
    y, _ = nn.apply(nn.Projector(SMALL["summary"]), params["summary"], {}, common.last(outputs))
    judge = lambda v: nn.apply(nn.Projector((4, 1)), discriminator, {}, v)[0]  # noqa: E731
    on_noise, on_fake = judge(jax.random.uniform(KEY, y.shape)), judge(jax.nn.sigmoid(y))
    judging = -jax.nn.log_sigmoid(on_noise).mean() - jax.nn.log_sigmoid(-on_fake).mean()
    return -0.3 * jax.nn.log_sigmoid(on_fake).mean(), judging

  fooling, both = jax.jit(
    lambda p, d: (jax.grad(lambda p: prior(p, d)[0])(p), jax.grad(lambda p, d: prior(p, d)[1], (0, 1))(p, d))
  )(params, params["discriminator"])
  assert nonzero(fooling["encoder"])
  assert nonzero(both[0]["encoder"])  # there was something to be mixed
  assert_trees(grads["discriminator"], both[1], rtol=1e-3, atol=1e-6)
  for role in without:
    assert nonzero(without[role])
    assert_trees(grads[role], jax.tree.map(jnp.add, without[role], fooling[role]), rtol=1e-3, atol=1e-5)


def test_a_weight_of_zero_removes_its_term():
  _, params, _, _ = case(FLAT, alpha=1.0, beta=1.0, gamma=1.0)
  terms = {}
  for name, hp in {
    "global": {"alpha": 1.0, "beta": 0.0, "gamma": 0.0},
    "local": {"alpha": 0.0, "beta": 1.0, "gamma": 0.0},
    "both": {"alpha": 1.0, "beta": 1.0, "gamma": 0.0},
  }.items():
    made = case(FLAT, **hp)
    loss, (_, metrics) = value(made, params)
    on = [term for term in ("global", "local") if name in (term, "both")]
    assert set(made[1]) == {"encoder", "summary", *on}  # no network of the others
    assert set(metrics) == {f"{term}_pair_accuracy" for term in on}
    assert value(made, params, jax.random.key(5))[0] == loss  # draws nothing
    terms[name] = loss
  np.testing.assert_allclose(terms["global"] + terms["local"], terms["both"], rtol=1e-6)
  made = case(FLAT, alpha=0.0, beta=1.0, gamma=0.1)
  assert set(made[1]) == {"encoder", "summary", "local", "discriminator"}
  assert abs(value(made, params, jax.random.key(5))[0] - value(made, params)[0]) > 1e-5  # the key's noise


def test_images_are_told_apart_in_any_order():
  made = case(alpha=1.0, gamma=0.0)
  image = made[3]["x"]
  np.testing.assert_allclose(value(made, image=image[np.array([2, 0, 3, 1])])[0], value(made)[0], rtol=1e-5)
  same = value(made, image=jnp.repeat(image[:1], B, 0))[0]
  np.testing.assert_allclose(same, 2 * np.log(B), rtol=1e-5)  # equal images cannot be told apart, whatever the scores


@pytest.mark.parametrize(
  ("spec", "hp", "block", "places"),
  [
    (SPEC, {}, "block2", (4, 6)),
    (SPEC, {"local": "block1"}, "block1", (16, 4)),
    ("conv:widths=4-6,code=3", {}, "block2", (4, 6)),  # the last with places; y comes from the code
    ("conv:widths=4-6,code=3", {"local": "code"}, "code", (1, 3)),
    (FLAT, {}, "code", (1, 3)),
    (FLAT, {"local": "dense1"}, "dense1", (1, 6)),
  ],
)
def test_the_map_is_the_block_asked_for(spec, hp, block, places):
  made = case(spec, gamma=0.0, estimator="jsd", **hp)
  x, y = pieces(made, spec, block)
  assert made[1]["local"]["place"]["Dense_0"]["kernel"].shape[0] == places[1]
  t = pair_scores(made[1]["local"], x.reshape(B, *places), y)
  np.testing.assert_allclose(value(made)[0], pair_jsd(t), rtol=1e-4)


@pytest.mark.parametrize("hp", [{}, {"estimator": "jsd", "alpha": 1.0}], ids=str)
def test_pairs_are_learnt(hp, toy):
  pretext = build("deep_infomax", "conv:widths=4-8", hp)
  tx = run.optimizer(pretext, Config(optimizer="adamw", learning_rate=1e-2), 60)
  rows = trained(pretext, tx, toy.train.x, steps=60, batch_size=40, log_every=10)
  for name in ("global", "local") if hp else ("local",):
    first, last = rows[0][f"{name}_pair_accuracy"], rows[-1][f"{name}_pair_accuracy"]
    assert last > max(first + 0.04, 3 / 40), (name, first, last)  # chance is 1/40


def test_the_discriminator_learns_at_a_rate_of_its_own():
  assert case(discriminator_rate=0.01)[0].rates == {"discriminator": 0.01}
  assert case(gamma=0.0, discriminator_rate=0.01)[0].rates is None  # a role without parameters is refused


@pytest.mark.parametrize(
  ("hp", "message"),
  [
    ({"alpha": -1.0}, "--hp=alpha=-1: must be at least 0"),
    ({"gamma": float("nan")}, "--hp=gamma=nan"),
    ({"beta": 0.0}, "--hp=beta=0: with alpha=0"),
    ({"local": "blok1"}, "--hp=local=blok1: this encoder has no such block. Did you mean 'block1'"),
    ({"summary": ()}, "--hp=summary="),
    ({"score": (4, 0)}, "--hp=score=4-0"),
    ({"discriminator_rate": 0.0}, "--hp=discriminator_rate=0: must be positive"),
  ],
)
def test_bad_hyper_parameters(hp, message):
  with pytest.raises(UserError, match=message):
    build("deep_infomax", SPEC, hp)
