"""Denoising: the noise, emphasis on the pixels that it selects, and where it is drawn."""

import jax
import numpy as np
import pytest
from pretexts import KEY, TINY, make, make_batch

from sslx.types import UserError


def test_denoising_with_equal_weights_is_the_plain_loss_on_the_corrupted_input(batch, autoencoder):
  params, state = autoencoder
  denoise, plain = (
    make("denoise", TINY, decoder_widths=(6,)),
    make("autoencode", TINY),
  )  # (6,): the mirrored decoder, as in plain
  view = denoise.transform(KEY, batch)
  np.testing.assert_allclose(view["target"], batch["x"], atol=1e-6)  # clean
  assert np.abs(view["x"] - view["target"]).max() > 0.5  # the input is not
  value, _ = denoise.loss(params, state, KEY, view)
  expected, _ = plain.loss(params, state, KEY, {"x": view["x"], "target": view["target"]})
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  wrong, _ = plain.loss(params, state, KEY, {"x": view["x"]})  # the corrupted image as its own target
  assert abs(wrong - value) > 1e-3


@pytest.mark.parametrize("noise", ["masking", "salt_pepper", "gaussian"])
def test_emphasis(batch, autoencoder, noise):
  """alpha * (sum over selected pixels) + beta * (sum over the others), by the number of all pixels."""
  params, state = autoencoder
  values = {}
  for weights in ((1.0, 0.0), (0.0, 1.0), (2.0, 0.25), (1.0, 1.0)):
    pretext = make("denoise", TINY, noise=noise, level=0.3, alpha=weights[0], beta=weights[1])
    view = pretext.transform(KEY, batch)
    values[weights] = float(
      make("denoise", TINY, decoder_widths=(6,)).loss(params, state, KEY, view)[0]
    )  # the weights travel in the view
  assert values[(1.0, 1.0)] == pytest.approx(values[(1.0, 0.0)] + values[(0.0, 1.0)], rel=1e-5)
  assert values[(2.0, 0.25)] == pytest.approx(2 * values[(1.0, 0.0)] + 0.25 * values[(0.0, 1.0)], rel=1e-5)
  if noise == "gaussian":  # every pixel is selected
    assert values[(0.0, 1.0)] == 0
  else:
    assert values[(1.0, 0.0)] / values[(1.0, 1.0)] == pytest.approx(0.3, abs=0.12)


def test_emphasis_marks_the_selected_pixels(batch):
  view = jax.tree.map(
    np.asarray, make("denoise", TINY, noise="masking", level=0.4, alpha=3.0, beta=0.5).transform(KEY, batch)
  )
  assert set(np.unique(view["weight"])) == {0.5, 3.0}
  changed = view["x"] != view["target"]
  assert changed.any()
  assert (view["weight"][changed] == 3.0).all()
  np.testing.assert_array_equal(view["x"][view["weight"] == 3.0], 0)
  np.testing.assert_array_equal(view["x"][view["weight"] == 0.5], view["target"][view["weight"] == 0.5])
  white = {"x": np.ones((2, 16, 16, 1), np.float32)}
  view = jax.tree.map(np.asarray, make("denoise", TINY, noise="salt_pepper", alpha=3.0, beta=0.5).transform(KEY, white))
  kept = view["x"] == 1
  assert (view["weight"][kept] == 3.0).any()  # salt on white is selected all the same
  assert (view["weight"][kept] == 0.5).any()


def test_pictures_are_of_the_noise_that_is_trained_on(batch, autoencoder):
  """The features are the encoder's, of clean images: test_contract.py. What is shown restored is made of noisy ones."""
  params, state = autoencoder
  denoise = make("denoise", TINY, level=0.9, decoder_widths=(6,))
  noisy = {"x": denoise.transform(KEY, batch)["x"]}
  shown = denoise.show(params, state, KEY, batch)
  np.testing.assert_array_equal(shown["clean"], batch["x"])
  expected = make("autoencode", TINY).show(params, state, KEY, noisy)["reconstruction"]
  np.testing.assert_allclose(shown["restored"], expected, atol=1e-6)


@pytest.mark.parametrize(
  ("hp", "message"),
  [
    ({"level": 1.5}, r"level=1.5: must be in \[0, 1\]"),
    ({"level": -0.1}, "level=-0.1"),
    ({"level": float("nan")}, "level=nan"),
    ({"level": -1.0, "noise": "gaussian"}, "at least 0"),
  ],
)
def test_bad_level(hp, message):
  with pytest.raises(UserError, match=message):
    make("denoise", TINY, **hp)


def test_gaussian_level_may_exceed_one():
  assert make("denoise", TINY, noise="gaussian", level=1.5)


def test_psnr_of_a_weighted_loss_is_that_of_the_weighted_mean():
  """Emphasis (denoise, alpha and beta) does not change the unit: weights are divided by their mean."""
  batch = make_batch(6, 8, 6, 3)
  pretext = make("denoise", TINY, noise="gaussian", alpha=5.0, beta=5.0, output="linear", loss="mse")
  params, state = pretext.init(KEY, batch)
  value, (_, metrics) = pretext.loss(params, state, KEY, pretext.transform(KEY, batch))
  assert metrics["psnr"] == pytest.approx(-10 * np.log10(value / 5), rel=1e-4)
