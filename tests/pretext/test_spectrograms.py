"""Methods of images on sound: what they learn from are spectrograms, and padding has no part in it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, build, jitted

from sslx.modalities import views
from sslx.ops import sound
from sslx.pretext import METHODS
from sslx.types import UserError

FRONT = "mel:bands=8,window=8+"
ENCODERS = {"mae": "vit:width=8,depth=1,heads=2", "sparse": "mlp:widths=6,code=0,activation=sigmoid"}
WITHOUT_VIEWS = ("autoencode", "denoise", "sparse", "wta", "conv_wta", "mae", "inpaint", "vae")
TWINS = [n for n, m in METHODS.items() if "sound" in m.modalities and "image" in m.modalities and not m.labels]
TWINS = [name for name in TWINS if name not in WITHOUT_VIEWS]


def waveforms(lengths=(640, 320, 160, 640), t=640, seed=0):
  x = np.random.default_rng(seed).uniform(-0.9, 0.9, (len(lengths), t)).astype(np.float32)
  for row, n in zip(x, lengths, strict=True):
    row[n:] = sound.PAD
  return x


@functools.cache
def made(method, **hp):
  return jitted(build(method, FRONT + ENCODERS.get(method, "conv:widths=4-6"), hp))


@pytest.mark.parametrize("method", WITHOUT_VIEWS)
def test_what_is_learnt_from_is_the_spectrogram_without_its_padding(method):
  """Silence and noise in the place of padding's targets give the same loss and gradients: they have no weight."""
  pretext, x = made(method), waveforms()
  params, state = pretext.init(KEY, {"x": x})
  assert "mel" not in params["encoder"]
  view = dict(pretext.transform(KEY, {"x": x}))
  spectra = np.asarray(sound.log_mel(x, 8000, 8, 64, 80, 60.0))[..., None]
  padding = spectra == sound.PAD
  assert view["x"].shape == spectra.shape
  np.testing.assert_array_equal(np.asarray(view["x"])[padding], sound.PAD)
  weight = np.broadcast_to(np.asarray(view["weight"]), spectra.shape)
  assert (weight[padding] == 0).all()
  if method not in ("denoise", "inpaint"):
    assert abs(weight.mean() - 1) < 1e-5  # the mean of a loss is a mean over what was recorded
  if "target" in view:
    other = {**view, "target": np.where(padding, 0.7, np.asarray(view["target"])).astype(np.float32)}
    gradient = jax.grad(lambda p, v: pretext.loss(p, state, KEY, v)[0])
    for a, b in zip(jax.tree.leaves(gradient(params, view)), jax.tree.leaves(gradient(params, other)), strict=True):
      np.testing.assert_allclose(a, b, atol=1e-6)
  value, (_, metrics) = pretext.loss(params, state, KEY, view)
  assert np.isfinite(value)
  assert all(np.isfinite(m).all() for m in metrics.values())
  rows = pretext.show(params, state, KEY, {"x": x})
  assert all(row.shape == spectra.shape for row in rows.values())
  assert all((np.asarray(row)[padding] == sound.PAD).all() for row in rows.values())


def test_the_loss_of_a_batch_is_that_of_its_recordings_without_the_padding():
  """Of a decoder that says 0, the mean of the squares of what was recorded."""
  pretext = made("autoencode", output="linear", loss="mse")
  params, state = pretext.init(KEY, {"x": waveforms()})
  view = pretext.transform(KEY, {"x": waveforms()})
  spectra, zeros = np.asarray(view["x"]), jax.tree.map(jnp.zeros_like, params)
  expected = (spectra[spectra != sound.PAD] ** 2).mean()
  assert float(pretext.loss(zeros, state, KEY, view)[0]) == pytest.approx(expected, rel=1e-4)


def test_hidden_patches_of_padding_are_no_targets():
  """How a masked autoencoder that sees nothing depends on its targets: not on padding, and on all else alike."""
  pretext = made("mae", norm_pixels=False)
  params, state = pretext.init(KEY, {"x": waveforms()})
  view = pretext.transform(KEY, {"x": waveforms()})
  zeros = jax.tree.map(jnp.zeros_like, params)
  gradient = jax.grad(lambda x: pretext.loss(zeros, state, KEY, {**view, "x": x})[0])(view["x"])
  padding = np.asarray(view["x"]) == sound.PAD
  assert not np.asarray(gradient)[padding].any()
  reached = np.asarray(gradient)[~padding] != 0
  assert 0.3 < reached.mean() < 1


@pytest.mark.parametrize("method", TWINS)
def test_twins_hear_two_views(method):
  pretext, x = made(method), waveforms()
  params, state = pretext.init(KEY, {"x": x})
  assert "mel" not in params["encoder"]
  view = pretext.transform(KEY, {"x": x})
  assert view["view1"].shape == (4, 8, 8, 1)
  assert not np.allclose(view["view1"], view["view2"])
  value, _ = pretext.loss(params, state, KEY, view)
  assert np.isfinite(value)


def test_of_a_waveform_encoder_views_are_waveforms():
  pretext = jitted(build("simclr", "wave:width=4,context=5"))
  view = pretext.transform(KEY, {"x": waveforms()})
  assert view["view1"].shape == (4, 640)
  params, state = pretext.init(KEY, {"x": waveforms()})
  assert np.isfinite(pretext.loss(params, state, KEY, view)[0])


def test_views_of_images_and_of_sound_are_not_mixed_up():
  with pytest.raises(UserError, match="these views are of recordings"):
    views.build("sound")(KEY, np.zeros((1, 8, 8, 1), np.float32))
  with pytest.raises(UserError, match="these views are of images"):
    views.build("digits")(KEY, np.zeros((1, 80), np.float32))


def test_supervised_learns_from_views():
  pretext = jitted(build("supervised", FRONT + "conv:widths=4-6", {"views": "sound"}, reading="time2"))
  batch = {"x": waveforms(), "y": np.array([0, 1, 2, 0])}
  view = pretext.transform(KEY, batch)
  assert view["x"].shape == (4, 8, 8, 1)
  params, state = pretext.init(KEY, batch)
  plain = jitted(build("supervised", FRONT + "conv:widths=4-6", reading="time2"))
  same = plain.init(KEY, batch)[0]
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, same)
  assert float(pretext.loss(params, state, KEY, view)[0]) == pytest.approx(np.log(3), rel=1e-5)  # the head starts at 0
