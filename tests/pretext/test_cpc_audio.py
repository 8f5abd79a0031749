"""CPC of sound: frames and padding, which negatives are drawn, the loss against loops, where gradients go, refusals."""

import functools

import flax.linen as linen
import jax
import numpy as np
import pytest
from pretexts import KEY, apply, assert_trees, build, generic_point, heard, jitted, recordings

import sslx
from sslx import nn
from sslx.nn.sound import WaveBlock
from sslx.ops.sound import share
from sslx.pretext.cpc_audio import cpc_audio, draw, later, picked
from sslx.pretext.families import frames
from sslx.training import optim
from sslx.training.step import make_init, make_train_step
from sslx.types import UserError

WAVE = "wave:width=6,context=5"
MEL = "mel:bands=6+gru:width=6,context=5"
LENGTHS, SAMPLES = (1600, 900, 333), 1600
COUNTS = {WAVE: (20, 11, 4), MEL: (20, 12, 5)}  # frames that are recording: as a whole, or their middle
KINDS = ("all", "same", "others")
SMALL = {"ahead": 3, "candidates": 7}


@functools.cache
def make(encoder=WAVE, **hp):
  return jitted(build("cpc_audio", encoder, {**SMALL, **hp}))


def make_batch(lengths=LENGTHS, samples=SAMPLES, seed=0):
  return {"x": heard(recordings(lengths, samples, seed))}


def outputs(encoder, params, batch):
  """z [B,t,D] and c [B,t,C]."""
  blocks = apply(nn.build(encoder), params["encoder"], {}, batch["x"])[0]
  z, c = (np.asarray(blocks[name]) for name in nn.build(encoder).block_names[-2:])
  return z, c


def recorded_of(encoder, batch):
  x = batch["x"]
  t = jax.eval_shape(lambda: nn.build(encoder).init_with_output(KEY, x)[0]["context"]).shape[1]
  return np.asarray(frames.recorded(nn.build(encoder), x, t))


# frames


@pytest.mark.parametrize("encoder", [WAVE, MEL])
@pytest.mark.parametrize("samples", [1600, 1601, 1679, 1680, 2400])
def test_frames_are_those_of_the_encoder_that_are_recording(encoder, samples):
  batch = make_batch(samples=samples)
  recorded = recorded_of(encoder, batch)
  assert recorded.shape == outputs(encoder, make(encoder).init(KEY, batch)[0], batch)[0].shape[:2]
  for row, count in zip(recorded, COUNTS[encoder], strict=True):
    np.testing.assert_array_equal(row, np.arange(len(row)) < count)


def test_later_looks_ahead_and_sees_nothing_beyond_the_end():
  x = np.arange(1, 7).reshape(1, 6)
  np.testing.assert_array_equal(later(x, 2)[0], [[2, 3], [3, 4], [4, 5], [5, 6], [6, 0], [0, 0]])


# negatives


def test_negatives_are_drawn_of_all_frames_of_other_recordings():
  recorded = recorded_of(WAVE, make_batch())
  b, t = recorded.shape
  drawn = np.asarray(draw(KEY, recorded, 3000))
  assert drawn.shape == (b, 3000)
  for i in range(b):
    others = recorded & (np.arange(b) != i)[:, None]
    frequency = np.bincount(drawn[i], minlength=b * t).reshape(b, t)
    np.testing.assert_array_equal(frequency > 0, others)
    expected = 3000 / others.sum()
    assert np.abs(frequency[others] - expected).max() < 5 * np.sqrt(expected)
  assert np.any(drawn[0][:, None] != drawn[1])
  assert np.any(drawn != draw(jax.random.key(1), recorded, 3000))


def test_what_is_drawn_does_not_depend_on_padding():
  short, long = (recorded_of(WAVE, make_batch(samples=samples)) for samples in (1600, 2777))
  a, b = (np.asarray(draw(KEY, recorded, 50)) for recorded in (short, long))
  np.testing.assert_array_equal(np.divmod(a, short.shape[1]), np.divmod(b, long.shape[1]))


@pytest.mark.parametrize("lengths", [(1600,), (1600, 100), (100, 100)])
def test_recordings_without_others_or_without_a_next_frame(lengths):
  """Nothing is drawn out of bounds, and what is not there is not asked for."""
  batch = make_batch(lengths)
  for kind in KINDS:
    pretext = make(negatives=kind)
    params, state = generic_point(pretext, batch)
    (loss, (_, metrics)), gradient = jax.value_and_grad(pretext.loss, has_aux=True)(params, state, KEY, batch)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((gradient, metrics)))
    if 1600 not in lengths or (kind == "others" and len(lengths) == 1):
      assert loss == pytest.approx(0, abs=1e-6)  # no step, or no choice
    else:
      assert loss > 0.1


class Still(linen.Module):
  """A context that no gradient goes through."""

  @linen.compact
  def __call__(self, x, train=False):
    return jax.lax.stop_gradient(linen.Dense(5)(x))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_negatives_that_are_meant_and_no_others(kind):
  """Two recordings, of which the second has a single frame and so asks for none. Frames do not overlap, and the context
  passes no gradient on, so that samples matter as candidates alone.
  """
  blocks = (("conv1", functools.partial(WaveBlock, 6, 80, 80)), ("context", Still))
  encoder = nn.Encoder(blocks, any_size=True, axes=1, share=share)
  pretext = cpc_audio(encoder, ahead=2, negatives=kind, candidates=4)
  batch = make_batch((1600, 120))
  params, state = generic_point(pretext, batch)
  gradient = jax.jit(jax.grad(lambda x: pretext.loss(params, state, KEY, {"x": x})[0]))(batch["x"])
  reached = (np.asarray(gradient).reshape(2, 20, 80) != 0).any(-1)
  assert reached[0, 1:].all()  # what is to be told
  assert reached[0, 0] == (kind != "others")  # nothing comes before it: it is no true frame, only a negative
  assert reached[1, 0] == (kind != "same")
  assert not reached[1, 1:].any()  # not a frame as a whole, and padding


# loss


def naive(z, c, weights, counts, drawn, kind, ahead):
  """(loss, accuracies by step, chance), written as loops over everything."""
  losses, rights, chances = [], [], []
  for k in range(1, ahead + 1):
    terms, right, chance = [], [], []
    for b, n in enumerate(counts):
      for t in range(n - k):
        guess = c[b, t] @ weights[:, k - 1]
        mine = guess @ z[b, t + k]
        same = [guess @ z[b, j] for j in range(n) if j != t + k]
        others = [guess @ z.reshape(-1, z.shape[-1])[j] for j in drawn[b]]
        wrong = np.array({"all": same + others, "same": same, "others": others}[kind])
        terms.append(np.log(np.exp(mine) + np.exp(wrong).sum()) - mine)
        right.append(mine > wrong.max())
        chance.append(1 / (1 + len(wrong)))
    losses.append(np.mean(terms))
    rights.append(np.mean(right))
    chances.append(np.mean(chance))
  return np.mean(losses), rights, np.mean(chances)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoder", [WAVE, MEL])
def test_the_loss_is_its_equation(kind, encoder):
  pretext, batch = make(encoder, negatives=kind), make_batch()
  params, state = generic_point(pretext, batch)
  z, c = outputs(encoder, params, batch)
  (kernel,) = jax.tree.leaves(params["steps"])
  weights = np.asarray(kernel).reshape(c.shape[-1], 3, z.shape[-1])
  drawn = np.asarray(draw(KEY, recorded_of(encoder, batch), 7))
  expected, rights, chance = naive(z, c, weights, COUNTS[encoder], drawn, kind, 3)
  loss, (_, metrics) = pretext.loss(params, state, KEY, batch)
  np.testing.assert_allclose(loss, expected, rtol=1e-4)
  for k in range(3):
    np.testing.assert_allclose(metrics[f"accuracy_{k + 1}"], rights[k], atol=1e-6)
  np.testing.assert_allclose(metrics["accuracy"], np.mean(rights), atol=1e-6)
  np.testing.assert_allclose(metrics["chance"], chance, rtol=1e-5)
  assert set(metrics) == {"accuracy", "chance", "accuracy_1", "accuracy_2", "accuracy_3"}


@pytest.mark.parametrize("encoder", [WAVE, MEL])
def test_the_first_loss_is_the_log_of_the_number_of_candidates(encoder):
  batch, counts = make_batch(), np.array(COUNTS[encoder])
  expected = {"others": np.full(3, 8), "same": counts, "all": counts + 7}
  for kind, candidates in expected.items():
    pretext = make(encoder, negatives=kind)
    loss, (_, metrics) = pretext.loss(*pretext.init(KEY, batch), KEY, batch)
    asked = [np.maximum(counts - k, 0) for k in (1, 2, 3)]
    np.testing.assert_allclose(loss, np.mean([np.average(np.log(candidates), weights=n) for n in asked]), rtol=1e-5)
    chance = np.mean([np.average(1 / candidates, weights=n) for n in asked])
    np.testing.assert_allclose([metrics["chance"], metrics["accuracy"]], chance, rtol=1e-4)


def test_picked_is_cross_entropy_and_shares_what_is_equal():
  true, wrong = np.float32([1, 2, 3, 80]), np.float32([[1, 1], [3, 0], [-np.inf, -np.inf], [-80, 79]])
  loss, right = picked(true, wrong)
  every = np.exp(np.column_stack([true, wrong]).astype(np.float64))
  np.testing.assert_allclose(loss, -np.log(every[:, 0] / every.sum(1)), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(right, [1 / 3, 0, 1, 1], rtol=1e-6)


def test_steps_that_no_recording_is_long_enough_for_are_left_out():
  batch = make_batch((400, 240, 170))  # 5, 3 and 2 frames
  far, near = make(ahead=9), make(ahead=4)
  for pretext in (far, near):
    loss, (_, metrics) = pretext.loss(*pretext.init(KEY, batch), KEY, batch)
    asked = [np.maximum(np.array([5, 3, 2]) - k, 0) for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(loss, np.mean([np.average(np.log([12, 10, 9]), weights=n) for n in asked]), rtol=1e-5)
    assert float(metrics["accuracy_4"]) > 0
  assert float(metrics["accuracy"]) == pytest.approx(np.mean([metrics[f"accuracy_{k}"] for k in (1, 2, 3, 4)]))


# padding


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoder", [WAVE, MEL])
def test_how_much_padding_there_is_changes_nothing(kind, encoder):
  """The same recordings with more of it: the same loss, metrics and gradient."""
  pretext, batch = make(encoder, negatives=kind), make_batch()
  params, state = generic_point(pretext, batch)
  grad = jax.value_and_grad(pretext.loss, has_aux=True)
  (loss, (_, metrics)), gradient = grad(params, state, KEY, batch)
  for samples in (1653, 2400):
    (padded, (_, its)), other = grad(params, state, KEY, make_batch(samples=samples))
    np.testing.assert_allclose(padded, loss, rtol=1e-5)
    assert_trees(its, metrics, rtol=1e-5)
    assert_trees(other, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("encoder", [WAVE, MEL])
def test_features_leave_padding_out(encoder):
  batch = make_batch()
  params, _ = generic_point(make(encoder), batch)

  def features(samples, reading):
    x = recordings(LENGTHS, samples)
    return nn.Representation(nn.build(encoder), reading, params["encoder"], {}, heard)(x)

  for reading in ("context:time1", "context:time3"):
    np.testing.assert_allclose(features(2400, reading), features(1600, reading), rtol=1e-4, atol=1e-5)


# learning and refusals


@pytest.mark.parametrize("encoder", ["wave:width=16,context=16", "mel:bands=16+gru:width=16,context=16"])
def test_gliding_tones_are_told_better_than_by_chance(encoder):
  pretext, raw = build("cpc_audio", encoder, {**SMALL, "candidates": 30}), {"x": recordings([1600, 1200] * 12, 1600)}
  tx = optim.optimizer(1e-2)
  ts = make_init(pretext, tx, heard)(KEY, raw)
  rows = np.stack([np.random.default_rng(i).permutation(24)[:12] for i in range(60)]).astype(np.int32)
  _, log = make_train_step(pretext, tx, heard)(ts, raw, rows)
  assert np.mean(log["loss"][-5:]) < log["loss"][0] - 0.5
  assert np.mean(log["accuracy_1"][-5:]) > 4 * log["chance"][0]


@pytest.mark.parametrize("encoder", ["conv", "mlp", "gru", "mel+conv", "mel+mlp"])
def test_encoders_without_a_context_are_refused(encoder):
  with pytest.raises(UserError, match=r"--method=cpc_audio: .*--encoder=mel\+gru or wave") as refused:
    build("cpc_audio", encoder)
  assert "\n" not in str(refused.value)


def test_images_are_refused(toy):
  with pytest.raises(UserError, match=r"^method=cpc_audio: takes sound data, and this data set is image\."):
    sslx.pretrain("cpc_audio", toy, progress=False)


def test_batch_normalisation_is_refused():
  with pytest.raises(UserError, match="--method=cpc_audio: batch normalisation"):
    frames.check("cpc_audio", nn.build(WAVE).clone(batch_norm=True), waves=True)


@pytest.mark.parametrize("name", ["ahead", "candidates"])
def test_sizes_below_one_are_refused(name):
  with pytest.raises(UserError, match=f"^--hp={name}=0"):
    build("cpc_audio", WAVE, {name: 0})


def test_recordings_of_one_frame_are_refused():
  pretext, batch = make(), make_batch((80, 80), 80)
  params, state = pretext.init(KEY, batch)
  with pytest.raises(UserError, match=r"--method=cpc_audio: recordings of 80 samples are one frame"):
    pretext.loss(params, state, KEY, batch)
