"""Masks and boxes go where the pixels of their images go."""

import numpy as np
import pytest
from PIL import Image

from sslx.data import geometry, images

SIZES = [(40, 40, 20), (60, 90, 30), (90, 60, 30), (33, 47, 20), (20, 31, 64), (48, 48, 48), (101, 37, 16)]


def rectangle(height, width, box, value=255):
  picture = np.zeros((height, width), np.uint8)
  top, left, bottom, right = box
  picture[top:bottom, left:right] = value
  return picture


def bounds(inside):
  """Top, left, bottom, right of what is True."""
  rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
  return np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_a_box_is_where_its_rectangle_is(height, width, size):
  """The rectangle goes through the very resize of images: its half-bright edge is the box's, to half a pixel."""
  rng = np.random.default_rng(0)
  seen = 0
  for _ in range(40):
    low = rng.integers(0, [height - 12, width - 12])
    high = low + rng.integers(8, 13, 2)
    box = np.array([[3, *low, *high]], np.float32)
    drawn = np.asarray(images.square(Image.fromarray(rectangle(height, width, (*low, *high))), size)) > 127
    moved = geometry.square_boxes(box, height, width, size)
    if len(moved) and (moved[0, 3:] - moved[0, 1:3] >= 2).all():
      assert moved[0, 0] == 3
      np.testing.assert_allclose(bounds(drawn), moved[0, 1:], atol=0.51)
      seen += 1
  assert seen > 5


def test_where_the_scale_is_a_half_boxes_are_exact():
  box = np.array([[0, 4, 24, 10, 40], [1, 0, 20, 40, 60]], np.float32)
  moved = geometry.square_boxes(box, 40, 80, 20)  # the centre, from column 20 to 60
  np.testing.assert_array_equal(moved, [[0, 2, 2, 5, 10], [1, 0, 0, 20, 20]])
  np.testing.assert_array_equal(geometry.square_boxes(box, 40, 80, None), box)


@pytest.mark.parametrize(("left", "kept"), [(-10, False), (-6, False), (-5, True), (-4, True)])
def test_a_box_of_which_less_than_a_quarter_remains_is_left_out(left, kept):
  """The square of 20x40 begins at column 10 and ends at 30; the box is 20 wide."""
  moved = geometry.square_boxes(np.array([[0, 5, left, 15, left + 20]], np.float32), 20, 40, 20)
  assert len(moved) == kept
  if kept:
    np.testing.assert_array_equal(moved, [[0, 5, 0, 15, left + 10]])


def test_of_no_boxes_there_are_none():
  assert geometry.square_boxes(np.zeros((0, 5), np.float32), 20, 40, 10).shape == (0, 5)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_a_pixel_of_a_mask_is_the_class_under_its_centre(height, width, size):
  mask = np.random.default_rng(0).choice(np.array([0, 1, 7, 255], np.uint8), (height, width))
  small = geometry.square_mask(mask, size)
  assert small.shape == (size, size)
  scale, offset = geometry.moved(height, width, size)
  rows, columns = (np.floor((np.arange(size) + 0.5 - offset[i]) / scale[i] + 1e-9).astype(int) for i in (0, 1))
  np.testing.assert_array_equal(small, mask[np.ix_(rows, columns)])


def test_masks_and_images_are_cut_alike():
  """A bright object in an image covers what the mask of it covers, to a pixel at its edge."""
  picture = rectangle(50, 90, (10, 30, 34, 61))
  image = np.asarray(images.square(Image.fromarray(picture), 32)) > 127
  mask = geometry.square_mask(picture // 255, 32) > 0
  assert np.abs(bounds(image) - bounds(mask)).max() <= 1
  assert (image != mask).mean() < 0.05


def test_rows_that_are_no_boxes_fill_up():
  boxes = [np.ones((2, 5), np.float32), np.zeros((0, 5), np.float32)]
  np.testing.assert_array_equal(geometry.padded(boxes, 2), [np.ones((2, 5)), [[-1, 0, 0, 0, 0]] * 2])
  np.testing.assert_array_equal(geometry.padded(boxes[1:], 0), [[[-1, 0, 0, 0, 0]]])  # one row at least
