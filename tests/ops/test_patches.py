"""Patches are pieces of the image, and go back to their places."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from sslx.ops.patches import patchify, unpatchify


@pytest.mark.parametrize(("size", "patch"), [((9, 7), 3), ((8, 8), 4), ((5, 16), 4), ((3, 2), 5), ((4, 6), 1)])
def test_patches_are_pieces_of_the_image(size, patch):
  x = np.random.default_rng(0).uniform(size=(2, *size, 3)).astype(np.float32)
  rows, columns = math.ceil(size[0] / patch), math.ceil(size[1] / patch)
  patches = np.asarray(patchify(jnp.asarray(x), patch))
  assert patches.shape == (2, rows, columns, patch * patch * 3)
  padded = x[:, np.minimum(np.arange(rows * patch), size[0] - 1)][
    :, :, np.minimum(np.arange(columns * patch), size[1] - 1)
  ]
  for r in range(rows):
    for c in range(columns):
      piece = padded[:, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch]
      np.testing.assert_array_equal(patches[:, r, c], piece.reshape(2, -1))
  np.testing.assert_array_equal(unpatchify(jnp.asarray(patches), patch, x.shape[1:]), x)
