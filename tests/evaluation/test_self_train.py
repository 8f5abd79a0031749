"""Self-training: its equation by hand at several moments, known labels, the teacher, and what comes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from sslx import nn
from sslx.evaluation import features, propagation
from sslx.evaluation.recipe import Recipe
from sslx.evaluation.self_train import make_self_train, self_training
from sslx.tasks import TASKS

SPEC, K, STEPS = "conv:widths=4,norm=batch", 3, 40
TASK = TASKS["classification"]("abc")


def make(**given):
  return self_training(nn.build(SPEC), TASK, "flatten", steps=STEPS, **given)


def make_batch(n: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(seed)
  return {
    "x": rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8) / np.float32(255),
    "y": rng.integers(0, K, n, dtype=np.int32),
    "told": np.arange(n) != 3,
    "known": np.arange(n) < 2,
  }


def at(done: int, **given):
  """(pretext, params, state, view) at a generic point after `done` steps, with a teacher of its own."""
  pretext, batch = make(**given), make_batch()
  params, state = jax.jit(pretext.init)(jax.random.key(0), batch)
  rng = np.random.default_rng(1)

  def move(x):
    return x + 0.5 * rng.standard_normal(x.shape).astype(np.float32)

  params, teacher = jax.tree.map(move, params), jax.tree.map(move, params)
  state = {**state, "teacher": teacher, "done": jnp.asarray(done, jnp.int32)}
  return pretext, params, state, pretext.transform(jax.random.key(3), batch)


def log_softmax(params, stats, image, train):
  outputs, _ = nn.apply(nn.build(SPEC), params["encoder"], stats, image, train=train)
  return jax.nn.log_softmax(nn.apply(nn.Linear(K, zero=True), params["head"], {}, outputs["block1"])[0])


@pytest.mark.parametrize("done", [0, 10, 40])
def test_loss_is_its_equation(done):
  _, params, state, view = at(done)
  student = np.asarray(log_softmax(params, state["encoder"], view["view"], True))
  teacher = np.exp(np.asarray(log_softmax(state["teacher"], state["encoder"], view["x"], False)))
  threshold = float(np.median(teacher[2:].max(1)))
  pretext, terms, r = make(threshold=threshold), [], done / STEPS
  sure = 0
  for i in range(6):
    known, label = view["known"][i], view["y"][i]
    own = label if known else teacher[i].argmax()
    counts = bool(known or teacher[i].max() >= threshold)
    sure += counts
    terms.append((1 - r) * view["told"][i] * -student[i, label] + r * counts * -student[i, own])
  assert sure == 4  # some of the others count, and some do not
  value, (after, metrics) = pretext.loss(params, state, jax.random.key(4), view)
  np.testing.assert_allclose(value, np.mean(terms), rtol=1e-4)
  np.testing.assert_allclose(metrics["teacher_sure"], sure / 6)
  assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (after["encoder"], state["encoder"])), strict=True))
  for a, b in zip(*map(jax.tree.leaves, (after["teacher"], state["teacher"])), strict=True):
    np.testing.assert_array_equal(a, b)  # moves in `update` alone


def test_no_gradient_reaches_the_teacher():
  pretext, params, state, view = at(20, threshold=0.0)
  others = {name: state[name] for name in ("encoder", "done")}
  grads = jax.grad(lambda teacher: pretext.loss(params, {**others, "teacher": teacher}, jax.random.key(4), view)[0])(
    state["teacher"]
  )
  assert not any(np.any(g) for g in jax.tree.leaves(grads))


def test_the_teacher_is_a_moving_average_and_steps_are_counted():
  pretext, params, state, _ = at(5, decay=0.75)
  after = pretext.update(params, state, jnp.asarray(5))
  assert int(after["done"]) == 6
  for new, old, student in zip(*map(jax.tree.leaves, (after["teacher"], state["teacher"], params)), strict=True):
    np.testing.assert_allclose(new, 0.75 * old + 0.25 * student, rtol=1e-5, atol=1e-6)


def test_views_are_of_the_image_and_the_teacher_sees_the_image():
  *_, view = at(0)
  np.testing.assert_allclose(view["x"], make_batch()["x"], atol=1e-6)
  assert np.abs(view["view"] - view["x"]).mean() > 0.01


def test_it_mends_labels_that_were_spread_wrongly(toy):
  """A fifth of the labels wrong and not sure of themselves; three labels a class known."""
  rng = np.random.default_rng(0)
  truth, encoder, prepare = toy.train.y, nn.build("conv:widths=8-16,norm=group"), toy.modality.prepare
  given = np.where(rng.random(240) < 0.2, (truth + 1) % 3, truth)
  belief = np.full((240, 3), 0.1, np.float32)
  belief[np.arange(240), given] = 0.8
  nowhere = np.zeros((240, 1), np.float32)
  islands = propagation.Graph(propagation.principal(nowhere), nowhere, sparse.csr_array((240, 240)), 1)
  spread = propagation.Propagated(islands, belief, {})
  recipe = Recipe(self_train_epochs=40, self_train_batch_size=32, self_train_learning_rate=3e-3)
  train = make_self_train(encoder, "flatten", toy.task, recipe, prepare)
  start, rows = features.random(nn.Representation(encoder, "flatten", {}, {}, prepare), toy)(0), np.arange(9)
  before = jax.tree.map(np.array, start.params)
  predictor = train(start, toy.train.x, rows, truth[rows], spread, 0)
  answers = predictor.outputs(toy.train.x).argmax(1)
  assert (answers == truth).mean() > 0.9 > (given == truth).mean() + 0.05
  for a, b in zip(*map(jax.tree.leaves, (before, start.params)), strict=True):
    np.testing.assert_array_equal(a, b)  # the pretrained weights stay for the next subset
  assert set(predictor.head.chosen) == {"teacher_sure", "teacher_agrees"}
