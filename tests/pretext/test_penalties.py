"""Autoencoders with a penalty on the code: sparse, contractive, variational. What all methods share: test_contract.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pretexts import KEY, apply, build, make, pixels, prepared

from sslx import nn
from sslx.pretext import METHODS
from sslx.pretext.contractive import closed_form
from sslx.pretext.sparse import bernoulli_kl
from sslx.pretext.vae import kl, reparameterise
from sslx.types import UserError

SIGMOID = "mlp:widths=6,code=0,activation=sigmoid"
SMOOTH = "mlp:widths=7-6,code=5,activation=sigmoid"
RELU = "mlp:widths=7,code=4"
CONV = "conv:widths=4,norm=group"
SIZE = 6 * 6  # pixels of an image below: the reconstruction error is their mean


def images(n=8, seed=0, size=6):
  return prepared(pixels(n, size, size, 1, seed))


def start(pretext, image, scale=1.0):
  """(params, state, view); the encoder's kernels times `scale`."""
  batch = {"x": image}
  params, state = pretext.init(KEY, batch)
  params["encoder"] = jax.tree.map(lambda p: p * scale if p.ndim > 1 else p + 0.1, params["encoder"])
  return params, state, pretext.transform(KEY, batch)


def blocks(encoder, params, state, image, train=True):
  net = nn.build(encoder)
  outputs = apply(net, params["encoder"], state["encoder"], image, train=train)[0]
  return {name: outputs[name] for name in net.block_names}  # a dict that leaves a compiled function is sorted


def code(encoder, params, state, image):
  return list(blocks(encoder, params, state, image).values())[-1]


def assert_gradient_fits(pretext, params, state, view, roles=("encoder",), h=1e-3, rtol=2e-2):
  """The derivative along the gradient of each role, by central differences."""

  @jax.jit
  def loss(params):
    return pretext.loss(params, state, KEY, view)[0]

  grad = jax.jit(jax.grad(loss))(params)
  for role in roles:
    norm = float(np.sqrt(sum(np.square(g).sum() for g in jax.tree.leaves(grad[role]))))
    assert norm > 0, role

    def along(t, role=role, norm=norm):
      moved = jax.tree.map(lambda p, g: p + t * g / norm, params[role], grad[role])
      return float(loss({**params, role: moved}))

    assert (along(h) - along(-h)) / (2 * h) == pytest.approx(norm, rel=rtol), role


def train(pretext, params, state, image, steps, rate=0.01):
  """`steps` of Adam on all images at once -> (params, metrics of the last step)."""
  tx = optax.adam(rate)

  def step(carry, key):
    params, opt_state = carry
    view = pretext.transform(key, {"x": image})
    grads, (_, metrics) = jax.grad(pretext.loss, has_aux=True)(params, state, key, view)
    updates, opt_state = tx.update(grads, opt_state)
    return (optax.apply_updates(params, updates), opt_state), metrics

  (params, _), metrics = jax.jit(lambda *a: jax.lax.scan(step, a, jax.random.split(KEY, steps)))(
    params, tx.init(params)
  )
  return params, {name: float(m[-1]) for name, m in metrics.items()}


# sparse


def naive_kl(rho, activity):
  q = np.asarray(activity, np.float64)
  return rho * np.log(rho / q) + (1 - rho) * np.log((1 - rho) / (1 - q))


@pytest.mark.parametrize("rho", [0.01, 0.05, 0.5, 0.9])
def test_kl_of_coins(rho):
  activity = np.array([0.001, 0.02, 0.049, 0.3, 0.5, 0.77, 0.999])
  np.testing.assert_allclose(bernoulli_kl(rho, activity), naive_kl(rho, activity), rtol=2e-5, atol=2e-7)
  assert bernoulli_kl(rho, jnp.float32(rho)) == pytest.approx(0, abs=2e-7)
  ways = bernoulli_kl(rho, np.stack([rho + (1 - rho) * np.linspace(0.05, 1, 9), rho * np.linspace(0.95, 0, 9)]))
  assert (np.diff(ways) > 0).all()  # grows both ways
  assert (np.asarray(ways) > 0).all()
  assert np.isfinite(ways).all()  # also for units that are never, or always on


@pytest.mark.parametrize("encoder", [SIGMOID, RELU, CONV])
def test_sparse_is_its_equation(encoder):
  pretext = make("sparse", encoder, rho=0.2)
  params, state, view = start(pretext, images())
  value, (_, metrics) = pretext.loss(params, state, KEY, view)
  plain, _ = make("autoencode", encoder).loss(params, state, KEY, view)
  np.testing.assert_allclose(metrics["reconstruction"], plain, rtol=1e-6)
  h = np.asarray(code(encoder, params, state, view["x"]), np.float64)
  a = h if encoder == SIGMOID else np.tanh(abs(h))
  rho = [a[..., j].mean() for j in range(a.shape[-1])]  # of a unit; of a map over its positions too
  np.testing.assert_allclose((value - plain) * SIZE, 3.0 * sum(naive_kl(0.2, q) for q in rho), rtol=1e-3)
  assert metrics["activity"] == pytest.approx(a.mean(), rel=1e-4)
  assert metrics["active"] == pytest.approx((a > 0.1).mean(), rel=1e-4)


def test_activity_is_averaged_over_images_not_over_units():
  pretext = make("sparse", SIGMOID, rho=1 / 6)
  params, state, _ = start(pretext, images())
  params["encoder"]["dense1"]["Dense_0"] = {"kernel": 40 * jnp.eye(36, 6), "bias": jnp.full(6, -20.0)}
  each_once = np.eye(6, 36, dtype=np.float32).reshape(6, 6, 6, 1)  # image i turns unit i on, and no other
  always_one = each_once[[0] * 6]  # every image turns unit 0 on

  def penalty(image):
    value, (_, metrics) = pretext.loss(params, state, KEY, {"x": image})
    assert metrics["activity"] == pytest.approx(1 / 6, rel=1e-4)
    assert metrics["active"] == pytest.approx(1 / 6, rel=1e-4)
    return float(value - metrics["reconstruction"]) * SIZE

  assert penalty(each_once) == pytest.approx(0, abs=1e-3)
  assert penalty(always_one) > 10


@pytest.mark.parametrize("encoder", [SIGMOID, CONV])
@pytest.mark.parametrize("penalty", ["kl", "l1"])
def test_sparse_gradient(encoder, penalty):
  pretext = make("sparse", encoder, penalty=penalty, weight=20.0)
  assert_gradient_fits(pretext, *start(pretext, images()))


@pytest.mark.parametrize(("encoder", "rho"), [(SIGMOID, 0.05), (SIGMOID, 0.2), (RELU, 0.05), ("conv:widths=6", 0.3)])
def test_training_reaches_the_wanted_sparsity(toy, encoder, rho):
  pretext = build("sparse", encoder, {"rho": rho, "weight": 1000.0})
  image = prepared(toy.train.x[:120])
  params, state, view = start(pretext, image)
  before = pretext.loss(params, state, KEY, view)[1][1]["activity"]
  _, metrics = train(pretext, params, state, image, 120, 0.02)
  assert abs(before - rho) > 0.05
  assert metrics["activity"] == pytest.approx(rho, rel=0.1)


@pytest.mark.parametrize("encoder", [SIGMOID, RELU, CONV])
def test_l1_is_its_equation(encoder):
  pretext = make("sparse", encoder, penalty="l1", weight=0.7)
  params, state, view = start(pretext, images())
  value, (_, metrics) = pretext.loss(params, state, KEY, view)
  h = np.asarray(code(encoder, params, state, view["x"]), np.float64)
  expected = 0.7 * np.mean([abs(image).sum() for image in h])
  np.testing.assert_allclose((value - metrics["reconstruction"]) * SIZE, expected, rtol=1e-4)


def test_each_penalty_has_its_own_default_weight():
  for penalty, weight in (("kl", 3.0), ("l1", 0.5)):
    params, state, view = start(make("sparse", SIGMOID), images())
    default, given = (make("sparse", SIGMOID, penalty=penalty, **hp) for hp in ({}, {"weight": weight}))
    assert default.loss(params, state, KEY, view)[0] == given.loss(params, state, KEY, view)[0]


# contractive


@functools.cache
def norms(encoder, scale=1.0):
  """(params, state, images, ||dh/dx||_F^2 of every image by jacrev, of one image at a time)."""
  params, state, view = start(make("contractive", encoder), images(), scale)
  one = jax.jacrev(lambda x: code(encoder, params, state, x[None])[0])
  jacobians = jax.jit(lambda x: jax.lax.map(one, x))(view["x"])
  return params, state, view, np.square(np.asarray(jacobians, np.float64)).reshape(len(view["x"]), -1).sum(1)


def test_closed_form_is_the_jacobian_norm_of_every_image():
  params, state, view, expected = norms(SIGMOID, 3.0)
  h = code(SIGMOID, params, state, view["x"])
  assert expected.std() > 0.05 * expected.mean()
  np.testing.assert_allclose(closed_form(h, params["encoder"]["dense1"]["Dense_0"]["kernel"]), expected, rtol=1e-5)


def test_contractive_is_its_equation():
  params, state, view, expected = norms(SIGMOID, 3.0)
  value, (_, metrics) = make("contractive", SIGMOID, weight=0.3).loss(params, state, KEY, view)
  assert metrics["jacobian"] == pytest.approx(expected.mean(), rel=1e-5)
  np.testing.assert_allclose((value - metrics["reconstruction"]) * SIZE, 0.3 * expected.mean(), rtol=1e-4)
  plain, _ = make("autoencode", SIGMOID, decoder="tied").loss(params, state, KEY, view)
  np.testing.assert_allclose(metrics["reconstruction"], plain, rtol=1e-6)
  explicit = make("contractive", SIGMOID, weight=0.3, jacobian="closed")
  assert explicit.loss(params, state, KEY, view)[0] == value
  assert explicit.loss(params, state, jax.random.key(1), view)[0] == value  # nothing random


def estimates(encoder, params, state, view, n, **hp):
  pretext = make("contractive", encoder, jacobian="estimate", **hp)
  keys = jax.random.split(jax.random.key(3), n)
  one = lambda key: pretext.loss(params, state, key, view)[1][1]["jacobian"]  # noqa: E731
  return np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys))(keys), np.float64)


def assert_mean(values, expected):
  error = values.std() / np.sqrt(len(values))
  assert 0 < error < 0.01 * expected  # enough draws to tell a wrong factor
  assert abs(values.mean() - expected) < 4 * error


@pytest.mark.parametrize("encoder", [SIGMOID, RELU, CONV, "conv:widths=4,code=3"])
def test_estimate_is_unbiased(encoder):
  params, state, view, expected = norms(encoder)
  one, four = (estimates(encoder, params, state, view, 1000, samples=n) for n in (1, 4))
  assert_mean(one, expected.mean())
  assert_mean(four, expected.mean())
  assert four.var() / one.var() == pytest.approx(1 / 4, rel=0.25)


def test_estimate_counts_what_batch_normalisation_mixes():
  encoder = "conv:widths=3,norm=batch"
  params, state, view = start(make("contractive", encoder), images(4))
  everything = jax.jit(jax.jacrev(lambda x: code(encoder, params, state, x)))(view["x"])
  squares = np.square(np.asarray(everything, np.float64)).sum((1, 2, 3, 5, 6, 7))
  assert squares.sum() - squares.trace() > 0.01 * squares.trace()  # of one image's code by another image
  assert_mean(estimates(encoder, params, state, view, 2000), squares.sum() / 4)


@pytest.mark.parametrize(
  ("encoder", "hp"),
  [(SIGMOID, {}), (SIGMOID, {"jacobian": "estimate"}), (SMOOTH, {}), ("conv:widths=3,norm=group,down=stride", {})],
  ids=str,
)
def test_contractive_gradient(encoder, hp):
  """With so large a weight that the gradient is mostly the penalty's, which is a second derivative of the encoder."""
  pretext = make("contractive", encoder, weight=1000.0, **hp)
  params, state, view = start(pretext, images(), 2.0)
  if "conv" in encoder:  # away from the kinks of relu, where the Jacobian jumps
    for block in params["encoder"].values():
      block["GroupNorm_0"]["bias"] = block["GroupNorm_0"]["bias"] + 5
  assert_gradient_fits(pretext, params, state, view)


def test_dense_encoders_are_tied():
  for encoder in (SIGMOID, RELU):
    params, _, _ = start(make("contractive", encoder), images())
    assert not any(p.ndim > 1 for p in jax.tree.leaves(params["decoder"]))  # biases alone
  for encoder, hp in ((CONV, {}), (RELU, {"decoder": "mlp"}), (RELU, {"decoder_widths": (5,)})):
    params, _, _ = start(make("contractive", encoder, **hp), images())
    assert any(p.ndim > 1 for p in jax.tree.leaves(params["decoder"]))


@pytest.mark.parametrize("encoder", [SIGMOID, RELU])
def test_training_contracts(toy, encoder):
  def after(weight):
    pretext = build("contractive", encoder, {"weight": weight})
    params, state, _ = start(pretext, prepared(toy.train.x[:60]))
    return train(pretext, params, state, prepared(toy.train.x[:60]), 60)[1]

  free, bound = after(0.0), after(3.0)
  assert bound["jacobian"] < 0.5 * free["jacobian"]
  assert bound["reconstruction"] > free["reconstruction"]


# variational


def test_kl_of_gaussians_by_integration():
  z = np.linspace(-30, 30, 200001)
  for mean in (-1.5, 0.0, 0.7):
    for log_variance in (-3.0, 0.0, 1.2):
      variance = np.exp(log_variance)
      log_q = -((z - mean) ** 2) / (2 * variance) - np.log(2 * np.pi * variance) / 2
      log_p = -(z**2) / 2 - np.log(2 * np.pi) / 2
      integral = np.trapezoid(np.exp(log_q) * (log_q - log_p), z)
      assert kl(np.float32(mean), np.float32(log_variance)) == pytest.approx(integral, rel=1e-5, abs=1e-6)
  assert kl(jnp.zeros(3), jnp.zeros(3)).tolist() == [0, 0, 0]


def test_reparameterisation_has_the_moments():
  mean, log_variance = np.array([-2.0, 0.0, 3.0], np.float32), np.array([-4.0, 0.0, 1.0], np.float32)
  draws = np.asarray(reparameterise(KEY, jnp.tile(mean, (100_000, 1)), jnp.tile(log_variance, (100_000, 1))))
  deviation = np.exp(log_variance / 2)
  np.testing.assert_allclose(draws.mean(0), mean, atol=4 * deviation.max() / np.sqrt(1e5))
  np.testing.assert_allclose(draws.std(0), deviation, rtol=0.01)
  np.testing.assert_allclose(np.corrcoef(draws.T), np.eye(3), atol=0.015)  # each unit its own noise
  assert abs(np.corrcoef(draws[1:, 1], draws[:-1, 1])[0, 1]) < 0.015  # each image too
  slope = jax.grad(lambda v: reparameterise(KEY, jnp.float32(1), v))(0.0)  # d(sd)/d(log variance) = sd / 2
  assert slope == pytest.approx(float(jax.random.normal(KEY, ())) / 2, rel=1e-5)


@pytest.mark.parametrize("encoder", [RELU, SIGMOID, "conv:widths=4-3", "conv:widths=4,code=5"])
def test_vae_is_its_equation(encoder):
  pretext = make("vae", encoder, beta=2.5)
  params, state, view = start(pretext, images())
  value, (_, metrics) = pretext.loss(params, state, KEY, view)
  outputs = list(blocks(encoder, params, state, view["x"]).values())
  mean, before = np.asarray(outputs[-1]), np.asarray(outputs[-2] if len(outputs) > 1 else outputs[-1])
  layer = jax.tree.map(np.asarray, params["log_variance"]["Dense_0"])
  log_variance = (before.reshape(8, -1) @ layer["kernel"] + layer["bias"]).reshape(mean.shape)
  expected = np.sum((mean.astype(np.float64) ** 2 + np.exp(log_variance) - 1 - log_variance) / 2) / 8
  np.testing.assert_allclose(metrics["kl"], expected, rtol=1e-4)  # nats an image
  np.testing.assert_allclose(value, metrics["reconstruction"] + 2.5 * expected / SIZE, rtol=1e-5)


def test_beta_scales_the_kl_only():
  params, state, view = start(make("vae", RELU), images())
  values, metrics = {}, {}
  for beta in (0.0, 1.0, 4.0):
    values[beta], (_, metrics[beta]) = make("vae", RELU, beta=beta).loss(params, state, KEY, view)
  assert values[0.0] == metrics[0.0]["reconstruction"]
  assert len({float(m["reconstruction"]) for m in metrics.values()}) == 1
  assert len({float(m["kl"]) for m in metrics.values()}) == 1
  np.testing.assert_allclose(values[4.0] - values[0.0], 4 * (values[1.0] - values[0.0]), rtol=1e-4)


def test_vae_noise_is_the_posteriors():
  """A posterior without variance is a plain autoencoder; with variance each key draws anew."""
  pretext = make("vae", RELU, beta=0.0)
  params, state, view = start(pretext, images())
  plain, _ = make("autoencode", RELU).loss(params, state, KEY, view)
  drawn = {float(pretext.loss(params, state, jax.random.key(i), view)[0]) for i in range(3)}
  assert len(drawn) == 3
  certain = jax.tree.map(lambda p: jnp.full_like(p, -60.0 if p.ndim == 1 else 0.0), params["log_variance"])
  np.testing.assert_allclose(pretext.loss({**params, "log_variance": certain}, state, KEY, view)[0], plain, rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_vae_gradient(beta):
  """beta 0: the log-variance is then reached through the drawn code alone."""
  pretext = make("vae", SMOOTH, beta=beta)
  assert_gradient_fits(pretext, *start(pretext, images(), 3.0), ("encoder", "log_variance", "decoder"), h=1e-2)


def test_vae_has_no_noise_in_evaluation():
  pretext, batch = make("vae", RELU), {"x": images()}
  params, state, _ = start(pretext, batch["x"])
  first, second = (pretext.show(params, state, jax.random.key(i), batch) for i in (1, 2))
  np.testing.assert_array_equal(first["reconstruction"], second["reconstruction"])
  expected = make("autoencode", RELU).show(params, state, KEY, batch)["reconstruction"]
  np.testing.assert_allclose(first["reconstruction"], expected, atol=1e-6)


@pytest.mark.parametrize("encoder", [RELU, "conv:widths=4-3"])
def test_vae_draws_images_from_the_prior(encoder):
  pretext, one, other = make("vae", encoder), {"x": images()}, {"x": images(seed=1)}
  params, state, view = start(pretext, one["x"])
  drawn = pretext.show(params, state, KEY, one)["sampled from the prior"]
  np.testing.assert_array_equal(drawn, pretext.show(params, state, KEY, other)["sampled from the prior"])
  assert np.abs(drawn - pretext.show(params, state, jax.random.key(1), one)["sampled from the prior"]).max() > 1e-3
  assert len({np.asarray(image).tobytes() for image in drawn}) == 8
  z = jax.random.normal(KEY, code(encoder, params, state, view["x"]).shape)
  np.testing.assert_allclose(drawn, pretext.decode(params, state, z, (6, 6, 1)), atol=1e-5)


def test_vae_learns(toy):
  """It lowers its bound, keeps some information in the code, and draws images as dark as the real ones."""
  pretext = build("vae", "mlp:widths=64,code=4", {})
  image = prepared(toy.train.x)
  params, state, view = start(pretext, image)
  before = pretext.loss(params, state, KEY, view)[0]
  params, metrics = train(pretext, params, state, image, 150)
  after = metrics["reconstruction"] + metrics["kl"] / 144
  assert after < before - 0.05
  assert metrics["kl"] > 1
  assert pretext.show
  drawn = pretext.show(params, state, KEY, {"x": image})["sampled from the prior"]
  assert drawn.mean() == pytest.approx(image.mean(), abs=0.03)


# all three


@pytest.mark.parametrize(
  ("method", "hp", "message"),
  [
    ("sparse", {"rho": 0.0}, r"--hp=rho=0: must be in \(0, 1\)"),
    ("sparse", {"rho": 1.0}, r"--hp=rho=1: must be in \(0, 1\)"),
    ("sparse", {"rho": float("nan")}, "--hp=rho=nan"),
    ("sparse", {"weight": -1.0}, "--hp=weight=-1: must be at least 0"),
    ("contractive", {"weight": float("nan")}, "--hp=weight=nan"),
    ("contractive", {"samples": 0}, "--hp=samples=0: must be at least 1"),
    ("contractive", {"jacobian": "closed"}, "--hp=jacobian=closed: needs one sigmoid layer"),
    ("vae", {"beta": -0.5}, "--hp=beta=-0.5: must be at least 0"),
    *[(method, {"output": "relu"}, "--hp=output=relu") for method in ("sparse", "contractive", "vae")],
  ],
  ids=str,
)
def test_bad_values_are_refused_before_training(method, hp, message):
  with pytest.raises(UserError, match=message):
    build(method, RELU, hp)


def test_default_encoders_are_what_the_methods_want():
  assert nn.build(METHODS["sparse"].encoder).blocks[-1][1]().activation == "sigmoid"
  assert METHODS["contractive"].factory(nn.build(METHODS["contractive"].encoder), jacobian="closed")
  assert nn.build(METHODS["vae"].encoder).block_names[-1] == "code"
