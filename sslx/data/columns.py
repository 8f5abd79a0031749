"""Which columns of a table hold images and labels: of Parquet files, and of the `datasets` library.

pyarrow is an extra: it is imported inside functions.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sslx.data.samples import NO_LABEL, coded
from sslx.data.urls import first_line
from sslx.types import UserError

if TYPE_CHECKING:
  import pyarrow as pa

IMAGES = ("image", "img", "picture", "photo", "jpg", "png", "pixel_values", "image_bytes", "bytes")
"""Names of the column of images, the first that is there, where several columns could be it."""
LABELS = ("label", "labels", "class", "cls", "target", "category", "fine_label", "y")
"""Likewise of labels."""
_NO_LABELS = (  # columns of numbers or text that are something else
  "id", "ids", "index", "idx", "key", "__key__", "__url__", "uid", "uuid", "path", "file", "filename", "file_name",
  "name", "url", "width", "height", "size", "md5", "sha256", "caption", "text", "prompt", "split", "__index_level_0__",
)  # fmt: skip


class Columns(NamedTuple):
  """Which columns are read."""

  image: str
  label: str | None
  """None: there is none."""
  names: tuple[str, ...] | None
  """Of the classes, in the order of their numbers, where the schema says them."""


def columns_of(schema: "pa.Schema", targets: Sequence[str], where: str, labelled: bool = True) -> Columns:
  """The columns of images and of labels. What the `datasets` library says of them counts first.

  Args:
    schema: of the table.
    targets: the column of labels that --target names; () where none is named.
    where: the file or data set, for messages.
    labelled: whether labels are asked for.

  Raises:
    UserError: there is no column of images, or several that could be it, or of labels; or the one of --target is none.
  """
  features = _features(schema)
  image = _image(schema, features, where)
  if not labelled:
    return Columns(image, None, None)
  candidates = [
    field.name for field in schema if field.name != image and (_is_class(features, field.name) or _is_label(field.type))
  ]
  if len(targets) > 1:
    raise UserError(f"--target={','.join(targets)}: names {len(targets)} columns; an image has one label, name one")
  if targets and targets[0] not in candidates:
    there = ", ".join(candidates) or "none"
    raise UserError(f"--target={targets[0]}: is no column of whole numbers or text of {where}; it has {there}")
  label = targets[0] if targets else _label(candidates, features, where)
  names = features.get(label or "", {}).get("names") if _is_class(features, label or "") else None
  return Columns(image, label, None if names is None else tuple(map(str, names)))


def _features(schema: "pa.Schema") -> dict[str, dict[str, Any]]:
  """What the `datasets` library wrote of each column; {} where it wrote nothing."""
  try:
    found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    return {name: feature for name, feature in found.items() if isinstance(feature, dict)}
  except (ValueError, KeyError, TypeError, AttributeError):
    return {}


def _is_class(features: dict[str, dict[str, Any]], name: str) -> bool:
  return features.get(name, {}).get("_type") == "ClassLabel"


def _image(schema: "pa.Schema", features: dict[str, dict[str, Any]], where: str) -> str:
  kinds = {name: features.get(name, {}).get("_type", "Value") for name in schema.names}  # bytes may be of sound, too
  candidates = [field.name for field in schema if kinds[field.name] == "Image"]
  if not candidates:
    candidates = [field.name for field in schema if kinds[field.name] == "Value" and _holds_bytes(field.type)]
  if len(candidates) > 1:
    candidates = [name for name in IMAGES if name in candidates][:1] or candidates
  if not candidates:
    there = ", ".join(f"{field.name} ({field.type})" for field in schema)[:300]
    raise UserError(f"{where}: has no column of image files, as bytes or with them in a field bytes; it has {there}")
  if len(candidates) > 1:
    raise UserError(f"{where}: which column is the image? {', '.join(candidates)} could be; call one of them image")
  return candidates[0]


def _holds_bytes(kind: "pa.DataType") -> bool:
  import pyarrow.types as types

  if types.is_struct(kind):
    return any(kind.field(i).name == "bytes" and _holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
  return types.is_binary(kind) or types.is_large_binary(kind)


def _is_label(kind: "pa.DataType") -> bool:
  import pyarrow.types as types

  if types.is_dictionary(kind):
    kind = kind.value_type
  return types.is_integer(kind) or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind)


def _label(candidates: Sequence[str], features: dict[str, dict[str, Any]], where: str) -> str | None:
  classes = [name for name in candidates if _is_class(features, name)]
  others = [name for name in candidates if name.lower() not in _NO_LABELS]
  for names in (classes, others):
    if len(names) == 1:
      return names[0]
    if chosen := next((name for name in LABELS if name in names), None):
      return chosen
    if names:
      raise UserError(f"{where}: which column is the label? Give --target=NAME: {', '.join(names)}")
  return None


def labels_of(column: "pa.ChunkedArray", where: str) -> np.ndarray | list[str | None]:
  """i64 [N] of whole numbers, NO_LABEL where a cell is empty; texts as a list, None where one is.

  Raises:
    UserError: numbers that are too large for a label.
  """
  import pyarrow as pa
  import pyarrow.types as types

  if types.is_dictionary(column.type) or types.is_string(column.type) or types.is_large_string(column.type):
    return [None if cell is None else str(cell) for cell in column.to_pylist()]
  try:
    return column.cast(pa.int64()).fill_null(NO_LABEL).to_numpy()
  except pa.ArrowInvalid as error:
    raise UserError(f"{where}: its labels are no places of classes ({first_line(error)})") from error


def joined(labels: Sequence[np.ndarray | list[str | None]], where: str) -> tuple[np.ndarray, list[str] | None]:
  """(labels i64 of all parts one after another, the texts that they are places in or None): see `samples.coded`.

  Raises:
    UserError: some parts are numbers, others text.
  """
  numbers = [part for part in labels if isinstance(part, np.ndarray)]
  if len(numbers) == len(labels):
    return np.concatenate([*numbers, np.zeros(0, np.int64)]), None
  if any((part != NO_LABEL).any() for part in numbers):
    raise UserError(f"{where}: labels are numbers in some files and text in others; write them anew in one way")
  return coded([cell for part in labels for cell in (part if isinstance(part, list) else [None] * len(part))])


def image_bytes(cell: Any, called: str) -> bytes:
  """The file of an image as it stands in a cell: bytes, or {bytes, path}, where the path is of this machine.

  Raises:
    UserError: the cell is empty, or the file that it names cannot be read.
  """
  content = cell.get("bytes") if isinstance(cell, dict) else cell
  path = cell.get("path") if isinstance(cell, dict) else None
  if content:
    return content
  if not path:
    raise UserError(f"{called}: holds no image; delete this row")
  try:
    with open(path, "rb") as file:
      return file.read()
  except OSError as error:
    raise UserError(
      f"{called}: holds only the name of an image, {path}, which cannot be read ({error.strerror or error}); write the "
      "bytes into the table"
    ) from error
