"""The train step in parts: gradients accumulated over a batch are those of the whole, in less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sslx import nn
from sslx.modalities import MODALITIES
from sslx.pretext import build
from sslx.training import optim
from sslx.training.step import make_init, make_train_step
from sslx.types import UserError

prepare = MODALITIES["image"].prepare


def numbers(ts):
  return [np.asarray(leaf) for leaf in jax.tree.leaves(ts._replace(key=jax.random.key_data(ts.key)))]


def pieces(toy, method="supervised", encoder="conv:widths=4-6", **hp):
  """A method, its optimiser, and how to make its first state."""
  pretext, tx = build(method, nn.build(encoder), hp, toy.task), optim.optimizer(0.1, "sgd")
  first = {"x": toy.train.x[:1], "y": toy.train.y[:1]}
  return pretext, tx, lambda: make_init(pretext, tx, prepare)(jax.random.key(0), first)


@pytest.mark.parametrize(
  ("method", "encoder"), [("supervised", "conv:widths=4"), ("autoencode", "mlp:widths=8,code=3")]
)
def test_parts_of_a_batch_make_the_step_of_the_whole(method, encoder, toy):
  """Where images do not know of each other and nothing is drawn. From memory, streamed, and several steps in a call."""
  pretext, tx, fresh = pieces(toy, method, encoder)
  data = {"x": jnp.asarray(toy.train.x), "y": jnp.asarray(toy.train.y)}
  indices = np.random.default_rng(0).permutation(240)[:48].astype(np.int32).reshape(2, 24)
  whole, parts = make_train_step(pretext, tx, prepare), make_train_step(pretext, tx, prepare, 4)
  expected, rows = fresh(), []
  for i in indices:
    expected, metrics = whole(expected, data, i[None])
    rows.append({name: value[0] for name, value in metrics.items()})

  def streamed(ts):
    batch = {name: np.asarray(array)[indices[0]] for name, array in data.items()}
    return parts(ts, batch, np.arange(24, dtype=np.int32)[None])

  one_by_one, first = parts(fresh(), data, indices[:1])
  for got in (parts(one_by_one, data, indices[1:]), parts(streamed(fresh())[0], data, indices[1:])):
    for a, b in zip(numbers(got[0]), numbers(expected), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  together, metrics = parts(fresh(), data, indices)
  for a, b in zip(numbers(together), numbers(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  assert int(together.step) == 2  # an update of the optimiser for the whole batch
  for name, values in metrics.items():
    if name != "psnr":  # a mean of logarithms
      np.testing.assert_allclose(values, [row[name] for row in rows], rtol=1e-4, err_msg=name)
      np.testing.assert_allclose(first[name][0], rows[0][name], rtol=1e-4)


def test_parts_are_what_they_are_written_out(toy):
  """Each with its own key; the state passes through all of them; means of gradients and metrics; one `update`."""
  pretext, tx, fresh = pieces(toy, "moco", "conv:widths=4,norm=batch,code=3", queue=20, projector=(4,))
  images, updates = toy.train.x[:12], []

  def update(params, state, step):
    updates.append(step)
    return pretext.update(params, state, step)

  before, after = fresh(), fresh()
  step = make_train_step(pretext._replace(update=update), tx, prepare, 3)
  after, metrics = step(after, {"x": jnp.asarray(images)}, np.arange(12, dtype=np.int32)[None])
  assert len(updates) == 1
  state, grads, rows, keys, seen = before.state, [], [], jax.random.split(jax.random.fold_in(before.key, 0), 3), []
  for key, part in zip(keys, (images[i::3] for i in range(3)), strict=True):
    one, two = jax.random.split(key)
    view = jax.jit(pretext.transform)(one, {"x": prepare(part)})
    seen.append(view["view1"])
    (loss, (state, row)), g = jax.jit(jax.value_and_grad(pretext.loss, has_aux=True))(before.params, state, two, view)
    grads.append(g)
    rows.append({"loss": loss, **row})
  assert not np.allclose(seen[0], seen[1])
  mean = jax.tree.map(lambda *g: sum(g) / 3, *grads)
  params = optax.apply_updates(before.params, tx.update(mean, before.opt_state, before.params)[0])
  state = pretext.update(params, state, before.step)
  for a, b in zip(jax.tree.leaves((after.params, after.state)), jax.tree.leaves((params, state)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
  for name, value in metrics.items():
    np.testing.assert_allclose(value[0], np.mean([row[name] for row in rows]), rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(after.state["queue"][12:], fresh().state["queue"][:8], atol=1e-6)  # 12 keys came in


def test_parts_take_less_memory(toy):
  pretext, tx, fresh = pieces(toy)
  data, indices = {"x": toy.train.x, "y": toy.train.y}, np.arange(160, dtype=np.int32)[None]
  steps = [make_train_step(pretext, tx, prepare, n).lower(fresh(), data, indices).compile() for n in (1, 8)]
  whole, parts = (step.memory_analysis().temp_size_in_bytes for step in steps)
  assert parts < whole / 3


def test_a_batch_that_does_not_split(toy):
  pretext, tx, fresh = pieces(toy)
  with pytest.raises(UserError, match="--accumulate=5: a batch of 12 images"):
    make_train_step(pretext, tx, prepare, 5)(
      fresh(), {"x": toy.train.x[:12], "y": toy.train.y[:12]}, np.arange(12, dtype=np.int32)[None]
    )


@pytest.mark.parametrize("where", ["params", "state"])
def test_the_role_of_the_encoder_is_asked_for(where, toy):
  pretext, tx, _ = pieces(toy)

  def init(key, batch):
    params, state = pretext.init(key, batch)
    return ({"net": params}, state) if where == "params" else (params, {})

  first = {"x": toy.train.x[:1], "y": toy.train.y[:1]}
  with pytest.raises(TypeError, match="role 'encoder'"):
    jax.eval_shape(make_init(pretext._replace(init=init), tx, prepare), jax.random.key(0), first)


def test_bytes_are_prepared_once_before_the_transform(toy):
  pretext, tx, fresh = pieces(toy)
  seen = []

  def transform(key, batch):
    seen.append((batch["x"].dtype, set(batch)))
    return pretext.transform(key, batch)

  data = {"x": toy.train.x, "y": toy.train.y}
  step = make_train_step(pretext._replace(transform=transform), tx, prepare)
  _, metrics = step(fresh(), data, np.arange(8, dtype=np.int32)[None])
  floats = {"x": toy.train.x / np.float32(255), "y": toy.train.y}
  _, others = step(fresh(), floats, np.arange(8, dtype=np.int32)[None])
  np.testing.assert_allclose(metrics["loss"], others["loss"], rtol=1e-6)
  assert seen == [(jnp.float32, {"x", "y"})] * 2
