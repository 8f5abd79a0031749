"""Variational autoencoder: the bound by hand, the noise of the posterior, images drawn from the prior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from penalties import RELU, SIGMOID, SIZE, SMOOTH, assert_gradient_fits, blocks, code, images, start, train
from pretexts import KEY, build, make, prepared

from sslx import nn
from sslx.pretext import METHODS
from sslx.pretext.vae import kl, reparameterise
from sslx.types import UserError


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
  pretext = make("vae", "mlp:widths=64,code=4")
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


@pytest.mark.parametrize(
  ("hp", "message"),
  [
    ({"beta": -0.5}, "--hp=beta=-0.5: must be at least 0"),
    ({"output": "relu"}, "--hp=output=relu"),
  ],
  ids=str,
)
def test_bad_values_of_vae_are_refused_before_training(hp, message):
  with pytest.raises(UserError, match=message):
    build("vae", RELU, hp)


def test_the_default_encoder_ends_in_a_code():
  assert nn.build(METHODS["vae"].encoder).block_names[-1] == "code"
