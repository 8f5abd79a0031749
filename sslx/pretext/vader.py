"""VADeR: the same place of an image, seen in two views, attracts; places of the other images of the batch repel.

    L = NT-Xent(g(f(view1)[u1]), g(f(view2)[u2])),  u1, u2: where a point u of the image is in both views

Pinheiro, Almahairi, Benmalek, Golemo, Courville: Unsupervised Learning of Dense Visual Representations, NeurIPS 2020,
arXiv 2011.05499. What SimCLR does for images this does for places, so that features tell what lies where, which boxes
and masks ask for. Deviations: f(view)[u] is read from the maps of all blocks by linear interpolation, instead of from a
feature pyramid with a decoder; g is an mlp that is dropped for probing; negatives are the points of the other images of
the batch, instead of a queue; views are affine maps, which are known, and changes of intensity and background. Points
are drawn where the image changes, in proportion to its local contrast plus `even`: places of an empty background cannot
be told from each other.

Measured on held-out training scenes of digits (`scenes`, 100 labelled, AP50 of a frozen encoder): with the other points
of the same image as negatives too .20 to .21, without .34; an untrained encoder .15. Without changes of the background
two views are told from others by how bright it is, and features know digits no better than untrained ones do.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from sslx import losses, nn
from sslx.ops import augment, photo
from sslx.pretext.families import checks, common
from sslx.types import Array, Batch, Params, Pretext, Refusal, State

WINDOW = 5  # pixels a side, over which contrast is measured


def vader(
  encoder: nn.Encoder,
  *,
  points: int = 16,
  temperature: float = 0.1,
  projector: tuple[int, ...] = (128, 64),
  degrees: float = 20.0,
  scale: float = 0.25,
  shift: float = 0.2,
  shear: float = 0.2,
  contrast: float = 0.3,
  background: float = 0.3,
  even: float = 0.02,
) -> Pretext:
  """Contrastive learning of places.

  points: how many of each image; temperature: tau.
  degrees, scale, shift, shear, contrast, background: ranges of a view's random affine map, intensities and background,
    as of the views `digits`; of images in colour contrast is that of brightness, contrast and saturation.
  even: what is added to the local contrast that points are drawn by; large: anywhere.
  """
  checks.positive(temperature=temperature, even=even)
  checks.at_least_one(points=points)
  checks.widths(projector=projector)
  if encoder.axes != 3:
    raise Refusal("--method=vader: reads maps, and this encoder's blocks have none; try --encoder=conv.")
  head = nn.Projector(projector)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "projector")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    features = read(outputs, jnp.zeros((len(batch["x"]), 1, 2)))
    head_params, head_stats = nn.init(head, keys["projector"], features[:, 0])
    return {"encoder": params, "projector": head_params}, {"encoder": stats, "projector": head_stats}

  def look(key: Array, x: Array) -> tuple[Array, Array]:
    """A view of x, and the map [B,2,3] from its coordinates to those of x, in [-1, 1]."""
    a, i = jax.random.split(key)
    affine = augment.affine_grid(a, len(x), degrees, scale, shift, shear)
    seen = augment.warp(x, affine, jnp.zeros((len(x), 2, *x.shape[1:3])))
    if x.shape[-1] == 3:
      return photo.jitter(i, seen, 1.0, contrast, contrast, contrast, 0.1), affine
    seen = augment.intensity(i, seen, contrast)
    return augment.background(jax.random.fold_in(key, 2), seen, background), affine

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    x, (first, second, place) = batch["x"], jax.random.split(key, 3)
    view1, map1 = look(first, x)
    view2, map2 = look(second, x)
    at = draw(place, x, points, even)
    return {"view1": view1, "view2": view2, "at1": seen_at(map1, at), "at2": seen_at(map2, at)}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    both, at = jnp.concatenate([view["view1"], view["view2"]]), jnp.concatenate([view["at1"], view["at2"]])
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], both, train=True)
    features = read(outputs, at)
    z, _ = nn.apply(head, params["projector"], state["projector"], features.reshape(-1, features.shape[-1]), train=True)
    z1, z2 = jnp.split(z, 2)
    image = jnp.repeat(jnp.arange(len(view["at1"])), points)
    value = losses.nt_xent(z1, z2, temperature, image)
    return value, ({**state, "encoder": stats}, losses.spread(z1, z2))

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view = transform(key, batch)
    return {"original": batch["x"], "view 1": view["view1"], "view 2": view["view2"]}

  return Pretext(init, loss, transform, common.no_update, show)


def draw(key: Array, x: Array, points: int, even: float) -> Array:
  """Places f32 [B,points,2] of images x [B,H,W,C], (y, x) in [-1, 1], none twice, more often where the standard
  deviation over a window is high.
  """
  grey = x.mean(-1, keepdims=True)

  def blurred(v: Array) -> Array:
    window = (1, WINDOW, WINDOW, 1)
    return jax.lax.reduce_window(v, 0.0, jax.lax.add, window, (1, 1, 1, 1), "SAME") / WINDOW**2

  deviation = jnp.sqrt(jnp.maximum(blurred(grey**2) - blurred(grey) ** 2, 0))
  weight = jnp.log(deviation.reshape(len(x), -1) + even)
  _, index = jax.lax.top_k(weight + jax.random.gumbel(key, weight.shape), points)  # without replacement
  height, width = x.shape[1:3]
  place = jnp.stack([index // width, index % width], -1)
  return 2 * place / jnp.array([height - 1, width - 1]) - 1


def seen_at(affine: Array, at: Array) -> Array:
  """Where points [B,n,2] of an image are in a view, whose coordinates `affine` [B,2,3] maps to the image's."""
  return jnp.linalg.solve(affine[:, None, :, :2], (at - affine[:, None, :, 2])[..., None])[..., 0]


def read(outputs: Mapping[str, Array], at: Array) -> Array:
  """The maps [B,h,w,D] of all blocks at points [B,n,2] of the image: [B,n,sum of D]."""
  return jnp.concatenate([sample(maps, at) for maps in outputs.values() if maps.ndim == 4], axis=-1)


def sample(maps: Array, at: Array) -> Array:
  """Maps [B,h,w,D] at points [B,n,2] of the image, linearly interpolated: [B,n,D]. Outside, the border's."""
  height, width = maps.shape[1:3]
  # The middle of a place is the middle of the pixels that it stands for.
  y, x = (jnp.clip((at[..., i] + 1) / 2 * n - 0.5, 0, n - 1) for i, n in enumerate((height, width)))
  flat = maps.reshape(len(maps), -1, maps.shape[-1])
  total = jnp.zeros((*at.shape[:2], maps.shape[-1]))
  for row in (jnp.floor(y), jnp.ceil(y)) if height > 1 else (y,):
    for column in (jnp.floor(x), jnp.ceil(x)) if width > 1 else (x,):
      share = _share(y, row) * _share(x, column)
      index = (row * width + column).astype(jnp.int32)
      total += share[..., None] * jnp.take_along_axis(flat, index[..., None], axis=1)
  return total


def _share(value: Array, end: Array) -> Array:
  """Of one of the two neighbours of a value: how near it is; half where both are the value itself."""
  return jnp.where(value == jnp.floor(value), 0.5, 1 - jnp.abs(value - end))
