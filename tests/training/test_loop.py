"""The one loop: same run whatever it is cut into, whatever the data come from; bad
losses and interrupts end it well."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import nn
from sslx.data import LazyArray
from sslx.data.batches import epoch_order
from sslx.pretext import build
from sslx.training import hooks, loop, optim
from sslx.training.step import make_init, make_train_step
from sslx.types import Pretext, UserError

STEPS, BATCH = 12, 32


@pytest.fixture(scope="module")
def setup(toy):
  """A step and a fresh state of a stochastic method on the toy images."""
  pretext = build("denoise", nn.build("conv:widths=4-6,norm=batch"), {}, toy.task)
  tx, prepare = optim.optimizer(optim.cosine(1e-3, STEPS)), toy.modality.prepare
  init = make_init(pretext, tx, prepare)
  return make_train_step(pretext, tx, prepare), lambda: init(jax.random.key(0), {"x": toy.train.x[:1]})


def numbers(ts):
  return [np.asarray(leaf) for leaf in jax.tree.leaves(ts._replace(key=jax.random.key_data(ts.key)))]


def assert_identical(a, b):
  for x, y in zip(numbers(a), numbers(b), strict=True):
    np.testing.assert_array_equal(x, y)


def fit(setup, data, ts=None, steps=STEPS, log=None, save=None, save_seconds=30.0, **how):
  step, fresh = setup
  beside = [hooks.log_to(log)] if log else []
  beside += [hooks.save_to(save, save_seconds)] if save else []
  return loop.fit(ts or fresh(), step, data, loop.Loop(steps, BATCH, 3, **how), beside)


def test_a_run_in_two_parts_is_the_same_run(setup, toy):
  data = {"x": toy.train.x}
  whole = fit(setup, data)
  for cut in (1, 7, 8):  # 7 = 240 // 32 is the end of the first epoch
    assert_identical(whole, fit(setup, data, fit(setup, data, steps=cut)))


def test_streaming_equals_memory(setup, toy):
  lazy = LazyArray(toy.train.x.shape, lambda rows: toy.train.x[rows])
  memory = fit(setup, {"x": toy.train.x})
  assert_identical(memory, fit(setup, {"x": lazy}))
  assert_identical(memory, fit(setup, {"x": lazy}, workers=2))


def test_what_is_read_in_blocks_is_streamed_in_the_order_of_its_blocks(setup, toy):
  blocks = (100, 20, 120)
  lazy = LazyArray(toy.train.x.shape, lambda rows: toy.train.x[rows], blocks=blocks)
  order = epoch_order(3, 0, 240, blocks)
  memory = {"x": toy.train.x[order]}
  step, fresh = setup
  in_order = loop.fit(fresh(), step, memory, loop.Loop(7, BATCH, 3, shuffle=False))
  whole = fit(setup, {"x": lazy}, steps=7)
  assert_identical(in_order, whole)
  assert_identical(whole, fit(setup, {"x": lazy}, fit(setup, {"x": lazy}, steps=4), steps=7))


@pytest.mark.parametrize(("at_once", "log_every"), [(4, 4), (5, 3), (12, 50)])
def test_steps_in_one_call_are_the_same_steps(setup, toy, at_once, log_every):
  data = {"x": toy.train.x}
  single, several = [], []
  one_by_one = fit(setup, data, log=single.append, log_every=log_every, steps_per_call=1)
  together = fit(setup, data, log=several.append, log_every=log_every, steps_per_call=at_once)
  for x, y in zip(numbers(one_by_one), numbers(together), strict=True):
    np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5)  # compiled apart: equal but for rounding
  assert [row["step"] for row in single] == [row["step"] for row in several]
  np.testing.assert_allclose([r["loss"] for r in single], [r["loss"] for r in several], rtol=1e-4)


def test_steps_in_one_call_go_on_where_a_run_was_cut(setup, toy):
  data = {"x": toy.train.x}
  calls = []

  def counting(ts, source, indices):
    calls.append(np.shape(indices))
    return setup[0](ts, source, indices)

  how = loop.Loop(3, BATCH, 3, log_every=4, steps_per_call=4)
  ts = loop.fit(setup[1](), counting, data, how)
  loop.fit(ts, counting, data, how._replace(steps=STEPS))
  assert calls == [(3, BATCH), (1, BATCH), (4, BATCH), (4, BATCH)]


def test_log_rows_cover_every_step_once(setup, toy):
  rows, saved = [], []
  fit(setup, {"x": toy.train.x}, log=rows.append, log_every=5, save=lambda ts: saved.append(int(ts.step)))
  assert [row["step"] for row in rows] == [5, 10, 12]
  assert all(np.isfinite(row["loss"]) and row["examples_per_second"] > 0 for row in rows)
  assert saved == [12]


def without_speed(rows):
  return [{name: value for name, value in row.items() if name != "examples_per_second"} for row in rows]


def test_saving_adds_no_row_and_changes_none(setup, toy):
  data, rows, saved, plain = {"x": toy.train.x}, [], [], []
  fit(setup, data, log=plain.append, log_every=5)
  fit(setup, data, log=rows.append, log_every=5, save=lambda ts: saved.append(int(ts.step)), save_seconds=0)
  assert saved == list(range(1, STEPS + 1))
  assert without_speed(rows) == without_speed(plain)


def test_rows_of_a_resumed_run_are_at_the_same_steps(setup, toy):
  data, whole, parts, each = {"x": toy.train.x}, [], [], []
  fit(setup, data, log=whole.append, log_every=5)
  fit(setup, data, log=each.append, log_every=1)
  fit(setup, data, fit(setup, data, steps=7), log=parts.append, log_every=5)
  assert [row["step"] for row in parts] == [10, 12]
  assert without_speed(parts)[1] == without_speed(whole)[2]
  for name in each[0].keys() - {"step", "examples_per_second"}:  # of the steps since the checkpoint
    assert parts[0][name] == pytest.approx(np.mean([row[name] for row in each[7:10]]), rel=1e-5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_knows_its_signal_and_the_rest_of_the_rows(setup, toy, number):
  rows, each, (step, fresh) = [], [], setup
  fit(setup, {"x": toy.train.x}, log=each.append, log_every=1)

  def third(ts, source, indices):
    if int(ts.step) == 6:
      os.kill(os.getpid(), number)
    return step(ts, source, indices)

  with pytest.raises(loop.Interrupted, match="stopped at step 7 of 12") as stopped:
    loop.fit(fresh(), third, {"x": toy.train.x}, loop.Loop(STEPS, BATCH, 3, log_every=5), [hooks.log_to(rows.append)])
  assert [row["step"] for row in rows] == [5]
  assert stopped.value.signal == number
  assert not stopped.value.saved
  assert ("SIGTERM" in str(stopped.value)) == (number == signal.SIGTERM)
  row = stopped.value.row
  assert (row["step"], row["loss"]) == (7, pytest.approx(np.mean([r["loss"] for r in each[5:7]]), rel=1e-5))
  with pytest.raises(loop.Interrupted) as stopped:
    loop.fit(fresh(), third, {"x": toy.train.x}, loop.Loop(STEPS, BATCH, 3, log_every=7))
  assert stopped.value.row is None


def test_a_finished_run_is_left_alone(setup, toy):
  done = fit(setup, {"x": toy.train.x})
  before = numbers(done)
  saved = []
  after = fit(setup, {"x": toy.train.x}, done, save=saved.append)
  assert saved == []
  for x, y in zip(before, numbers(after), strict=True):
    np.testing.assert_array_equal(x, y)


def test_small_sets_shrink_the_batch(setup, toy):
  few = fit(setup, {"x": toy.train.x[:10]}, steps=2)
  assert int(few.step) == 2


def test_a_loss_that_is_not_finite_stops_without_a_save(toy):
  def loss(params, state, key, view):
    value = jnp.where(state["n"] >= 6, jnp.nan, 1.0) * params["encoder"]["w"] ** 2
    return value, ({**state, "n": state["n"] + 1}, {})

  pretext = Pretext(
    lambda key, batch: ({"encoder": {"w": jnp.ones(())}}, {"encoder": {}, "n": jnp.zeros((), jnp.int32)}),
    loss,
    lambda key, batch: batch,
    lambda params, state, step: state,
  )
  tx = optim.optimizer(0.1)
  prepare, saved = toy.modality.prepare, []
  ts = make_init(pretext, tx, prepare)(jax.random.key(0), {"x": toy.train.x[:1]})
  step, save = make_train_step(pretext, tx, prepare), hooks.save_to(lambda ts: saved.append(int(ts.step)), 0)
  with pytest.raises(UserError, match=r"not finite.*--learning_rate"):
    loop.fit(ts, step, {"x": toy.train.x}, loop.Loop(20, 8, 0, log_every=4), [save])
  assert saved == [1, 2, 3, 4, 5, 6]


def test_a_run_has_begun_when_its_first_call_is_back(setup, toy):
  """Also one that goes on, and not at its later calls."""
  seen, (step, fresh) = [], setup

  def train_step(ts, source, rows):
    seen.append("call")
    return step(ts, source, rows)

  hook = hooks.Hook(begun=seen.append)
  data, how = {"x": toy.train.x}, loop.Loop(8, BATCH, 3, log_every=4, steps_per_call=4)
  ts = loop.fit(fresh(), train_step, data, how, [hook])
  assert seen == ["call", 4, "call"]
  seen.clear()
  loop.fit(ts, train_step, data, how._replace(steps=STEPS, steps_per_call=2), [hook])
  assert seen == ["call", 2, "call"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_goes_on_later(setup, toy, number):
  data, saved = {"x": toy.train.x}, []

  def log(row):
    if row["step"] == 4:
      os.kill(os.getpid(), number)

  old = signal.getsignal(number)
  with pytest.raises(loop.Interrupted, match=r"step \d+ of 12") as stopped:
    fit(setup, data, log=log, log_every=2, save=saved.append)
  assert stopped.value.saved
  assert signal.getsignal(number) is old
  assert 4 <= int(saved[-1].step) < STEPS
  assert_identical(fit(setup, data), fit(setup, data, saved[-1]))


@pytest.mark.parametrize("at", [4, STEPS])
def test_an_interrupt_saves_each_step_once_and_is_never_lost(setup, toy, at):
  saved = []

  def log(row):
    if row["step"] == at:
      os.kill(os.getpid(), signal.SIGINT)

  with pytest.raises(loop.Interrupted, match=f"step {at} of 12"):
    fit(
      setup,
      {"x": toy.train.x},
      log=log,
      log_every=1,
      save=lambda ts: saved.append(int(ts.step)),
      save_seconds=0,
    )
  assert saved == list(range(1, at + 1))


def test_hooks_see_what_the_ones_before_added(setup, toy):
  def adding(name):
    return hooks.Hook(lambda ts, row: {**row, name: len(row)})

  rows = []
  step, fresh = setup
  beside = [adding("first"), adding("second"), hooks.log_to(rows.append)]
  loop.fit(fresh(), step, {"x": toy.train.x}, loop.Loop(4, BATCH, 3, log_every=2), beside)
  assert [row["second"] - row["first"] for row in rows] == [1, 1]


def test_watching_comes_about_so_often_and_at_the_end(setup, toy):
  rows, asked = [], []

  def watch(ts):
    asked.append(int(ts.step))
    return {"loss": 0.5}

  step, fresh = setup
  beside = [hooks.watching(watch, 13, 2, times=3), hooks.log_to(rows.append)]
  loop.fit(fresh(), step, {"x": toy.train.x}, loop.Loop(13, BATCH, 3, log_every=2), beside)
  assert asked == [4, 8, 12, 13]
  assert [row["step"] for row in rows if row.get("heldout_loss") == 0.5] == asked
  assert len(rows) == 7
