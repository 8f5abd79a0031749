"""Activations that are computed again: the same parameters, numbers and statistics, in less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, WORDS, assert_trees, init

from sslx import nn

DEEP = "conv:widths=8-8-8-8-8-8-8-8,down=none,norm=group"


@functools.partial(jax.jit, static_argnums=0)
def graded(encoder, params, stats, x):
  """((loss, (outputs, statistics after)), gradient) of the last block in training mode."""

  def loss(params):
    outputs, after = nn.apply(encoder, params, stats, x, train=True)
    last = outputs[encoder.block_names[-1]]
    return (jnp.sin(jnp.arange(last.size)).reshape(last.shape) * jnp.square(last)).mean(), (outputs, after)

  return jax.value_and_grad(loss, has_aux=True)(params)


def built(spec, **how):
  return nn.build(spec, vocabulary=WORDS, **how)


def signal(encoder):
  if encoder.ids:
    return np.random.default_rng(0).integers(2, 50, (4, 9), dtype=np.int32)
  shape = (4, 800) if encoder.axes == 1 else (4, 3, 12, 12, 3) if encoder.clips else (4, 12, 12, 3)
  return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


@pytest.mark.parametrize(
  ("spec", "precision"),
  [
    (DEEP, "float32"),
    ("resnet:widths=4-8", "float32"),
    ("vit:width=8,depth=2,heads=2", "float32"),
    ("vit:width=8,depth=2,heads=2", "bfloat16"),
    ("mel:bands=8+gru:width=8,context=8", "float32"),
    ("transformer:width=8,depth=1,heads=2", "float32"),
    ("frames+grid:widths=8-8,depth=1,code=8", "float32"),
  ],
)
def test_numbers_and_parameters_are_the_same(spec, precision):
  plain, again = (built(spec, precision=precision, remat=remat) for remat in (False, True))
  x = signal(plain)
  made, other = init(plain, KEY, x), init(again, KEY, x)
  assert_trees(made, other)
  assert jax.tree.structure(made) == jax.tree.structure(other)  # so that checkpoints fit
  assert_trees(graded(again, *made, x), graded(plain, *made, x), rtol=1e-4, atol=1e-6)


def test_kept_patches_and_blocks_that_train_are_handed_on():
  plain, again = (nn.build("vit:width=8,depth=2,heads=2", remat=remat) for remat in (False, True))
  x, keep = np.ones((2, 12, 12, 3), np.float32), np.array([[0, 3], [1, 2]])
  params, stats = init(plain, KEY, x)
  for encoder in (plain, again):
    assert nn.apply(encoder, params, stats, x, keep)[0]["block2"].shape == (2, 2, 8)
  spec = "conv:widths=4-4,norm=batch"
  params, stats = init(nn.build(spec), KEY, x)
  _, after = nn.apply(nn.build(spec, remat=True), params, stats, x, train=("block2",))
  assert_trees(after["block1"], stats["block1"])
  assert np.any(np.asarray(after["block2"]["BatchNorm_0"]["var"]) != 1)


def test_only_outputs_of_blocks_are_kept_for_the_gradient():
  """What the backward pass gets of the forward one. (XLA on the CPU keeps the rest all the same.)"""
  x = jax.ShapeDtypeStruct((16, 32, 32, 3), jnp.float32)
  params, stats = jax.eval_shape(lambda: nn.init(nn.build(DEEP), KEY, jnp.zeros(x.shape)))

  def kept(remat):
    def last(params, x):
      return nn.apply(nn.build(DEEP, remat=remat), params, stats, x, train=True)[0]["block8"]

    return sum(
      leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda *given: jax.vjp(last, *given)[1], params, x))
    )

  output, weights = 16 * 32 * 32 * 8, sum(leaf.size for leaf in jax.tree.leaves(params))
  assert kept(True) <= 7 * output + x.size + weights
  assert kept(False) > 20 * output
