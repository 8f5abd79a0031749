"""Data parallelism: one mesh of devices with one axis, "batch".

A train state is replicated over the mesh, the examples of a batch are shared out among its devices, and one plain
`jax.jit` computes with the batch as a whole: contrastive losses see all negatives, batch normalisation all examples,
Sinkhorn's codes and queues all of them, as on one device. What has to be sent between devices is the compiler's to see.

What lives on a mesh carries it (`mesh_of`): no function but the first is told of one. A mesh of None is one device,
for which nothing here does anything. The devices may be of several processes (`jax.distributed`); then every process
calls the same functions with the same values.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sslx.types import UserError

AXIS = "batch"
T = TypeVar("T")


def mesh_over(devices: Sequence[Any]) -> Mesh | None:
  """The mesh over these devices, of `jax.devices()`; None for a single one."""
  return None if len(devices) == 1 else Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def some(devices: Sequence[Any], number: int | None) -> list[Any]:
  """The first of these devices. None: all accelerators, or one CPU device; 0: all.

  Raises:
    UserError: there are fewer.
  """
  if number is None:
    number = 1 if devices[0].platform == "cpu" else 0
  if number > len(devices):
    kind = devices[0].platform.upper()
    raise UserError(f"--devices={number}: there are {len(devices)} {kind} devices; give at most so many, or all.")
  return list(devices[: number or len(devices)])


def fitting(devices: Sequence[Any], n: int) -> list[Any]:
  """As many of these devices as n rows are equal parts for."""
  return list(devices[: max(k for k in range(1, len(devices) + 1) if n % k == 0)])


def mesh_of(tree: Any) -> Mesh | None:
  """The mesh that the arrays of a tree live on."""
  arrays = (leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer))
  shardings = (array.sharding for array in arrays)
  meshes = (each.mesh for each in shardings if isinstance(each, NamedSharding) and AXIS in each.mesh.axis_names)
  return next((mesh for mesh in meshes if isinstance(mesh, Mesh)), None)


def whole(mesh: Mesh) -> NamedSharding:
  """Of what is the same on every device."""
  return NamedSharding(mesh, PartitionSpec())


def shared(mesh: Mesh, axis: int = 0) -> NamedSharding:
  """Of what is shared out along an axis: the first device has the first rows, and so on."""
  return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))


def replicate(tree: T, mesh: Mesh | None) -> T:
  """The same values on every device. Of several processes, all have to give the same."""
  if mesh is None:
    return tree

  def one(leaf: Any) -> Any:
    if is_key(leaf):
      return jax.random.wrap_key_data(one(jax.random.key_data(leaf)))
    return _placed(leaf if _is_mine(mesh) else np.asarray(leaf), whole(mesh))

  return jax.tree.map(one, tree)


def share(x: Any, mesh: Mesh | None, axis: int = 0) -> Any:
  """An array of the host [..,B,..], of which every device gets B / devices along `axis`; where these are no equal
  parts, every device gets, and computes, all of it. Of several processes, all give the same.
  """
  if mesh is None:
    return x
  return _placed(x, shared(mesh, axis) if fits(x.shape[axis], mesh) else whole(mesh))


def own_rows(n: int, mesh: Mesh | None) -> slice:
  """Which of the n rows of a batch the devices of this process get; all, where they are no equal parts."""
  if mesh is None or not fits(n, mesh):
    return slice(0, n)
  each, mine = n // mesh.size, [i for i, device in enumerate(mesh.devices.flat) if device in mesh.local_devices]
  return slice(mine[0] * each, (mine[-1] + 1) * each)


def join(rows: Any, n: int, mesh: Mesh | None) -> Any:
  """The batch [n,...] of which each process has `own_rows`."""
  if mesh is None:
    return rows
  sharding = shared(mesh) if fits(n, mesh) else whole(mesh)
  return jax.make_array_from_process_local_data(sharding, rows, (n, *rows.shape[1:]))


def constrain(tree: T, mesh: Mesh | None) -> T:
  """Under jit: tells the compiler that the rows of these arrays [B,...] are shared out, where B fits."""
  if mesh is None:
    return tree
  return jax.tree.map(
    lambda x: jax.lax.with_sharding_constraint(x, shared(mesh)) if fits(x.shape[0], mesh) else x, tree
  )


def local(tree: T) -> T:
  """A replicated tree as what the devices of this process hold of it, without a copy: what is then computed with it
  needs no other process.
  """
  mesh = mesh_of(tree)
  if mesh is None or _is_mine(mesh):
    return tree
  mine = mesh_over(list(mesh.local_devices))

  def one(leaf: Any) -> Any:
    if is_key(leaf):
      return jax.random.wrap_key_data(one(jax.random.key_data(leaf)))
    parts = [shard.data for shard in leaf.addressable_shards]
    return parts[0] if mine is None else jax.make_array_from_single_device_arrays(leaf.shape, whole(mine), parts)

  return jax.tree.map(one, tree)


def fits(n: int, mesh: Mesh) -> bool:
  """Whether n rows are equal parts for the devices."""
  return n % mesh.size == 0


def check_batch(batch_size: int, accumulate: int, mesh: Mesh | None) -> None:
  """Raises UserError where a batch, or each of its `accumulate` parts, is no equal parts for the devices."""
  if mesh is None or fits(batch_size // accumulate, mesh):
    return
  parts = "" if accumulate == 1 else f" in {accumulate} parts (--accumulate)"
  one = mesh.size * accumulate
  near = max(one, round(batch_size / one) * one)
  raise UserError(
    f"--batch_size={batch_size}: a batch of {batch_size}{parts} does not split over {mesh.size} devices; give "
    f"--batch_size={near}, or another --devices."
  )


def is_key(leaf: Any) -> bool:
  """Whether it is a key of jax.random, or several."""
  return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_mine(mesh: Any) -> bool:
  return len(mesh.local_devices) == mesh.size


def _placed(x: Any, sharding: NamedSharding) -> jax.Array:
  """The host's x on the devices, of which this process fills its own: `device_put` compares x between processes."""
  if _is_mine(sharding.mesh):
    return jax.device_put(x, sharding)
  return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])
