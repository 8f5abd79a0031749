"""Without a test split: folds, what is not read, and labels answered by predictors that did not see them."""

import dataclasses

import numpy as np
import pytest

from sslx import nn
from sslx.data import Dataset, Split
from sslx.data.types import image_classes
from sslx.evaluation import evaluate, features, folds
from sslx.evaluation.bench import Bench, Case, draw
from sslx.evaluation.recipe import Recipe
from sslx.types import UserError

MODES = ("raw", "random", "scratch", "frozen", "full", "knn:3", "propagate")
RECIPE = Recipe(steps=3, batch_size=8)


@pytest.fixture
def own(toy) -> Dataset:
  """30 labelled images, no test split, and 20 images without labels."""
  kept = toy.train.part(np.arange(30))
  none = Split(np.zeros((0, *toy.x_shape), np.uint8), np.zeros(0, np.int32))
  return dataclasses.replace(toy, train=kept, test=none, unlabeled=Split(toy.train.x[30:50], None))


def bench_of(dataset: Dataset, sizes=(24,), repetitions=2, parts=5) -> Bench:
  like = nn.Representation(nn.build("conv:widths=4-6"), "flatten", {}, {}, dataset.modality.prepare)
  labelled = draw(dataset, sizes, repetitions, 0, folds=parts)
  return Bench(dataset, labelled, features.random(like, dataset)(7), RECIPE, 0)


def test_each_example_is_judged_once_in_a_repetition_and_never_by_what_learnt_from_it(own):
  labelled = bench_of(own, (6, 24)).labelled
  assert labelled.judges is not None
  assert labelled.folds is not None
  assert sorted(labelled.subsets) == list(range(10))
  assert [tuple(fold) for fold in labelled.folds.values()] == [(r, f, 5) for r in range(2) for f in range(5)]
  for repetition in range(2):
    judged = np.concatenate([labelled.judges[5 * repetition + fold] for fold in range(5)])
    np.testing.assert_array_equal(np.sort(judged), np.arange(30))
  for seed, sizes in labelled.subsets.items():
    assert set(sizes[6]) <= set(sizes[24])
    assert not set(sizes[24]) & set(labelled.judges[seed])
    assert np.bincount(own.train.y[sizes[6]]).tolist() == [2, 2, 2]
  assert not all(np.array_equal(labelled.judges[fold], labelled.judges[5 + fold]) for fold in range(5))


def test_the_labels_of_a_fold_change_its_scores_alone(own):
  """Poisoned where a fold is judged, the answers of its predictors stay as they are to the last bit."""
  bench = bench_of(own, repetitions=1)
  cases = [Case(mode, 24, 2) for mode in MODES]
  judge = bench.labelled.judges[2]
  y = own.train.y.copy()
  y[judge] = (y[judge] + 1) % 3
  poisoned = dataclasses.replace(own, train=dataclasses.replace(own.train, y=y))
  other = dataclasses.replace(bench, dataset=poisoned, memory={})
  for (case, ours), (_, theirs) in zip(evaluate.evaluate(bench, cases), evaluate.evaluate(other, cases), strict=True):
    np.testing.assert_array_equal(ours.outputs, theirs.outputs, err_msg=case.mode)
    assert len(ours.outputs) == 6
    assert ours.scores["accuracy"] == np.mean(ours.outputs.argmax(1) == own.train.y[judge])
    np.testing.assert_array_equal(theirs.targets, y[judge])


def test_labels_spread_over_unlabelled_examples_too(own):
  bench = bench_of(own)
  predictor = evaluate.train(bench, [Case("propagate", 24, 0)]).popitem()[1].predictor
  assert len(predictor.head.graph.bank) == 50
  np.testing.assert_array_equal(bench.reference("raw"), bench.source("raw")(own.pretraining_x))


@pytest.mark.parametrize("mode", ["frozen", "full", "propagate"])
def test_out_of_fold_answers_are_those_of_predictors_that_lack_the_fold(own, mode):
  labelled = draw(dataclasses.replace(own, test=own.train), (30,), 1, 0)
  bench = dataclasses.replace(bench_of(own), labelled=labelled)
  case = Case(mode, 30, 0)
  outputs = folds.out_of_fold(bench, case, 3)
  rows = bench.rows(case)
  for fit, judge in folds.split(own.task, own.train.y[rows], 3, 0):
    alone = dataclasses.replace(bench, labelled=labelled._replace(subsets={0: {20: rows[fit]}}), memory={})
    predictor = evaluate.train(alone, [Case(mode, 20, 0)]).popitem()[1].predictor
    np.testing.assert_allclose(outputs[judge], predictor.outputs(own.train.x[rows[judge]]), atol=1e-5)


def test_a_class_of_one_label_cannot_be_judged(own):
  y = np.zeros(30, np.int32)
  y[0], y[1:10] = 2, 1
  with pytest.raises(UserError, match="no test split, and 30 labelled examples cannot judge one another"):
    bench_of(dataclasses.replace(own, train=dataclasses.replace(own.train, y=y)))
  with pytest.raises(UserError, match="--labels: a subset of 25 labels: there are only 24"):
    bench_of(own, (25,))


def test_few_of_a_class_make_fewer_folds(own):
  y = np.repeat(np.arange(3), (15, 12, 3)).astype(np.int32)
  dataset = image_classes("few", ("a", "b", "c"), Split(own.train.x, y), own.test)
  assert folds.largest(dataset.task, y, 5) == 20
  assert len(bench_of(dataset, (20,), 1).labelled.subsets) == 3
