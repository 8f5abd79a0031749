"""Pictures of sound: a tone is where it belongs at every sample rate, padding is grey, and none is a thin strip."""

import numpy as np
import pytest

from sslx.modalities.sound import BANDS, BEHIND, SOUND
from sslx.ops import sound


def tone(hertz: float, rate: int, seconds: float, padded: float = 0.0) -> np.ndarray:
  """i16 [1,T], padding behind it."""
  wave = 20_000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
  return np.pad(wave.astype(np.int16), (0, int(padded * rate)), constant_values=sound.RAW_PAD)[None]


def brightest(image: np.ndarray) -> float:
  """How high the brightest row of an image [H,W,3] is, from 0 at the bottom to 1."""
  return 1 - (image.mean((1, 2)).argmax() + 0.5) / len(image)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("hertz", [500, 2500])
def test_a_tone_is_as_high_as_its_frequency_at_every_rate(rate, hertz):
  image = SOUND.draw(tone(hertz, rate, 0.5), rate)[0]
  expected = sound.to_mel(np.asarray(hertz)) / sound.to_mel(np.asarray(rate / 2))
  assert abs(brightest(image) - expected) < 1.5 / BANDS


def test_time_goes_to_the_right():
  first = np.concatenate([tone(1000, 8000, 0.3), tone(1000, 8000, 0.3) // 300], axis=1)
  image = SOUND.draw(first, 8000)[0].mean((0, 2))
  assert image[: len(image) // 2 - 4].min() > image[len(image) // 2 + 4 :].max()


def test_behind_the_end_is_grey_and_silence_is_not():
  silent = np.concatenate([tone(1000, 8000, 0.3), tone(1000, 8000, 0.2) * 0, tone(1000, 8000, 0, 0.5)], axis=1)
  image = SOUND.draw(silent, 8000)[0]
  grey = (image == BEHIND).all((0, 2))
  np.testing.assert_array_equal(grey, np.arange(100) >= 50)
  assert image[:, 35:50].max() < 0.1


def test_a_spectrogram_is_drawn_as_it_is():
  x = np.random.default_rng(0).uniform(0, 1, (2, 100, 40, 1)).astype(np.float32)
  x[0, 60:] = sound.PAD
  images = SOUND.picture(x, 16_000)
  assert images.shape == (2, 40, 100, 3)
  assert (images[0, :, 60:] == BEHIND).all()
  order = images[1].sum(-1).ravel().argsort()  # the brighter, the larger
  values = x[1, :, ::-1, 0].T.ravel()[order]
  assert (np.diff(values) > -1e-2).all()


@pytest.mark.parametrize(("frames", "bands"), [(1000, 40), (20, 40), (100, 128), (3, 64), (1, 1)])
def test_no_picture_is_a_strip(frames, bands):
  images = SOUND.picture(np.full((1, frames, bands, 1), 0.5, np.float32), 0)
  assert 1.4 < images.shape[2] / images.shape[1] < 4


def test_a_long_waveform_has_few_columns():
  assert SOUND.draw(tone(440, 8000, 60), 8000).shape[2] <= 200
