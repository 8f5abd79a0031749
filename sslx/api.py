"""The library in a dozen lines of Python, for notebooks: load data, pretrain, look, save, load, classify, look again.

    data = sslx.load_data("mnist")
    run = sslx.pretrain("autoencode", data, encoder="mlp:code=10")
    sslx.plot_losses(run)
    classifier = sslx.classify(run, data, labels=0.01)
    sslx.accuracy(classifier, data.test)

Thin functions over the core that the experiments run on, with the same numbers: nothing here trains by itself. Runs and
classifiers are values: no function changes what it is given. Plots are matplotlib Figures, which notebooks draw.
The error lines of bad input name the flags of the command line, which have the names of the arguments here (but
--pretraining_weight_decay is weight_decay).
"""

import functools
import inspect
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from sslx import nn, options
from sslx.data import Dataset, Split
from sslx.data.check import MODALITY_RULES, checked
from sslx.data.inputs import accepted
from sslx.evaluation import evaluate, knn
from sslx.evaluation.bench import Bench, Case, Labelled, Predictor
from sslx.evaluation.modes import check_modes
from sslx.evaluation.recipe import Recipe
from sslx.pretext import check
from sslx.report import figures, records
from sslx.training import hooks, length, loop
from sslx.training import run as runs
from sslx.training.config import SEEDS, Config
from sslx.training.progress import progress as shown
from sslx.training.run import Meta, Run
from sslx.types import Modality, Task, TrainState, UserError

if TYPE_CHECKING:
  from matplotlib.figure import Figure

SHOWN_IMAGES, SHOWN_PREDICTIONS = 10, 40


class Classifier(NamedTuple):
  """An encoder with a head: `classify` makes it."""

  mode: str
  rows: np.ndarray
  """i64 [N]: the training examples whose labels it was trained on."""
  task: Task
  modality: Modality
  x_shape: tuple[int, ...]
  predictor: Predictor

  def __repr__(self) -> str:
    total, trainable = self.predictor.total, self.predictor.trainable
    return f"Classifier({self.mode}, {len(self.rows)} labels, {trainable:,} of {total:,} parameters trained)"


def load_data(
  name: str,
  data_dir: str | os.PathLike[str] | None = None,
  image_size: int | None = None,
  *,
  in_memory_limit: int = 2 << 30,
  background: str = "white",
  bits: int = 16,
) -> Dataset:
  """A data set: mnist, fashion_mnist, idx:DIR, npz:FILE, folder:DIR or tfds:NAME; see `sslx.data.load`."""
  from sslx import data

  folder = None if data_dir is None else os.fspath(data_dir)
  return data.load(name, folder, image_size, in_memory_limit, background=background, bits=bits)


def pretrain(
  method: str, data: Dataset, *, progress: bool = True, max_parameters: int = nn.MAX_PARAMETERS, **settings: Any
) -> Run:
  """Trains `method` on all training examples of `data`; labels are read by `supervised` alone.

  The same run as `python -m experiments.pretrain` with these flags. Interrupted (Ctrl-C, the notebook's stop button) it
  says so and returns the run as it is.

  Args:
    method: a name of METHODS, such as autoencode, denoise, simclr.
    data: see `load_data`.
    progress: shows a bar.
    max_parameters: up to which the encoder, and each other part of the method, is trained.
    settings: SETTINGS
      Anything else is a hyper-parameter of the method, such as level=0.3.

  Raises:
    UserError: a name, size or hyper-parameter that is not known or does not fit; data that are not fit for training.
  """
  names = {setting.name for setting in options.settings(Config)} - {"method", "dataset", "hp"}
  fields = {name: value for name, value in settings.items() if name in names}
  hp = options.check(check(method).factory, {n: v for n, v in settings.items() if n not in names}, "--hp")
  config = Config(method=method, hp=hp, **fields)
  _check_data(data, targets=check(method).labels)
  encoder = config.encoder or check(method).encoder
  nn.check_size(encoder, nn.build(encoder), data.x_shape, max_parameters)
  plan = runs.plan(config, data, config.features or "flatten")
  runs.check_size(runs.shapes(plan), method, max_parameters)
  history: list[dict[str, float]] = []
  stopped: list[TrainState] = []
  log_every = max(1, min(50, plan.steps // 40))  # a curve even of a short run
  if progress:
    print(f"{method}: {length.told(plan.steps, plan.batch_size, len(plan.data['x']))}", file=sys.stderr)
  try:
    with shown(f"pretraining {method}" if progress else None, plan.steps) as bar:
      beside = [hooks.log_to(history.append), hooks.save_to(stopped.append, math.inf), hooks.showing(bar, 0)]
      ts = runs.run(plan, runs.start(plan), beside, knn.watches(plan), log_every=log_every)
  except loop.Interrupted as reason:
    ts = stopped[-1]
    print(f"{reason}; this is the run so far.", file=sys.stderr)
  if progress:
    for doubt in length.doubts(history, plan.steps, plan.pretext.chance or {}):
      print(f"{method}: {doubt}", file=sys.stderr)
  return Run(plan.meta, plan.pretext, ts, history)


def _signature(function: Callable[..., Any]) -> None:
  """Writes the settings of `Config` into a function's signature and help, where they are the argument **settings."""
  settings = [s for s in options.settings(Config) if s.name not in ("method", "dataset", "hp")]
  kind = inspect.Parameter.KEYWORD_ONLY
  keywords = [inspect.Parameter(s.name, kind, default=s.default, annotation=s.annotation) for s in settings]
  signature = inspect.signature(function)
  *first, rest = signature.parameters.values()
  hp = rest.replace(name="hp")
  function.__signature__ = signature.replace(parameters=[*first, *keywords, hp])  # type: ignore[attr-defined]
  texts = "".join(f"\n      {s.name}: {s.help}" for s in settings)
  function.__doc__ = (function.__doc__ or "").replace(" SETTINGS", texts)


_signature(pretrain)


def save(run: Run, directory: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
  """Writes a run directory: `load`, `load_encoder` and the experiments' --checkpoint read it. Returns its path.

  Raises:
    UserError: there is one already and not `overwrite`, or the folder cannot be written.
  """
  from sslx.training import checkpoint

  directory = Path(directory)
  folder, new = directory / "checkpoints", directory / f".checkpoints.{os.getpid()}"
  if checkpoint.steps(folder) and not overwrite:
    raise UserError(f"{directory}: holds a model already; name another folder, or give overwrite=True.")
  checkpoint.save(new, run.train_state, run.meta.to_json())
  shutil.rmtree(folder, ignore_errors=True)  # not before the new one is there
  new.rename(folder)
  records.write_json(directory / "config.json", run.meta.config.to_json())
  records.write_rows(directory / "metrics.jsonl", run.history)
  return directory


def load(directory: str | os.PathLike[str]) -> Run:
  """The run in a directory, which `save` or experiments.pretrain wrote.

  Raises:
    UserError: no checkpoint there, none intact, or one of another version of its method.
  """
  return runs.restore(Path(directory), records.read_rows(Path(directory) / "metrics.jsonl"))


def load_encoder(directory: str | os.PathLike[str]) -> tuple[nn.Representation, dict[str, Any]]:
  """(encode, meta) of a pretrained encoder.

  encode: jitted, raw x [B,...], such as images u8 [B,H,W,C] or floats in [0, 1] -> features f32 [B,D], in evaluation
    mode. It raises UserError for x of another shape than the run's, or with values that cannot be meant; within jit
    and vmap, where there are no values, it does not look. `sslx.load(directory).representation()` never does.
  meta: what the checkpoint says of itself: method, encoder, features, modality,
    x_shape, task, class_names, config, step.

  directory: a run directory, its checkpoints folder, or one checkpoint in it.

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


def classify(
  run: Run,
  data: Dataset,
  labels: int | float = 0.01,
  mode: str = "frozen",
  *,
  seed: int = 0,
  features: str | None = None,
  recipe: Recipe | None = None,
) -> Classifier:
  """Turns the run's encoder into a classifier, trained on few labels of `data.train`; no other label is read.

  The same subset and training as `python -m experiments.low_label` with these flags.

  Args:
    run: see `pretrain`.
    data: of the shape that the run was made for.
    labels: how many, or a fraction of the training split: 600, or 0.01. The subset is balanced over the classes.
    mode: frozen (a linear head), last:K (head and last K blocks), full (everything), scratch (everything, from random
      weights), random (a linear head on random weights), raw (on pixels), knn:K, propagate, or self_train (all of the
      network, on all training images): see `sslx.evaluation.modes.MODES`.
    seed: of the subset.
    features: in place of the run's own.
    recipe: of last:K, full, scratch and self_train.

  Raises:
    UserError: more labels than there are, fewer than classes, or an unknown mode.
  """
  _check_seed(seed)
  represent = run.representation(features)
  check_modes((mode,), represent.encoder.block_names, data.task.name, data.modality.name)
  _same_shape(f"data={data.name}", data.train, run.meta.config.x_shape)
  if data.train.y is None:
    raise UserError(f"data={data.name}: its training split has no labels.")
  _check_data(data, targets=True)
  if not isinstance(labels, int | float | np.number) or not 0 < labels < math.inf:
    raise UserError(f"labels={labels}: expected a number of labels, such as 600, or a fraction, such as 0.01.")
  n = int(labels) if isinstance(labels, int | np.integer) or labels > 1 else round(labels * len(data.train))
  try:
    rows = data.task.subset(data.train.y, [n], seed)[n]
  except UserError as error:
    raise UserError(f"labels={labels}: {error}") from error
  case = Case(mode, n, seed)
  bench = Bench(data, Labelled({seed: {n: rows}}, None), represent, recipe or Recipe(), run.meta.config.seed)
  predictor = evaluate.train(bench, [case])[case].predictor
  return Classifier(mode, rows, data.task, data.modality, data.x_shape, predictor)


def predict(classifier: Classifier, x: Any) -> np.ndarray:
  """Probabilities f32 [N,K] of raw x [N,...], such as images u8 [N,H,W,C] or floats in [0, 1]; N may be 0.

  Raises:
    UserError: x of another shape than the classifier's, or with values that cannot be meant.
  """
  if classifier.task.probabilities is None:
    raise UserError(f"{classifier.task.name} has no probabilities; classifier.predictor.outputs(x) are its answers.")
  x = accepted(x, classifier.modality, classifier.x_shape)
  if not len(x):
    return np.zeros((0, classifier.task.outputs), np.float32)
  return classifier.task.probabilities(classifier.predictor.outputs(x)).astype(np.float32)


def accuracy(classifier: Classifier, split: Split) -> float:
  """The task's score on a split: `accuracy(classifier, data.test)` is the fraction that is classified right."""
  x, y = _examples(classifier, split)
  scores = classifier.task.scores(classifier.predictor.outputs(x), y)
  return float(scores[classifier.task.score.name])


def plot_losses(run: Run) -> "Figure":
  """The loss against the step, and the method's other metrics below."""
  return figures.loss_curve(run.history)


def plot_pictures(run: Run, data: Dataset, seed: int = 0) -> "Figure":
  """What the method sees and makes of ten training examples: corruptions and reconstructions, or views.

  Raises:
    UserError: the method shows nothing, or the examples are of another shape.
  """
  _check_seed(seed)
  _same_shape(f"data={data.name}", data.train, run.meta.config.x_shape)
  if run.pretext.show is None:
    raise UserError(f"{run.meta.config.method} has no pictures to show.")
  batch = {"x": np.asarray(data.train.x[np.arange(min(SHOWN_IMAGES, len(data.train)))])}
  pictures = runs.pictures(run.pretext, data.modality, run.params, run.state, jax.random.key(seed), batch)
  return figures.picture_rows(pictures)


def plot_predictions(classifier: Classifier, split: Split, seed: int = 0) -> "Figure":
  """Forty random images of a split, each with the predicted class, and the true one where that is wrong."""
  _check_seed(seed)
  (x, y), task = _examples(classifier, split), classifier.task
  rows = np.random.default_rng(seed).permutation(len(split))[:SHOWN_PREDICTIONS]
  x = np.asarray(x[rows])
  outputs = classifier.predictor.outputs(x)
  if task.probabilities is None:
    raise UserError(f"{task.name} has no predicted classes to draw.")
  pictures = classifier.modality.draw(x)
  return figures.predictions(pictures, y[rows], task.decide(outputs), task.names, task.probabilities(outputs).max(1))


def plot_confusion(classifier: Classifier, split: Split) -> "Figure":
  """How often each class of a split was taken for each."""
  (x, y), task = _examples(classifier, split), classifier.task
  return figures.confusion(y, task.decide(classifier.predictor.outputs(x)), task.names)


def _same_shape(what: str, split: Split, shape: Any) -> None:
  if tuple(split.x.shape[1:]) != tuple(shape):
    raise UserError(f"{what}: its images are {tuple(split.x.shape[1:])}, the run was made for {tuple(shape)}.")


def _examples(classifier: Classifier, split: Split) -> tuple[Any, np.ndarray]:
  """(x, y) of a split with targets, x as the classifier takes it."""
  if not isinstance(split, Split):
    raise UserError("expected a split of the data, such as data.test.")
  _same_shape("this split", split, classifier.x_shape)
  y = split.targets()
  if not len(split) or len(y) != len(split):
    raise UserError(f"this split has {len(split)} examples and {len(y)} labels; expected as many, and at least one.")
  return accepted(split.x, classifier.modality, classifier.x_shape), y


def _check_data(data: Dataset, targets: bool) -> None:
  """Raises UserError for a Dataset made by hand that breaks a rule of the data sets by name. targets: whether they are
  read; a Dataset without any is fit for a method that does not.
  """
  if not isinstance(data, Dataset):
    raise UserError("data: expected a Dataset, such as that of sslx.load_data.")
  if targets or data.train.y is not None:
    checked(data, tell=False)
  elif data.modality.name in MODALITY_RULES:
    MODALITY_RULES[data.modality.name](data, {"train": data.train}, None)


def _check_seed(seed: int) -> None:
  if not isinstance(seed, int | np.integer) or not 0 <= seed <= SEEDS:
    raise UserError(f"seed={seed}: expected an integer from 0 to {SEEDS}.")
