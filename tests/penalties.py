"""What the tests of autoencoders with a penalty share: small encoders, gradients by differences, a short training."""

import jax
import numpy as np
import optax
import pytest
from pretexts import KEY, apply, pixels, prepared

from sslx import nn

SIGMOID = "mlp:widths=6,code=0,activation=sigmoid"
SMOOTH = "mlp:widths=7-6,code=5,activation=sigmoid"
RELU = "mlp:widths=7,code=4"
CONV = "conv:widths=4,norm=group"
SIZE = 6 * 6  # pixels of an image below: the reconstruction error is their mean


def images(n=8, seed=0, size=6):
  return prepared(pixels(n, size, size, 1, seed))


def start(pretext, image, scale=1.0):
  """(params, state, view); the encoder's kernels times `scale`."""
  batch = {"x": image}
  params, state = pretext.init(KEY, batch)
  params["encoder"] = jax.tree.map(lambda p: p * scale if p.ndim > 1 else p + 0.1, params["encoder"])
  return params, state, pretext.transform(KEY, batch)


def blocks(encoder, params, state, image, train=True):
  net = nn.build(encoder)
  outputs = apply(net, params["encoder"], state["encoder"], image, train=train)[0]
  return {name: outputs[name] for name in net.block_names}  # a dict that leaves a compiled function is sorted


def code(encoder, params, state, image):
  return list(blocks(encoder, params, state, image).values())[-1]


def assert_gradient_fits(pretext, params, state, view, roles=("encoder",), h=1e-3, rtol=2e-2):
  """The derivative along the gradient of each role, by central differences."""

  @jax.jit
  def loss(params):
    return pretext.loss(params, state, KEY, view)[0]

  grad = jax.jit(jax.grad(loss))(params)
  for role in roles:
    norm = float(np.sqrt(sum(np.square(g).sum() for g in jax.tree.leaves(grad[role]))))
    assert norm > 0, role

    def along(t, role=role, norm=norm):
      moved = jax.tree.map(lambda p, g: p + t * g / norm, params[role], grad[role])
      return float(loss({**params, role: moved}))

    assert (along(h) - along(-h)) / (2 * h) == pytest.approx(norm, rel=rtol), role


def train(pretext, params, state, image, steps, rate=0.01):
  """`steps` of Adam on all images at once -> (params, metrics of the last step)."""
  tx = optax.adam(rate)

  def step(carry, key):
    params, opt_state = carry
    view = pretext.transform(key, {"x": image})
    grads, (_, metrics) = jax.grad(pretext.loss, has_aux=True)(params, state, key, view)
    updates, opt_state = tx.update(grads, opt_state)
    return (optax.apply_updates(params, updates), opt_state), metrics

  (params, _), metrics = jax.jit(lambda *a: jax.lax.scan(step, a, jax.random.split(KEY, steps)))(
    params, tx.init(params)
  )
  return params, {name: float(m[-1]) for name, m in metrics.items()}
