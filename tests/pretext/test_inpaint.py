"""Inpainting: what is hidden reaches the target only, and the loss is of the hole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from holes import hidden
from pretexts import KEY, build, make, metrics_on_other_squares, pixels, prepared

from sslx.ops.holes import HOLES
from sslx.pretext.inpaint import fill
from sslx.types import UserError

TINY = "mlp:widths=6,code=4"


def make_batch(n=6, height=8, width=6, channels=3, seed=0):
  return {"x": prepared(pixels(n, height, width, channels, seed))}


def test_fill_is_the_mean_of_what_is_visible():
  rng = np.random.default_rng(0)
  image = rng.uniform(size=(4, 7, 5, 3)).astype(np.float32)
  mask = hidden("blocks", (4, 7, 5, 3), 0.4)
  filled = np.asarray(fill(jnp.asarray(image), jnp.asarray(mask)))
  for one, before, hole in zip(filled, image, mask[..., 0], strict=True):
    np.testing.assert_array_equal(one[~hole], before[~hole])
    np.testing.assert_allclose(one[hole], np.broadcast_to(before[~hole].mean(0), (hole.sum(), 3)), rtol=1e-5)


@pytest.mark.parametrize("hole", HOLES)
def test_hidden_pixels_do_not_reach_what_is_encoded(hole):
  pretext, batch = make("inpaint", TINY, hole=hole), make_batch()
  view = pretext.transform(KEY, batch)
  other = np.where(view["hidden"], 1 - batch["x"], batch["x"])
  assert (other != batch["x"]).any()
  changed = pretext.transform(KEY, {"x": other})
  np.testing.assert_array_equal(changed["hidden"], view["hidden"])
  np.testing.assert_array_equal(changed["x"], view["x"])
  np.testing.assert_allclose(changed["target"], other, rtol=1e-6)  # only what is predicted changed


@pytest.mark.parametrize("region", ["hole", "whole"])
@pytest.mark.parametrize("pair", [("sigmoid", "bce"), ("linear", "mse")])
def test_loss_region(region, pair):
  """With a decoder that is its bias: the loss written out, and a gradient in the hole's pixels only."""
  output, loss = pair
  pretext = make("inpaint", TINY, region=region, output=output, loss=loss, decoder_widths=None)
  batch = make_batch()
  params, state = pretext.init(KEY, batch)
  raw = np.random.default_rng(1).standard_normal((8, 6, 3)).astype(np.float32)
  params = {
    **params,
    "decoder": {"Dense_0": {"kernel": 0 * params["decoder"]["Dense_0"]["kernel"], "bias": raw.ravel()}},
  }
  view = pretext.transform(KEY, batch)
  grads, (_, metrics) = jax.grad(pretext.loss, has_aux=True)(params, state, KEY, view)
  value, _ = pretext.loss(params, state, KEY, view)
  gradient = np.asarray(grads["decoder"]["Dense_0"]["bias"]).reshape(8, 6, 3)

  clean, mask = batch["x"], np.asarray(view["hidden"])[..., 0]
  out = 1 / (1 + np.exp(-raw)) if output == "sigmoid" else raw
  each = np.square(out - clean) if loss == "mse" else -clean * np.log(out) - (1 - clean) * np.log(1 - out)
  where = mask if region == "hole" else np.ones_like(mask)
  expected = np.mean([e[m].mean() for e, m in zip(each, where, strict=True)])
  assert value == pytest.approx(expected, rel=1e-5)
  error = np.mean([e[m].mean() for e, m in zip(np.square(out - clean), where, strict=True)])
  assert metrics["psnr"] == pytest.approx(-10 * np.log10(error), rel=1e-4)
  filled = np.square(np.asarray(view["x"]) - clean)
  error = np.mean([e[m].mean() for e, m in zip(filled, where, strict=True)])
  assert metrics["fill_psnr"] == pytest.approx(-10 * np.log10(error), rel=1e-4)

  np.testing.assert_array_equal(np.any(gradient != 0, -1), where.any(0))


def test_gradient_of_the_predictions_is_zero_outside_the_hole():
  pretext = make("inpaint", TINY, hole="right", decoder_widths=None)
  batch = make_batch()
  params, state = pretext.init(KEY, batch)
  grads = jax.grad(lambda p: pretext.loss(p, state, KEY, pretext.transform(KEY, batch))[0])(params)
  kernel = np.asarray(grads["decoder"]["Dense_0"]["kernel"]).reshape(-1, 8, 6, 3)
  assert not kernel[:, :, :3].any()
  assert np.abs(kernel[:, :, 3:]).max((0, 3)).min() > 0


def test_show_keeps_what_is_visible():
  pretext, batch = make("inpaint", TINY, hole="bottom"), make_batch()
  params, state = pretext.init(KEY, batch)
  assert pretext.show
  pictures = {title: np.asarray(p) for title, p in pretext.show(params, state, KEY, batch).items()}
  original, seen, inpainted = (pictures[t] for t in ("original", "hole filled with the mean", "inpainted"))
  np.testing.assert_allclose(original, batch["x"], atol=1e-6)
  np.testing.assert_array_equal(inpainted[:, :4], original[:, :4])
  assert (seen[:, 4:] == seen[:, 4:5, :1]).all()  # one colour
  assert (inpainted[:, 4:] != original[:, 4:]).mean() > 0.9
  assert (inpainted[:, 4:] != seen[:, 4:]).mean() > 0.9


def test_fraction_is_checked():
  for fraction in (0.0, 1.0, -1.0, float("nan")):
    with pytest.raises(UserError, match=r"--hp=fraction=.*must be in \(0, 1\)"):
      build("inpaint", TINY, {"fraction": fraction})


def test_inpainting_beats_the_mean_fill():
  metrics = metrics_on_other_squares(make("inpaint", "mlp:widths=64,code=32", fraction=0.25), 150)
  assert metrics["psnr"] > metrics["fill_psnr"] + 3
