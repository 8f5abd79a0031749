"""Context encoder: where the hole is, what it weighs, and who learns from which part of the loss."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, build, jitted, pixels, prepared

from sslx import nn
from sslx.nn.context import ChannelwiseDense
from sslx.pretext.context_encoder import hole_and_region as traced
from sslx.training import masks, run
from sslx.training.config import Config
from sslx.types import UserError

SPEC = "conv:widths=4-6"


def images(n=3, height=12, width=10, channels=2, seed=0):
  return prepared(pixels(n, height, width, channels, seed))


@functools.cache
def case(spec=SPEC, **hp):
  pretext = jitted(build("context_encoder", spec, hp))
  batch = {"x": images()}
  params, state = pretext.init(KEY, batch)
  return pretext, params, state, jax.device_get(pretext.transform(KEY, batch))


def hole_and_region(*arguments):
  with jax.ensure_compile_time_eval():
    hidden, places = traced(*arguments)
    return np.asarray(hidden)[0], places


def any_nonzero(tree):
  return any(np.any(leaf) for leaf in jax.tree.leaves(tree))


# hole and region


@pytest.mark.parametrize(
  ("size", "fraction", "band", "hole", "region"),
  [
    ((28, 28), 0.25, 1, (7, 21, 7, 21), (6, 22, 6, 22)),
    ((32, 32), 0.25, 0, (8, 24, 8, 24), (8, 24, 8, 24)),
    ((128, 128), 0.25, 4, (32, 96, 32, 96), (28, 100, 28, 100)),
    ((8, 8), 0.25, 9, (2, 6, 2, 6), (0, 8, 0, 8)),
  ],
)
def test_region_is_the_hole_and_a_band_around_it(size, fraction, band, hole, region):
  hidden, (rows, columns) = hole_and_region((*size, 3), fraction, band)
  expected = np.zeros((*size, 1), bool)
  expected[hole[0] : hole[1], hole[2] : hole[3]] = True
  np.testing.assert_array_equal(hidden, expected)
  assert (rows.start, rows.stop, columns.start, columns.stop) == region


def test_the_hole_has_the_mean_colour_of_what_is_visible():
  image, filled = images(), case()[3]["x"]
  hidden, _ = hole_and_region(image.shape[1:], 0.25, 1)
  np.testing.assert_allclose(filled[:, ~hidden[..., 0]], image[:, ~hidden[..., 0]], atol=1e-6)
  for b in range(3):
    for channel in range(2):
      mean = image[b, ~hidden[..., 0], channel].mean()
      np.testing.assert_allclose(filled[b, hidden[..., 0], channel], mean, rtol=1e-5)


def test_hidden_pixels_reach_the_target_only():
  pretext, params, state, view = case()
  hidden, _ = hole_and_region((12, 10, 2), 0.25, 1)
  changed = {"x": np.where(hidden, 1 - images(), images())}
  other = jax.device_get(pretext.transform(KEY, changed))
  np.testing.assert_array_equal(other["x"], view["x"])
  assert np.any(other["target"] != view["target"])
  assert pretext.show
  rows, others = (pretext.show(params, state, KEY, b) for b in ({"x": images()}, changed))
  np.testing.assert_array_equal(rows["predicted"], others["predicted"])
  np.testing.assert_array_equal(rows["with a hole"], view["x"])
  np.testing.assert_allclose(np.where(hidden, 0, rows["predicted"]), np.where(hidden, 0, rows["original"]))
  assert np.abs(np.where(hidden, rows["predicted"] - rows["original"], 0)).max() > 0.1


# the channel-wise dense layer


def test_channelwise_dense_is_one_matrix_a_channel():
  x = np.random.default_rng(0).standard_normal((2, 3, 2, 5)).astype(np.float32)
  module = ChannelwiseDense()
  params, _ = nn.init(module, KEY, x)
  assert params["kernel"].shape == (5, 6, 6)
  params = {**params, "bias": np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)}
  got, expected = nn.apply(module, params, {}, x)[0], np.zeros((2, 3, 2, 5))
  for b in range(2):
    for channel in range(5):
      seen = np.array([x[b, row, column, channel] for row in range(3) for column in range(2)], np.float64)
      y = seen @ np.asarray(params["kernel"])[channel] + params["bias"][channel]
      for place in range(6):
        expected[b, place // 2, place % 2, channel] = y[place]
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_channelwise_dense_starts_at_unit_scale():
  params, _ = nn.init(ChannelwiseDense(), KEY, np.zeros((1, 7, 7, 32), np.float32))
  assert np.std(params["kernel"]) == pytest.approx(49**-0.5, rel=0.05)


@pytest.mark.parametrize(("n", "channels"), [(4, 64), (6, 256)])  # ours at 28 pixels; the paper's pool5
def test_parameter_count(n, channels):
  params = jax.eval_shape(lambda: nn.init(ChannelwiseDense(), KEY, jnp.zeros((1, n, n, channels)))[0])
  assert params["kernel"].size == n**4 * channels
  full = jax.eval_shape(lambda: nn.init(nn.Linear(n * n * channels), KEY, jnp.zeros((1, n, n, channels)))[0])
  assert masks.count(full) - n * n * channels == (n * n * channels) ** 2 == params["kernel"].size * channels
  assert params["bias"].size == n * n * channels


def test_flat_codes_skip_it():
  _, spatial, _, _ = case()
  assert set(spatial["decoder"]) == {"channelwise", "across", "decoder"}
  assert spatial["decoder"]["across"]["kernel"].shape == (1, 1, 6, 6)
  _, flat, _, _ = case("conv:widths=4-6,code=5")
  assert set(flat["decoder"]) == {"decoder"}
  assert "Dense_0" in flat["decoder"]["decoder"]


# the loss


def pieces(hp, params, state, view):
  """fake, real and hidden of the region, from the pictures' code path written out."""
  encoder = nn.build(SPEC)
  hidden, (rows, columns) = hole_and_region((12, 10, 2), 0.25, hp.get("band", 1))
  code = nn.apply(encoder, params["encoder"], state["encoder"], view["x"], train=True)[0]["block2"]
  shape = (rows.stop - rows.start, columns.stop - columns.start, 2)
  net = nn.ContextDecoder(nn.ConvDecoder(shape, (6, 4)))
  fake = jax.nn.sigmoid(nn.apply(net, params["decoder"], {}, code)[0])
  return fake, view["target"][:, rows, columns], hidden[rows, columns]


def judge(params, x) -> jax.Array:
  return nn.apply(nn.Discriminator(), params["discriminator"], {}, x)[0]


HP = {"overlap": 7.0, "rec": 0.6, "adv": 0.3, "band": 2}


def reconstruction(params, state, view):
  fake, real, hidden = pieces(HP, params, state, view)
  return 0.6 * (jnp.where(hidden, 1, 7.0) * (fake - real) ** 2).mean()


def fooling(params, state, view):
  return 0.3 * -jnp.log(jax.nn.sigmoid(judge(params, pieces(HP, params, state, view)[0]))).mean()


def judging(params, state, view):
  fake, real, _ = pieces(HP, params, state, view)
  yes, no = jax.nn.sigmoid(judge(params, real)), jax.nn.sigmoid(judge(params, fake))
  return -jnp.log(yes).mean() - jnp.log(1 - no).mean()


def test_loss_and_metrics_are_their_equations():
  pretext, params, state, view = case(**HP)
  loss, (_, metrics) = pretext.loss(params, state, KEY, view)
  expected = jax.jit(lambda p: sum(part(p, state, view) for part in (reconstruction, fooling, judging)))(params)
  assert loss == pytest.approx(float(expected), rel=1e-5)
  fake, real, hidden = jax.jit(functools.partial(pieces, HP))(params, state, view)
  squares = np.square(np.asarray(fake - real))[:, hidden[..., 0]]
  assert metrics["psnr"] == pytest.approx(-10 * np.log10(squares.mean()), rel=1e-5)
  opinions = jax.jit(judge)
  right = np.concatenate([opinions(params, real) > 0, opinions(params, fake) <= 0])
  assert metrics["discriminator_accuracy"] == pytest.approx(right.mean())


def test_generator_and_discriminator_learn_from_their_own_terms():
  """jax.grad of the sum: encoder and decoder get that of the first two terms, the discriminator that of the third."""
  pretext, params, state, view = case(**HP)
  grads = jax.jit(jax.grad(lambda p: pretext.loss(p, state, KEY, view)[0]))(params)
  by = {
    f.__name__: jax.jit(jax.grad(functools.partial(f, state=state, view=view)))(params)
    for f in (reconstruction, fooling, judging)
  }
  for part in by.values():  # each reads both networks: something was there to be mixed, except D in the reconstruction
    assert any_nonzero(part["encoder"])
    assert any_nonzero(part["decoder"])
  assert not any_nonzero(by["reconstruction"]["discriminator"])
  assert any_nonzero(by["fooling"]["discriminator"])
  for role in ("encoder", "decoder"):
    expected = jax.tree.map(jnp.add, by["reconstruction"][role], by["fooling"][role])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), grads[role], expected)
  expected = by["judging"]["discriminator"]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), grads["discriminator"], expected)


def test_without_an_adversary_the_generator_ignores_it():
  pretext, params, state, view = case(adv=0.0)
  other = {**params, "discriminator": jax.tree.map(lambda p: p + 1, params["discriminator"])}
  grad = jax.jit(jax.grad(lambda p: pretext.loss(p, state, KEY, view)[0]))
  grads, others = grad(params), grad(other)
  for role in ("encoder", "decoder"):
    jax.tree.map(np.testing.assert_array_equal, grads[role], others[role])


def test_the_discriminator_learns_at_a_rate_of_its_own():
  pretext, params, state, view = case(discriminator_rate=0.01)
  config = Config(optimizer="adamw", learning_rate=1e-3)
  tx, plain = (run.optimizer(p, config, 10) for p in (pretext, pretext._replace(rates=None)))
  grads = jax.jit(jax.grad(lambda p: pretext.loss(p, state, KEY, view)[0]))(params)

  def updates(tx) -> Any:
    def two(params, grads):
      _, opt = tx.update(grads, tx.init(params), params)  # the first step of a warm-up is 0
      return tx.update(grads, opt, params)[0]

    return jax.jit(two)(params, grads)

  got, expected = updates(tx), updates(plain)
  for role, rate in (("encoder", 1), ("decoder", 1), ("discriminator", 0.01)):
    assert any_nonzero(expected[role])
    jax.tree.map(lambda a, b, r=rate: np.testing.assert_allclose(a, r * b, rtol=1e-5), got[role], expected[role])


@pytest.mark.parametrize(
  ("hp", "message"),
  [
    ({"fraction": 1.0}, "--hp=fraction=1: must be in"),
    ({"band": -1}, "--hp=band=-1: must be at least 0"),
    ({"overlap": float("nan")}, "--hp=overlap=nan"),
    ({"adv": -0.1}, "--hp=adv=-0.1"),
    ({"discriminator_rate": 0.0}, "--hp=discriminator_rate=0: must be positive"),
  ],
)
def test_bad_hyper_parameters(hp, message):
  with pytest.raises(UserError, match=message):
    build("context_encoder", SPEC, hp)
