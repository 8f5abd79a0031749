"""Training an encoder and a linear head on a few labels: scratch, last:K and full are one function with other masks.

No second trainer: `supervised` is a Pretext, and this is `fit` + given encoder weights + a mask + a label subset.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sslx import nn
from sslx.evaluation import probe, propagation
from sslx.training import masks, optim, loop as train
from sslx.compile import jit, jit_once
from sslx.data import LazyImages
from sslx.tasks.subsets import stratified_folds
from sslx.data.types import take
from sslx.ops.image import to_float
from sslx.evaluation.self_training import self_training
from sslx.pretext.supervised import supervised
from sslx.types import Array, TrainState

Images = np.ndarray | LazyImages
EncoderTree = dict[str, Any]  # {"params", "stats"}


class Recipe(NamedTuple):
  """How every mode that trains by gradient is trained: one recipe for all of them."""

  steps: int = 150
  epochs: float = 1.0
  """At least so many passes over the labelled images, where they take more steps."""
  batch_size: int = 50
  learning_rates: tuple[float, ...] = (2e-3,)
  """With several, one is chosen by cross-validation inside the labelled subset, the same way for every mode."""
  weight_decay: float = 1e-4
  folds: int = 3
  self_train_epochs: float = 2.0
  """Passes of self-training over all training images, in each of its rounds; batch and rate below are its own too."""
  self_train_batch_size: int = 128
  self_train_learning_rate: float = 3e-3
  self_train_rounds: int = 2
  optimizer: optim.OPTIMIZERS = "adamw"
  schedule: optim.SCHEDULES = "cosine"
  shuffle: bool = True
  patience: int | None = None
  """With a number, training ends early where the training accuracy of that many epochs in a row was not above the best."""
  head: Literal["logistic", "gradient"] = "logistic"
  """How the head of a frozen encoder is trained: logistic regression that chooses for itself (`probe.fit_linear`), or by
  gradient, as in the other modes."""


class Classifier(NamedTuple):
  """An encoder (None: raw pixels) with a head."""

  encoder: EncoderTree | None
  head: probe.Linear | probe.Knn | propagation.Propagated
  trainable: int
  total: int


Encode = Callable[[dict, dict, Array], Array]


@functools.lru_cache(maxsize=16)  # so that methods compared on one encoder share what was compiled
def encode_fn(encoder: nn.Encoder, features: str) -> Encode:
  """Jitted (params, stats, raw images) -> features, one compilation for all weights of this architecture."""
  return jit(lambda params, stats, image: nn.encode(encoder, features, params, stats, to_float(image)))


def features_of(tree: EncoderTree | None, encode: Encode) -> Callable[[Array], Array]:
  """Raw images -> features by the encoder `tree`; None: the pixels themselves."""
  if tree is None:
    return jit(lambda image: to_float(image).reshape(len(image), -1))
  return lambda image: encode(tree["params"], tree["stats"], image)


def predict(encode: Encode, classifier: Classifier, images: Images) -> np.ndarray:
  """Logits f32 [N,K] of raw images u8 [N,H,W,C]."""
  return classifier.head.logits(probe.extract(features_of(classifier.encoder, encode), images))


@functools.lru_cache(maxsize=16)  # scratch and full, and the next method on this encoder, share a compiled step
def make_finetune(
  encoder: nn.Encoder, features: str, num_classes: int, blocks: tuple[str, ...], recipe: Recipe, encode: Encode
) -> Callable[..., Classifier]:
  """A function (encoder tree, images u8[N,H,W,C], labels i32[N], seed, heldout=None) -> Classifier.

  Trains the head and the encoder's `blocks`; the rest, batch statistics included, comes back bit-identical. The
  compiled step is shared by all calls. heldout: (images, labels) to choose the learning rate on instead of folds.
  """
  pretext = supervised(encoder, features, blocks, num_classes=num_classes)
  compiled: dict[tuple[float, int], tuple[optax.GradientTransformation, train.TrainStep]] = {}  # by rate and steps

  def trained(tree: EncoderTree, images: np.ndarray, labels: np.ndarray, seed: int, rate: float) -> Classifier:
    data = {"image": images, "label": labels}
    key = jax.random.key(seed)
    head = jax.eval_shape(lambda: pretext.init(key, {n: a[:1] for n, a in data.items()}))[0]["head"]
    head = jax.tree.map(
      lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), head
    )  # zero is how `supervised` starts its head
    tree = jax.tree.map(jnp.array, tree)  # a copy: the step donates what it is given
    params = {"encoder": tree["params"], "head": head}
    mask = masks.trainable(params, blocks)
    steps = max(recipe.steps, int(recipe.epochs * (len(labels) // recipe.batch_size)))
    if (rate, steps) not in compiled:
      schedule = optim.schedule(recipe.schedule, rate, steps)
      tx = optim.freeze(optim.optimizer(schedule, recipe.optimizer, recipe.weight_decay), mask)
      compiled[rate, steps] = tx, train.make_train_step(pretext, tx)
    tx, step = compiled[rate, steps]
    ts = TrainState(jnp.zeros((), jnp.int32), key, params, {"encoder": tree["stats"]}, tx.init(params))
    how = {"batch_size": recipe.batch_size, "seed": seed, "shuffle": recipe.shuffle}
    if recipe.patience is None:
      chosen, ts = {"learning_rate": rate}, train.fit(ts, step, data, steps=steps, log_every=steps, **how)
    else:
      ts = _patient(ts, step, data, steps, recipe.patience, **how)
      chosen = {"learning_rate": rate, "steps": int(ts.step)}
    dense = jax.tree.map(np.asarray, ts.params["head"]["Dense_0"])
    linear = probe.Linear(dense["kernel"], dense["bias"], probe.identity(len(dense["kernel"])), chosen)
    after = {"params": ts.params["encoder"], "stats": ts.state["encoder"]}
    return Classifier(after, linear, masks.count(ts.params, mask), masks.count(ts.params))

  def run(
    tree: EncoderTree,
    images: np.ndarray,
    labels: np.ndarray,
    seed: int,
    heldout: tuple[np.ndarray, np.ndarray] | None = None,
  ) -> Classifier:
    rates = recipe.learning_rates
    if len(rates) == 1:
      return trained(tree, images, labels, seed, rates[0])

    def correct(fit_on: np.ndarray, rate: float, valid: tuple[np.ndarray, np.ndarray]) -> int:
      classifier = trained(tree, images[fit_on], labels[fit_on], seed, rate)
      return int((predict(encode, classifier, valid[0]).argmax(1) == valid[1]).sum())

    everything = np.arange(len(labels))
    if heldout is not None:
      parts = [(everything, heldout)]
    else:
      try:
        parts = [(a, (images[b], labels[b])) for a, b in stratified_folds(labels, recipe.folds, seed)]
      except ValueError:  # one label per class: nothing can be held out
        return trained(tree, images, labels, seed, rates[len(rates) // 2])
    scores = {rate: sum(correct(a, rate, valid) for a, valid in parts) for rate in rates}
    best = max(scores, key=scores.__getitem__)
    classifier = trained(tree, images, labels, seed, best)
    accuracy = scores[best] / sum(len(valid[1]) for _, valid in parts)
    return classifier._replace(
      head=classifier.head._replace(chosen={**classifier.head.chosen, "validation_accuracy": accuracy})
    )

  return run


def _patient(
  ts: TrainState, step: train.TrainStep, data: dict[str, Any], steps: int, patience: int, batch_size: int, **how: Any
) -> TrainState:
  """`train.fit` by epochs, to `steps` at most; ends when `patience` of them in a row had no accuracy above the best.

  As Keras' EarlyStopping: the accuracy is the mean over an epoch's batches while it trains, and the last weights stay.
  """
  epoch = len(data["label"]) // min(batch_size, len(data["label"]))
  best, since, rows = -1.0, 0, []
  while int(ts.step) < steps and since < patience:
    end = min(steps, int(ts.step) + epoch)
    ts = train.fit(ts, step, data, steps=end, batch_size=batch_size, log=rows.append, log_every=epoch, **how)
    accuracy = rows[-1]["accuracy"]
    best, since = (accuracy, 0) if accuracy > best else (best, since + 1)
  return ts


@functools.lru_cache(maxsize=16)
def make_self_train(
  encoder: nn.Encoder, features: str, num_classes: int, recipe: Recipe, encode: Encode
) -> Callable[..., Classifier]:
  """A function (encoder tree, all training images u8[N,H,W,C], rows and their labels i32[n], Propagated, seed, title)
  -> Classifier: all of the network, trained on the propagated labels and then on what its teacher is sure of (see
  `sslx.evaluation.self_training`). The teacher is what comes back.

  Labelled images are repeated so that they make up an eighth of the batches.
  """
  compiled: dict[int, tuple[Any, optax.GradientTransformation, train.TrainStep]] = {}  # by steps

  def run(
    tree: EncoderTree,
    images: Images,
    rows: np.ndarray,
    labels: np.ndarray,
    propagated: propagation.Propagated,
    seed: int,
    title: str | None = None,
  ) -> Classifier:
    n = len(images)
    order = np.concatenate([np.arange(n), np.tile(rows, max(1, n // (7 * len(rows))))])
    given = propagated.belief.argmax(1).astype(np.int32)
    given[rows] = labels
    known = np.zeros(n, bool)
    known[rows] = True
    told = known | (propagated.belief.sum(1) > 0)  # an island of the graph without a label is left to the teacher
    data = {"image": take(images, order), "label": given[order], "told": told[order], "known": known[order]}
    batch_size = min(recipe.self_train_batch_size, len(order))
    steps = max(1, round(recipe.self_train_epochs * (len(order) // batch_size)))
    if steps not in compiled:
      pretext = self_training(encoder, features, num_classes=num_classes, steps=steps)
      rate = optim.cosine(recipe.self_train_learning_rate, steps, warmup=steps // 20)
      tx = optim.optimizer(rate, weight_decay=recipe.weight_decay)
      compiled[steps] = pretext, tx, train.make_train_step(pretext, tx)
    pretext, tx, step = compiled[steps]
    ts = train.make_init(pretext, tx)(jax.random.key(seed), {"image": images[np.arange(1)]})
    tree = jax.tree.map(jnp.array, tree)  # a copy: the step donates what it is given
    params = {**ts.params, "encoder": tree["params"]}
    state = {**ts.state, "encoder": tree["stats"], "teacher": jax.tree.map(jnp.array, params)}
    ts, rows_logged = ts._replace(params=params, state=state), []
    ts = train.fit(ts, step, data, steps=steps, batch_size=batch_size, seed=seed, log=rows_logged.append, title=title)
    teacher = ts.state["teacher"]
    dense = jax.tree.map(np.asarray, teacher["head"]["Dense_0"])
    chosen = {name: rows_logged[-1][name] for name in ("teacher_sure", "teacher_agrees")}
    linear = probe.Linear(dense["kernel"], dense["bias"], probe.identity(len(dense["kernel"])), chosen)
    after, total = {"params": teacher["encoder"], "stats": ts.state["encoder"]}, masks.count(ts.params)
    return Classifier(after, linear, total, total)

  return run


def make_init_encoder(encoder: nn.Encoder, image_shape: tuple[int, ...]) -> Callable[[int], EncoderTree]:
  """seed -> random weights, as `scratch` starts from and the `random` row keeps."""
  image = np.zeros((1, *image_shape), np.float32)

  @jit_once
  def init(key: Array) -> EncoderTree:
    params, stats = nn.init(encoder, key, image)
    return {"params": params, "stats": stats}

  return lambda seed: init(jax.random.key(seed))
