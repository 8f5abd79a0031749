"""Colours: sRGB and CIE L*a*b*, and the bins of ab that colours are classified into.

sRGB: IEC 61966-2-1, white point D65; L*a*b*: CIE 15. Each row of the matrix is divided by its sum (the white point), so
that greys have a = b = 0 exactly. L is in [0, 100]; ab of sRGB colours in [-86, 98] x [-108, 94].
Bins: Zhang, Isola, Efros: Colorful Image Colorization, ECCV 2016, arXiv 1603.08511, section 2.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sslx.ops.rows import top_k
from sslx.types import Array

TO_XYZ = np.array(
  [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
TO_XYZ /= TO_XYZ.sum(axis=1, keepdims=True)  # X/Xn, Y/Yn, Z/Zn: white is (1, 1, 1)
TO_LAB = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
FROM_XYZ, FROM_LAB = np.linalg.inv(TO_XYZ), np.linalg.inv(TO_LAB)
BLACK = np.array([16.0, 0.0, 0.0])  # L* = 116 f(Y) - 16
KNEE = 6 / 29  # below it f is a straight line


def rgb_to_lab(image: Array) -> Array:
  """sRGB f32 [...,3] in [0, 1] -> L*a*b* f32 [...,3]. Colours outside of [0, 1] are continued, not clipped."""
  xyz = _times(_linear(image), TO_XYZ)
  f = jnp.where(xyz <= KNEE**3, xyz / (3 * KNEE**2) + 4 / 29, jnp.maximum(xyz, KNEE**3) ** (1 / 3))
  return _times(f, TO_LAB) - BLACK.astype(np.float32)


def lab_to_rgb(lab: Array) -> Array:
  """L*a*b* f32 [...,3] -> sRGB f32 [...,3], clipped to [0, 1]: the inverse of `rgb_to_lab` for sRGB colours."""
  f = _times(lab + BLACK.astype(np.float32), FROM_LAB)
  xyz = jnp.where(f <= KNEE, 3 * KNEE**2 * (f - 4 / 29), f**3)
  return _gamma(_times(xyz, FROM_XYZ))


def grey(image: Array) -> Array:
  """sRGB f32 [...,3] -> the grey of the same lightness L*, in all three channels."""
  return jnp.broadcast_to(_gamma(_times(_linear(image), TO_XYZ[1:2])), image.shape)


def _times(x: Array, matrix: np.ndarray) -> Array:
  """matrix @ each pixel, in float32 on every device."""
  return jnp.matmul(x, matrix.T.astype(np.float32), precision=jax.lax.Precision.HIGHEST)


def _linear(image: Array) -> Array:
  # both branches of a where are differentiated: each gets arguments for which it has a finite gradient
  return jnp.where(image <= 0.04045, image / 12.92, ((jnp.maximum(image, 0.04045) + 0.055) / 1.055) ** 2.4)


def _gamma(linear: Array) -> Array:
  linear = jnp.clip(linear, 0.0, 1.0)
  return jnp.where(linear <= 0.0031308, linear * 12.92, 1.055 * jnp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


@functools.cache
def ab_bins(size: int = 10) -> np.ndarray:
  """Centres f32 [Q,2] of the squares of a grid in ab, multiples of `size`, that hold a colour of sRGB.

  261 of size 10. The paper has 313, which we could not derive; squares whose corners touch the gamut are about as many,
  and a softmax would only learn to leave those empty that no colour of sRGB is nearest to. Only the faces of the RGB
  cube are gone through: with ab fixed, the lightest colour inside the cube lies on one.
  """
  levels = np.linspace(0, 1, 86)
  u, v = (x.ravel() for x in np.meshgrid(levels, levels))
  faces = [np.insert(np.stack([u, v], 1), axis, value, axis=1) for axis in range(3) for value in (0.0, 1.0)]
  rgb = np.concatenate(faces)
  xyz = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ TO_XYZ.T
  f = np.where(xyz <= KNEE**3, xyz / (3 * KNEE**2) + 4 / 29, np.cbrt(xyz))
  return (np.unique(np.round((f @ TO_LAB.T)[:, 1:] / size), axis=0) * size).astype(np.float32)


def lightness_bins(number: int = 100) -> np.ndarray:
  """Centres f32 [number,1] of equal parts of [0, 100]."""
  return ((np.arange(number, dtype=np.float32)[:, None] + 0.5) * (100 / number)).astype(np.float32)


def soft_encode(values: Array, bins: np.ndarray, neighbours: int = 5, sigma: float = 5.0) -> tuple[Array, Array]:
  """The `neighbours` nearest bins of every pixel, nearest first, and their Gaussian weights, which sum to one.

  values f32 [...,C], bins [Q,C] -> (indices i32 [...,neighbours], weights f32 [...,neighbours]).
  """
  flat = values.reshape(-1, values.shape[-1])
  # without |values|^2, which all bins of a pixel share: a sum of channels, as exact as float32
  distance = sum(bins[:, c] * (bins[:, c] - 2 * flat[:, c : c + 1]) for c in range(bins.shape[1]))
  nearest, index = top_k(-jnp.asarray(distance), neighbours)
  weights = jax.nn.softmax(nearest / (2 * sigma**2), axis=-1)
  shape = (*values.shape[:-1], neighbours)
  return index.reshape(shape), weights.reshape(shape)


def spread(index: Array, weights: Array, number: int) -> Array:
  """`soft_encode`'s result as a distribution over all bins: f32 [...,number]."""
  return sum(
    (jax.nn.one_hot(index[..., k], number) * weights[..., k : k + 1] for k in range(index.shape[-1])),
    jnp.zeros(number),
  )


def annealed_mean(logits: Array, bins: np.ndarray, temperature: float = 0.38) -> Array:
  """Logits [...,Q] over bins [Q,C] -> [...,C]: the mean of p^(1/T), renormalised.

  T = 1 is the mean, which is grey where a pixel may have either of two colours; T -> 0 the mode (section 2.3).
  """
  p = jax.nn.softmax(logits / temperature, axis=-1)
  return p @ jnp.asarray(bins)
