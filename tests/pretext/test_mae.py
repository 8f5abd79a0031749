"""Masked autoencoder: masks with exact counts, no look at hidden patches, the loss written out in numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, apply, build, features, jitted, pixels, prepared

from sslx import nn
from sslx.ops.patches import patchify
from sslx.pretext.mae import visible
from sslx.types import UserError

SPEC = "vit:width=8,depth=2,heads=2,patch=3"


def images(n=6, height=9, width=7, channels=2, seed=0):
  return prepared(pixels(n, height, width, channels, seed))


@functools.cache
def case(size=(9, 7, 2), **hp):
  pretext = jitted(build("mae", SPEC, {"decoder_width": 8, **hp}))
  batch = {"x": images(6, *size)}
  params, state = pretext.init(KEY, batch)
  return pretext, params, state, jax.device_get(pretext.transform(KEY, batch))


def hidden_patches(view, ratio=0.5):
  """(order, bool [B,N]: which are hidden)."""
  order = view["order"]
  n = visible(order.shape[1], ratio)
  return order[:, n:], np.stack([np.isin(np.arange(order.shape[1]), o[n:]) for o in order])


def as_pixels(hidden, grid, patch, shape):
  return hidden.reshape(-1, *grid).repeat(patch, 1).repeat(patch, 2)[:, : shape[0], : shape[1], None]


@pytest.mark.parametrize(
  ("patches", "ratio", "expected"),
  [(49, 0.75, 12), (64, 0.75, 16), (196, 0.75, 49), (9, 0.01, 8), (2, 0.99, 1), (4, 0.5, 2)],
)
def test_exact_count_of_visible_patches(patches, ratio, expected):
  assert visible(patches, ratio) == expected


def test_every_image_draws_its_own_mask_uniformly():
  pretext = build("mae", SPEC, {})
  n = 4000
  order = np.asarray(jax.jit(pretext.transform)(KEY, {"x": np.zeros((n, 9, 7, 1), np.float32)})["order"])
  assert order.shape == (n, 9)
  np.testing.assert_array_equal(np.sort(order, 1), np.broadcast_to(np.arange(9), (n, 9)))
  share = np.stack([np.bincount(order[:, i], minlength=9) for i in range(9)]) / n  # [place in the order, patch]
  assert np.abs(share - 1 / 9).max() < 5 * (1 / 9 * 8 / 9 / n) ** 0.5
  assert len({tuple(o) for o in order[:50]}) == 50


@pytest.mark.parametrize("norm_pixels", [False, True])
@pytest.mark.parametrize("size", [(9, 7, 2), (9, 9, 1)])
def test_loss_is_its_equation(norm_pixels, size):
  pretext, params, state, view = case(size, norm_pixels=norm_pixels)
  hidden, is_hidden = hidden_patches(view)
  keep = view["order"][:, : 9 - hidden.shape[1]]
  encoder = nn.build(SPEC)
  tokens = apply(encoder, params["encoder"], {}, view["x"], keep)[0]["block2"]
  module = nn.MaskedDecoder((3, 3), 9 * size[2], 8, 1)
  predicted = np.asarray(apply(module, params["decoder"], {}, tokens, view["order"])[0])
  patches = np.asarray(patchify(view["x"], 3)).reshape(6, 9, -1)
  errors, squares = [], []
  for b in range(6):
    for j, place in enumerate(hidden[b]):
      target, scale = patches[b, place], 1.0
      if norm_pixels:  # torch's variance: over n - 1
        scale = (((target - target.mean()) ** 2).sum() / (target.size - 1) + 1e-6) ** 0.5
        target = (target - target.mean()) / scale
      errors += list((predicted[b, j] - target) ** 2)
      squares += list((predicted[b, j] - target) ** 2 * scale**2)
  assert len(errors) == is_hidden.sum() * 9 * size[2]
  loss, (_, metrics) = pretext.loss(params, state, KEY, view)
  assert loss == pytest.approx(np.mean(errors), rel=1e-4)
  assert metrics["psnr"] == pytest.approx(-10 * np.log10(np.mean(squares)), rel=1e-4)


def test_hidden_pixels_are_targets_only():
  """Without the decoder's help: the loss's second derivative by hidden pixels is that of a mean of squares, 2 / n.

  A hidden pixel that reached the prediction would show beside the diagonal.
  """
  pretext, params, state, view = case((9, 6, 1))  # no border that repeats
  hidden = as_pixels(hidden_patches(view)[1], (3, 2), 3, (9, 6))[0, ..., 0].reshape(-1)
  others = view["x"][1:]

  def loss(first):
    image = jnp.concatenate([first.reshape(1, 9, 6, 1), others])
    return pretext.loss(params, state, KEY, {**view, "x": image})[0]

  hessian = np.asarray(jax.jit(jax.jacfwd(jax.grad(loss)))(view["x"][0].reshape(-1)))
  n = hidden.sum() * len(view["x"])
  np.testing.assert_allclose(hessian[np.ix_(hidden, hidden)], np.eye(hidden.sum()) * 2 / n, atol=1e-6)
  assert np.abs(hessian[np.ix_(~hidden, ~hidden)]).max() > 1e-6  # visible ones do reach it


@pytest.mark.parametrize("size", [(9, 7, 2), (28, 28, 1), (32, 32, 3)])
def test_pictures(size):
  pretext, params, state, _ = case(size)
  batch = {"x": images(6, *size)}
  view = pretext.transform(KEY, batch)
  assert pretext.show
  rows = jax.device_get(pretext.show(params, state, KEY, batch))
  original, seen, predicted = (rows[title] for title in ("original", "visible to the encoder", "predicted"))
  np.testing.assert_allclose(original, batch["x"], atol=1e-6)
  grid = (-(-size[0] // 3), -(-size[1] // 3))
  hidden = as_pixels(hidden_patches(jax.device_get(view))[1], grid, 3, size)
  np.testing.assert_allclose(seen, np.where(hidden, 0.5, original), atol=1e-6)
  np.testing.assert_allclose(np.where(hidden, 0, predicted), np.where(hidden, 0, original), atol=1e-6)
  assert np.abs(np.where(hidden, predicted - original, 0)).max() > 0.1


def test_pictures_of_standardised_patches_have_the_true_colours():
  pretext, params, state, view = case(norm_pixels=True)
  params = {
    **params,
    "decoder": {**params["decoder"], "pixels": jax.tree.map(jnp.zeros_like, params["decoder"]["pixels"])},
  }
  batch = {"x": images()}
  assert pretext.show
  predicted = pretext.show(params, state, KEY, batch)["predicted"]
  patches = np.asarray(patchify(view["x"], 3)).reshape(6, 9, -1)
  got = np.asarray(patchify(predicted, 3)).reshape(6, 9, -1)
  for b, places in enumerate(hidden_patches(view)[0]):
    for place in places:
      np.testing.assert_allclose(got[b, place], patches[b, place].mean(), atol=1e-5)


def test_probes_see_the_whole_image():
  _, params, state, view = case()
  expected = apply(nn.build(SPEC), params["encoder"], {}, view["x"])[0]["block2"].reshape(6, -1)
  np.testing.assert_allclose(features(SPEC, params, state, pixels(6, 9, 7, 2)), expected, atol=1e-5)


@pytest.mark.parametrize("spec", ["conv:widths=4", "mlp:widths=8", "resnet18"])
def test_encoders_without_patches_are_refused(spec):
  with pytest.raises(UserError, match=r"--method=mae: .* use --encoder=vit"):
    build("mae", spec, {})


@pytest.mark.parametrize(
  "hp", [{"ratio": 0.0}, {"ratio": 1.0}, {"ratio": float("nan")}, {"decoder_width": 6}, {"decoder_depth": 0}]
)
def test_bad_hyper_parameters(hp):
  with pytest.raises(UserError, match=f"--hp={next(iter(hp))}="):
    build("mae", "vit", hp)


def test_one_patch_is_refused():
  pretext = build("mae", "vit", {})
  with pytest.raises(UserError, match=r"--encoder=vit:patch="):
    jax.eval_shape(pretext.init, KEY, {"x": images(1, 4, 4)})
