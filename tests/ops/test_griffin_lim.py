"""Spectrograms to waveforms: transforms undo each other, phases converge, a tone keeps its pitch, padding its place."""

import jax.numpy as jnp
import numpy as np
import pytest

from sslx import nn
from sslx.ops import sound

RATE, SIZE, HOP, BANDS, DEPTH = 8000, 256, 80, 40, 80.0
RNG = np.random.default_rng(0)


def vowel(pitch: float, length: int = 4000) -> np.ndarray:
  """f32 [length]: harmonics that fade, of a pitch that glides, with a little noise."""
  phase = 2 * np.pi * np.cumsum(pitch * np.linspace(1, 1.3, length)) / RATE
  wave = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.hanning(length) + 1e-3 * RNG.normal(size=length)
  return (0.9 * wave / np.abs(wave).max()).astype(np.float32)


def log_mel(x: np.ndarray) -> np.ndarray:
  return np.array(sound.log_mel(jnp.asarray(x), RATE, BANDS, SIZE, HOP, DEPTH))


def inverse(x: np.ndarray, **settings) -> np.ndarray:
  return np.asarray(sound.griffin_lim(jnp.asarray(x), RATE, SIZE, HOP, DEPTH, **settings))


@pytest.mark.parametrize(("size", "hop"), [(256, 80), (256, 64), (512, 100)])
def test_istft_undoes_stft(size, hop):
  x = RNG.uniform(-1, 1, (2, 2000)).astype(np.float32)
  back = np.asarray(sound.istft(sound.stft(jnp.asarray(x), size, hop), size, hop, 2000))
  np.testing.assert_allclose(back, x, atol=1e-4)


def test_the_spectrum_of_bands_gives_these_bands_and_is_not_negative():
  bands = jnp.asarray(RNG.gamma(0.3, 1, (7, SIZE // 2 + 1)).astype(np.float32)) @ sound.filters(RATE, SIZE, BANDS)
  spectrum = sound.spectrum_of_mel(bands, RATE, SIZE, rounds=2000)
  assert (np.asarray(spectrum) >= 0).all()
  np.testing.assert_allclose(spectrum @ sound.filters(RATE, SIZE, BANDS), bands, rtol=0.05, atol=1e-5)


def test_bands_without_a_frequency_of_their_own_do_no_harm():
  bands = sound.filters(RATE, 64, BANDS)
  assert (bands.sum(0) == 0).any()
  assert np.isfinite(np.asarray(sound.spectrum_of_mel(jnp.ones((2, BANDS)), RATE, 64))).all()


@pytest.mark.parametrize("hertz", [300, 1000, 2200])
def test_a_tone_keeps_its_frequency(hertz):
  x = 0.5 * np.sin(2 * np.pi * hertz * np.arange(4000) / RATE).astype(np.float32)[None]
  wave = inverse(log_mel(x))[0]
  spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
  loudest = np.fft.rfftfreq(len(wave), 1 / RATE)[spectrum.argmax()]
  edges = sound.to_hertz(np.linspace(0, sound.to_mel(np.asarray(RATE / 2)), BANDS + 2))
  assert abs(loudest - hertz) < np.diff(edges)[np.searchsorted(edges, hertz) - 1]  # no more than a band


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_the_spectral_convergence_error_falls(momentum):
  """Of the magnitudes that are asked for, how much the waveform's differ: the measure of Griffin and Lim."""
  x = np.stack([vowel(120), vowel(200)])
  asked = sound.spectrum_of_mel(jnp.asarray(10 ** ((log_mel(x) - 1) * DEPTH / 10)), RATE, SIZE) ** 0.5

  def error(rounds: int) -> float:
    wave = inverse(log_mel(x), rounds=rounds, momentum=momentum)
    got = np.abs(np.asarray(sound.stft(jnp.asarray(wave), SIZE, HOP)))
    scale = (got * asked).sum((1, 2), keepdims=True) / (got * got).sum((1, 2), keepdims=True)
    return float(np.linalg.norm(scale * got - asked) / np.linalg.norm(asked))

  errors = [error(rounds) for rounds in (0, 5, 60)]
  assert errors[0] > 1.3 * errors[1] > 1.3 * 1.3 * errors[2]
  assert errors[2] < 0.25


def test_there_and_back_the_spectrogram_is_the_same():
  x = np.stack([vowel(110), vowel(180)])
  spectrogram = log_mel(x)
  error = DEPTH * np.abs(log_mel(inverse(spectrogram)) - spectrogram)
  assert error.mean() < 1.5  # decibels
  assert DEPTH * np.abs(log_mel(RNG.permuted(x, axis=1)) - spectrogram).mean() > 10


def test_padding_stays_where_it_is_and_silence_is_silent():
  x = np.stack([vowel(110), vowel(180)])
  x[0, 2000:] = sound.PAD
  spectrogram = log_mel(x)
  spectrogram[1, 25:] = 0
  wave = inverse(spectrogram)
  assert wave.shape == (2, 4000)
  np.testing.assert_array_equal(wave[0] == sound.PAD, np.arange(4000) >= 2000)
  assert (wave[1] > sound.PAD).all()
  assert np.abs(wave[1, 25 * HOP + SIZE :]).max() < 1e-3
  np.testing.assert_allclose(np.abs(np.where(wave > sound.PAD, wave, 0)).max(1), sound.LOUDEST, rtol=1e-5)


def test_all_of_it_padding_or_silent_is_no_number_that_is_not_finite():
  assert (inverse(np.full((1, 10, BANDS), sound.PAD, np.float32)) == sound.PAD).all()
  assert (inverse(np.zeros((1, 10, BANDS), np.float32)) == 0).all()


def test_an_encoder_makes_a_waveform_of_what_its_front_made():
  x = jnp.asarray(vowel(150)[None])
  encoder = nn.build("mel:bands=32,hop=8+conv")
  spectrogram = encoder.spectrogram(x)
  wave = encoder.waveform(spectrogram)
  assert wave.shape == (1, 63 * 64)
  assert 60 * float(jnp.abs(encoder.spectrogram(wave)[:, :63] - spectrogram).mean()) < 1.5
  assert encoder.waveform(x) is x
  assert nn.build("conv").waveform(x) is x
