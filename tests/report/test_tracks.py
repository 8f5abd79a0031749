"""Masks over frames, moving pictures, and where a place looks."""

import base64
import json
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from sslx.report import attention
from sslx.report.attention import Scene, write_attention
from sslx.report.figures import attention_rows, save, save_moving, track_rows
from sslx.report.figures.masks import colour_of
from sslx.report.figures.tracks import FRAMES, GAP, HEAD, MIX, evenly, heat, overlay

RNG = np.random.default_rng(0)


def video(t: int = 5, height: int = 16, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
  """Random frames, and masks of a square of object 1 and one of object 2 that move to the right."""
  frames = RNG.integers(0, 256, (t, height, width, 3), dtype=np.uint8)
  masks = np.zeros((t, height, width), np.uint8)
  for i in range(t):
    masks[i, 2:6, i % 6 : i % 6 + 4], masks[i, 9:12, i % 6 : i % 6 + 3] = 1, 2
  return frames, masks


def test_an_object_has_its_colour_and_the_rest_is_grey():
  frames, masks = video()
  painted, grey = overlay(frames, masks), frames.mean(-1) / 255
  for c in range(3):
    np.testing.assert_allclose(painted[..., c][masks == 0], grey[masks == 0], atol=1e-6)
    for number in (1, 2):
      expected = (1 - MIX) * grey + MIX * to_rgb(colour_of(number))[c]
      np.testing.assert_allclose(painted[..., c][masks == number], expected[masks == number], atol=1e-6)


@pytest.mark.parametrize(("count", "most", "expected"), [(3, 6, [0, 1, 2]), (12, 6, [0, 2, 4, 7, 9, 11]), (1, 6, [0])])
def test_frames_at_even_distances(count, most, expected):
  np.testing.assert_array_equal(evenly(count, most), expected)


def test_a_moving_picture(tmp_path):
  """A frame of it for each of the video's, at most FRAMES; panels side by side, as large as it says, for ever."""
  frames, masks = video(40)
  path = save_moving(frames, {"true": masks, "a name that is far too long for a panel": masks * 0}, tmp_path / "a.gif")
  with Image.open(path) as image:
    assert image.n_frames == FRAMES
    assert image.size == (2 * 8 * 12 + GAP, 8 * 16 + HEAD)
    assert image.info["loop"] == 0
    image.seek(FRAMES - 1)
    last = np.asarray(image.convert("RGB"), np.float32)[HEAD:] / 255
  expected = overlay(frames[-1:], masks[-1:])[0].repeat(8, 0).repeat(8, 1)
  assert np.abs(last[:, : 8 * 12] - expected).mean() < 0.05  # a palette of 128 colours
  assert np.abs(last[:, : 8 * 12] - overlay(frames[:1], masks[:1])[0].repeat(8, 0).repeat(8, 1)).mean() > 0.1


def test_strips_and_attention_are_drawn(tmp_path):
  frames, masks = video()
  fig = track_rows(frames, {"true masks": masks, "raw": masks}, "video $1$")
  assert [ax.get_ylabel() for ax in fig.axes] == ["frames", "true masks", "raw"]
  maps = RNG.random((2, 4, 3)).astype(np.float32)
  assert save(attention_rows(frames[:2], frames[2:4], [(0, 0), (15, 11)], {"raw": maps}), tmp_path / "a.png").exists()


def test_heat_is_brightest_where_a_map_is_largest():
  maps = np.zeros((1, 4, 3), np.float32)
  maps[0, 2, 1] = 7
  drawn = heat(np.full((1, 16, 12, 3), 100, np.uint8), maps)[0].sum(-1)
  bright = drawn > 2
  assert bright[8:12, 4:8].all()
  assert bright.sum() == 16


def scene(name: str = "clip", size: int = 4) -> Scene:
  frames, _ = video(2)
  return Scene(name, frames[1], frames[0], {"raw": RNG.random((size, 3, size, 3)).astype(np.float32)})


def test_a_page_of_attention_holds_its_frames_and_maps(tmp_path):
  """Read back: the bytes of the frames, and of each map the square root of its share of the largest."""
  made = scene("a </script><b>")
  page = write_attention(tmp_path / "a.html", "title", "subtitle", [made]).read_text()
  model = json.loads(re.search(r"const model = (.*);\n", page)[1])
  (shown,) = model["scenes"]
  assert shown["name"] == made.name
  assert "</script><b>" not in page
  frame = np.frombuffer(base64.b64decode(shown["frame"]["data"]), np.uint8).reshape(shown["frame"]["shape"])
  np.testing.assert_array_equal(frame, made.frame)
  (packed,) = shown["maps"]
  assert packed["grid"] == [4, 3, 4, 3]
  values = np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(packed["grid"])
  largest = made.maps["raw"].max((2, 3), keepdims=True)
  np.testing.assert_allclose(values / 255, np.sqrt(made.maps["raw"] / largest), atol=0.5 / 255 + 1e-6)


def test_a_page_does_not_grow_beyond_its_limit(tmp_path, monkeypatch):
  monkeypatch.setattr(attention, "LIMIT", 200)
  page = write_attention(tmp_path / "a.html", "title", "", [scene("one", 6), scene("two", 6)]).read_text()
  assert "one" in page
  assert '"two"' not in page
