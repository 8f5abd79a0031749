"""Tracking without training: the mask of a video's first frame is copied along, from places that look alike.

    s(i, j) = -|f_i - g_j|^2 / 2          label_i = sum_j softmax_j(s(i, j) / temperature) label_j

for each place i of a frame, over the k places j with the largest s, among those within `radius` places of i in the
first frame and in the `context` frames before. Labels stay soft: a copied one is copied again as it is. The protocol is
that of Jabri, Owens, Efros: Space-Time Correspondence as a Contrastive Random Walk, NeurIPS 2020, arXiv 2006.14613, as
the program that its authors published runs it: on DAVIS, 480 pixels high, at stride 8, with radius 12, temperature .05,
k 10 and context 20.

Of features of unit length, s is their cosine minus 1, so that temperatures mean what they mean there. Of patches of
grey values it is a plain distance, which is better than the cosine of patches.
Deviations: the radius holds for the first frame, too, as in the program of Caron et al. (DINO, ICCV 2021, arXiv
2104.14294); theirs seeks everywhere in it. What knows little finds places that look alike everywhere, so that grey
patches and untrained encoders lost half of their J&F and more on moving_digits for validation. A place counts where its
distance is the radius, and not only where it is less. Each frame is looked at once; theirs repeats the first one in
front of the video, to fill the context of the first frames. Where places are exactly alike, those of later frames go
first, then nearer ones.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.compile import jit
from sslx.evaluation.segments import disk
from sslx.types import Array, brief

BLOCK = 1 << 20  # scores that are held at once, of some rows of a frame
LENGTHS = 16  # videos are padded to multiples of so many frames, as each length is compiled anew


class Settings(NamedTuple):
  """How labels are copied."""

  radius: float = 4.0
  """How far away places are looked at, in places."""
  temperature: float = 0.05
  k: int = 10
  context: int = 4
  patch: int = 0
  """Height and width of grey patches in pixels, where they are what is matched."""


class Neighbours(NamedTuple):
  """The places of earlier frames that each place looks most like, best first."""

  index: np.ndarray
  """i32 [T,h*w,k]: (number of frames back, or 0 for the first frame) * h*w + place. Frame 0 has none: zeros."""
  score: np.ndarray
  """f32 [T,h*w,k]: s + |f|^2 / 2, which differs from s by what a place has in common with itself; -inf where there are
  fewer than k."""

  __repr__ = brief


def propagate(features: Any, first_labels: Any, settings: Settings) -> np.ndarray:
  """Labels of all frames, f32 [T,h,w,K+1], that of the first being the given ones.

  Args:
    features: f32 [T,h,w,D], see `sslx.evaluation.frames`.
    first_labels: f32 [h,w,K+1], of the first frame; of masks, see `to_grid`.
    settings: `patch` is not read.
  """
  found = neighbours(features, settings.radius, settings.k, settings.context)
  return copy_labels(first_labels, found, settings)


def neighbours(features: Any, radius: float, k: int, context: int) -> Neighbours:
  """The k nearest places of each place, of features f32 [T,h,w,D]; numpy arrays. They do not depend on labels, and the
  first of them are those of a smaller k, so that several temperatures and k share them.
  """
  frames = len(features)
  beyond = [(0, -frames % LENGTHS)] + [(0, 0)] * 3
  found = _neighbours(float(radius), k, context)(np.pad(np.asarray(features, np.float32), beyond))
  index, score = (np.asarray(x)[:frames] for x in found)
  return Neighbours(index, score)


def copy_labels(first_labels: Any, found: Neighbours, settings: Settings) -> np.ndarray:
  """Labels f32 [T,h,w,K+1], copied along the first k of neighbours that were sought with these settings."""
  h, w, classes = first_labels.shape
  frames, given = len(found.index), np.asarray(first_labels, np.float32).reshape(h * w, classes)
  beyond = [(0, -frames % LENGTHS), (0, 0), (0, 0)]
  index, score = (np.pad(x, beyond) for x in found)
  labels = _copy(settings.context)(given, index, score, settings.temperature, settings.k)
  return np.asarray(labels)[:frames].reshape(frames, h, w, classes)


@functools.cache
def _neighbours(radius: float, k: int, context: int) -> Any:
  steps, reach = disk(radius), int(radius)

  def run(features: Array) -> tuple[Array, Array]:
    frames, h, w, width = features.shape
    rows = _rows(h, w, reach, context + 1)
    blocks = -(-h // rows)
    window = (context + 1, (rows + 2 * reach) * w)
    inside = jnp.asarray(_inside(steps, rows, w, reach))
    sides = (reach, reach + blocks * rows - h)
    padded = jnp.pad(features, ((0, 0), sides, (0, 0), (0, 0)))
    norm = jnp.pad((features**2).sum(-1) / 2, ((0, 0), sides, (0, 0)), constant_values=jnp.inf)  # never chosen there

    def best(item: Array) -> tuple[Array, Array]:
      """Of a block of rows of frame t, the first of which is `top`."""
      t, top = item // blocks, item % blocks * rows
      seen = jnp.append(t - 1 - jnp.arange(context), 0)  # the latest frame first, and the first frame at the end
      twice = jnp.append(seen[:-1] <= 0, False)  # or before the video

      def part(x: Array, frame: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(x[frame], top, rows + 2 * reach)

      query = part(padded, t)[reach : reach + rows].reshape(rows * w, width)
      others, norms = (jax.vmap(functools.partial(part, x))(jnp.maximum(seen, 0)) for x in (padded, norm))
      products = jnp.tensordot(query, others.reshape(*window, width), (-1, -1), precision=jax.lax.Precision.HIGHEST)
      score = products - jnp.where(twice[:, None], jnp.inf, norms.reshape(window))
      score = jnp.pad(score, ((0, 0), (0, 0), (0, 1)), constant_values=-jnp.inf)  # where steps over the side lead
      score = jnp.take_along_axis(score, inside[:, None], axis=2).reshape(rows * w, -1)
      score, chosen = jax.lax.top_k(score, min(k, score.shape[1]))
      back, step = (chosen // len(steps) + 1) % (context + 1), chosen % len(steps)
      place = top * w + jnp.arange(rows * w)[:, None] + jnp.asarray(steps @ np.array([w, 1]))[step]
      return jnp.where(score > -jnp.inf, back * h * w + place, 0).astype(jnp.int32), score

    def whole(x: Array) -> Array:
      x = x.reshape(frames - 1, blocks * rows * w, -1)[:, : h * w]
      return jnp.pad(x, ((1, 0), (0, 0), (0, 0)))

    index, score = jax.lax.map(best, jnp.arange(blocks, frames * blocks))
    return whole(index), whole(score)

  return jit(run)


def _rows(h: int, w: int, reach: int, frames: int) -> int:
  """How many rows of a frame are looked at at once, so that no more than BLOCK scores are held, or those of a row."""
  fits = [rows for rows in range(1, h + 1) if rows * w * frames * (rows + 2 * reach) * w <= BLOCK]
  return max(fits, default=1)


def _inside(steps: np.ndarray, rows: int, w: int, reach: int) -> np.ndarray:
  """Where the steps from each of rows * w places lead in a window of the same rows, and `reach` more above and below:
  i32 [rows*w,n]; behind its end where that is beside the frame.
  """
  row, column = np.divmod(np.arange(rows * w)[:, None], w)
  column = column + steps[:, 1]
  at = (row + reach + steps[:, 0]) * w + column
  return np.where((column >= 0) & (column < w), at, (rows + 2 * reach) * w).astype(np.int32)


@functools.cache
def _copy(context: int) -> Any:

  def run(first: Array, index: Array, score: Array, temperature: Array, k: Array) -> Array:
    among = jnp.arange(index.shape[-1]) < k

    def step(known: Array, item: tuple[Array, Array]) -> tuple[Array, Array]:
      """known: [1 + context,h*w,K+1], the first frame and those before this one, the latest first."""
      index, score = item
      weight = jax.nn.softmax(jnp.where(among, score / temperature, -jnp.inf), axis=-1)
      labels = (known.reshape(-1, known.shape[-1])[index] * weight[..., None]).sum(1)
      return jnp.concatenate([known[:1], labels[None], known[1:]])[: 1 + context], labels

    known = jnp.broadcast_to(first, (1 + context, *first.shape))
    _, labels = jax.lax.scan(step, known, (index[1:], score[1:]))
    return jnp.concatenate([first[None], labels])

  return jit(run)


def attention(features: Any, reference: Any, place: tuple[int, int], temperature: float) -> np.ndarray:
  """Where a place of a frame looks in another one: softmax(s / temperature) over all places, f32 [h,w].

  features, reference: f32 [h,w,D] of the two frames; place: row and column.
  """
  squares = np.square(np.asarray(reference) - np.asarray(features)[place]).sum(-1)
  logits = -squares / (2 * temperature)
  weight = np.exp(logits - logits.max())
  return (weight / weight.sum()).astype(np.float32)


# ---- masks and places ------------------------------------------------------------------------------------------------


def to_grid(masks: np.ndarray, shape: tuple[int, int], stride: int, objects: int) -> np.ndarray:
  """Masks u8 [...,H,W] of objects 1 to K -> their shares of the cells of a grid, f32 [...,h,w,K+1], first that of what
  is no object. A cell is stride x stride pixels; the last ones may reach beyond the frame, or end before it.
  """
  (h, w), lead = shape, masks.shape[:-2]
  masks = masks[..., : h * stride, : w * stride]
  beyond = [(0, 0)] * len(lead) + [(0, n * stride - size) for n, size in zip(shape, masks.shape[-2:], strict=True)]

  def cells(x: np.ndarray, beyond: list[tuple[int, int]]) -> np.ndarray:
    x = np.pad(x.astype(np.float32), beyond)
    return x.reshape(*x.shape[:-2], h, stride, w, stride).sum((-3, -1))

  pixels = cells(np.ones(masks.shape[-2:]), beyond[-2:])
  return np.stack([cells(masks == number, beyond) / pixels for number in range(objects + 1)], axis=-1)


def to_pixels(labels: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
  """Labels f32 [T,h,w,K+1] -> the number of the strongest at every pixel, u8 [T,H,W], by bilinear interpolation between
  the middles of the cells; outside of these the nearest one counts.
  """

  def along(x: np.ndarray, axis: int, pixels: int) -> np.ndarray:
    at = np.clip((np.arange(pixels) + 0.5) / stride - 0.5, 0, x.shape[axis] - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    share = (at - low).astype(np.float32).reshape(-1, *[1] * (x.ndim - 1 - axis))
    return x.take(low, axis) * (1 - share) + x.take(high, axis) * share

  frames = [along(along(x, 0, size[0]), 1, size[1]).argmax(-1) for x in labels]
  return np.stack(frames).astype(np.uint8)


def through_grid(masks: np.ndarray, shape: tuple[int, int], stride: int) -> np.ndarray:
  """Masks u8 [T,H,W] brought to the grid and back: what no tracker on this grid can exceed by much."""
  return to_pixels(to_grid(masks, shape, stride, int(masks.max())), masks.shape[1:], stride)


def track(features: Any, first_mask: np.ndarray, stride: int, settings: Settings) -> np.ndarray:
  """The mask u8 [H,W] of a video's first frame, tracked through all of its frames: u8 [T,H,W].

  features: f32 [T,h,w,D], a place for every `stride` pixels.
  """
  labels = to_grid(first_mask, features.shape[1:3], stride, int(first_mask.max()))
  tracked = to_pixels(propagate(features, labels, settings), first_mask.shape, stride)
  tracked[0] = first_mask
  return tracked
