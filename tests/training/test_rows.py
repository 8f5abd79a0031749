"""Steps that move only the rows of a table that they read: the same steps as those of the whole table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import COUNTS, WORDS, assert_trees, texts

from sslx import nn, pretext
from sslx.data.types import text_corpus
from sslx.modalities import MODALITIES
from sslx.ops.text import FIRST, PAD, Vocabulary
from sslx.tasks import TASKS
from sslx.training import hooks, optim, run
from sslx.training.config import Config
from sslx.training.step import make_init, make_train_step
from sslx.training.watch import make_watch
from sslx.types import gathered

RATE = 0.1
prepare = MODALITIES["text"].prepare
TEXTS = texts([40] * 30, 40)
TEXTS[:, ::9] = PAD
each = pytest.mark.parametrize("method", ["skipgram", "cbow"])


def built(method: str, vocabulary: Vocabulary = WORDS, **hp):
  encoder = nn.build("words:width=8", vocabulary=vocabulary)
  return pretext.build(method, encoder, {"shared": 8, "sample": 0.1, **hp}, TASKS["none"](()), vocabulary=vocabulary)


def fresh(made, tx, seed: int = 0):
  return make_init(made, tx, prepare)(jax.random.key(seed), {"x": TEXTS[:1]})


def trained(made, tx, indices, at_once: int, **how):
  """The state after a step for each row of indices."""
  step, ts, log = make_train_step(made, tx, prepare, **how), fresh(made, tx), []
  for start in range(0, len(indices), at_once):
    ts, metrics = step(ts, {"x": TEXTS}, indices[start : start + at_once])
    log.append(metrics["loss"])
  return ts, np.concatenate(log)


@each
@pytest.mark.parametrize("at_once", [1, 4])
def test_moving_rows_is_moving_the_table(method, at_once):
  """Words stand in a text several times, and as negatives."""
  made, tx = built(method), optim.optimizer(optim.schedule("cosine", RATE, 8), "descent")
  indices = np.random.default_rng(0).permutation(30)[:24].reshape(8, 3).astype(np.int32)
  dense, losses = trained(made, tx, indices, at_once)
  by_rows, others = trained(made, tx, indices, at_once, by_rows=True)
  assert_trees(by_rows.params, dense.params, rtol=1e-4, atol=1e-5)
  assert_trees(by_rows.opt_state, dense.opt_state)
  np.testing.assert_allclose(others, losses, rtol=1e-4)
  start = fresh(made, tx).params["encoder"]["vectors"]["table"]
  assert np.abs(by_rows.params["encoder"]["vectors"]["table"] - start)[FIRST:].max() > 0.01


@each
@pytest.mark.parametrize("by_rows", [False, True])
def test_what_is_no_word_stays_where_it_is(method, by_rows):
  made, tx = built(method), optim.optimizer(RATE, "descent")
  ts, _ = trained(made, tx, np.arange(30, dtype=np.int32).reshape(10, 3), 5, by_rows=by_rows)
  for table in (ts.params["encoder"]["vectors"]["table"], ts.params["context"]["table"]):
    np.testing.assert_array_equal(table[:FIRST], np.zeros((FIRST, 8)))
    assert np.all(np.any(table[FIRST : FIRST + 10], axis=1))


def test_descent_is_its_equation():
  made, tx = built("skipgram"), optim.optimizer(lambda step: RATE / (step + 1), "descent", weight_decay=0.5)
  ts = fresh(made, tx)
  params = ts.params
  assert all(leaf.ndim == 0 for leaf in jax.tree.leaves(ts.opt_state))  # nothing is kept for a number
  for i in range(2):
    grads = jax.tree.map(lambda p: p + 1, params)
    updates, state = tx.update(grads, ts.opt_state, params)
    ts = ts._replace(opt_state=state)
    assert_trees(updates, jax.tree.map(lambda g, i=i: -RATE / (i + 1) * g, grads), rtol=1e-6)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_optimisers_with_a_memory_move_whole_tables(kind):
  """Through the gather: momentum also moves words that this step does not read."""
  made, tx = built("skipgram"), optim.optimizer(RATE, kind)
  assert optim.by_rows("descent")
  assert not optim.by_rows(kind)
  indices = np.array([[0], [1]], np.int32)
  once, _ = trained(made, tx, indices[:1], 1, by_rows=optim.by_rows(kind))
  twice, _ = trained(made, tx, indices, 1, by_rows=optim.by_rows(kind))
  key = jax.random.split(jax.random.fold_in(once.key, 1))[0]
  read = np.unique(made.rows(made.transform(key, {"x": TEXTS[1:2]}))["encoder", "vectors", "table"])
  moved = np.any(twice.params["encoder"]["vectors"]["table"] != once.params["encoder"]["vectors"]["table"], axis=1)
  assert set(np.flatnonzero(moved)) - set(read.tolist())


def test_parts_of_a_batch_move_whole_tables():
  made, tx = built("cbow"), optim.optimizer(RATE, "descent")
  indices = np.arange(8, dtype=np.int32).reshape(2, 4)
  expected, _ = trained(made, tx, indices, 1, accumulate=2)
  got, _ = trained(made, tx, indices, 1, accumulate=2, by_rows=True)
  assert_trees(got.params, expected.params)


@each
@pytest.mark.parametrize("steps", [1, 5])
def test_a_step_costs_the_same_whatever_the_size_of_the_table(method, steps):
  """No array is as large as a table but the table itself, which is changed where it is."""
  tx = optim.optimizer(RATE, "descent")
  sizes = []
  for n in (3_000, 60_000):
    counts = np.resize(COUNTS, n)
    made = built(method, Vocabulary(tuple(map(str, range(n))), counts, counts, n))
    ts, step = fresh(made, tx), make_train_step(made, tx, prepare, by_rows=True)
    table = ts.params["context"]["table"].nbytes
    memory = step.lower(ts, {"x": TEXTS}, np.zeros((steps, 3), np.int32)).compile().memory_analysis()
    assert memory.alias_size_in_bytes >= 2 * table
    sizes.append(memory.temp_size_in_bytes)
  assert sizes[1] - sizes[0] < table / 4, sizes


def plan_of(method: str, steps: int = 12, **how):
  dataset = text_corpus("text:words", WORDS, TEXTS)
  config = Config(method=method, encoder="words:width=8", steps=steps, batch_size=2, hp={"shared": 8}, **how)
  return run.plan(config, dataset)


@each
def test_a_run_in_two_parts_is_the_same_run(method):
  """Bit for bit, also where it is cut between two calls of several steps."""
  plan = plan_of(method)
  whole = run.run(plan, run.start(plan), log_every=4)
  for cut in (4, 6):
    ts = run.run(plan._replace(steps=cut), run.start(plan), log_every=4)
    rest = run.run(plan, ts, log_every=4)
    for a, b in zip(jax.tree.leaves(rest.params), jax.tree.leaves(whole.params), strict=True):
      np.testing.assert_array_equal(a, b)


def test_a_run_makes_many_steps_in_a_call():
  calls, plan = [], plan_of("skipgram")
  begun = hooks.Hook(begun=calls.append)
  run.run(plan, run.start(plan), [begun], log_every=5)
  assert calls == [5]


@each
def test_watching_is_the_loss_on_held_out_texts(method):
  plan = plan_of(method, watch=3)
  ts = run.start(plan)
  ts = ts._replace(params=jax.tree.map(lambda p: p + jnp.linspace(-1, 1, p.size).reshape(p.shape), ts.params))
  assert len(plan.watched["x"]) == 3
  found = make_watch(plan.pretext, prepare, plan.watched, 3)(ts)
  one, two = jax.random.split(jax.random.split(jax.random.key(0), 1)[0])
  view = plan.pretext.transform(one, {"x": plan.watched["x"]})
  expected, _ = plan.pretext.loss(gathered(plan.pretext, ts.params, view), ts.state, two, view)
  assert float(found["loss"]) == pytest.approx(float(expected), rel=1e-4)
