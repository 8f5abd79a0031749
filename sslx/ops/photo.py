"""Random changes of colour photographs, batched on the device: (key, images f32 [B,H,W,C] in [0,1]) -> same shape.

The operations of SimCLR (Chen et al. 2020, arXiv 2002.05709, appendix A) and BYOL (Grill et al. 2020, arXiv 2006.07733,
appendix B); hue and saturation are changed in HSV. Each image draws its own parameters from `key`. At strength or
probability 0 every operation returns its input.
"""

import jax
import jax.numpy as jnp

from sslx.types import Array

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as the field's grey


def crop_and_flip(key: Array, x: Array, least: float, flip: float) -> Array:
  """A random part of each image, of `least` to all of its area and an aspect of 3/4 to 4/3, resized to the whole; then,
  with probability `flip`, left and right exchanged.

  Bilinear, as two products with matrices of weights: rows, then columns. least=1 keeps the whole image.
  """
  height, width = x.shape[1:3]
  keys = jax.random.split(key, 5)
  shape = (len(x),)
  area = jax.random.uniform(keys[0], shape, minval=least, maxval=1.0)
  stretch = jnp.exp(0.5 * jnp.log(4 / 3) * jax.random.uniform(keys[1], shape, minval=-1, maxval=1) * (least < 1))
  sides = [jnp.minimum(jnp.sqrt(area) * stretch, 1.0), jnp.minimum(jnp.sqrt(area) / stretch, 1.0)]
  flipped = jax.random.uniform(keys[4], shape) < flip

  def weights(key: Array, size: int, side: Array, reverse: Array) -> Array:
    """f32 [B,size,size]: what each pixel of the result takes of each pixel of the image."""
    start = jax.random.uniform(key, shape) * (1 - side)
    at = (start[:, None] + side[:, None] * (jnp.arange(size) + 0.5) / size) * size - 0.5
    at = jnp.clip(jnp.where(reverse[:, None], at[:, ::-1], at), 0, size - 1)
    return jnp.maximum(0, 1 - jnp.abs(at[..., None] - jnp.arange(size)))

  rows = weights(keys[2], height, sides[0], jnp.zeros(shape, bool))
  columns = weights(keys[3], width, sides[1], flipped)
  return jnp.einsum("bij,bjwc->biwc", rows, jnp.einsum("bkw,bhwc->bhkc", columns, x))


def rgb_to_hsv(x: Array) -> Array:
  """RGB [...,3] in [0, 1] -> hue, saturation, value in [0, 1]; the hue of a grey is 0 (Smith, SIGGRAPH 1978)."""
  r, g, b = x[..., 0], x[..., 1], x[..., 2]
  value, least = x.max(-1), x.min(-1)
  span = value - least
  safe = jnp.where(span > 0, span, 1.0)
  # channels among each other: XLA may compute x anew beside its maximum and round it
  # differently, so that none equals it
  sector = jnp.where((r >= g) & (r >= b), (g - b) / safe, jnp.where(g >= b, 2 + (b - r) / safe, 4 + (r - g) / safe))
  hue = jnp.where(span > 0, (sector / 6) % 1.0, 0.0)
  return jnp.stack([hue, span / jnp.where(value > 0, value, 1.0), value], axis=-1)


def hsv_to_rgb(x: Array) -> Array:
  """The inverse of `rgb_to_hsv`; hues repeat with period 1."""
  hue, saturation, value = x[..., 0], x[..., 1], x[..., 2]
  place = (jnp.array([5.0, 3.0, 1.0]) + 6 * hue[..., None]) % 6
  ramp = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
  return value[..., None] * (1 - saturation[..., None] * ramp)


def jitter(
  key: Array, x: Array, probability: float, brightness: float, contrast: float, saturation: float, hue: float
) -> Array:
  """With `probability`, brightness, contrast, saturation and hue are changed, in this order (torchvision draws one).

  The first three are multiplied by factors uniform in 1 +- strength (not below 0): brightness every value, contrast the
  difference to the image's mean grey, saturation that of HSV; hue is shifted by up to +-strength turns. Clipped to
  [0, 1] after each. Images that are not RGB have neither saturation nor hue.
  """
  keys = jax.random.split(key, 5)

  def factor(key: Array, strength: float) -> Array:
    u = jax.random.uniform(key, (len(x), 1, 1, 1), minval=-1, maxval=1)
    return jnp.maximum(1 + strength * u, 0)

  y = jnp.clip(x * factor(keys[0], brightness), 0, 1)
  middle = to_grey(y).mean((1, 2, 3), keepdims=True)
  y = jnp.clip(middle + (y - middle) * factor(keys[1], contrast), 0, 1)
  if x.shape[-1] == 3:
    hsv = rgb_to_hsv(y)
    s = jnp.clip(hsv[..., 1:2] * factor(keys[2], saturation), 0, 1)
    h = hsv[..., :1] + hue * jax.random.uniform(keys[3], (len(x), 1, 1, 1), minval=-1, maxval=1)
    y = hsv_to_rgb(jnp.concatenate([h, s, hsv[..., 2:]], axis=-1))
  return sometimes(keys[4], y, x, probability)


def to_grey(x: Array) -> Array:
  """[B,H,W,C] -> the luma in every channel; one channel stays."""
  if x.shape[-1] != 3:
    return x
  return jnp.broadcast_to((x * jnp.array(LUMA)).sum(-1, keepdims=True), x.shape)


def grey(key: Array, x: Array, probability: float) -> Array:
  """With `probability`, an image loses its colours."""
  return sometimes(key, to_grey(x), x, probability)


def blur(key: Array, x: Array, probability: float, least: float = 0.1, most: float = 2.0) -> Array:
  """With `probability`, a Gaussian whose standard deviation is uniform in [least,
  most] pixels; borders renormalised."""
  keys = jax.random.split(key, 2)
  sigma = jax.random.uniform(keys[0], (len(x), 1, 1), minval=least, maxval=most)

  def weights(size: int) -> Array:
    w = jnp.exp(-jnp.square(jnp.arange(size)[:, None] - jnp.arange(size)) / (2 * jnp.square(sigma)))
    return w / w.sum(-1, keepdims=True)

  y = jnp.einsum("bij,bjwc->biwc", weights(x.shape[1]), jnp.einsum("bkw,bhwc->bhkc", weights(x.shape[2]), x))
  return sometimes(keys[1], y, x, probability)


def solarise(key: Array, x: Array, probability: float, threshold: float = 0.5) -> Array:
  """With `probability`, values above the threshold are inverted."""
  return sometimes(key, jnp.where(x > threshold, 1 - x, x), x, probability)


def sometimes(key: Array, changed: Array, x: Array, probability: float) -> Array:
  """`changed` instead of x [B,...], each image with `probability`."""
  chosen = jax.random.uniform(key, (len(x),) + (1,) * (x.ndim - 1)) < probability
  return jnp.where(chosen, changed, x)
