"""sslx.report.statistics: numbers against closed forms."""

import numpy as np
import pytest
from report_rows import FROZEN, SCRATCH, entry, row, rows

from sslx import report
from sslx.report import statistics
from sslx.types import UserError


def test_t_interval_matches_the_closed_form():
  line = entry(report.summarise(rows(scratch=SCRATCH, frozen=FROZEN)), "frozen")
  half = 4.302652729911275 * 0.01 / np.sqrt(3)  # t(0.975, 2 degrees of freedom), sd 0.01, three pairs
  np.testing.assert_allclose([line.difference, line.low, line.high], [0.02, 0.02 - half, 0.02 + half])
  np.testing.assert_allclose([line.mean, line.std], [0.83, np.sqrt(0.0003)])
  assert (line.n, line.pairs, line.seconds) == (3, 3, 2.0)
  assert [getattr(line, f"parameters_{kind}") for kind in ("total", "trainable", "frozen")] == [1000, 10, 990]
  baseline = entry(report.summarise(rows(scratch=SCRATCH)), "scratch")
  assert baseline.difference is baseline.low is baseline.high is None


def test_pairs_are_made_by_seed():
  given = rows(scratch=SCRATCH, frozen=FROZEN)
  straight = entry(report.summarise(given), "frozen")
  order = np.random.default_rng(0).permutation(len(given))
  assert entry(report.summarise([given[i] for i in order]), "frozen") == straight
  missing = [r for r in given if (r["mode"], r["subset_seed"]) != ("scratch", 1)]
  line = entry(report.summarise(missing), "frozen")
  assert (line.n, line.pairs) == (3, 2)
  np.testing.assert_allclose(line.difference, 0.02)  # of 0.01 and 0.03: seed 1 has no partner
  assert "(2 pairs)" in report.markdown(report.results_cells(report.summarise(missing)))


def test_the_last_of_equal_rows_counts():
  given = [row("frozen", 0, 0.1), *rows(scratch=SCRATCH, frozen=FROZEN)]
  assert entry(report.summarise(given), "frozen").values == FROZEN


def test_order_is_labels_ascending_then_modes_as_first_seen():
  given = rows(1000, frozen=[0.9], scratch=[0.9]) + rows(10, scratch=[0.5], raw=[0.4], frozen=[0.6])
  order = [(e.labels, e.mode) for e in report.summarise(given)]
  assert order == [(10, "frozen"), (10, "scratch"), (10, "raw"), (1000, "frozen"), (1000, "scratch")]


def test_the_baseline_of_another_method_will_do_but_not_of_another_encoder():
  given = rows(frozen=FROZEN) + [r | {"method": "supervised"} for r in rows(scratch=SCRATCH)]
  np.testing.assert_allclose(entry(report.summarise(given), "frozen").difference, 0.02)
  given = rows(frozen=FROZEN) + [r | {"encoder": "mlp"} for r in rows(scratch=SCRATCH)]
  assert entry(report.summarise(given), "frozen").difference is None


@pytest.mark.parametrize("bad", [None, float("nan")])
def test_a_row_without_accuracy_is_an_error(bad):
  with pytest.raises(UserError, match="row 1: test_accuracy"):
    report.summarise([row("frozen", 0, bad)])


def test_a_reference_is_what_its_row_says_it_is():
  """Of a mode that the report has never heard of; of a row that is older than the entry, by its mode's name."""
  told = {"dataset": "toy", "encoder": "conv", "method": "denoise", "labels": 10, "subset_seed": 0}
  rows = [
    {**told, "mode": "scratch", "test_accuracy": 0.5},
    {**told, "mode": "raw", "test_accuracy": 0.6},
    {**told, "mode": "fourier", "test_accuracy": 0.9, "reads": "raw", "trains_encoder": False},
    {**told, "mode": "frozen", "test_accuracy": 0.7, "reads": "pretrained", "trains_encoder": False},
  ]
  entries = {entry.mode: entry for entry in report.summarise(rows)}
  assert {mode for mode, entry in entries.items() if entry.is_reference} == {"raw", "fourier"}
  assert [entry.mode for entry in statistics.judged(entries.values())] == ["frozen"]
  assert [line for line in report.doubts(list(entries.values())) if line.startswith("frozen")] == [
    "frozen does not beat fourier at 10 labels: mean 70.0% against 90.0%."
  ]
  for mode, reads, trains in [
    ("raw+propagate:cmn", "raw", False), ("raw+self_train", "raw", True), ("random", "random", False),
    ("scratch", "random", True), ("last:2", "pretrained", True), ("knn:5", "pretrained", False),
  ]:  # fmt: skip
    assert (statistics.reads_of({"mode": mode}), statistics.trains_encoder({"mode": mode})) == (reads, trains)
  back = report.from_json(report.to_json(entries["fourier"]))
  assert back == entries["fourier"]
