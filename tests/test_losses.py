import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import losses
from sslx.types import UserError

nt_xent = jax.jit(losses.nt_xent)


def embeddings(n=4, d=5, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=(n, d)).astype(np.float32)


def naive_nt_xent(z1, z2, temperature):
  """Equation 1 of arXiv 2002.05709, term by term."""
  z = np.concatenate([z1, z2]).astype(np.float64)
  z /= np.linalg.norm(z, axis=1, keepdims=True)
  n, total = len(z1), 0.0
  for i in range(2 * n):
    j = (i + n) % (2 * n)
    denominator = sum(np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i)
    total -= np.log(np.exp(z[i] @ z[j] / temperature) / denominator)
  return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_equals_the_double_loop(temperature):
  z1, z2 = embeddings()
  np.testing.assert_allclose(nt_xent(z1, z2, temperature), naive_nt_xent(z1, z2, temperature), rtol=1e-5)


def test_nt_xent_invariances():
  z1, z2 = embeddings()
  value = nt_xent(z1, z2, 0.5)
  np.testing.assert_allclose(nt_xent(z2, z1, 0.5), value, rtol=1e-6)
  np.testing.assert_allclose(nt_xent(7 * z1, 0.01 * z2, 0.5), value, rtol=1e-5)
  order = np.array([2, 0, 3, 1])
  np.testing.assert_allclose(nt_xent(z1[order], z2[order], 0.5), value, rtol=1e-6)
  q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
  np.testing.assert_allclose(nt_xent(z1 @ q, z2 @ q, 0.5), value, rtol=1e-4)
  assert abs(nt_xent(z1[order], z2, 0.5) - value) > 0.05  # the pairing matters


@pytest.mark.parametrize("n", [2, 3, 8])
def test_nt_xent_of_uniform_similarity(n):
  ones = jnp.ones((n, 3))
  np.testing.assert_allclose(nt_xent(ones, ones, 0.07), np.log(2 * n - 1), rtol=1e-5)


def test_nt_xent_orthogonal_pairs():
  """Views agree, images are orthogonal: -log(e^(1/t) / (e^(1/t) + 2n - 2))."""
  n, temperature = 4, 0.5
  expected = np.log(1 + (2 * n - 2) * np.exp(-1 / temperature))
  np.testing.assert_allclose(nt_xent(jnp.eye(n), jnp.eye(n), temperature), expected, rtol=1e-5)


def test_nt_xent_masks_self_pairs():
  """At temperature 0.01 a subtracted exp(1/t) swallows every other term: only a mask stays exact and differentiable."""
  z1, z2 = embeddings()
  value, grads = jax.jit(jax.value_and_grad(nt_xent, argnums=(0, 1)))(z1, z2, 0.01)
  np.testing.assert_allclose(value, naive_nt_xent(z1, z2, 0.01), rtol=1e-4)
  assert all(np.isfinite(g).all() and np.any(g) for g in grads)
  opposite = nt_xent(z1, -z1, 0.01)  # the hardest case: positives at -1
  np.testing.assert_allclose(opposite, naive_nt_xent(z1, -z1, 0.01), rtol=1e-4)


def naive_grouped(z1, z2, temperature, group):
  """Against the embeddings of other groups alone, term by term."""
  z = np.concatenate([z1, z2]).astype(np.float64)
  z /= np.linalg.norm(z, axis=1, keepdims=True)
  n, terms = len(z1), []
  for i in range(2 * n):
    positive = np.exp(z[i] @ z[(i + n) % (2 * n)] / temperature)
    rest = sum(np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if group[k % n] != group[i % n])
    terms.append(-np.log(positive / (positive + rest)))
  return np.mean(terms)


@pytest.mark.parametrize("group", [[0, 0, 1, 1, 2, 2], [3, 1, 3, 3, 1, 0], [0, 0, 0, 0, 0, 9]])
def test_nt_xent_of_groups_has_negatives_of_others_only(group):
  z1, z2 = embeddings(6)
  value = nt_xent(z1, z2, 0.3, np.array(group))
  np.testing.assert_allclose(value, naive_grouped(z1, z2, 0.3, group), rtol=1e-5)


def test_nt_xent_of_groups_at_their_ends():
  """Groups of one are no groups; one group of all leaves nothing to tell the positive from."""
  z1, z2 = embeddings(6)
  apart, together = np.array([5, 3, 0, 1, 2, 9]), np.zeros(6, int)
  np.testing.assert_allclose(nt_xent(z1, z2, 0.3, apart), nt_xent(z1, z2, 0.3), rtol=1e-6)
  value, grads = jax.jit(jax.value_and_grad(nt_xent, argnums=(0, 1)))(z1, z2, 0.3, together)
  assert float(value) == pytest.approx(0, abs=1e-6)
  assert all(np.abs(g).max() < 1e-6 for g in grads)


def test_nt_xent_of_zero_embedding_is_finite():
  z = jnp.zeros((2, 3))
  value, grad = jax.jit(jax.value_and_grad(nt_xent))(z, z + 1.0, 0.5)
  assert np.isfinite(value)
  assert np.isfinite(grad).all()


def test_pixel_loss_closed_forms():
  raw, target = np.array([-3.0, 0.0, 2.0], np.float32), np.array([0.0, 0.3, 1.0], np.float32)
  p = 1 / (1 + np.exp(-raw))
  bce = -target * np.log(p) - (1 - target) * np.log(1 - p)
  np.testing.assert_allclose(losses.pixel_loss("sigmoid", "bce")(raw, target), bce, rtol=1e-5)
  np.testing.assert_allclose(losses.pixel_loss("sigmoid", "mse")(raw, target), (p - target) ** 2, rtol=1e-5)
  np.testing.assert_allclose(losses.pixel_loss("linear", "mse")(raw, target), (raw - target) ** 2, rtol=1e-6)
  assert losses.pixel_loss("sigmoid", "bce")(np.float32(0), np.float32(0.5)) == pytest.approx(np.log(2))
  extreme = losses.pixel_loss("sigmoid", "bce")(np.array([-200.0, 200.0], np.float32), np.array([1.0, 0.0], np.float32))
  np.testing.assert_allclose(extreme, 200, rtol=1e-5)  # computed on logits: no log(0)


def test_multinomial_is_the_cross_entropy_of_shares():
  """Whatever the targets' scale; least where the softmax is the shares; nothing to learn from an empty bag."""
  rng = np.random.default_rng(0)
  raw, target = rng.normal(size=(3, 7)).astype(np.float32), rng.random((3, 7)).astype(np.float32)
  target[1, 2:] = 0
  target[2] = 0
  loss = losses.pixel_loss("softmax", "multinomial")
  shares = target[:2] / target[:2].sum(1, keepdims=True)
  q = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
  np.testing.assert_allclose(loss(raw, target).mean(1)[:2], -(shares * np.log(q[:2])).sum(1), rtol=1e-5)
  np.testing.assert_allclose(loss(raw, 3 * target), loss(raw, target), rtol=1e-5)
  assert not np.asarray(loss(raw, target))[2].any()
  grad = jax.grad(lambda x: loss(x, target).mean(1).sum())(raw)
  np.testing.assert_allclose(grad[:2], q[:2] - shares, rtol=1e-4, atol=1e-6)


def test_sigmoid_cross_entropy_gradient_is_the_error():
  """sigmoid(x) - t everywhere, at the kinks of its parts too."""
  raw, target = np.array([-30.0, -2.0, 0.0, 0.5, 40.0], np.float32), np.array([0.0, 0.3, 0.25, 1.0, 1.0], np.float32)
  grad = jax.grad(lambda x: losses.sigmoid_cross_entropy(x, target).sum())(raw)
  np.testing.assert_allclose(grad, 1 / (1 + np.exp(-raw.astype(np.float64))) - target, rtol=1e-5, atol=1e-6)


def test_mean_and_its_gradient():
  each = np.random.default_rng(0).normal(size=(3, 5, 4, 2)).astype(np.float32)
  value, grad = jax.jit(jax.value_and_grad(losses.mean))(each)
  assert float(value) == pytest.approx(each.astype(np.float64).mean(), rel=1e-5)
  np.testing.assert_allclose(grad, 1 / each.size, rtol=1e-6)


@pytest.mark.parametrize(
  ("output", "loss", "message"),
  [
    ("relu", "mse", "output=relu.*no gradient"),
    ("relu", "bce", "output=relu.*no gradient"),
    ("linear", "bce", r"outputs in \(0, 1\)"),
    ("tanh", "mse", "output=tanh.*Known: linear, sigmoid"),
    ("sigmoid", "l1", "loss=l1.*Known: bce, mse"),
    ("softmax", "mse", "softmax and multinomial go together"),
    ("sigmoid", "multinomial", "softmax and multinomial go together"),
  ],
)
def test_pixel_loss_refuses(output, loss, message):
  with pytest.raises(UserError, match=message):
    losses.pixel_loss(output, loss)


def test_every_pair_is_refused_or_least_at_the_target():
  for output, loss in itertools.product(("linear", "sigmoid"), ("bce", "mse")):
    if (output, loss) == ("linear", "bce"):
      continue
    raw = np.linspace(-4, 4, 801, dtype=np.float32)
    best = raw[np.argmin(losses.pixel_loss(output, loss)(raw, np.float32(0.7)))]
    assert losses.OUTPUTS[output](best) == pytest.approx(0.7, abs=0.005), (output, loss)


def test_cross_entropy():
  labels = np.array([0, 3, 9])
  assert losses.cross_entropy(np.full((3, 10), 2.5, np.float32), labels) == pytest.approx(np.log(10))
  logits = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
  expected = np.mean([np.log(np.exp(row).sum()) - row[y] for row, y in zip(logits, labels, strict=True)])
  assert losses.cross_entropy(logits, labels) == pytest.approx(expected, rel=1e-5)


def test_accuracy():
  logits = np.array([[1, 0], [0, 1], [3, 2], [0, 1]], np.float32)
  assert losses.accuracy(logits, np.array([0, 1, 0, 1])) == 1
  assert losses.accuracy(logits, np.array([1, 0, 1, 0])) == 0
  assert losses.accuracy(logits, np.array([0, 0, 0, 1])) == 0.75


def test_psnr():
  """Errors of a tenth are 20 dB; no error is as good as can be told."""
  assert losses.psnr(jnp.asarray(0.01)) == pytest.approx(20, abs=1e-4)
  assert losses.psnr(jnp.asarray(1.0)) == 0
  assert np.isfinite(losses.psnr(jnp.asarray(0.0)))
