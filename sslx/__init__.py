"""sslx: a JAX/Flax laboratory for self-supervised learning."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from sslx.api import (
    accuracy,
    classify,
    load,
    load_data,
    load_encoder,
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
