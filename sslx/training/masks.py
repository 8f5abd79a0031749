"""Which parameters train: patterns over role/path names -> trees of bools."""

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

import jax

from sslx.types import Params, UserError


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


def trained_blocks(mode: str, block_names: Sequence[str]) -> tuple[str, ...]:
  """Encoder blocks that a mode trains: scratch and full all, frozen none, last:K the last K.

  Raises:
    UserError: last:K with K not in 1 .. number of blocks, or an unknown mode.
  """
  if mode in ("scratch", "full"):
    return tuple(block_names)
  if mode == "frozen":
    return ()
  kind, _, k = mode.partition(":")
  if kind != "last" or not k.isdecimal():
    raise UserError(f"--modes={mode}: unknown mode. Known: scratch, frozen, last:K (K blocks), full.")
  if not 1 <= int(k) <= len(block_names):
    raise UserError(f"--modes={mode}: this encoder has {len(block_names)} blocks ({', '.join(block_names)}).")
  return tuple(block_names[-int(k) :])


def trainable(params: Params, blocks: Iterable[str]) -> Any:
  """Mask for a classifier: the head and the named encoder blocks train (a block without parameters is passed over)."""
  return matching(params, ["head/*"] + [f"encoder/{b}/*" for b in blocks if params["encoder"].get(b)])


def count(params: Any, mask: Any = None) -> int:
  """Number of scalar parameters, or of those where the mask is True."""
  if mask is None:
    return sum(p.size for p in jax.tree.leaves(params))
  return sum(p.size for p, m in zip(jax.tree.leaves(params), jax.tree.leaves(mask), strict=True) if m)
