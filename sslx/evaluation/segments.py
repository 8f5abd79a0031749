"""Scores of masks that were tracked through a video: region similarity J, boundary F, and J&F, the mean of both.

    J = |M and G| / |M or G|          F = 2 P R / (P + R)

of the mask M of an object and its true mask G in one frame. P is the share of M's boundary that lies within
ceil(0.008 diagonal) pixels of G's, R the share of G's boundary that lies so near to M's.

Perazzi, Pont-Tuset, McWilliams, Van Gool, Gross, Sorkine-Hornung: A Benchmark Dataset and Evaluation Methodology for
Video Object Segmentation, CVPR 2016; several objects: Pont-Tuset et al., The 2017 DAVIS Challenge on Video Object
Segmentation, arXiv 1704.00675. Cases that the papers leave open are as in the challenge's program: J is 1 where neither
mask has a pixel; of boundaries without pixels, P is 1 where M has none and R is 1 where G has none.
Deviations: the challenge leaves the last frame out, and we score it, as our clips are short; the challenge averages
over all objects of all videos, and we over the objects of a video and then over videos, so that an interval over videos
is one of the mean in the table.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sslx.data.types import Video
from sslx.types import UserError, brief

TOLERANCE = 0.008  # of the diagonal: how far apart two boundaries may lie that match


class VideoScore(NamedTuple):
  """What the masks of one video are worth: means over its scored frames, then over its objects."""

  name: str
  region: float
  """J, in [0, 1]."""
  boundary: float
  """F, in [0, 1]."""
  objects: np.ndarray
  """f64 [K,2]: J and F of each object, in the order of their numbers."""
  frames: np.ndarray
  """f64 [S,K,2]: the same of each scored frame."""

  __repr__ = brief

  @property
  def both(self) -> float:
    """J&F."""
    return (self.region + self.boundary) / 2


class Means(NamedTuple):
  """Scores of a set of videos."""

  region: float
  """J, mean over videos."""
  boundary: float
  """F, mean over videos."""
  both: float
  """J&F, mean over videos."""
  over_objects: float
  """J&F as the challenge of 2017 has it: mean over all objects of all videos."""


def region(true: np.ndarray, tracked: np.ndarray) -> np.ndarray:
  """J of masks bool [...,H,W], f64 [...]; 1 where both are empty."""
  both, either = (true & tracked).sum((-2, -1)), (true | tracked).sum((-2, -1))
  return np.where(either == 0, 1.0, both / np.maximum(either, 1))


def boundary(true: np.ndarray, tracked: np.ndarray) -> np.ndarray:
  """F of masks bool [...,H,W], f64 [...]."""
  edges, others = outline(true), outline(tracked)
  precision, recall = _share_near(others, edges), _share_near(edges, others)
  return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def outline(mask: np.ndarray) -> np.ndarray:
  """The boundary of masks bool [...,H,W], bool [...,H,W]: pixels that differ from the one to their right, the one below
  or the one between these two; what would lie outside of the frame is as its nearest pixel.
  """
  around = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(0, 1), (0, 1)], mode="edge")
  right, below, between = around[..., :-1, 1:], around[..., 1:, :-1], around[..., 1:, 1:]
  return (mask != right) | (mask != below) | (mask != between)


def _share_near(edges: np.ndarray, others: np.ndarray) -> np.ndarray:
  """The share of the pixels of `edges` bool [...,H,W] that lie near one of `others`; 1 where there are none."""
  count = edges.sum((-2, -1))
  return np.where(count == 0, 1.0, (edges & _widened(others)).sum((-2, -1)) / np.maximum(count, 1))


def _widened(edges: np.ndarray) -> np.ndarray:
  """Pixels within the tolerance of one of `edges` bool [...,H,W]."""
  from scipy import ndimage

  size = edges.shape[-2:]
  radius = int(np.ceil(TOLERANCE * np.hypot(*size)))
  y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
  disk = (y**2 + x**2 <= radius**2)[None]
  return ndimage.binary_dilation(edges.reshape(-1, *size), disk).reshape(edges.shape)


def objects_of(video: Video) -> np.ndarray:
  """The numbers of the objects in a video's first frame, which are those that can be tracked, i64 [K], ascending.

  Raises:
    UserError: there are none.
  """
  found = np.unique(np.asarray(video.masks[0]))
  found = found[found > 0].astype(np.int64)
  if not len(found):
    raise UserError(f"video {video.name}: its first frame has no object in its mask, so that there is nothing to track")
  return found


def score(video: Video, tracked: np.ndarray) -> VideoScore:
  """What tracked masks u8 [T,H,W] are worth. The first frame, whose mask is given, and frames without annotation are
  passed over.
  """
  objects, scored = objects_of(video), np.flatnonzero(video.annotated[1:]) + 1
  if not len(scored):
    raise UserError(f"video {video.name}: no frame behind its first one is annotated, so that nothing can be scored")
  true, given = np.asarray(video.masks), []
  for number in objects:  # one by one: a long video of several would be large
    masks = true[scored] == number, tracked[scored] == number
    given.append(np.stack([region(*masks), boundary(*masks)], axis=-1))
  frames = np.stack(given, axis=1)
  each = frames.mean(0)
  return VideoScore(video.name, float(each[:, 0].mean()), float(each[:, 1].mean()), each, frames)


def means(scores: Sequence[VideoScore]) -> Means:
  """Scores of a set of videos, each of which counts alike, however many frames and objects it has."""
  j, f = (float(np.mean([getattr(score, name) for score in scores])) for name in ("region", "boundary"))
  return Means(j, f, (j + f) / 2, float(np.mean(np.concatenate([score.objects for score in scores]))))
