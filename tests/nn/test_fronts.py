"""Encoders of sound: a front that makes spectrograms, the body behind it, and readings that leave padding out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, apply, init

from sslx import nn
from sslx.modalities import MODALITIES
from sslx.ops import sound
from sslx.types import UserError

SPEC = "mel:bands=8,window=8+conv:widths=4-6"


def waveforms(lengths=(800, 500), t=800, seed=0):
  x = np.random.default_rng(seed).uniform(-0.9, 0.9, (len(lengths), t)).astype(np.float32)
  for row, n in zip(x, lengths, strict=True):
    row[n:] = sound.PAD
  return x


def test_a_front_stands_before_any_encoder_of_images_and_has_no_parameters():
  whole, x = nn.build(SPEC), waveforms()
  body, spectra = whole.body, whole.spectrogram(x)
  assert whole.block_names == ("mel", "block1", "block2")
  assert body.block_names == ("block1", "block2")
  params, stats = init(whole, KEY, x)
  assert set(params) == {"block1", "block2"}
  outputs = apply(whole, params, stats, x)[0]
  np.testing.assert_allclose(outputs["mel"], spectra, atol=1e-6)
  np.testing.assert_array_equal(spectra[..., 0], sound.log_mel(x, 8000, 8, 64, 80, 60.0))
  of_body = apply(body, params, stats, np.asarray(spectra))[0]
  np.testing.assert_allclose(of_body["block2"], outputs["block2"], atol=1e-5)
  plain = nn.build("conv")
  assert plain.body is plain
  assert plain.spectrogram(x) is x


@pytest.mark.parametrize("reading", ["flatten", "pool", "grid2", "max2", "time1", "time3", "moments", "block1:time2"])
@pytest.mark.parametrize(
  "spec", ["mel:bands=8,window=8+conv1d:widths=4-6,kernel=5", "mel:bands=8,window=8+gru", "wave"]
)
def test_padding_is_not_read(spec, reading):
  """The same recordings with more padding behind them."""
  if "conv1d" not in spec:
    reading = reading.replace("block1", nn.build(spec).block_names[-2])
  encoder, x = nn.build(spec), waveforms((640, 320), 640)
  more = np.concatenate([x, np.full((2, 640), sound.PAD, np.float32)], 1)
  params, stats = init(encoder, KEY, x)
  short, long = (encoder.read(nn.apply(encoder, params, stats, v)[0], reading, v) for v in (x, more))
  if reading == "flatten":
    assert not np.asarray(long[:, short.shape[1] :]).any()
    assert not np.asarray(short[1, -short.shape[1] // 2 :]).any()
    long = long[:, : short.shape[1]]
  np.testing.assert_allclose(long, short, atol=1e-5)


def naive_cells(x, length, n):
  """Means of [t,D] over n equal parts of its first `length` places, places in two parts by what lies in each."""
  out = []
  for i in range(n):
    low, high, total, weight = i * length / n, (i + 1) * length / n, 0.0, 0.0
    for j in range(len(x)):
      inside = max(0.0, min(j + 1, high) - max(j, low))
      total, weight = total + inside * x[j], weight + inside
    out.append(total / weight)
  return np.array(out)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_cells_divide_each_examples_own_length(n):
  x, share = np.random.default_rng(0).normal(size=(3, 10, 4)).astype(np.float32), np.array([1.0, 0.55, 0.1], np.float32)
  made = nn.read({"b": jnp.asarray(x)}, f"time{n}", (), share).reshape(3, n, 4)
  for i in range(3):
    np.testing.assert_allclose(made[i], naive_cells(x[i], share[i] * 10, n), atol=1e-5)
  grid = nn.read({"b": jnp.asarray(x)}, f"grid{n}", (), share)
  np.testing.assert_allclose(grid.reshape(made.shape), made, atol=1e-6)  # of one axis of places they are the same
  highest = nn.read({"b": jnp.asarray(x)}, "max1", (), share)
  np.testing.assert_allclose(highest, [x[0].max(0), x[1, :6].max(0), x[2, :1].max(0)])


def test_time_cells_keep_the_other_axes():
  x = np.random.default_rng(0).normal(size=(2, 6, 3, 4)).astype(np.float32)
  np.testing.assert_allclose(
    nn.read({"b": jnp.asarray(x)}, "time2"), x.reshape(2, 2, 3, 12).mean(2).reshape(2, -1), atol=1e-6
  )
  assert nn.read({"b": jnp.asarray(x)}, "grid2").shape == (2, 2 * 2 * 4)


def test_moments_of_time_are_of_the_recordings_own_length():
  x = np.zeros((2, 8, 1), np.float32)
  x[0, 7], x[1, 3] = 1, 1  # the last place of each
  x[1, 4:] = 5
  made = np.asarray(nn.read({"b": jnp.asarray(x)}, "moments", (), np.array([1.0, 0.5], np.float32)))
  np.testing.assert_allclose(made, [[1 / 8, 7 / 8], [1 / 4, 3 / 4]], atol=1e-4)


def test_an_encoder_gets_the_front_that_its_data_need():
  assert nn.suited("conv", "image") == "conv"
  assert nn.suited("conv:widths=8-8", "sound", 8000) == "mel+conv:widths=8-8"
  assert nn.suited("conv", "sound", 16000) == "mel:rate=16000+conv"
  assert nn.suited("mel:bands=20+vit", "sound", 16000) == "mel:rate=16000,bands=20+vit"
  assert nn.suited("mel:rate=16000+vit", "sound", 16000) == "mel:rate=16000+vit"
  assert nn.suited("wave", "sound", 8000) == "wave"
  assert nn.suited("wave:width=8", "sound", 16000) == "wave:rate=16000,width=8"
  with pytest.raises(UserError, match="is for 8000 samples a second, and the data has 16000; leave rate out"):
    nn.suited("mel:rate=8000+conv", "sound", 16000)


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("mal+conv", "no front is called 'mal'.*mel"),
    ("mel+cnv", "no encoder is called 'cnv'"),
    ("mel:bands=0+conv", "bands must be positive"),
    ("mel+wave", "wave reads waveforms itself; leave mel"),
    ("mel:hops=3+conv", "--encoder=mel:hops"),
  ],
)
def test_bad_fronts_are_told(spec, message):
  with pytest.raises(UserError, match=message):
    nn.build(spec)


def test_the_signal_itself_is_its_spectrogram():
  x = waveforms()
  represent = nn.Representation(nn.heard(8000), "time4", {}, {}, MODALITIES["sound"].prepare)
  spectra = np.asarray(sound.log_mel(x, 8000, 40, 256, 80, 60.0))
  made = np.asarray(represent(x)).reshape(2, 4, 40)
  np.testing.assert_allclose(made[0], naive_cells(spectra[0], 10, 4), atol=1e-5)
  np.testing.assert_allclose(made[1], naive_cells(spectra[1, :7], 7, 4), atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 22050])
def test_waves_have_a_frame_for_about_every_ten_milliseconds(rate):
  encoder = nn.build(f"wave:rate={rate},width=4,context=5")
  x = jax.ShapeDtypeStruct((1, rate), jnp.float32)
  params, stats = jax.eval_shape(lambda: nn.init(encoder, KEY, jnp.zeros(x.shape)))
  outputs = jax.eval_shape(lambda p, s, x: nn.apply(encoder, p, s, x)[0], params, stats, x)
  assert outputs["context"].shape[2] == 5
  assert 70 <= outputs["context"].shape[1] <= 140
