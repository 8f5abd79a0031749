"""One pretraining run, planned, trained and restored: what the experiments and the
Python functions of `sslx.api` share.

What determines a run is its `Config`, which a checkpoint keeps: the run can be planned, and its method built again,
from the checkpoint alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from sslx import nn, options
from sslx.compile import check_floats, jit
from sslx.data import Dataset, located
from sslx.data.lazy import take
from sslx.data.words import end_to_end
from sslx.modalities import MODALITIES
from sslx.ops.text import Vocabulary
from sslx.pretext import build, check, taking
from sslx.tasks import TASKS
from sslx.training import hooks, loop, optim, parallel
from sslx.training.config import SMOKE_STEPS, Config, lays_end_to_end, steps_of_epoch, watched_rows
from sslx.training.hooks import Hook, Row
from sslx.training.masks import path_of
from sslx.training.step import make_init, make_train_step, part_size, prepared
from sslx.training.watch import Watch, joined, make_watch
from sslx.types import ENCODER, Array, Modality, Params, Pretext, State, Task, TrainState, UserError, brief, folded


class Meta(NamedTuple):
  """What a checkpoint says of itself."""

  config: Config
  features: str
  """What probes read of its encoder unless told otherwise."""
  modality: str
  task: str
  names: tuple[str, ...]
  """Of the task's outputs: the classes."""
  step: int | None = None
  steps: int | None = None
  """How many are planned; None in what sslx wrote before 0.2."""
  place: str = ""
  """Of the data set, `folder:/home/me/photos`, where its name says so from the folder of that time only."""
  vocabulary: Vocabulary | None = None
  """Of text."""

  __repr__ = brief

  def to_json(self) -> dict[str, Any]:
    """What a checkpoint keeps; `read` reads it."""
    left_out = ("step", *(["place"] if not self.place else []), *(["vocabulary"] if self.vocabulary is None else []))
    kept = {name: value for name, value in self._asdict().items() if name not in left_out}
    words = {} if self.vocabulary is None else {"vocabulary": self.vocabulary.to_json()}
    return {**kept, "config": self.config.to_json(), "names": list(self.names), **words}

  @classmethod
  def read(cls, saved: Mapping[str, Any]) -> "Meta":
    """Of `to_json`, or of a checkpoint that an older sslx wrote, when images and classes were all there was."""
    names = saved.get("names", saved.get("class_names"))
    modality, task = saved.get("modality", "image"), saved.get("task", "classification")
    config = Config.read(saved["config"])
    vocabulary = Vocabulary.read(saved["vocabulary"]) if "vocabulary" in saved else None
    more = saved.get("step"), saved.get("steps"), saved.get("place", ""), vocabulary
    return cls(config, saved["features"], modality, task, tuple(names or ()), *more)

  @property
  def flat_features(self) -> str:
    """The same for who needs a vector of each example: flatten, where probes read maps."""
    return "flatten" if self.features.startswith("maps") else self.features

  def build_encoder(self, precision: str | None = None) -> nn.Encoder:
    """Its architecture, as pretraining has it; with another precision, as probes do: these keep activations."""
    assert self.config.encoder
    remat = self.config.remat and precision is None
    return nn.build(self.config.encoder, precision or self.config.precision, self.vocabulary, remat)

  @property
  def meaning(self) -> Any:
    """As `Dataset.meaning`."""
    return self.vocabulary or self.config.rate

  def build_modality(self) -> Modality:
    """Of the data set that it was made on."""
    return MODALITIES[self.modality]

  def build_task(self) -> Task:
    """The task of the data set that it was made on."""
    return TASKS[self.task](self.names)

  def build_pretext(self) -> Pretext:
    """Its method, with its hyper-parameters.

    Raises:
      UserError: the method has no such hyper-parameter any more.
    """
    config = self.config
    hp = options.check(check(config.method).factory, config.hp, "--hp")
    return build(config.method, self.build_encoder(), hp, self.build_task(), self.features, self.vocabulary)


class Plan(NamedTuple):
  """All that a run is, before its first step."""

  meta: Meta
  pretext: Pretext
  tx: optax.GradientTransformation
  modality: Modality
  data: dict[str, Any]
  """Raw x [N,...], and y where the method reads targets."""
  watched: dict[str, np.ndarray]
  """The same of the examples that are held out, perhaps none."""
  watched_y: np.ndarray | None
  """Their targets, where the data set has them, for what is watched beside the method."""
  steps: int
  batch_size: int

  __repr__ = brief

  @property
  def config(self) -> Config:
    """Resolved on its data set."""
    return self.meta.config

  @property
  def task(self) -> Task:
    """Of its data set."""
    return self.meta.build_task()


class Run(NamedTuple):
  """A pretrained method: what `sslx.pretrain` and `sslx.load` give."""

  meta: Meta
  pretext: Pretext
  train_state: TrainState
  history: list[Row]
  """Rows of step, loss, the method's own metrics, and examples_per_second."""

  @property
  def params(self) -> Params:
    """Trained parameters by role."""
    return self.train_state.params

  @property
  def state(self) -> State:
    """What the method keeps without a gradient, by role."""
    return self.train_state.state

  def representation(self, features: str | None = None) -> nn.Representation:
    """Its encoder, read as its meta says or as `features` does."""
    params, state = self.params[ENCODER], self.state[ENCODER]
    return representation(self.meta, {"params": params, "stats": state}, features)

  @property
  def unfinished(self) -> str | None:
    """Such as "stopped at step 40 of 100"; None of a run that is finished, or whose plan is not known."""
    step, steps = int(self.train_state.step), self.meta.steps
    return f"stopped at step {step} of {steps}" if steps is not None and step < steps else None

  def __repr__(self) -> str:
    loss = f", loss {self.history[-1]['loss']:.4g}" if self.history else ""
    config = self.meta.config
    steps = self.unfinished or f"{int(self.train_state.step)} steps"
    return folded(f"Run({config.method} on {config.dataset}, encoder {config.encoder}, {steps}{loss})")


def representation(meta: Meta, tree: Mapping[str, Any], features: str | None = None) -> nn.Representation:
  """The encoder {"params", "stats"} of a checkpoint, read as its meta says or as `features` does.

  Raises:
    UserError: it has no such block or reading.
  """
  encoder, reading = meta.build_encoder("float32"), features or meta.features
  nn.check_reading(reading, encoder.block_names)
  return nn.Representation(encoder, reading, tree["params"], tree["stats"], MODALITIES[meta.modality].prepare)


def optimizer(pretext: Pretext, config: Config, steps: int, epoch: int = 1) -> optax.GradientTransformation:
  """The optimiser of `config`, with warm-up and its schedule, and each role at the rate that the method gives it.

  epoch: steps of one. They and `steps` are no part of the shapes of its state.
  """
  assert config.optimizer
  assert config.learning_rate
  warmup = min(100, steps // 10) if config.warmup_epochs is None else round(config.warmup_epochs * epoch)
  schedule = optim.schedule(config.schedule, config.learning_rate, steps, warmup)
  tx = optim.optimizer(schedule, config.optimizer, config.weight_decay)
  return optim.by_role(tx, pretext.rates) if pretext.rates else tx


def plan(
  config: Config,
  dataset: Dataset,
  features: str | None = None,
  pretext: Pretext | None = None,
  digest: str | None = None,
) -> Plan:
  """The run of `config` on `dataset`.

  features: what probes will read, where it is not what the task reads; pretext: in place of the method that `config`
    names, by an experiment that changes something in it; digest: of the data, where it is known already.

  Raises:
    UserError: a setting that does not fit the data, the method or the encoder.
  """
  check_floats()
  features = features or dataset.task.reading
  dataset.task.check_reading(features)
  config = config.resolved(dataset, digest)
  method = taking(config.method, dataset.modality)
  place = "" if located(dataset.name) == dataset.name else located(dataset.name)
  names, words = dataset.task.names, dataset.vocabulary
  meta = Meta(config, features, dataset.modality.name, dataset.task.name, names, place=place, vocabulary=words)
  encoder = meta.build_encoder()
  nn.check_reading(features, encoder.block_names)
  nn.check_input(str(config.encoder), encoder, dataset.x_shape, dataset.modality.name)
  pretext = pretext or meta.build_pretext()
  everything: dict[str, Any] = {"x": dataset.pretraining_x}
  if method.labels:
    y, units = dataset.train.targets(), dataset.task.units
    shift, scale = units(y) if units else (0, 1)
    everything = {"x": dataset.train.x, "y": (y - shift) / scale if units else y}
  held = watched_rows(len(dataset.train), config.watch)
  rows = np.setdiff1d(np.arange(len(everything["x"])), held)
  data = {name: take(array, rows) for name, array in everything.items()} if len(held) else everything
  if lays_end_to_end(method, dataset):
    data = {**data, "x": end_to_end(data["x"])}
  watched = {name: np.asarray(array[held]) for name, array in everything.items()} if len(held) else {}
  y = dataset.train.y
  assert config.batch_size
  assert config.steps
  batch_size = min(config.batch_size, len(data["x"]))
  part = part_size(batch_size, config.accumulate)  # of a batch that fits the data: the run says no before it starts
  if part == 1:
    _check_alone(config, pretext, {name: array[:1] for name, array in everything.items()}, dataset.modality)
  steps = SMOKE_STEPS if config.smoke else config.steps
  tx = optimizer(pretext, config, steps, steps_of_epoch(len(data["x"]), batch_size))
  watched_y = None if y is None else np.asarray(y)[held]
  return Plan(meta._replace(steps=steps), pretext, tx, dataset.modality, data, watched, watched_y, steps, batch_size)


def _check_alone(config: Config, pretext: Pretext, batch: dict[str, Any], modality: Modality) -> None:
  """Raises UserError where a batch of one example is nothing to learn from."""
  _, state = jax.eval_shape(pretext.init, jax.random.key(0), prepared(batch, modality.prepare))
  normalised = any(path_of(path).endswith("/var") for path, _ in jax.tree_util.tree_leaves_with_path(state))
  reasons = ["holds the examples of a batch against each other"] if check(config.method).compares else []
  reasons += ["is batch-normalised, by the mean and variance of the batch"] if normalised else []
  if reasons:
    parts = f" and --accumulate={config.accumulate}" if config.accumulate > 1 else ""
    raise UserError(
      f"--batch_size={config.batch_size}{parts}: leaves one example, and --method={config.method} {reasons[0]}: give "
      "two at least, better 64."
    )


def log_every(steps: int) -> int:
  """After how many steps a run writes a row: 50, fewer where there would be less than ten rows, more in long runs."""
  return max(10, min(50, steps // 10), steps // 200)


def run(
  plan: Plan, ts: TrainState, beside: Sequence[Hook] = (), watches: Sequence[Watch] = (), **how: Any
) -> TrainState:
  """Trains from `ts` to the plan's last step, and watches it; gives the last state, as this process holds it.

  Says so on stderr, once, where the embeddings of a method on two views collapse.

  beside: hooks after that of watching; watches: what else is watched, such as a kNN;
    how: see `sslx.training.loop.Loop`.
  """
  config, prepare = plan.config, plan.modality.prepare
  how = {"steps_per_call": plan.steps, **how} if plan.pretext.rows else how  # of steps as short as a call
  looped = loop.Loop(plan.steps, plan.batch_size, config.seed, config.shuffle, **how)
  by_rows, mesh = optim.by_rows(config.optimizer), parallel.mesh_of(ts)
  parallel.check_batch(plan.batch_size, config.accumulate, mesh)
  step = make_train_step(plan.pretext, plan.tx, prepare, config.accumulate, by_rows, mesh)
  watching = []
  if plan.watched:
    watch = make_watch(plan.pretext, prepare, plan.watched, part_size(plan.batch_size, config.accumulate))
    watching = [hooks.watching(joined([watch, *watches]), plan.steps, looped.log_every)]
  return parallel.local(loop.fit(ts, step, plan.data, looped, [*watching, *beside, hooks.collapse()]))


def start(plan: Plan) -> TrainState:
  """The state before the first step."""
  return make_init(plan.pretext, plan.tx, plan.modality.prepare)(jax.random.key(plan.config.seed), _first(plan))


def shapes(plan: Plan) -> TrainState:
  """Shapes and dtypes of that state, which is what restoring a checkpoint asks for; nothing is compiled."""
  init = make_init(plan.pretext, plan.tx, plan.modality.prepare)
  return jax.eval_shape(init, jax.random.key(0), _first(plan))._replace(key=jax.random.key(0))


def check_size(shapes: TrainState, method: str, limit: int) -> None:
  """Raises UserError where a part of the method, of which `shapes` tell, has more than `limit` parameters."""
  for role, params in shapes.params.items():
    nn.check_count(f"--method={method}: its {role} has", "parameters", params, limit)


def _first(plan: Plan) -> dict[str, np.ndarray]:
  return {name: np.asarray(array[np.arange(1)]) for name, array in plan.data.items()}


def shown(
  pretext: Pretext, modality: Modality, params: Params, state: State, key: Array, batch: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """{title: prepared x [B,...]}: what a method with `show` sees and makes of a raw batch, its rows in its own order (a
  dict that leaves a jax function is sorted). `modality.picture` draws a row.
  """
  titles: list[str] = []

  def rows(params: Params, state: State, key: Array, batch: Mapping[str, Any]) -> list[Array]:
    assert pretext.show
    made = pretext.show(params, state, key, prepared(batch, modality.prepare))
    titles[:] = made
    return list(made.values())

  made = jax.device_get(jit(rows)(params, state, key, batch))
  return dict(zip(titles, made, strict=True))


def restore(directory: Path, history: Sequence[Row] = ()) -> Run:
  """The run in a directory, of its newest intact checkpoint; no data is read.

  directory: a run directory, its checkpoints folder, or one checkpoint in it. history: rows of its metrics.

  Raises:
    UserError: no checkpoint there, none intact, or one of another version of the method.
  """
  from sslx.training import checkpoint  # slow to import, and this is all that needs it

  check_floats()
  _, saved = checkpoint.restore_encoder(directory)
  meta = Meta.read(saved)
  pretext, modality = meta.build_pretext(), MODALITIES[meta.modality]
  tx = optimizer(pretext, meta.config, 100)
  batch = {"x": np.zeros((1, *meta.config.x_shape), meta.config.x_dtype), "y": np.zeros(1, np.int32)}
  init = make_init(pretext, tx, modality.prepare)
  template = jax.eval_shape(init, jax.random.key(0), batch)._replace(key=jax.random.key(0))
  folder, only = checkpoint.locate(directory)
  ts = checkpoint.restore(folder, template, only)
  assert ts is not None  # restore_encoder found one
  step = int(ts.step)
  return Run(meta._replace(step=step), pretext, ts, [row for row in history if row["step"] <= step])
