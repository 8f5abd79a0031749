"""A contact sheet: what was predicted, a section for each class, with the surest and the least sure examples of it."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from sslx.report import pages
from sslx.report.tables import Cells
from sslx.types import visible

SIDE = 64  # pixels of a thumbnail's longer side
MOST = 60  # thumbnails of a section
ALL = 3000  # of a page, about: of very many classes each has fewer
LEAST = 8  # of a section of these


class Group(NamedTuple):
  """A section: examples of a class, or all of them by one of the numbers that are asked for."""

  name: str
  rows: np.ndarray
  """i64 [n]: the surest, or the largest, first."""
  captions: Sequence[str]
  """Of each of them."""
  mean: str
  """What they are on average."""
  note: str
  """Below the heading."""
  ends: tuple[str, str] = ("surest", "least sure")
  """What the first ones are, and the last ones."""


class Thumbnail(NamedTuple):
  """An example as the page shows it."""

  file: str
  link: str
  caption: str
  picture: str
  """A data URI, or nothing: then `text` is shown."""
  text: str = ""


class Part(NamedTuple):
  """Thumbnails under a heading of their own, or under none."""

  title: str
  thumbnails: list[Thumbnail]


class Section(NamedTuple):
  """A group as the page shows it."""

  name: str
  note: str
  parts: list[Part]


def shown(groups: Sequence[Group]) -> list[list[np.ndarray]]:
  """The rows of each group that a page has: all of them, or its first and its last ones."""
  most = min(MOST, max(LEAST, ALL // max(len(groups), 1)))
  half = most // 2
  return [
    [group.rows] if len(group.rows) <= most else [group.rows[:half], group.rows[len(group.rows) - half :]]
    for group in groups
  ]


def write_contact(
  path: Path,
  title: str,
  subtitle: str,
  groups: Sequence[Group],
  files: Sequence[str],
  pictures: Mapping[int, np.ndarray | str],
  counts: Cells,
  facts: Mapping[str, str],
  notes: Sequence[str],
  command: str,
) -> Path:
  """Writes a self-contained page, atomically, and returns its path.

  Args:
    path: of the page.
    title: its heading.
    subtitle: below it.
    groups: the sections.
    files: of each row.
    pictures: row -> u8 [H,W,3], or a text, of each row that `shown` names.
    counts: the table at the top.
    facts: name -> value: the model, at the end.
    notes: sentences below the table.
    command: the command line that made it.
  """
  sections = []
  for group, parts in zip(groups, shown(groups), strict=True):
    ends = [f"The {len(part)} {end}" for part, end in zip(parts, group.ends, strict=False)]
    titles = [""] if len(parts) == 1 else ends
    caption = dict(zip(map(int, group.rows), group.captions, strict=True))
    drawn = [[_thumbnail(path, files[row], caption[row], pictures[row]) for row in map(int, part)] for part in parts]
    sections.append(Section(group.name, group.note, [Part(*part) for part in zip(titles, drawn, strict=True)]))
  values = {
    "title": title, "subtitle": subtitle, "sections": sections, "counts": counts, "facts": list(facts.items()),
    "notes": notes, "command": command, "side": SIDE,
  }  # fmt: skip
  return pages.write_page(path, "contact.html.jinja", values)


def _thumbnail(page: Path, file: str, caption: str, picture: np.ndarray | str) -> Thumbnail:
  link = quote(os.fsencode(os.path.relpath(file, page.parent)).replace(os.sep.encode(), b"/"))
  name = visible(os.path.basename(file))
  if isinstance(picture, str):
    return Thumbnail(name, link, caption, "", picture)
  return Thumbnail(name, link, caption, f"data:image/jpeg;base64,{base64.b64encode(_jpeg(picture)).decode()}")


def _jpeg(picture: np.ndarray) -> bytes:
  from PIL import Image

  buffer = io.BytesIO()
  Image.fromarray(picture).save(buffer, "JPEG", quality=82)
  return buffer.getvalue()
