"""The JSON files of `coco:DIR`: read, and checked before anything else believes them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sslx.types import UserError

FARTHEST = 1e9  # pixels: no image is so large


class Annotation(NamedTuple):
  """A thing in an image."""

  id: Any
  label: int
  """Place of its category."""
  box: tuple[float, float, float, float]
  """Left, top, width and height in pixels."""
  polygons: list[np.ndarray] | None
  """Each [P,2], of points (y, x) in pixels; None where it has none, or an outline of another kind."""


class Picture(NamedTuple):
  """An image and what is in it."""

  path: str
  size: tuple[int, int] | None
  """Height and width, where the file says them."""
  things: list[Annotation]


class Annotations(NamedTuple):
  """A file."""

  file: Path
  folder: Path
  """Of its images."""
  categories: dict[Any, str]
  """id -> name, in the order of the ids."""
  pictures: list[Picture]
  crowds: int
  """Annotations of crowds, which are left out."""


def read(file: Path, folder: Path) -> Annotations:
  """The annotations of a file, whose images are in `folder`.

  Raises:
    UserError: naming the file: no such JSON, an entry that lacks something, a category or image that it does not hold,
      or an image that is not in the folder.
  """
  try:
    content = json.loads(file.read_text("utf-8-sig"))
  except (ValueError, RecursionError) as error:  # of JSON, or of UTF-8
    raise UserError(f"{file}: is no JSON ({str(error).splitlines()[0][:200]}); export it again") from error
  named = {entry["id"]: str(entry["name"]) for entry in _entries(file, content, "categories", "id", "name")}
  try:
    categories = dict(sorted(named.items()))
  except TypeError:  # ids of two kinds
    raise UserError(f"{file}: the ids of its categories are of several kinds; number them") from None
  if not categories or len(set(categories.values())) < len(categories):
    raise UserError(
      f"{file}: its categories are {', '.join(categories.values()) or 'none'}; give each a name of its own"
    )
  pictures: dict[Any, Picture] = {}
  for entry in _entries(file, content, "images", "id", "file_name"):
    path = folder / str(entry["file_name"])
    if entry["id"] in pictures:
      raise UserError(f"{file}: two images have the id {entry['id']!r}")
    if not path.is_file():
      raise UserError(f"{file}: its image {entry['id']!r} is not there: {path}")
    height, width = entry.get("height"), entry.get("width")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    pictures[entry["id"]] = Picture(str(path), size, [])
  if not pictures:
    raise UserError(f"{file}: holds no images")
  labels, crowds = {key: i for i, key in enumerate(categories)}, 0
  for entry in _entries(file, content, "annotations", "id", "image_id", "category_id", "bbox"):
    for key, known in (("image_id", pictures), ("category_id", labels)):
      if entry[key] not in known:
        raise UserError(f"{file}: annotation {entry['id']!r}: no {key[:-3]} has its {key}, {entry[key]!r}")
    if entry.get("iscrowd"):
      crowds += 1
    else:
      pictures[entry["image_id"]].things.append(_annotation(file, entry, labels[entry["category_id"]]))
  return Annotations(file, folder, categories, list(pictures.values()), crowds)


def _annotation(file: Path, entry: Mapping[str, Any], label: int) -> Annotation:
  where, box = f"{file}: annotation {entry['id']!r}", entry["bbox"]
  if not (isinstance(box, list) and len(box) == 4 and _are_numbers(box) and min(box[2:]) >= 0):
    raise UserError(f"{where}: its bbox is {str(box)[:80]}; it must be [left, top, width, height]")
  outline = entry.get("segmentation")
  if not isinstance(outline, list) or not outline:  # none, or run lengths
    return Annotation(entry["id"], label, tuple(box), None)
  for polygon in outline:
    if not (isinstance(polygon, list) and len(polygon) >= 6 and not len(polygon) % 2 and _are_numbers(polygon)):
      raise UserError(f"{where}: its polygon is {str(polygon)[:80]}; it must be [x, y, x, y, x, y, ...]")
  points = [np.array(polygon, np.float64).reshape(-1, 2)[:, ::-1] for polygon in outline]
  return Annotation(entry["id"], label, tuple(box), points)


def _entries(file: Path, content: Any, key: str, *fields: str) -> Sequence[Mapping[str, Any]]:
  """The list that is called `key`, each of whose entries has the fields."""
  entries = content.get(key) if isinstance(content, dict) else None
  if not isinstance(entries, list):
    raise UserError(f"{file}: has no list of {key}; it is no JSON of COCO's instances")
  for i, entry in enumerate(entries):
    for field in fields:
      if not isinstance(entry, dict) or field not in entry:
        raise UserError(f"{file}: entry {i} of its {key} has no {field}")
      if field.endswith("id") and not isinstance(entry[field], int | str):
        raise UserError(f"{file}: entry {i} of its {key} has the {field} {str(entry[field])[:80]}; it must be a number")
  return entries


def _are_numbers(values: Sequence[Any]) -> bool:
  """Whether all are numbers that can be pixels; NaN is not, nor is an integer too large for a float."""
  return all(isinstance(value, int | float) and -FARTHEST < value < FARTHEST for value in values)
