"""A mesh of four devices: who gets which rows, and that a run does not notice. All methods: `test_contract.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from pretexts import TINY, build, pixels, prepare_for

import sslx
from sslx.data.lazy import LazyArray
from sslx.training import hooks, parallel, step
from sslx.training.loop import Loop, fit
from sslx.types import UserError

X = pixels(40, 6, 6, 1)


@pytest.fixture(scope="module")
def mesh():
  return parallel.mesh_over(jax.devices()[:4])


def test_one_device_needs_no_mesh():
  assert parallel.mesh_over(jax.devices()[:1]) is None
  tree = {"a": np.ones(3)}
  assert parallel.replicate(tree, None) is tree
  assert parallel.share(X, None) is X
  assert parallel.join(X, 40, None) is X
  assert parallel.constrain(tree, None) is tree
  assert parallel.own_rows(7, None) == slice(0, 7)
  assert parallel.mesh_of(jax.device_put(tree)) is None
  assert parallel.local(tree) is tree


def test_every_device_has_its_rows(mesh):
  shared = parallel.share(np.arange(8), mesh)
  assert [list(np.asarray(each.data)) for each in shared.addressable_shards] == [[0, 1], [2, 3], [4, 5], [6, 7]]
  along = parallel.share(np.arange(16).reshape(2, 8), mesh, axis=1)
  assert [each.data.shape for each in along.addressable_shards] == [(2, 2)] * 4
  odd = parallel.share(np.arange(6), mesh)  # no equal parts: all of it everywhere
  assert odd.sharding.spec == PartitionSpec()
  tree = parallel.replicate({"key": jax.random.key(3), "w": np.arange(3.0)}, mesh)
  assert parallel.mesh_of(tree) == mesh
  assert all(len(leaf.sharding.device_set) == 4 for leaf in jax.tree.leaves(tree))
  np.testing.assert_array_equal(jax.random.key_data(tree["key"]), jax.random.key_data(jax.random.key(3)))
  np.testing.assert_array_equal(parallel.join(np.arange(8), 8, mesh), np.arange(8))
  assert parallel.own_rows(8, mesh) == slice(0, 8)  # this process has all devices


def test_which_devices(mesh):
  devices = jax.devices()
  assert parallel.some(devices, None) == devices[:1]  # of the CPU
  assert parallel.some(devices, 0) == devices
  assert parallel.some(devices, 2) == devices[:2]
  with pytest.raises(UserError, match="--devices=9: there are 4 CPU devices"):
    parallel.some(devices, 9)
  assert [len(parallel.fitting(devices, n)) for n in (8, 6, 7, 1)] == [4, 3, 1, 1]
  parallel.check_batch(8, 2, mesh)
  parallel.check_batch(7, 1, None)
  with pytest.raises(UserError, match=r"--batch_size=30: a batch of 30 does not split over 4 devices; .*_size=32"):
    parallel.check_batch(30, 1, mesh)
  with pytest.raises(UserError, match=r"in 3 parts .*--batch_size=24"):
    parallel.check_batch(30, 3, mesh)


def trained(mesh, x, steps: int = 7, start=None, loop: Loop | None = None):
  """(state, rows) of a run."""
  pretext, prepare, tx = build("simclr", TINY, {"projector": (6,)}), prepare_for(TINY), optax.adam(1e-2)
  rows: list = []
  ts = start or step.make_init(pretext, tx, prepare)(jax.random.key(0), {"x": X[:1]})
  ts = parallel.replicate(ts, mesh)
  made = step.make_train_step(pretext, tx, prepare, mesh=mesh)
  loop = loop or Loop(steps, 8, 0, log_every=1)
  return fit(ts, made, {"x": x}, loop._replace(steps=steps), [hooks.log_to(rows.append)]), rows


def lazy(x: np.ndarray) -> LazyArray:
  return LazyArray(x.shape, lambda rows: x[rows])


def bits(ts) -> list[bytes]:
  return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(ts._replace(key=jax.random.key_data(ts.key)))]


def test_streamed_and_in_memory_and_on_one_device_are_the_same_run(mesh):
  (alone, one), (_, held), (_, read) = trained(None, X), trained(mesh, X), trained(mesh, lazy(X))
  assert len(one) == 7
  for a, b, c in zip(one, held, read, strict=True):
    np.testing.assert_allclose([b["loss"], c["loss"]], a["loss"], rtol=1e-5)
  loop = Loop(7, 8, 0, log_every=7, steps_per_call=7)  # all steps as one program
  scanned, _ = trained(mesh, X, loop=loop)
  for a, b in zip(jax.tree.leaves(alone.params), jax.tree.leaves(scanned.params), strict=True):
    np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("x", [X, lazy(X)], ids=["in memory", "streamed"])
def test_a_run_on_a_mesh_is_resumed_bit_for_bit(mesh, x):
  whole, _ = trained(mesh, x)
  half, _ = trained(mesh, x, 3)
  saved = jax.tree.map(np.asarray, half._replace(key=jax.random.key_data(half.key)))
  again = jax.tree.map(jnp.asarray, saved)
  again = again._replace(key=jax.random.wrap_key_data(again.key))
  assert bits(trained(mesh, x, 7, again)[0]) == bits(whole)


def test_from_python(toy):
  settings = {"encoder": TINY, "steps": 3, "batch_size": 8, "progress": False, "projector": (6,)}
  one, four = (sslx.pretrain("simclr", toy, devices=n, **settings) for n in (1, 4))
  assert parallel.mesh_of(four.params).size == 4
  np.testing.assert_allclose(four.history[-1]["loss"], one.history[-1]["loss"], rtol=1e-4)
  x = toy.test.x[:10]
  np.testing.assert_allclose(four.representation()(x), one.representation()(x), rtol=1e-3, atol=1e-4)
  with pytest.raises(UserError, match=r"batch_size=9: a batch of 9 does not split over 4 devices"):
    sslx.pretrain("simclr", toy, devices=4, **{**settings, "batch_size": 9})
