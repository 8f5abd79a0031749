"""Predicting what was taken from an image: hidden parts (inpaint) and detail (super_resolution)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pretexts import KEY, PREPARE, build, make, pixels, prepared

from sslx import losses
from sslx.ops.holes import HOLES
from sslx.pretext.inpaint import fill
from sslx.pretext.super_resolution import area_average
from sslx.training import step
from sslx.types import UserError

TINY = "mlp:widths=6,code=4"


def make_batch(n=6, height=8, width=6, channels=3, seed=0):
  return {"x": prepared(pixels(n, height, width, channels, seed))}


def toys(n=256, size=12, seed=0):
  """A bright square of side 5 somewhere on grey, raw: what is hidden or blurred of it can be told from the rest."""
  rng = np.random.default_rng(seed)
  image = np.full((n, size, size, 1), 60, np.uint8)
  for one, (top, left) in zip(image, rng.integers(0, size - 4, (n, 2)), strict=True):
    one[top : top + 5, left : left + 5] = 220
  return {"x": image}


def train_on(pretext, batch, steps):
  """Metrics after some steps of Adam, on images that it did not train on."""
  tx = optax.adam(3e-3)
  ts = step.make_init(pretext, tx, PREPARE)(KEY, batch)
  ts, _ = step.make_train_step(pretext, tx, PREPARE)(ts, batch, np.tile(np.arange(len(batch["x"])), (steps, 1)))
  other = {"x": PREPARE(toys(seed=1)["x"])}
  return pretext.loss(ts.params, ts.state, KEY, pretext.transform(KEY, other))[1][1]


@functools.cache
def hidden(hole, shape, fraction, seed=0):
  return np.asarray(jax.jit(HOLES[hole], static_argnums=(1, 2))(jax.random.key(seed), shape, fraction))


# holes


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("size", [(5, 5), (9, 7), (28, 28)], ids=str)
@pytest.mark.parametrize("fraction", [0.001, 0.25, 0.5, 0.999])
def test_something_is_hidden_and_something_is_left(hole, size, fraction):
  mask = hidden(hole, (40, *size, 3), fraction)
  assert mask.shape == (40, *size, 1)
  assert mask.dtype == bool
  count = mask.sum((1, 2, 3))
  assert (count > 0).all()
  assert (count < size[0] * size[1]).all()


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.75])
def test_centre_is_a_rectangle_in_the_middle(fraction):
  for height, width in [(28, 28), (32, 32), (9, 7), (5, 5)]:
    mask = hidden("centre", (3, height, width, 1), fraction)
    rows, columns = np.flatnonzero(mask[0].any((1, 2))), np.flatnonzero(mask[0].any((0, 2)))
    h, w = len(rows), len(columns)
    assert mask.sum() == 3 * h * w  # all of the rectangle, in every image
    assert h == pytest.approx(height * fraction**0.5, abs=0.51)
    assert h * w == pytest.approx(fraction * height * width, abs=h / 2 + 0.01)
    assert abs(rows[0] - (height - 1 - rows[-1])) <= 1
    assert abs(columns[0] - (width - 1 - columns[-1])) <= 1
  assert hidden("centre", (1, 28, 28, 1), 0.25)[0, 7:21, 7:21].all()  # a quarter: 14 x 14


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.8])
def test_shapes_hide_the_exact_number_of_pixels(fraction):
  for height, width in [(28, 28), (9, 7), (5, 5)]:
    count = hidden("shapes", (60, height, width, 1), fraction).sum((1, 2, 3))
    assert (count == round(fraction * height * width)).all()


def test_shapes_are_patches_not_noise():
  mask = hidden("shapes", (60, 28, 28, 1), 0.25)[..., 0]
  assert (mask[:, 1:] == mask[:, :-1]).mean() > 0.9  # of independent pixels 0.625


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.8])
def test_blocks_hide_every_pixel_equally_often(fraction):
  """`fraction` of the images, in the corners as in the middle."""
  n = 4000
  for height, width in [(12, 10), (5, 5)]:
    often = hidden("blocks", (n, height, width, 1), fraction).mean(0)
    often = np.delete(often.ravel(), height // 2 * width + width // 2)  # the middle: what changes where none or all are
    assert often.mean() == pytest.approx(fraction, abs=0.015)
    np.testing.assert_allclose(often, fraction, atol=5 * (fraction * (1 - fraction) / n) ** 0.5)


def test_blocks_are_at_most_five_rectangles():
  """Each is a set of rows times a set of neighbouring columns: rows of one image know few patterns."""
  for mask in hidden("blocks", (50, 28, 28, 1), 0.25)[..., 0]:
    assert len({row.tobytes() for row in mask}) <= 11  # five intervals begin and end
    assert (np.diff(mask.astype(int), axis=1) == 1).sum(1).max() <= 5


@pytest.mark.parametrize("hole", ["blocks", "shapes"])
def test_every_image_and_key_has_a_hole_of_its_own(hole):
  mask, other = hidden(hole, (20, 12, 10, 1), 0.3), hidden(hole, (20, 12, 10, 1), 0.3, seed=1)
  assert len({one.tobytes() for one in [*mask, *other]}) == 40


def test_directions():
  """bottom from top, right from left."""
  for height, width in [(28, 28), (9, 7)]:
    mask = hidden("bottom", (2, height, width, 1), 0.5)
    assert mask[:, height - round(height / 2) :].all()
    assert not mask[:, : height - round(height / 2)].any()
    mask = hidden("right", (2, height, width, 1), 0.25)
    assert mask[:, :, width - round(width / 4) :].all()
    assert not mask[:, :, : width - round(width / 4)].any()


# inpainting


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
  metrics = train_on(make("inpaint", "mlp:widths=64,code=32", fraction=0.25), toys(), 150)
  assert metrics["psnr"] > metrics["fill_psnr"] + 3


# super-resolution


def overlaps(size, factor):
  """[cells, size] in the naive way: cell i is the real interval [i, i + 1] * size / cells."""
  cells = -(-size // factor)
  length = size / cells
  return np.array(
    [[max(0.0, min((i + 1) * length, j + 1) - max(i * length, j)) / length for j in range(size)] for i in range(cells)]
  )


@pytest.mark.parametrize("factor", [2, 4])
def test_area_average(factor):
  rng = np.random.default_rng(0)
  even = rng.uniform(size=(2, 8, 12, 3)).astype(np.float32)
  blocks = even.reshape(2, 8 // factor, factor, 12 // factor, factor, 3).mean((2, 4))
  np.testing.assert_allclose(area_average(jnp.asarray(even), factor), blocks, rtol=1e-5)
  for height, width in [(9, 7), (5, 5), (27, 31), (3, 2)]:
    image = rng.uniform(size=(2, height, width, 1)).astype(np.float32)
    small = np.asarray(area_average(jnp.asarray(image), factor))
    assert small.shape == (2, -(-height // factor), -(-width // factor), 1)
    expected = np.einsum("ih,jw,bhwc->bijc", overlaps(height, factor), overlaps(width, factor), image)
    np.testing.assert_allclose(small, expected, rtol=1e-5)
    np.testing.assert_allclose(small.mean((1, 2)), image.mean((1, 2)), rtol=1e-5)  # cells are equal: no light is lost


def cubic(small, size):
  """Keys' cubic convolution (a = -1/2) along the first axis, pixels at their centres, weights at the edges rescaled."""
  out = np.zeros((size, *small.shape[1:]))
  for i in range(size):
    at = (i + 0.5) * len(small) / size - 0.5
    d = np.abs(at - np.arange(len(small)))
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weight = np.where(d <= 1, near, np.where(d < 2, far, 0))
    out[i] = np.tensordot(weight / weight.sum(), small, 1)
  return out


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("size", [(8, 12), (9, 7)], ids=str)
def test_bicubic_baseline(factor, size):
  """The encoder's input and its psnr, computed with numpy."""
  pretext, batch = make("super_resolution", TINY, factor=factor), make_batch(3, *size)
  clean = batch["x"]
  rows, columns = overlaps(size[0], factor), overlaps(size[1], factor)
  expected = []
  for image in clean:
    small = np.einsum("ih,jw,hwc->ijc", rows, columns, image)
    expected.append(np.clip(cubic(cubic(small, size[0]).swapaxes(0, 1), size[1]).swapaxes(0, 1), 0, 1))
  view = pretext.transform(KEY, batch)
  np.testing.assert_allclose(view["x"], expected, atol=1e-5)
  np.testing.assert_allclose(view["target"], clean, atol=1e-6)
  params, state = pretext.init(KEY, batch)
  _, (_, metrics) = pretext.loss(params, state, KEY, view)
  assert metrics["bicubic_psnr"] == pytest.approx(-10 * np.log10(np.square(expected - clean).mean()), rel=1e-4)


def test_psnr():
  """Errors of a tenth are 20 dB; no error is as good as can be told."""
  assert losses.psnr(jnp.asarray(0.01)) == pytest.approx(20, abs=1e-4)
  assert losses.psnr(jnp.asarray(1.0)) == 0
  assert np.isfinite(losses.psnr(jnp.asarray(0.0)))


def test_a_flat_image_loses_nothing():
  pretext = make("super_resolution", TINY)
  view = pretext.transform(KEY, {"x": np.full((2, 9, 7, 3), 0.2, np.float32)})
  np.testing.assert_allclose(view["x"], 0.2, atol=1e-6)


def test_super_resolution_beats_bicubic():
  metrics = train_on(make("super_resolution", "mlp:widths=64,code=32", factor=4), toys(), 150)
  assert metrics["psnr"] > metrics["bicubic_psnr"] + 1


@pytest.mark.parametrize("activation", ["linear", "sigmoid"])
def test_residual(activation):
  """A decoder that says "nothing is missing" has the psnr of the bicubic image; any other that of what it restores."""
  pretext = make("super_resolution", TINY, residual=True, output=activation, loss="mse")
  batch = make_batch(4, 8, 9)
  params, state = pretext.init(KEY, batch)
  view = pretext.transform(KEY, batch)
  assert pretext.decode is None
  nothing = {"linear": 0.5, "sigmoid": 0.0}[activation]
  silent = jax.tree.map(jnp.zeros_like, params["decoder"])
  last = max(silent, key=lambda name: int(name.partition("_")[2]))
  silent[last]["bias"] = jnp.full_like(silent[last]["bias"], nothing)
  _, (_, metrics) = pretext.loss({**params, "decoder": silent}, state, KEY, view)
  assert metrics["psnr"] == pytest.approx(float(metrics["bicubic_psnr"]), abs=1e-3)
  shown = pretext.show({**params, "decoder": silent}, state, KEY, batch)
  np.testing.assert_allclose(shown["restored"], view["x"], atol=1e-6)
  silent[last]["bias"] = silent[last]["bias"] + 0.01 * (1 if activation == "linear" else 4)  # a sigmoid's slope is 1/4
  _, (_, metrics) = pretext.loss({**params, "decoder": silent}, state, KEY, view)
  error = np.square(np.asarray(view["x"]) + 0.02 - np.asarray(view["clean"])).mean()
  assert metrics["psnr"] == pytest.approx(-10 * np.log10(error), abs=2e-3)


def test_factor_is_checked():
  for factor in (1, 3, 8):
    with pytest.raises(UserError, match=rf"--hp=factor={factor}: must be 2 or 4"):
      build("super_resolution", TINY, {"factor": factor})


# what the autoencoders log


def test_psnr_of_a_weighted_loss_is_that_of_the_weighted_mean():
  """Emphasis (denoise, alpha and beta) does not change the unit: weights are divided by their mean."""
  batch = make_batch()
  pretext = make("denoise", TINY, noise="gaussian", alpha=5.0, beta=5.0, output="linear", loss="mse")
  params, state = pretext.init(KEY, batch)
  value, (_, metrics) = pretext.loss(params, state, KEY, pretext.transform(KEY, batch))
  assert metrics["psnr"] == pytest.approx(-10 * np.log10(value / 5), rel=1e-4)
