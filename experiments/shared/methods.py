"""What the experiments that compare methods share: what is compared, and pretraining it or reading it back."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli, directories, keeping, pages, runs, table
from experiments.shared.cli import FLAGS
from experiments.shared.pictures import sampled
from experiments.shared.table import Row, Timings
from sslx.training.config import SMOKE_STEPS
from sslx.types import Refusal, UserError

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset
  from sslx.training.config import Config

ENCODER = "conv"  # of several methods, unless the flags say otherwise
MAPS_ENCODER = "conv:widths=16-32-64-128,down=stride,norm=group"  # where places matter: maps of 2 to 16 pixels a place
IMAGES = 118_000  # that each of them is shown: two epochs of MNIST, on any data
LABELS = (100, 600, 1000)  # as far as the training split has them
MODES = ["scratch", "frozen", "last:1", "full", "knn:20"]
NONE = "none"  # the method of the reference rows
SAMPLE = 5000  # test images that reconstruction errors and activities are measured on


class Variant(NamedTuple):
  """One line of the table: a method with hyper-parameters."""

  title: str
  method: str
  hp: tuple[str, ...] = ()
  dataset: "Dataset | None" = None
  """That it is pretrained on; None: the one that it is compared on."""
  checkpoint: Path | None = None
  """Where it is read from, instead of being pretrained."""
  images: int | None = None
  """How many it is shown while pretraining, where neither --steps nor --epochs is given. None: what the method's own
  steps take."""


class Pretrained(NamedTuple):
  """What became of a variant."""

  config: dict[str, Any]
  """Of its pretraining, as in the rows."""
  represent: "nn.Representation"
  measured: Row
  """See `measured`; empty for a checkpoint."""
  picture: Path
  """What the method sees and makes, if there is such a file."""


def named(names: Sequence[str]) -> list[str]:
  """The methods of --methods. Raises UserError for none, or an unknown one."""
  from sslx.pretext import METHODS, check

  names = [m.strip() for m in names if m.strip()]
  if names == ["all"]:
    names = [name for name, method in METHODS.items() if not method.labels]
  if not names:
    raise UserError("--methods=: name at least one method, or all.")
  for name in names:
    check(name)
  if FLAGS.hp and FLAGS.methods is not None:
    raise UserError("--hp: belongs to one method; use --method, or experiments.autoencoders for variants.")
  return names


def given(
  elsewhere: bool = True, methods: Sequence[str] | None = None, encoder: str | None = None
) -> "tuple[list[Variant], Dataset]":
  """(what --checkpoint, --methods or --method name, on one encoder; the data set).

  Several methods are shown as many images each. Sets --encoder, of one method --steps and, of a checkpoint, the other
  flags of its pretraining to what they are, where they were not given. elsewhere: whether --dataset may be another than
  the checkpoint's; False: it is what is transferred from. methods: what is compared where none of the three flags was
  given. encoder: where --encoder was not given; None: of one method its own, of several ENCODER.

  Raises:
    UserError: an unknown method, or a flag that contradicts the checkpoint.
  """
  from sslx.nn import suited
  from sslx.pretext import check

  if methods and not any(FLAGS[name].present for name in ("method", "methods", "checkpoint")):
    cli.default(methods=methods)
  if FLAGS.checkpoint is not None:
    if FLAGS.methods is not None:
      raise UserError("--methods: are pretrained; give either --checkpoint or --methods.")
    _, meta = runs.read_checkpoint(runs.given_checkpoint())
    runs.adopt(meta, () if elsewhere else ("dataset",))
    method = meta.config.method
    variant = Variant(method, method, tuple(FLAGS.hp), checkpoint=Path(FLAGS.checkpoint))
    return [variant], runs.checkpoint_dataset(meta, is_source=not elsewhere)
  names = named([FLAGS.method] if FLAGS.methods is None else FLAGS.methods)
  method, images = check(names[0]), IMAGES if len(names) > 1 else None
  if not images and FLAGS.epochs is None:
    cli.default(steps=method.steps)
  variants = [Variant(name, name, tuple(FLAGS.hp), images=images) for name in names]
  dataset = runs.load_dataset(FLAGS.dataset, is_source=not elsewhere)
  kind = dataset.modality.name
  cli.default(
    encoder=suited(encoder or (common_encoder(kind) if images else method.encoder_for(kind)), kind, dataset.rate)
  )
  return variants, dataset


def common_encoder(modality: str) -> str:
  """What a comparison of several methods is of, for data of a modality: ENCODER, or dense layers on bags of words."""
  from sslx.pretext import BAG_ENCODER

  return BAG_ENCODER if modality == "text" else ENCODER


def fitting(counts: Sequence[int], dataset: "Dataset") -> list[str]:
  """--labels: those of `counts` that the training split has, and of classes hold each; else what the flag says. Without
  a test split those that each fold leaves, and all of these.
  """
  if len(dataset.test) or dataset.train.y is None:
    return [str(n) for n in counts if dataset.task.fewest <= n <= len(dataset.train)] or FLAGS.labels
  from sslx.evaluation import folds

  most = folds.largest(dataset.task, dataset.train.y, FLAGS.folds)
  return [*(str(n) for n in counts if dataset.task.fewest <= n < most), "all"]


def defaults(dataset: "Dataset") -> None:
  """Sets the flags that were not given to the defaults of a comparison of several methods."""
  from sslx.nn import suited

  cli.default(
    encoder=suited(common_encoder(dataset.modality.name), dataset.modality.name, dataset.rate),
    modes=MODES,
    labels=fitting(LABELS, dataset),
  )


def budget() -> Row:
  """What all methods of a comparison share."""
  length = {name: FLAGS[name].value for name in ("steps", "epochs") if FLAGS[name].value is not None}
  return {"encoder": FLAGS.encoder, **(length or {"images": IMAGES}), "seed": FLAGS.seed}


def shown(variant: Variant) -> int:
  """How many images a variant is shown, by its own budget."""
  from sslx.pretext import check

  method = check(variant.method)
  return variant.images or (FLAGS.steps or method.steps) * (FLAGS.batch_size or method.batch_size)


def config_of(variant: Variant) -> "Config":
  """Of its pretraining, by the flags."""
  from sslx.pretext import check

  config = cli.config(variant.method, variant.hp)
  if variant.images is None or FLAGS["steps"].present or FLAGS["epochs"].present:
    return config
  batch = config.batch_size or check(variant.method).batch_size
  # As in two epochs, the last batch of each of which is left out where it is not full.
  return dataclasses.replace(config, steps=max(1, 2 * (variant.images // (2 * batch))), epochs=None)


def open_directory(experiment: str, dataset: "Dataset", all_tasks: bool = False) -> Path:
  """The directory of a comparison: one for each data set, encoder and task, unless it holds all tasks."""
  identity = {"experiment": experiment, "dataset": dataset.name, "encoder": FLAGS.encoder, "smoke": FLAGS.smoke}
  identity |= {} if all_tasks else runs.task_of(dataset)
  name = f"{experiment}-{dataset.name}-{FLAGS.encoder}"
  return directories.open_directory(Path(FLAGS.out), identity, name, FLAGS.fresh)


def pretrain(variant: Variant, dataset: "Dataset", timings: Timings) -> Pretrained:
  """Pretrains a variant (on `dataset`, unless it says otherwise), goes on with it, or reads it back.

  Raises:
    Refusal: the method does not fit the images or the encoder.
    UserError: another one: no such checkpoint, a damaged one, a full disk, a loss that is not finite.
  """
  from sslx.training.run import representation

  if variant.checkpoint:
    tree, meta = runs.read_checkpoint(variant.checkpoint)
    represent = representation(meta, tree, runs.reading(dataset.task, meta))
    return Pretrained(runs.config_of(meta), represent, {}, variant.checkpoint / "figures/pretext.png")
  job = runs.setup(config_of(variant), variant.dataset or dataset)
  represent, seconds = runs.pretrain(job)
  timings["pretraining"] = timings.get("pretraining", 0) + seconds
  represent = represent._replace(reading=runs.reading(dataset.task))
  return Pretrained(job.config.to_json(), represent, measured(job), job.directory / "figures/pretext.png")


def pretraining_once() -> Callable[[Variant, "Dataset", Timings], Pretrained]:
  """`pretrain` that gives what it gave before to who asks for the same variant, read as the task of the data set does:
  one pretraining for several tasks or targets.
  """
  done: dict[str, Pretrained] = {}

  def once(variant: Variant, dataset: "Dataset", timings: Timings) -> Pretrained:
    if variant.title not in done:
      done[variant.title] = pretrain(variant, dataset, timings)
    made = done[variant.title]
    return made._replace(represent=made.represent._replace(reading=runs.reading(dataset.task)))

  return once


def run_oracle(
  experiment: str, dataset: "Dataset", directory: Path, timings: Timings, steps: int, batch_size: int
) -> list[Row]:
  """The rows of the network that is trained from scratch with all labels, for so many steps."""
  from sslx import nn
  from sslx.evaluation import features
  from sslx.evaluation.bench import draw

  n = len(dataset.train)
  recipe = dataclasses.replace(cli.recipe(dataset.task), steps=min(steps, SMOKE_STEPS) if FLAGS.smoke else steps)
  recipe = dataclasses.replace(recipe, batch_size=batch_size, epochs=min(recipe.epochs, steps * batch_size / n))
  encoder = runs.build_encoder(FLAGS.encoder, dataset)
  untrained = nn.Representation(encoder, runs.reading(dataset.task), {}, {}, dataset.modality.prepare)
  bench = table.bench(dataset, draw(dataset, [n], 1, 0), features.random(untrained, dataset)(FLAGS.seed), recipe)
  cli.say(f"oracle: all {n:,} labels, from scratch")
  line = table.Line(experiment, directory, NONE, FLAGS.encoder, None)
  return table.run_modes(line, bench, ["scratch"], timings).rows


def run_variants(
  experiment: str,
  variants: Sequence[Variant],
  dataset: "Dataset",
  directory: Path,
  timings: Timings,
  modes_at: Callable[[int], Sequence[str]] | None = None,
  heads_only: bool = False,
  pictured: bool = False,
  more: Callable[[np.ndarray], Row] = lambda answers: {},
  pretrain: Callable[[Variant, "Dataset", Timings], Pretrained] = pretrain,
  fold: int | None = None,
) -> pages.Outcome:
  """Pretrains and compares every variant; the reference rows come first. All of it resumes.

  A method that refuses the data or the encoder is left out, and the table says why; every other error is raised.

  modes_at: modes for a number of labels, None: --modes and scratch. heads_only: leaves out the modes that train the
  encoder on the labels. pictured: whether what the figures of answers need is kept. more: see `table.run_modes`.
  pretrain: in place of the function of that name. fold: of several data sets that are parts of one, with a single label
  subset each: its number then stands in the place of the subset's, so that rows of all folds are paired.
  """
  from sslx import nn
  from sslx.evaluation import features
  from sslx.evaluation.modes import controls, doable, mode

  cli.recipe()
  encoder = runs.build_encoder(FLAGS.encoder, dataset)
  nn.check_size(FLAGS.encoder, encoder, dataset.x_shape, FLAGS.max_parameters)
  flag = cli.modes(dataset, encoder)
  asked = dict.fromkeys((*flag, *doable(["scratch"], dataset)))

  def modes_for(labels: int) -> tuple[str, ...]:
    return cli.modes(dataset, encoder, modes_at(labels)) if modes_at else tuple(asked)

  labelled = table.draw(dataset, modes_for)
  counts = next(iter(labelled.subsets.values()))
  labelled = labelled if fold is None else labelled._replace(subsets={fold: counts})
  modes = {n: modes_for(n) for n in counts}
  references = {
    n: list(dict.fromkeys([*controls(names, dataset), *(m for m in names if mode(m).reads != "pretrained")]))
    for n, names in modes.items()
  }
  trained = {
    n: [m for m in names if m not in references[n] and not (heads_only and mode(m).trains_encoder)]
    for n, names in modes.items()
  }
  untrained = nn.Representation(encoder, runs.reading(dataset.task), {}, {}, dataset.modality.prepare)
  nothing = features.random(untrained, dataset)(FLAGS.seed)

  def line(title: str, config: Row | None) -> table.Line:
    return table.Line(experiment, directory, title, FLAGS.encoder, config)

  rows, lines, pictures, answers = [], [], [], {}
  cli.say("references: " + ", ".join(dict.fromkeys(name for n in counts for name in references[n])))
  bench = table.bench(dataset, labelled, nothing)
  made = table.run_modes(line(NONE, None), bench, references, timings, more, pictured)
  rows, answers[NONE], offers = [*made.everything], made.answers, [keeping.Offer(line(NONE, None), bench, made)]
  for variant in variants:
    cli.say(f"{variant.title}")
    try:
      pretrained = pretrain(variant, dataset, timings)
    except Refusal as error:
      lines.append({"method": variant.title, "left out": str(error)})
      continue
    bench = table.bench(dataset, labelled, pretrained.represent)
    made = table.run_modes(line(variant.title, pretrained.config), bench, trained, timings, more, pictured)
    rows, answers[variant.title] = [*rows, *made.everything], made.answers
    offers.append(keeping.Offer(line(variant.title, pretrained.config), bench, made))
    lines += [{"method": variant.title, **pretrained.measured}] if pretrained.measured else []
    pictures += [(variant.title, pretrained.picture)] if pretrained.picture.exists() else []
  if fold is None:  # the parts of one data set have no model of their own
    keeping.keep(offers, timings)
  return pages.Outcome(rows, lines, pictures, answers)


def measured(job: runs.Job) -> Row:
  """Of a finished run: the last loss and metrics of its training, and what its code and decoder do.

  squared error: mean over pixels in [0, 1] of test images, or spectrograms, against their reconstruction; active: the
  fraction of the last block's outputs above 1 % of the largest, over test images; without a test split, over those of
  training.
  """
  import jax
  import jax.numpy as jnp

  from sslx import nn
  from sslx.compile import jit
  from sslx.report import records
  from sslx.training.run import restore

  history = records.read_rows(job.directory / "metrics.jsonl")
  speeds = [speed for row in history if (speed := records.examples_per_second(row)) is not None]
  skipped = ("step", "examples_per_second", "images_per_second")
  last = {k: v for k, v in history[-1].items() if k not in skipped} if history else {}
  run = restore(job.directory)
  params, state, pretext, encoder = run.params, run.state, run.pretext, run.meta.build_encoder("float32")
  name, prepare, dataset = encoder.block_names[-1], job.dataset.modality.prepare, job.dataset
  seen = (dataset.test if len(dataset.test) else dataset.train).x

  @jit
  def look(raw: jax.Array) -> tuple[jax.Array, jax.Array]:
    x = prepare(raw)
    code = nn.apply(encoder, params["encoder"], state["encoder"], x)[0][name]
    if pretext.decode is None:
      return jnp.zeros(()), jnp.abs(code)
    spoken = pretext.sparse(code) if pretext.sparse else code
    target = encoder.spectrogram(x)
    there = target >= 0  # padding of sound is below
    error = jnp.where(there, jnp.square(pretext.decode(params, state, spoken, x.shape[1:]) - target), 0)
    return error.sum() / there.sum(), jnp.abs(code)

  rows = np.arange(min(SAMPLE, len(seen))) if len(dataset.test) else sampled(len(seen), SAMPLE)
  errors, codes = zip(*(look(seen[part]) for part in np.array_split(rows, min(5, len(rows)))), strict=True)
  limit = 0.01 * max(float(c.max()) for c in codes)
  last |= {"images/s": float(np.median(speeds))} if speeds else {}
  last["active"] = float(np.mean([np.mean(np.asarray(c) > limit) for c in codes]))
  if pretext.decode is not None:
    last["squared error"] = float(np.mean(errors))
  return last
