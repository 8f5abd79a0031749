"""Temperatures and calibration errors, against closed forms and a naive reference; an unsure head that is mended."""

import dataclasses

import jax
import numpy as np
import pytest
import scipy.special

from sslx import nn
from sslx.evaluation import calibration, evaluate, folds
from sslx.evaluation.bench import Bench, Case, draw
from sslx.evaluation.recipe import Recipe
from sslx.tasks.classification import fit_logistic
from sslx.types import UserError


def drawn(logits: np.ndarray, seed: int) -> np.ndarray:
  """Labels that the logits' own probabilities draw."""
  p = scipy.special.softmax(logits, axis=1)
  return (p.cumsum(1) < np.random.default_rng(seed).random((len(p), 1))).sum(1).astype(np.int32)


@pytest.mark.parametrize("factor", [0.05, 0.5, 1.0, 3.0, 30.0])
def test_the_temperature_undoes_a_factor(factor):
  logits = np.random.default_rng(0).normal(0, 2, (20_000, 5))
  y = drawn(logits, 1)
  assert calibration.temperature(factor * logits, y) == pytest.approx(factor, rel=0.05)
  both = (np.random.default_rng(2).random(logits.shape) < scipy.special.expit(logits)).astype(np.uint8)
  assert calibration.temperature(factor * logits, both) == pytest.approx(factor, rel=0.05)


def test_the_temperature_is_the_least_loss_of_a_grid():
  rng = np.random.default_rng(3)
  logits, y = rng.normal(0, 1, (60, 4)).astype(np.float32), rng.integers(0, 4, 60)

  def loss(t):
    target = np.full((60, 4), 1 / 62 / 4)
    target[np.arange(60), y] += 61 / 62
    return -(target * scipy.special.log_softmax(logits / t, axis=1)).sum(1).mean()

  grid = np.exp(np.linspace(np.log(1e-2), np.log(1e3), 2000))
  chosen = calibration.temperature(logits, y)
  assert loss(chosen) <= min(map(loss, grid)) + 1e-9


@pytest.mark.parametrize("n", [3, 30, 300])
def test_few_answers_that_are_all_right_are_not_believed_without_a_doubt(n):
  y = np.arange(n) % 3
  logits = np.eye(3)[y]
  p = scipy.special.softmax(logits / calibration.temperature(logits, y), axis=1)
  assert p.max(1) == pytest.approx(np.full(n, 1 - 2 / 3 / (n + 2)), abs=1e-4)
  both = np.tile([[0, 1]], (n, 1))
  p = scipy.special.expit((2 * both - 1) / calibration.temperature(2 * both - 1, both))
  assert p[:, 1] == pytest.approx(np.full(n, 1 - 1 / 2 / (n + 2)), abs=1e-4)


def test_answers_that_are_all_wrong_are_not_believed():
  logits = np.eye(3, dtype=np.float32)
  assert calibration.LARGEST / 2 <= calibration.temperature(logits, np.array([1, 2, 0])) <= calibration.LARGEST
  assert np.isfinite(calibration.calibration(1000 * logits, np.arange(3)).error_after)


def naive_error(p, y, bins):
  """As the paper writes it: bins (m/M, (m+1)/M]."""
  total = 0.0
  for m in range(bins):
    members = [i for i in range(len(y)) if m / bins < max(p[i]) <= (m + 1) / bins]
    if members:
      right = sum(int(np.argmax(p[i]) == y[i]) for i in members) / len(members)
      sure = sum(max(p[i]) for i in members) / len(members)
      total += len(members) / len(y) * abs(right - sure)
  return total


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_the_calibration_error_is_that_of_the_paper(bins):
  rng = np.random.default_rng(4)
  p = rng.dirichlet(np.ones(3), 500)
  p[0], p[1] = (0.5, 0.25, 0.25), (1, 0, 0)  # at edges
  y = rng.integers(0, 3, 500)
  assert calibration.expected_calibration_error(p, y, bins) == pytest.approx(naive_error(p, y, bins), abs=1e-12)
  parts = calibration.reliability(p, y, bins)
  assert sum(part.count for part in parts) == 500
  assert [part.low for part in parts[1:]] == [part.high for part in parts[:-1]]


def test_errors_of_several_yeses_and_noes():
  p, y = np.array([[0.9, 0.2], [0.9, 0.4]]), np.array([[1, 0], [0, 1]])
  sure, right = calibration.confidences(p, y)
  np.testing.assert_allclose(sure, [0.9, 0.8, 0.9, 0.6])
  assert right.tolist() == [True, True, False, False]
  assert calibration.expected_calibration_error(p, y, 2) == pytest.approx(0.8 - 0.5)


# ---- a head that is right and unsure ---------------------------------------------------------------------------------


@pytest.fixture
def bench(toy):
  """Whose head frozen is held so small by its L2 that it is right more often than it says."""
  encoder = nn.build("conv:widths=8-12")
  weights = nn.init(encoder, jax.random.key(1), toy.modality.prepare(toy.train.x[:2]))
  represent = nn.Representation(encoder, "flatten", *weights, toy.modality.prepare)

  def fit_head(features, y, reference, **how):
    how.pop("heldout", None)
    return fit_logistic(features, y, 3, reference, l2_grid=(3.0,), scalings=("standardize",), **how)

  data = dataclasses.replace(toy, task=toy.task._replace(fit_head=fit_head))
  return Bench(data, draw(data, [120, 3], 1, 0), represent, Recipe(), 0)


def test_an_unsure_head_becomes_as_sure_as_it_is_right(bench, toy):
  case = Case("frozen", 120, 0)
  made = calibration.calibrate(bench, case)
  assert made is not None
  assert made.examples == 120
  assert made.accuracy > made.confidence_before + 0.2  # right, and unsure of it
  assert made.temperature < 0.3
  assert made.error_after < made.error_before / 2
  assert abs(made.confidence_after - made.accuracy) < 0.08
  # On examples that neither the head nor the temperature has seen:
  predictor = evaluate.train(bench, [case])[case].predictor
  logits, y = predictor.outputs(toy.test.x), toy.test.y
  before, after = (
    calibration.expected_calibration_error(scipy.special.softmax(logits / t, axis=1), y) for t in (1, made.temperature)
  )
  assert after < before / 2
  np.testing.assert_array_equal(logits.argmax(1), (logits / made.temperature).argmax(1))


def test_the_labels_answer_out_of_fold(bench, monkeypatch):
  """In fold, a head that knows its labels by heart would be told to be sure."""
  asked = []
  original = folds.out_of_fold
  monkeypatch.setattr(calibration, "out_of_fold", lambda *given: asked.append(given) or original(*given))
  case = Case("frozen", 120, 0)
  calibration.calibrate(bench, case, 4)
  assert asked == [(bench, case, 4)]


def test_one_label_of_each_class_is_too_few(bench):
  assert calibration.calibrate(bench, Case("frozen", 3, 0)) is None


def test_numbers_have_no_confidences(bench, monkeypatch):
  monkeypatch.setattr(calibration, "out_of_fold", lambda *given: pytest.fail("nothing is trained"))
  task = bench.task._replace(name="regression")
  other = dataclasses.replace(bench, dataset=dataclasses.replace(bench.dataset, task=task))
  assert calibration.calibrate(other, Case("frozen", 120, 0)) is None


def test_too_few_labels_is_what_the_folds_say(bench):
  with pytest.raises(UserError, match="cannot judge one another"):
    folds.out_of_fold(bench, Case("frozen", 3, 0), 5)
