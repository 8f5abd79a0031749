"""Losses: arrays -> scalar. No module, no configuration."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from sslx.types import Array, UserError

OUTPUTS = {"sigmoid": jax.nn.sigmoid, "linear": lambda x: x}


def pixel_loss(output: str, loss: str) -> Callable[[Array, Array], Array]:
  """(raw outputs, targets in [0, 1]) -> loss of each pixel, same shape. Output activation and loss are a checked pair.

  sigmoid + bce is cross-entropy on logits; linear + mse and sigmoid + mse are squared errors.

  Raises:
    UserError: relu outputs (a pixel whose pre-activation is negative for every image gets no gradient and stays
      black), or linear + bce (cross-entropy needs outputs inside (0, 1)).
  """
  if output == "relu":
    raise UserError(
      "--hp=output=relu: a pixel whose pre-activation turns negative gets no gradient and stays black; "
      "use sigmoid with loss=bce, or linear with loss=mse."
    )
  if output not in OUTPUTS:
    raise UserError(f"--hp=output={output}: unknown output activation. Known: {', '.join(sorted(OUTPUTS))}.")
  if loss == "bce" and output == "sigmoid":
    return sigmoid_cross_entropy
  if loss == "bce":
    raise UserError("--hp=loss=bce: cross-entropy needs outputs in (0, 1); use output=sigmoid, or loss=mse.")
  if loss != "mse":
    raise UserError(f"--hp=loss={loss}: unknown loss. Known: bce, mse.")
  return lambda raw, target: jnp.square(OUTPUTS[output](raw) - target)


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Array:
  """Binary cross-entropy of sigmoid(logits) against targets in [0, 1], element by element.

  In a form whose gradient is a handful of operations (optax's took ten times as long on the CPU), and at 0, where
  `maximum` would leave it to chance, is the same sigmoid(logits) - targets as elsewhere.
  """
  size = jnp.abs(logits)
  return (logits + size) / 2 - logits * targets + jnp.log1p(jnp.exp(-size))


def mean(each: Array) -> Array:
  """Mean of all elements of [B,...].

  Transposed first: else the CPU's reduction (sslx/compile.py) takes in whatever `each` is computed from, and evaluates
  its exponentials one by one: 11.5 instead of 0.8 ms for the cross-entropy of 512 images.
  """
  return jax.lax.optimization_barrier(each.reshape(len(each), -1).T).sum() / each.size


def psnr(squared_error: Array) -> Array:
  """Peak signal-to-noise ratio in dB of images in [0, 1] whose mean squared error is `squared_error`."""
  return -10 * jnp.log10(jnp.maximum(squared_error, 1e-10))


def cross_entropy(logits: Array, labels: Array) -> Array:
  """Mean softmax cross-entropy of logits [B,K] and labels i32[B]."""
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def accuracy(logits: Array, labels: Array) -> Array:
  """Fraction of logits [B,K] whose maximum is at labels i32[B]."""
  return (logits.argmax(-1) == labels).mean()


def nt_xent(z1: Array, z2: Array, temperature: float) -> Array:
  """Normalised temperature-scaled cross-entropy of two views z1, z2 [B,D] (SimCLR, Chen et al. 2020, equation 1).

  For each of the 2B embeddings the other view of its image is the positive among the 2B - 1 others. Uniform
  similarities give log(2B - 1). The similarity of an embedding with itself is masked out (-inf), not subtracted.
  """
  z = jnp.concatenate([z1, z2])
  square = jnp.square(z).sum(axis=1, keepdims=True)
  z = z / jnp.sqrt(jnp.where(square > 0, square, 1.0))  # zero (a black image, fresh biases) stays so: finite gradient
  n = len(z1)
  similarity = z @ z.T / temperature
  similarity = jnp.where(jnp.eye(2 * n, dtype=bool), -jnp.inf, similarity)
  positives = jnp.roll(jnp.arange(2 * n), n)
  return cross_entropy(similarity, positives)
