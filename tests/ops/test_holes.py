"""Holes: how much is hidden, where, and that every image has its own."""

import numpy as np
import pytest
from holes import hidden

from sslx.ops.holes import HOLES


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("size", [(5, 5), (9, 7), (28, 28)], ids=str)
@pytest.mark.parametrize("fraction", [0.001, 0.25, 0.5, 0.999])
def test_something_is_hidden_and_something_is_left(hole, size, fraction):
  mask = hidden(hole, (40, *size, 3), fraction)
  assert mask.shape == (40, *size, 1)
  assert mask.dtype == bool
  count = mask.sum((1, 2, 3))
  assert (count > 0).all()
  assert (count < size[0] * size[1]).all()


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.75])
def test_centre_is_a_rectangle_in_the_middle(fraction):
  for height, width in [(28, 28), (32, 32), (9, 7), (5, 5)]:
    mask = hidden("centre", (3, height, width, 1), fraction)
    rows, columns = np.flatnonzero(mask[0].any((1, 2))), np.flatnonzero(mask[0].any((0, 2)))
    h, w = len(rows), len(columns)
    assert mask.sum() == 3 * h * w  # all of the rectangle, in every image
    assert h == pytest.approx(height * fraction**0.5, abs=0.51)
    assert h * w == pytest.approx(fraction * height * width, abs=h / 2 + 0.01)
    assert abs(rows[0] - (height - 1 - rows[-1])) <= 1
    assert abs(columns[0] - (width - 1 - columns[-1])) <= 1
  assert hidden("centre", (1, 28, 28, 1), 0.25)[0, 7:21, 7:21].all()  # a quarter: 14 x 14


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.8])
def test_shapes_hide_the_exact_number_of_pixels(fraction):
  for height, width in [(28, 28), (9, 7), (5, 5)]:
    count = hidden("shapes", (60, height, width, 1), fraction).sum((1, 2, 3))
    assert (count == round(fraction * height * width)).all()


def test_shapes_are_patches_not_noise():
  mask = hidden("shapes", (60, 28, 28, 1), 0.25)[..., 0]
  assert (mask[:, 1:] == mask[:, :-1]).mean() > 0.9  # of independent pixels 0.625


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.8])
def test_blocks_hide_every_pixel_equally_often(fraction):
  """`fraction` of the images, in the corners as in the middle."""
  n = 4000
  for height, width in [(12, 10), (5, 5)]:
    often = hidden("blocks", (n, height, width, 1), fraction).mean(0)
    often = np.delete(often.ravel(), height // 2 * width + width // 2)  # the middle: what changes where none or all are
    assert often.mean() == pytest.approx(fraction, abs=0.015)
    np.testing.assert_allclose(often, fraction, atol=5 * (fraction * (1 - fraction) / n) ** 0.5)


def test_blocks_are_at_most_five_rectangles():
  """Each is a set of rows times a set of neighbouring columns: rows of one image know few patterns."""
  for mask in hidden("blocks", (50, 28, 28, 1), 0.25)[..., 0]:
    assert len({row.tobytes() for row in mask}) <= 11  # five intervals begin and end
    assert (np.diff(mask.astype(int), axis=1) == 1).sum(1).max() <= 5


@pytest.mark.parametrize("hole", ["blocks", "shapes"])
def test_every_image_and_key_has_a_hole_of_its_own(hole):
  mask, other = hidden(hole, (20, 12, 10, 1), 0.3), hidden(hole, (20, 12, 10, 1), 0.3, seed=1)
  assert len({one.tobytes() for one in [*mask, *other]}) == 40


def test_directions():
  """bottom from top, right from left."""
  for height, width in [(28, 28), (9, 7)]:
    mask = hidden("bottom", (2, height, width, 1), 0.5)
    assert mask[:, height - round(height / 2) :].all()
    assert not mask[:, : height - round(height / 2)].any()
    mask = hidden("right", (2, height, width, 1), 0.25)
    assert mask[:, :, width - round(width / 4) :].all()
    assert not mask[:, :, : width - round(width / 4)].any()
