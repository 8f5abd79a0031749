"""The settings that a row of tracking is scored with: one search over a grid, the same for all rows, on videos for
validation. Untuned grey patches lose a third of what they reach (J&F .33 at radius 6, .43 at radius 2), so that what is
compared with them would look better than it is.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslx.data.types import Video
from sslx.evaluation import segments
from sslx.evaluation.tracking import Settings, copy_labels, neighbours, to_grid, to_pixels
from sslx.types import brief

RADII = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # places
KS = (5, 10, 20)
CONTEXT = 4
TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2)  # of features of unit length
RAW_TEMPERATURES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005)  # of patches, whose distances are smaller
PATCHES = (4, 6, 8)  # pixels


class Choice(NamedTuple):
  """What a search found."""

  settings: Settings
  both: float
  """J&F that they reach, mean over the videos."""
  tried: tuple[tuple[Settings, float], ...]
  """All settings and what they reach, in the order of the search."""

  __repr__ = brief


def choose(
  maps: Mapping[int, Sequence[np.ndarray]],
  videos: Sequence[Video],
  stride: int,
  temperatures: Sequence[float] = TEMPERATURES,
) -> Choice:
  """The settings of the grid with the largest J&F on the videos; of several the first.

  maps: features f32 [T,h,w,D] of each video, by the size of the patches that they are; 0 where they are an encoder's.
  """
  tried = []
  for patch, radius in itertools.product(maps, RADII):
    grid = [Settings(radius, t, k, CONTEXT, patch) for t, k in itertools.product(temperatures, KS)]
    scores = [_scores(features, video, stride, grid) for features, video in zip(maps[patch], videos, strict=True)]
    tried += zip(grid, map(float, np.mean(scores, axis=0)), strict=True)
  settings, both = max(tried, key=lambda pair: pair[1])
  return Choice(settings, both, tuple(tried))


def _scores(features: np.ndarray, video: Video, stride: int, grid: Sequence[Settings]) -> list[float]:
  """J&F of a video with settings that differ in temperature and k alone: their neighbours are the same."""
  masks = np.asarray(video.masks)
  labels = to_grid(masks[0], features.shape[1:3], stride, int(masks[0].max()))
  found = neighbours(features, grid[0].radius, max(settings.k for settings in grid), grid[0].context)
  tracked = (to_pixels(copy_labels(labels, found, settings), masks.shape[1:], stride) for settings in grid)
  return [segments.score(video, masks).both for masks in tracked]
