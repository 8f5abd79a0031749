"""MODES: every way to use labels, by name. A new mode is one file here and one line in this table.

All modes are compared on the same label subsets, with the same architecture and, where a network answers, the same
number of parameters. `evaluate` trains each, then reads the test split once for it: no answer changes another.
"""

import importlib.util
from collections.abc import Iterable, Sequence

import numpy as np

from sslx import options
from sslx.data import Dataset
from sslx.evaluation import features, finetune, heads, knn, lsa, propagation, self_train
from sslx.evaluation.bench import Mode
from sslx.tasks import ASKED
from sslx.types import Task, UserError

ALL = ASKED  # by the task's own head
SIGNAL = ("classification", "multilabel", "regression", "segmentation")  # that the signal itself can be asked
CLASSES = ("classification",)
LIBRARIES = {"detection": "faster_coco_eval"}  # extra -> what it brings that scores need
MAJORITY = "majority"
CONTROLS = (MAJORITY, "raw", "lsa", "random")  # in every table, the first where the classes are not even
UNEVEN = 1.5  # how many times its even share the most frequent class of the test split has then, at least

MODES: dict[str, Mode] = {
  MAJORITY: Mode(
    "raw", CLASSES, heads.majority, "always the most frequent class of the training images, which is taken as known",
    whole=False,
  ),
  "raw": Mode(
    "raw", SIGNAL, heads.fitted("raw"),
    "a linear head on the signal itself (of sound a log-mel spectrogram, of text its words by tf-idf), or one for each "
    "pixel by itself",
    "[READING]", features.check_raw, whole=False,
  ),
  "lsa": Mode(
    "raw", CLASSES, heads.fitted("raw"),
    "a linear head on the principal directions, K or 100, of the bags of words of all training texts",
    "[K]", lsa.check, whole=False, modalities=("text",),
  ),
  "random": Mode("random", ALL, heads.fitted("random"), "a head on a frozen, untrained encoder"),
  "scratch": Mode(
    "random", ALL, finetune.scratch, "encoder and head trained from random weights", trains_encoder=True
  ),
  "frozen": Mode("pretrained", ALL, heads.fitted("pretrained"), "a head on the frozen pretrained encoder"),
  "last": Mode(
    "pretrained", ALL, finetune.last, "head and the last K blocks of the pretrained encoder",
    "K", finetune.check_last, trains_encoder=True,
  ),
  "full": Mode(
    "pretrained", ALL, finetune.full, "everything, started at the pretrained weights", trains_encoder=True
  ),
  "knn": Mode(
    "pretrained", CLASSES, knn.knn, "K nearest neighbours in the frozen features (no head at all)",
    "K", knn.check, knn.lacks, whole=False,
  ),
  "propagate": Mode(
    "pretrained", CLASSES, propagation.spreading("pretrained"),
    "the labels spread over the neighbour graph of all training images' frozen features; cmn: the class frequencies "
    "are taken as known",
    "[cmn]", propagation.check, propagation.lacks, whole=False, control="raw+propagate",
  ),
  "raw+propagate": Mode(
    "raw", CLASSES, propagation.spreading("raw"),
    "the labels spread over the neighbour graph of the raw training signals",
    "[cmn]", propagation.check, propagation.lacks, whole=False,
  ),
  "self_train": Mode(
    "pretrained", CLASSES, self_train.self_trained("pretrained"),
    "everything, started at the pretrained weights and trained on all training images with the labels that propagate "
    "gives them, then with its own sure answers; the labels are spread anew over the graph of the features that this "
    "made, for the next round and, after the last, as the answer",
    lacks=propagation.lacks, trains_encoder=True, control="raw+self_train", modalities=("image",),
  ),
  "raw+self_train": Mode(
    "raw", CLASSES, self_train.self_trained("raw"), "self_train from random weights and the labels of raw+propagate",
    lacks=propagation.lacks, trains_encoder=True, modalities=("image",),
  ),
}  # fmt: skip


def mode(text: str) -> Mode:
  """The mode that a text such as `last:2` names. KeyError where there is none."""
  return MODES[text.partition(":")[0]]


def controls(modes: Iterable[str], dataset: Dataset) -> tuple[str, ...]:
  """The modes that a table of `modes` needs to be honest, as far as they can do the data set's task and read it: raw,
  random, what raw signals alone give where all training examples are learnt from, and majority where the classes are
  not even.
  """
  twins = [(mode(text).control, text.partition(":")[1:]) for text in modes]
  needed = (*CONTROLS, *dict.fromkeys(f"{name}{''.join(rest)}" for name, rest in twins if name))
  return tuple(name for name in doable(needed, dataset) if name != MAJORITY or _uneven(dataset))


def _uneven(dataset: Dataset) -> bool:
  """Whether the most frequent class of the test split, or of train where that is empty, has UNEVEN times its share."""
  y, classes = (dataset.test if len(dataset.test) else dataset.train).targets(), dataset.task.outputs
  return np.bincount(y).max() * classes >= UNEVEN * len(y)


def check_modes(
  modes: Iterable[str], block_names: Sequence[str], task: str = "classification", modality: str = "image"
) -> tuple[str, ...]:
  """The modes, without repetition.

  Raises:
    UserError: an unknown one, last:K beyond the encoder, or one that cannot do the task or read the modality.
  """
  modes = tuple(dict.fromkeys(m.strip() for m in modes if m.strip()))
  if not modes:
    raise UserError("--modes=: name at least one mode, such as --modes=scratch,frozen,last:1,full.")
  for text in modes:
    name, colon, argument = text.partition(":")
    if name not in MODES:
      known = [f"{n}:{m.argument}" if m.argument.isalpha() else n for n, m in MODES.items()]
      raise UserError(f"--modes={text}: no such mode.{options.nearest(text, known)}")
    kind = MODES[name]
    if colon and not kind.argument:
      raise UserError(f"--modes={text}: nothing stands after {name}.")
    try:
      if bool(colon) != bool(argument):
        raise ValueError(text)
      kind.check(argument, tuple(block_names))
    except ValueError:
      raise UserError(f"--modes={text}: write {name}:{kind.argument}; {kind.help}.") from None
    if task not in kind.tasks:
      raise UserError(f"--modes={text}: does not do {task}; it does {', '.join(kind.tasks)}.")
    if kind.modalities is not None and modality not in kind.modalities:
      raise UserError(f"--modes={text}: does not read {modality} data; it reads {', '.join(kind.modalities)}.")
  return modes


def check_amounts(modes: Iterable[str], labels: int, examples: int) -> None:
  """Raises UserError for a mode that cannot work with so many labels and training examples: before any training."""
  for text in modes:
    reason = mode(text).lacks(text.partition(":")[2], labels, examples)
    if reason:
      raise UserError(f"--modes={text}: {reason}.")


def check_extra(task: Task) -> None:
  """Raises UserError where the scores of a task need a library that is not installed."""
  if task.requires and importlib.util.find_spec(LIBRARIES[task.requires]) is None:
    raise UserError(
      f"{task.name}: its scores need {LIBRARIES[task.requires].replace('_', '-')}; pip install 'sslx[{task.requires}]'."
    )


def doable(modes: Iterable[str], dataset: Dataset) -> list[str]:
  """Those of an experiment's default modes that can do the data set's task, and read its modality."""
  kinds = {text: mode(text) for text in modes}
  task, modality = dataset.task.name, dataset.modality.name
  return [t for t, k in kinds.items() if task in k.tasks and (k.modalities is None or modality in k.modalities)]
