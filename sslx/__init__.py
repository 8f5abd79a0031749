"""sslx: a JAX/Flax laboratory for self-supervised learning."""

from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from sslx.api import (
    accuracy,
    classify,
    load,
    load_data,
    plot_confusion,
    plot_losses,
    plot_pictures,
    plot_predictions,
    predict,
    pretrain,
    save,
  )

__all__ = [
  "accuracy", "classify", "load", "load_data", "load_encoder", "plot_confusion", "plot_losses", "plot_pictures",
  "plot_predictions", "predict", "pretrain", "save",
]  # fmt: skip


def __getattr__(name: str) -> Any:
  """The functions of `sslx.api`, which is imported when the first of them is asked for."""
  if name not in __all__:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  from sslx import api as workflow

  return getattr(workflow, name)


def load_encoder(directory: str | PathLike[str]) -> tuple[Callable[[Any], Any], dict[str, Any]]:
  """(encode, meta) of a pretrained encoder.

  encode: jitted, raw images u8 [B,H,W,C] (or floats in [0, 1]) -> features f32 [B,D], in evaluation mode.
  meta: what the checkpoint says of itself: encoder, features, image_shape, method, config, class_names, step.

  directory: a run directory, its checkpoints folder, or one checkpoint in it.

  Raises:
    UserError: no checkpoint there, none intact, or one of another architecture.
  """
  import functools
  from pathlib import Path

  from sslx import nn
  from sslx.training import checkpoint
  from sslx.compile import jit
  from sslx.ops.image import to_float

  tree, meta = checkpoint.restore_encoder(Path(directory))
  encoder = nn.build(meta["encoder"])
  encode = functools.partial(nn.encode, encoder, meta["features"], tree["params"], tree["stats"])
  return jit(lambda image: encode(to_float(image))), meta
