"""A page on which a click on a place of a frame shows where in an earlier frame each encoder finds it again."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sslx.report import pages

LIMIT = 8 << 20  # bytes of maps that a page may hold (a third more in base64)


class Scene(NamedTuple):
  """Two frames of a video, and how each place of one attends to the places of the other."""

  name: str
  frame: np.ndarray
  """u8 [H,W,3]: the one that is clicked on."""
  reference: np.ndarray
  """u8 [H,W,3]"""
  maps: Mapping[str, np.ndarray]
  """{name of an encoder: f32 [h,w,h',w']}: of each place of the frame, how much of each place of the reference."""


def write_attention(path: Path, title: str, subtitle: str, scenes: Sequence[Scene]) -> Path:
  """Writes a self-contained page, atomically, and returns its path; scenes beyond LIMIT are left out, the first never.

  The largest value of each map is bright.
  """
  shown, size = [], 0
  for scene in scenes:
    size += sum(each.size for each in scene.maps.values())
    if shown and size > LIMIT:
      break
    shown.append(_scene(scene))
  return pages.write_page(
    path, "attention.html.jinja", {"title": title, "subtitle": subtitle, "model": {"scenes": shown}}
  )


def _scene(scene: Scene) -> dict[str, Any]:
  maps = [{"name": name, **_pack(_brightness(each)), "grid": list(each.shape)} for name, each in scene.maps.items()]
  return {"name": scene.name, "frame": _pack(scene.frame), "reference": _pack(scene.reference), "maps": maps}


def _brightness(maps: np.ndarray) -> np.ndarray:
  """u8: the square roots of maps [h,w,h',w'], of each place the largest is 255."""
  maps = np.sqrt(np.maximum(maps, 0))
  return np.rint(255 * maps / np.maximum(maps.max((2, 3), keepdims=True), 1e-12)).astype(np.uint8)


def _pack(array: np.ndarray) -> dict[str, Any]:
  """{"shape", "data"}: base64 of bytes."""
  return {"shape": list(array.shape), "data": base64.b64encode(np.ascontiguousarray(array, np.uint8).tobytes()).decode()}
