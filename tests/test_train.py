"""The one loop: same run whatever it is cut into, whatever the data come from; bad losses and interrupts end it well."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sslx import nn
from sslx.data import LazyImages
from sslx.pretext import build
from sslx.training import loop as train
from sslx.training import optim
from sslx.types import Pretext, UserError

STEPS, BATCH = 12, 32


@pytest.fixture(scope="module")
def setup(toy):
  """A step and a fresh state of a stochastic method on the toy images."""
  pretext = build("denoise", nn.build("conv:widths=4-6,norm=batch"), "flatten", 3, {})
  tx = optim.optimizer(optim.cosine(1e-3, STEPS))
  init = train.make_init(pretext, tx)
  return train.make_train_step(pretext, tx), lambda: init(jax.random.key(0), {"image": toy.train.images[:1]})


def numbers(ts):
  return [np.asarray(leaf) for leaf in jax.tree.leaves(ts._replace(key=jax.random.key_data(ts.key)))]


def assert_identical(a, b):
  for x, y in zip(numbers(a), numbers(b), strict=True):
    np.testing.assert_array_equal(x, y)


def fit(setup, data, ts=None, steps=STEPS, **kwargs):
  step, fresh = setup
  return train.fit(ts or fresh(), step, data, steps=steps, batch_size=BATCH, seed=3, **kwargs)


def test_a_run_in_two_parts_is_the_same_run(setup, toy):
  data = {"image": toy.train.images}
  whole = fit(setup, data)
  for cut in (1, 7, 8):  # 7 = 240 // 32 is the end of the first epoch
    assert_identical(whole, fit(setup, data, fit(setup, data, steps=cut)))


def test_streaming_equals_memory(setup, toy):
  lazy = LazyImages(toy.train.images.shape, lambda rows: toy.train.images[rows])
  memory, streamed = fit(setup, {"image": toy.train.images}), fit(setup, {"image": lazy})
  assert_identical(memory, streamed)


@pytest.mark.parametrize(("at_once", "log_every"), [(4, 4), (5, 3), (12, 50)])
def test_steps_in_one_call_are_the_same_steps(setup, toy, at_once, log_every):
  data = {"image": toy.train.images}
  single, several = [], []
  one_by_one = fit(setup, data, log=single.append, log_every=log_every, steps_per_call=1)
  together = fit(setup, data, log=several.append, log_every=log_every, steps_per_call=at_once)
  for x, y in zip(numbers(one_by_one), numbers(together), strict=True):
    np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5)  # compiled apart: equal but for rounding
  assert [row["step"] for row in single] == [row["step"] for row in several]
  np.testing.assert_allclose([r["loss"] for r in single], [r["loss"] for r in several], rtol=1e-4)


def test_steps_in_one_call_go_on_where_a_run_was_cut(setup, toy):
  data = {"image": toy.train.images}
  calls = []

  def counting(ts, source, indices):
    calls.append(np.shape(indices))
    return setup[0](ts, source, indices)

  ts = train.fit(setup[1](), counting, data, steps=3, batch_size=BATCH, seed=3, log_every=4, steps_per_call=4)
  train.fit(ts, counting, data, steps=STEPS, batch_size=BATCH, seed=3, log_every=4, steps_per_call=4)
  assert calls == [(3, BATCH), (1, BATCH), (4, BATCH), (4, BATCH)]


def test_log_rows_cover_every_step_once(setup, toy):
  rows, saved = [], []
  fit(setup, {"image": toy.train.images}, log=rows.append, log_every=5, save=lambda ts: saved.append(int(ts.step)))
  assert [row["step"] for row in rows] == [5, 10, 12]
  assert all(np.isfinite(row["loss"]) and row["images_per_second"] > 0 for row in rows)
  assert saved == [12]


def test_a_finished_run_is_left_alone(setup, toy):
  done = fit(setup, {"image": toy.train.images})
  before = numbers(done)
  saved = []
  after = fit(setup, {"image": toy.train.images}, done, save=saved.append)
  assert saved == []
  for x, y in zip(before, numbers(after), strict=True):
    np.testing.assert_array_equal(x, y)


def test_small_sets_shrink_the_batch(setup, toy):
  few = fit(setup, {"image": toy.train.images[:10]}, steps=2)
  assert int(few.step) == 2


def test_a_loss_that_is_not_finite_stops_without_a_save(toy):
  def loss(params, state, key, view):
    return jnp.where(state["n"] >= 6, jnp.nan, 1.0) * params["w"] ** 2, ({"n": state["n"] + 1}, {})

  pretext = Pretext(
    lambda key, batch: ({"w": jnp.ones(())}, {"n": jnp.zeros((), jnp.int32)}),
    loss,
    lambda params, state, x: x,
    lambda key, batch: batch,
    lambda params, state, step: state,
  )
  tx = optim.optimizer(0.1)
  ts = train.make_init(pretext, tx)(jax.random.key(0), {"image": toy.train.images[:1]})
  saved = []
  with pytest.raises(UserError, match=r"not finite.*--learning_rate"):
    train.fit(
      ts,
      train.make_train_step(pretext, tx),
      {"image": toy.train.images},
      steps=20,
      batch_size=8,
      seed=0,
      log_every=4,
      save=lambda ts: saved.append(int(ts.step)),
      save_seconds=0,
    )
  assert saved == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_goes_on_later(setup, toy, number):
  data, saved = {"image": toy.train.images}, []

  def log(row):
    if row["step"] == 4:
      os.kill(os.getpid(), number)

  old = signal.getsignal(number)
  with pytest.raises(train.Interrupted, match=r"step \d+ of 12"):
    fit(setup, data, log=log, log_every=2, save=saved.append)
  assert signal.getsignal(number) is old
  assert 4 <= int(saved[-1].step) < STEPS
  assert_identical(fit(setup, data), fit(setup, data, saved[-1]))


@pytest.mark.parametrize("at", [4, STEPS])
def test_an_interrupt_saves_each_step_once_and_is_never_lost(setup, toy, at):
  saved = []

  def log(row):
    if row["step"] == at:
      os.kill(os.getpid(), signal.SIGINT)

  with pytest.raises(train.Interrupted, match=f"step {at} of 12"):
    fit(
      setup,
      {"image": toy.train.images},
      log=log,
      log_every=1,
      save=lambda ts: saved.append(int(ts.step)),
      save_seconds=0,
    )
  assert saved == list(range(1, at + 1))


# accumulated gradients


def pieces(toy, method="supervised", encoder="conv:widths=4-6", **hp):
  """A method, its optimiser, and how to make its first state."""
  pretext, tx = build(method, nn.build(encoder), "flatten", 3, hp), optim.optimizer(0.1, "sgd")
  first = {"image": toy.train.images[:1], "label": toy.train.labels[:1]}
  return pretext, tx, lambda: train.make_init(pretext, tx)(jax.random.key(0), first)


@pytest.mark.parametrize(
  ("method", "encoder"), [("supervised", "conv:widths=4"), ("autoencode", "mlp:widths=8,code=3")]
)
def test_parts_of_a_batch_make_the_step_of_the_whole(method, encoder, toy):
  """Where images do not know of each other and nothing is drawn. From memory, streamed, and several steps in a call."""
  pretext, tx, fresh = pieces(toy, method, encoder)
  data = {"image": jnp.asarray(toy.train.images), "label": jnp.asarray(toy.train.labels)}
  indices = np.random.default_rng(0).permutation(240)[:48].astype(np.int32).reshape(2, 24)
  whole, parts = train.make_train_step(pretext, tx), train.make_train_step(pretext, tx, 4)
  expected, rows = fresh(), []
  for i in indices:
    expected, metrics = whole(expected, data, i)
    rows.append(metrics)

  def streamed(ts):
    return parts(ts, {name: np.asarray(array)[indices[0]] for name, array in data.items()}, None)

  one_by_one, first = parts(fresh(), data, indices[0])
  for got in (parts(one_by_one, data, indices[1]), parts(streamed(fresh())[0], data, indices[1])):
    for a, b in zip(numbers(got[0]), numbers(expected), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  together, metrics = parts(fresh(), data, indices)
  for a, b in zip(numbers(together), numbers(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  assert int(together.step) == 2  # an update of the optimiser for the whole batch
  for name, values in metrics.items():
    if name != "psnr":  # a mean of logarithms
      np.testing.assert_allclose(values, [row[name] for row in rows], rtol=1e-4, err_msg=name)
      np.testing.assert_allclose(first[name], rows[0][name], rtol=1e-4)


def test_parts_are_what_they_are_written_out(toy):
  """Each with its own key; the state passes through all of them; means of gradients and metrics; one `update`."""
  pretext, tx, fresh = pieces(toy, "moco", "conv:widths=4,norm=batch,code=3", queue=20, projector=(4,))
  images, updates = toy.train.images[:12], []

  def update(params, state, step):
    updates.append(step)
    return pretext.update(params, state, step)

  before, after = fresh(), fresh()
  step = train.make_train_step(pretext._replace(update=update), tx, 3)
  after, metrics = step(after, {"image": jnp.asarray(images)}, np.arange(12, dtype=np.int32))
  assert len(updates) == 1
  state, grads, rows, keys, seen = before.state, [], [], jax.random.split(jax.random.fold_in(before.key, 0), 3), []
  for key, part in zip(keys, images.reshape(3, 4, *images.shape[1:]), strict=True):
    one, two = jax.random.split(key)
    view = jax.jit(pretext.transform)(one, {"image": part})
    seen.append(view["view1"])
    (loss, (state, row)), g = jax.jit(jax.value_and_grad(pretext.loss, has_aux=True))(before.params, state, two, view)
    grads.append(g)
    rows.append({"loss": loss, **row})
  assert not np.allclose(seen[0], seen[1])
  mean = jax.tree.map(lambda *g: sum(g) / 3, *grads)
  params = optax.apply_updates(before.params, tx.update(mean, before.opt_state, before.params)[0])
  state = pretext.update(params, state, before.step)
  for a, b in zip(jax.tree.leaves((after.params, after.state)), jax.tree.leaves((params, state)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
  for name, value in metrics.items():
    np.testing.assert_allclose(value, np.mean([row[name] for row in rows]), rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(after.state["queue"][12:], fresh().state["queue"][:8], atol=1e-6)  # 12 keys came in


def test_parts_take_less_memory(toy):
  pretext, tx, fresh = pieces(toy)
  data, indices = {"image": toy.train.images, "label": toy.train.labels}, np.arange(160, dtype=np.int32)
  steps = [train.make_train_step(pretext, tx, n).lower(fresh(), data, indices).compile() for n in (1, 8)]
  whole, parts = (step.memory_analysis().temp_size_in_bytes for step in steps)
  assert parts < whole / 3


def test_a_batch_that_does_not_split(toy):
  pretext, tx, fresh = pieces(toy)
  with pytest.raises(UserError, match="--accumulate=5: a batch of 12 images"):
    train.make_train_step(pretext, tx, 5)(
      fresh(), {"image": toy.train.images[:12], "label": toy.train.labels[:12]}, None
    )
