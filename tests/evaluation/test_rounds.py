"""Simulated labelling: nothing is read before it is chosen, and each strategy sees what it says."""

import itertools

import numpy as np
import pytest

from sslx.evaluation import rounds, selection
from sslx.tasks import TASKS

TASK = TASKS["classification"](("a", "b", "c"))


def pool(seed=0, n=240):
  rng = np.random.default_rng(seed)
  y = rng.integers(0, 3, n).astype(np.int32)
  features = (3 * np.eye(3, 6)[y] + rng.normal(size=(n, 6))).astype(np.float32)
  return rounds.pool_of(features, y, TASK)


def run(strategy, pool, count=3, size=12, seed=0):
  return list(rounds.simulate(strategy, pool, count, size, seed))


@pytest.mark.parametrize("strategy", rounds.STRATEGIES)
def test_labels_grow_by_a_round_and_stay(strategy):
  made = run(strategy, pool())
  assert [len(each.rows) for each in made] == [12, 24, 36]
  for before, after in itertools.pairwise(made):
    assert after.rows[: len(before.rows)].tolist() == before.rows.tolist()
  assert len(set(made[-1].rows)) == 36
  again = run(strategy, pool())
  assert [each.rows.tolist() for each in again] == [each.rows.tolist() for each in made]
  np.testing.assert_array_equal(again[-1].head.outputs(pool().features), made[-1].head.outputs(pool().features))


@pytest.mark.parametrize("strategy", rounds.STRATEGIES)
def test_no_label_is_read_before_its_example_is_chosen(strategy):
  true = pool()
  rows = run(strategy, true)[-1].rows
  y = np.zeros_like(true.y)
  y[rows[:24]] = true.y[rows[:24]]  # those of the last round are wrong, too
  made = run(strategy, true._replace(y=y))
  assert made[-1].rows.tolist() == rows.tolist()
  np.testing.assert_array_equal(made[1].head.outputs(true.features), run(strategy, true)[1].head.outputs(true.features))


def test_margin_begins_as_random_does_and_then_asks_its_head():
  each = pool()
  random, margin = run("random", each), run("margin", each)
  assert margin[0].rows.tolist() == random[0].rows.tolist()
  rest = np.setdiff1d(np.arange(len(each.y)), margin[0].rows)
  p = TASK.probabilities(margin[0].head.outputs(each.features[rest]))
  assert margin[1].rows[12:].tolist() == rest[selection.margin(p, 12).rows].tolist()


def test_auto_is_typical_and_then_margin(monkeypatch):
  monkeypatch.setattr(selection, "FEW", 8)  # 24 labels of three classes
  each = pool()
  auto, typical = run("auto", each), run("typical", each)
  assert auto[1].rows.tolist() == typical[1].rows.tolist()
  rest = np.setdiff1d(np.arange(len(each.y)), auto[1].rows)
  p = TASK.probabilities(auto[1].head.outputs(each.features[rest]))
  assert auto[2].rows[24:].tolist() == rest[selection.margin(p, 12).rows].tolist()


def test_seeds_differ():
  assert len({tuple(run("random", pool(), seed=seed)[-1].rows) for seed in range(4)}) == 4
