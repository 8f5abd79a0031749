"""Flax modules as pure functions over plain dicts: `init` and `apply` with the batch statistics kept apart."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx.types import Array


def init(module: nn.Module, key: Array, *args: Any) -> tuple[dict, dict]:
  """Fresh (params, stats) of `module`; stats is {} unless the module holds batch statistics."""
  variables: Any = module.init(key, *args)
  return variables.get("params", {}), variables.get("batch_stats", {})


def apply(module: nn.Module, params: dict, stats: dict, *args: Any, train: Any = False) -> tuple[Any, dict]:
  """(output, stats after). `train` is handed to the module; in evaluation the stats come back as they were.

  `train` is False, True, or for an encoder the names of the blocks that train (the others run in evaluation mode, so
  that a frozen block's batch statistics neither move nor depend on the batch).
  An encoder of another `precision` gets its kernels in it, and its layers compute in what their kernels are in;
  vectors, batch statistics, outputs and gradients are float32.
  """
  precision = getattr(module, "precision", "float32")
  if precision != "float32":
    params = jax.tree.map(lambda p: p.astype(precision) if p.ndim > 1 else p, params)
  variables = {"params": params, "batch_stats": stats} if stats else {"params": params}
  if stats and train:
    result: Any = module.apply(variables, *args, train=train, mutable=["batch_stats"])
    output, changed = result
    stats = changed["batch_stats"]
  else:
    output: Any = module.apply(variables, *args, train=train)
  if precision != "float32":  # by name: a dict that leaves jax.tree is sorted, and blocks are in order
    output = {name: x.astype(jnp.float32) for name, x in output.items()}
  return output, stats
