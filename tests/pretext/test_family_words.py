"""Which words are kept, their windows and negatives, by the laws of word2vec; and sums over windows against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import COUNTS, KEY, WORDS, assert_trees, build, texts

from sslx.modalities import MODALITIES
from sslx.ops.text import FIRST, NO_WORDS, PAD, UNKNOWN
from sslx.pretext import METHODS
from sslx.pretext.families import words
from sslx.training import optim
from sslx.training.step import make_init, make_train_step

SETTINGS = words.Settings(window=5, negatives=5, shared=16, sample=0.0)
view_of = jax.jit(words.viewed, static_argnums=(2, 3))


def lines(rows: int, length: int, seed: int = 0) -> np.ndarray:
  """A packed stream: words and unknown ones, PAD between lines."""
  x = texts([length] * rows, length, seed)
  x[np.random.default_rng(seed).random(x.shape) < 0.1] = PAD
  return x


def test_frequent_words_are_kept_by_the_formula():
  got = words.kept_share(WORDS, 0.01)
  total = sum(int(count) for count in COUNTS)
  for i, count in enumerate(COUNTS):
    f = count / total
    assert got[FIRST + i] == pytest.approx(min(1.0, (0.01 / f) ** 0.5 + 0.01 / f), rel=1e-5)
  assert not got[:FIRST].any()  # no words: never
  assert got[FIRST] < 0.5
  assert got[-1] == 1
  assert (words.kept_share(WORDS, 0.0)[FIRST:] == 1).all()


def test_words_are_kept_that_often():
  x = np.full((64, 320), FIRST, np.int32)
  view = view_of(jax.random.key(0), x, WORDS, SETTINGS._replace(sample=0.01))
  kept, p, n = int((view["words"] == FIRST).sum()), words.kept_share(WORDS, 0.01)[FIRST], x.size
  assert words.places(WORDS, 0.01, 320) > 320 * (p + 0.1)  # none is lost
  assert abs(kept - n * p) < 4 * np.sqrt(n * p * (1 - p))


def test_kept_words_stand_in_their_order_with_their_lines():
  x = lines(5, 96)
  view = jax.device_get(view_of(jax.random.key(0), x, WORDS, SETTINGS))
  for row, ids, line in zip(x, view["words"], view["line"], strict=True):
    known = [(word, int((row[:i] == PAD).sum())) for i, word in enumerate(row) if word >= FIRST]
    assert UNKNOWN in row
    assert [*zip(ids, line, strict=True)][: len(known)] == known
    assert (ids[len(known) :] == PAD).all()
    assert (line[len(known) :] == -1).all()


def test_places_are_as_many_as_expected_and_what_is_more_is_lost():
  assert words.places(WORDS, 0.0, 100) == 96
  assert words.places(WORDS, 0.0, 3) == 32
  p = words.kept_share(WORDS, 0.01)[FIRST:]
  expected = 1000 * sum(share * count / COUNTS.sum() for share, count in zip(p, COUNTS, strict=True))
  assert abs(words.places(WORDS, 0.01, 1000) - expected) <= words.BLOCK / 2
  x = texts([100], 100)
  known = x[x >= FIRST]
  assert len(known) > 90
  np.testing.assert_array_equal(view_of(jax.random.key(0), x, WORDS, SETTINGS)["words"][0][:90], known[:90])
  assert view_of(jax.random.key(0), x[:, :40], WORDS, SETTINGS)["words"].shape == (1, 32)


def test_windows_and_negatives_are_drawn_by_their_laws():
  view = jax.device_get(view_of(jax.random.key(3), lines(400, 64), WORDS, SETTINGS._replace(shared=64)))
  n = view["window"].size
  for reach in range(1, 6):
    assert abs((view["window"] == reach).sum() - n / 5) < 4 * np.sqrt(n * 0.2 * 0.8)
  assert view["window"].min() == 1
  assert view["window"].max() == 5
  weights = [int(count) ** 0.75 for count in COUNTS]
  n = view["negatives"].size
  for i, weight in enumerate(weights):
    p = weight / sum(weights)
    assert abs((view["negatives"] == FIRST + i).sum() - n * p) < 4.5 * np.sqrt(n * p)
  assert len({tuple(row) for row in view["negatives"]}) == 400  # each row has its own


def test_bounds_of_negatives_are_their_probabilities():
  weights = np.array([int(count) ** 0.75 for count in COUNTS])
  shares = np.diff(np.concatenate([[0], words.bounds(WORDS).astype(float), [2.0**32]])) / 2**32
  np.testing.assert_allclose(shares, weights / weights.sum(), atol=1e-9)
  assert len(words.bounds(NO_WORDS)) == 0


def test_pairs_end_with_lines_rows_and_windows():
  view = jax.device_get(view_of(jax.random.key(1), lines(4, 64), WORDS, SETTINGS))
  got = words.pairs(view, 5)
  expected = np.zeros(got.shape)
  for row in range(4):
    line, window = view["line"][row], view["window"][row]
    for i in range(64):
      for k in range(-5, 6):
        if k and 0 <= i + k < 64 and abs(k) <= window[i] and line[i] == line[i + k] >= 0:
          expected[row, i, k + 5] = 1
  np.testing.assert_array_equal(got, expected)
  assert got.sum() > 300


def loop(c, x, weights):
  """(products, weighted sums) as their definitions say."""
  n, m, d = x.shape
  w = weights.shape[2] // 2
  s, h = np.zeros(weights.shape), np.zeros((n, m, d))
  for row in range(n):
    for i in range(m):
      for k in range(-w, w + 1):
        if 0 <= i + k < m:
          s[row, i, k + w] = c[row, i] @ x[row, i + k]
          h[row, i] += weights[row, i, k + w] * x[row, i + k]
  return s, h


@pytest.mark.parametrize(("m", "w"), [(32, 5), (96, 5), (64, 1), (32, 9)])
def test_sums_over_windows_are_loops(m, w):
  rng = np.random.default_rng(0)
  c, x = rng.normal(size=(2, 3, m, 4)).astype(np.float32)
  weights = rng.normal(size=(3, m, 2 * w + 1)).astype(np.float32)
  s, h = loop(c, x, weights)
  np.testing.assert_allclose(jax.jit(words.products)(c, x, weights), s, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(jax.jit(words.weighted)(weights, x), h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("w", [1, 5])
def test_their_slopes_are_those_of_the_plain_sums(w):
  rng = np.random.default_rng(0)
  c, x = rng.normal(size=(2, 2, 64, 3)).astype(np.float32)
  weights, g = rng.normal(size=(2, 2, 64, 2 * w + 1)).astype(np.float32)

  def around(x):
    padded = jnp.pad(x, ((0, 0), (w, w), (0, 0)))
    return jnp.stack([padded[:, k : k + 64] for k in range(2 * w + 1)], 2)

  plain = jax.grad(lambda c, x: (g * jnp.einsum("nid,nikd->nik", c, around(x))).sum(), (0, 1))
  got = jax.grad(lambda c, x: (g * words.products(c, x, g)).sum(), (0, 1))
  assert_trees(jax.jit(got)(c, x), jax.jit(plain)(c, x), rtol=1e-4, atol=1e-5)
  plain = jax.grad(lambda p, x: (c * jnp.einsum("nik,nikd->nid", p, around(x))).sum(), (0, 1))
  got = jax.grad(lambda p, x: (c * words.weighted(p, x)).sum(), (0, 1))
  assert_trees(jax.jit(got)(weights, x), jax.jit(plain)(weights, x), rtol=1e-4, atol=1e-5)


def test_nats_are_minus_the_logarithm_of_the_sigmoid():
  s = np.array([-90, -3, -1e-4, 0, 1e-4, 2, 90], np.float32)
  np.testing.assert_allclose(words.nats(s), np.logaddexp(0, -s.astype(float)), rtol=1e-5, atol=1e-6)
  slope = jax.vmap(jax.grad(words.nats))(s)
  np.testing.assert_allclose(slope, -1 / (1 + np.exp(s.astype(float))), rtol=1e-4, atol=1e-7)  # -1/2 at 0


def test_a_word_counts_a_few_times_in_a_step_at_most():
  """Four of it are as they are, and of more the weights add up to four, in all rows together."""
  x = np.full((2, 32), FIRST + 1, np.int32)
  x[0, :4] = FIRST
  x[1] = FIRST + 2 + np.arange(32) % 16
  x[1, :3] = FIRST + 1
  weight = np.asarray(words.bounded(jnp.asarray(x), 4))
  assert (weight[x == FIRST] == 1).all()
  assert weight[x == FIRST + 1].sum() == pytest.approx(4)
  assert (weight[x > FIRST + 1] == 1).all()
  np.testing.assert_array_equal(words.bounded(jnp.asarray(x + 2 * words.COUNTERS), 4), weight)


def test_a_pair_counts_as_its_word_that_counts_less():
  x = np.full((1, 32), FIRST, np.int32)
  x[0, :4] = FIRST + 1
  got = words.weights({"words": jnp.asarray(x)}, 2, 4)
  for i in range(32):
    for k in range(-2, 3):
      there = [4 / 28 if x[0, j] == FIRST else 1 for j in (i, i + k) if 0 <= j < 32]
      assert got[0, i, k + 2] == pytest.approx(min(there) if len(there) == 2 else 0)


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("method", ["skipgram", "cbow"])
def test_text_that_repeats_a_word_stays_finite(method, share):
  rng = np.random.default_rng(0)
  raw = texts([256] * 200, 256)
  raw[rng.random(raw.shape) < share] = FIRST + 30  # `tensor tensor ...`, a word that is seldom else
  made = METHODS[method]
  pretext, tx = build(method, "words:width=16"), optim.optimizer(made.learning_rate, "descent")
  ts = make_init(pretext, tx, MODALITIES["text"].prepare)(KEY, {"x": raw[:1]})
  rows = rng.integers(0, len(raw), (300, made.batch_size), dtype=np.int32)
  ts, metrics = make_train_step(pretext, tx, MODALITIES["text"].prepare, by_rows=True)(ts, {"x": raw}, rows)
  assert np.isfinite(metrics["loss"]).all()
  assert np.abs(np.asarray(ts.params["encoder"]["vectors"]["table"])).max() < 20
