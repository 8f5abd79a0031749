"""Positions, attention written out, and what an encoder of patches knows of the ones it does not see."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, apply, init

from sslx import nn
from sslx.nn.vit import MaskedDecoder, PatchEmbed, TransformerBlock, positions
from sslx.ops.patches import patchify
from sslx.training import masks
from sslx.types import UserError

SPEC = "vit:width=8,depth=2,heads=2,patch=3"


def images(n=4, height=9, width=7, channels=2, seed=0):
  return np.random.default_rng(seed).uniform(size=(n, height, width, channels)).astype(np.float32)


def numbers(tree, seed=0):
  """A generic point of parameter space: no zero bias, no unit scale."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda p: p + 0.3 * rng.standard_normal(p.shape).astype(np.float32), tree)


@functools.cache
def encoder_and_params(spec=SPEC):
  encoder = nn.build(spec)
  return encoder, numbers(init(encoder, KEY, images())[0])


def orders(n, patches, seed=0):
  rng = np.random.default_rng(seed)
  return np.stack([rng.permutation(patches) for _ in range(n)]).astype(np.int32)


def flat(grid):
  return np.asarray(grid).reshape(len(grid), -1, grid.shape[-1])


def picked(grid, keep):
  return np.take_along_axis(flat(grid), keep[..., None], 1)


# positions


def test_positions_in_closed_form():
  rows, columns, width = 3, 4, 12
  got = positions(rows, columns, width)
  assert got.shape == (rows, columns, width)
  assert got.dtype == np.float32
  for r in range(rows):
    for c in range(columns):
      omega = [30 ** (-i / 3) for i in range(3)]
      expected = [f(place * o) for place in (r, c) for f in (math.sin, math.cos) for o in omega]
      np.testing.assert_allclose(got[r, c], expected, atol=1e-6)


def test_every_place_has_its_own_position():
  places = positions(32, 20, 16).reshape(-1, 16)
  distance = np.square(places[:, None] - places[None]).sum(-1) + 9 * np.eye(len(places))
  assert distance.min() > 0.05
  np.testing.assert_array_equal(positions(32, 20, 16)[:5, :7], positions(5, 7, 16))  # whatever the image's size


# blocks against numpy


def layer_norm(x, p):
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
  return x * p["scale"] + p["bias"]


def dense(x, p):
  return x @ p["kernel"] + p["bias"]


def block(x, p, heads):
  """One image [n,D], head by head and token by token."""
  width = x.shape[-1]
  size, qkv, attended = width // heads, dense(layer_norm(x, p["norm1"]), p["qkv"]), np.zeros_like(x)
  for head in range(heads):
    q, k, v = (qkv[:, i * width + head * size : i * width + (head + 1) * size] for i in range(3))
    for token in range(len(x)):
      scores = np.array([q[token] @ other for other in k]) / math.sqrt(size)
      weights = np.exp(scores - scores.max())
      attended[token, head * size : (head + 1) * size] = (weights / weights.sum()) @ v
  x = x + dense(attended, p["out"])
  h = dense(layer_norm(x, p["norm2"]), p["mlp1"])
  h = h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3))) / 2  # gelu
  x = x + dense(h, p["mlp2"])
  return layer_norm(x, p["norm"]) if "norm" in p else x


def float64(tree):
  return jax.tree.map(lambda p: np.asarray(p, np.float64), tree)


@pytest.mark.parametrize(("shape", "heads", "final"), [((2, 5, 8), 2, False), ((2, 2, 3, 12), 3, True)])
def test_block_equals_numpy(shape, heads, final):
  x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
  module = TransformerBlock(heads, final=final)
  params = numbers(init(module, KEY, x)[0])
  got = apply(module, params, {}, x)[0]
  assert got.shape == shape
  expected = np.stack([block(flat(x)[i].astype(np.float64), float64(params), heads) for i in range(2)])
  np.testing.assert_allclose(flat(got), expected, rtol=1e-4, atol=1e-4)


def test_encoder_equals_numpy():
  encoder, params = encoder_and_params()
  x, p = images(2), float64(params)
  tokens = dense(flat(patchify(jnp.asarray(x), 3)).astype(np.float64), p["patches"]["Dense_0"])
  tokens = tokens + positions(3, 3, 8).reshape(9, 8)
  outputs = apply(encoder, params, {}, x)[0]
  for name in encoder.block_names:
    assert outputs[name].shape == (2, 3, 3, 8)
    if name != "patches":
      tokens = np.stack([block(t, p[name], 2) for t in tokens])
    np.testing.assert_allclose(flat(outputs[name]), tokens, rtol=1e-3, atol=1e-3, err_msg=name)
  np.testing.assert_array_equal(params["block2"]["norm"]["scale"].shape, (8,))  # a last norm, after the last block only
  assert "norm" not in params["block1"]


# tokens that are kept


def test_all_kept_in_another_order_is_the_grid():
  encoder, params = encoder_and_params()
  x, order = images(), orders(4, 9)
  grid, kept = apply(encoder, params, {}, x)[0], apply(encoder, params, {}, x, order)[0]
  for name in encoder.block_names:
    assert kept[name].shape == (4, 9, 8)
    np.testing.assert_allclose(kept[name], picked(grid[name], order), rtol=1e-4, atol=1e-5, err_msg=name)


def test_hidden_patches_do_not_exist():
  """They may hold anything (nan, here), and the derivative by their pixels is 0; that by visible ones is not."""
  encoder, params = encoder_and_params()
  x, keep = images(), orders(4, 9)[:, :4]
  seen = np.stack([np.isin(np.arange(9), k).reshape(3, 3) for k in keep])
  seen = seen.repeat(3, 1).repeat(3, 2)[:, :9, :7, None]
  last = functools.partial(lambda p, x: apply(encoder, p, {}, x, keep)[0]["block2"], params)
  tokens = last(x)
  np.testing.assert_array_equal(last(np.where(seen, x, np.nan)), tokens)
  jacobian = np.asarray(jax.jit(jax.jacrev(lambda x: last(x).sum((0, 1))))(x))  # [8,B,H,W,C]
  by_pixel = np.abs(jacobian).max((0, -1))[..., None]
  assert (by_pixel[~seen] == 0).all()
  assert (by_pixel[seen] > 0).mean() > 0.99
  assert np.abs(last(np.where(seen, 1 - x, x)) - tokens).max() > 0.01


def test_only_kept_tokens_attend():
  """Four kept tokens are what an image of four patches would give at those places."""
  encoder, params = encoder_and_params()
  x, p, keep = images(1), float64(params), orders(1, 9)[:, :4]
  tokens = flat(apply(encoder, params, {}, x)[0]["patches"])[0][keep[0]].astype(np.float64)
  for name in ("block1", "block2"):
    tokens = block(tokens, p[name], 2)
  np.testing.assert_allclose(apply(encoder, params, {}, x, keep)[0]["block2"][0], tokens, rtol=1e-3, atol=1e-3)


def test_tokens_know_their_place():
  """Equal patches at different places give different tokens."""
  encoder, params = encoder_and_params()
  tokens = flat(apply(encoder, params, {}, np.full((1, 9, 9, 2), 0.5, np.float32))[0]["patches"])[0]
  assert np.abs(tokens[:, None] - tokens[None]).max(-1)[~np.eye(9, dtype=bool)].min() > 0.01


# sizes and counts


@pytest.mark.parametrize(
  ("size", "grid"), [((28, 28, 1), (7, 7)), ((32, 32, 1), (8, 8)), ((27, 31, 1), (7, 8)), ((3, 50, 1), (1, 13))]
)
def test_any_size_with_the_same_parameters(size, grid):
  encoder = nn.build("vit")
  assert encoder.any_size
  assert encoder.patch == 4
  shapes = jax.eval_shape(lambda: nn.init(encoder, KEY, jnp.zeros((1, 28, 28, 1)))[0])
  outputs = jax.eval_shape(lambda p: nn.apply(encoder, p, {}, jnp.zeros((2, *size)))[0], shapes)
  assert {outputs[name].shape for name in encoder.block_names} == {(2, *grid, 64)}
  mine = jax.eval_shape(lambda: nn.init(encoder, KEY, jnp.zeros((1, *size)))[0])
  assert jax.tree.map(jnp.shape, mine) == jax.tree.map(jnp.shape, shapes)


@pytest.mark.parametrize(("spec", "d", "depth", "patch"), [("vit", 64, 3, 4), (SPEC, 8, 2, 3)])
def test_parameter_count(spec, d, depth, patch):
  encoder = nn.build(spec)
  params = jax.eval_shape(lambda: nn.init(encoder, KEY, jnp.zeros((1, 12, 12, 3)))[0])
  one_block = (d + 1) * 3 * d + (d + 1) * d + (d + 1) * 4 * d + (4 * d + 1) * d + 2 * 2 * d
  assert masks.count(params) == (3 * patch**2 + 1) * d + depth * one_block + 2 * d


@pytest.mark.parametrize("spec", ["vit:width=6,heads=2", "vit:width=8,heads=3"])
def test_widths_that_do_not_divide_are_refused(spec):
  with pytest.raises(UserError, match="multiple of 4 and of the heads"):
    nn.build(spec)


# the masked decoder


def test_masked_decoder_equals_numpy():
  rng = np.random.default_rng(0)
  z, order = rng.standard_normal((3, 4, 6)).astype(np.float32), orders(3, 6)
  module = MaskedDecoder((2, 3), 5, width=8, depth=2, heads=2)
  params = numbers(init(module, KEY, z, order)[0])
  got, p = apply(module, params, {}, z, order)[0], float64(params)
  assert got.shape == (3, 2, 5)
  for i in range(3):
    tokens = np.zeros((6, 8))  # in the image's order
    tokens[order[i, :4]] = dense(z[i].astype(np.float64), p["Dense_0"])
    tokens[order[i, 4:]] = p["mask"]
    tokens += positions(2, 3, 8).reshape(6, 8)
    for name in ("block1", "block2"):
      tokens = block(tokens, p[name], 2)
    np.testing.assert_allclose(got[i], dense(tokens, p["pixels"])[order[i, 4:]], rtol=1e-3, atol=1e-3)


def test_embedding_of_all_patches_is_one_dense_layer():
  x, module = images(2, 6, 6, 1), PatchEmbed(8, 3)
  params = init(module, KEY, x)[0]
  assert params["Dense_0"]["kernel"].shape == (9, 8)
  zero = apply(module, params, {}, np.zeros_like(x))[0]
  np.testing.assert_allclose(zero[0], positions(2, 2, 8), atol=1e-6)
  twice = apply(module, params, {}, 2 * x)[0] - zero
  np.testing.assert_allclose(twice, 2 * (apply(module, params, {}, x)[0] - zero), atol=1e-5)
