"""What the tests of operations share: values with gradients, gradients of gradients, and how close they must be."""

import jax
import jax.numpy as jnp
import numpy as np


def normal(*shape, seed=0):
  return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def assert_close(got, expected, tolerance=1e-5):
  """Leaf by leaf, relative to the largest element: sums of different order differ most where they cancel."""
  assert jax.tree.structure(got) == jax.tree.structure(expected)
  for i, (a, b) in enumerate(zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)):
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(np.abs(b).max()), err_msg=f"leaf {i}")


def value_and_gradients(f, x, kernel):
  """f(x, kernel) and the gradients of its product with a fixed random array."""

  def run(x, kernel):
    y, transpose = jax.vjp(f, x, kernel)
    return y, *transpose(jnp.asarray(normal(*y.shape, seed=2), y.dtype))

  return jax.jit(run)(x, kernel)


def penalties(f, x, kernel):
  """Gradients in x and kernel of the squared norms of both gradients of a curved function of f."""

  def norms(x, kernel):
    dx, dkernel = jax.grad(lambda x, kernel: jnp.sin(f(x, kernel)).sum(), (0, 1))(x, kernel)
    return jnp.square(dx).sum(), jnp.square(dkernel).sum()

  def run(x, kernel):
    values, transpose = jax.vjp(norms, x, kernel)
    return values, transpose((1.0, 0.0)), transpose((0.0, 1.0))

  return jax.jit(run)(x, kernel)
