"""sslx.evaluation.recipe: passes over the labels, an early end, and heads by gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import nn
from sslx.evaluation import evaluate, finetune
from sslx.evaluation.bench import Bench, Case, Labelled
from sslx.evaluation.recipe import Recipe

ENCODER = nn.build("conv:widths=4")


@pytest.fixture(scope="module")
def start(toy) -> nn.Representation:
  """An untrained encoder, read flat."""
  prepare = toy.modality.prepare
  params, stats = jax.jit(lambda key: nn.init(ENCODER, key, prepare(toy.train.x[:1])))(jax.random.key(0))
  return nn.Representation(ENCODER, "flatten", params, stats, prepare)


def make(start, toy, recipe, blocks=ENCODER.block_names):
  return finetune.make_finetune(ENCODER, "flatten", toy.task, tuple(blocks), recipe, start.prepare)


def test_fine_tuning_makes_so_many_passes(toy, start, monkeypatch):
  steps = []

  def fit(ts, step, data, loop):
    steps.append(loop.steps)
    return ts

  monkeypatch.setattr(finetune, "fit", fit)
  for epochs in (1.0, 2.5, 20.0):
    tune = make(start, toy, Recipe(steps=10, batch_size=8, epochs=epochs))
    tune(start, toy.train.x[:60], toy.train.y[:60], 0)
  assert steps == [10, 17, 140]  # 60 labels: 7 batches of 8


def test_training_ends_when_the_accuracy_of_so_many_epochs_is_not_above_the_best(toy, start, monkeypatch):
  ends = []

  def fit(ts, step, data, loop, hooks):
    assert (loop.log_every, loop.shuffle) == (7, False)
    ends.append(loop.steps)
    for hook in hooks:
      hook.logged(ts, {"step": loop.steps, "accuracy": next(given)})
    return ts._replace(step=jnp.asarray(loop.steps))

  monkeypatch.setattr(finetune, "fit", fit)
  how = {"steps": 1, "epochs": 20, "batch_size": 8, "optimizer": "sgd", "schedule": "constant", "shuffle": False}
  for patience, last in ((3, 8), (4, 9)):  # the best, 0.8, is that of epoch 5
    given = iter([0.5, 0.7, 0.7, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8, 0.9])
    ends.clear()
    tune = make(start, toy, Recipe(**how, patience=patience), ())
    predictor = tune(start, toy.train.x[:60], toy.train.y[:60], 0)
    assert ends == [7 * (i + 1) for i in range(last)]
    assert predictor.head.chosen == {"learning_rate": 2e-3, "steps": 7 * last}


def test_a_head_by_gradient_moves_as_sgd_does_and_leaves_the_encoder(toy, start):
  rows = np.arange(6)
  recipe = Recipe(
    steps=2, batch_size=6, learning_rates=(0.1,), weight_decay=0.0, optimizer="sgd", schedule="constant",
    head="gradient",
  )  # fmt: skip
  cases = [Case("frozen", 6, 0), Case("random", 6, 0)]
  bench = Bench(toy, Labelled({0: {6: rows}}, None), start, recipe, 0)
  trained = evaluate.train(bench, cases)
  x, targets = np.asarray(start(toy.train.x[rows])), np.eye(3)[toy.train.y[rows]]
  weight, velocity, bias = np.zeros((x.shape[1], 3)), np.zeros((x.shape[1] + 1, 3)), np.zeros(3)
  for _ in range(2):  # the batch is all of the labels, so the order does not matter
    p = np.exp(x @ weight + bias)
    error = (p / p.sum(1, keepdims=True) - targets) / 6
    velocity = 0.9 * velocity + np.concatenate([x.T @ error, error.sum(0, keepdims=True)])
    weight, bias = weight - 0.1 * velocity[:-1], bias - 0.1 * velocity[-1]
  head = trained[cases[0]].predictor.head
  np.testing.assert_allclose(head.weight, weight, atol=1e-5)
  np.testing.assert_allclose(head.bias, bias, atol=1e-5)
  for case, (predictor, _) in trained.items():
    assert predictor.trainable == head.weight.size + 3
    before = start.params if case.mode == "frozen" else bench.fresh(0).params  # the random encoder is of the run's seed
    jax.tree.map(np.testing.assert_array_equal, predictor.represent.params, before)
