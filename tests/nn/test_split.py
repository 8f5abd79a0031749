"""The encoder of two halves, one of which sees lightness and the other colour."""

import jax
import numpy as np
import pytest
from pretexts import KEY, apply, init, pixels, prepared

from sslx import nn
from sslx.ops import color
from sslx.types import UserError


def images(n=5, height=9, width=10, channels=3, seed=0):
  return prepared(pixels(n, height, width, channels, seed))


def test_split_is_two_encoders_of_half_the_width():
  encoder, image = nn.build("split:widths=6-10,kernel=5-3"), images()
  params, _ = init(encoder, KEY, image)
  out = apply(encoder, params, {}, image)[0]
  lab = np.asarray(color.rgb_to_lab(image))
  alone = nn.build("conv:widths=3-5,kernel=5-3")
  for half, (name, x) in enumerate({"L": lab[..., :1] / 50 - 1, "ab": lab[..., 1:] / 50}.items()):
    half_params = {block: params[block][name] for block in params}
    expected = apply(alone, half_params, {}, x)[0]
    for block, width in (("block1", 3), ("block2", 5)):
      assert out[block].shape[-1] == 2 * width
      np.testing.assert_allclose(out[block][..., half * width :][..., :width], expected[block], rtol=1e-4, atol=1e-5)
    assert {p.shape for p in jax.tree.leaves(half_params)} == {p.shape for p in jax.tree.leaves(init(alone, KEY, x)[0])}
  assert set(params["block1"]) == {"L", "ab"}


@pytest.mark.parametrize("norm", ["none", "group", "batch"])
def test_a_half_is_blind_for_what_the_other_sees(norm):
  encoder = nn.build(f"split:widths=8-12,norm={norm}")
  lab = np.float32([60, 0, 0]) + np.random.default_rng(3).uniform(-8, 8, (4, 9, 7, 3)).astype(np.float32)
  other_colour, other_light = lab.copy(), lab.copy()
  other_colour[..., 1:] = lab[::-1, ..., 1:]
  other_light[..., :1] = lab[::-1, ..., :1]
  rgb = {"as it is": lab, "other colour": other_colour, "other light": other_light}
  rgb = {name: np.asarray(color.lab_to_rgb(x)) for name, x in rgb.items()}
  for x, want in zip(rgb.values(), (lab, other_colour, other_light), strict=True):
    np.testing.assert_allclose(color.rgb_to_lab(x), want, atol=1e-2)  # all within the gamut: nothing was clipped
  params, stats = init(encoder, KEY, rgb["as it is"])
  for train in (False, True):
    every = {name: apply(encoder, params, stats, x, train=train)[0] for name, x in rgb.items()}
    for half, same, different in (("1", "other colour", "other light"), ("2", "other light", "other colour")):
      for block in encoder.block_names:
        z = nn.read(every["as it is"], f"{block}@{half}")
        np.testing.assert_allclose(nn.read(every[same], f"{block}@{half}"), z, atol=2e-3)
        assert np.abs(nn.read(every[different], f"{block}@{half}") - z).max() > 0.05


def test_split_refuses():
  with pytest.raises(UserError, match=r"--encoder=split:widths=4-5: must be even"):
    nn.build("split:widths=4-5")
  with pytest.raises(UserError, match=r"--encoder=split: needs images in colour \(3 channels, not 1\)"):
    init(nn.build("split"), KEY, images(channels=1))
