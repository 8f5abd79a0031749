"""docs/make_overview.py: the picture of README.md has every method, and what it shows is what a method sees."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from sslx import data
from sslx.pretext import METHODS
from sslx.report import records, statistics
from sslx.types import UserError

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("make_overview", ROOT / "docs/make_overview.py")
assert SPEC
assert SPEC.loader
overview = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(overview)


def test_every_method_is_in_one_group_or_told_to_be_elsewhere():
  names = [name for group in overview.GROUPS for name in group.methods] + list(overview.ELSEWHERE)
  assert sorted(names) == sorted(METHODS)


def rows(dataset: str) -> list[dict]:
  lines = {("none", mode): 0.7 for mode in overview.BASELINES} | {
    ("rotation", "frozen"): 0.9,
    ("denoise", "frozen"): 0.8,
  }
  shared = {"experiment": "compare", "dataset": dataset, "encoder": "conv", "labels": overview.LABELS}
  return [
    {**shared, "method": method, "mode": mode, "subset_seed": seed, "test_accuracy": score + 0.01 * seed}
    for (method, mode), score in lines.items()
    for seed in range(3)
  ]


def test_the_best_group_is_first_and_groups_without_rows_are_left_out(tmp_path, monkeypatch):
  drawn = []
  monkeypatch.setattr(overview, "PICTURE", tmp_path / "overview.png")
  seen = overview.seen
  monkeypatch.setattr(overview, "seen", lambda group, x, dataset: drawn.append(group.title) or seen(group, x, dataset))
  for name in ("digits", "clothes"):
    records.write_rows(tmp_path / name / "results.jsonl", rows(name))
  overview.main([tmp_path / "digits", tmp_path / "clothes"])
  assert drawn == ["a turned image"] * 2 + ["noise on the image"] * 2  # a digit and a photograph each
  assert (tmp_path / "overview.png").stat().st_size > 10_000


def test_what_is_seen_is_what_the_method_is_given():
  digits = data.load("mnist")
  x = np.asarray(digits.train.x[overview.DIGIT], np.float32) / 255
  groups = {group.title: group for group in overview.GROUPS}
  np.testing.assert_array_equal(overview.seen(groups["the image itself"], x, digits)[0], x)
  np.testing.assert_array_equal(overview.seen(groups["a turned image"], x, digits)[0], np.rot90(x))
  assert len(overview.seen(groups["two random views"], overview.photograph(), digits)) == 2


def test_a_run_with_other_labels_is_one_line(tmp_path):
  records.write_rows(tmp_path / "results.jsonl", [{**row, "labels": 20} for row in rows("digits")])
  with pytest.raises(UserError, match="no rows with 100 labels; name a directory"):
    overview.entries_of(tmp_path)


def test_intervals_are_students(tmp_path):
  records.write_rows(tmp_path / "results.jsonl", rows("digits"))
  entry = next(e for e in overview.entries_of(tmp_path) if e.method == "rotation")
  low, high = overview.intervals.t_interval(entry.values)
  assert (low + high) / 2 == pytest.approx(entry.mean)
  assert high - low == pytest.approx(2 * 4.302653 * 0.01 / 3**0.5, rel=1e-5)
  assert statistics.number(entry.score, entry.mean) == "91.0"
