"""The spoken digits that come with sslx: unchanged, complete, and split as they say."""

import hashlib

import numpy as np
import pytest

from sslx import data
from sslx.data import spoken
from sslx.data.fingerprint import fingerprint
from sslx.ops.sound import RAW_PAD
from sslx.training.config import digest_of
from sslx.types import UserError

SAMPLES = "6f643a7422de89763625dfc9aa79427e69f7a690223a5bc5752a2f56db5af465"  # of the origin's WAV files, in this order


@pytest.fixture(scope="module")
def digits():
  return data.load("spoken_digits")


def lengths(x):
  """How many samples of each row are recording. Raises AssertionError for padding that is not at the end."""
  sound = np.asarray(x) != RAW_PAD
  assert not (np.diff(sound.astype(np.int8), axis=1) > 0).any()
  return sound.sum(1)


def test_no_sample_is_changed():
  samples = spoken.read_samples()
  assert samples.dtype == np.int16
  assert hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest() == SAMPLES
  assert len(samples) == spoken.read_index().ends[-1]


def test_fifty_takes_of_each_digit_by_each_speaker():
  index = spoken.read_index()
  assert np.bincount(index.digits).tolist() == [300] * 10
  assert np.bincount(index.speakers).tolist() == [500] * 6
  assert len(set(zip(index.digits, index.speakers, index.takes, strict=True))) == 3000
  assert set(index.takes) == set(range(50))
  shortest, longest = (pick(np.diff(index.ends, prepend=0)) / 8000 for pick in (np.min, np.max))
  assert (0.14 < shortest < 0.15, 2.28 < longest < 2.29) == (True, True)


def test_the_official_split_is_the_default(digits):
  assert (digits.modality.name, digits.rate, digits.task.name) == ("sound", 8000, "classification")
  assert digits.task.names == tuple("0123456789")
  assert (digits.train.x.shape, digits.test.x.shape, digits.train.x.dtype) == ((2700, 8000), (300, 8000), np.int16)
  assert np.bincount(digits.test.y).tolist() == [30] * 10
  assert digits.train.y.dtype == np.int32


def test_rows_are_the_recordings_that_the_index_says(digits):
  index, samples = spoken.read_index(), spoken.read_samples()
  test = np.flatnonzero(index.takes < 5)
  for row in (0, 17, 299):
    start, end = index.ends[test[row]] - np.diff(index.ends, prepend=0)[test[row]], index.ends[test[row]]
    n = min(end - start, 8000)
    assert np.array_equal(digits.test.x[row, :n], np.maximum(samples[start:end], -32767)[:8000])
    assert (digits.test.x[row, n:] == RAW_PAD).all()
    assert digits.test.y[row] == index.digits[test[row]]
  all_lengths = np.concatenate([lengths(digits.train.x), lengths(digits.test.x)])
  assert (np.sort(all_lengths) == np.sort(np.minimum(np.diff(index.ends, prepend=0), 8000))).all()
  assert (np.diff(index.ends, prepend=0) > 8000).sum() == 20  # are cut


@pytest.mark.parametrize("speaker", spoken.SPEAKERS)
def test_one_speaker_is_held_out(speaker):
  held = data.load(f"spoken_digits:speaker={speaker}", seconds=0.1)
  index, samples = spoken.read_index(), spoken.read_samples()
  assert (len(held.train), len(held.test)) == (2500, 500)
  assert np.bincount(held.test.y).tolist() == [50] * 10
  starts = np.concatenate([[0], index.ends[:-1]])[index.speakers == spoken.SPEAKERS.index(speaker)]
  expected = np.stack([samples[start : start + 800] for start in starts])
  assert np.array_equal(held.test.x, np.maximum(expected, -32767))


def test_who_speaks_is_another_target(digits):
  speakers = data.load("spoken_digits", targets=["speaker"])
  assert speakers.task.names == spoken.SPEAKERS
  assert np.bincount(speakers.test.y).tolist() == [50] * 6
  assert np.array_equal(speakers.test.x, digits.test.x)
  assert np.array_equal(data.load("spoken_digits", targets=["digit"]).test.y, digits.test.y)


def test_seconds_and_sample_rate(digits):
  longer = data.load("spoken_digits", seconds=3)
  assert longer.x_shape == (24_000,)
  assert lengths(longer.train.x).max() > 17_000  # nothing is cut
  assert np.array_equal(longer.test.x[:, :8000], digits.test.x)
  double = data.load("spoken_digits", sample_rate=16_000)
  assert (double.rate, double.x_shape) == (16_000, (16_000,))
  assert np.abs(lengths(double.test.x) - 2 * lengths(digits.test.x)).max() <= 1


def test_lazy_equals_in_memory(digits):
  lazy = data.load("spoken_digits", in_memory_limit=1000)
  assert isinstance(lazy.test.x, data.LazyArray)
  assert np.array_equal(np.asarray(lazy.test.x), digits.test.x)
  assert np.array_equal(lazy.train.x[np.array([5, 2])], digits.train.x[[5, 2]])
  theo = data.load("spoken_digits:speaker=theo", in_memory_limit=1000)
  assert fingerprint(theo) != fingerprint(data.load("spoken_digits:speaker=lucas", in_memory_limit=1000))


def test_the_same_samples_at_another_rate_are_other_data(digits):
  import dataclasses

  slow = dataclasses.replace(digits, rate=4000)
  assert fingerprint(slow) != fingerprint(digits)
  assert digest_of(slow, False) != digest_of(digits, False)


@pytest.mark.parametrize(
  ("spec", "how", "message"),
  [
    ("spoken_digits:speaker=tho", {}, "no such speaker. Did you mean 'theo'?.*george, jackson"),
    ("spoken_digits:theo", {}, "expected name=value, for instance --dataset=spoken_digits:speaker="),
    ("spoken_digits:spekaer=theo", {}, "no option 'spekaer'. Did you mean 'speaker'"),
    ("spoken_digits:speaker=theo", {"targets": ["speaker"]}, "--target=speaker: .*holds a speaker out.*leave one"),
    ("spoken_digits", {"targets": ["age"]}, "--target=age: .*digit, speaker"),
    ("spoken_digits", {"targets": ["digit", "speaker"]}, "--target=digit,speaker: .*one target"),
    ("spoken_digits", {"image_size": 32}, "--image_size=32: is for images, and spoken_digits is sound"),
    ("spoken_digits", {"task": "regression"}, "--task=regression"),
  ],
)
def test_wrong_settings_are_one_line(spec, how, message):
  with pytest.raises(UserError, match=message) as error:
    data.load(spec, **how)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("how", "message"),
  [
    ({"sample_rate": 3999}, "--sample_rate=3999: must be between 4000 and 192000"),
    ({"sample_rate": 192_001}, "--sample_rate=192001"),
    ({"seconds": 0}, "--seconds=0: must be between 0.025 and 600"),
    ({"seconds": 600.1}, "--seconds=600.1"),
    ({"seconds": float("nan")}, "--seconds=nan"),
  ],
)
def test_values_out_of_range(how, message):
  with pytest.raises(UserError, match=message):
    data.load("spoken_digits", **how)


@pytest.mark.parametrize("how", [{"sample_rate": 8000}, {"seconds": 1.5}])
def test_images_have_no_rate_and_no_length(how):
  with pytest.raises(UserError, match=r"is for sound, and mnist is image"):
    data.load("mnist", **how)
