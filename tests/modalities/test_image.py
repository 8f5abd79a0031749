"""Images: bytes become numbers in [0, 1], once, and numbers stay what they are."""

import jax
import numpy as np

from sslx.modalities import MODALITIES


def test_bytes_are_prepared_as_numbers_in_the_unit_interval():
  prepare = MODALITIES["image"].prepare
  x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
  assert prepare(x).dtype == np.float32
  np.testing.assert_allclose(np.asarray(prepare(x)).ravel(), np.arange(256) / 255, rtol=1e-6)
  np.testing.assert_allclose(jax.jit(prepare)(x), prepare(x), rtol=1e-6)


def test_prepared_images_are_not_prepared_again():
  prepare = MODALITIES["image"].prepare
  x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
  np.testing.assert_array_equal(prepare(prepare(x)), prepare(x))
  assert prepare(x.astype(np.float16)).dtype == np.float32
  np.testing.assert_array_equal(prepare(np.float64([[[[0.5]]]])), 0.5)


def test_an_image_is_its_own_picture_within_the_unit_interval():
  x = np.float32([[-0.5, 0.25, 1.5]])
  np.testing.assert_array_equal(MODALITIES["image"].picture(x, 0), np.float32([[0, 0.25, 1]]))


def test_a_modality_is_called_as_its_entry():
  for name, modality in MODALITIES.items():
    assert modality.name == name
