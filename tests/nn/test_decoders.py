"""Decoders: any size, every pixel in its place."""

import jax
import numpy as np
import pytest
from pretexts import KEY, apply, init

from sslx import nn


def decoded(module, z):
  def forward(z):
    params, _ = nn.init(module, KEY, z)
    return nn.apply(module, params, {}, z)[0]

  return jax.eval_shape(forward, z).shape


@pytest.mark.parametrize("upsample", ["transpose", "resize"])
def test_conv_decoder_returns_any_size(upsample):
  flat = np.zeros((2, 5), np.float32)
  for height in (*range(1, 13), 27, 28, 32, 33):
    shape = (height, 34 - height if height % 3 else height, 1 + 2 * (height % 2))
    start = (-(-shape[0] // 4), -(-shape[1] // 4))
    decoder = nn.ConvDecoder(shape, (6, 4), upsample)
    assert decoded(decoder, flat) == (2, *shape)
    assert decoded(decoder, np.zeros((2, *start, 3), np.float32)) == (2, *shape)
  assert decoded(nn.ConvDecoder((28, 28, 1), (6, 4, 3), upsample), np.zeros((2, 3, 3, 32), np.float32)) == (
    2,
    28,
    28,
    1,
  )


def test_pixel_decoder_returns_any_size():
  for height in range(1, 12):
    shape = (height, 13 - height, 5)
    assert decoded(nn.PixelDecoder(shape), np.zeros((2, 5), np.float32)) == (2, *shape)
    assert decoded(nn.PixelDecoder(shape), np.zeros((2, 4, 3, 6), np.float32)) == (2, *shape)


def test_mlp_decoder():
  assert decoded(nn.MlpDecoder((5, 7, 3)), np.zeros((2, 4), np.float32)) == (2, 5, 7, 3)
  assert decoded(nn.MlpDecoder((5, 7, 1), (8, 9)), np.zeros((2, 2, 2, 4), np.float32)) == (2, 5, 7, 1)


@pytest.mark.parametrize(
  "decoder",
  [
    nn.ConvDecoder((14, 14, 1), (4, 4), "transpose"),
    nn.ConvDecoder((14, 14, 1), (4, 4), "resize"),
    nn.PixelDecoder((14, 14, 1), 8),
  ],
  ids=["transpose", "resize", "pixel"],
)
def test_conv_decoder_reaches_every_pixel_in_place(decoder):
  """Each output pixel depends on the code, and a code's cell only on what is near it (no shift by cropping)."""
  z = np.ones((1, 4, 4, 4), np.float32)
  params, _ = init(decoder, KEY, z)
  bump = z.copy()
  bump[0, 1, 2] += 1
  base, moved = (np.asarray(apply(decoder, params, {}, v)[0])[0, :, :, 0] for v in (z, bump))
  rows, columns = np.nonzero(base != moved)
  # the encoder's cell (1, 2) covers rows 4 .. 7 and columns 8 .. 11 (sizes are rounded up); 3x3 kernels reach further
  assert abs(rows.mean() - 5.5) < 2.1
  assert abs(columns.mean() - 9.5) < 2.1
  assert np.ptp(rows) < 11


@pytest.mark.parametrize(("size", "code"), [((9, 7), (9, 7)), ((9, 7), (5, 4)), ((28, 28), (7, 7))])
def test_dictionary_decoder_places_its_kernels(size, code):
  """One active unit draws its kernel around its place; the image is the sum over units, times their values."""
  decoder = nn.DictionaryDecoder((*size, 2), kernel=3)
  z = np.zeros((1, *code, 3), np.float32)
  params, _ = init(decoder, KEY, z)
  params["ConvTranspose_0"]["bias"] = np.float32([0.5, -1])
  stride = [-(-s // c) for s, c in zip(size, code, strict=True)]
  z[0, 1, 2, 0], z[0, 3, 1, 2] = 2, -1
  kernel, drawn = np.asarray(params["ConvTranspose_0"]["kernel"]), np.zeros((60, 60, 2))
  for i, j, unit, value in ((1, 2, 0, 2), (3, 1, 2, -1)):
    top, left = i * stride[0] + 10, j * stride[1] + 10
    drawn[top : top + 3, left : left + 3] += value * kernel[::-1, ::-1, unit]
  got = np.asarray(apply(decoder, params, {}, z)[0])[0]
  assert got.shape == (*size, 2)

  def shifted(rows, columns):  # where "SAME" puts the kernel around its place depends on stride and kernel
    moved = np.roll(drawn, (-rows, -columns), (0, 1))
    return moved[10 : 10 + size[0], 10 : 10 + size[1]] + np.float32([0.5, -1])

  assert any(np.allclose(got, shifted(*shift), atol=1e-6) for shift in np.ndindex(3, 3))
