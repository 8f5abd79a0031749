"""Checkpoints by orbax: items `state` (all of a TrainState), `encoder` (params and batch statistics) and `meta` (JSON).

`encoder` restores with no knowledge of the method that made it. A flipped byte in a checkpoint restores silently in
orbax, so `meta` keeps a sha256 of each item's leaves and one of itself, which are checked on the way back.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from sslx.disk import sync
from sslx.training.masks import path_of
from sslx.types import TrainState, UserError, visible

KEEP = 2  # the newest, and one to fall back to
ASIDE = ".checkpoints.old"  # beside the checkpoints of a run directory while `sslx.save` puts others in their place


def save(directory: Path, ts: TrainState, meta: dict[str, Any]) -> None:
  """Saves ts at its step, synchronously (an asynchronous save not waited for is lost without a word).

  meta: JSON-serialisable; the digests are added. The checkpoint appears by a rename, so a kill or a full disk leaves
  the one before as it was. It is on disk when this returns.

  Raises:
    UserError: the directory cannot be written, the disk is full, or this step is already there.
  """
  state = jax.device_get(_plain(ts))
  encoder = {"params": state["params"]["encoder"], "stats": state["state"]["encoder"]}
  step, digests = int(ts.step), {"state": digest(state), "encoder": digest(encoder)}
  meta = {**meta, "step": step, "digests": digests}
  digests["meta"] = _digest_of_meta(meta)
  try:
    directory.mkdir(parents=True, exist_ok=True)
    with _quiet(), _manager(directory) as manager:
      done = manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state), encoder=ocp.args.StandardSave(encoder), meta=ocp.args.JsonSave(meta)
        ),
      )
    if done:
      _sync(directory / str(step))
      sync(directory)
  except Exception as error:  # orbax and tensorstore raise OSError, ValueError and bare XlaRuntimeError alike
    for half in directory.glob(f"{step}.orbax-checkpoint-tmp*"):  # it takes the room that others may need
      shutil.rmtree(half, ignore_errors=True)
    raise UserError(
      f"--out: cannot save a checkpoint in {directory}: {_reason(error)}; "
      "earlier checkpoints are kept, run again when there is room or permission."
    ) from error
  if not done:
    raise UserError(f"--out: {directory} already holds step {step} or a later one; use --fresh to start over.")


def steps(directory: Path) -> list[int]:
  """Steps of the finished checkpoints, oldest first; [] for a folder without any."""
  if not directory.is_dir():
    return []
  return sorted(int(d.name) for d in directory.iterdir() if d.name.isdecimal())


def restore(
  directory: Path, template: TrainState, only: int | None = None, set_aside: bool = False
) -> TrainState | None:
  """The newest intact TrainState, or None where there is none. A damaged one is passed over with a warning.

  template: a TrainState of the same shapes (its values are not read).
  only: this step and no other.
  set_aside: for a run that goes on to save here. A checkpoint of which any item is damaged, and that is newer than the
    one that is restored, is renamed to STEP.damaged: the run will reach its step again, and it is not to be taken for
    one to fall back to. Nothing is deleted.

  Raises:
    UserError: checkpoints exist and none is intact, or they are of another architecture; a damaged one cannot be
      renamed.
  """
  plain = _plain(template)
  items: dict[str, Any] = {"state": ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, plain))}
  if set_aside:
    items["encoder"] = ocp.args.StandardRestore()
  intact = _newest_intact(directory, items, only)
  if intact is None:
    return None
  state = intact["state"]
  if jax.tree.map(np.shape, plain) != jax.tree.map(np.shape, state):
    raise UserError(f"{directory}: this checkpoint is of another architecture; use --fresh to start over.")
  for step in [step for step in steps(directory) if step > int(state["step"])] if set_aside else []:
    _set_aside(directory, step)
  ts = TrainState(**jax.tree.map(jax.numpy.asarray, state))
  return ts._replace(key=jax.random.wrap_key_data(ts.key))


def restore_encoder(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
  """({'params', 'stats'}, meta) of the newest intact checkpoint below `directory`.

  directory: a run directory, its checkpoints folder, or one checkpoint in it.

  Raises:
    UserError: no checkpoint there, or none intact.
  """
  directory, only = locate(directory)
  intact = _newest_intact(directory, {"encoder": ocp.args.StandardRestore()}, only)
  if intact is None:
    raise UserError(f"--checkpoint={directory}: no checkpoint in this folder.")
  return intact["encoder"], intact["meta"]


def locate(directory: Path) -> tuple[Path, int | None]:
  """(checkpoints folder, step or None for the newest) of a run directory, its checkpoints folder, or one checkpoint.

  Raises:
    UserError: no such folder.
  """
  if not directory.is_dir():
    raise UserError(f"--checkpoint={directory}: no such folder.")
  if directory.name.isdecimal() and (directory / "meta").is_dir():
    return directory.parent, int(directory.name)
  places = (directory / "checkpoints", directory / ASIDE)  # the second where a kill has interrupted `sslx.save`
  return next((place for place in places if place.is_dir()), directory), None


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


def _digest_of_meta(meta: Mapping[str, Any]) -> str:
  """sha256 of all that it says, but this digest."""
  digests = {name: value for name, value in meta["digests"].items() if name != "meta"}
  return hashlib.sha256(json.dumps({**meta, "digests": digests}, sort_keys=True).encode()).hexdigest()


def _newest_intact(directory: Path, items: Mapping[str, Any], only: int | None = None) -> dict[str, Any] | None:
  """`items` (how each is restored) and meta of the newest checkpoint of which all of these are intact."""
  available = steps(directory) if only is None else [only]
  problems = []
  for step in reversed(available):
    try:
      with _quiet(), _manager(directory, read_only=True) as manager:
        restored = manager.restore(step, args=ocp.args.Composite(**items, meta=ocp.args.JsonRestore()))
      meta = restored["meta"]
      if any(digest(restored[item]) != meta["digests"][item] for item in items):
        raise ValueError("its bytes do not match its digest")
      if meta["digests"].keys() != {"state", "encoder"} and meta["digests"].get("meta") != _digest_of_meta(meta):
        raise ValueError("its meta does not match its digest")  # until sslx 0.2 it had none
      return {name: restored[name] for name in (*items, "meta")}
    except Exception as error:  # truncated files raise a bare Exception from tensorstore
      problems.append(f"{directory / str(step)} is damaged or of another architecture ({_first_line(error)})")
      logging.getLogger("sslx").warning("%s; trying the one before", visible(problems[-1]))
  if problems:
    raise UserError(f"{problems[0]}; no checkpoint before it is intact. Use --fresh to start over.")
  return None


def _set_aside(directory: Path, step: int) -> None:
  """Gives a damaged checkpoint a name that neither `steps` nor orbax takes for a checkpoint's."""
  names = (f"{step}.damaged{n}" for n in ["", *(f".{i}" for i in range(2, 1000))])
  aside = next(directory / name for name in names if not (directory / name).exists())
  try:
    (directory / str(step)).rename(aside)
    sync(directory)
  except OSError as error:
    raise UserError(f"--out: cannot rename {directory / str(step)}, which is damaged: {_reason(error)}.") from error
  logging.getLogger("sslx").warning("%s is set aside as %s", visible(directory / str(step)), aside.name)


def _manager(directory: Path, read_only: bool = False) -> ocp.CheckpointManager:
  """Of several processes each is alone with its directories: what is saved is on the host, and orbax waits for none."""
  alone, several = jax.process_index(), jax.process_count() > 1
  options = ocp.CheckpointManagerOptions(
    multiprocessing_options=ocp.options.MultiprocessingOptions(
      primary_host=alone, active_processes={alone} if several else None, barrier_sync_key_prefix=f"of_{alone}"
    ),
    max_to_keep=None if read_only else KEEP,
    create=not several,
    enable_async_checkpointing=False,
    read_only=read_only,
    cleanup_tmp_directories=not read_only,
  )
  return ocp.CheckpointManager(directory.absolute(), options=options)


class _quiet:
  """Within: no hundreds of lines from absl, asyncio and tensorstore about one file; the one that matters is ours.

  After a failure orbax leaves tasks and threads that go on complaining, some until the end of the process: they stay
  without a voice.
  """

  def __enter__(self) -> None:
    logging.disable(logging.ERROR)
    self.hook = hook = sys.unraisablehook

    def without_closed_loops(unraisable: Any) -> None:
      if str(unraisable.exc_value) != "Event loop is closed":  # of threads of tensorstore, whom nobody waits for
        hook(unraisable)

    sys.unraisablehook = without_closed_loops

  def __exit__(self, kind: Any, *exc: Any) -> None:
    if kind is None:
      sys.unraisablehook = self.hook
    else:
      for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.disable(logging.NOTSET)


def _sync(folder: Path) -> None:
  """All that is in a folder goes to the disk, the files before the folders that name them."""
  for parent, _, names in os.walk(folder, topdown=False):
    for name in names:
      with open(os.path.join(parent, name), "rb") as file:
        os.fsync(file.fileno())
    sync(Path(parent))


def _reason(error: BaseException) -> str:
  """What the system said, where it did: tensorstore hides its number in a long text."""
  number = re.search(r"os_error_code='(\d+)'", str(error))
  told = os.strerror(int(number[1])) if number else getattr(error, "strerror", None)
  return told or _first_line(error)


def _first_line(error: BaseException) -> str:
  return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
