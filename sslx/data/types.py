"""What every source of data becomes: splits of a signal x [N,...] of any shape and dtype, and its targets y."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sslx.data.lazy import Rows, joined, take
from sslx.modalities import MODALITIES
from sslx.ops.text import Vocabulary
from sslx.tasks import TASKS
from sslx.types import Modality, Task, UserError, brief

_CHUNK = 1024  # rows decoded by one thread at a time when a lazy split is brought into memory


def renamed(kind: str, old: str, names: dict[str, str]) -> AttributeError:
  """What an attribute of sslx 0.1 answers: where it is now."""
  if old in names:
    return AttributeError(f"{kind}.{old} is called {names[old]} since sslx 0.2: see CHANGELOG.md")
  return AttributeError(f"{kind} has no attribute {old!r}")


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
  """A signal x [N,...], in memory or lazy, and its targets y [N,...], or None."""

  x: Rows
  y: np.ndarray | None
  files: Sequence[str] | None = None
  """Of the examples, where each is a file of its own."""
  others: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  """Targets [N,...] of further tasks that the data set is for, by the task's name."""
  groups: np.ndarray | None = None
  """i32 [N]: which examples belong together, such as those of a speaker, where the test split is of other groups: what
  is chosen by cross-validation is then judged by groups that it was not fitted on."""

  __repr__ = brief

  def __len__(self) -> int:
    return len(self.x)

  def targets(self) -> np.ndarray:
    """y, where it must be there."""
    if self.y is None:
      raise UserError("this split has no labels.")
    return self.y

  def part(self, rows: np.ndarray) -> "Split":
    """Only these rows, lazy where it is: nothing is read."""
    y = None if self.y is None else self.y[rows]
    files = None if self.files is None else [str(self.files[int(row)]) for row in rows]
    others, groups = {name: other[rows] for name, other in self.others.items()}, self.groups
    return Split(take(self.x, rows), y, files, others, None if groups is None else groups[rows])

  def pieces(self, rows: int) -> Iterator[tuple[int, np.ndarray]]:
    """Pieces of so many rows of what is in memory, each with the number of its first row; nothing of a lazy split,
    which is too large to be looked through.
    """
    if isinstance(self.x, np.ndarray):
      for start in range(0, len(self), rows):
        yield start, self.x[start : start + rows]

  def __getattr__(self, name: str) -> Any:
    raise renamed("Split", name, {"images": "x", "labels": "y"})


class Video(NamedTuple):
  """A whole video with masks of its objects: what tracking is scored on."""

  name: str
  frames: Rows
  """u8 [T,H,W,3]."""
  masks: Rows
  """u8 [T,H,W]: 0 where there is no object, else the number of the one in front, from 1. The first frame has them."""
  annotated: np.ndarray
  """bool [T]: which frames' masks are known; the others' hold zeros."""

  __repr__ = brief


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """A training and a test split with targets, and whatever further examples come without. The test split may hold no
  example: then what is judged is judged by cross-validation in the training split.
  """

  name: str
  modality: Modality
  task: Task
  train: Split
  test: Split
  unlabeled: Split | None = None
  others: Mapping[str, Task] = dataclasses.field(default_factory=dict)
  """Further tasks that it has targets for, by name: `doing` makes one of them its own."""
  rate: int = 0
  """Samples a second of sound."""
  vocabulary: Vocabulary | None = None
  """The words of text, which tell what its ids mean: those of the training split and the unlabelled one."""
  origin: str = ""
  """What its values were made from, where that changes from machine to machine: packages and their versions."""
  videos: Mapping[str, Sequence[Video]] = dataclasses.field(default_factory=dict)
  """Of clips: the whole videos with masks, by what they are for. test: what tracking is scored on; validation: what its
  settings are chosen on."""

  __repr__ = brief

  def doing(self, name: str) -> "Dataset":
    """The same data set for another of its tasks.

    Raises:
      UserError: it has no targets for such a task.
    """
    if name == self.task.name:
      return self
    if name not in self.others:
      known = ", ".join([self.task.name, *self.others])
      raise UserError(f"--task={name}: {self.name} has no targets for it; it is for {known}")

    def turned(split: Split) -> Split:
      others = {task: y for task, y in split.others.items() if task != name}
      return dataclasses.replace(split, y=split.others[name], others={self.task.name: split.targets(), **others})

    others = {self.task.name: self.task, **{task: made for task, made in self.others.items() if task != name}}
    parts = {"train": turned(self.train), "test": turned(self.test)}
    return dataclasses.replace(self, task=self.others[name], others=others, **parts)

  @property
  def x_shape(self) -> tuple[int, ...]:
    """Of one example: (H, W, C) of an image."""
    return tuple(self.train.x.shape[1:])

  @property
  def meaning(self) -> Any:
    """What tells what a value of x means: samples a second of sound, the vocabulary of text, 0 of images."""
    return self.vocabulary or self.rate

  @property
  def pretraining_x(self) -> Rows:
    """Every example that pretraining may see, [N,...]: the training split, then `unlabeled`."""
    if self.unlabeled is None:
      return self.train.x
    return joined(self.train.x, self.unlabeled.x)

  @property
  def split_sizes(self) -> dict[str, int]:
    """Examples per split, by name; `unlabeled` only where there is one."""
    sizes = {"train": len(self.train), "test": len(self.test)}
    return sizes if self.unlabeled is None else sizes | {"unlabeled": len(self.unlabeled)}

  def __getattr__(self, name: str) -> Any:
    names = {"image_shape": "x_shape", "class_names": "task.names", "num_classes": "task.outputs"}
    raise renamed("Dataset", name, {**names, "pretraining_images": "pretraining_x"})


def no_examples(like: Split) -> Split:
  """The test split of data that have none: 0 examples of the shapes and dtypes of their training split."""
  y, others = (None if like.y is None else like.y[:0]), {name: other[:0] for name, other in like.others.items()}
  return Split(np.zeros((0, *like.x.shape[1:]), like.x.dtype), y, others=others)


def image_classes(
  name: str, class_names: Sequence[str], train: Split, test: Split | None = None, unlabeled: Split | None = None
) -> Dataset:
  """A data set of images u8 [N,H,W,C], C 1 or 3, whose y i32 [N] are places in `class_names`.

  Of this and the others here: without `test` it has a test split of no examples, and without class names no labels: its
  task is none, and y is None.
  """
  return Dataset(name, MODALITIES["image"], _classes(class_names), train, _or_none(test, train), unlabeled)


def sound_classes(
  name: str,
  rate: int,
  class_names: Sequence[str],
  train: Split,
  test: Split | None = None,
  unlabeled: Split | None = None,
) -> Dataset:
  """A data set of recordings i16 [N,T], RAW_PAD behind their ends, whose y i32 [N] are places in `class_names`."""
  task = _classes(class_names, reading="time5")
  return Dataset(name, MODALITIES["sound"], task, train, _or_none(test, train), unlabeled, rate=rate)


def text_classes(
  name: str,
  vocabulary: Vocabulary,
  class_names: Sequence[str],
  train: Split,
  test: Split | None = None,
  unlabeled: Split | None = None,
  origin: str = "",
) -> Dataset:
  """A data set of texts i32 [N,T], ids of `vocabulary`, PAD behind their ends, whose y i32 [N] are places in
  `class_names`.
  """
  task, test = _classes(class_names, reading="pool"), _or_none(test, train)
  return Dataset(name, MODALITIES["text"], task, train, test, unlabeled, vocabulary=vocabulary, origin=origin)


def text_corpus(name: str, vocabulary: Vocabulary, x: Rows, origin: str = "") -> Dataset:
  """A data set without labels: a stream of text in rows i32 [N,T], ids of `vocabulary`, PAD between two lines."""
  return text_classes(name, vocabulary, (), Split(x, None), origin=origin)


def clips(name: str, x: Rows, videos: Mapping[str, Sequence[Video]], test: Rows | None = None) -> Dataset:
  """A data set of clips u8 [N,T,H,W,3] without labels, and of whole videos with masks."""
  train = Split(x, None)
  last = _or_none(None if test is None else Split(test, None), train)
  return Dataset(name, MODALITIES["video"], TASKS["none"](()), train, last, videos=videos)


def _or_none(test: Split | None, train: Split) -> Split:
  return no_examples(train) if test is None else test


def _classes(names: Sequence[str], **reading: str) -> Task:
  """The task of these classes; none, where there are none."""
  return TASKS["classification"](names)._replace(**reading) if len(names) else TASKS["none"](())


@dataclasses.dataclass(frozen=True)
class Request:
  """What a loader is asked for: `spec` is `name` or `scheme:argument`."""

  spec: str
  argument: str
  data_dir: str  # absolute; where prepared sets live
  image_size: int | None
  in_memory_limit: int  # bytes of decoded images above which a split stays lazy
  background: tuple[int, int, int] = (255, 255, 255)  # red, green, blue that show through transparent pictures
  bits: int = 16  # that images of sixteen bits really use
  data_dir_is_given: bool = True  # by the user; where it is not, nothing may depend on its being writable
  sample_rate: int | None = None  # that sound is resampled to; None: as it is
  seconds: float | None = None  # that recordings are cut or padded to; None: the data's own choice
  min_count: int = 5  # how often a word stands in a text at least that gets an id of its own
  max_words: int | None = None  # of the most frequent ones at most; None: all
  max_length: int | None = None  # words of a document at most, what is behind is cut; None: the data's own choice
  frames: int | None = None  # of a clip of a video; None: the data's own choice
  stride: int | None = None  # every how many frames of a video one is taken; None: the data's own choice
  size: tuple[int, ...] | None = None  # of frames: height and width, or the shorter side; None: as they are
  targets: tuple[str, ...] = ()  # which of the data's columns or numbers are asked for; () means the data's own choice
  labels_file: str | None = None  # a CSV of path and class, which labels files or corrects their labels

  @property
  def decoding(self) -> str:
    """What changes the values of pictures that are read, beside their size: for `LazyArray.how`."""
    return f"background {self.background} bits {self.bits}"
