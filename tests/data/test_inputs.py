"""What a model is given by hand: what is taken as it is meant, and the one line for everything else."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.data.inputs import accepted
from sslx.data.lazy import LazyArray
from sslx.modalities import MODALITIES
from sslx.types import UserError

IMAGE, SHAPE = MODALITIES["image"], (6, 5, 1)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
PIXELS[0, 0, 0], PIXELS[0, 0, 1] = 0, 255


def prepared(x, shape=SHAPE):
  return np.asarray(IMAGE.prepare(jnp.asarray(accepted(x, IMAGE, shape))))


@pytest.mark.parametrize(
  "x",
  [
    PIXELS, jnp.asarray(PIXELS), PIXELS.tolist(), PIXELS.astype(np.int64), PIXELS.astype(np.uint16),
    PIXELS.astype(np.int16), PIXELS / 255.0, (PIXELS / 255.0).astype(np.float32), jnp.asarray(PIXELS / 255.0),
    (PIXELS / 255.0).tolist(),
  ],
  ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')}",
)  # fmt: skip
def test_the_same_images_are_the_same_in_every_dtype(x):
  np.testing.assert_allclose(prepared(x), PIXELS.astype(np.float32) / 255, rtol=1e-6)


def test_what_is_right_is_not_copied():
  for x in (PIXELS, jnp.asarray(PIXELS), (PIXELS / 255).astype(np.float32)):
    assert accepted(x, IMAGE, SHAPE) is x


def test_half_precision_and_rounding_are_no_fault():
  for x in (jnp.asarray(PIXELS / 255, jnp.bfloat16), (PIXELS / 255).astype(np.float16), PIXELS / 255 * 1.0005 - 2e-4):
    np.testing.assert_allclose(prepared(x), PIXELS / 255, atol=4e-3)


WRONG_VALUES = [
  (PIXELS.astype(np.float32), "float images in [0, 255]; give uint8, or divide by 255."),
  (jnp.asarray(PIXELS, jnp.float32), "float images in [0, 255]; give uint8, or divide by 255."),
  (PIXELS / 127.5 - 1, "float images in [-1, 1], expected [0, 1]; give (x + 1) / 2."),
  ((PIXELS / 255 - 0.13) / 0.31, "float images in [-0.419, 2.81], expected [0, 1]; undo what scaled them."),
  (PIXELS > 99, 'images of True and False; multiply by 255: give x.astype("uint8") * 255.'),
  (PIXELS.astype(np.uint16) * 257, 'uint16 images in [0, 65535]; divide by 257: give (x // 257).astype("uint8").'),
  (PIXELS.astype(np.int32) - 128, "int32 images in [-128, 127]; scale them to 0..255"),
  (np.where(PIXELS == 0, np.nan, 0.5), "float images with values that are not finite (NaN or infinity)."),
  (np.where(PIXELS == 0, np.inf, 0.5), "not finite"),
  (PIXELS + 0j, "images of dtype complex128; give uint8 in 0..255, or floats in [0, 1]."),
  (PIXELS.astype(str), "images of dtype"),
  (PIXELS.astype(object), "images of dtype object"),
]


@pytest.mark.parametrize(("x", "message"), WRONG_VALUES, ids=lambda value: value[:20] if isinstance(value, str) else "")
def test_values_that_cannot_be_meant(x, message):
  with pytest.raises(UserError, match=f"^x: .*{re.escape(message)}") as caught:
    accepted(x, IMAGE, SHAPE)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("given", "shape", "cure"),
  [
    ((6, 5, 1), (6, 5, 1), "give x[None]."),
    ((2, 6, 5), (6, 5, 1), "give x[..., None]."),
    ((6, 5), (6, 5, 1), "give x[None, ..., None]."),
    ((2, 3, 6, 5), (6, 5, 3), "give numpy.moveaxis(x, 1, -1)."),
    ((3, 6, 5), (6, 5, 3), "give numpy.moveaxis(x, 0, -1)[None]."),
    ((2, 1, 6, 5), (6, 5, 1), "give numpy.moveaxis(x, 1, -1)."),
  ],
)
def test_the_cure_of_a_wrong_shape_is_one(given, shape, cure):
  with pytest.raises(UserError) as caught:
    accepted(np.zeros(given, np.uint8), IMAGE, shape)
  line = str(caught.value)
  assert line.startswith(f"x of shape {given}")
  assert f"expected [N,{','.join(map(str, shape))}]" in line
  assert line.endswith(cure)
  x = np.zeros(given, np.uint8)
  mended = eval(cure[5:-1], {"x": x, "numpy": np})
  assert accepted(mended, IMAGE, shape) is mended


@pytest.mark.parametrize(
  ("given", "shape", "message"),
  [
    ((2, 12, 10, 1), (6, 5, 1), "of another size; expected [N,6,5,1]"),
    ((2, 6, 5, 3), (6, 5, 1), "images in colour; expected [N,6,5,1]"),
    ((2, 6, 5, 4), (6, 5, 3), "images of 4 channels; expected [N,6,5,3]"),
    ((2, 30), (6, 5, 1), "expected [N,6,5,1]"),
    ((), (6, 5, 1), "expected [N,6,5,1]"),
    ((2, 7), (8,), "expected [N,8]"),
  ],
)
def test_a_wrong_shape_without_a_simple_cure(given, shape, message):
  with pytest.raises(UserError, match=re.escape(f"x of shape {given}: ") + ".*" + re.escape(message)):
    accepted(np.zeros(given, np.uint8), IMAGE, shape)


def test_lists_of_several_lengths_are_no_array():
  with pytest.raises(UserError, match=r"^x: expected an array \[N,6,5,1\]"):
    accepted([[1, 2], [3]], IMAGE, SHAPE)


def test_a_lazy_array_is_looked_at_when_it_is_read():
  lazy = LazyArray((3, *SHAPE), lambda rows: PIXELS[rows].astype(np.int64), np.dtype(np.int64))
  taken = accepted(lazy, IMAGE, SHAPE)
  np.testing.assert_array_equal(taken[np.arange(2)], PIXELS[:2])
  wrong = accepted(LazyArray((3, *SHAPE), lambda rows: PIXELS[rows] * 1.0, np.dtype(float)), IMAGE, SHAPE)
  with pytest.raises(UserError, match="divide by 255"):
    wrong[np.arange(2)]
  with pytest.raises(UserError, match="of another size"):
    accepted(lazy, IMAGE, (9, 9, 1))


def test_nothing_is_looked_at_where_there_are_no_values():
  seen = jax.jit(lambda x: accepted(x, IMAGE, SHAPE).sum())(PIXELS * 1.0)
  assert seen == pytest.approx(PIXELS.sum())
  assert jax.vmap(lambda x: accepted(x, IMAGE, SHAPE))(PIXELS[:, None] * 1.0).shape == (3, 1, *SHAPE)


def test_of_a_modality_without_a_rule_the_shape_alone_is_checked():
  sound = IMAGE._replace(name="sound", accept=None)
  x = np.full((2, 7), -3.5)
  assert accepted(x, sound, (7,)) is x
  with pytest.raises(UserError, match=r"x of shape \(2, 7\): expected \[N,8\]"):
    accepted(x, sound, (8,))


def test_no_images_are_images():
  for dtype in (np.uint8, np.float32, np.int64):
    assert accepted(np.zeros((0, *SHAPE), dtype), IMAGE, SHAPE).shape == (0, *SHAPE)
