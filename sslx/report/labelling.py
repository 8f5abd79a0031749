"""A page on which a person gives classes to examples, by clicks or keys, and saves them as labels.csv.

It is one file that works offline. What was labelled is kept in the browser, under a key that is made of what the page
shows, until the page is of other examples.
"""

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.report import pages

SIDE = 320  # pixels of the longer side of a picture at most
SMOOTH = 64  # pixels of the shorter side from which a picture is a JPEG


class Item(NamedTuple):
  """An example that is to be labelled."""

  path: str
  """As labels.csv names it."""
  why: str = ""
  """It was chosen, in words."""
  picture: str = ""
  """A data URI."""
  sound: str = ""
  """A data URI."""
  text: str = ""
  suggested: str = ""
  """The class that a model says; it is shown, and never taken for the person's answer."""
  confidence: float | None = None
  given: str = ""
  """The class that it is labelled with."""


def write_labelling(
  path: Path,
  title: str,
  subtitle: str,
  items: Sequence[Item],
  classes: Sequence[str],
  before: Mapping[str, str] | None = None,
) -> Path:
  """Writes the page, atomically, and returns its path. A person may add to the classes.

  before: {path: class} of what was labelled earlier, which labels.csv has too; an answer on the page takes its place.
  """
  earlier = [list(pair) for pair in (before or {}).items()]
  model = {"classes": list(classes), "items": [item._asdict() for item in items], "before": earlier}
  digest = hashlib.sha256(json.dumps(model, sort_keys=True).encode()).hexdigest()[:16]
  corrects = any(item.given for item in items)
  values = {"title": title, "subtitle": subtitle, "model": {**model, "key": digest}, "corrects": corrects}
  return pages.write_page(path, "labelling.html.jinja", values)


def encoded(picture: np.ndarray) -> str:
  """The data URI of a picture [H,W,C], u8 or floats in [0, 1], C 1 or 3: as it is where it is small, else as a JPEG."""
  from PIL import Image

  pixels = picture if picture.dtype == np.uint8 else np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
  image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
  is_small = min(image.size) < SMOOTH
  image.thumbnail((SIDE, SIDE))
  file, kind = io.BytesIO(), "png" if is_small else "jpeg"
  image.save(file, kind, quality=85)
  return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
