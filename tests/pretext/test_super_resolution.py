"""Super-resolution: smaller images by area, the bicubic baseline, residuals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, build, make, metrics_on_other_squares, pixels, prepared

from sslx.pretext.super_resolution import area_average
from sslx.types import UserError

TINY = "mlp:widths=6,code=4"


def make_batch(n=6, height=8, width=6, channels=3, seed=0):
  return {"x": prepared(pixels(n, height, width, channels, seed))}


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


def test_a_flat_image_loses_nothing():
  pretext = make("super_resolution", TINY)
  view = pretext.transform(KEY, {"x": np.full((2, 9, 7, 3), 0.2, np.float32)})
  np.testing.assert_allclose(view["x"], 0.2, atol=1e-6)


def test_super_resolution_beats_bicubic():
  metrics = metrics_on_other_squares(make("super_resolution", "mlp:widths=64,code=32", factor=4), 150)
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
