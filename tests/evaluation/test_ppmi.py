"""Counts of words that stand near each other and their factors, against loops over a tiny text."""

import numpy as np
import pytest

from sslx.data.lazy import LazyArray
from sslx.evaluation import ppmi
from sslx.ops.text import FIRST, PAD, UNKNOWN, Vocabulary

SIZE = FIRST + 5


@pytest.fixture(scope="module")
def text() -> np.ndarray:
  """Rows of ids with lines of random lengths, some empty, and unknown words."""
  rng = np.random.default_rng(0)
  x = rng.integers(FIRST, SIZE - 1, (6, 30))  # the last word never stands there
  x[rng.random(x.shape) < 0.15] = PAD
  x[rng.random(x.shape) < 0.2] = UNKNOWN
  return x.astype(np.int32)


def lines_of(x: np.ndarray) -> list[list[int]]:
  lines = []
  for row in x.tolist():
    line: list[int] = []
    for i in [*row, PAD]:
      if i == PAD:
        lines.append(line)
        line = []
      elif i != UNKNOWN:
        line.append(i)
  return lines


def counted(x: np.ndarray, window: int) -> np.ndarray:
  counts = np.zeros((SIZE, SIZE))
  for line in lines_of(x):
    for i, word in enumerate(line):
      for j, context in enumerate(line):
        if i != j and abs(i - j) <= window:
          counts[word, context] += (window + 1 - abs(i - j)) / window
  return counts


def information(counts: np.ndarray, smoothing: float, shift: float) -> np.ndarray:
  made, total = np.zeros_like(counts), counts.sum()
  smoothed = counts.sum(0) ** smoothing
  for i in range(SIZE):
    for j in range(SIZE):
      if counts[i, j] > 0:
        p = counts[i, j] / total / (counts[i].sum() / total * smoothed[j] / smoothed.sum())
        made[i, j] = max(0, np.log(p) - np.log(shift))
  return made


@pytest.mark.parametrize("window", [1, 2, 5])
def test_words_count_that_stand_near_each_other_in_a_line(text, window, monkeypatch):
  expected = counted(text, window)
  assert not expected[:FIRST].any()
  for at_once in (1 << 21, 70, 1):  # all rows, two, one at a time
    monkeypatch.setattr(ppmi, "IDS_AT_ONCE", at_once)
    np.testing.assert_allclose(ppmi.cooccurrences(text, SIZE, window).toarray(), expected, rtol=1e-12)


def test_the_weight_of_a_distance_is_how_often_a_random_window_holds_it():
  """word2vec draws a window of 1 to 5 for each word, all alike."""
  x = np.arange(FIRST, FIRST + 5, dtype=np.int32)[None]
  counts = ppmi.cooccurrences(x, SIZE, 5).toarray()[FIRST]
  drawn = np.random.default_rng(0).integers(1, 6, 100_000)
  assert [(drawn >= distance).mean() for distance in range(1, 5)] == pytest.approx(counts[FIRST + 1 :], abs=0.01)


def test_text_on_disk_is_counted_as_in_memory(text):
  lazy = LazyArray(text.shape, lambda rows: text[rows], text.dtype)
  np.testing.assert_array_equal(ppmi.cooccurrences(lazy, SIZE).toarray(), ppmi.cooccurrences(text, SIZE).toarray())


@pytest.mark.parametrize(("smoothing", "shift"), [(0.75, 1.0), (1.0, 1.0), (0.75, 1.1)])
def test_ppmi_is_that_of_the_formula(text, smoothing, shift):
  counts = ppmi.cooccurrences(text, SIZE, 3)
  made = ppmi.ppmi(counts, smoothing, shift)
  expected = information(counts.toarray(), smoothing, shift)
  np.testing.assert_allclose(made.toarray(), expected, rtol=1e-9, atol=1e-12)
  assert (expected == 0).any()
  assert made.nnz == (expected > 0).sum()
  assert np.abs(expected - expected.T).max() > 0.01 or smoothing == 1  # contexts alone are smoothed


def test_the_svd_of_full_rank_gives_the_matrix_back(text):
  matrix = ppmi.ppmi(ppmi.cooccurrences(text, SIZE, 3))
  u, s, v = ppmi.truncated_svd(matrix, SIZE)
  np.testing.assert_allclose((u * s) @ v, matrix.toarray(), atol=1e-10)
  known = Vocabulary(tuple("abcde"), np.ones(5, int), np.ones(5, int), 1)
  vectors = ppmi.vectors(text, known, SIZE, 3)
  np.testing.assert_allclose((vectors * np.sqrt(s)) @ v, matrix.toarray(), atol=1e-5)
  assert not vectors[:FIRST].any()
  assert vectors.shape == (SIZE, SIZE)
  wide = ppmi.vectors(text, known, 20, 3)
  assert wide.shape == (SIZE, 20)
  assert not wide[:, SIZE:].any()


def test_the_truncated_svd_of_a_large_matrix_is_that_of_the_dense_one():
  from scipy.sparse import random

  matrix = random(150, 150, 0.3, "csr", rng=np.random.default_rng(1))
  u, s, v = ppmi.truncated_svd(matrix, 7)
  expected = np.linalg.svd(matrix.toarray())
  np.testing.assert_allclose(s, expected[1][:7], rtol=1e-4)
  best = (expected[0][:, :7] * expected[1][:7]) @ expected[2][:7]
  np.testing.assert_allclose((u * s) @ v, best, atol=5e-3)
  again = ppmi.truncated_svd(matrix, 7)
  np.testing.assert_array_equal(u, again[0])


def test_vectors_are_the_left_factors_times_the_power_of_the_singular_values(text):
  known = Vocabulary(tuple("abcde"), np.ones(5, int), np.ones(5, int), 1)
  u, s, _ = ppmi.truncated_svd(ppmi.ppmi(ppmi.cooccurrences(text, SIZE, 2)), 3)
  for power in (0.0, 0.5, 1.0):
    made = ppmi.vectors(text, known, 3, 2, power)
    np.testing.assert_allclose(made[FIRST:], (u * s**power)[FIRST:], atol=1e-6)
  assert not ppmi.vectors(text, known, SIZE, 2, 0.0)[:FIRST].any()  # where the singular values are 0, too


def test_text_in_which_no_word_stands_beside_another_has_vectors_of_zero():
  known = Vocabulary(tuple("abcde"), np.ones(5, int), np.ones(5, int), 1)
  x = np.array([[FIRST, PAD, FIRST + 1, PAD, UNKNOWN]], np.int32)
  assert not ppmi.vectors(x, known, 4).any()
