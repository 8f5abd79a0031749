"""sslx.report.statistics: numbers against closed forms."""

import numpy as np
import pytest
from report_rows import FROZEN, SCRATCH, entry, row, rows

from sslx import report
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
