"""Encoders in bfloat16: float32 but for rounding, products in bfloat16, sums of many in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, PREPARE, apply, init

from sslx import nn


def images(n=4, height=8, width=8, channels=1, seed=0):
  return np.random.default_rng(seed).uniform(size=(n, height, width, channels)).astype(np.float32)


@pytest.mark.parametrize(
  "spec",
  ["conv:widths=4-8", "conv:widths=4-8,norm=group,down=stride", "conv:widths=4-8,norm=batch", "mlp:widths=32,code=9",
   "vit:width=8,depth=2,heads=2", "rotnet", "split:widths=4-8"],
)  # fmt: skip
def test_bfloat16_is_float32_but_for_rounding(spec):
  """Loss to 1 %, gradient to 15 % of its length (rounding flips a relu here and there); what comes out is float32."""
  x = images(16, 12, 12, 3 if spec.startswith("split") else 1)
  plain, half = nn.build(spec), nn.build(spec, "bfloat16")
  params, stats = init(plain, KEY, x)
  target = np.random.default_rng(1).normal(size=16).astype(np.float32)

  @functools.partial(jax.jit, static_argnums=0)
  def grads(encoder, params, stats):
    def loss(params):
      outputs, after = nn.apply(encoder, params, stats, x, train=True)
      assert tuple(outputs) == encoder.block_names  # in order
      feature = outputs[encoder.block_names[-1]].reshape(16, -1)
      return (jnp.square(feature.mean(1) - target) + jnp.square(feature).mean(1)).mean(), (outputs, after)

    return jax.value_and_grad(loss, has_aux=True)(params)

  (value, (outputs, after)), expected = grads(plain, params, stats)
  (half_value, (half_outputs, half_after)), got = grads(half, params, stats)
  assert {leaf.dtype for leaf in jax.tree.leaves((half_outputs, half_after, got))} == {np.dtype("float32")}
  assert any(np.any(half_outputs[name] != outputs[name]) for name in outputs)  # else it was float32
  np.testing.assert_allclose(half_value, value, rtol=0.01)
  for a, b in zip(jax.tree.leaves(half_after), jax.tree.leaves(after), strict=True):
    np.testing.assert_allclose(a, b, rtol=0.01, atol=1e-3)
  got, expected = (np.concatenate([np.ravel(g) for g in jax.tree.leaves(grads)]) for grads in (got, expected))
  assert 0 < np.linalg.norm(got - expected) < 0.15 * np.linalg.norm(expected)
  readers = [nn.Representation(encoder, "flatten", params, stats, PREPARE) for encoder in (plain, half)]
  np.testing.assert_array_equal(readers[1](x), readers[0](x))  # what is read is float32


def test_bfloat16_resnet18():
  x = images(8, 8, 8, 3)
  plain, half = nn.build("resnet18"), nn.build("resnet18", "bfloat16")
  params, stats = init(plain, KEY, x)
  (one, after), (other, half_after) = (apply(e, params, stats, x, train=True) for e in (plain, half))
  assert 0 < np.linalg.norm(other["stage4"] - one["stage4"]) < 0.05 * np.linalg.norm(one["stage4"])
  for a, b in zip(jax.tree.leaves(half_after), jax.tree.leaves(after), strict=True):
    np.testing.assert_allclose(a, b, rtol=0.02, atol=2e-3)


def products(jaxpr) -> list[tuple[str, ...]]:
  """The operands' dtypes of every convolution and matrix product, in whatever it is nested."""
  operands = []
  for eqn in jaxpr.eqns:
    if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
      operands.append(tuple(str(v.aval.dtype) for v in eqn.invars))
    for value in jax.tree.leaves(
      list(eqn.params.values()), is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")
    ):
      inner = getattr(value, "jaxpr", value)
      operands += products(inner) if hasattr(inner, "eqns") else []
  return operands


@pytest.mark.parametrize(
  ("spec", "least"),
  [("conv:widths=4-6,norm=batch", 2), ("conv:widths=4,norm=group,code=3", 2), ("vit:width=8,depth=1,heads=2", 7)],
)
def test_products_of_a_bfloat16_encoder_are_in_bfloat16(spec, least):
  encoder, x = nn.build(spec, "bfloat16"), images(2, 8, 8)
  params, stats = init(encoder, KEY, x)
  operands = products(jax.make_jaxpr(lambda p: nn.apply(encoder, p, stats, x, train=True)[0])(params).jaxpr)
  assert len(operands) >= least
  assert set(operands) == {("bfloat16", "bfloat16")}


def test_bias_gradients_of_a_bfloat16_encoder_are_sums_of_many():
  """3,200 ones: in bfloat16 sums stop growing where one more is less than the rounding, at 256."""
  encoder, x = nn.build("conv:widths=2,down=none", "bfloat16"), np.ones((50, 8, 8, 1), np.float32)
  params, _ = init(encoder, KEY, x)
  params = jax.tree.map(lambda p: jnp.abs(p) + 1, params)
  grads = jax.jit(jax.grad(lambda p: nn.apply(encoder, p, {}, x)[0]["block1"].sum()))(params)
  np.testing.assert_allclose(grads["block1"]["Conv_0"]["bias"], 3200)
  np.testing.assert_allclose(grads["block1"]["Conv_0"]["kernel"][1, 1, 0], 3200, rtol=0.01)
