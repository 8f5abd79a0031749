"""Data sets and pretraining: loaded, opened by configuration, gone on with, read back."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli, command, devices, interrupt, logs, pictures, together
from experiments.shared.classes import with_classes
from experiments.shared.cli import FLAGS
from experiments.shared.directories import open_directory
from experiments.shared.fits import check_fits
from experiments.shared.start import is_program
from experiments.shared.terminal import announce, notify
from sslx.training.config import Config
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset, Split
  from sslx.training.run import Meta, Plan
  from sslx.types import Pretext, Task

SMOKE_IMAGES = 600


class Job(NamedTuple):
  """A pretraining, to be done or finished, and the directory that it is kept in."""

  dataset: "Dataset"
  plan: "Plan"
  directory: Path

  @property
  def config(self) -> Config:
    """Resolved on the data set."""
    return self.plan.config


def setup(config: Config, dataset: "Dataset | None" = None, pretext: "Pretext | None" = None) -> Job:
  """Loads the data where they are not given, and opens the run directory of a configuration.

  The directory's name and config.json are made of what determines the pretrained encoder, so that other labels, modes
  or seeds of the comparison find it again, and the same command after a kill goes on where it stopped.

  Raises:
    UserError: a setting that is not known, or does not fit the method, the encoder or the data.
  """
  from sslx import nn
  from sslx.pretext import check
  from sslx.training.run import plan

  encoder_of(config)  # a mistyped setting is told before data are loaded
  dataset = dataset or load_dataset(config.dataset)
  encoder = encoder_of(config, dataset)
  digest = _pretraining_digest(dataset, check(config.method).labels)
  nn.check_size(config.encoder_on(dataset), encoder, dataset.x_shape, FLAGS.max_parameters)
  planned = plan(config, dataset, config.features, pretext, digest)
  made = planned.config
  name = f"{made.method}-{made.dataset}-{made.encoder}"
  return Job(dataset, planned, open_directory(Path(FLAGS.out), made.to_json(), name, FLAGS.fresh))


def encoder_of(config: Config, dataset: "Dataset | None" = None) -> "nn.Encoder":
  """The encoder of a configuration: its method's own where it names none, and with a front for sound and text where the
  data set is one.

  Raises:
    UserError: it is not known, or --features names a block or reading that it does not have.
  """
  from sslx import nn
  from sslx.pretext import check

  if dataset is None:
    encoder = nn.build(config.encoder or check(config.method).encoder)
  else:
    encoder = nn.build(config.encoder_on(dataset), vocabulary=dataset.vocabulary)
  if config.features:
    nn.check_reading(config.features, encoder.block_names)
  return encoder


def build_encoder(spec: str, dataset: "Dataset") -> "nn.Encoder":
  """The encoder of this text for a data set: with a front where its signal needs one, and with its words."""
  from sslx import nn

  return nn.build(nn.suited(spec, dataset.modality.name, dataset.rate), vocabulary=dataset.vocabulary)


def reading(task: "Task", meta: "Meta | None" = None) -> str:
  """How a task reads an encoder: as --features says, where it was given; else as the task does, and where that is
  nothing of its own, as the checkpoint of `meta`, or one that the flags were adopted from, was told to be read.

  Raises:
    UserError: maps for a task that does not answer for places, or something else than its maps for one that does.
  """
  if FLAGS["features"].present:
    task.check_reading(str(FLAGS.features))
    return FLAGS.features
  told = FLAGS.features if meta is None else told_reading(meta)
  return told if told and task.reading == "flatten" else task.reading


def told_reading(meta: "Meta") -> str | None:
  """What a checkpoint's --features were; None where it is read as its task does, which says nothing of other tasks."""
  return None if meta.features == meta.build_task().reading else meta.features


def load_dataset(spec: str, is_source: bool = False, also: Sequence[str] = ()) -> "Dataset":
  """The data set of the flags, whose sizes are told; a few hundred examples of it with --smoke. An --encoder that is
  given becomes one that reads it: of sound, one with a front.

  is_source: it is what --targets are transferred to from. --task and --target are of these then: it does the same task
  where it can, and else its first. also: further targets, of classes, which then are the `others` of the data set and
  its splits, by their names.

  Raises:
    UserError: it cannot be read, or has no such further targets.
  """
  import functools

  from sslx import data
  from sslx.data.sizes import sizes

  cli.positive("image_size", "in_memory_limit")
  columns = FLAGS.target if not is_source or spec.startswith("csv:") else ()  # a table may not be read without them
  announce(f"loading the data set {spec}")
  load = functools.partial(
    data.load,
    spec,
    FLAGS.data_dir,
    FLAGS.image_size,
    FLAGS.in_memory_limit,
    background=FLAGS.background,
    bits=FLAGS.bits,
    task=None if is_source else FLAGS.task,
    sample_rate=FLAGS.sample_rate,
    seconds=FLAGS.seconds,
    min_count=FLAGS.min_count,
    max_words=FLAGS.max_words,
    max_length=FLAGS.max_length,
    frames=FLAGS.frames,
    stride=FLAGS.stride,
    size=FLAGS.size,
    labels_file=None if is_source else FLAGS.labels_file,  # its labels are not used
  )
  dataset = with_classes(load(targets=columns), also, load)
  if is_source and FLAGS.task in dataset.others:
    dataset = dataset.doing(FLAGS.task)
  if FLAGS["encoder"].value is not None:
    from sslx import nn

    FLAGS["encoder"].value = nn.suited(FLAGS.encoder, dataset.modality.name, dataset.rate)
  dataset = small(dataset) if FLAGS.smoke else dataset
  if is_program():  # a notebook's cell says by itself what it loads
    command.say_once(sizes(dataset))
  return dataset


def task_of(dataset: "Dataset") -> dict[str, str]:
  """The entry of a directory that tells the task, where the data set has several: pages would be written over
  one another.
  """
  return {"task": dataset.task.name} if dataset.others else {}


def fingerprint(dataset: "Dataset") -> str:
  """Of all of a data set, made once in a command. Where it is too large to be read for this, that is said on stderr."""
  from sslx.data import fingerprint as fingerprints

  _tell(dataset)
  return command.once(("fingerprint", dataset), lambda: fingerprints.fingerprint(dataset))


def _pretraining_digest(dataset: "Dataset", targets: bool) -> str:
  """Of what is pretrained on, with or without its targets; else as `fingerprint`."""
  from sslx.training.config import digest_of

  _tell(dataset)
  return command.once(("pretraining data", dataset, targets), lambda: digest_of(dataset, targets))


def _tell(dataset: "Dataset") -> None:
  from sslx.data import fingerprint as fingerprints

  if (sentence := fingerprints.described(dataset)) is not None:
    command.say_once(sentence)


def small(dataset: "Dataset") -> "Dataset":
  """A few hundred examples of each split, for --smoke: drawn as the task draws few labels, of classes as many of each;
  unlabelled ones at even distances. A set may be sorted by class, and its first examples be all of one.

  Raises:
    UserError: the rules of `sslx.data.check`, which what was drawn keeps too.
  """
  from sslx.data.check import checked

  def drawn(split: "Split", n: int) -> "Split":
    n = max(n, dataset.task.fewest)  # one of each class, where there are many
    rows = np.arange(len(split))
    if len(split) > n:
      rows = np.arange(n) * len(split) // n if split.y is None else dataset.task.subset(split.y, [n], 0, "balanced")[n]
    return dataclasses.replace(split.part(rows), x=split.x[rows], files=None)

  parts = {"train": drawn(dataset.train, SMOKE_IMAGES), "test": drawn(dataset.test, SMOKE_IMAGES // 2)}
  if dataset.unlabeled is not None:
    parts["unlabeled"] = drawn(dataset.unlabeled, SMOKE_IMAGES // 2)
  return checked(dataclasses.replace(dataset, **parts), tell=False)  # what is to be told of them, `load` has said


def pretrain(job: Job) -> "tuple[nn.Representation, float]":
  """(the pretrained encoder, seconds spent in this call); restores what is already there.

  Draws the loss curve and what the method sees and makes into figures/, when it trained or when they are missing.
  """
  announce(f"preparing {job.config.method} on {job.config.encoder}")
  from sslx.evaluation import knn
  from sslx.report import records
  from sslx.training import checkpoint, hooks, length, run
  from sslx.training.progress import progress

  begin, plan, checkpoints = time.monotonic(), job.plan, job.directory / "checkpoints"
  shapes = run.shapes(plan)
  run.check_size(shapes, job.config.method, FLAGS.max_parameters)
  restored = checkpoint.restore(checkpoints, shapes, set_aside=True)
  ts = restored or run.start(plan)
  done = int(ts.step)
  mesh = devices.everywhere(plan.batch_size, job.config.accumulate)
  if restored and done < plan.steps:
    notify(f"continuing at step {done} of {plan.steps}")
  metrics = job.directory / "metrics.jsonl"
  # What a kill left beyond the checkpoint goes.
  records.write_rows(metrics, [row for row in records.read_rows(metrics) if row["step"] <= done])
  logs.tell(job.directory)
  trains = done < plan.steps
  if trains:
    cli.say(f"pretraining {job.config.method}: {length.told(plan.steps, plan.batch_size, len(plan.data['x']))}")
    with progress(f"pretraining {job.config.method}", plan.steps - done) as bar, interrupt.unsaved() as trained:
      save = hooks.save_to(lambda ts: checkpoint.save(checkpoints, ts, plan.meta.to_json()), FLAGS.save_seconds)

      def append(row: dict[str, Any]) -> None:
        records.append_row(metrics, row)
        logs.tell(job.directory)

      log = hooks.log_to(append)
      beside = [hooks.Hook(begun=lambda steps: trained()), log, save, hooks.showing(bar, done)]
      watches, how = knn.watches(plan, FLAGS.online_knn), together.how(plan)
      ts = run.run(plan, together.begun(plan, ts, mesh), beside, watches, **how)
  history = records.read_rows(metrics)
  if trains:
    announce(f"drawing what {job.config.method} sees and makes")
  pictures.draw_pretraining(plan, job.directory / "figures", ts, history, anew=trains)
  if not job.config.smoke:
    for doubt in length.doubts(history, plan.steps, plan.pretext.chance or {}):
      notify(f"{job.config.method}: {doubt}")
  return together.representation(plan, ts), time.monotonic() - begin


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def given_checkpoint() -> Path:
  """The folder of --checkpoint. Raises UserError where the flag is missing."""
  if not FLAGS.checkpoint:
    raise UserError(
      "--checkpoint is missing: name a run directory, such as --checkpoint=runs/denoise-mnist-conv-1a2b3c4d."
    )
  return Path(FLAGS.checkpoint)


def read_checkpoint(folder: Path) -> "tuple[dict[str, Any], Meta]":
  """({"params", "stats"} of its encoder, on the devices of --devices; what it says of itself)."""
  from sslx.training import checkpoint, parallel
  from sslx.training.run import Meta

  tree, saved = checkpoint.restore_encoder(folder)
  return parallel.replicate(tree, devices.here()), Meta.read(saved)


def adopt(meta: "Meta", also: Sequence[str] = ()) -> None:
  """Sets the flags of pretraining (and of `also`), and --features, to what the checkpoint of `meta` was made with.

  Raises:
    UserError: one was given, and is another.
  """
  from sslx import options
  from sslx.pretext import check

  config, method = meta.config, check(meta.config.method)
  made: dict[str, Any] = {name: getattr(config, name) for name in ("method", "encoder", "steps", "seed", *also)}
  if FLAGS["epochs"].present:
    made["epochs"] = config.epochs
  for setting in options.settings(Config):
    value, usual = getattr(config, setting.name), getattr(method, setting.name, setting.default)
    if setting.flag and setting.name not in (*made, "epochs", "hp", "dataset", "features", "watch") and value != usual:
      made[setting.flag] = value
  usual = options.assignments(options.resolve(method.factory, {}))
  made["hp"] = [text for text in options.assignments(config.hp) if text not in usual]
  for name, value in made.items():
    if FLAGS[name].present and FLAGS[name].value != value:
      raise UserError(f"--{name}={FLAGS[name].value}: the checkpoint was made with {value}; leave --{name} out.")
  cli.default(**made, features=told_reading(meta))


def checkpoint_dataset(meta: "Meta", is_source: bool = False, also: Sequence[str] = ()) -> "Dataset":
  """`recorded_dataset`, whose examples the encoder of the checkpoint can read.

  Raises:
    UserError: it is not there any more, or its examples are of another shape or sample rate than the checkpoint's.
  """
  dataset = recorded_dataset(meta, is_source, also)
  check_fits(dataset, meta)
  return dataset


def recorded_dataset(meta: "Meta", is_source: bool = False, also: Sequence[str] = ()) -> "Dataset":
  """The data set of --dataset, or else the one that the checkpoint of `meta` was made on.

  The latter keeps the name that it had, which says what its results are of, and its task, unless --task names another;
  it is where it was, wherever this is run. is_source, also: see `load_dataset`.

  Raises:
    UserError: it is not there any more.
  """
  from sslx.data import path_of

  if FLAGS["dataset"].present:
    return load_dataset(FLAGS.dataset, is_source, also)
  place = meta.place or meta.config.dataset
  path, made = path_of(place), f"--checkpoint={FLAGS.checkpoint} was made on {place}"
  if path is not None and not path.exists():
    raise UserError(f"{made}, which is not there any more: name it with --dataset.")
  dataset = dataclasses.replace(load_dataset(place, is_source, also), name=meta.config.dataset)
  return dataset.doing(meta.task) if FLAGS.task is None and meta.task in dataset.others else dataset


def config_of(meta: "Meta") -> dict[str, Any]:
  """What rows say of a checkpoint's pretraining: it may be of a run that was not finished."""
  return {**meta.config.to_json(), "step": meta.step}
