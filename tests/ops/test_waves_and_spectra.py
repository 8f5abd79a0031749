"""Random changes of waveforms and of spectrograms: identities, known effects, and padding that stays padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.ops import sound, spectra, waves

KEY, RATE = jax.random.key(3), 8000
WAVES = {"gain": 0.0, "noise": 0.0, "speed": 0.0, "crop": 1.0, "shift": 0.0}  # operation -> where it does nothing
SPECTRA = {"mask_frames": 0, "mask_bands": 0, "warp_bands": 0.0, "warp_frames": 0.0, "equalise": 0.0}
STRONG = {
  "gain": 12.0, "noise": 1.0, "speed": 0.5, "crop": 0.3, "shift": 0.5,
  "mask_frames": 5, "mask_bands": 3, "warp_bands": 0.3, "warp_frames": 0.7, "equalise": 0.3,
}  # fmt: skip


def waveforms(lengths=(800, 500, 33)):
  x = np.random.default_rng(0).uniform(-0.9, 0.9, (len(lengths), 800)).astype(np.float32)
  for row, n in zip(x, lengths, strict=True):
    row[n:] = sound.PAD
  return x


def spectrograms(lengths=(20, 13, 2, 20, 20)):
  x = np.random.default_rng(1).uniform(0.1, 0.9, (len(lengths), 20, 8, 1)).astype(np.float32)
  for row, n in zip(x, lengths, strict=True):
    row[n:] = sound.PAD
  return x


OPERATIONS = [(waves, name, waveforms, off) for name, off in WAVES.items()]
OPERATIONS += [(spectra, name, spectrograms, off) for name, off in SPECTRA.items()]


@pytest.mark.parametrize(("module", "name", "make", "off"), OPERATIONS, ids=[o[1] for o in OPERATIONS])
def test_an_operation_keeps_its_contract(module, name, make, off):
  """At strength 0 the input, jitted; else the same shape, another one for each example, padding behind it only."""
  operation, x = getattr(module, name), make()
  same = jax.jit(functools.partial(operation, **{}), static_argnums=2)(KEY, x, off)
  np.testing.assert_allclose(same, x, atol=1e-5)
  y = np.asarray(operation(KEY, x, STRONG[name]))
  assert y.shape == x.shape
  assert y.dtype == np.float32
  assert not np.allclose(y, x)
  is_sound = np.asarray(sound.is_sound(y))
  assert is_sound[:, 0].all()
  assert (np.diff(is_sound.astype(int), axis=1) <= 0).all()  # none behind the first padding
  assert y.max() <= 1
  assert (y >= sound.PAD).all()
  if name not in ("speed", "crop", "shift"):  # which change its length
    np.testing.assert_array_equal(is_sound, sound.is_sound(x))
  twice = np.repeat(x[:1], 4, 0)
  changed = np.asarray(operation(KEY, twice, STRONG[name]))
  assert len({row.tobytes() for row in changed}) > 1
  np.testing.assert_array_equal(operation(KEY, twice, STRONG[name]), changed)


def tone(hertz, n=800):
  return np.sin(2 * np.pi * hertz * np.arange(n) / RATE).astype(np.float32)[None] * 0.5


def frequency(x, n):
  return np.abs(np.fft.rfft(np.asarray(x)[:n] * np.hanning(n), 8 * n)).argmax() * RATE / (8 * n)


def test_faster_is_higher_and_shorter():
  x = np.repeat(tone(400, 600), 20, 0)
  x = np.concatenate([x, np.full((20, 400), sound.PAD, np.float32)], 1)
  y = waves.speed(KEY, x, 0.5)
  lengths = np.asarray(sound.is_sound(y).sum(1))
  factors = 600 / lengths
  assert 0.64 < factors.min() < 0.8
  assert 1.25 < factors.max() < 1.53
  for row, n, factor in zip(np.asarray(y), lengths, factors, strict=True):
    assert abs(frequency(row, n) / (400 * factor) - 1) < 0.02


def test_played_reads_between_samples():
  x = jnp.array([[0.0, 0.1, 0.2, 0.3, sound.PAD]])
  made = waves.played(x, jnp.array([0.5]), jnp.array([1.0]), jnp.array([3.0]))
  np.testing.assert_allclose(made, [[0.05, 0.15, 0.25, sound.PAD, sound.PAD]], atol=1e-6)


def test_a_crop_is_a_stretch_of_the_recording_and_a_shift_has_silence_in_front():
  x = waveforms((800, 500, 33))
  y = np.asarray(waves.crop(KEY, x, 0.3))
  for before, after, n in zip(x, y, (800, 500, 33), strict=True):
    length = int(sound.is_sound(after[None]).sum())
    assert np.ceil(0.3 * n) <= length <= n
    start = next(i for i in range(n) if np.isclose(before[i], after[0], atol=1e-6))
    np.testing.assert_allclose(after[:length], before[start : start + length], atol=1e-6)
    assert start + length <= n
  y = np.asarray(waves.shift(KEY, x, 0.5))
  for before, after, n in zip(x[1:], y[1:], (500, 33), strict=True):
    delay = int((after != 0).argmax())
    assert delay <= 0.5 * n
    np.testing.assert_allclose(after[delay : delay + n], before[:n], atol=1e-6)


def test_noise_and_gain_are_as_loud_as_they_say():
  x = np.repeat(tone(400), 200, 0)
  added = np.asarray(waves.noise(KEY, x, 0.3)) - x
  level = added.std(1) / x.std(1)
  assert 0.27 < level.max() <= 0.33
  assert 0.0027 < level.min() < 0.0035
  assert abs(np.log10(level).mean() - np.log10(0.03)) < 0.1
  factor = np.asarray(waves.gain(KEY, x, 6.0)).std(1) / x.std(1)
  assert 0.5 < factor.min() < 0.55
  assert 1.8 < factor.max() < 2.0


def test_masks_are_as_wide_as_they_say_and_lie_in_the_recording():
  x = np.full((500, 20, 8, 1), 0.5, np.float32)
  x[:, 12:] = sound.PAD
  hidden = np.asarray(spectra.mask_frames(KEY, x, 5) == 0)[..., 0]
  np.testing.assert_array_equal(hidden.any(2), hidden.all(2))
  assert set(hidden[:, :, 0].sum(1)) == {0, 1, 2, 3, 4, 5}
  assert not hidden[:, 12:].any()
  assert hidden[:, 0, 0].any()
  assert hidden[:, 11, 0].any()
  hidden = np.asarray(spectra.mask_bands(KEY, x, 3) == 0)[:, :12, :, 0]
  np.testing.assert_array_equal(hidden.any(1), hidden.all(1))
  assert set(hidden[:, 0].sum(1)) == {0, 1, 2, 3}
  hidden = np.asarray(spectra.mask_frames(KEY, x, 50) == 0)[:, :12, 0, 0]
  assert hidden.sum(1).max() == 6  # no more than half, however wide


def test_warps_move_what_they_say():
  x = np.zeros((100, 20, 8, 1), np.float32) + 0.1
  x[:, :, 4] = 0.9
  moved = np.asarray(spectra.warp_bands(KEY, x, 0.3))[:, 5, :, 0]
  centre = ((moved - 0.1) * np.arange(8)).sum(1) / (moved - 0.1).sum(1)
  assert 4.5 / 1.3 - 1 < centre.min() < 3.6
  assert 4.4 < centre.max() < 4.5 * 1.3
  x = np.broadcast_to(np.linspace(0, 0.95, 20, dtype=np.float32)[None, :, None, None], (50, 20, 8, 1)).copy()
  y = np.asarray(spectra.warp_frames(KEY, x, 0.7))[:, :, 0, 0]
  assert (np.diff(y, axis=1) > 0).all()  # time runs forwards
  np.testing.assert_allclose(y[:, 0], 0, atol=1e-5)  # from the first frame to the last
  np.testing.assert_allclose(y[:, -1], 0.95, atol=1e-5)
  assert np.abs(y - x[:, :, 0, 0]).max() > 0.2


def test_an_equaliser_adds_one_curve_to_all_frames_but_to_silence():
  x = spectrograms((20,))
  x[0, 3, 2] = 0
  change = np.asarray(spectra.equalise(KEY, x, 0.02))[0, ..., 0] - x[0, ..., 0]
  assert change[3, 2] == 0
  rest = np.delete(change, 3, 0)
  np.testing.assert_allclose(rest, np.broadcast_to(rest[:1], rest.shape), atol=1e-6)
  assert rest[0].std() > 0
