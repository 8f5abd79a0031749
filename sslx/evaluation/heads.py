"""Heads on features that stay as they are: the modes raw, random and frozen, and majority, which reads none."""

from typing import Any, NamedTuple

import numpy as np

from sslx import nn
from sslx.evaluation import finetune
from sslx.evaluation.bench import Bench, Case, Predictor, Source
from sslx.tasks.linear import MANY
from sslx.types import Task, brief


def of_pixels(task: Task) -> Task:
  """A task of places with a head that reads each by itself: what the mode raw puts on `nn.PLACES`."""
  return task._replace(head=lambda: nn.PixelHead(task.outputs))


def fitted(reads: Source):
  """The `fit` of a mode that reads these features: the task's own head, its hyper-parameters chosen inside the labels.
  Of the raw signal, the mode itself says how it is read: raw, raw:READING or lsa:K.

  With the recipe's head="gradient", or of a task without such a head, it is trained as in the modes that train the
  encoder.
  """

  def fit(bench: Bench, case: Case) -> Predictor:
    source = case.mode if reads == "raw" else reads
    represent, task = bench.source(source), bench.task
    if task.is_dense and reads == "raw":  # by its places one by one: what lies around them is what an encoder sees
      task = bench.once("pixels", lambda: of_pixels(task))
    if task.fit_head is None or (bench.recipe.head == "gradient" and reads != "raw"):
      return finetune.tune(bench, case, represent, (), task)
    if case.labels >= MANY:
      bench.say(f"{case.mode}, {case.labels:,} labels: fitting a head on this many takes minutes")
    held = None if bench.labelled.heldout is None else bench.features_of(source, bench.labelled.heldout)
    rows = bench.rows(case)
    features, y = bench.features_of(source, rows)
    versions = 1
    if bench.recipe.augment:
      more, versions = bench.views_of(source, rows), 1 + bench.recipe.augment_copies
      features, y = np.concatenate([features, more[0]]), np.concatenate([y, more[1]])
    reference, groups = bench.reference(source), bench.dataset.train.groups
    how = {"kind": bench.recipe.head} if task.name == "classification" and bench.recipe.head == "ridge" else {}
    how |= {} if groups is None else {"groups": groups[rows]}
    head = task.fit_head(features, y, reference, seed=case.subset_seed, heldout=held, versions=versions, **how)
    return Predictor(represent, head, head.size, head.size + represent.size)

  return fit


class Constant(NamedTuple):
  """Answers alike whatever the features: a `sslx.types.Head` without parameters."""

  answer: np.ndarray  # f32 [K]
  chosen: dict[str, Any]
  size: int = 0

  __repr__ = brief

  def outputs(self, features: np.ndarray) -> np.ndarray:
    """f32 [N,D] -> f32 [N,K]."""
    return np.tile(self.answer, (len(features), 1))


def majority(bench: Bench, case: Case) -> Predictor:
  """Always the most frequent class of the labelled training images; of several, the first of them.

  Of all of them: a balanced subset would not tell it. Which class it is, is all that is read beyond the subset.
  """
  frequent = int(np.bincount(bench.dataset.train.targets(), minlength=bench.task.outputs).argmax())
  answer = np.zeros(bench.task.outputs, np.float32)
  answer[frequent] = 1
  return Predictor(bench.source("raw"), Constant(answer, {"class": frequent}), 0, 0)
