"""One pretraining run, planned and resumed: what the experiments and the Python functions of `sslx.workflow` share.

What determines a run is its `config`, which a checkpoint's `meta` carries: the run can be planned, and its method built
again, from the checkpoint alone.
"""

import math
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sslx import nn, optim, options, probe, train
from sslx.compile import jit
from sslx.data import Dataset
from sslx.data.types import take
from sslx.pretext import build, check
from sslx.types import Array, Batch, Metrics, Params, Pretext, State, TrainState, UserError

COLLAPSED = 0.1  # embedding_std (see `losses.spread`) below which a run is said to have collapsed
WATCH = 1000  # training images on which pretraining is watched and not trained
KNN = 20  # neighbours by which the watched images are classified
WEIGHT_DECAY = 1e-4
BEFORE = {  # what a configuration says that was written before it could say so
  "optimizer": "adamw", "weight_decay": WEIGHT_DECAY, "warmup_epochs": None, "accumulate": 1, "precision": "float32"
}  # fmt: skip


class Plan(NamedTuple):
  """All that `train.make_init` and `train.fit` ask for."""

  pretext: Pretext
  tx: optax.GradientTransformation
  data: dict[str, Any]  # image u8 [N,H,W,C]; label i32 [N] where the method reads them
  watched: dict[str, np.ndarray]  # the same of the training images that are held out, perhaps none
  watched_labels: np.ndarray | None  # i32 of those, for the kNN among them; None for no kNN
  steps: int
  batch_size: int
  accumulate: int  # parts of a batch, see `train.make_train_step`
  seed: int
  meta: dict[str, Any]  # what a checkpoint says of itself, see `sslx.load_encoder`


def configuration(
  method: str,
  dataset: Dataset,
  hp: Mapping[str, Any],
  encoder: str | None = None,
  features: str = "flatten",
  epochs: float | None = None,
  batch_size: int | None = None,
  learning_rate: float | None = None,
  seed: int = 0,
  watch: int = WATCH,
  optimizer: str | None = None,
  weight_decay: float = WEIGHT_DECAY,
  warmup_epochs: float | None = None,
  accumulate: int = 1,
  precision: str = "float32",
  schedule: optim.SCHEDULES = "cosine",
  shuffle: bool = True,
) -> dict[str, Any]:
  """What determines a run, of JSON's types and tuples. None: the method's own default. hp: checked hyper-parameters.

  learning_rate: None is the method's, or with another optimiser than its own `optim.default_rate`.
  watch: training images that are held out of it, see `watched_rows`.
  warmup_epochs: over which the learning rate rises; None: a tenth of the run, at most 100 steps.
  accumulate: parts of a batch, see `train.make_train_step`. precision: of the encoder's products, see `nn.build`.
  schedule, shuffle: of the learning rate, see `optim.schedule`, and of the images, see `train.fit`. They are entries
    only where they are not the defaults, so that runs which are older than they are found again.

  Raises:
    UserError: an optimiser or precision that is not known, or a number that is out of range.
  """
  default, images = check(method), dataset.pretraining_images
  optimizer, epochs = optimizer or default.optimizer, epochs or default.epochs
  batch_size = batch_size or default.batch_size
  for flag, value, known in (("optimizer", optimizer, optim.OPTIMIZERS), ("precision", precision, nn.PRECISIONS)):
    if value not in get_args(known):
      raise UserError(f"--{flag}={value}: unknown.{options.nearest(value, get_args(known))}")
  if not 0 <= weight_decay < math.inf:
    raise UserError(f"--pretraining_weight_decay={weight_decay:g}: must be at least 0.")
  if warmup_epochs is not None and not 0 <= warmup_epochs < epochs:
    raise UserError(f"--warmup_epochs={warmup_epochs:g}: must be at least 0 and below the {epochs:g} of --epochs.")
  if accumulate < 1:
    raise UserError(f"--accumulate={accumulate}: must be at least 1.")
  if not learning_rate:
    own = optimizer == default.optimizer
    learning_rate = default.learning_rate if own else optim.default_rate(optimizer, batch_size)
  return {
    "method": method,
    "hp": options.resolve(default.factory, hp),
    "dataset": dataset.name,
    "image_shape": list(dataset.image_shape),
    "images": len(images),
    "data_crc32": zlib.crc32(images[np.arange(0, len(images), -(-len(images) // 5000))].tobytes()),
    "encoder": encoder or default.encoder,
    "features": features if method == "supervised" else None,  # elsewhere only the probes read them
    "epochs": epochs,
    "batch_size": batch_size,
    "optimizer": optimizer,
    "learning_rate": learning_rate,
    "weight_decay": weight_decay,
    "warmup_epochs": warmup_epochs,
    "accumulate": accumulate,
    "precision": precision,
    "seed": seed,
    "watched": len(watched_rows(len(dataset.train), watch)),
    **({} if schedule == "cosine" else {"schedule": schedule}),
    **({} if shuffle else {"shuffle": shuffle}),
  }


def watched_rows(n: int, watch: int) -> np.ndarray:
  """Which of n training images pretraining does not train on, ascending: `watch` of them, at most a tenth.

  The method's loss and metrics on them are logged. Drawn once and for all: every method and seed watches the same.
  """
  return np.sort(np.random.default_rng(0).permutation(n)[: min(watch, n // 10)])


def optimizer(pretext: Pretext, config: Mapping[str, Any], steps: int, epoch: int = 1) -> optax.GradientTransformation:
  """The optimiser of `config`, with warm-up and its schedule, and each role at the rate that the method gives it.

  epoch: steps of one. They and `steps` are no part of the shapes of its state.
  """
  config = {**BEFORE, **config}
  warmup = min(100, steps // 10) if config["warmup_epochs"] is None else round(config["warmup_epochs"] * epoch)
  schedule = optim.schedule(config.get("schedule", "cosine"), config["learning_rate"], steps, warmup)
  tx = optim.optimizer(schedule, config["optimizer"], config["weight_decay"])
  return optim.by_role(tx, pretext.rates) if pretext.rates else tx


def plan(
  pretext: Pretext,
  config: Mapping[str, Any],
  features: str,
  dataset: Dataset,
  steps: int | None = None,
  online_knn: bool = True,
) -> Plan:
  """The run of `config` (see `configuration`) on `dataset`.

  steps: another number than the epochs give; online_knn: watch what the labels of the held-out images say of the
  features, too. Nothing is trained or chosen by it.

  Raises:
    UserError: a batch that does not split into the parts of --accumulate.
  """
  accumulate = {**BEFORE, **config}["accumulate"]
  everything: dict[str, Any] = {"image": dataset.pretraining_images}
  if config["method"] == "supervised":
    everything = {"image": dataset.train.images, "label": dataset.train.labels}
  held = watched_rows(len(dataset.train), config["watched"])
  rows = np.setdiff1d(np.arange(len(everything["image"])), held)
  data = {name: take(array, rows) for name, array in everything.items()} if len(held) else everything
  watched = {name: np.asarray(array[held]) for name, array in everything.items()} if len(held) else {}
  labels = dataset.train.labels
  few = labels is None or len(held) <= KNN  # no labels, or not enough neighbours
  watched_labels = None if few or not online_knn else np.asarray(labels)[held]
  batch_size = min(config["batch_size"], len(data["image"]))
  train.part_size(batch_size, accumulate)  # of a batch that fits the data: the run says no before it starts
  epoch = len(data["image"]) // batch_size
  steps = steps or max(1, round(config["epochs"] * epoch))
  meta = {
    "encoder": config["encoder"], "features": features, "image_shape": config["image_shape"],
    "method": config["method"], "config": config, "class_names": list(dataset.class_names),
  }  # fmt: skip
  tx = optimizer(pretext, config, steps, epoch)
  return Plan(pretext, tx, data, watched, watched_labels, steps, batch_size, accumulate, config["seed"], meta)


def run(
  plan: Plan, ts: TrainState, *, log: Callable[[dict[str, float]], None] = lambda row: None, **how: Any
) -> TrainState:
  """Trains from `ts` to the plan's last step, and watches it. log and how (save and so on): see `train.fit`.

  Says so on stderr, once, where the embeddings of a method on two views collapse.
  """
  warned = False

  def watching(row: dict[str, float]) -> None:
    nonlocal warned
    log(row)
    if not warned and row.get("heldout_embedding_std", 1.0) < COLLAPSED:
      warned = True
      print(
        f"warning: at step {row['step']} all images have nearly the same embedding (spread "
        f"{row['heldout_embedding_std']:.3f}; 1 is even, 0 a point): it has collapsed. Try a lower --learning_rate, a "
        "larger --batch_size, or stronger views.",
        file=sys.stderr,
      )

  watch = make_watch(plan) if plan.watched else None
  step = train.make_train_step(plan.pretext, plan.tx, plan.accumulate)
  how = {"batch_size": plan.batch_size, "shuffle": plan.meta["config"].get("shuffle", True), **how}
  return train.fit(ts, step, plan.data, steps=plan.steps, seed=plan.seed, watch=watch, log=watching, **how)


def make_watch(plan: Plan) -> Callable[[TrainState], Metrics]:
  """train_state -> the method's loss and metrics on the plan's watched images, and knn_accuracy.

  The latter is of a 20-nearest-neighbour classifier of the features, each image classified by the others.
  """
  method = train.make_watch(plan.pretext, plan.watched, train.part_size(plan.batch_size, plan.accumulate))
  images, labels = plan.watched["image"], plan.watched_labels
  if labels is None:
    return method
  encode, classes = jit(plan.pretext.encode), len(plan.meta["class_names"])

  def watch(ts: TrainState) -> Metrics:
    features = probe.extract(lambda image: encode(ts.params, ts.state, image), images)
    return {**method(ts), "knn_accuracy": jnp.asarray(probe.leave_one_out(features, labels, classes, KNN))}

  return watch


def start(plan: Plan) -> TrainState:
  """The state before the first step."""
  return train.make_init(plan.pretext, plan.tx)(jax.random.key(plan.seed), _first(plan))


def shapes(plan: Plan) -> TrainState:
  """Shapes and dtypes of that state, which is what restoring a checkpoint asks for; nothing is compiled."""
  found = jax.eval_shape(train.make_init(plan.pretext, plan.tx), jax.random.key(plan.seed), _first(plan))
  return found._replace(key=jax.random.key(0))


def _first(plan: Plan) -> dict[str, np.ndarray]:
  return {name: np.asarray(array[np.arange(1)]) for name, array in plan.data.items()}


def pictures(pretext: Pretext, params: Params, state: State, key: Array, batch: Batch) -> dict[str, np.ndarray]:
  """What a method with `show` sees and makes, its rows in its own order (a dict that leaves a jax function is sorted)."""
  titles: list[str] = []

  def rows(*args: Any) -> list[Array]:
    assert pretext.show
    shown = pretext.show(*args)
    titles[:] = shown
    return list(shown.values())

  made = jax.device_get(jit(rows)(params, state, key, batch))
  return dict(zip(titles, made, strict=True))


def rebuild(meta: Mapping[str, Any]) -> Pretext:
  """The method that a checkpoint's `meta` tells of, with its hyper-parameters.

  Raises:
    UserError: it has no such hyper-parameter any more.
  """
  hp = options.check(check(meta["method"]).factory, meta["config"]["hp"], "--hp")
  encoder = nn.build(meta["encoder"], {**BEFORE, **meta["config"]}["precision"])
  return build(meta["method"], encoder, meta["features"], len(meta["class_names"]), hp)


def restore(directory: Path) -> tuple[Pretext, TrainState, dict[str, Any]]:
  """(method, all of its TrainState, meta) of the newest intact checkpoint; no data is read.

  directory: a run directory, its checkpoints folder, or one checkpoint in it.

  Raises:
    UserError: no checkpoint there, none intact, or one of another version of the method.
  """
  from sslx import checkpoint  # slow to import, and this is all that needs it

  _, meta = checkpoint.restore_encoder(directory)
  pretext = rebuild(meta)
  tx = optimizer(pretext, meta["config"], 100)
  batch = {"image": np.zeros((1, *meta["image_shape"]), np.uint8), "label": np.zeros(1, np.int32)}
  template = jax.eval_shape(train.make_init(pretext, tx), jax.random.key(0), batch)._replace(key=jax.random.key(0))
  folder, only = checkpoint.locate(directory)
  ts = checkpoint.restore(folder, template, only)
  assert ts is not None  # restore_encoder found one
  return pretext, ts, {**meta, "step": int(ts.step)}
