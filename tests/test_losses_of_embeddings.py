"""Losses of the embeddings of two views, against loops and at their ends."""

import types

import jax
import numpy as np
import pytest

from sslx import losses

names = ("cosine_distance", "info_nce", "barlow_twins", "vicreg", "spread")
compiled = types.SimpleNamespace(**{name: jax.jit(getattr(losses, name)) for name in names})


def embeddings(n=7, d=4, seed=0):
  return np.random.default_rng(seed).standard_normal((2, n, d)).astype(np.float32)


def unit(z):
  return z / np.linalg.norm(z, axis=-1, keepdims=True)


def test_cosine_distance():
  p, z = embeddings()
  expected = np.square(unit(p) - unit(z)).sum(1).mean()
  np.testing.assert_allclose(compiled.cosine_distance(p, z), expected, rtol=1e-5)
  np.testing.assert_allclose(compiled.cosine_distance(7 * p, 0.1 * z), expected, rtol=1e-5)
  np.testing.assert_allclose(compiled.cosine_distance(p, p), 0, atol=1e-6)
  np.testing.assert_allclose(compiled.cosine_distance(p, -p), 4, atol=1e-6)


def test_info_nce():
  q, k = embeddings()
  negatives = embeddings(11, seed=1)[0]
  terms = []
  for i in range(len(q)):
    positive = np.exp(unit(q[i]) @ unit(k[i]) / 0.3)
    others = sum(np.exp(unit(q[i]) @ unit(n) / 0.3) for n in negatives)
    terms.append(-np.log(positive / (positive + others)))
  np.testing.assert_allclose(compiled.info_nce(q, k, negatives, 0.3), np.mean(terms), rtol=1e-5)
  same = np.ones((3, 4), np.float32)
  np.testing.assert_allclose(compiled.info_nce(same, same, np.ones((9, 4), np.float32), 0.1), np.log(10), rtol=1e-5)


def test_barlow_twins():
  z1, z2 = embeddings(9, 3)
  c = np.zeros((3, 3))
  for i in range(3):
    for j in range(3):
      a, b = z1[:, i] - z1[:, i].mean(), z2[:, j] - z2[:, j].mean()
      c[i, j] = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
  expected = sum((1 - c[i, i]) ** 2 for i in range(3)) + 0.3 * sum(
    c[i, j] ** 2 for i in range(3) for j in range(3) if i != j
  )
  np.testing.assert_allclose(compiled.barlow_twins(z1, z2, 0.3), expected, rtol=1e-3)
  white = np.linalg.qr(z1 - z1.mean(0))[0].astype(np.float32) * 3  # uncorrelated dimensions, the same in both views
  np.testing.assert_allclose(compiled.barlow_twins(white, white, 0.3), 0, atol=1e-6)


def test_vicreg():
  z1, z2 = 0.5 * embeddings(9, 3)
  spread = [np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean() for z in (z1, z2)]
  covary = []
  for z in (z1, z2):
    c = np.cov(z.T)
    covary.append(sum(c[i, j] ** 2 for i in range(3) for j in range(3) if i != j) / 3)
  for weights in ((25, 25, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
    expected = weights[0] * np.square(z1 - z2).mean() + weights[1] * sum(spread) + weights[2] * sum(covary)
    np.testing.assert_allclose(compiled.vicreg(z1, z2, *weights), expected, rtol=1e-4)
  # The authors' code has the mean of both views' variance terms, not their sum: with its 25 it is 12.5 here.
  theirs = 25 * np.square(z1 - z2).mean() + 25 * (spread[0] / 2 + spread[1] / 2) + sum(covary)
  np.testing.assert_allclose(compiled.vicreg(z1, z2, 25, 12.5, 1), theirs, rtol=1e-4)


def test_spread_tells_a_collapse():
  z1, z2 = embeddings(400, 8)
  free = compiled.spread(z1, z1)
  assert free["embedding_std"] == pytest.approx(1, abs=0.05)
  assert free["participation_ratio"] == pytest.approx(8, rel=0.05)
  assert free["alignment"] == 0
  distance = np.square(unit(z1)[:, None] - unit(z1)[None]).sum(-1)
  others = ~np.eye(400, dtype=bool)
  np.testing.assert_allclose(free["uniformity"], np.log(np.exp(-2 * distance)[others].mean()), rtol=1e-3)
  np.testing.assert_allclose(
    compiled.spread(z1, z2)["alignment"], np.square(unit(z1) - unit(z2)).sum(1).mean(), rtol=1e-4
  )
  point = compiled.spread(np.ones((9, 8), np.float32), np.ones((9, 8), np.float32))
  assert point["embedding_std"] == pytest.approx(0, abs=1e-3)
  assert point["uniformity"] == pytest.approx(0, abs=1e-5)
  line = np.outer(np.linspace(-1, 1, 40), np.ones(8)).astype(np.float32)
  assert compiled.spread(line, line)["participation_ratio"] == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(("n", "width"), [(6, 20), (20, 6)])
def test_dimensions_in_use_are_those_of_the_covariance(n, width):
  """Also where it is larger than what is computed in its place."""
  z, _ = embeddings(n, width)
  eigenvalues = np.linalg.eigvalsh(np.cov(unit(z).T, bias=True))
  expected = eigenvalues.sum() ** 2 / np.square(eigenvalues).sum()
  np.testing.assert_allclose(compiled.spread(z, z)["participation_ratio"], expected, rtol=1e-4)
