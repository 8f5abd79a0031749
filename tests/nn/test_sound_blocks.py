"""Blocks that read sound against loops: strided convolutions, a recurrent context, a log-mel front; and causality."""

import jax
import numpy as np
import pytest
from pretexts import KEY, apply, heard, init, recordings

from sslx import nn
from sslx.nn.sound import FrameBlock, GruBlock, LogMel, WaveBlock
from sslx.ops.sound import PAD, filters

WAVE = "wave:width=6,context=5"
MEL = "mel:bands=6+gru:width=6,context=5"
RATE, HOP, WINDOW = 8000, 80, 256


def normal(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def generic(module, x):
  """Parameters that are moved away from zeros and ones, which hide mistakes."""
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda p: np.asarray(p) + 0.3 * rng.standard_normal(p.shape), init(module, KEY, x)[0])


def output(module, params, x):
  return np.asarray(apply(module, params, {}, x)[0])


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


# wave


@pytest.mark.parametrize(("t", "kernel", "stride"), [(20, 4, 2), (23, 10, 5), (7, 3, 3), (1, 4, 2)])
def test_wave_block_is_a_strided_convolution_that_looks_back(t, kernel, stride):
  block, x = WaveBlock(4, kernel, stride), normal(2, t, 3)
  params = generic(block, x)
  count = -(-t // stride)
  weights = params["conv"]["kernel"].reshape(kernel, 3, 4)
  expected = np.zeros((2, count, 4))
  for b in range(2):
    for i in range(count):
      for j in range(kernel):
        place = (i + 1) * stride - kernel + j  # the last one of a frame is that before the next frame's first
        if 0 <= place < t:
          expected[b, i] += x[b, place] @ weights[j]
  centred = expected - expected.mean(-1, keepdims=True)
  expected = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-12)
  expected = np.maximum(expected * params["norm"]["scale"] + params["norm"]["bias"], 0)
  np.testing.assert_allclose(output(block, params, x), expected, rtol=1e-4, atol=1e-5)


def test_wave_block_hears_silence_in_padding():
  x = heard(recordings((60, 33), 60))
  silent = np.where(np.arange(60) < np.array([[60], [33]]), x, 0)
  block = WaveBlock(4, 10, 5)
  params = generic(block, x)
  np.testing.assert_array_equal(output(block, params, x), output(block, params, silent))
  quiet = output(block, params, silent * np.float32(1e-3))  # each frame is normalised: as loud as any
  np.testing.assert_allclose(quiet, output(block, params, silent), rtol=1e-2, atol=1e-2)


# context


def test_gru_block_is_its_loop():
  block, x = GruBlock(4, depth=2), normal(2, 5, 3)
  params, before = generic(block, x), x.astype(np.float64)
  assert len(params) == 2
  for layer, cell in enumerate(params.values()):

    def dense(name, value, cell=cell):
      return value @ cell[name]["kernel"] + cell[name].get("bias", 0)

    hidden, states = np.zeros((2, 4)), []
    for i in range(5):
      seen = before[:, i]
      reset = sigmoid(dense("ir", seen) + dense("hr", hidden))
      kept = sigmoid(dense("iz", seen) + dense("hz", hidden))
      new = np.tanh(dense("in", seen) + reset * dense("hn", hidden))
      hidden = (1 - kept) * new + kept * hidden
      states.append(hidden)
    states = np.stack(states, 1)
    before = before + states if layer else states
  np.testing.assert_allclose(output(block, params, x), before, rtol=1e-4, atol=1e-5)


def test_frame_block_reads_each_frame_by_itself():
  block, x = FrameBlock(4), np.abs(normal(1, 3, 5, 1))
  params = generic(block, x)
  jacobian = np.abs(jax.jacrev(lambda x: apply(block, params, {}, x)[0])(x))[0, :, :, 0].sum((1, 3, 4))
  np.testing.assert_array_equal(jacobian > 0, np.eye(3, dtype=bool))
  padding = np.concatenate([x, np.full_like(x[:, :1], PAD), np.zeros_like(x[:, :1])], 1)
  frames = output(block, params, padding)
  np.testing.assert_array_equal(frames[:, :3], output(block, params, x))
  np.testing.assert_array_equal(frames[:, 3], frames[:, 4])  # padding sounds as silence does


# causality


@pytest.mark.parametrize(("spec", "reach"), [(WAVE, HOP), (MEL, WINDOW // 2)])
@pytest.mark.parametrize("block", [-2, -1])
def test_no_frame_knows_what_comes_after_it(spec, reach, block):
  """The Jacobian of frame i is exactly zero in all samples behind its own, and not in the last that it hears."""
  encoder, samples = nn.build(spec), 5 * HOP
  x = heard(recordings((samples,), samples))
  x = np.where(np.arange(samples) < HOP, x, x / 50)  # what a recording's loudest value is comes first: it scales all
  params, name = generic(encoder, x), encoder.block_names[block]
  jacobian = jax.jit(jax.jacrev(lambda x: apply(encoder, params, {}, x)[0][name]))(x)
  touched = np.abs(np.asarray(jacobian))[0, :, :, 0].sum(1) > 0  # [t,T]
  for i, row in enumerate(touched):
    end = i * HOP + reach
    assert not row[end:].any(), i
    assert row[end - HOP // 4 : end].any() or end > samples, i


def test_the_context_remembers_the_first_frame():
  encoder = nn.build(WAVE)
  x = heard(recordings((20 * HOP,), 20 * HOP))
  params = generic(encoder, x)
  gradient = jax.grad(lambda x: apply(encoder, params, {}, x)[0]["context"][0, -1].sum())(x)
  assert np.abs(gradient[0, :HOP]).max() > 0


# log-mel


def test_log_mel_is_its_equation():
  block, x = LogMel(RATE, 6, WINDOW, HOP, 80.0), heard(recordings((900, 333), 900))
  assert init(block, KEY, x) == ({}, {})
  spectrogram = output(block, {}, x)
  assert spectrogram.shape == (2, 12, 6, 1)
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
  for b, length in enumerate((900, 333)):
    silence = np.zeros(WINDOW)
    sound = np.concatenate([silence[: WINDOW // 2], x[b, :length], silence]).astype(np.float64)
    count = -(-length // HOP)
    power = np.stack([np.abs(np.fft.rfft(sound[i * HOP : i * HOP + WINDOW] * hann)) ** 2 for i in range(count)])
    decibels = 10 * np.log10(np.maximum(power @ filters(RATE, WINDOW, 6), 1e-10))
    expected = np.clip(1 + (decibels - decibels.max()) / 80, 0, 1)
    np.testing.assert_allclose(spectrogram[b, :count, :, 0], expected, atol=2e-4)
    assert (spectrogram[b, count:] == PAD).all()
