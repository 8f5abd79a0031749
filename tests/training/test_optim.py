"""Optimisers against their steps written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.training import optim

RATE, DECAY, MOMENTUM = 0.3, 0.01, 0.9


def tree(seed: int) -> dict:
  rng = np.random.default_rng(seed)
  shapes = {"kernel": (3, 4), "conv": (2, 2, 3, 5), "bias": (4,), "scale": (5,), "factor": ()}
  return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def lars(params: dict, gradients: list[dict], rates: list[float]) -> dict:
  """Leaf by leaf, in numpy."""
  done = {}
  for name, w in params.items():
    velocity, w = np.zeros_like(w, np.float64), w.astype(np.float64)
    for grads, rate in zip(gradients, rates, strict=True):
      g = grads[name].astype(np.float64)
      if w.ndim > 1:
        g = g + DECAY * w
        sizes = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
        g = g * (0.001 * sizes[0] / sizes[1] if min(sizes) > 0 else 1.0)
      velocity = MOMENTUM * velocity + rate * g
      w = w - velocity
    done[name] = w
  return done


def run(tx, params: dict, gradients: list[dict]) -> dict:
  state = tx.init(params)
  for grads in gradients:
    updates, state = jax.jit(tx.update)(grads, state, params)
    params = jax.tree.map(jnp.add, params, updates)
  return params


@pytest.mark.parametrize("zero", [False, True])
def test_lars_is_its_equation(zero):
  params, gradients = tree(0), [tree(i) for i in (1, 2, 3)]
  if zero:
    params["kernel"] *= 0  # a kernel of zeros has no size to go by
  tx = optim.optimizer(lambda step: RATE / (step + 1), "lars", DECAY, MOMENTUM)
  got, expected = run(tx, params, gradients), lars(params, gradients, [RATE, RATE / 2, RATE / 3])
  for name in params:
    np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_lars_steps_do_not_depend_on_the_scale_of_the_gradient():
  params, gradients = tree(0), [tree(1)]
  larger = [jax.tree.map(lambda g: 1000 * g, gradients[0])]
  one, other = (run(optim.optimizer(RATE, "lars", 0.0), params, g) for g in (gradients, larger))
  np.testing.assert_allclose(one["conv"], other["conv"], rtol=1e-5)
  moved = np.linalg.norm(one["conv"] - params["conv"])
  np.testing.assert_allclose(moved, RATE * 0.001 * np.linalg.norm(params["conv"]), rtol=1e-3)
  np.testing.assert_allclose(other["bias"] - params["bias"], 1000 * (one["bias"] - params["bias"]), rtol=1e-3)


@pytest.mark.parametrize(
  ("kind", "kernel"),
  [("adamw", -0.05), ("sgd", -0.05), ("lars", -0.1 * 0.001)],  # lars: whatever the decay, it is the whole direction
)
def test_weight_decay_spares_vectors(kind, kernel):
  params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
  tx = optim.optimizer(0.1, kind, weight_decay=0.5)
  updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
  assert np.array_equal(updates["bias"], [0, 0])
  np.testing.assert_allclose(updates["kernel"], kernel * np.ones((2, 2)), rtol=1e-6)


def test_default_rates_grow_with_the_batch():
  assert optim.default_rate("lars", 4096) == pytest.approx(4.8)
  assert optim.default_rate("sgd", 128) == pytest.approx(0.015)
