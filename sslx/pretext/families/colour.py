"""What methods that predict colours share: channels of L*a*b* as a target, classified into bins or regressed to.

Zhang, Isola, Efros: Colorful Image Colorization, ECCV 2016, arXiv 1603.08511; see `colorize` for the deviations.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx import losses
from sslx.ops import color
from sslx.types import Array, Metrics, Refusal, UserError


class Target(NamedTuple):
  """Some channels of L*a*b* as what is predicted."""

  outputs: int
  """Channels of the raw prediction."""
  prior: dict[str, Array]
  """What the state keeps of it, at the start: frequencies of the classes, summed over steps. The sum starts uniform."""
  predict: Callable[[Array], Array]
  """Raw prediction [...,outputs] -> L*a*b* values [...,C]."""
  loss: Callable[[Array, Array, Mapping[str, Array]], tuple[Array, dict[str, Array], Metrics]]
  """(raw prediction, true values, prior) -> (scalar, prior after, metrics)."""


def class_weights(prior: Array, uniform: float) -> Array:
  """Weights w [Q] of bins that occur with frequencies `prior` [Q]: rare ones more, sum
  of prior * w = 1 (section 2.2)."""
  w = 1 / ((1 - uniform) * prior + uniform / len(prior))
  return w / (prior * w).sum()


def target(
  name: str,
  bins: np.ndarray,
  neighbours: int,
  middle: float,
  scale: float,
  loss: str,
  uniform: float,
  temperature: float,
) -> Target:
  """Values [...,C] classified into `bins` [Q,C], or regressed to as (value - middle) / scale where loss is l2."""
  if not 0 < uniform <= 1:
    raise UserError(f"--hp=uniform={uniform:g}: must be in (0, 1]; 1 gives every colour the same weight.")
  if not 0 < temperature <= 1:
    raise UserError(f"--hp=temperature={temperature:g}: must be in (0, 1].")

  def measure(guess: Array, values: Array) -> Metrics:
    nearest = [color.soft_encode(x, bins, 1)[0] for x in (guess, values)]
    square = jnp.square(guess - values).sum(-1).mean()
    return {f"{name}_error": jnp.sqrt(square), f"{name}_bin_accuracy": (nearest[0] == nearest[1]).mean()}

  def predict_l2(raw: Array) -> Array:
    return raw * scale + middle

  def loss_l2(raw: Array, values: Array, prior: Mapping[str, Array]):
    value = losses.mean(jnp.square(raw - (values - middle) / scale))
    return value, dict(prior), measure(predict_l2(raw), values)

  def predict(raw: Array) -> Array:
    return color.annealed_mean(raw, bins, temperature)

  def loss_classes(raw: Array, values: Array, prior: Mapping[str, Array]):
    index, weights = color.soft_encode(values, bins, neighbours)
    z = color.spread(index, weights, len(bins))
    seen = prior[name] + z.reshape(-1, len(bins)).mean(0)
    p = seen / seen.sum()
    each = jax.nn.logsumexp(raw, axis=-1) - (raw * z).sum(-1)
    value = losses.mean(each * class_weights(p, uniform)[index[..., 0]])
    metrics = measure(predict(raw), values)
    right = (raw.argmax(-1) == index[..., 0]).mean()
    return value, {name: seen}, {**metrics, f"{name}_bin_accuracy": right}

  if loss == "l2":
    return Target(bins.shape[1], {}, predict_l2, loss_l2)
  return Target(len(bins), {name: jnp.full(len(bins), 1 / len(bins))}, predict, loss_classes)


def ab_target(loss: str, uniform: float, temperature: float) -> Target:
  """The colour channels ab."""
  return target("ab", color.ab_bins(), 5, 0.0, 110.0, loss, uniform, temperature)


def in_colour(method: str, image: Array) -> Array:
  """The images as they are. Raises Refusal where they are grey."""
  if image.shape[-1] != 3:
    raise Refusal(f"--method={method}: needs images in colour, and these have {image.shape[-1]} channel(s), not 3.")
  return image


def shrink(image: Array, factor: int) -> Array:
  """[B,H,W,C] -> [B,ceil(H/factor),ceil(W/factor),C], averaged."""
  b, height, width, channels = image.shape
  return jax.image.resize(image, (b, -(-height // factor), -(-width // factor), channels), "linear")


def enlarge(values: Array, like: Array) -> Array:
  """[B,h,w,C] -> [B,H,W,C], as large as `like`."""
  return jax.image.resize(values, (*like.shape[:3], values.shape[-1]), "linear")


def cell_means(x: Array, size: tuple[int, ...]) -> Array:
  """[B,n,H,W,C] -> [B,n,h,w,C]: means over h x w equal cells."""

  def weights(length: int, cells: int) -> np.ndarray:
    """f32 [cells, length]: how much of each pixel is in each cell; rows sum to 1."""
    edges = np.arange(cells + 1) * length / cells
    low, high = (np.clip(e[:, None], np.arange(length), np.arange(1, length + 1)) for e in (edges[:-1], edges[1:]))
    return ((high - low) * cells / length).astype(np.float32)

  rows, columns = weights(x.shape[2], size[0]), weights(x.shape[3], size[1])
  return jnp.einsum("ih,jw,bnhwc->bnijc", rows, columns, x, precision=jax.lax.Precision.HIGHEST)
