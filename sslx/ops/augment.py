"""Random changes of grey digits and garments, batched on the device: (key, images f32
[B,H,W,C] in [0,1]) -> same shape.

Each image draws its own parameters from `key`. At strength 0 every operation returns its input.
"""

import functools

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from sslx.types import Array


def affine_grid(key: Array, batch: int, degrees: float, scale: float, shift: float, shear: float) -> Array:
  """Random affine maps of the square [-1, 1]^2: f32 [batch,2,3] from output to input coordinates (y, x).

  Rotation is uniform in +-degrees, the logarithm of each axis' scale in +-log(1 + scale), the translation in +-shift
  (as a fraction of half the image), the shear factor in +-shear.
  """
  a, s, t, h = jax.random.split(key, 4)
  angle = jnp.deg2rad(degrees) * jax.random.uniform(a, (batch,), minval=-1, maxval=1)
  zoom = jnp.exp(jnp.log1p(scale) * jax.random.uniform(s, (batch, 2), minval=-1, maxval=1))
  offset = shift * jax.random.uniform(t, (batch, 2), minval=-1, maxval=1)
  slant = shear * jax.random.uniform(h, (batch,), minval=-1, maxval=1)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  # rows: (y, x) of the input as a linear function of the output's (y, x): rotation @ [[1, 0], [slant, 1]] @ diag(zoom)
  rows = [
    jnp.stack([(cos - sin * slant) * zoom[:, 0], -sin * zoom[:, 1], offset[:, 0]], 1),
    jnp.stack([(sin + cos * slant) * zoom[:, 0], cos * zoom[:, 1], offset[:, 1]], 1),
  ]
  return jnp.stack(rows, 1)


def elastic_field(key: Array, batch: int, height: int, width: int, strength: float, cells: int) -> Array:
  """Smooth random displacements in pixels: f32 [batch,2,height,width].

  Normal values of standard deviation `strength` pixels on a coarse cells x cells grid, interpolated by cubic
  resampling. (Simard, Steinkraus, Platt, 2003, smooth per-pixel noise with a Gaussian; the coarse grid is much
  cheaper and looks the same.)
  """
  coarse = strength * jax.random.normal(key, (batch, 2, cells, cells))
  return jax.image.resize(coarse, (batch, 2, height, width), "cubic")


def warp(x: Array, affine: Array, displacement: Array) -> Array:
  """Bilinear resampling of x [B,H,W,C] at affine(output coordinates) + displacement. Outside the image is 0."""
  height, width = x.shape[1:3]
  centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
  grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")) - centre[:, None, None]
  linear = jnp.einsum("bij,jhw->bihw", affine[:, :, :2], grid)
  source = linear + (affine[:, :, 2] * centre)[:, :, None, None] + centre[:, None, None] + displacement

  def warp_image(image: Array, at: Array) -> Array:
    return jax.vmap(lambda channel: map_coordinates(channel, [at[0], at[1]], order=1), -1, -1)(image)

  return jax.vmap(warp_image)(x, source)


def intensity(key: Array, x: Array, strength: float) -> Array:
  """Contrast and gamma: x^g * c with log g and log c uniform in +-strength, one pair an image, clipped to [0, 1]."""
  g, c = jnp.exp(strength * jax.random.uniform(key, (2, len(x), 1, 1, 1), minval=-1, maxval=1))
  return jnp.where(strength == 0, x, jnp.clip(jnp.power(jnp.maximum(x, 1e-6), g) * c, 0, 1) * (x > 0))


def background(key: Array, x: Array, strength: float) -> Array:
  """Adds a brightness and a slope along each axis, each uniform in +-strength, and noise of a standard deviation up to
  a quarter of it; not clipped, or dark places would lose what is in them.

  Without it, two views of a picture are told from others' by how bright it is, and how noisy, and by nothing else.
  """
  level, slopes, amount, noise = jax.random.split(key, 4)
  b, height, width, _ = x.shape
  plane = strength * jax.random.uniform(level, (b, 1, 1, 1), minval=-1, maxval=1)
  along = strength * jax.random.uniform(slopes, (2, b, 1, 1, 1), minval=-1, maxval=1)
  plane += along[0] * jnp.linspace(-1, 1, height)[:, None, None] + along[1] * jnp.linspace(-1, 1, width)[:, None]
  return x + plane + 0.25 * strength * jax.random.uniform(amount, (b, 1, 1, 1)) * jax.random.normal(noise, x.shape)


def thickness(key: Array, x: Array, strength: float) -> Array:
  """Strokes grow or shrink: a blend of x with its 3x3 maximum (or minimum) by a weight uniform in +-strength."""
  amount = strength * jax.random.uniform(key, (len(x), 1, 1, 1), minval=-1, maxval=1)
  padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
  height, width = x.shape[1:3]
  shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
  most, least = functools.reduce(jnp.maximum, shifted), functools.reduce(jnp.minimum, shifted)
  return x + jnp.maximum(amount, 0) * (most - x) + jnp.maximum(-amount, 0) * (least - x)


def erase(key: Array, x: Array, probability: float, most: float = 0.5) -> Array:
  """With `probability`, a rectangle becomes black, its sides up to `most` of the image's (Zhong et al., Random Erasing,
  2017, arXiv 1708.04896, with black instead of noise).
  """
  keys = jax.random.split(key, 3)
  shape = jnp.array(x.shape[1:3])
  side = most * shape * jax.random.uniform(keys[0], (len(x), 2))
  start = (shape - side) * jax.random.uniform(keys[1], (len(x), 2))

  def inside(axis: int) -> Array:
    at = jnp.arange(x.shape[1 + axis]) + 0.5
    return (at > start[:, axis, None]) & (at < (start + side)[:, axis, None])

  hidden = inside(0)[:, :, None, None] & inside(1)[:, None, :, None]
  chosen = jax.random.uniform(keys[2], (len(x), 1, 1, 1)) < probability
  return jnp.where(hidden & chosen, 0.0, x)


def digit_view(
  key: Array, x: Array, degrees: float, scale: float, shift: float, shear: float, elastic: float, contrast: float
) -> Array:
  """Random affine + elastic deformation in one resampling, then intensity: one view of x f32 [B,H,W,C]."""
  a, e, i = jax.random.split(key, 3)
  affine = affine_grid(a, len(x), degrees, scale, shift, shear)
  field = elastic_field(e, *x.shape[:3], strength=elastic, cells=4)
  return intensity(i, warp(x, affine, field), contrast)
