"""Tracking without training: the mask of a video's first frame is copied along, from places that look alike.

    s(i, j) = -|f_i - g_j|^2 / 2          label_i = sum_j softmax_j(s(i, j) / temperature) label_j

for each place i of a frame, over the k places j of earlier frames with the largest s. These are sought in the first
frame, everywhere, and in the `context` frames before, within `radius` places of i. Labels stay soft: a copied one is
copied again as it is. The protocol is that of Jabri, Owens, Efros: Space-Time Correspondence as a Contrastive Random
Walk, NeurIPS 2020, arXiv 2006.14613, as the program that its authors published runs it: on DAVIS, 480 pixels high, at
stride 8, with radius 12, temperature .05, k 10 and context 20.

Of features of unit length, s is their cosine minus 1, so that temperatures mean what they mean there. Of patches of
grey values it is a plain distance, which is better than the cosine of patches.
Deviations: a place j counts where its distance is at most the radius, and not only where it is less; each frame is
looked at once, while their program repeats the first one in front of the video, to fill the context of the first
frames. Where places are exactly alike, later frames go first, and nearer places.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.compile import jit
from sslx.types import Array, brief

BLOCK = 1 << 23  # scores that are held at once, of some rows of a frame
LENGTHS = 16  # videos are padded to multiples of so many frames, as each length is compiled anew


class Settings(NamedTuple):
  """How labels are copied."""

  radius: float = 4.0
  """Of the places in the context frames, in places."""
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


def disk(radius: float) -> np.ndarray:
  """Steps i32 [n,2] along height and width to the places within a distance, nearest first."""
  reach = int(radius)
  y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
  inside = y**2 + x**2 <= radius**2
  steps = np.stack([y[inside], x[inside]], axis=1)
  return steps[np.argsort((steps**2).sum(1), kind="stable")].astype(np.int32)


@functools.cache
def _neighbours(radius: float, k: int, context: int) -> Any:
  steps, reach = disk(radius), int(radius)

  def run(features: Array) -> tuple[Array, Array]:
    frames, h, w, width = features.shape
    places, near = h * w, context * len(steps)
    rows = _rows(h, w, reach, context)
    blocks = -(-h // rows)
    inside = jnp.asarray(_windows(steps, rows, w, reach))
    over = blocks * rows - h
    queries = jnp.pad(features, ((0, 0), (0, over), (0, 0), (0, 0)))
    # The first frame is no part of any context: context + 1 frames of padding stand before the second one. What may not
    # be chosen is told by norms that are infinite.
    sides = ((context + 1, 0), (reach, reach + over), (0, 0))
    past, norm = jnp.pad(features[1:], (*sides, (0, 0))), (features**2).sum(-1) / 2
    past_norm = jnp.pad(norm[1:], sides, constant_values=jnp.inf)
    first, first_norm = features[0].reshape(places, width), norm[0].reshape(places)

    def best(item: Array) -> tuple[Array, Array]:
      t, top = item // blocks, item % blocks * rows
      query = jax.lax.dynamic_slice(queries, (t, top, 0, 0), (1, rows, w, width)).reshape(rows * w, width)
      size = (context, rows + 2 * reach, w)
      window = jax.lax.dynamic_slice(past, (t, top, 0, 0), (*size, width))[::-1]  # the latest frame first
      window_norm = jax.lax.dynamic_slice(past_norm, (t, top, 0), size)[::-1]
      local = _products(query, window).reshape(rows * w, context, size[1] * w) - window_norm.reshape(
        context, size[1] * w
      )
      local = jnp.pad(local, ((0, 0), (0, 0), (0, 1)), constant_values=-jnp.inf)  # where steps over the side lead
      local = jnp.take_along_axis(local, inside[:, None], axis=2).reshape(rows * w, near)
      score = jnp.concatenate([local, _products(query, first) - first_norm], axis=1)
      score, chosen = jax.lax.top_k(score, min(k, near + places))
      ahead = jnp.asarray(steps @ np.array([w, 1]))[chosen % len(steps)]
      index = (chosen // len(steps) + 1) * places + top * w + jnp.arange(rows * w)[:, None] + ahead
      index = jnp.where(chosen < near, index, chosen - near)
      return jnp.where(score > -jnp.inf, index, 0).astype(jnp.int32), score

    found = jax.lax.map(best, jnp.arange(blocks, frames * blocks))

    def whole(x: Array) -> Array:
      x = x.reshape(frames - 1, blocks * rows * w, -1)[:, :places]
      return jnp.pad(x, ((1, 0), (0, 0), (0, 0)))

    return whole(found[0]), whole(found[1])

  return jit(run)


def _rows(h: int, w: int, reach: int, context: int) -> int:
  """How many rows of a frame are looked at at once, so that no more than BLOCK scores are held, or those of a row."""
  fits = [rows for rows in range(1, h + 1) if rows * w * w * (h + context * (rows + 2 * reach)) <= BLOCK]
  return max(fits, default=1)


def _products(x: Array, y: Array) -> Array:
  """Of each of x [n,D] with each of y [...,D], f32 [n,...]: in float32 on every device."""
  return jnp.tensordot(x, y, (-1, -1), precision=jax.lax.Precision.HIGHEST)


def _windows(steps: np.ndarray, rows: int, w: int, reach: int) -> np.ndarray:
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
