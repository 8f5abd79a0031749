"""Losses: arrays -> scalar. No module, no configuration."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from sslx.ops.rows import interleave
from sslx.types import Array, UserError

OUTPUTS = {"sigmoid": jax.nn.sigmoid, "linear": lambda x: x, "softmax": jax.nn.softmax}


def pixel_loss(output: str, loss: str) -> Callable[[Array, Array], Array]:
  """(raw outputs, targets in [0, 1]) -> loss of each pixel, same shape. Output activation and loss are a checked pair.

  sigmoid + bce is cross-entropy on logits; linear + mse and sigmoid + mse are squared errors. softmax + multinomial is
  of targets that are shares of a whole, such as bags of words: n times -p log q, where q is the softmax over the last
  axis of n outputs and p the targets divided by their sum, so that the mean is the cross-entropy.

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
  if output == "softmax" or loss == "multinomial":
    if (output, loss) != ("softmax", "multinomial"):
      raise UserError(f"--hp=output={output}, --hp=loss={loss}: softmax and multinomial go together.")
    return multinomial
  if loss == "bce" and output == "sigmoid":
    return sigmoid_cross_entropy
  if loss == "bce":
    raise UserError("--hp=loss=bce: cross-entropy needs outputs in (0, 1); use output=sigmoid, or loss=mse.")
  if loss != "mse":
    raise UserError(f"--hp=loss={loss}: unknown loss. Known: bce, mse, multinomial.")
  return lambda raw, target: jnp.square(OUTPUTS[output](raw) - target)


def multinomial(logits: Array, targets: Array) -> Array:
  """[...,n] -> n times -p log softmax(logits), p the targets' shares of their sum; 0 where that is 0."""
  shares = targets / jnp.maximum(targets.sum(-1, keepdims=True), 1e-6)
  return -shares * jax.nn.log_softmax(logits) * logits.shape[-1]


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


def cross_entropies(logits: Array, labels: Array) -> Array:
  """Softmax cross-entropy [...] of logits [...,K] and labels i32[...]."""
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def cross_entropy(logits: Array, labels: Array) -> Array:
  """Mean softmax cross-entropy of logits [...,K] and labels i32[...]."""
  return cross_entropies(logits, labels).mean()


def accuracy(logits: Array, labels: Array) -> Array:
  """Fraction of logits [...,K] whose maximum is at labels i32[...]."""
  return (logits.argmax(-1) == labels).mean()


def nt_xent(z1: Array, z2: Array, temperature: float, group: Array | None = None) -> Array:
  """Normalised temperature-scaled cross-entropy of two views z1, z2 [B,D] (SimCLR, Chen et al. 2020, equation 1).

  For each of the 2B embeddings the other view of its image is the positive among the 2B - 1 others. Uniform
  similarities give log(2B - 1). The similarity of an embedding with itself is masked out (-inf), not subtracted.

  group: i32 [B], embeddings of the same group are no negatives of each other, such as places of one image.
  """
  z = normalised(interleave(z1, z2))  # zero (a black image, fresh biases) stays so
  similarity = z @ z.T / temperature
  place = jnp.arange(len(z))
  positives = place ^ 1  # the other one of a pair
  if group is None:
    left_out = jnp.eye(len(z), dtype=bool)
  else:
    both = interleave(group, group)
    left_out = (both[:, None] == both) & (place != positives[:, None])
  similarity = jnp.where(left_out, -jnp.inf, similarity)
  return cross_entropy(similarity, positives)


def normalised(z: Array) -> Array:
  """[...,D] -> vectors of unit length; one of zeros stays, with a finite gradient."""
  square = jnp.square(z).sum(axis=-1, keepdims=True)
  return z / jnp.sqrt(jnp.where(square > 0, square, 1.0))


def cosine_distance(p: Array, z: Array) -> Array:
  """Mean squared distance of the unit vectors along p and z [B,D], 2 - 2 cos: in [0, 4]
  (BYOL, Grill et al. 2020, eq. 2)."""
  return 2 - 2 * (normalised(p) * normalised(z)).sum(axis=1).mean()


def cosines(z: Array, c: Array) -> Array:
  """Cosines [B,K] of the rows of z [B,D] and of c [K,D]."""
  return normalised(z) @ normalised(c).T


def sinkhorn(scores: Array, epsilon: float, iterations: int = 3, past: Array | None = None) -> Array:
  """Scores [B,K] -> shares of each row's unit among K columns that get about the same
  each (SwAV, Caron et al. 2020, eq. 3).

  Columns and rows of exp(scores / epsilon) are normalised in turn, in logarithms: no epsilon empties a row. Rows come
  last, so they sum to 1, and columns to about B / K.

  past: scores [N,K] of other rows, which take their part of the columns: as if they stood below the others.
  """
  parts = [scores / epsilon] if past is None else [scores / epsilon, past / epsilon]
  for _ in range(iterations):
    column = functools.reduce(jnp.logaddexp, [jax.nn.logsumexp(log_q, axis=0) for log_q in parts])
    parts = [jax.nn.log_softmax(log_q - column, axis=1) for log_q in parts]
  return jnp.exp(parts[0])


def swapped(q1: Array, q2: Array, logits1: Array, logits2: Array) -> Array:
  """Mean cross-entropy [H(q2, p1) + H(q1, p2)] / 2 of two views, p = softmax(logits), all
  [B,K] (SwAV eq. 2, DINO eq. 3)."""
  first, second = optax.softmax_cross_entropy(logits1, q2), optax.softmax_cross_entropy(logits2, q1)
  return (first.mean() + second.mean()) / 2


def perplexity(p: Array) -> Array:
  """exp(entropy) of distributions p [...,K]: the number of equally likely outcomes that would be as uncertain."""
  return jnp.exp(jax.scipy.special.entr(p).sum(axis=-1))


def info_nce(q: Array, k: Array, negatives: Array, temperature: float) -> Array:
  """Cross-entropy of picking k_i for q_i [B,D] among it and the negatives [K,D] (MoCo, He et al. 2020, eq. 1)."""
  q, k, negatives = normalised(q), normalised(k), normalised(negatives)
  logits = jnp.concatenate([(q * k).sum(axis=1, keepdims=True), q @ negatives.T], axis=1) / temperature
  return cross_entropy(logits, jnp.zeros(len(q), jnp.int32))


def pair_jsd(scores: Array) -> Array:
  """Minus the Jensen-Shannon estimate of mutual information from scores of pairs [B,P,B] (Deep InfoMax, eq. 4).

  scores[i,p,j]: of summary i with place p of image j. Pairs i = j are real, all others are not:
  E- - E+,  E+ = mean over real pairs of log 2 - softplus(-T),  E- = mean over the others of softplus(-T) + T - log 2,
  the balanced cross-entropy of telling them apart, moved to 0 for T = 0; never below -2 log 2.
  """
  n = len(scores)
  real = jnp.eye(n)[:, None]
  weight = jnp.where(real > 0, n, n / max(n - 1, 1))
  return mean(weight * sigmoid_cross_entropy(scores, real)) - 2 * jnp.log(2.0)


def pair_nce(scores: Array) -> Array:
  """Cross-entropy of picking image i for summary i at every place, scores [B,P,B] as in `pair_jsd`: log B for T = 0."""
  return cross_entropy(scores, pair_labels(scores))


def pair_labels(scores: Array) -> Array:
  """Which image is the real one: i32 [B,P] for scores [B,P,B]."""
  return jnp.broadcast_to(jnp.arange(len(scores))[:, None], scores.shape[:2])


def identify(predicted: Array, candidates: Array, label: Array, positive: Array | None = None) -> tuple[Array, Array]:
  """(loss, accuracy) of picking candidates[label] for each row of predicted [M,D] among all candidates [N,D], by their
  inner product (CPC, van den Oord et al. 2018, eq. 4). Of equal inner products one is picked at random.

  positive: candidates[label], where they are at hand in another way than by picking them.
  """
  logits = predicted @ candidates.T
  # not from the logits: the gradient of a gather is a sum into zeros of their size
  positive = candidates[label] if positive is None else positive
  loss = (jax.nn.logsumexp(logits, axis=1) - (predicted * positive).sum(axis=1)).mean()
  most = logits.max(axis=1, keepdims=True)  # argmax takes ten times as long on the CPU
  right = jnp.take_along_axis(logits, label[:, None], axis=1) == most
  return loss, (right / (logits == most).sum(axis=1, keepdims=True)).mean()


def barlow_twins(z1: Array, z2: Array, off_diagonal: float) -> Array:
  """Sum of (C_ii - 1)^2 + off_diagonal C_ij^2, C the cross-correlation of z1 and z2
  [B,D] (Zbontar et al. 2021, eq. 1)."""

  def standardised(z: Array) -> Array:
    centred = z - z.mean(axis=0)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=0) + 1e-5)

  c = standardised(z1).T @ standardised(z2) / len(z1)
  on = jnp.square(jnp.diagonal(c) - 1).sum()
  return on + off_diagonal * (jnp.square(c).sum() - jnp.square(jnp.diagonal(c)).sum())


def vicreg(z1: Array, z2: Array, invariance: float, variance: float, covariance: float) -> Array:
  """invariance * mse + variance * hinge(1 - std) + covariance * squared covariances
  (Bardes et al. 2022, eq. 1 to 6)."""

  def terms(z: Array) -> tuple[Array, Array]:
    centred, (n, d) = z - z.mean(axis=0), z.shape
    std = jnp.sqrt(jnp.square(centred).sum(axis=0) / (n - 1) + 1e-4)
    c = centred.T @ centred / (n - 1)
    return jnp.maximum(1 - std, 0).mean(), (jnp.square(c).sum() - jnp.square(jnp.diagonal(c)).sum()) / d

  (v1, c1), (v2, c2) = terms(z1), terms(z2)
  return invariance * jnp.square(z1 - z2).mean() + variance * (v1 + v2) + covariance * (c1 + c2)


def spread(z1: Array, z2: Array) -> dict[str, Array]:
  """How far the embeddings [B,D] of two views are from having collapsed, on the unit sphere.

  embedding_std: mean standard deviation of a coordinate times sqrt(D): near 1 spread out, 0 collapsed.
  participation_ratio: (sum of the covariance's eigenvalues)^2 / the sum of their squares: the dimensions in use.
  alignment: mean squared distance of two views; uniformity: log mean exp(-2 d^2) over pairs of images, -4 .. 0, lower
  is more uniform (Wang, Isola: Understanding Contrastive Representation Learning, 2020, arXiv 2005.10242).
  """
  a, b = normalised(z1), normalised(z2)
  centred = a - a.mean(axis=0)
  if len(a) < a.shape[1]:  # the smaller of two matrices with the same trace and the same sum of squares
    c = centred @ centred.T / len(a)
  else:
    c = centred.T @ centred / len(a)
  distance = jnp.maximum(2 - 2 * a @ a.T, 0)
  others = 1 - jnp.eye(len(a))
  return {
    "embedding_std": jnp.sqrt(jnp.square(centred).mean(axis=0)).mean() * jnp.sqrt(a.shape[1]),
    "participation_ratio": jnp.square(jnp.trace(c)) / jnp.maximum(jnp.square(c).sum(), 1e-12),
    "alignment": jnp.square(a - b).sum(axis=1).mean(),
    "uniformity": jnp.log((jnp.exp(-2 * distance) * others).sum() / others.sum()),
  }
