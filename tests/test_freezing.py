"""Frozen means bit-identical, statistics included, under weight decay; and frozen gradients cost nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import nn
from sslx.evaluation import finetune
from sslx.pretext.supervised import supervised
from sslx.training import loop as train
from sslx.training import masks, optim
from sslx.types import UserError

RECIPE = finetune.Recipe(steps=6, batch_size=8, weight_decay=0.1)


def tree_equal(a, b) -> bool:
  return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("norm", ["none", "group", "batch"])
@pytest.mark.parametrize(("mode", "moved"), [("last:1", {"block3"}), ("last:2", {"block2", "block3"}), ("full", None)])
def test_only_the_named_blocks_move(toy, norm, mode, moved):
  encoder = nn.build(f"conv:widths=4-4-6,norm={norm}")
  before = finetune.make_init_encoder(encoder, (12, 12, 1))(0)
  before["stats"] = jax.tree.map(lambda s: s + 0.1, before["stats"])
  before = jax.tree.map(np.array, before)
  blocks = masks.trained_blocks(mode, encoder.block_names)
  run = finetune.make_finetune(encoder, "flatten", 3, blocks, RECIPE, finetune.encode_fn(encoder, "flatten"))
  after = run(before, toy.train.images[:24], toy.train.labels[:24], 0)
  for block in encoder.block_names:
    expected = moved is None or block in moved
    same = tree_equal(before["params"][block], after.encoder["params"][block])
    assert same != expected, block
    if norm == "batch":
      assert tree_equal(before["stats"][block], after.encoder["stats"][block]) != expected, block
  assert not np.array_equal(after.head.weight, np.zeros_like(after.head.weight))


def test_a_frozen_encoder_has_no_gradients_and_no_optimiser_state(toy):
  encoder = nn.build("conv:widths=8-16-16,norm=none")
  batch = {"image": toy.train.images[:32], "label": toy.train.labels[:32]}

  def flops_and_state(blocks):
    pretext = supervised(encoder, "flatten", blocks, num_classes=3)
    params = jax.eval_shape(lambda: pretext.init(jax.random.key(0), batch))[0]
    tx = optim.freeze(optim.optimizer(1e-3), masks.trainable(params, blocks))
    ts = train.make_init(pretext, tx)(jax.random.key(0), batch)
    step = train.make_train_step(pretext, tx).lower(ts, batch, None).compile()
    return step.cost_analysis()["flops"], sum(leaf.size for leaf in jax.tree.leaves(ts.opt_state))

  pretext = supervised(encoder, "flatten", (), num_classes=3)
  params, state = pretext.init(jax.random.key(0), batch)
  forward = jax.jit(
    lambda p: pretext.loss(p, state, jax.random.key(0), {**batch, "image": jnp.ones((32, 12, 12, 1))})[0]
  )
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


def test_modes_name_blocks():
  blocks = ("a", "b", "c")
  assert masks.trained_blocks("scratch", blocks) == blocks
  assert masks.trained_blocks("frozen", blocks) == ()
  assert masks.trained_blocks("last:2", blocks) == ("b", "c")
  for bad in ("last:0", "last:4", "last:x", "last", "half"):
    with pytest.raises(UserError, match="--modes"):
      masks.trained_blocks(bad, blocks)


def test_cosine_schedule_end_points():
  schedule = optim.cosine(2.0, 100, warmup=10)
  np.testing.assert_allclose([schedule(i) for i in (0, 5, 10, 55, 100)], [0, 1, 2, 1, 0], atol=1e-6)
  np.testing.assert_allclose(optim.cosine(2.0, 100)(0), 2.0)
