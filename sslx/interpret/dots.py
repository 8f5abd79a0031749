"""Black dots: pixels that a reconstruction lacks, and the dead pixels and units that may be why."""

import numpy as np

DARK, BRIGHT = 0.1, 0.5
LIVELY = 0.01  # of the largest range among a layer's units: below that a unit counts as dead


def black_dots(images: np.ndarray, made: np.ndarray) -> np.ndarray:
  """bool [N,H,W,C]: where a reconstruction has a hole of one pixel: it is dark there, and the image is not, nor are the
  reconstruction's four neighbours. Never at an edge.

  images, made: f32 [N,H,W,C] in [0, 1].
  """
  bright, dots = made > BRIGHT, np.zeros(made.shape, bool)
  around = bright[:, :-2, 1:-1] & bright[:, 2:, 1:-1] & bright[:, 1:-1, :-2] & bright[:, 1:-1, 2:]
  dots[:, 1:-1, 1:-1] = around & (made < DARK)[:, 1:-1, 1:-1] & (images > BRIGHT)[:, 1:-1, 1:-1]
  return dots


def dead_pixels(images: np.ndarray, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(bool [H,W,C], bool [H,W,C]): pixels that are 0 in every reconstruction though bright in an image; all that are
  bright in an image.

  A linear output that is cut at 0 is 0 there where a relu output would be, and a relu output that is 0 for every image
  has no gradient in any.
  """
  lit = np.any(images > BRIGHT, axis=0)
  return np.logical_and(lit, np.all(made <= 0, axis=0)), np.asarray(lit)


def dead_units(activity: np.ndarray) -> int:
  """How many units of a layer, [N,D] over N images, hardly change, as relus that are never active."""
  spread = np.ptp(activity, axis=0)
  return int((spread <= LIVELY * spread.max()).sum())
