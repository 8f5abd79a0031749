"""Sounds of a page: their bytes decode to the samples that were given, and no page grows without end."""

import base64
import io
import json

import numpy as np
import pytest
import soundfile

from sslx.report import sounds

RATE = 8000
RNG = np.random.default_rng(0)


def decoded(uri: str) -> tuple[np.ndarray, int]:
  """(i16 [T], samples a second)."""
  head, _, data = uri.partition(",")
  assert head == "data:audio/flac;base64"
  samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="int16")
  return samples, rate


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_what_is_encoded_is_what_was_given(rate):
  samples = RNG.integers(-32767, 32768, 3000).astype(np.int16)
  back, back_rate = decoded(sounds.encoded(samples.astype(np.float32) / 32768, rate))
  np.testing.assert_array_equal(back, samples)
  assert back_rate == rate


def test_what_is_too_loud_is_cut_and_does_not_wrap():
  back, _ = decoded(sounds.encoded(np.float32([1.5, -1.5, 1, -1, 0]), RATE))
  np.testing.assert_array_equal(back, [32767, -32767, 32767, -32767, 0])


def test_a_recording_of_no_samples_is_one_of_silence():
  np.testing.assert_array_equal(decoded(sounds.encoded(np.zeros(0), RATE))[0], [0])


def rows(count: int, seconds: float, rate: int = RATE) -> dict[str, list[np.ndarray]]:
  length = int(seconds * rate)
  return {title: [RNG.uniform(-1, 1, length) for _ in range(count)] for title in ("recording", "hole <filled>")}


def test_rows_are_read_as_they_were_written(tmp_path):
  given = rows(3, 0.1)
  path = sounds.write(tmp_path / "pretext.png", "By ear.", given, RATE)
  assert path == tmp_path / "pretext.json"
  heard = sounds.read(tmp_path / "pretext.png")
  assert heard is not None
  assert heard.note == "By ear."
  assert [row.title for row in heard.rows] == list(given)
  for row, waves in zip(heard.rows, given.values(), strict=True):
    for sound, wave in zip(row.sounds, waves, strict=True):
      np.testing.assert_allclose(decoded(sound)[0] / 32768, wave, atol=1 / 32768)


def test_the_first_recordings_and_seconds_are_kept(tmp_path):
  sounds.write(tmp_path / "a.png", "", rows(9, 1.5 * sounds.SECONDS), RATE)
  heard = sounds.read(tmp_path / "a.png")
  assert heard is not None
  assert [len(row.sounds) for row in heard.rows] == [sounds.MOST] * 2
  assert {len(decoded(sound)[0]) for row in heard.rows for sound in row.sounds} == {round(sounds.SECONDS * RATE)}


def test_of_large_recordings_there_are_fewer_but_one(tmp_path):
  for rate, count in ((48_000, 1), (24_000, 3)):
    path = sounds.write(tmp_path / "a.png", "", rows(4, 4, rate), rate)
    heard = sounds.read(tmp_path / "a.png")
    assert heard is not None
    assert [len(row.sounds) for row in heard.rows] == [count] * 2
    assert path.stat().st_size < sounds.BYTES + 1000


@pytest.mark.parametrize("text", [None, "{", "[]", json.dumps({"note": "x"}), json.dumps({"note": "", "rows": [1]})])
def test_without_a_sound_file_there_is_nothing_to_hear(tmp_path, text):
  if text is not None:
    (tmp_path / "a.json").write_text(text)
  assert sounds.read(tmp_path / "a.png") is None
