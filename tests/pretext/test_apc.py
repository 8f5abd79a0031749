"""APC: the loss against loops, copying, padding, what is shown, that it learns, refusals."""

import functools

import jax
import numpy as np
import pytest
from pretexts import KEY, apply, assert_trees, build, generic_point, heard, jitted, recordings

from sslx import nn
from sslx.ops.sound import PAD
from sslx.training import optim
from sslx.training.step import make_init, make_train_step
from sslx.types import UserError

MEL = "mel:bands=6+gru:width=6,context=5"
LENGTHS, SAMPLES, COUNTS = (1600, 900, 333), 1600, (20, 12, 5)


@functools.cache
def make(ahead=2):
  return jitted(build("apc", MEL, {"ahead": ahead}))


def make_batch(samples=SAMPLES):
  return {"x": heard(recordings(LENGTHS, samples))}


def predictions(params, batch):
  """The spectrogram [B,t,bands], and a prediction from each of its frames."""
  outputs = apply(nn.build(MEL), params["encoder"], {}, batch["x"])[0]
  (head,) = params["head"].values()
  return np.asarray(outputs["mel"])[..., 0], np.asarray(outputs["context"]) @ head["kernel"] + head["bias"]


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_the_loss_is_its_equation(ahead):
  pretext, batch = make(ahead), make_batch()
  params, state = generic_point(pretext, batch)
  spectrogram, predicted = predictions(params, batch)
  errors, copied = [], []
  for b, count in enumerate(COUNTS):
    for t in range(count - ahead):
      errors.append(np.abs(spectrogram[b, t + ahead] - predicted[b, t]).mean())
      copied.append(np.abs(spectrogram[b, t + ahead] - spectrogram[b, t]).mean())
  loss, (_, metrics) = pretext.loss(params, state, KEY, batch)
  np.testing.assert_allclose(loss, np.mean(errors), rtol=1e-5)
  np.testing.assert_allclose(metrics["copying"], np.mean(copied), rtol=1e-5)


def test_copying_is_right_where_nothing_changes_and_wrong_by_what_does():
  """A click every 80 samples gives the same frame every time; only the last ones hear that they end."""
  x = np.zeros((1, 1600), np.float32)
  x[:, 40::80] = 0.5
  loss = functools.partial(make(3).loss, *generic_point(make(3), {"x": x}), KEY)
  assert loss({"x": x})[1][1]["copying"] < 0.02
  x[:, 800:] = 0  # silence from the tenth frame on: from 1 to 0, or nearly so, over three frames
  steady = loss({"x": x})[1][1]["copying"]
  spectrogram = np.asarray(nn.build(MEL).spectrogram(x))[0, ..., 0]
  np.testing.assert_allclose(steady, np.abs(spectrogram[3:] - spectrogram[:-3]).mean(), rtol=1e-5)
  assert steady > 0.1


def test_how_much_padding_there_is_changes_nothing():
  pretext, batch = make(), make_batch()
  params, state = generic_point(pretext, batch)
  grad = jax.value_and_grad(pretext.loss, has_aux=True)
  (loss, (_, metrics)), gradient = grad(params, state, KEY, batch)
  for samples in (1653, 2400):
    (padded, (_, its)), other = grad(params, state, KEY, make_batch(samples))
    np.testing.assert_allclose(padded, loss, rtol=1e-5)
    assert_trees(its, metrics, rtol=1e-5)
    assert_trees(other, gradient, rtol=1e-3, atol=1e-6)


def test_what_is_shown_is_aligned_in_time():
  pretext, batch = make(), make_batch()
  params, state = generic_point(pretext, batch)
  shown = {title: np.asarray(rows)[..., 0] for title, rows in pretext.show(params, state, KEY, batch).items()}
  spectrogram, predicted = predictions(params, batch)
  assert list(shown) == ["original", "predicted 2 frames ahead"]
  original, late = shown.values()
  np.testing.assert_allclose(original, spectrogram, atol=1e-6)
  for b, count in enumerate(COUNTS):
    np.testing.assert_allclose(late[b, 2:count], np.clip(predicted[b, : count - 2], 0, 1), atol=1e-5)
    assert (late[b, :2] == 0).all()
    assert (late[b, count:] == PAD).all()
  weight = (spectrogram > PAD)[:, 2:]
  assert (np.abs(original - late)[:, 2:][weight] > 0).any()


def test_gliding_tones_are_predicted_better_than_by_copying():
  pretext, raw = (
    build("apc", "mel:bands=16+gru:width=16,context=16", {"ahead": 6}),
    {"x": recordings([1600, 1200] * 12, 1600)},
  )
  tx = optim.optimizer(2e-2)
  ts = make_init(pretext, tx, heard)(KEY, raw)
  rows = np.stack([np.random.default_rng(i).permutation(24)[:12] for i in range(300)]).astype(np.int32)
  _, log = make_train_step(pretext, tx, heard)(ts, raw, rows)
  assert np.mean(log["loss"][-5:]) < 0.8 * np.mean(log["copying"])


@pytest.mark.parametrize("encoder", ["wave", "conv", "gru", "mel+conv", "mel+mlp"])
def test_encoders_without_a_spectrogram_or_a_context_are_refused(encoder):
  with pytest.raises(UserError, match=r"--method=apc: .*--encoder=mel\+gru") as refused:
    build("apc", encoder)
  assert "\n" not in str(refused.value)


def test_what_is_too_far_ahead_is_refused():
  with pytest.raises(UserError, match=r"^--hp=ahead=0"):
    build("apc", MEL, {"ahead": 0})
  pretext, batch = make(20), make_batch()
  params, state = pretext.init(KEY, batch)
  with pytest.raises(UserError, match=r"^--hp=ahead=20: recordings of 1600 samples are 20 frames"):
    pretext.loss(params, state, KEY, batch)
