"""Contractive autoencoder: the norm of the Jacobian in closed form and estimated, and codes that contract."""

import functools

import jax
import numpy as np
import pytest
from penalties import CONV, RELU, SIGMOID, SIZE, SMOOTH, assert_gradient_fits, code, images, start, train
from pretexts import KEY, build, make, prepared

from sslx import nn
from sslx.pretext import METHODS
from sslx.pretext.contractive import closed_form
from sslx.types import UserError


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
    pretext = make("contractive", encoder, weight=weight)
    params, state, _ = start(pretext, prepared(toy.train.x[:60]))
    return train(pretext, params, state, prepared(toy.train.x[:60]), 60)[1]

  free, bound = after(0.0), after(3.0)
  assert bound["jacobian"] < 0.5 * free["jacobian"]
  assert bound["reconstruction"] > free["reconstruction"]


@pytest.mark.parametrize(
  ("hp", "message"),
  [
    ({"weight": float("nan")}, "--hp=weight=nan"),
    ({"samples": 0}, "--hp=samples=0: must be at least 1"),
    ({"jacobian": "closed"}, "--hp=jacobian=closed: needs one sigmoid layer"),
    ({"output": "relu"}, "--hp=output=relu"),
  ],
  ids=str,
)
def test_bad_values_of_contractive_are_refused_before_training(hp, message):
  with pytest.raises(UserError, match=message):
    build("contractive", RELU, hp)


def test_the_default_encoder_has_a_closed_form():
  assert METHODS["contractive"].factory(nn.build(METHODS["contractive"].encoder), jacobian="closed")
