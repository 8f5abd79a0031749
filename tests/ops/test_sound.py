"""Spectrograms against naive ones and known values; what padding is, and that it takes no part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.ops import sound

RNG = np.random.default_rng(0)


def recordings(lengths=(400, 250, 1), t=400, seed=0):
  x = np.random.default_rng(seed).uniform(-0.9, 0.9, (len(lengths), t)).astype(np.float32)
  for row, n in zip(x, lengths, strict=True):
    row[n:] = sound.PAD
  return x


def test_the_share_of_recording_is_known_of_waveforms_and_of_their_spectrograms():
  x = recordings()
  np.testing.assert_allclose(sound.share(x), [1, 250 / 400, 1 / 400])
  spectra = sound.log_mel(x, 8000, 6, 64, 20, 60.0)
  assert spectra.shape == (3, 20, 6)
  np.testing.assert_allclose(sound.share(spectra), [1, 13 / 20, 1 / 20])  # a frame that begins in it is of it
  np.testing.assert_array_equal(np.asarray(spectra == sound.PAD).all(-1).sum(1), [0, 7, 19])
  np.testing.assert_allclose(sound.places(jnp.array([0.5, 0.3]), 5), [[1, 1, 0.5, 0, 0], [1, 0.5, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("size", [256, 200, 9])
def test_a_transform_as_product_is_that_of_numpy(size):
  x = RNG.normal(size=(2, 3, size)).astype(np.float32)
  np.testing.assert_allclose(sound._rfft_as_product(jnp.asarray(x)), np.fft.rfft(x), atol=2e-4)


def test_mel_is_slaneys():
  """Values of librosa.hz_to_mel and mel_to_hz, as its documentation prints them and its formula gives them."""
  np.testing.assert_allclose(sound.to_mel(np.array([60.0, 110.0, 220.0, 440.0])), [0.9, 1.65, 3.3, 6.6])
  np.testing.assert_allclose(
    sound.to_hertz(np.array([1.0, 2, 3, 4, 5])), [66.6666667, 133.3333333, 200, 266.6666667, 333.3333333]
  )
  np.testing.assert_allclose(sound.to_hertz(np.array(15 + 27.0)), 6400)
  hertz = RNG.uniform(0, 20_000, 50)
  np.testing.assert_allclose(sound.to_hertz(sound.to_mel(hertz)), hertz)


@pytest.mark.parametrize(("rate", "size", "bands"), [(8000, 256, 40), (22050, 2048, 128)])
def test_filters_are_triangles_between_their_neighbours_middles(rate, size, bands):
  made = sound.filters(rate, size, bands)
  edges = sound.to_hertz(np.linspace(0, sound.to_mel(np.array(rate / 2)), bands + 2))
  expected = np.zeros((size // 2 + 1, bands))
  for k in range(size // 2 + 1):
    f = k * rate / size
    for b in range(bands):
      low, middle, high = edges[b : b + 3]
      if low < f <= middle:
        expected[k, b] = (f - low) / (middle - low)
      elif middle < f < high:
        expected[k, b] = (high - f) / (high - middle)
  np.testing.assert_allclose(made, expected, atol=1e-5)
  if size == 2048:  # librosa.filters.mel(sr=22050, n_fft=2048), of unit area, begins with 0 and 0.016
    assert round(float(made[1, 0] * 2 / (edges[2] - edges[0])), 3) == 0.016


def test_the_transform_is_a_naive_one():
  x, size, hop = recordings((400,), 400), 64, 20
  made = np.asarray(sound.stft(x, size, hop))
  padded = np.concatenate([np.zeros(size // 2), x[0], np.zeros(size)])
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
  for i in range(20):
    piece = padded[i * hop : i * hop + size] * hann
    for k in range(size // 2 + 1):
      expected = sum(piece[n] * np.exp(-2j * np.pi * k * n / size) for n in range(size))
      assert abs(made[0, i, k] - expected) < 1e-4


def test_a_spectrogram_is_in_decibels_below_the_loudest_and_silence_is_0():
  rate, t = 8000, np.arange(8000) / 8000
  tone = 0.9 * np.sin(2 * np.pi * 1000 * t)
  x = np.where(t < 0.5, tone, 0.01 * tone)[None].astype(np.float32)
  made = np.asarray(sound.log_mel(x, rate, 40, 256, 80, 60.0))[0]
  centres = sound.to_hertz(np.linspace(0, sound.to_mel(np.array(4000.0)), 42))[1:-1]
  assert abs(centres[made[20].argmax()] - 1000) < 60  # the band of the tone
  assert abs(made[20].max() - 1) < 0.02
  assert made.max() == 1
  np.testing.assert_allclose(made[20].max() - made[80].max(), 40 / 60, atol=0.01)  # a hundredth is 40 dB less
  assert made[20].min() == 0
  quieter = sound.log_mel(x / 50, rate, 40, 256, 80, 60.0)
  np.testing.assert_allclose(quieter[0], made, atol=1e-4)  # loudness changes nothing
  assert np.isfinite(sound.log_mel(np.zeros((1, 800), np.float32), rate, 40, 256, 80, 60.0)).all()


def test_what_lies_behind_the_end_changes_no_frame_of_the_recording():
  short, long = recordings((250,), 250), recordings((250,), 250)
  long = np.concatenate([long, np.full((1, 150), sound.PAD, np.float32)], 1)
  a, b = (np.asarray(sound.log_mel(x, 8000, 6, 64, 20, 60.0)) for x in (short, long))
  np.testing.assert_allclose(a[0], b[0, :13], atol=1e-6)
  assert (b[0, 13:] == sound.PAD).all()


def test_gradients_of_a_spectrogram_are_finite():
  x = recordings()
  gradient = jax.grad(lambda x: sound.log_mel(x, 8000, 6, 64, 20, 60.0).sum())(x)
  assert np.isfinite(gradient).all()
