"""The library in a dozen lines of Python, for notebooks: load data, pretrain, look, save, load, classify, look again.

    data = sslx.load_data("mnist")
    model = sslx.pretrain("autoencode", data, encoder="mlp:code=10")
    sslx.plot_losses(model)
    classifier = sslx.classify(model, data, labels=0.01)
    sslx.accuracy(classifier, data.test)

Thin functions over the core that the experiments run on, with the same numbers: nothing here trains by itself. Models
and classifiers are values: no function changes what it is given. Plots are matplotlib Figures, which notebooks draw.
The error lines of bad input name the flags of the command line, which have the names of the arguments here (but
--pretraining_weight_decay is weight_decay).
"""

import functools
import json
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
from sslx.evaluation import compare, finetune, probe
from sslx.report import figures, records
from sslx.training import run as pretraining, loop as train
from sslx.data import Dataset, LazyImages, Split
from sslx.tasks.subsets import label_subsets
from sslx.nn.features import parse
from sslx.pretext import build, check
from sslx.types import Params, Pretext, State, TrainState, UserError

if TYPE_CHECKING:
  from matplotlib.figure import Figure

SHOWN_IMAGES, SHOWN_PREDICTIONS = 10, 40


class Model(NamedTuple):
  """A pretrained method: `pretrain` and `load` make it."""

  meta: dict[str, Any]
  """method, encoder, features, image_shape, class_names, and config: all that determined the run."""
  pretext: Pretext
  train_state: TrainState
  history: list[dict[str, float]]
  """Rows of step, loss, the method's own metrics, and images_per_second."""

  @property
  def params(self) -> Params:
    """Trained parameters by role."""
    return self.train_state.params

  @property
  def state(self) -> State:
    """What the method keeps without a gradient, by role."""
    return self.train_state.state

  def __repr__(self) -> str:
    loss = f", loss {self.history[-1]['loss']:.4g}" if self.history else ""
    name, where = self.meta["method"], self.meta["config"]["dataset"]
    return f"Model({name} on {where}, encoder {self.meta['encoder']}, {int(self.train_state.step)} steps{loss})"


class Classifier(NamedTuple):
  """An encoder with a head: `classify` makes it."""

  mode: str
  rows: np.ndarray
  """i64 [N]: the training images whose labels it was trained on."""
  class_names: tuple[str, ...]
  image_shape: tuple[int, int, int]
  trained: finetune.Classifier
  logits: Callable[[np.ndarray | LazyImages], np.ndarray]
  """Raw images u8 [N,H,W,C] -> logits f32 [N,K] (votes, for knn)."""

  def __repr__(self) -> str:
    total, trainable = self.trained.total, self.trained.trainable
    return f"Classifier({self.mode}, {len(self.rows)} labels, {trainable:,} of {total:,} parameters trained)"


def load_data(name: str, data_dir: str | os.PathLike[str] | None = None, image_size: int | None = None) -> Dataset:
  """A data set: mnist, fashion_mnist, idx:DIR, npz:FILE, folder:DIR or tfds:NAME; see `sslx.data.load`."""
  from sslx import data

  return data.load(name, None if data_dir is None else os.fspath(data_dir), image_size)


def pretrain(
  method: str,
  data: Dataset,
  *,
  encoder: str | None = None,
  features: str = "flatten",
  epochs: float | None = None,
  batch_size: int | None = None,
  learning_rate: float | None = None,
  seed: int = 0,
  watch: int = pretraining.WATCH,
  optimizer: str | None = None,
  weight_decay: float = pretraining.WEIGHT_DECAY,
  warmup_epochs: float | None = None,
  accumulate: int = 1,
  precision: str = "float32",
  progress: bool = True,
  **hp: Any,
) -> Model:
  """Trains `method` on all training images of `data`; labels are read by `supervised` alone.

  The same run as `python -m experiments.pretrain` with these flags. Interrupted (Ctrl-C, the notebook's stop button) it
  says so and returns the model as it is.

  Args:
    method: a name of METHODS, such as autoencode, denoise, simclr.
    data: see `load_data`.
    encoder: such as "conv:widths=16-32-64,code=10"; None: the method's own, as for the three sizes below.
    features: what `classify` reads, such as "flatten", "pool" or "block2:grid2".
    epochs: passes over the images, at least one step.
    batch_size: images a step.
    learning_rate: at its peak; None with another optimiser than the method's own: see `sslx.training.optim.default_rate`.
    seed: of weights, order and noise.
    watch: training images to hold out, at most a tenth: loss and metrics on them are in the history as heldout_NAME.
    optimizer: adamw, sgd or lars.
    weight_decay: spares biases and normalisation.
    warmup_epochs: over which the learning rate rises; None: a tenth of all, at most 100 steps.
    accumulate: parts that a batch goes through the model in, in a fraction of the memory; contrastive losses then have
      the negatives of a part only, and batch normalisation its images.
    precision: float32 or bfloat16, of the encoder's products while it is pretrained.
    progress: shows a bar.
    hp: the method's hyper-parameters, such as level=0.3.

  Raises:
    UserError: a name, size or hyper-parameter that is not known or does not fit.
  """
  for name, value in (("epochs", epochs), ("batch_size", batch_size), ("learning_rate", learning_rate)):
    if value is not None and not 0 < value < math.inf:
      raise UserError(f"{name}={value}: must be positive.")
  values = options.check(check(method).factory, hp, "--hp")
  given = encoder, features, epochs, batch_size, learning_rate, seed, watch
  how = optimizer, weight_decay, warmup_epochs, accumulate, precision
  config = pretraining.configuration(method, data, values, *given, *how)
  net = nn.build(config["encoder"], config["precision"])
  parse(features, net.block_names)
  plan = pretraining.plan(build(method, net, features, data.num_classes, values), config, features, data)
  history: list[dict[str, float]] = []
  stopped: list[TrainState] = []
  try:
    ts = pretraining.run(
      plan,
      pretraining.start(plan),
      log=history.append,
      log_every=max(1, min(50, plan.steps // 40)),  # a curve even of a short run
      save=stopped.append,
      save_seconds=math.inf,
      title=f"pretraining {method}" if progress else None,
    )
  except train.Interrupted as reason:
    ts = stopped[-1]
    print(f"{reason}; this is the model so far.", file=sys.stderr)
  return Model(plan.meta, plan.pretext, ts, history)


def save(model: Model, directory: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
  """Writes a run directory: `load`, `load_encoder` and the experiments' --checkpoint read it. Returns its path.

  Raises:
    UserError: there is one already and not `overwrite`, or the folder cannot be written.
  """
  from sslx.training import checkpoint

  directory = Path(directory)
  folder, new = directory / "checkpoints", directory / f".checkpoints.{os.getpid()}"
  if checkpoint.steps(folder) and not overwrite:
    raise UserError(f"{directory}: holds a model already; name another folder, or give overwrite=True.")
  checkpoint.save(new, model.train_state, model.meta)
  shutil.rmtree(folder, ignore_errors=True)  # not before the new one is there
  new.rename(folder)
  (directory / "config.json").write_text(json.dumps(model.meta["config"], indent=2, sort_keys=True) + "\n")
  (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in model.history))
  return directory


def load(directory: str | os.PathLike[str]) -> Model:
  """The model in a run directory, which `save` or experiments.pretrain wrote.

  Raises:
    UserError: no checkpoint there, none intact, or one of another version of its method.
  """
  pretext, ts, meta = pretraining.restore(Path(directory))
  meta = {name: value for name, value in meta.items() if name not in ("step", "digests")}
  history = [row for row in records.read_rows(Path(directory) / "metrics.jsonl") if row["step"] <= int(ts.step)]
  return Model(meta, pretext, ts, history)


def classify(
  model: Model,
  data: Dataset,
  labels: int | float = 0.01,
  mode: str = "frozen",
  *,
  seed: int = 0,
  features: str | None = None,
  recipe: finetune.Recipe | None = None,
) -> Classifier:
  """Turns the model's encoder into a classifier, trained on few labels of `data.train`; no other label is read.

  The same subset and training as `python -m experiments.low_label` with these flags.

  Args:
    model: see `pretrain`.
    data: of the image shape that the model was made for.
    labels: how many, or a fraction of the training split: 600, or 0.01. The subset is balanced over the classes.
    mode: frozen (a linear head), last:K (head and last K blocks), full (everything), scratch (everything, from random
      weights), random (a linear head on random weights), raw (on pixels), knn:K, propagate, or self_train (all of the
      network, on all training images, see `sslx.evaluation.self_training`).
    seed: of the subset.
    features: in place of the model's own.
    recipe: of last:K, full and scratch.

  Raises:
    UserError: more labels than there are, fewer than classes, or an unknown mode.
  """
  reading: str = features or model.meta["features"]
  net, encode = _network(model.meta["encoder"], reading)
  compare.check_modes((mode,), net.block_names)
  _same_shape(f"data={data.name}", data.train, model.meta["image_shape"])
  if data.train.labels is None:
    raise UserError(f"data={data.name}: its training split has no labels.")
  if not isinstance(labels, int | float | np.number) or not 0 < labels < math.inf:
    raise UserError(f"labels={labels}: expected a number of labels, such as 600, or a fraction, such as 0.01.")
  n = int(labels) if isinstance(labels, int | np.integer) or labels > 1 else round(labels * len(data.train))
  try:
    rows = label_subsets(data.train.labels, [n], seed)[n]
  except UserError as error:
    raise UserError(f"labels={labels}: {error}") from error
  tree = {"params": model.params["encoder"], "stats": model.state["encoder"]}
  task = compare.Task(mode, n, seed)
  trained = compare.train_classifiers(
    [task], data, compare.Labelled({seed: {n: rows}}, None), net, reading, encode, tree,
    recipe or finetune.Recipe(), model.meta["config"]["seed"], lambda line: None,
  )[task].classifier  # fmt: skip
  logits = functools.partial(finetune.predict, encode, trained)
  return Classifier(mode, rows, data.class_names, data.image_shape, trained, logits)


def predict(classifier: Classifier, images: np.ndarray | LazyImages) -> np.ndarray:
  """Probabilities f32 [N,K] of raw images u8 [N,H,W,C]."""
  logits = classifier.logits(images)
  if isinstance(classifier.trained.head, probe.Knn):
    return logits / np.maximum(logits.sum(1, keepdims=True), 1e-30)
  return np.asarray(jax.nn.softmax(logits))


def accuracy(classifier: Classifier, split: Split) -> float:
  """The fraction of images that are classified right: `accuracy(classifier, data.test)`."""
  labels = _labels(classifier, split)
  return float((predict(classifier, split.images).argmax(1) == labels).mean())


def plot_losses(model: Model) -> "Figure":
  """The loss against the step, and the method's other metrics below."""
  return figures.loss_curve(model.history)


def plot_pictures(model: Model, data: Dataset, seed: int = 0) -> "Figure":
  """What the method sees and makes of ten training images: corruptions and reconstructions, or views.

  Raises:
    UserError: the method shows nothing, or the images are of another shape.
  """
  _same_shape(f"data={data.name}", data.train, model.meta["image_shape"])
  if model.pretext.show is None:
    raise UserError(f"{model.meta['method']} has no pictures to show.")
  few = {"image": np.asarray(data.train.images[np.arange(min(SHOWN_IMAGES, len(data.train)))])}
  pictures = pretraining.pictures(model.pretext, model.params, model.state, jax.random.key(seed), few)
  return figures.picture_rows(pictures)


def plot_predictions(classifier: Classifier, split: Split, seed: int = 0) -> "Figure":
  """Forty random images of a split, each with the predicted class, and the true one where that is wrong."""
  labels = _labels(classifier, split)
  rows = np.random.default_rng(seed).permutation(len(split))[:SHOWN_PREDICTIONS]
  images = np.asarray(split.images[rows])
  probability = predict(classifier, images)
  return figures.predictions(images, labels[rows], probability.argmax(1), classifier.class_names, probability.max(1))


def plot_confusion(classifier: Classifier, split: Split) -> "Figure":
  """How often each class of a split was taken for each."""
  labels = _labels(classifier, split)
  return figures.confusion(labels, predict(classifier, split.images).argmax(1), classifier.class_names)


@functools.cache
def _network(encoder: str, features: str) -> tuple[nn.Encoder, finetune.Encode]:
  """One object, and so one compilation, for all classifiers of an architecture."""
  net = nn.build(encoder)
  parse(features, net.block_names)
  return net, finetune.encode_fn(net, features)


def _same_shape(what: str, split: Split, shape: Any) -> None:
  if tuple(split.images.shape[1:]) != tuple(shape):
    raise UserError(f"{what}: its images are {tuple(split.images.shape[1:])}, the model was made for {tuple(shape)}.")


def _labels(classifier: Classifier, split: Split) -> np.ndarray:
  if not isinstance(split, Split):
    raise UserError("expected a split of the data, such as data.test.")
  _same_shape("this split", split, classifier.image_shape)
  if split.labels is None:
    raise UserError("this split has no labels.")
  return split.labels
