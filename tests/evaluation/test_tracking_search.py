"""The search for settings of tracking: what it reaches is what tracking with these settings scores, ties, patches."""

import numpy as np
import pytest

from sslx.data.types import Video
from sslx.evaluation import frames as of_frames
from sslx.evaluation import segments, tracking
from sslx.evaluation import tracking_search as search


def moving_square(seed: int, frames: int = 5, size: int = 32) -> Video:
  """A square of random pixels that moves over random pixels, and its mask."""
  rng = np.random.default_rng(seed)
  background, square = (rng.integers(0, 256, (n, n, 3)).astype(np.uint8) for n in (size, 12))
  x, masks = np.repeat(background[None], frames, axis=0), np.zeros((frames, size, size), np.uint8)
  for t, (top, left) in enumerate(rng.integers(2, 6, (1, 2)) + 3 * np.arange(frames)[:, None]):
    x[t, top : top + 12, left : left + 12] = square
    masks[t, top : top + 12, left : left + 12] = 1
  return Video(f"clip{seed}", x, masks, np.ones(frames, bool))


@pytest.fixture
def videos(monkeypatch) -> list[Video]:
  for name, values in (("RADII", (1.0, 2.0)), ("KS", (1, 5))):
    monkeypatch.setattr(search, name, values)
  return [moving_square(seed) for seed in range(3)]


def test_each_setting_reaches_what_tracking_with_it_scores(videos):
  maps = {size: [of_frames.patches(video.frames, size, 4) for video in videos] for size in (4, 6)}
  found = search.choose(maps, videos, 4, (0.001, 0.05))
  assert len(found.tried) == len(dict(found.tried)) == 2 * 2 * 2 * 2
  assert found.both == max(both for _, both in found.tried) == dict(found.tried)[found.settings]
  assert len({both for _, both in found.tried}) > 8
  for settings, both in found.tried:
    tracked = [
      tracking.track(x, video.masks[0], 4, settings) for x, video in zip(maps[settings.patch], videos, strict=True)
    ]
    scores = [segments.score(video, masks) for video, masks in zip(videos, tracked, strict=True)]
    assert segments.means(scores).both == pytest.approx(both)


def test_of_settings_that_reach_the_same_the_first_is_chosen(videos):
  flat = [np.ones((5, 8, 8, 1), np.float32) for _ in videos]
  found = search.choose({0: flat}, videos, 4, (0.1, 0.2))
  first = next(settings for settings, both in found.tried if both == found.both)
  assert found.settings == first
  assert found.settings.temperature == 0.1  # of places that are alike it changes nothing
