"""Rotation: exact turns, all four of every image, and pictures that are turned back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, TINY, make, make_batch

from sslx.pretext.rotation import rotate
from sslx.types import UserError


def test_rotations_are_exact():
  x = np.random.default_rng(0).uniform(size=(3, 5, 5, 2)).astype(np.float32)
  turned, label = map(np.asarray, rotate(x))
  np.testing.assert_array_equal(label, np.tile([0, 1, 2, 3], 3))
  parts = [turned[turns::4] for turns in range(4)]
  np.testing.assert_array_equal(parts[0], x)
  np.testing.assert_array_equal(parts[1], x.swapaxes(1, 2)[:, ::-1])  # counter-clockwise: transpose, flip the rows
  np.testing.assert_array_equal(parts[2], x[:, ::-1, ::-1])
  np.testing.assert_array_equal(parts[3], x.swapaxes(1, 2)[:, :, ::-1])
  again = np.asarray(rotate(rotate(rotate(parts[1])[0][1::4])[0][1::4])[0][1::4])
  np.testing.assert_array_equal(again, x)  # four quarter turns
  corner = np.zeros((1, 3, 3, 1), np.float32)
  corner[0, 0, 2] = 1  # top right; one turn counter-clockwise brings it to the top left
  assert np.asarray(rotate(corner)[0])[1, 0, 0, 0] == 1


def test_rotation_view_and_loss(batch):
  pretext = make("rotation", TINY)
  view = pretext.transform(KEY, batch)
  assert view["x"].shape == (24, 6, 6, 1)
  for i in range(6):  # all four of every image
    for r in range(4):
      assert int(view["label"][4 * i + r]) == r
      np.testing.assert_allclose(view["x"][4 * i + r], np.rot90(batch["x"][i], r), atol=1e-6)
  params, state = pretext.init(KEY, batch)
  params = {**params, "head": jax.tree.map(jnp.zeros_like, params["head"])}
  value, (_, metrics) = pretext.loss(params, state, KEY, view)
  assert value == pytest.approx(np.log(4))
  assert metrics["rotation_accuracy"] == 0.25
  bias = jnp.array([-50.0, 50.0, -50.0, -50.0])  # always says one turn
  params["head"]["Dense_0"]["bias"] = bias
  assert pretext.loss(params, state, KEY, view)[1][1]["rotation_accuracy"] == 0.25
  shown = pretext.show(params, state, KEY, batch)
  np.testing.assert_allclose(shown["90°, turned back as guessed"], view["x"][::4], atol=1e-6)  # a right guess: upright
  np.testing.assert_allclose(shown["180°, turned back as guessed"], view["x"][1::4], atol=1e-6)
  np.testing.assert_allclose(shown["turned by 270°"], view["x"][3::4], atol=1e-6)


def test_rotation_needs_square_images():
  with pytest.raises(UserError, match="square images, not 6x5; use --image_size"):
    make("rotation", TINY).transform(KEY, make_batch(2, 6, 5))
