"""What `sslx.classify` gives, and what is asked of it: predictions, their score, and pictures of both."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sslx.calls import public
from sslx.data import Split
from sslx.data.inputs import accepted
from sslx.evaluation.bench import Predictor
from sslx.report import figures
from sslx.training.config import SEEDS
from sslx.types import Modality, Task, UserError

if TYPE_CHECKING:
  from matplotlib.figure import Figure

SHOWN_PREDICTIONS = 40


class Classifier(NamedTuple):
  """An encoder with a head: `classify` makes it."""

  mode: str
  rows: np.ndarray
  """i64 [N]: the training examples whose labels it was trained on."""
  task: Task
  modality: Modality
  x_shape: tuple[int, ...]
  predictor: Predictor

  def __repr__(self) -> str:
    total, trainable = self.predictor.total, self.predictor.trainable
    return f"Classifier({self.mode}, {len(self.rows)} labels, {trainable:,} of {total:,} parameters trained)"


@public
def predict(classifier: Classifier, x: Any) -> np.ndarray:
  """How likely each class is for each example of an array.

  Example:
    >>> probabilities = sslx.predict(classifier, data.test.x)

  Args:
    classifier: see `classify`.
    x: raw [N,...], such as images u8 [N,H,W,C] or floats in [0, 1]; N may be 0.

  Returns:
    Probabilities f32 [N,K]; `.argmax(1)` are the predicted classes.

  Raises:
    UserError: x of another shape than the classifier's, or with values that cannot be meant.
  """
  if classifier.task.probabilities is None:
    raise UserError(f"{classifier.task.name} has no probabilities; classifier.predictor.outputs(x) are its answers.")
  x = accepted(x, classifier.modality, classifier.x_shape)
  if not len(x):
    return np.zeros((0, classifier.task.outputs), np.float32)
  return classifier.task.probabilities(classifier.predictor.outputs(x)).astype(np.float32)


@public
def accuracy(classifier: Classifier, split: Split) -> float:
  """The task's score on a split: the fraction that is classified right.

  Example:
    >>> sslx.accuracy(classifier, data.test)

  Args:
    classifier: see `classify`.
    split: with labels, such as data.test.

  Returns:
    The score, from 0 to 1.

  Raises:
    UserError: a split without labels, of another shape than the classifier's, or with values that cannot be meant.
  """
  x, y = _examples(classifier, split)
  scores = classifier.task.scores(classifier.predictor.outputs(x), y)
  return float(scores[classifier.task.score.name])


@public
def plot_predictions(classifier: Classifier, split: Split, seed: int = 0) -> "Figure":
  """Forty random images of a split, each with the predicted class, and the true one where it differs.

  Example:
    >>> sslx.plot_predictions(classifier, data.test)

  Args:
    classifier: see `classify`.
    split: with labels, such as data.test.
    seed: which images are drawn.

  Returns:
    A matplotlib Figure, which a notebook draws; `.savefig("predictions.png")` writes it.

  Raises:
    UserError: as `accuracy`.
  """
  check_seed(seed)
  (x, y), task = _examples(classifier, split), classifier.task
  rows = np.random.default_rng(seed).permutation(len(split))[:SHOWN_PREDICTIONS]
  x = np.asarray(x[rows])
  outputs = classifier.predictor.outputs(x)
  if task.probabilities is None:
    raise UserError(f"{task.name} has no predicted classes to draw.")
  pictures = classifier.modality.draw(x)
  return figures.predictions(pictures, y[rows], task.decide(outputs), task.names, task.probabilities(outputs).max(1))


@public
def plot_confusion(classifier: Classifier, split: Split) -> "Figure":
  """How often each class of a split was taken for each.

  Example:
    >>> sslx.plot_confusion(classifier, data.test)

  Args:
    classifier: see `classify`.
    split: with labels, such as data.test.

  Returns:
    A matplotlib Figure, which a notebook draws; `.savefig("confusion.png")` writes it.

  Raises:
    UserError: as `accuracy`.
  """
  (x, y), task = _examples(classifier, split), classifier.task
  return figures.confusion(y, task.decide(classifier.predictor.outputs(x)), task.names)


def _examples(classifier: Classifier, split: Split) -> tuple[Any, np.ndarray]:
  """(x, y) of a split with targets, x as the classifier takes it."""
  same_shape("this split", split, classifier.x_shape)
  y = split.targets()
  if not len(split) or len(y) != len(split):
    raise UserError(f"this split has {len(split)} examples and {len(y)} labels; expected as many, and at least one.")
  return accepted(split.x, classifier.modality, classifier.x_shape), y


def same_shape(what: str, split: Split, shape: Any) -> None:
  """Raises UserError for examples of another shape than a run was made for."""
  if tuple(split.x.shape[1:]) != tuple(shape):
    raise UserError(f"{what}: its images are {tuple(split.x.shape[1:])}, the run was made for {tuple(shape)}.")


def check_seed(seed: int) -> None:
  """Raises UserError for what is no seed."""
  if not 0 <= seed <= SEEDS:
    raise UserError(f"seed={seed}: expected an integer from 0 to {SEEDS}.")
