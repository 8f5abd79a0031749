"""Strips of frames."""

import numpy as np

from sslx.modalities.video import GAP, STRIP, VIDEO


def test_a_strip_goes_from_the_first_frame_to_the_last():
  """STRIP frames at even distances, white between them; of fewer, each once; a frame is its own picture."""
  x = np.arange(11, dtype=np.float32)[None, :, None, None, None] / 10 * np.ones((2, 1, 4, 3, 3), np.float32)
  strip = VIDEO.picture(x, None)
  assert strip.shape == (2, 4, 3 * STRIP + GAP * (STRIP - 1), 3)
  starts = np.arange(STRIP) * (3 + GAP)
  np.testing.assert_allclose(strip[0, 0, starts, 0], [0, 0.2, 0.4, 0.6, 0.8, 1], atol=1e-6)
  assert strip[0, :, 3 : 3 + GAP].min() == 1
  assert VIDEO.picture(x[:, :2], None).shape == (2, 4, 2 * 3 + GAP, 3)
  np.testing.assert_array_equal(VIDEO.picture(x[:, 4], None), x[:, 4])
