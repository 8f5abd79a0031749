"""The library in a dozen lines of Python, for notebooks: load data, pretrain, look, save, load, fit, look again.

    data = sslx.load_data("mnist")
    run = sslx.pretrain("autoencode", data, encoder="mlp:code=10")
    sslx.plot_losses(run)
    fitted = sslx.fit(run, data, labels=0.01)
    sslx.accuracy(fitted, data.test)

Thin functions over the core that the experiments run on, with the same numbers: nothing here trains by itself. Runs and
what is fitted are values: no function changes what it is given. Plots are matplotlib Figures, which notebooks draw.
Whatever is wrong with a call or its values is a UserError of one line, see `sslx.calls`.
"""

import inspect
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import jax
import numpy as np

from sslx import nn, options
from sslx.calls import in_python, no_argument, public
from sslx.checks import check_data, check_seed, same_shape
from sslx.data import Dataset
from sslx.evaluation import knn
from sslx.exported import export
from sslx.fitted import Fitted, accuracy, plot_confusion, plot_predictions, scores
from sslx.fitting import classify, fit
from sslx.predicting import predict
from sslx.pretext import check
from sslx.report import figures
from sslx.saved import load, load_encoder, save
from sslx.training import hooks, length, loop, parallel
from sslx.training import run as runs
from sslx.training.config import Config
from sslx.training.progress import progress as shown
from sslx.training.run import Run
from sslx.types import TrainState, UserError
from sslx.word_vectors import words

if TYPE_CHECKING:
  from matplotlib.figure import Figure

SHOWN_IMAGES = 10
NO_ARGUMENTS = {"method", "dataset", "hp"}  # of the settings of a run: these are said otherwise

P = ParamSpec("P")
R = TypeVar("R")

__all__ = [
  "Fitted", "accuracy", "classify", "export", "fit", "load", "load_data", "load_encoder", "plot_confusion",
  "plot_losses", "plot_pictures", "plot_predictions", "predict", "pretrain", "save", "scores", "words",
]  # fmt: skip


@public
def load_data(
  name: str,
  data_dir: str | os.PathLike[str] | None = None,
  image_size: int | None = None,
  *,
  in_memory_limit: int = 2 << 30,
  background: str = "white",
  bits: int = 16,
  task: str | None = None,
  targets: str | Sequence[str] = (),
  sample_rate: int | None = None,
  seconds: float | None = None,
  min_count: int | None = None,
  max_words: int | None = None,
  max_length: int | None = None,
  frames: int | None = None,
  stride: int | None = None,
  size: int | str | tuple[int, ...] | None = None,
  labels_file: str | os.PathLike[str] | None = None,
) -> Dataset:
  """A data set: mnist, spoken_digits, moving_digits, folder:DIR, audio:DIR, text:FILE, video:DIR ...

  Example:
    >>> data = sslx.load_data("mnist")

  Args:
    name: a name alone, or a kind and where it is; the list is at the end of `python -m experiments.pretrain --help`.
    data_dir: where prepared sets are kept; default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
    image_size: images become image_size x image_size (shorter side scaled, centre cut out); default: as they are.
    in_memory_limit: bytes of decoded images above which a split stays on disk.
    background: the colour behind transparent pictures: a name such as white, or #rrggbb.
    bits: how many of their 16 bits images really use, 8 to 16.
    task: which of its tasks it is for: classification, multilabel, regression, segmentation or detection; default: its
      first.
    targets: which of its columns or numbers are asked for: a name, or several; default: its own choice.
    sample_rate: samples a second that sound is resampled to; default: as it is.
    seconds: recordings are cut at their end, or padded, to this length; default: the data's own choice.
    min_count: how often a word has to stand in a text to be in the vocabulary; default: 5.
    max_words: how many words the vocabulary has at most, the most frequent ones; default: all.
    max_length: words of a document at most, what is behind is cut; default: the data's own choice.
    frames: of a clip of a video; default: the data's own choice.
    stride: every how many frames of a video one is taken for a clip; default: the data's own choice.
    size: of the frames of a video, (height, width) or "96x160", or the shorter side alone; default: as they are.
    labels_file: a CSV with the columns path and class, which labels files of DIR/unlabeled/ or corrects others.

  Returns:
    A Dataset with data.train, data.test, which may hold no example, and perhaps data.unlabeled, of x [N,...], such as
    images u8 [N,H,W,C], and y; data.task is what is asked with y.

  Raises:
    UserError: no such data set, files that cannot be read or do not fit together, no targets for the task, or an
      argument out of its range.
  """
  from sslx import data

  folder = None if data_dir is None else os.fspath(data_dir)
  targets = (targets,) if isinstance(targets, str) else tuple(targets)
  more: dict[str, Any] = {
    "background": background, "bits": bits, "task": task, "targets": targets, "sample_rate": sample_rate,
    "seconds": seconds, "min_count": min_count, "max_words": max_words, "max_length": max_length,
    "frames": frames, "stride": stride, "size": size,
    "labels_file": None if labels_file is None else os.fspath(labels_file),
  }  # fmt: skip
  return data.load(name, folder, image_size, in_memory_limit, **more)


COMMAND_LINE = re.compile(r" --help[^.]*\.")  # a sentence of a setting's help that is of use only there


def _with_settings(function: Callable[P, R]) -> Callable[P, R]:
  """Writes the settings of `Config` into a function's signature and help, where they are the argument **settings."""
  settings = [s for s in options.settings(Config) if s.name not in NO_ARGUMENTS]
  kind = inspect.Parameter.KEYWORD_ONLY
  keywords = [inspect.Parameter(s.name, kind, default=s.default, annotation=s.annotation) for s in settings]
  signature = inspect.signature(function)
  *first, rest = signature.parameters.values()
  parameters = [*first, *keywords, rest.replace(name="hp")]
  function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
  texts = "".join(f"\n      {s.name}: {COMMAND_LINE.sub('', s.help)}" for s in settings)
  function.__doc__ = (function.__doc__ or "").replace(" SETTINGS", in_python(texts, function.__name__))
  return function


@public
@_with_settings
def pretrain(
  method: str,
  data: Dataset,
  *,
  progress: bool = True,
  max_parameters: int = nn.MAX_PARAMETERS,
  devices: int | None = None,
  workers: int = 0,
  **settings: Any,
) -> Run:
  """Trains `method` on all training examples of `data`; labels are read by `supervised` alone.

  The same run as `python -m experiments.pretrain` with these flags. Interrupted (Ctrl-C, the notebook's stop button) it
  says so and returns the run as it is. SIGTERM ends the process (SystemExit, status 143), unless it has a handler.

  Example:
    >>> run = sslx.pretrain("denoise", data, epochs=2, level=0.3)

  Args:
    method: a name of METHODS, such as autoencode, denoise, simclr.
    data: see `load_data`.
    progress: shows a bar.
    max_parameters: up to which the encoder, and each other part of the method, is trained.
    devices: among which a batch is shared out; default: all accelerators, or one CPU device, that it splits over.
    workers: processes that read and decode data that stay on the disk; 0: threads of this one. In a script that is run
      by itself, the call then stands below `if __name__ == "__main__":`, as Python wants it for processes.
    settings: SETTINGS
      Anything else is a hyper-parameter of the method, such as level=0.3.

  Returns:
    A Run, which `save`, `fit` and the plots take, with run.history, run.params and run.representation().

  Raises:
    UserError: a name, size or hyper-parameter that is not known or does not fit; data that are not fit for training.
  """
  names = {setting.name for setting in options.settings(Config)} - NO_ARGUMENTS
  fields = {name: value for name, value in settings.items() if name in names}
  factory, hp = check(method).factory, {name: value for name, value in settings.items() if name not in names}
  known = options.parameters(factory)
  for name in hp:
    if name not in known:
      kinds = dict.fromkeys(inspect.signature(pretrain).parameters, "an argument of sslx.pretrain")
      kinds |= dict.fromkeys(names, "a setting of pretraining") | dict.fromkeys(known, f"an option of {method}")
      del kinds["hp"]
      raise no_argument(name, "pretrain", kinds)
  hp = options.check(factory, hp, "--hp")
  config = Config(method=method, hp=hp, **fields)
  check_data(data, targets=check(method).labels)
  encoder = config.encoder_on(data)
  nn.check_size(encoder, nn.build(encoder, vocabulary=data.vocabulary), data.x_shape, max_parameters)
  plan = runs.plan(config, data, config.features)
  runs.check_size(runs.shapes(plan), method, max_parameters)
  asked, part = parallel.some(jax.devices(), devices), plan.batch_size // config.accumulate
  mesh = parallel.mesh_over(parallel.fitting(asked, part) if devices is None else asked)
  history: list[dict[str, float]] = []
  stopped: list[TrainState] = []
  log_every = max(1, min(50, plan.steps // 40))  # a curve even of a short run
  if progress:
    print(f"{method}: {length.told(plan.steps, plan.batch_size, len(plan.data['x']))}", file=sys.stderr)
  try:
    with shown(f"pretraining {method}" if progress else None, plan.steps) as bar:
      beside = [hooks.log_to(history.append), hooks.save_to(stopped.append, math.inf), hooks.showing(bar, 0)]
      start = parallel.replicate(runs.start(plan), mesh)
      ts = runs.run(plan, start, beside, knn.watches(plan), log_every=log_every, workers=workers)
  except loop.Interrupted as reason:
    ts = stopped[-1]
    history += [reason.row] if reason.row else []
    if reason.signal == signal.SIGTERM:  # who sends it wants an end, and no script that goes on with half a run
      print(f"{reason}; this run is not kept.", file=sys.stderr)
      if not callable(signal.getsignal(signal.SIGTERM)):
        raise SystemExit(128 + signal.SIGTERM) from None
      signal.raise_signal(signal.SIGTERM)
    print(f"{reason}; this is the run so far.", file=sys.stderr)
  if progress:
    for doubt in length.doubts(history, plan.steps, plan.pretext.chance or {}):
      print(f"{method}: {in_python(doubt, 'pretrain')}", file=sys.stderr)
  return Run(plan.meta, plan.pretext, ts, history)


@public
def plot_losses(run: Run) -> "Figure":
  """The loss against the step, and the method's other metrics below.

  Example:
    >>> sslx.plot_losses(run)

  Args:
    run: see `pretrain` and `load`.

  Returns:
    A matplotlib Figure, which a notebook draws; `.savefig("losses.png")` writes it.

  Raises:
    UserError: what is no Run.
  """
  return figures.loss_curve(run.history)


@public
def plot_pictures(run: Run, data: Dataset, seed: int = 0) -> "Figure":
  """What the method sees and makes of ten training examples: corruptions and reconstructions, or views.

  Example:
    >>> sslx.plot_pictures(run, data)

  Args:
    run: see `pretrain` and `load`.
    data: of the shape that the run was made for.
    seed: of the method's noise and views.

  Returns:
    A matplotlib Figure, which a notebook draws; `.savefig("pictures.png")` writes it.

  Raises:
    UserError: the method shows nothing, or the examples are of another shape.
  """
  check_seed(seed)
  same_shape(f"data={data.name}", data.train, run.meta.config.x_shape)
  if run.pretext.show is None:
    raise UserError(f"{run.meta.config.method} has no pictures to show.")
  batch = {"x": np.asarray(data.train.x[np.arange(min(SHOWN_IMAGES, len(data.train)))])}
  rows = runs.shown(run.pretext, data.modality, run.params, run.state, jax.random.key(seed), batch)
  return figures.picture_rows({title: data.modality.picture(row, data.meaning) for title, row in rows.items()})
