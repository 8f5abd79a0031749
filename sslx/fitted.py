"""What `sslx.fit` gives, and what is asked of it: scores of its predictions, and pictures of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.special

from sslx.calls import public
from sslx.checks import check_seed, same_shape
from sslx.data import Split
from sslx.data.inputs import accepted
from sslx.evaluation.bench import Predictor
from sslx.report import figures
from sslx.types import Modality, Task, UserError

if TYPE_CHECKING:
  from matplotlib.figure import Figure

SHOWN_PREDICTIONS = 40  # examples of a figure
SHOWN_NUMBERS = 1000  # of one whose examples are points


class Fitted(NamedTuple):
  """An encoder with a head for a task: `fit` makes it."""

  mode: str
  rows: np.ndarray
  """i64 [N]: the training examples whose labels it was trained on."""
  task: Task
  modality: Modality
  x_shape: tuple[int, ...]
  predictor: Predictor
  meaning: Any = 0
  """As `Dataset.meaning`."""
  temperature: float = 1.0
  """What logits are divided by before they become probabilities, so that these are as sure as they are right."""
  about: Mapping[str, Any] = {}
  """What it was made of and what it is worth, in JSON's types: data set, method, encoder, labels, score ..."""

  def __repr__(self) -> str:
    total, trainable = self.predictor.total, self.predictor.trainable
    how = f"{self.task.name}, {self.mode}, {len(self.rows):,} labels"
    return f"Fitted({how}, {trainable:,} of {total:,} parameters trained)"


def answers(fitted: Fitted, outputs: np.ndarray) -> np.ndarray:
  """What `predict` gives, of a predictor's outputs [N,...]."""
  task = fitted.task
  if task.name == "segmentation":  # maps of places may reach beyond the image
    return outputs[:, : fitted.x_shape[0], : fitted.x_shape[1]]
  if task.name == "multilabel":
    outputs = scipy.special.expit(outputs / fitted.temperature)
  elif task.probabilities is not None:
    outputs = task.probabilities(outputs / fitted.temperature)
  return outputs.astype(np.float32)


@public
def scores(fitted: Fitted, split: Split) -> dict[str, float]:
  """All scores of the task on a split, by name; the first is the one that `accuracy` gives.

  classification: accuracy.
  multilabel: mAP, the mean average precision over the classes, and accuracy, the share of right yeses and noes.
  regression: R2, and MAE_NAME of each number, the mean absolute error in its units; of several numbers also R2_NAME.
  segmentation: mIoU, the mean intersection over union of the classes, foreground_IoU and pixel_accuracy.
  detection: AP50, the average precision where boxes overlap by half, and AP, its mean over overlaps from .5 to .95.

  All are 1 at best and at least 0, but for errors, and for R2: 0 is what the mean of the labels reaches.

  Example:
    >>> sslx.scores(fitted, data.test)

  Args:
    fitted: see `fit`.
    split: with labels, such as data.test.

  Returns:
    The scores by name, as above by the task of `fitted`.

  Raises:
    UserError: a split without labels, of another shape than the training examples, or with values that cannot be meant.
  """
  x, y = _examples(fitted, split)
  return {name: float(value) for name, value in fitted.task.scores(fitted.predictor.outputs(x), y).items()}


@public
def accuracy(fitted: Fitted, split: Split) -> float:
  """The task's score on a split: of classes, the fraction that is classified right.

  Example:
    >>> sslx.accuracy(fitted, data.test)

  Args:
    fitted: see `fit`.
    split: with labels, such as data.test.

  Returns:
    The first of `scores`, such as accuracy, mAP, R2, mIoU or AP50.

  Raises:
    UserError: as `scores`.
  """
  return scores(fitted, split)[fitted.task.score.name]


@public
def plot_predictions(fitted: Fitted, split: Split, seed: int = 0) -> "Figure":
  """Random examples of a split, with what is predicted for them and what is true.

  Example:
    >>> sslx.plot_predictions(fitted, data.test)

  Args:
    fitted: see `fit`.
    split: with labels, such as data.test.
    seed: which examples are drawn.

  Returns:
    A matplotlib Figure, which a notebook draws; `.savefig("predictions.png")` writes it. Of classes: forty images, each
    with the predicted class, and the true one where it differs. Of numbers: what is predicted against what is true, of
    up to 1,000 examples. Of others: images with their labels, masks or boxes.

  Raises:
    UserError: as `scores`.
  """
  check_seed(seed)
  (x, y), task = _examples(fitted, split), fitted.task
  shown = SHOWN_NUMBERS if task.name == "regression" else SHOWN_PREDICTIONS
  rows = np.random.default_rng(seed).permutation(len(split))[:shown]
  x, y = np.asarray(x[rows]), y[rows]
  outputs, pictures = fitted.predictor.outputs(x), fitted.modality.draw(x[:SHOWN_PREDICTIONS], fitted.meaning)
  if task.probabilities is not None:
    return figures.predictions(pictures, y, task.decide(outputs), task.names, answers(fitted, outputs).max(1))
  (figure,) = figures.answers(task, pictures, y, outputs).values()
  return figure


@public
def plot_confusion(fitted: Fitted, split: Split) -> "Figure":
  """How often each class of a split was taken for each.

  Example:
    >>> sslx.plot_confusion(fitted, data.test)

  Args:
    fitted: see `fit`.
    split: with labels, such as data.test.

  Returns:
    A matplotlib Figure, which a notebook draws; `.savefig("confusion.png")` writes it.

  Raises:
    UserError: a task other than classification, and as `scores`.
  """
  task = fitted.task
  if task.name != "classification":
    raise UserError(f"fitted: its task is {task.name}, and classes alone are confused; see sslx.plot_predictions.")
  x, y = _examples(fitted, split)
  return figures.confusion(y, task.decide(fitted.predictor.outputs(x)), task.names)


def _examples(fitted: Fitted, split: Split) -> tuple[Any, np.ndarray]:
  """(x, y) of a split with targets, x as the encoder takes it."""
  same_shape("this split", split, fitted.x_shape)
  y = split.targets()
  if not len(split) or len(y) != len(split):
    raise UserError(f"this split has {len(split)} examples and {len(y)} labels; expected as many, and at least one.")
  return accepted(split.x, fitted.modality, fitted.x_shape), y
