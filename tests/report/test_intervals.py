"""Intervals of a proportion and of a gain, against their formulas."""

import numpy as np
import pytest

from sslx import report


def test_binomial_interval_and_gain():
  low, high = report.binomial_interval(243, 300)  # Wilson's formula, z = 1.96
  z, p, n = 1.959964, 0.81, 300
  middle, half = (
    (p + z * z / 2 / n) / (1 + z * z / n),
    z * np.sqrt(p * (1 - p) / n + z * z / 4 / n / n) / (1 + z * z / n),
  )
  np.testing.assert_allclose([low, high], [middle - half, middle + half], atol=1e-6)
  text, low, high = report.gain([0.01, 0.03])  # t(1) = 12.706, standard error 0.01
  assert (low, high) == pytest.approx((0.02 - 0.12706, 0.02 + 0.12706), abs=1e-5)
  assert text == "+2.0 points [-10.7, +14.7]"
