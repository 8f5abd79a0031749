"""Checkpoints by orbax: items `state` (all of a TrainState), `encoder` (params and batch statistics) and `meta` (JSON).

`encoder` restores with no knowledge of the method that made it. A flipped byte in a checkpoint restores silently in
orbax, so `meta` keeps a sha256 of each item's leaves, which is checked on the way back.
"""

import hashlib
import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from sslx.training.masks import path_of
from sslx.types import TrainState, UserError

KEEP = 2  # the newest, and one to fall back to


def save(directory: Path, ts: TrainState, meta: dict[str, Any]) -> None:
  """Saves ts at its step, synchronously (an asynchronous save not waited for is lost without a word).

  meta: JSON-serialisable; the digests are added. The checkpoint appears by a rename, so a kill or a full disk leaves
  the one before as it was.

  Raises:
    UserError: the directory cannot be written, the disk is full, or this step is already there.
  """
  state = _plain(ts)
  encoder = {"params": ts.params["encoder"], "stats": ts.state["encoder"]}
  meta = {**meta, "step": int(ts.step), "digests": {"state": digest(state), "encoder": digest(encoder)}}
  try:
    with _manager(directory) as manager:
      done = manager.save(
        int(ts.step),
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state), encoder=ocp.args.StandardSave(encoder), meta=ocp.args.JsonSave(meta)
        ),
      )
  except Exception as error:  # orbax and tensorstore raise OSError, ValueError and bare XlaRuntimeError alike
    raise UserError(
      f"--out: cannot save a checkpoint in {directory}: {_first_line(error)}; "
      "earlier checkpoints are kept, run again when there is room or permission."
    ) from error
  if not done:
    raise UserError(f"--out: {directory} already holds step {int(ts.step)} or a later one; use --fresh to start over.")


def steps(directory: Path) -> list[int]:
  """Steps of the finished checkpoints, oldest first; [] for a folder without any."""
  if not directory.is_dir():
    return []
  return sorted(int(d.name) for d in directory.iterdir() if d.name.isdecimal())


def restore(directory: Path, template: TrainState, only: int | None = None) -> TrainState | None:
  """The newest intact TrainState, or None where there is none. A damaged one is passed over with a warning.

  template: a TrainState of the same shapes (its values are not read).
  only: this step and no other.

  Raises:
    UserError: checkpoints exist and none is intact, or they are of another architecture.
  """
  plain = _plain(template)
  intact = _newest_intact(
    directory, "state", ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, plain)), only
  )
  if intact is None:
    return None
  state = intact[0]
  if jax.tree.map(np.shape, plain) != jax.tree.map(np.shape, state):
    raise UserError(f"{directory}: this checkpoint is of another architecture; use --fresh to start over.")
  ts = TrainState(**jax.tree.map(jax.numpy.asarray, state))
  return ts._replace(key=jax.random.wrap_key_data(ts.key))


def restore_encoder(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
  """({'params', 'stats'}, meta) of the newest intact checkpoint below `directory`.

  directory: a run directory, its checkpoints folder, or one checkpoint in it.

  Raises:
    UserError: no checkpoint there, or none intact.
  """
  directory, only = locate(directory)
  intact = _newest_intact(directory, "encoder", ocp.args.StandardRestore(), only)
  if intact is None:
    raise UserError(f"--checkpoint={directory}: no checkpoint in this folder.")
  return intact


def locate(directory: Path) -> tuple[Path, int | None]:
  """(checkpoints folder, step or None for the newest) of a run directory, its checkpoints folder, or one checkpoint.

  Raises:
    UserError: no such folder.
  """
  if not directory.is_dir():
    raise UserError(f"--checkpoint={directory}: no such folder.")
  if directory.name.isdecimal() and (directory / "meta").is_dir():
    return directory.parent, int(directory.name)
  return (directory / "checkpoints" if (directory / "checkpoints").is_dir() else directory), None


def digest(tree: Any) -> str:
  """sha256 over the paths, dtypes, shapes and bytes of all leaves."""
  sha = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    array = np.asarray(leaf)
    sha.update(f"{path_of(path)}:{array.dtype}:{array.shape}\n".encode())
    sha.update(np.ascontiguousarray(array).tobytes())
  return sha.hexdigest()


def _plain(ts: TrainState) -> dict[str, Any]:
  """A TrainState as a dict with the key as its data: what orbax can write."""
  return {**ts._asdict(), "key": jax.random.key_data(ts.key)}


def _newest_intact(directory: Path, item: str, args: Any, only: int | None = None) -> tuple[Any, dict] | None:
  available = steps(directory) if only is None else [only]
  problems = []
  for step in reversed(available):
    try:
      with _quiet(), _manager(directory, read_only=True) as manager:
        restored = manager.restore(step, args=ocp.args.Composite(**{item: args, "meta": ocp.args.JsonRestore()}))
      if digest(restored[item]) != restored["meta"]["digests"][item]:
        raise ValueError("its bytes do not match its digest")
      return restored[item], restored["meta"]
    except Exception as error:  # truncated files raise a bare Exception from tensorstore
      logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # orbax leaves failed futures that complain at exit
      problems.append(f"{directory / str(step)} is damaged or of another architecture ({_first_line(error)})")
      logging.getLogger("sslx").warning("%s; trying the one before", problems[-1])
  if problems:
    raise UserError(f"{problems[0]}; no checkpoint before it is intact. Use --fresh to start over.")
  return None


def _manager(directory: Path, read_only: bool = False) -> ocp.CheckpointManager:
  options = ocp.CheckpointManagerOptions(
    max_to_keep=None if read_only else KEEP,
    enable_async_checkpointing=False,
    read_only=read_only,
    cleanup_tmp_directories=not read_only,
  )
  return ocp.CheckpointManager(directory.absolute(), options=options)


class _quiet:
  """Within: no hundreds of lines from absl about a truncated file; the one that matters is ours."""

  def __enter__(self) -> None:
    logging.disable(logging.ERROR)

  def __exit__(self, *exc: Any) -> None:
    logging.disable(logging.NOTSET)


def _first_line(error: BaseException) -> str:
  return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
