"""Colourisation and split-brain autoencoder: losses by hand, what each half sees, where gradients go."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pretexts import KEY, apply, build, features, make, pixels, prepared

from sslx import nn
from sslx.ops import color
from sslx.pretext.families.colour import class_weights, shrink
from sslx.types import UserError

CONV, SPLIT = "conv:widths=4-6", "split:widths=4-6,norm=batch"


def images(n=5, height=9, width=10, channels=3, seed=0):
  return prepared(pixels(n, height, width, channels, seed))


def start(method, encoder, **hp):
  """(method, params, state, view)"""
  pretext, batch = make(method, encoder, **hp), {"x": images()}
  return pretext, *pretext.init(KEY, batch), pretext.transform(KEY, batch)


def raw_prediction(encoder, params, image, size, outputs):
  code = apply(nn.build(encoder), params["encoder"], {}, image)[0]["block2"]
  return np.float64(apply(nn.PixelDecoder((*size, outputs)), params["decoder"], {}, code)[0])


# colorize


def test_class_weights():
  p = np.float32([0.7, 0.2, 0.1, 0.0])
  for uniform in (0.01, 0.5, 1.0):
    w = np.asarray(class_weights(p, uniform))
    assert (p * w).sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(w[0] / w[3], (uniform / 4) / ((1 - uniform) * 0.7 + uniform / 4), rtol=1e-5)
    assert (np.diff(w) >= 0).all()
  np.testing.assert_allclose(class_weights(p, 1.0), 1, rtol=1e-6)


@pytest.mark.parametrize("uniform", [0.5, 1.0])
def test_classification_loss_equals_a_naive_loop(uniform):
  pretext, params, state, view = start("colorize", CONV, uniform=uniform)
  bins = color.ab_bins()
  q = len(bins)
  np.testing.assert_allclose(state["prior"]["ab"], 1 / q)
  value, (after, metrics) = pretext.loss(params, state, KEY, view)
  raw = raw_prediction(CONV, params, view["x"], (3, 3), q).reshape(-1, q)
  ab = np.float64(color.rgb_to_lab(view["target"]))[..., 1:].reshape(-1, 2)
  z = np.zeros((len(ab), q))
  for row, colour in zip(z, ab, strict=True):
    square = ((colour - bins) ** 2).sum(1)
    nearest = np.argsort(square)[:5]
    row[nearest] = np.exp(-square[nearest] / 50)
    row /= row.sum()
  p = (1 / q + z.mean(0)) / 2
  np.testing.assert_allclose(after["prior"]["ab"], 2 * p, rtol=1e-3)
  w = 1 / ((1 - uniform) * p + uniform / q)
  w /= (p * w).sum()
  log_softmax = raw - np.log(np.exp(raw).sum(1, keepdims=True))
  np.testing.assert_allclose(value, -np.mean(w[z.argmax(1)] * (z * log_softmax).sum(1)), rtol=1e-4)
  sharp = np.exp(raw / 0.38)
  guess = sharp / sharp.sum(1, keepdims=True) @ bins
  np.testing.assert_allclose(metrics["ab_error"], np.sqrt(((guess - ab) ** 2).sum(1).mean()), rtol=1e-3)
  np.testing.assert_allclose(metrics["ab_bin_accuracy"], np.mean(raw.argmax(1) == z.argmax(1)), rtol=1e-6)
  np.testing.assert_allclose(metrics["ab_error_of_grey"], np.sqrt((ab**2).sum(1).mean()), rtol=1e-4)


def test_l2_loss_equals_a_naive_one():
  pretext, params, state, view = start("colorize", CONV, loss="l2")
  assert state["prior"] == {}
  value, (_, metrics) = pretext.loss(params, state, KEY, view)
  ab = np.float64(color.rgb_to_lab(view["target"]))[..., 1:]
  guess = 110 * raw_prediction(CONV, params, view["x"], (3, 3), 2)
  np.testing.assert_allclose(value, (((guess - ab) / 110) ** 2).mean(), rtol=1e-4)
  np.testing.assert_allclose(metrics["ab_error"], np.sqrt(((guess - ab) ** 2).sum(-1).mean()), rtol=1e-4)
  cells = [[np.argmin(((x - color.ab_bins()) ** 2).sum(1)) for x in y.reshape(-1, 2)] for y in (guess, ab)]
  np.testing.assert_allclose(metrics["ab_bin_accuracy"], np.equal(*cells).mean(), atol=1e-6)
  nothing = {**params, "decoder": jax.tree.map(jnp.zeros_like, params["decoder"])}
  metrics = pretext.loss(nothing, state, KEY, view)[1][1]
  np.testing.assert_allclose(metrics["ab_error"], metrics["ab_error_of_grey"], rtol=1e-6)


def test_prior_becomes_the_frequencies_of_the_training_images():
  pretext, params, state, view = start("colorize", CONV)
  others = pretext.transform(KEY, {"x": images(seed=1) / 2})
  frequencies = [  # of either batch: what it adds to a sum that is all but nothing
    np.asarray(
      pretext.loss(params, {**state, "prior": {"ab": np.full(261, 1e-9, np.float32)}}, KEY, v)[1][0]["prior"]["ab"]
    )
    for v in (view, others)
  ]
  assert np.abs(frequencies[0] - frequencies[1]).max() > 0.01
  for i in range(200):
    _, (state, _) = pretext.loss(params, state, KEY, (view, others)[i % 2])
  seen = np.asarray(state["prior"]["ab"])
  assert seen.sum() == pytest.approx(201, rel=1e-4)
  np.testing.assert_allclose(seen / seen.sum(), np.mean(frequencies, 0), atol=1e-3)


def test_the_encoder_sees_no_colour_while_training():
  pretext = make("colorize", CONV)
  image = images()
  grey = np.asarray(color.grey(image))
  for channel in range(3):
    seen = pretext.transform(KEY, {"x": image})["x"][..., channel]
    np.testing.assert_allclose(seen, grey[..., 0], atol=1e-6)
  np.testing.assert_allclose(pretext.transform(KEY, {"x": grey})["x"], grey, atol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_shrink_averages_and_rounds_up(factor):
  image = images(height=11, width=8)
  small = np.asarray(shrink(image, factor))
  assert small.shape == (5, -(-11 // factor), -(-8 // factor), 3)
  assert small.min() >= 0
  assert small.max() <= 1
  np.testing.assert_allclose(shrink(np.full_like(image, 0.3), factor), 0.3, atol=1e-6)
  if factor == 1:
    np.testing.assert_array_equal(small, image)


def test_colours_as_predicted_have_the_lightness_of_the_original():
  pretext, params, state, _ = start("colorize", CONV, loss="l2")
  image = np.full((2, 9, 10, 3), 0.5, np.float32) * np.linspace(0.7, 1, 9, dtype=np.float32)[:, None, None]
  shown = pretext.show(params, state, KEY, {"x": image})
  np.testing.assert_array_equal(shown["original"], image)
  last = {"kernel": 0 * params["decoder"]["Conv_1"]["kernel"], "bias": jnp.float32([0.2, -0.1])}
  tinted = {**params, "decoder": {**params["decoder"], "Conv_1": last}}
  lab = color.rgb_to_lab(pretext.show(tinted, state, KEY, {"x": image})["colours as predicted"])
  np.testing.assert_allclose(lab[..., 1:], np.broadcast_to([22, -11], lab[..., 1:].shape), atol=1e-2)
  np.testing.assert_allclose(lab[..., 0], color.rgb_to_lab(image)[..., 0], atol=1e-2)


def colour_by_lightness(n=32):
  """Halves: dark ones red, light ones of a pale blue. Which half is light differs between images."""
  rng = np.random.default_rng(0)
  light = np.arange(8)[None, :] < rng.integers(2, 7, (n, 1))
  light = np.where(rng.random((n, 1)) < 0.5, light, ~light)[:, None, :, None]
  return prepared(np.where(light, [150, 190, 250], [110, 20, 30]) + np.zeros((n, 8, 8, 3)))


@pytest.mark.parametrize("loss", ["classification", "l2"])
@pytest.mark.parametrize(
  ("method", "encoder"), [("colorize", "conv:widths=8,down=none"), ("split_brain", "split:widths=16,down=none")]
)
def test_it_learns_colours_that_lightness_tells(method, encoder, loss):
  """And, with both halves of the brain, lightness that colour tells."""
  pretext = make(method, encoder, loss=loss, shrinking=1)
  batch = {"x": colour_by_lightness()}
  params, state = pretext.init(KEY, batch)
  view, tx = pretext.transform(KEY, batch), optax.adam(0.02)
  opt = tx.init(params)

  @jax.jit
  def step(params, state, opt):
    (_, (state, metrics)), grads = jax.value_and_grad(pretext.loss, has_aux=True)(params, state, KEY, view)
    updates, opt = tx.update(grads, opt)
    return optax.apply_updates(params, updates), state, opt, metrics

  _, _, _, first = step(params, state, opt)
  for _ in range(80):
    params, state, opt, metrics = step(params, state, opt)
  assert metrics["ab_error"] < 0.4 * first["ab_error"]
  assert metrics["ab_bin_accuracy"] > (0.8 if loss == "classification" else 0.5)
  if method == "split_brain":
    assert metrics["L_error"] < 0.4 * first["L_error"]
  guess = pretext.show(params, state, KEY, batch)[
    "colours as predicted" if method == "colorize" else "ab predicted from L*"
  ]
  assert np.abs(guess - batch["x"]).mean() < 0.1


@pytest.mark.parametrize(("method", "encoder"), [("colorize", CONV), ("split_brain", SPLIT)])
@pytest.mark.parametrize(
  "hp",
  [
    {"uniform": 0.0},
    {"uniform": 1.5},
    {"uniform": float("nan")},
    {"temperature": 0.0},
    {"temperature": 2.0},
    {"shrinking": 0},
  ],
  ids=str,
)
def test_bad_hyper_parameters(method, encoder, hp):
  with pytest.raises(UserError, match=f"--hp={next(iter(hp))}="):
    make(method, encoder, **hp)


@pytest.mark.parametrize(("method", "encoder"), [("colorize", CONV), ("split_brain", SPLIT)])
def test_grey_images_are_refused(method, encoder):
  pretext = build(method, encoder, {})
  for use in (pretext.init, pretext.transform):
    with pytest.raises(UserError, match=f"--method={method}: needs images in colour"):
      use(KEY, {"x": images(channels=1)})


# split-brain


@pytest.mark.parametrize("loss", ["classification", "l2"])
def test_no_gradient_crosses_from_one_half_to_the_other(loss):
  pretext, params, state, view = start("split_brain", SPLIT, loss=loss)
  assert set(params) == {"encoder", "ab_decoder", "L_decoder"}

  def parts(params):
    metrics = pretext.loss(params, state, KEY, view)[1][1]
    return jnp.stack([metrics["ab_loss"], metrics["L_loss"]])

  total, (_, metrics) = pretext.loss(params, state, KEY, view)
  np.testing.assert_allclose(total, metrics["ab_loss"] + metrics["L_loss"], rtol=1e-6)
  jacobian = jax.jit(jax.jacrev(parts))(params)
  for i, (name, half, other) in enumerate((("ab", "L", "ab"), ("L", "ab", "L"))):  # the L half predicts ab
    grads = jax.tree.map(lambda g: g[i], jacobian)
    assert all(np.any(g) for g in jax.tree.leaves(grads[f"{name}_decoder"]))
    assert not any(np.any(g) for g in jax.tree.leaves(grads[f"{half}_decoder"]))
    for block in ("block1", "block2"):
      assert all(np.any(g) for g in jax.tree.leaves(grads["encoder"][block][half]))
      assert not any(np.any(g) for g in jax.tree.leaves(grads["encoder"][block][other]))


def test_changing_ab_leaves_the_features_of_the_lightness_half():
  image = images()
  grey = np.asarray(color.grey(image))
  _, params, state, _ = start("split_brain", SPLIT)
  both = [features(SPLIT, params, state, x).reshape(5, 3, 3, 6) for x in (image, grey)]
  np.testing.assert_allclose(both[0][..., :3], both[1][..., :3], atol=1e-3)
  assert np.abs(both[0][..., 3:] - both[1][..., 3:]).max() > 0.05
  half = [features(SPLIT, params, state, image, f"flatten@{i}") for i in (1, 2)]
  np.testing.assert_array_equal(half[0], both[0][..., :3].reshape(5, -1))
  np.testing.assert_array_equal(half[1], both[0][..., 3:].reshape(5, -1))


def test_lightness_is_predicted_in_bins_of_one():
  pretext, params, state, view = start("split_brain", SPLIT)
  assert {name: p.shape for name, p in state["prior"].items()} == {"ab": (261,), "L": (100,)}
  after = pretext.loss(params, state, KEY, view)[1][0]["prior"]["L"]
  lightness = np.asarray(color.rgb_to_lab(view["target"]))[..., 0]
  frequencies = np.histogram(lightness, np.arange(101))[0] / lightness.size
  np.testing.assert_allclose(after, 1 / 100 + frequencies, atol=1e-6)


def test_split_brain_needs_halves():
  for encoder in (CONV, "mlp", "resnet18"):
    with pytest.raises(UserError, match=r"--method=split_brain: .*--encoder=split"):
      make("split_brain", encoder)
