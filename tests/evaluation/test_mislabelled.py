"""Suspects equal what the paper's definitions give by hand; planted errors are found."""

import dataclasses

import numpy as np

from sslx.data import load
from sslx.evaluation import mislabelled
from sslx.evaluation.bench import Bench, Case, Labelled
from sslx.evaluation.features import raw
from sslx.evaluation.folds import out_of_fold
from sslx.evaluation.recipe import Recipe

P = np.array([
  [0.9, 0.1, 0.0],  # labelled 0, reaches t_0
  [0.4, 0.45, 0.15],  # labelled 0; its 0.45 is below t_1 = 0.5: nothing is likely, but 1 is the most probable
  [0.35, 0.65, 0.0],  # labelled 0, reaches t_1 alone: a confident suspect
  [0.1, 0.8, 0.1],  # labelled 1
  [0.7, 0.2, 0.1],  # labelled 1, reaches t_0 = 0.55: a confident suspect
  [0.0, 0.5, 0.5],  # labelled 1, reaches both t_1 and t_2: the first of equals
  [0.2, 0.25, 0.55],  # labelled 2
  [0.0, 0.54, 0.46],  # labelled 2, reaches t_1 and t_2 = 0.4433: 1 is more probable
  [0.56, 0.12, 0.32],  # labelled 2, reaches t_0 alone: a confident suspect
])  # fmt: skip
Y = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2], np.int32)


def test_thresholds_are_mean_confidences():
  np.testing.assert_allclose(mislabelled.thresholds(P, Y), [0.55, 0.5, (0.55 + 0.46 + 0.32) / 3])


def test_suspects_by_hand():
  assert mislabelled.likely_classes(P, Y).tolist() == [0, -1, 1, 1, 0, 1, 2, 1, 0]
  found = mislabelled.suspects(P, Y)
  assert found.rows.tolist() == [4, 2, 8, 7, 1]
  assert found.likely.tolist() == [0, 1, 0, 1, 1]
  assert found.confident.tolist() == [True, True, True, True, False]
  np.testing.assert_allclose(found.margins, [-0.5, -0.3, -0.24, -0.08, -0.05])


def test_a_label_that_is_most_probable_is_not_suspected():
  """Its class is below its threshold, another one reaches its own."""
  p = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.6, 0.4], [0.6, 0.4]])
  y = np.array([0, 0, 0, 1, 1], np.int32)
  assert mislabelled.likely_classes(p, y)[2] == 1
  assert 2 not in mislabelled.suspects(p, y).rows


def test_a_class_without_examples_is_never_confidently_likely():
  found = mislabelled.suspects(np.array([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]]), np.array([0, 1], np.int32))
  assert mislabelled.thresholds(P[:3], Y[:3])[1:].tolist() == [np.inf, np.inf]
  assert found.rows.tolist() == [0]
  assert not found.confident.any()


def test_examples_that_are_sure_of_their_labels_are_no_suspects():
  assert not len(mislabelled.suspects(np.eye(3)[Y], Y).rows)


def test_a_class_whose_examples_are_all_alike_reaches_its_threshold():
  p = np.full((7, 2), (0.7, 0.3), np.float32)
  assert mislabelled.likely_classes(p, np.zeros(7, np.int32)).tolist() == [0] * 7


def test_suspects_equal_a_naive_loop():
  rng = np.random.default_rng(0)
  p = rng.dirichlet(np.ones(5) * 0.5, 400)
  y = np.where(rng.random(400) < 0.2, rng.integers(0, 5, 400), p.argmax(1)).astype(np.int32)
  expected = []
  t = [p[y == j, j].mean() for j in range(5)]
  for i in range(400):
    margin = p[i, y[i]] - max(p[i, j] for j in range(5) if j != y[i])
    if margin < 0:
      candidates = [j for j in range(5) if p[i, j] >= t[j]]
      best = max(candidates, key=lambda j: p[i, j]) if candidates else y[i]
      confident = best != y[i]
      expected.append((not confident, margin, i, best if confident else p[i].argmax()))
  found = mislabelled.suspects(p, y)
  assert len({each[0] for each in expected}) == 2
  assert [each[2:] for each in sorted(expected)] == list(zip(found.rows, found.likely, strict=True))


def test_planted_errors_are_found():
  """30 of 300 digits get another class. By raw pixels most are found, and by features of an encoder nearly all are, see
  docs/labels.md.
  """
  dataset = load("mnist")
  rows = dataset.task.subset(dataset.train.y, [300], 0, "balanced")[300]
  rng = np.random.default_rng(0)
  wrong = rng.permutation(300)[:30]
  y = dataset.train.y.copy()
  y[rows[wrong]] = (y[rows[wrong]] + rng.integers(1, 10, 30)) % 10
  changed = dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, y=y))
  bench = Bench(changed, Labelled({0: {300: rows}}, None), raw(changed, changed.task), Recipe(), 0)
  found = mislabelled.suspects(changed.task.probabilities(out_of_fold(bench, Case("frozen", 300, 0))), y[rows])
  hits = np.isin(found.rows, wrong)
  confident = hits[found.confident]
  print(f"confident: precision {confident.mean():.2f}, recall {confident.sum() / 30:.2f}; ", end="")
  print(f"all: precision {hits.mean():.2f}, recall {hits.sum() / 30:.2f}")
  assert confident.mean() > 0.5
  assert confident.sum() / 30 > 0.55
  assert hits.sum() / 30 > 0.9
  assert hits[:10].sum() >= 7
