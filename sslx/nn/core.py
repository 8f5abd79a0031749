"""Flax modules as pure functions over plain dicts: `init` and `apply` with the batch statistics kept apart."""

from typing import Any

import flax.linen as nn

from sslx.types import Array


def init(module: nn.Module, key: Array, *args: Any) -> tuple[dict, dict]:
  """Fresh (params, stats) of `module`; stats is {} unless the module holds batch statistics."""
  variables: Any = module.init(key, *args)
  return variables.get("params", {}), variables.get("batch_stats", {})


def apply(module: nn.Module, params: dict, stats: dict, *args: Any, train: Any = False) -> tuple[Any, dict]:
  """(output, stats after). `train` is handed to the module; in evaluation the stats come back as they were.

  `train` is False, True, or for an encoder the names of the blocks that train (the others run in evaluation mode, so
  that a frozen block's batch statistics neither move nor depend on the batch).
  """
  variables = {"params": params, "batch_stats": stats} if stats else {"params": params}
  if stats and train:
    result: Any = module.apply(variables, *args, train=train, mutable=["batch_stats"])
    output, changed = result
    return output, changed["batch_stats"]
  return module.apply(variables, *args, train=train), stats
