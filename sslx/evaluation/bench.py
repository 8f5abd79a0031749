"""What a mode works with: labelled subsets, a pretrained encoder, and what is computed once for all of its cases."""

import dataclasses
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from sslx import nn
from sslx.data import Dataset, Split
from sslx.data.lazy import Rows
from sslx.evaluation import features
from sslx.evaluation.features import extract
from sslx.evaluation.lsa import lsa
from sslx.evaluation.recipe import Recipe
from sslx.training import parallel
from sslx.types import Head, Subset, Task, UserError, brief

REFERENCE = 10_000  # unlabelled training examples that standardisation takes its statistics from
Source = Literal["raw", "random", "pretrained"]
T = TypeVar("T")
MAPS_AT_ONCE = 100  # examples


class Case(NamedTuple):
  """One predictor to train."""

  mode: str
  labels: int
  subset_seed: int

  @property
  def argument(self) -> str:
    """What stands after the colon of the mode: 2 of last:2."""
    return self.mode.partition(":")[2]

  def __str__(self) -> str:
    return f"{self.mode}, {self.labels} labels, subset {self.subset_seed + 1}"


class Labelled(NamedTuple):
  """Which training examples may be read with their targets: {seed: {size: rows}}, and rows held out for validation."""

  subsets: Mapping[int, Mapping[int, np.ndarray]]
  heldout: np.ndarray | None
  how: Subset = "balanced"
  """How both were drawn."""
  judges: Mapping[int, np.ndarray] | None = None
  """{seed: the training examples that its predictors are judged by}, none of which is in its subsets. None: they are
  judged by the test split."""
  folds: Mapping[int, Any] | None = None
  """{seed: which part of which repetition its judges are (`sslx.evaluation.folds.Fold`)}, where there are any."""

  __repr__ = brief

  def of(self, cases: Sequence[Case]) -> "Labelled":
    """Only the subsets of these cases."""
    wanted = {seed: {c.labels for c in cases if c.subset_seed == seed} for seed in self.subsets}
    kept = {s: {n: rows for n, rows in sizes.items() if n in wanted[s]} for s, sizes in self.subsets.items()}
    return self._replace(subsets={seed: sizes for seed, sizes in kept.items() if sizes})

  def rows(self) -> np.ndarray:
    """All of them, ascending, each once."""
    parts = [rows for sizes in self.subsets.values() for rows in sizes.values()]
    return np.unique(np.concatenate([*parts, [] if self.heldout is None else self.heldout])).astype(np.int64)


class Predictor(NamedTuple):
  """What a mode's training gives: features, a head on them, and how many parameters were trained."""

  represent: nn.Representation
  head: Head
  trainable: int
  total: int

  __repr__ = brief

  def outputs(self, x: Rows) -> np.ndarray:
    """Raw x [N,...] -> the task's answers [N,...]. Maps are too large to be kept: they are answered batch by batch."""
    if self.represent.is_map:
      mesh = parallel.mesh_of(self.represent)
      return extract(lambda batch: self.head.outputs(self.represent(batch)), x, MAPS_AT_ONCE, mesh)
    return self.head.outputs(extract(self.represent, x))


@dataclasses.dataclass(frozen=True, eq=False)
class Bench:
  """What `Mode.fit` gets beside its case."""

  dataset: Dataset
  labelled: Labelled
  pretrained: nn.Representation
  recipe: Recipe
  seed: int
  """Of the pretraining: the random encoder is drawn with it."""
  say: Callable[[str], None] = lambda line: None
  done: int = 0
  """How many cases of the same comparison were trained before: `say` counts on from there."""
  memory: dict[Hashable, Any] = dataclasses.field(default_factory=dict)
  """What `once` made, and under SHARED the seconds that it took."""

  __repr__ = brief

  @property
  def task(self) -> Task:
    """Of the data set."""
    return self.dataset.task

  def once(self, name: Hashable, make: Callable[[], T]) -> T:
    """What `make` gives, made when it is first asked for under this name. Its time is no case's own."""
    if name not in self.memory:
      begin, before = time.monotonic(), self.shared_seconds
      self.memory[name] = make()
      self.memory[SHARED] = before + time.monotonic() - begin  # what it made within is part of it
    return self.memory[name]

  @property
  def shared_seconds(self) -> float:
    """Seconds that all of `once` took so far."""
    return self.memory.get(SHARED, 0.0)

  def fresh(self, seed: int) -> nn.Representation:
    """The pretrained encoder's architecture with random weights."""
    return self.once("init", lambda: features.random(self.pretrained, self.dataset))(seed)

  def source(self, reads: str) -> nn.Representation:
    """Whose features a mode reads: a `Source`, `raw:READING` of the signal itself, or `lsa:K` of K directions."""
    name, _, reading = reads.partition(":")
    if name == "raw":
      return self.once(reads, lambda: features.raw(self.dataset, self.task, reading))
    if name == "lsa":
      return self.once(reads, lambda: lsa(self.dataset, int(reading) if reading else None))
    return self.pretrained if reads == "pretrained" else self.once("random", lambda: self.fresh(self.seed))

  def rows(self, case: Case) -> np.ndarray:
    """The training examples that a case may read with their targets."""
    return self.labelled.subsets[case.subset_seed][case.labels]

  def judged_by(self, case: Case) -> tuple[Split, np.ndarray | None]:
    """The split that a case's predictor is judged by, and which of its rows; None: all of them."""
    if self.labelled.judges is None:
      return self.dataset.test, None
    return self.dataset.train, self.labelled.judges[case.subset_seed]

  def read(self, rows: np.ndarray) -> tuple[Rows, np.ndarray]:
    """(x, y) of labelled rows."""
    return self.dataset.train.x[rows], self.dataset.train.targets()[rows]

  def features_of(self, reads: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(features, y) of labelled rows; features of all of them are computed at once."""
    known = self.once("rows", self.labelled.rows)
    train, represent = self.dataset.train, self.source(reads)
    cached = self.once(("labelled", reads), lambda: extract(represent, train.x[known]))
    return cached[np.searchsorted(known, rows)], train.targets()[rows]

  def views_of(self, reads: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(features, y) of the recipe's random views of labelled rows: all rows once, then all of them again, ..."""
    known, train, recipe = self.once("rows", self.labelled.rows), self.dataset.train, self.recipe
    views, copies = recipe.augment, recipe.augment_copies
    x, represent = train.x[known], self.source(reads)
    cached = self.once(("views", reads), lambda: features.of_views(represent, views, x, copies, self.seed))
    return np.concatenate(cached[:, np.searchsorted(known, rows)]), np.tile(train.targets()[rows], copies)

  def reference(self, reads: str) -> np.ndarray:
    """Features of up to REFERENCE training examples, and of the unlabelled ones behind them, without their targets."""

    def make() -> np.ndarray:
      x = self.dataset.pretraining_x
      rows = np.sort(np.random.default_rng(self.seed).permutation(len(x))[:REFERENCE])
      return extract(represent, x[rows])

    represent = self.source(reads)
    return self.once(("reference", reads), make)


SHARED = "seconds"


class Mode(NamedTuple):
  """A way to use labels: an entry of `sslx.evaluation.modes.MODES`."""

  reads: Source
  """Whose features it starts from."""
  tasks: tuple[str, ...]
  """The entries of TASKS that it can do."""
  fit: Callable[[Bench, Case], Predictor]
  help: str
  argument: str = ""
  """What stands after a colon: K of last:K. In brackets where it may be left out."""
  check: Callable[[str, Sequence[str]], object] = lambda argument, block_names: None
  """(argument, names of the encoder's blocks): raises ValueError or UserError for one that is not fit."""
  lacks: Callable[[str, int, int], str] = lambda argument, labels, examples: ""
  """(argument, number of labels, of training examples) -> what it lacks to work with these, or nothing."""
  trains_encoder: bool = False
  whole: bool = True
  """Whether its predictor is the encoder with a linear head: all such must have the same number of parameters. False
  for a head of another kind, such as neighbours."""
  modalities: tuple[str, ...] | None = None
  """What it can read; None: anything."""
  control: str | None = None
  """The mode that does the same from the raw signal: a table of this one needs it beside it."""

  __repr__ = brief


def draw(
  dataset: Dataset, sizes: Sequence[int], seeds: int, heldout: int, how: Subset = "balanced", folds: int = 5
) -> Labelled:
  """Nested subsets for seeds 0 .. seeds-1 as the task draws them; `heldout` further rows that no subset contains.

  Without a test split they are those of a cross-validation in so many folds, repeated for each of the seeds.

  how: balanced over the classes, or stratified: in proportion to the classes' frequencies. So are the rows held out.

  Raises:
    UserError: a size that the training split does not have.
  """
  y = dataset.train.targets()
  pool, held = np.arange(len(y)), None
  if heldout:
    if heldout >= len(y):
      raise UserError(f"--validation=heldout:{heldout}: the training split has only {len(y)} labels.")
    held = subset_of(f"--validation=heldout:{heldout}", dataset.task, y, [heldout], 2**31, how)[heldout]
    pool = np.setdiff1d(pool, held)
  if not len(dataset.test):
    from sslx.evaluation import folds as parts

    return parts.draw(dataset.task, y, sizes, seeds, folds, pool, how)._replace(heldout=held)
  drawn = {seed: subset_of("--labels", dataset.task, y[pool], sizes, seed, how) for seed in range(seeds)}
  return Labelled({s: {n: pool[rows] for n, rows in by_size.items()} for s, by_size in drawn.items()}, held, how)


def subset_of(
  flag: str, task: Task, y: np.ndarray, sizes: Sequence[int], seed: int, how: Subset
) -> dict[int, np.ndarray]:
  """The task's subsets. Raises UserError, with the flag in front, for a size that y does not have."""
  try:
    return task.subset(y, sizes, seed, how)
  except UserError as error:
    raise UserError(f"{flag}: {error}") from error
