"""The comparison: every mode on the same label subsets, same architecture, same number of parameters.

raw       logistic regression on pixels                     } rows that keep the table honest
random    the same on a frozen, untrained encoder           }
scratch   encoder and head trained from random weights
frozen    logistic regression on the frozen pretrained encoder
last:K    head and the last K blocks of the pretrained encoder
full      everything, started at the pretrained weights
knn:K     K nearest neighbours in the frozen features (no head at all)
propagate the labels spread over the neighbour graph of all training images' frozen features (sslx/evaluation/propagation.py);
          propagate:cmn also takes the class frequencies as known. raw+propagate: on pixels, for an honest table
self_train everything, started at the pretrained weights and trained on all training images with the labels that
          `propagate` gives them, then with its own sure answers (sslx/evaluation/self_training.py); then the labels are
          spread anew over the graph of the features that this made, for the next round and, after the last, as the
          answer. raw+self_train: the same from random weights and the labels of raw+propagate
"""

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslx import nn, options
from sslx.evaluation import finetune, probe, propagation
from sslx.training import masks
from sslx.data import Dataset, Split
from sslx.tasks import subsets
from sslx.types import UserError

CONTROLS = ("raw", "random")  # in every table
PROPAGATE = ("propagate", "propagate:cmn")
UNLABELLED = (*PROPAGATE, "self_train")  # modes that learn from all training images, and their controls from `raw+MODE`
REFERENCE_IMAGES = 10_000  # unlabelled training images that standardisation takes its statistics from


class Task(NamedTuple):
  """One classifier to train."""

  mode: str
  labels: int
  subset_seed: int


class Trained(NamedTuple):
  """A classifier, and the seconds that its choice of hyper-parameters and training took."""

  classifier: finetune.Classifier
  seconds: float


class Labelled(NamedTuple):
  """Which training images may be read with their labels: {seed: {size: rows}}, and rows held out for validation."""

  subsets: Mapping[int, Mapping[int, np.ndarray]]
  heldout: np.ndarray | None


def head_only(mode: str) -> bool:
  """True where the encoder is not trained, so that features are computed once."""
  return mode in (*CONTROLS, "frozen") or mode.startswith("knn:") or "propagate" in mode


def source(mode: str) -> str:
  """Whose features a mode reads: raw, random or pretrained."""
  first = mode.partition("+")[0]
  return first if first in CONTROLS else "pretrained"


def controls(modes: Iterable[str]) -> tuple[str, ...]:
  """The modes that a table of `modes` needs to be honest: raw, random, and what raw pixels alone give where all training
  images are learnt from.
  """
  return (*CONTROLS, *(f"raw+{mode}" for mode in modes if mode in UNLABELLED))


def check_modes(modes: Iterable[str], block_names: Sequence[str]) -> tuple[str, ...]:
  """The modes, without repetition. Raises UserError for an unknown one, or last:K beyond the encoder."""
  modes = tuple(dict.fromkeys(m.strip() for m in modes if m.strip()))
  if not modes:
    raise UserError("--modes=: name at least one mode, such as --modes=scratch,frozen,last:1,full.")
  for mode in modes:
    kind, _, k = mode.partition(":")
    if mode in CONTROLS or mode.removeprefix("raw+") in UNLABELLED or (kind == "knn" and k.isdecimal() and int(k) > 0):
      continue
    if mode not in ("scratch", "frozen", "full") and kind != "last":
      known = ["scratch", "frozen", "last:K", "full", "knn:K", *UNLABELLED, *CONTROLS]
      raise UserError(f"--modes={mode}: no such mode.{options.nearest(mode, known)}")
    masks.trained_blocks(mode, block_names)
  return modes


def draw(labels: np.ndarray, sizes: Sequence[int], seeds: int, heldout: int) -> Labelled:
  """Stratified nested subsets for seeds 0 .. seeds-1; `heldout` further rows that no subset contains."""
  pool, held = np.arange(len(labels)), None
  if heldout:
    if heldout >= len(labels):
      raise UserError(f"--validation=heldout:{heldout}: the training split has only {len(labels)} labels.")
    held = _named(f"--validation=heldout:{heldout}", labels, [heldout], 2**31)[heldout]
    pool = np.setdiff1d(pool, held)
  drawn = {s: _named("--labels", labels[pool], sizes, s) for s in range(seeds)}
  return Labelled({s: {n: pool[rows] for n, rows in by_size.items()} for s, by_size in drawn.items()}, held)


def _named(flag: str, labels: np.ndarray, sizes: Sequence[int], seed: int) -> dict[int, np.ndarray]:
  try:
    return subsets.label_subsets(labels, sizes, seed)
  except UserError as error:
    raise UserError(f"{flag}: {error}") from error


def train_classifiers(
  tasks: Sequence[Task],
  dataset: Dataset,
  labelled: Labelled,
  encoder: nn.Encoder,
  features: str,
  encode: finetune.Encode,
  pretrained: finetune.EncoderTree,
  recipe: finetune.Recipe,
  seed: int,
  say: Callable[[str], None],
) -> dict[Task, Trained]:
  """Trains every task. Reads labels of the subsets (and of labelled.heldout) only, and no test image.

  The scratch encoder is drawn anew for each subset. All modes with an encoder have the same number of parameters:
  asserted.
  """
  fresh = finetune.make_init_encoder(encoder, dataset.image_shape)
  trees = {"raw": None, "random": fresh(seed), "pretrained": pretrained}

  @functools.cache  # one graph for all modes and subsets
  def graph(which: str) -> propagation.Graph:
    say(f"the neighbour graph of {len(dataset.train):,} images ({which} features)")
    read = probe.extract(finetune.features_of(trees[which], encode), dataset.train.images)
    return propagation.graph(read, plain=which == "raw")

  trained: dict[Task, Trained] = {}
  for mode in dict.fromkeys(t.mode for t in tasks):
    mine, tree = [t for t in tasks if t.mode == mode], trees[source(mode)]
    anew = mode == "scratch" or source(mode) == "raw"
    start = (lambda task: fresh(1000 + task.subset_seed)) if anew else (lambda task: tree)
    plain = recipe.head == "gradient" and mode in ("random", "frozen")  # the head is trained as the other modes are
    if "propagate" in mode:
      fit = _spreader(graph, tree, dataset)
    elif "self_train" in mode:
      tune = finetune.make_self_train(encoder, features, dataset.num_classes, recipe, encode)
      fit = _self_trainer(tune, start, graph, encode, dataset, recipe.self_train_rounds)
    elif head_only(mode) and not plain:
      fit = _head_fitter(tree, encode, dataset, labelled, mine, seed)
    else:
      blocks = () if plain else masks.trained_blocks(mode, encoder.block_names)
      tune = finetune.make_finetune(encoder, features, dataset.num_classes, blocks, recipe, encode)
      fit = _tuner(tune, start, dataset.train, labelled)
    for task in mine:
      begin = time.monotonic()
      if task.labels >= probe.MANY and mode in (*CONTROLS, "frozen"):
        say(f"{mode}, {task.labels:,} labels: logistic regression on this many takes minutes")
      classifier = fit(task, labelled.subsets[task.subset_seed][task.labels])
      trained[task] = Trained(classifier, time.monotonic() - begin)
      say(f"{mode}, {task.labels} labels, subset {task.subset_seed + 1}: {trained[task].seconds:.1f} s")
  totals = {t.classifier.total for task, t in trained.items() if not task.mode.startswith(("raw", "knn:", "propagate"))}
  assert len(totals) <= 1, f"modes differ in their number of parameters: {totals}"
  return trained


def logits(trained: Mapping[Task, Trained], encode: finetune.Encode, test: Split) -> dict[Task, np.ndarray]:
  """Logits f32 [N,K] of every classifier on the test images: the only function that reads them."""
  cache, near, out = {}, {}, {}
  for task, (classifier, _) in trained.items():
    head, which = classifier.head, source(task.mode)
    if head_only(task.mode):
      if which not in cache:
        cache[which] = probe.extract(finetune.features_of(classifier.encoder, encode), test.images)
      if isinstance(head, propagation.Propagated):
        near[which] = near[which] if which in near else head.neighbours(cache[which])
        out[task] = head.logits(cache[which], near[which])
      else:
        out[task] = head.logits(cache[which])
    else:
      out[task] = finetune.predict(encode, classifier, test.images)
  return out


def _head_fitter(
  tree: finetune.EncoderTree | None,
  encode: finetune.Encode,
  dataset: Dataset,
  labelled: Labelled,
  tasks: Sequence[Task],
  seed: int,
) -> Callable[[Task, np.ndarray], finetune.Classifier]:
  """A function that fits a linear head on features which were computed once for all `tasks`."""
  train, function = dataset.train, finetune.features_of(tree, encode)
  below = 0 if tree is None else masks.count(tree["params"])
  unlabelled = np.sort(np.random.default_rng(seed).permutation(len(train))[:REFERENCE_IMAGES])
  parts = [labelled.subsets[t.subset_seed][t.labels] for t in tasks]
  needed = np.unique(np.concatenate([*parts, [] if labelled.heldout is None else labelled.heldout])).astype(np.int64)
  reference = probe.extract(function, train.images[unlabelled])
  cached = probe.extract(function, train.images[needed])

  def read(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    assert train.labels is not None
    return cached[np.searchsorted(needed, rows)], train.labels[rows]

  def fit(task: Task, rows: np.ndarray) -> finetune.Classifier:
    if task.mode.startswith("knn:"):
      head = probe.fit_knn(*read(rows), dataset.num_classes, int(task.mode.partition(":")[2]))
      return finetune.Classifier(tree, head, 0, below)
    held = None if labelled.heldout is None else read(labelled.heldout)
    head = probe.fit_linear(*read(rows), dataset.num_classes, reference, seed=task.subset_seed, heldout=held)
    size = head.weight.size + head.bias.size
    return finetune.Classifier(tree, head, size, size + below)

  return fit


def _spreader(
  graph: Callable[[str], propagation.Graph], tree: finetune.EncoderTree | None, dataset: Dataset
) -> Callable[[Task, np.ndarray], finetune.Classifier]:
  """A function that spreads a subset's labels over the graph of its features' source."""
  below = 0 if tree is None else masks.count(tree["params"])

  def fit(task: Task, rows: np.ndarray) -> finetune.Classifier:
    head = _spread(graph(source(task.mode)), task, rows, dataset, task.mode.endswith(":cmn"))
    return finetune.Classifier(tree, head, 0, below)

  return fit


def _spread(
  graph: propagation.Graph, task: Task, rows: np.ndarray, dataset: Dataset, class_mass: bool = False
) -> propagation.Propagated:
  labels = dataset.train.labels
  assert labels is not None
  return propagation.propagate(graph, rows, labels[rows], dataset.num_classes, class_mass)


def _self_trainer(
  tune: Callable[..., finetune.Classifier],
  start: Callable[[Task], finetune.EncoderTree],
  graph: Callable[[str], propagation.Graph],
  encode: finetune.Encode,
  dataset: Dataset,
  rounds: int,
) -> Callable[[Task, np.ndarray], finetune.Classifier]:
  """A function that trains encoder and head on all training images, from a subset's propagated labels, and spreads the
  labels anew over the graph of what it learnt; each round starts at the same weights with the labels of the one before.
  """
  images, labels = dataset.train.images, dataset.train.labels

  def fit(task: Task, rows: np.ndarray) -> finetune.Classifier:
    assert labels is not None
    spread = _spread(graph(source(task.mode)), task, rows, dataset)
    for number in range(1, rounds + 1):
      title = f"{task.mode}, {task.labels} labels, subset {task.subset_seed + 1}, round {number} of {rounds}"
      classifier = tune(start(task), images, rows, labels[rows], spread, task.subset_seed, title)
      learnt = propagation.graph(probe.extract(finetune.features_of(classifier.encoder, encode), images))
      spread = _spread(learnt, task, rows, dataset)
    head = spread._replace(chosen={**spread.chosen, **classifier.head.chosen, "rounds": rounds})
    return classifier._replace(head=head)

  return fit


def _tuner(
  tune: Callable[..., finetune.Classifier],
  start: Callable[[Task], finetune.EncoderTree],
  train: Split,
  labelled: Labelled,
) -> Callable[[Task, np.ndarray], finetune.Classifier]:
  """A function that trains encoder and head by gradient, from the weights that `start` gives a task."""

  def read(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    assert train.labels is not None
    return train.images[rows], train.labels[rows]

  def fit(task: Task, rows: np.ndarray) -> finetune.Classifier:
    held = None if labelled.heldout is None else read(labelled.heldout)
    return tune(start(task), *read(rows), task.subset_seed, held)

  return fit
