"""Answers of predictors are kept by their task, and their figures are drawn from what was kept."""

import dataclasses

import numpy as np
import pytest

from experiments.shared import pictures
from experiments.shared.pictures import PICTURED, Answers
from sslx.data import Dataset
from sslx.data.types import Split, image_classes
from sslx.evaluation.bench import Case, draw
from sslx.modalities import MODALITIES
from sslx.report import figures
from sslx.tasks import ASKED, TASKS
from sslx.tasks.classification import ACCURACY

N = 25  # test images
MADE = {"dataset": "toy", "settings": {"data": "1"}}
FROZEN, SCRATCH = Case("frozen", 10, 0), Case("scratch", 10, 0)


def data_of(name: str) -> tuple[Dataset, np.ndarray]:
  """A data set for a task, and answers to its test examples."""
  rng = np.random.default_rng(0)
  box = np.tile(np.array([[[1, 2, 2, 9, 9]]], np.float32), (N, 1, 1))
  names, y, answers = {
    "classification": (["cat", "dog"], rng.integers(0, 2, N), rng.normal(size=(N, 2))),
    "multilabel": (["cat", "dog"], rng.integers(0, 2, (N, 2)), rng.normal(size=(N, 2))),
    "regression": (["mass"], rng.normal(size=(N, 1)), rng.normal(size=(N, 1))),
    "segmentation": (["none", "cat"], rng.integers(0, 2, (N, 8, 8)), rng.integers(0, 2, (N, 8, 8)).astype(np.uint8)),
    "detection": (["cat", "dog"], box, np.concatenate([box, np.full((N, 1, 1), 0.8, np.float32)], 2)),
  }[name]
  split = Split(rng.integers(0, 255, (N, 8, 8, 1)).astype(np.uint8), y)
  return Dataset("toy", MODALITIES["image"], TASKS[name](names), split, split), answers


def test_of_few_training_examples_unlabelled_ones_are_looked_at_too():
  def values(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint8)[:, None, None, None]

  dataset = image_classes("toy", ("a", "b"), Split(values(0, 1, 2, 3), np.array([0, 1, 0, 1], np.int32)))
  x, classes = pictures.looked_at(dataset, 3, seed=0)
  rows = np.random.default_rng(0).permutation(4)[:3]
  assert (x.ravel().tolist(), classes.tolist()) == (rows.tolist(), (rows % 2).tolist())
  dataset = dataclasses.replace(dataset, unlabeled=Split(values(*range(10, 30)), None))
  np.testing.assert_array_equal(pictures.looked_at(dataset, 3, seed=0)[0], x)
  x, classes = pictures.looked_at(dataset, 14, seed=0)
  assert {int(value) for value in x.ravel() if value < 10} == {0, 1, 2, 3}
  assert len({*x.ravel().tolist()}) == 14
  assert classes.tolist() == [value % 2 if value < 10 else -1 for value in x.ravel().tolist()]
  assert classes.tolist() != sorted(classes.tolist(), reverse=True)  # they are mixed
  assert len(pictures.looked_at(dataset, 1000, seed=0)[0]) == 24
  bare = image_classes("toy", (), Split(values(1, 2, 3), None))
  assert pictures.looked_at(bare, 9, seed=0)[1] is None


def keep_and_read(folder, name: str, case: Case = FROZEN) -> dict[Case, Answers]:
  dataset, outputs = data_of(name)
  pictures.keep(folder, MADE, case, dataset.task, outputs)
  return pictures.kept(folder, MADE, [case])


@pytest.mark.parametrize("name", ["regression", "multilabel", "segmentation", "detection"])
def test_answers_are_kept_as_they_are(name, tmp_path):
  answers = keep_and_read(tmp_path, name)[FROZEN]
  outputs = data_of(name)[1]
  expected = outputs if name == "regression" else outputs[:PICTURED]  # masks and boxes of all examples are large
  np.testing.assert_array_equal(answers.guess, expected)
  assert answers.guess.dtype == outputs.dtype
  assert answers.confidence is None


def test_of_classes_the_decisions_about_all_examples_are_kept(tmp_path):
  answers = keep_and_read(tmp_path, "classification")[FROZEN]
  logits = data_of("classification")[1]
  np.testing.assert_array_equal(answers.guess, logits.argmax(1))
  np.testing.assert_allclose(answers.confidence, (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).max(1))
  (path,) = (tmp_path / "answers").iterdir()
  with np.load(path) as arrays:
    assert set(arrays) == {"guess", "confidence"}  # as sslx 0.1 wrote and reads it
  np.savez(path, guess=logits.argmax(1))
  assert pictures.kept(tmp_path, MADE, [FROZEN])[FROZEN].confidence is None


def test_what_is_not_drawn_is_not_kept(tmp_path):
  for case in (Case("full", 10, 0), Case("frozen", 10, 1)):
    assert keep_and_read(tmp_path, "regression", case) == {}
  dataset, outputs = data_of("regression")
  pictures.keep(tmp_path, MADE, FROZEN, dataset.task._replace(name="other"), outputs)
  assert list(tmp_path.iterdir()) == []


def test_damaged_answers_are_left_out(tmp_path):
  keep_and_read(tmp_path, "detection")
  (path,) = (tmp_path / "answers").iterdir()
  np.savez(path, confidence=np.zeros(3))
  assert pictures.kept(tmp_path, MADE, [FROZEN]) == {}


@pytest.mark.parametrize("name", ASKED)
def test_figures_of_each_task(name, tmp_path):
  dataset, _ = data_of(name)
  both = keep_and_read(tmp_path, name) | keep_and_read(tmp_path, name, SCRATCH)
  folder = tmp_path / "figures"
  pictures.draw_predictions(dataset, folder, both)
  expected = {f"{short}_{mode}" for short in figures.DRAWN[name] for mode in ("frozen", "scratch")}
  assert {path.stem for path in folder.iterdir()} == expected
  shown = pictures.drawn(folder, ACCURACY)
  assert {figure.path.stem for figure in shown} == expected  # each has a title and a caption
  assert len({figure.title for figure in shown}) == len(expected)
  dataset, _ = data_of("regression" if name == "classification" else "classification")
  pictures.draw_predictions(dataset, folder, {})
  assert list(folder.iterdir()) == []  # of a task that the report is not of
  assert pictures.drawn(folder, ACCURACY) == []


def test_those_with_the_fewest_labels_are_drawn(tmp_path, monkeypatch):
  dataset, outputs = data_of("regression")
  drawn = []
  monkeypatch.setattr(figures, "save", lambda figure, path: drawn.append((figure, path.stem)))
  monkeypatch.setattr(figures, "answers", lambda task, images, y, answers: {"scatter": float(answers[0, 0])})
  labels = {Case("frozen", n, 0): Answers(outputs * 0 + n) for n in (100, 10, 1000)}
  pictures.draw_predictions(dataset, tmp_path, labels | {Case("scratch", 100, 0): Answers(outputs * 0 + 7)})
  assert drawn == [(10.0, "scatter_frozen"), (7.0, "scatter_scratch")]


def test_a_test_split_smaller_than_the_pictures(tmp_path):
  dataset, outputs = data_of("segmentation")
  small = dataclasses.replace(dataset, test=dataset.test.part(np.arange(3)))
  pictures.keep(tmp_path, MADE, FROZEN, small.task, outputs[:3])
  pictures.draw_predictions(small, tmp_path / "figures", pictures.kept(tmp_path, MADE, [FROZEN]))
  assert (tmp_path / "figures/masks_frozen.png").exists()


def test_answers_of_folds_are_put_together_in_the_order_of_the_labels(toy, tmp_path):
  """Each labelled image is answered by the model that did not learn from it; of the first repetition alone."""
  own = dataclasses.replace(toy, train=toy.train.part(np.arange(30)), test=toy.test.part(np.arange(0)))
  labelled = draw(own, [20], 2, 0, folds=3)
  assert labelled.judges is not None
  logits = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
  cases = [Case("frozen", 20, seed) for seed in labelled.subsets]
  for case in cases:
    made = logits if case.subset_seed < 3 else -logits
    pictures.keep(tmp_path, MADE, case, own.task, made[labelled.judges[case.subset_seed]], labelled)
  (case,) = whole = pictures.kept(tmp_path, MADE, [*cases, Case("frozen", 20, 99)], labelled)
  np.testing.assert_array_equal(whole[case].guess, logits.argmax(1))
  pictures.draw_predictions(own, tmp_path / "figures", whole)
  assert {path.name for path in (tmp_path / "figures").iterdir()} == {"predictions_frozen.png", "confusion_frozen.png"}
  (tmp_path / "answers" / next(path.name for path in (tmp_path / "answers").glob("*-1.npz"))).unlink()
  assert pictures.kept(tmp_path, MADE, cases, labelled) == {}
