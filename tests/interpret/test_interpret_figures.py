"""sslx.interpret.figures: pictures of known arrays."""

import numpy as np

from sslx.interpret import figures


def test_mosaic_places_every_picture():
  tiles = [np.full((3, 2), k, np.float32) for k in range(5)]
  out = figures.mosaic([tiles[:3], tiles[3:]], gap=1)
  assert out.shape == (7, 8)
  assert (out[4:7, 3:5] == 4).all()
  assert np.isnan(out[4:7, 6:8]).all()  # the missing sixth
  assert np.isnan(out[3]).all()
  assert np.isnan(out[:, 2]).all()


def test_filters_keep_their_sign_and_colours():
  grey = figures.scaled(np.float32([[[-2.0], [1.0]]]))
  np.testing.assert_allclose(grey, [[-1, 0.5]])
  colour = figures.scaled(np.float32([[[0, 0, 0], [4, -4, 2]]]))
  np.testing.assert_allclose(colour, [[[0.5, 0.5, 0.5], [1, 0, 0.75]]])
  assert np.isfinite(figures.scaled(np.zeros((2, 2, 1)))).all()


def test_gif_holds_every_frame(tmp_path):
  from PIL import Image

  ramp = np.linspace(0, 1, 6, dtype=np.float32)
  images = np.broadcast_to(ramp[:, None, None, None], (6, 28, 28, 1))
  with Image.open(figures.save_gif(images, tmp_path / "walk.gif")) as gif:
    assert gif.n_frames == 6
    assert gif.size == (224, 224)
    for k in range(6):
      gif.seek(k)
      assert abs(np.asarray(gif.convert("L"))[100, 100] - 255 * ramp[k]) <= 1
