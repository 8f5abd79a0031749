"""sslx.interpret: black dots, dead pixels and dead units of images that are made by hand."""

import numpy as np

from sslx import interpret


def test_black_dots_dead_pixels_and_dead_units():
  images = np.full((3, 5, 5, 1), 0.9, np.float32)
  made = images.copy()
  made[0, 2, 2] = made[0, 0, 2] = 0.0  # a dot, and one at the edge: none
  made[1, 2, 2], images[1, 2, 2] = 0.0, 0.0  # the image itself is dark there
  made[2, 2, 2] = made[2, 2, 3] = 0.0  # two pixels are no dot
  assert [tuple(map(int, i)) for i in np.argwhere(interpret.black_dots(images, made))] == [(0, 2, 2, 0)]
  made[2, 3, 1] = 0.05  # dark enough
  assert interpret.black_dots(images, made).sum() == 2
  images[:, 4, 4] = 0.0  # never needed
  made[:, 4, 4] = made[:, 1, 1] = 0.0
  dead, lit = interpret.dead_pixels(images, made)
  assert [tuple(map(int, i)) for i in np.argwhere(dead)] == [(1, 1, 0), (2, 2, 0)]
  assert lit.sum() == 24
  activity = np.array([[0, 1.0, 0.5, 3], [0, 2.0, 0.5, 3.005], [0, 0.0, 0.5, 3]])  # 1% of the liveliest: 0.02
  assert interpret.dead_units(activity) == 3
