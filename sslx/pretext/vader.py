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
of the same image as negatives too, and without changes of the background, .20 to .21; with the changes and without
these negatives .34 (what each does by itself was not measured); an untrained encoder .15. Without changes of the
background two views are told from others by how bright it is.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from sslx import losses, nn
from sslx.ops import augment, photo
from sslx.ops.rows import deinterleave, interleave, top_k
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
    x = batch["x"]
    if points > x.shape[1] * x.shape[2]:
      raise Refusal(f"--hp=points={points}: these images have {x.shape[1]}x{x.shape[2]} pixels; ask for fewer.")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], x)
    features = read(outputs, jnp.zeros((len(x), 1, 2)), x.shape[1:3])
    head_params, head_stats = nn.init(head, keys["projector"], features[:, 0])
    return {"encoder": params, "projector": head_params}, {"encoder": stats, "projector": head_stats}

  def look(key: Array, x: Array) -> tuple[Array, Array]:
    """A view of x, and the map [B,2,3] from its coordinates to those of x, as of `augment.warp`."""
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
    at, size = draw(place, x, points, even), x.shape[1:3]
    return {"view1": view1, "view2": view2, "at1": seen_at(map1, at, size), "at2": seen_at(map2, at, size)}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    both, at = interleave(view["view1"], view["view2"]), interleave(view["at1"], view["at2"])
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], both, train=True)
    features = read(outputs, at, both.shape[1:3])
    z, _ = nn.apply(head, params["projector"], state["projector"], features.reshape(-1, features.shape[-1]), train=True)
    z1, z2 = (one.reshape(-1, z.shape[-1]) for one in deinterleave(z.reshape(-1, points, z.shape[-1]), 2))
    image = jnp.repeat(jnp.arange(len(view["at1"])), points)
    value = losses.nt_xent(z1, z2, temperature, image)
    return value, ({**state, "encoder": stats}, losses.spread(z1, z2))

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view = transform(key, batch)
    return {"original": batch["x"], "view 1": view["view1"], "view 2": view["view2"]}

  return Pretext(init, loss, transform, common.no_update, show)


def draw(key: Array, x: Array, points: int, even: float) -> Array:
  """Pixels f32 [B,points,2], (row, column), of images x [B,H,W,C], none twice, more often where the standard deviation
  over a window is high.
  """
  grey = x.mean(-1, keepdims=True)

  def total(v: Array) -> Array:
    return jax.lax.reduce_window(v, 0.0, jax.lax.add, (1, WINDOW, WINDOW, 1), (1, 1, 1, 1), "SAME")

  count = total(jnp.ones_like(grey[:1]))  # fewer at the border, which is no contrast
  deviation = jnp.sqrt(jnp.maximum(total(grey**2) / count - (total(grey) / count) ** 2, 0))
  weight = jnp.log(deviation.reshape(len(x), -1) + even)
  _, index = top_k(weight + jax.random.gumbel(key, weight.shape), points)  # without replacement
  return jnp.stack([index // x.shape[2], index % x.shape[2]], -1).astype(jnp.float32)


def seen_at(affine: Array, at: Array, size: tuple[int, ...]) -> Array:
  """Where pixels [B,n,2] of images of `size`, (height, width), are in their views, which `augment.warp` made by the
  maps `affine` [B,2,3]: maybe between pixels, or outside.
  """
  centre = (jnp.array(size) - 1) / 2
  moved = at - centre - affine[:, None, :, 2] * centre
  return jnp.linalg.solve(affine[:, None, :, :2], moved[..., None])[..., 0] + centre


def read(outputs: Mapping[str, Array], at: Array, size: tuple[int, ...]) -> Array:
  """The maps [B,h,w,D] of all blocks at pixels [B,n,2] of images of `size`: [B,n,sum of D]."""
  return jnp.concatenate([sample(maps, at, size) for maps in outputs.values() if maps.ndim == 4], axis=-1)


def sample(maps: Array, at: Array, size: tuple[int, ...]) -> Array:
  """Maps [B,h,w,D] at pixels [B,n,2] of images of `size`, linearly interpolated: [B,n,D]. Outside, the border's."""
  height, width = maps.shape[1:3]
  # The middle of a place is the middle of the pixels that it stands for.
  y, x = (jnp.clip((at[..., i] + 0.5) * n / size[i] - 0.5, 0, n - 1) for i, n in enumerate((height, width)))
  flat = maps.reshape(len(maps), height * width, maps.shape[-1])
  total = jnp.zeros((*at.shape[:2], maps.shape[-1]))
  for row in (jnp.floor(y), jnp.ceil(y)):
    for column in (jnp.floor(x), jnp.ceil(x)):
      share = _share(y, row) * _share(x, column)
      index = (row * width + column).astype(jnp.int32)
      total += share[..., None] * jnp.take_along_axis(flat, index[..., None], axis=1)
  return total


def _share(value: Array, end: Array) -> Array:
  """Of one of the two neighbours of a value: how near it is; half where both are the value itself."""
  return jnp.where(value == jnp.floor(value), 0.5, 1 - jnp.abs(value - end))
