"""Which parameters train: patterns over role/path names -> trees of bools."""

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

import jax

from sslx.types import Params


def path_of(key_path: Sequence[Any]) -> str:
  """`encoder/block1/Conv_0/kernel` of a tree path."""
  return "/".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in key_path)


def matching(params: Params, patterns: Iterable[str]) -> Any:
  """Tree of bools: True where a leaf's path matches one of the shell-style patterns (`encoder/block3/*`, `head/*`).

  Raises:
    ValueError: a pattern matches nothing (a silent no-op would train, or freeze, something else than asked for).
  """
  patterns = list(patterns)
  paths = [path_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
  for pattern in patterns:
    if not fnmatch.filter(paths, pattern):
      raise ValueError(f"pattern {pattern!r} matches no parameter; there are {', '.join(paths)}")
  return jax.tree_util.tree_map_with_path(
    lambda path, _: any(fnmatch.fnmatchcase(path_of(path), p) for p in patterns), params
  )


def trainable(params: Params, blocks: Iterable[str]) -> Any:
  """Mask for a classifier: the head and the named encoder blocks train (a block without parameters is passed over)."""
  return matching(params, ["head/*"] + [f"encoder/{b}/*" for b in blocks if params["encoder"].get(b)])


def count(params: Any, mask: Any = None) -> int:
  """Number of scalar parameters, or of those where the mask is True."""
  if mask is None:
    return sum(p.size for p in jax.tree.leaves(params))
  return sum(p.size for p, m in zip(jax.tree.leaves(params), jax.tree.leaves(mask), strict=True) if m)
