"""sslx.data.images.with_channels: colour to grey and back."""

import numpy as np
from PIL import Image

from sslx.data import Split
from sslx.data.images import with_channels


def test_channels_are_converted_as_pillow_does():
  rng = np.random.default_rng(0)
  colour = Split(rng.integers(0, 256, (5, 7, 6, 3)).astype(np.uint8), np.arange(5, dtype=np.int32))
  grey = with_channels(colour, 1, 1 << 20)
  pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in colour.x])
  np.testing.assert_array_equal(grey.x[..., 0], pillow)
  back = with_channels(grey, 3, 1 << 20)
  np.testing.assert_array_equal(back.x, np.stack([pillow] * 3, axis=-1))
  assert with_channels(back, 3, 1 << 20) is back
  lazy = with_channels(colour, 1, 0)  # above the limit nothing is kept
  np.testing.assert_array_equal(lazy.x[np.array([3, 1])], grey.x[[3, 1]])
  np.testing.assert_array_equal(back.y, colour.y)
