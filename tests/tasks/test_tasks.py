"""What every task of TASKS promises. A new one adds a line of targets to TARGETS."""

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pretexts import KEY, init

from sslx import nn
from sslx.tasks import ASKED, TASKS
from sslx.types import Score, Subset, Task, UserError

RNG = np.random.default_rng(0)
N, D, NAMES = 60, 7, ("a", "b", "c")
SIZE = 2  # rows and columns of the maps that a task of places reads here
BOX = np.float32([(i % 3, i % 2, 1 + i % 3, 6 + i % 2, 5 + i % 4) for i in range(N)])
TARGETS = {  # task -> y [N,...]
  "classification": (np.arange(N) % 3).astype(np.int32),
  "multilabel": (np.arange(N)[:, None] % np.array([2, 3, 5]) == 0).astype(np.uint8),
  "regression": (RNG.normal(size=(N, 3)) * [1, 100, 1e-3] + [0, 5000, 1]).astype(np.float32),
  "segmentation": RNG.choice(np.uint8([0, 1, 2, 255]), (N, 7, 6)),
  "detection": np.stack([BOX, np.tile(np.float32([-1, 0, 0, 0, 0]), (N, 1))], 1),
}
LINEAR = [name for name in ASKED if TASKS[name](NAMES).fit_head]  # whose head has a solver of its own


@pytest.fixture(params=ASKED)
def task(request):
  return TASKS[request.param](NAMES)


def read_by(task: Task) -> np.ndarray:
  """Features as the task's head reads them."""
  shape = (N, SIZE, SIZE, D) if task.is_dense else (N, D)
  return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def outputs_of(task: Task, seed: int = 2) -> np.ndarray:
  """Random ones, of the shape that the task's head gives."""
  shape = jax.eval_shape(lambda x: task.head().init_with_output(KEY, x)[0], read_by(task)).shape
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def answers_of(task: Task, outputs: Any) -> np.ndarray:
  return np.asarray(outputs if task.answer is None else jax.jit(task.answer)(outputs))


def score(task: Task, answers: np.ndarray) -> float:
  return float(task.scores(answers, TARGETS[task.name])[task.score.name])


def test_it_says_what_it_is(task):
  assert TASKS[task.name](NAMES).names == task.names == NAMES
  assert task.outputs >= 1
  assert isinstance(task.score, Score)
  assert nn.check_reading(task.reading, ("block1", "block2"))
  assert task.is_dense == (task.reading[:4] == "maps")
  assert not (task.is_dense and task.fit_head)


def test_readings_that_its_head_cannot_use_are_refused(task):
  task.check_reading(task.reading)
  if task.is_dense:
    wrong, what = ("pool", "all:moments", "maps3"), f"reads {task.reading}"
  else:
    task.check_reading("block1:pool+all:moments")
    wrong, what = ("maps4",), "reads no maps"
  for reading in wrong:
    with pytest.raises(UserError, match=rf"^--features={reading}: {task.name} {what}; leave --features out\.$"):
      task.check_reading(reading)


def test_its_head_gives_its_outputs(task):
  head, features = task.head(), read_by(task)
  assert head == task.head()  # so that what was compiled for it is used again
  params, stats = init(head, KEY, features)
  assert not stats
  outputs = jax.jit(lambda params, x: nn.apply(head, params, {}, x)[0])(params, features)
  assert outputs.shape == outputs_of(task).shape
  assert outputs.shape[-1] == task.outputs
  assert outputs.ndim == features.ndim
  assert np.isfinite(outputs).all()


def test_loss_scores_and_what_is_watched_are_numbers(task):
  y, outputs = TARGETS[task.name], outputs_of(task)
  each = jax.jit(task.loss)(outputs, y)
  assert each.shape == (N,)
  assert np.isfinite(each).all()
  alone = jax.jit(task.loss)(outputs[3:5], y[3:5])  # an example's loss is its own
  np.testing.assert_allclose(alone, each[3:5], rtol=1e-5)
  answers = answers_of(task, outputs)
  assert len(answers) == len(task.decide(answers)) == N
  scores = task.scores(answers, y)
  assert next(iter(scores)) == task.score.name
  assert all(np.isfinite(float(value)) for value in scores.values())
  watched = jax.jit(task.watched or task.scores)(outputs, y)
  assert all(np.ndim(value) == 0 and np.isfinite(value) for value in watched.values())
  for name in watched.keys() & scores.keys():
    np.testing.assert_allclose(watched[name], scores[name], rtol=1e-4, err_msg=name)
  if task.probabilities is not None:
    np.testing.assert_allclose(task.probabilities(answers).sum(1), 1, rtol=1e-5)
  if task.units is not None:
    shift, scale = task.units(y)
    assert np.shape(shift) == np.shape(scale) == (task.outputs,)
    assert (scale > 0).all()


def test_what_lowers_the_loss_makes_the_score_better(task):
  """Outputs themselves are trained: the loss has a gradient that leads to right answers."""
  y, tx = TARGETS[task.name], optax.adam(0.1)
  shift, scale = task.units(y) if task.units else (0.0, 1.0)
  learnt = (y - shift) / scale if task.units else y

  @jax.jit
  def train(outputs):
    def step(carry, _):
      outputs, state = carry
      updates, state = tx.update(jax.grad(lambda o: task.loss(o, learnt).sum())(outputs), state)
      return (outputs + updates, state), None

    return jax.lax.scan(step, (outputs, tx.init(outputs)), length=200)[0][0]

  start = outputs_of(task)
  before, after = (score(task, answers_of(task, o * scale + shift)) for o in (start, np.asarray(train(start))))
  assert (after > before) == task.score.higher_is_better
  assert after == pytest.approx(1.0 if task.score.higher_is_better else 0.0, abs=0.02)


def test_losses_are_of_jax_arrays_of_any_integers(task):
  """Targets as they come from a disk, and as a device holds them."""
  y, outputs = TARGETS[task.name], outputs_of(task)
  other = y.astype(np.int32) if y.dtype.kind in "iu" else y
  loss = jax.jit(task.loss)
  np.testing.assert_allclose(loss(jnp.asarray(outputs), jnp.asarray(other)), loss(outputs, y), rtol=1e-5)


@pytest.mark.parametrize("name", LINEAR)
def test_a_head_is_fitted_inside_its_labels(name):
  task, y, features = TASKS[name](NAMES), TARGETS[name], RNG.normal(size=(N, D)).astype(np.float32)
  held = features[:20], y[:20]
  for heldout in (None, held):
    head = task.fit_head(features[20:], y[20:], features, seed=1, heldout=heldout)
    assert head.outputs(features).shape == (N, task.outputs)
    assert head.size == (D + 1) * task.outputs
    assert isinstance(head.chosen, dict)
    again = task.fit_head(features[20:], y[20:], features, seed=1, heldout=heldout)
    np.testing.assert_array_equal(head.outputs(features), again.outputs(features))


@pytest.mark.parametrize("name", LINEAR)
def test_a_fitted_head_is_right_where_features_tell(name):
  task, y, features = TASKS[name](NAMES), TARGETS[name], RNG.normal(size=(N, D)).astype(np.float32)
  told = y.reshape(N, -1) if y.ndim > 1 else np.eye(3)[y]
  features[:, :3] = (told - told.mean(0)) / told.std(0)
  head = task.fit_head(features, y, features)
  right, guessed = (score(task, answers) for answers in (head.outputs(features), outputs_of(task)))
  assert right > 0.99 > guessed


@pytest.mark.parametrize("how", get_args(Subset))
def test_subsets_are_nested_and_seeded(task, how):
  y = TARGETS[task.name]
  subsets = task.subset(y, [6, 30], 3, how)
  assert {size: len(set(rows.tolist())) for size, rows in subsets.items()} == {6: 6, 30: 30}
  assert all(rows.dtype == np.int32 and 0 <= rows.min() <= rows.max() < N for rows in subsets.values())
  assert set(subsets[6].tolist()) <= set(subsets[30].tolist())
  np.testing.assert_array_equal(task.subset(y, [6], 3, how)[6], subsets[6])
  assert not np.array_equal(task.subset(y, [30], 4, how)[30], subsets[30])


def test_folds_are_a_partition(task):
  y = TARGETS[task.name]
  parts = task.folds(y, 3, 0)
  np.testing.assert_array_equal(np.sort(np.concatenate([valid for _, valid in parts])), np.arange(N))
  assert all(not np.intersect1d(train, valid).size for train, valid in parts)


def test_of_data_without_labels_nothing_is_asked():
  task = TASKS["none"](())
  assert task.outputs == 0
  with pytest.raises(UserError, match="has no labels: nothing can be asked"):
    task.subset(np.zeros(3), [1], 0, "balanced")
