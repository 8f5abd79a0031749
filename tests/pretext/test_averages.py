"""What is remembered between steps: moving averages, a momentum that rises, a queue."""

import jax.numpy as jnp
import numpy as np
import pytest

from sslx.pretext.families import averages


def test_moving_average():
  old, new = {"a": jnp.array([1.0, 2.0])}, {"a": jnp.array([3.0, 6.0])}
  np.testing.assert_allclose(averages.ema(old, new, 1.0)["a"], old["a"])
  np.testing.assert_allclose(averages.ema(old, new, 0.0)["a"], new["a"])
  np.testing.assert_allclose(averages.ema(old, new, 0.75)["a"], [1.5, 3.0])


def test_rising_momentum():
  assert averages.rising(0.9, jnp.asarray(0), 100) == pytest.approx(0.9)
  assert averages.rising(0.9, jnp.asarray(50), 100) == pytest.approx(0.95)
  assert averages.rising(0.9, jnp.asarray(100), 100) == pytest.approx(1)
  assert averages.rising(0.9, jnp.asarray(250), 100) == pytest.approx(1)
  assert averages.rising(0.9, jnp.asarray(250), 0) == pytest.approx(0.9)


def test_queue_is_first_in_first_out():
  queue = jnp.arange(5.0)[:, None]
  for i in range(3):
    queue = averages.enqueue(queue, jnp.array([[10.0 + i], [20.0 + i]]))
  assert queue[:, 0].tolist() == [12, 22, 11, 21, 10]  # 2 does not divide 5
  assert averages.enqueue(queue, jnp.arange(8.0)[:, None])[:, 0].tolist() == [0, 1, 2, 3, 4]
