"""sslx: a JAX/Flax laboratory for self-supervised learning.

    data = sslx.load_data("mnist")
    run = sslx.pretrain("denoise", data)
    fitted = sslx.fit(run, data, labels=0.01)
    sslx.accuracy(fitted, data.test)

The functions, which `help(sslx.pretrain)` and so on tell more of:

load_data        A data set: mnist, spoken_digits, moving_digits, folder:DIR, audio:DIR, text:FILE, video:DIR ...
pretrain         Trains `method` on all training examples of `data`; labels are read by `supervised` alone.
plot_losses      The loss against the step, and the method's other metrics below.
plot_pictures    What the method sees and makes of ten training examples: corruptions and reconstructions, or views.
save             Writes a run, or what is fitted, into a folder: `load` and the experiments read it.
load             The run, or what is fitted, in a directory which `save` or an experiment wrote.
load_encoder     The encoder of a run directory as a function, and what it was made from: (encode, meta).
fit              Trains a run's encoder for the task of `data`, on few labels of `data.train` and on no other label.
classify         `fit` for data of classes: turns a run's encoder into a classifier.
predict          What is predicted for each example of an array: how likely each class is, or numbers, masks or boxes.
scores           All scores of the task on a split, by name; the first is the one that `accuracy` gives.
accuracy         The task's score on a split: of classes, the fraction that is classified right.
export           Writes a model for programs that do without sslx, with a card that says what it is.
plot_predictions Random examples of a split, with what is predicted for them and what is true.
plot_confusion   How often each class of a split was taken for each.
words            The vectors of words that a run has learnt, or that a file holds, with their neighbours and analogies.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from sslx.api import (
    accuracy,
    classify,
    export,
    fit,
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
    scores,
    words,
  )

  __version__: str

__all__ = [
  "accuracy", "classify", "export", "fit", "load", "load_data", "load_encoder", "plot_confusion", "plot_losses",
  "plot_pictures", "plot_predictions", "predict", "pretrain", "save", "scores", "words",
]  # fmt: skip


def __getattr__(name: str) -> Any:
  """The functions of `sslx.api`, which is imported when the first of them is asked for, and `__version__`."""
  if name in __all__:
    from sslx import api as workflow

    return getattr(workflow, name)
  if name == "__version__":
    from importlib import metadata

    try:
      return metadata.version("sslx")
    except metadata.PackageNotFoundError:  # a folder of source that is not installed
      return "unknown"
  from difflib import get_close_matches

  near = get_close_matches(name, __all__, 1)
  hint = f"; did you mean {near[0]!r}?" if near else ""
  # With its name alone, Python has no object to look for names near it in, and does not say so a second time.
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}", name=name)


def __dir__() -> list[str]:
  """What `dir`, `help` and a notebook's tab show. Nothing is imported until one of the functions is looked at."""
  return sorted({*__all__, *globals(), "__version__"} - {"TYPE_CHECKING", "Any"})
