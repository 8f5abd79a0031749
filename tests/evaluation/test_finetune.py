"""Frozen means bit-identical, statistics included, under weight decay; and frozen gradients cost nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import nn
from sslx.evaluation import features, finetune
from sslx.evaluation.recipe import Recipe
from sslx.pretext.supervised import supervised
from sslx.tasks import TASKS
from sslx.training import masks, optim
from sslx.training.loop import Loop
from sslx.training.step import make_init, make_train_step, prepared
from sslx.types import TrainState, UserError

RECIPE = Recipe(steps=6, batch_size=8, weight_decay=0.1)


def tree_equal(a, b) -> bool:
  return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("norm", ["none", "group", "batch"])
@pytest.mark.parametrize(("mode", "moved"), [("last:1", {"block3"}), ("last:2", {"block2", "block3"}), ("full", None)])
def test_only_the_named_blocks_move(toy, norm, mode, moved):
  encoder = nn.build(f"conv:widths=4-4-6,norm={norm}")
  prepare = toy.modality.prepare
  before = features.random(nn.Representation(encoder, "flatten", {}, {}, prepare), toy)(0)
  before = before.holding(*jax.tree.map(np.array, (before.params, jax.tree.map(lambda s: s + 0.1, before.stats))))
  blocks = encoder.block_names if mode == "full" else finetune.last_blocks(mode[-1], encoder.block_names)
  train = finetune.make_finetune(encoder, "flatten", toy.task, blocks, RECIPE, prepare)
  after = train(before, toy.train.x[:24], toy.train.y[:24], 0)
  for block in encoder.block_names:
    expected = moved is None or block in moved
    same = tree_equal(before.params[block], after.represent.params[block])
    assert same != expected, block
    if norm == "batch":
      assert tree_equal(before.stats[block], after.represent.stats[block]) != expected, block
  assert not np.array_equal(after.head.weight, np.zeros_like(after.head.weight))


def test_a_frozen_encoder_has_no_gradients_and_no_optimiser_state(toy):
  encoder, prepare = nn.build("conv:widths=8-16-16,norm=none"), toy.modality.prepare
  batch = {"x": toy.train.x[:32], "y": toy.train.y[:32]}

  def flops_and_state(blocks):
    pretext = supervised(encoder, toy.task, "flatten", blocks)
    params = jax.eval_shape(pretext.init, jax.random.key(0), prepared(batch, prepare))[0]
    tx = optim.freeze(optim.optimizer(1e-3), masks.trainable(params, blocks))
    ts = make_init(pretext, tx, prepare)(jax.random.key(0), batch)
    step = make_train_step(pretext, tx, prepare).lower(ts, batch, np.arange(32, dtype=np.int32)[None]).compile()
    return step.cost_analysis()["flops"], sum(leaf.size for leaf in jax.tree.leaves(ts.opt_state))

  pretext = supervised(encoder, toy.task, "flatten", ())
  params, state = jax.jit(pretext.init)(jax.random.key(0), prepared(batch, prepare))
  forward = jax.jit(lambda p: pretext.loss(p, state, jax.random.key(0), {**batch, "x": jnp.ones((32, 12, 12, 1))})[0])
  forward_flops = forward.lower(params).compile().cost_analysis()["flops"]
  frozen, frozen_state = flops_and_state(())
  everything, full_state = flops_and_state(encoder.block_names)
  assert frozen < 1.3 * forward_flops
  assert everything > 2 * frozen
  head = masks.count(params["head"])
  assert frozen_state <= 2 * head + 8
  assert full_state >= 2 * masks.count(params)


def test_masks_refuse_what_matches_nothing():
  params = {"encoder": {"block1": {"kernel": np.zeros((2, 2))}}, "head": {"kernel": np.zeros((2, 3))}}
  assert masks.matching(params, ["head/*"]) == {"encoder": {"block1": {"kernel": False}}, "head": {"kernel": True}}
  with pytest.raises(ValueError, match="block9"):
    masks.matching(params, ["encoder/block9/*"])
  assert masks.count(params) == 10
  assert masks.count(params, masks.matching(params, ["head/*"])) == 6


def test_cosine_schedule_end_points():
  schedule = optim.cosine(2.0, 100, warmup=10)
  np.testing.assert_allclose([schedule(i) for i in (0, 5, 10, 55, 100)], [0, 1, 2, 1, 0], atol=1e-6)
  np.testing.assert_allclose(optim.cosine(2.0, 100)(0), 2.0)


def test_a_recipe_is_checked_and_comes_back_from_a_row():
  recipe = Recipe(steps=3, learning_rates=(1e-3, 1e-2), head="gradient")
  row = {"features": "flatten", "labels_crc32": 5, **recipe.to_json()}
  assert Recipe.read(row) == recipe
  assert Recipe.read({"steps": 3}) == Recipe(steps=3)  # a row that is older than the other fields
  for bad, message in [
    ({"steps": 0}, "--finetune_steps=0: must be positive"),
    ({"learning_rates": ()}, "--finetune_learning_rates="),
    ({"learning_rates": (-1.0,)}, "--finetune_learning_rates=-1: expected positive"),
    ({"optimizer": "adam"}, "--optimizer=adam: unknown"),
    ({"self_train_rounds": 0}, "--self_train_rounds=0"),
  ]:
    with pytest.raises(UserError, match=message):
      Recipe(**bad)


def test_of_boxes_the_loss_ends_training(monkeypatch):
  """Their score is not watched while training."""
  losses = iter([3.0, 2.0, 2.5, 2.2, 1.0])

  def fit(ts, step, data, loop, hooks):
    hooks[0].logged(ts, {"step": loop.steps, "loss": next(losses)})
    return ts._replace(step=jnp.asarray(loop.steps))

  monkeypatch.setattr(finetune, "fit", fit)
  ts, data = TrainState(jnp.asarray(0), None, {}, {}, None), {"y": np.zeros((8, 1, 5))}
  task = TASKS["detection"](["cat"])
  assert int(finetune._patient(ts, None, data, Loop(40, 4, 0), 2, task).step) == 8  # epochs of 2 steps; the best is 2


@pytest.mark.parametrize("patience", [1, 2])
def test_patience_ends_training_and_says_how_far_it_came(toy, patience):
  """With a rate at which nothing changes, no epoch is above the first."""
  recipe = Recipe(steps=40, batch_size=8, learning_rates=(1e-60,), weight_decay=0.0, patience=patience, shuffle=False)
  encoder, prepare = nn.build("conv:widths=4"), toy.modality.prepare
  start = features.random(nn.Representation(encoder, "flatten", {}, {}, prepare), toy)(0)
  train = finetune.make_finetune(encoder, "flatten", toy.task, (), recipe, prepare)
  predictor = train(start, toy.train.x[:24], toy.train.y[:24], 0)
  assert predictor.head.chosen["steps"] == 3 * (1 + patience)
