"""Sparse autoencoder: the penalty by hand, and training that reaches the wanted activity."""

import jax.numpy as jnp
import numpy as np
import pytest
from penalties import CONV, RELU, SIGMOID, SIZE, assert_gradient_fits, code, images, start, train
from pretexts import KEY, build, make, prepared

from sslx import nn
from sslx.pretext import METHODS
from sslx.pretext.sparse import bernoulli_kl
from sslx.types import UserError


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
  pretext = make("sparse", encoder, rho=rho, weight=1000.0)
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


@pytest.mark.parametrize(
  ("hp", "message"),
  [
    ({"rho": 0.0}, r"--hp=rho=0: must be in \(0, 1\)"),
    ({"rho": 1.0}, r"--hp=rho=1: must be in \(0, 1\)"),
    ({"rho": float("nan")}, "--hp=rho=nan"),
    ({"weight": -1.0}, "--hp=weight=-1: must be at least 0"),
    ({"output": "relu"}, "--hp=output=relu"),
  ],
  ids=str,
)
def test_bad_values_of_sparse_are_refused_before_training(hp, message):
  with pytest.raises(UserError, match=message):
    build("sparse", RELU, hp)


def test_the_default_encoder_ends_in_sigmoids():
  assert nn.build(METHODS["sparse"].encoder).blocks[-1][1]().activation == "sigmoid"
