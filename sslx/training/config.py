"""What determines a pretraining run: its fields are the flags, the arguments in Python, and config.json.

A new setting is one field here: `experiments` makes a flag of it, `sslx.pretrain` an argument, `--help` tells it, a
checkpoint keeps it, and a run that is older than it has its default.
"""

import dataclasses
import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sslx import options
from sslx.options import setting
from sslx.types import Optimizer, Precision, Schedule, UserError, brief

# Flags and --help are made of this file alone: what is slow to import is imported where it is used.
if TYPE_CHECKING:
  from sslx.data import Dataset
  from sslx.pretext import Method

VERSION = 3
SMOKE_STEPS = 6  # of a run with `smoke`, whatever else it says
SEEDS = 2**32 - 1  # jax takes the lower 32 bits of a seed: a larger one would be another one's run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
  """Settings of a run, None where the method's own default is meant; `resolved` on a data set, all that determines it.

  Raises:
    UserError: from the constructor: an optimiser or precision that is not known, or a number out of range.
  """

  method: str = setting("denoise", "Method of pretraining, such as simclr. --help=all lists them.")
  hp: Mapping[str, Any] = setting(
    {}, "Setting of the method, NAME=VALUE; may be repeated. --help --method=X lists them.", texts=True
  )
  dataset: str = setting("mnist", "Data set: a name, or KIND:PATH as folder:DIR. --help=all lists them.")
  encoder: str | None = setting(
    None, "Network, such as conv or mlp:code=10. --help=all lists them and their settings. Default: the method's own."
  )
  features: str | None = setting(
    None,
    "What to read: flatten, pool or a block. All forms: [BLOCK:]flatten, pool, gridN, maxN or moments, or BLOCK, "
    "and all for every block; several joined by +; @1, @2: half of the channels. Default: the task's own.",
  )
  """What is read of the encoder. Once resolved, None unless the method reads it: elsewhere only the probes do."""
  steps: int | None = setting(
    None, "Steps of pretraining. Default: the method's own, whatever the size of the data set.", above=0, high=10**9
  )
  epochs: float | None = setting(None, "Passes over the images, in place of --steps.", above=0)
  """Once resolved, those that the steps come to."""
  batch_size: int | None = setting(None, "Images a step of pretraining. Default: the method's own.", above=0)
  optimizer: Optimizer | None = setting(
    None,
    "Optimiser of pretraining: adamw, sgd (momentum 0.9), lars, or descent (no momentum, no weight decay). Default: "
    "the method's own.",
  )
  learning_rate: float | None = setting(
    None,
    "Peak learning rate of pretraining. It falls by a cosine. Default: the method's; with another --optimizer "
    "than its own, for a batch of 256, in proportion for others: adamw 0.001, sgd 0.03, lars and descent 0.3.",
    above=0,
  )
  warmup_epochs: float | None = setting(
    None, "Pretraining epochs of warm-up. Default: a tenth of all, at most 100 steps.", low=0
  )
  weight_decay: float = setting(
    1e-4, "Weight decay of pretraining; it spares biases and normalisation.", flag="pretraining_weight_decay", low=0
  )
  accumulate: int = setting(
    1,
    "Parts that a pretraining batch goes through the model in: a fraction of the memory, one optimiser step. "
    "Contrastive losses have the negatives of a part only, and batch normalisation its images.",
    low=1,
  )
  precision: Precision = setting(
    "float32", "Numbers that the network is pretrained with: float32 or bfloat16. Probes run in float32."
  )
  remat: bool = setting(
    False,
    "Keep of the network's activations only the outputs of its blocks, and compute the others again for the gradient: "
    "less memory for another forward pass, the same numbers but for rounding. On the CPU XLA undoes it.",
  )
  seed: int = setting(0, "Seed of pretraining: of weights, order and noise.", low=0, high=SEEDS)
  watch: int = setting(
    1000,
    "Training images held out of pretraining (at most a tenth), on which its loss and metrics are watched.",
    low=0,
    high=10**9,
  )
  schedule: Schedule = setting("cosine", "Of the learning rate: cosine or constant.", flag=None)
  shuffle: bool = setting(True, "Whether the order is drawn anew each epoch.", flag=None)

  # No settings, but part of what a run is:
  x_shape: tuple[int, ...] = ()
  """Of one example."""
  x_dtype: str = "uint8"
  rate: int = 0
  """Samples a second of sound."""
  examples: int = 0
  """How many there are to pretrain on."""
  data_crc32: int = 0
  """Of about 5,000 of them."""
  data_digest: str = ""
  """Of all that is pretrained on, see `digest_of`; empty in runs from before sslx 0.2."""
  smoke: bool = False
  """A few steps on a few hundred examples, for tests."""
  variant: str | None = None
  """What else an experiment changed in the method."""
  version: int = VERSION

  __repr__ = brief

  def __post_init__(self) -> None:
    options.check_numbers(self)
    options.check_choices(self)
    object.__setattr__(self, "x_shape", tuple(self.x_shape))
    hp = {name: tuple(value) if isinstance(value, list) else value for name, value in self.hp.items()}
    object.__setattr__(self, "hp", hp)  # JSON has no tuples

  def resolved(self, dataset: "Dataset", digest: str | None = None) -> "Config":
    """All that determines the run on `dataset`: no None where the method has a default, and the data's own facts.

    learning_rate: None is the method's, or with another optimiser than its own `optim.default_rate`.
    watch: becomes the number of examples that are held out, see `watched_rows`.
    steps: those of `epochs` where these are given; both say the same afterwards.
    digest: what `digest_of` gives, where it is known already.

    Raises:
      UserError: an unknown method or hyper-parameter, steps and epochs that contradict each other, or a warm-up that is
        longer than the run.
    """
    from sslx.data.words import count_end_to_end
    from sslx.pretext import check
    from sslx.training import optim

    method, x, kind = check(self.method), dataset.pretraining_x, dataset.modality.name
    batch_size = self.batch_size or method.batch_size
    watch = len(watched_rows(len(dataset.train), self.watch))
    count = (len(dataset.train) if method.labels else len(x)) - watch
    epoch = steps_of_epoch(count_end_to_end(x) if lays_end_to_end(method, dataset) else count, batch_size)
    steps = self.steps or (max(1, round(self.epochs * epoch)) if self.epochs else method.steps)
    if self.epochs and steps != max(1, round(self.epochs * epoch)):
      raise UserError(f"--steps={steps}: contradicts --epochs={self.epochs:g}; give one of the two.")
    optimizer = self.optimizer or method.optimizer
    rate = self.learning_rate or (
      method.learning_rate if optimizer == method.optimizer else optim.default_rate(optimizer, batch_size)
    )
    epochs = steps / epoch
    if self.warmup_epochs is not None and not 0 <= self.warmup_epochs < epochs:
      raise UserError(
        f"--warmup_epochs={self.warmup_epochs:g}: must be at least 0 and below the {epochs:.3g} epochs of the run."
      )
    every = -(-len(x) // 5000)
    return dataclasses.replace(
      self,
      hp=options.resolve(
        method.factory, {**method.settings_for(kind), **options.check(method.factory, self.hp, "--hp")}
      ),
      dataset=dataset.name,
      encoder=self.encoder_on(dataset),
      features=(self.features or dataset.task.reading) if method.labels else None,
      steps=steps,
      epochs=epochs,
      batch_size=batch_size,
      optimizer=optimizer,
      learning_rate=rate,
      watch=watch,
      x_shape=dataset.x_shape,
      x_dtype=str(x.dtype),
      rate=dataset.rate,
      examples=len(x),
      data_crc32=zlib.crc32(x[np.arange(0, len(x), every)].tobytes()),
      data_digest=digest or digest_of(dataset, method.labels),
    )

  def encoder_on(self, dataset: "Dataset") -> str:
    """Its encoder on a data set: the method's own where it names none, and with a front where the signal needs one.

    Raises:
      UserError: no such method, or one that does not take such data; an encoder for another sample rate.
    """
    from sslx.nn import suited
    from sslx.pretext import taking

    kind = dataset.modality.name
    return suited(self.encoder or taking(self.method, dataset.modality).encoder_for(kind), kind, dataset.rate)

  def to_json(self) -> dict[str, Any]:
    """Of JSON's types; `read` reads it."""
    return json.loads(json.dumps(dataclasses.asdict(self)))

  @classmethod
  def read(cls, saved: Mapping[str, Any]) -> "Config":
    """The configuration that `to_json`, or an older sslx, wrote.

    Raises:
      UserError: it has an entry that is not known here.
    """
    values = dict(saved)
    if "version" not in values:
      values = _from_version_1(values)
    if values["version"] == 2:
      values = _from_version_2(values)
    unknown = values.keys() - {field.name for field in dataclasses.fields(cls)}
    if unknown:
      raise UserError(f"config.json: {', '.join(sorted(unknown))}: unknown here; it was written by a newer sslx.")
    return cls(**values)


def _from_version_1(saved: dict[str, Any]) -> dict[str, Any]:
  """Before sslx 0.2 images were the only signal, an entry that was the default might be missing, and decoder_widths was
  empty for auto.
  """
  names = {"image_shape": "x_shape", "images": "examples", "watched": "watch", "labels": "variant"}
  hp = {name: "auto" if (name, value) == ("decoder_widths", []) else value for name, value in saved["hp"].items()}
  values = {**saved, "hp": hp}
  return {"version": 2, "optimizer": "adamw", **{names.get(name, name): value for name, value in values.items()}}


def _from_version_2(saved: dict[str, Any]) -> dict[str, Any]:
  """Before budgets were steps a run was as long as its epochs said, and cpc's rows `ahead` were called steps.

  The method `supervised` is taken to have had all of the examples, which is so without an unlabelled split.
  """
  values = {**saved, "version": VERSION}
  if str(saved.get("method")).startswith("cpc"):
    values["hp"] = {"ahead" if name == "steps" else name: value for name, value in saved["hp"].items()}
  if all(saved.get(name) for name in ("epochs", "examples", "batch_size")):
    epoch = steps_of_epoch(saved["examples"] - saved.get("watch", 0), saved["batch_size"])
    values["steps"] = max(1, round(saved["epochs"] * epoch))
    values["epochs"] = values["steps"] / epoch
  return values


def steps_of_epoch(n: int, batch_size: int) -> int:
  """Of n examples: a last batch that is not full is left out, and a batch is no larger than n."""
  return n // min(batch_size, n)


def digest_of(dataset: "Dataset", targets: bool) -> str:
  """32 hexadecimal digits of the x that is pretrained on; of the training split with its y for a method that reads
  targets, else of every x but those of the test split.

  Raises:
    UserError: a file of a lazy split is gone, or cannot be decoded.
  """
  from sslx.data import fingerprint

  train, unlabeled = dataset.train, dataset.unlabeled
  if targets:
    parts = [train.x] if train.y is None else [train.x, train.y]
  else:
    parts = [train.x] if unlabeled is None else [train.x, unlabeled.x]
  rate = [f"rate {dataset.rate}".encode()] if dataset.rate else []  # the same samples at another rate sound otherwise
  words = [dataset.vocabulary.digest.encode()] if dataset.vocabulary else []
  return fingerprint.digest_of([*rate, *words, *(fingerprint.fingerprint_of(part).encode() for part in parts)])


def lays_end_to_end(method: "Method", dataset: "Dataset") -> bool:
  """Whether texts of their own become a stream for a method. A corpus without labels, whose rows are no files, is one
  already.
  """
  return method.stream and (dataset.task.name != "none" or dataset.train.files is not None)


def watched_rows(n: int, watch: int) -> np.ndarray:
  """Which of n training examples pretraining does not train on, ascending: `watch` of them, at most a tenth.

  The method's loss and metrics on them are logged. Drawn once and for all: every method and seed watches the same.
  """
  return np.sort(np.random.default_rng(0).permutation(n)[: min(watch, n // 10)])
