"""A run or a model in a folder: written, read again, and a run's encoder alone."""

import functools
import os
import shutil
from pathlib import Path
from typing import Any

from sslx import models, nn
from sslx.calls import public
from sslx.data.inputs import accepted
from sslx.disk import sync
from sslx.fitted import Fitted
from sslx.report import records
from sslx.training import run as runs
from sslx.training.run import Meta, Run
from sslx.types import UserError

BESIDE = ("config.json", "metrics.jsonl")  # what `save` writes beside the checkpoints


@public
def save(run: Run | Fitted, directory: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
  """Writes a run, or what is fitted, into a folder: `load` and the experiments read it.

  Whenever it is killed, they find what was there or the new one, whole.

  Example:
    >>> folder = sslx.save(run, "runs/mine")

  Args:
    run: see `pretrain`, or `fit`.
    directory: the folder, which is made if there is none.
    overwrite: in place of the one that is there.

  Returns:
    The folder's Path.

  Raises:
    UserError: there is one already and not `overwrite`, the folder cannot be written, or the disk is full.
  """
  from sslx.training import checkpoint

  directory = Path(directory)
  folder, aside, new = (directory / name for name in ("checkpoints", checkpoint.ASIDE, f".checkpoints.{os.getpid()}"))
  has_run, has_model = any(map(checkpoint.steps, (folder, aside))), models.holds(directory)
  if has_run and isinstance(run, Fitted):
    raise UserError(f"{directory}: holds a run; name another folder, such as {directory / 'models' / 'mine'}.")
  if has_model and isinstance(run, Run):
    raise UserError(f"{directory}: holds what was fitted; name another folder for a run.")
  if (has_run or has_model) and not overwrite:
    raise UserError(f"{directory}: holds a model already; name another folder, or give overwrite=True.")
  if isinstance(run, Fitted):
    return models.write(run, directory)
  try:
    records.sweep(directory)
    shutil.rmtree(new, ignore_errors=True)
    checkpoint.save(new, run.train_state, run.meta.to_json())
    # Its other files travel with the checkpoints, so that what a kill leaves is all of one model.
    records.write_json(new / "config.json", run.meta.config.to_json())
    records.write_rows(new / "metrics.jsonl", run.history)
    sync(directory)
    if folder.is_dir():
      shutil.rmtree(aside, ignore_errors=True)
      for name in BESIDE:
        if (directory / name).exists():
          os.replace(directory / name, folder / name)
      folder.rename(aside)  # where `load` finds it, should this be the end
    new.rename(folder)
    for name in BESIDE:
      os.replace(folder / name, directory / name)
    sync(directory)
    shutil.rmtree(aside, ignore_errors=True)
  except OSError as error:
    raise UserError(f"{directory}: cannot save there ({error.strerror or error}); what was there is kept.") from error
  finally:
    shutil.rmtree(new, ignore_errors=True)
  return directory


@public
def load(directory: str | os.PathLike[str]) -> Run | Fitted:
  """The run, or what is fitted, in a directory which `save` or an experiment wrote.

  Example:
    >>> run = sslx.load("runs/mine")

  Args:
    directory: a run directory, its checkpoints folder, or one checkpoint in it; or a model's folder.

  Returns:
    The Run, as `pretrain` gave it, or the Fitted, as `fit` did: its predictions are the same to the last bit.

  Raises:
    UserError: nothing there, nothing intact, or a run of another version of its method.
  """
  from sslx.training import checkpoint

  directory = Path(directory)
  if models.holds(directory):
    return models.read(directory)
  places = (checkpoint.locate(directory)[0], directory)  # the first where a kill has interrupted `save`
  history = next((place / "metrics.jsonl" for place in places if (place / "metrics.jsonl").exists()), None)
  return runs.restore(directory, records.read_rows(history) if history else [])


@public
def load_encoder(directory: str | os.PathLike[str]) -> tuple[nn.Representation, dict[str, Any]]:
  """The encoder of a run directory as a function, and what it was made from: (encode, meta).

  Example:
    >>> encode, meta = sslx.load_encoder("runs/mine")
    >>> features = encode(data.test.x[:100])

  Args:
    directory: a run directory, its checkpoints folder, or one checkpoint in it.

  Returns:
    A pair. The first is a jitted function of raw x [B,...], such as images u8 [B,H,W,C] or floats in [0, 1], and gives
    features f32 [B,D], in evaluation mode. It raises UserError for x of another shape than the run's, or with values
    that cannot be meant; within jit and vmap, where there are no values, it does not look, and
    `sslx.load(directory).representation()` never does. The second is a dict of what the checkpoint says of itself
    (method, encoder, features, modality, x_shape, task, class_names, config, step).

  Raises:
    UserError: no checkpoint there, none intact, or one of another architecture.
  """
  from sslx.training import checkpoint

  tree, saved = checkpoint.restore_encoder(Path(directory))
  meta = Meta.read(saved)
  config = meta.config
  facts = {
    "method": config.method, "encoder": config.encoder, "features": meta.features, "modality": meta.modality,
    "x_shape": list(config.x_shape), "task": meta.task, "class_names": list(meta.names), "config": config.to_json(),
    "step": meta.step,
  }  # fmt: skip
  check_x = functools.partial(accepted, modality=meta.build_modality(), shape=config.x_shape)
  return runs.representation(meta, tree)._replace(check=check_x), facts
