"""Confidences that are as high as they are right: a temperature for a classifier's logits, and how well they agree.

    T = argmin_T  mean_i CE(z_i / T, y_i),    confidences softmax(z / T)

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599: temperature scaling
(section 4.2) and the expected calibration error (section 2). Which class is answered stays, as T is one number above 0.
They choose T on a validation split; here it is chosen on the labels alone, answered out of fold. As these may be few,
and all answered right, which would make T nothing and every confidence 1, each label of n is one of the others with a
probability of about 1 / (n + 2), as in Platt: Probabilistic Outputs for Support Vector Machines, 1999, section 2.2.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special

from sslx.evaluation.bench import Bench, Case
from sslx.evaluation.folds import answered, out_of_fold
from sslx.types import UserError

BINS = 15  # as Guo et al.
SMALLEST, LARGEST = 1e-3, 1e3  # temperatures
CALIBRATED = ("classification", "multilabel")  # tasks


class Bin(NamedTuple):
  """Answers whose confidences are near each other."""

  low: float
  high: float
  count: int
  confidence: float
  """Their mean; nan where there are none."""
  accuracy: float
  """The share of them that is right; nan where there are none."""


class Calibration(NamedTuple):
  """How a temperature was chosen, and what it does, all by answers to labels that their predictors had not seen."""

  temperature: float
  examples: int
  accuracy: float
  """The share of right answers, of which the confidences are to tell."""
  confidence_before: float
  """Mean of the answers' confidences."""
  confidence_after: float
  error_before: float
  """The expected calibration error."""
  error_after: float
  bins_before: list[Bin]
  bins_after: list[Bin]


def temperature(logits: np.ndarray, y: np.ndarray) -> float:
  """The T > 0 that makes y likeliest: logits [n,K] of classes with y i32 [n], or of several yeses and noes with y
  [n,K] of 0 and 1.

  The likelihood has a single maximum over 1 / T. Where it is best not to believe the answers at all, it is at 0.
  """
  nll = _several(logits, y) if y.ndim == 2 else _classes(logits, y)
  bounds = np.log(SMALLEST), np.log(LARGEST)
  found = scipy.optimize.minimize_scalar(lambda t: nll(np.exp(-t)), bounds=bounds, method="bounded")
  return float(np.exp(found.x))


def _classes(logits: np.ndarray, y: np.ndarray) -> Callable[[float], float]:
  """1 / T -> mean cross-entropy."""
  z, n = logits.astype(np.float64), len(logits)
  z = z - z.max(1, keepdims=True)
  doubt = 1 / (n + 2)
  target = (1 - doubt) * z[np.arange(n), y] + doubt * z.mean(1)
  return lambda scale: float(np.mean(scipy.special.logsumexp(scale * z, axis=1) - scale * target))


def _several(logits: np.ndarray, y: np.ndarray) -> Callable[[float], float]:
  z, doubt = logits.astype(np.float64), 1 / (len(logits) + 2)
  target = (1 - doubt) * (y > 0) + doubt / 2
  return lambda scale: float(np.mean(np.logaddexp(0, scale * z) - scale * z * target))


def expected_calibration_error(probabilities: np.ndarray, y: np.ndarray, bins: int = BINS) -> float:
  """Mean distance between confidence and share of right answers, over bins of equal width, weighed by their counts.

  probabilities: [n,K] with y i32 [n]: the confidence is that of the likeliest class. With y [n,K] of 0 and 1: that of
  each yes or no by itself.
  """
  parts = reliability(probabilities, y, bins)
  total = sum(part.count for part in parts)
  return sum(part.count / total * abs(part.accuracy - part.confidence) for part in parts if part.count)


def reliability(probabilities: np.ndarray, y: np.ndarray, bins: int = BINS) -> list[Bin]:
  """The bins of that error, of all confidences from 0 to 1; a confidence at an edge belongs to the bin below it."""
  sure, right = confidences(probabilities, y)
  edges = np.linspace(0, 1, bins + 1)
  place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
  parts = []
  for k in range(bins):
    here = place == k
    count = int(here.sum())
    means = (float(sure[here].mean()), float(right[here].mean())) if count else (np.nan, np.nan)
    parts.append(Bin(float(edges[k]), float(edges[k + 1]), count, *means))
  return parts


def confidences(probabilities: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(confidence of each answer, whether it is right): [n] of classes, [n K] of several yeses and noes."""
  if y.ndim == 2:
    return np.maximum(probabilities, 1 - probabilities).ravel(), ((probabilities > 0.5) == (y > 0)).ravel()
  return probabilities.max(1), probabilities.argmax(1) == y


def calibrate(bench: Bench, case: Case, folds: int = 5, one_part: bool = False) -> Calibration | None:
  """The temperature of a case's predictor, by its own labels out of fold; None where its task has no confidences of
  answers, or the labels are too few to be parted.

  one_part: only the first fold is answered, which takes a part of the time.
  """
  if bench.task.name not in CALIBRATED:
    return None
  rows, y = bench.rows(case), bench.dataset.train.targets()
  try:
    if one_part:
      judge, logits = next(answered(bench, case, folds))
      rows = rows[judge]
    else:
      logits = out_of_fold(bench, case, folds)
  except UserError:
    return None
  return calibration(logits, y[rows])


def calibration(logits: np.ndarray, y: np.ndarray) -> Calibration:
  """The temperature for logits [n,K] and what it does; y as for `temperature`."""
  chosen = temperature(logits, y)
  likely = scipy.special.expit if y.ndim == 2 else lambda z: scipy.special.softmax(z, axis=-1)
  before, after = likely(logits.astype(np.float64)), likely(logits.astype(np.float64) / chosen)
  return Calibration(
    chosen,
    len(y),
    float(confidences(before, y)[1].mean()),
    float(confidences(before, y)[0].mean()),
    float(confidences(after, y)[0].mean()),
    expected_calibration_error(before, y),
    expected_calibration_error(after, y),
    reliability(before, y),
    reliability(after, y),
  )
