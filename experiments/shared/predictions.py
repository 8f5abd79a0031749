"""What a model says of files, as a table of text and as the sections of a contact sheet."""

import csv
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
  from sslx.fitted import Fitted
  from sslx.report.contact import Group

ORDINALS = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
MOST = 1 + len(ORDINALS)  # classes of an example that a table can tell
BOX = ("top", "left", "bottom", "right")


class Said(NamedTuple):
  """What a model says of N files."""

  headers: list[str]
  rows: list[list[str]]
  """Of the table: one for each file, of boxes one for each box."""
  groups: "list[Group]"
  classes: np.ndarray | None = None
  """i64 [N]: the class of each, where it has one."""
  what: str = "class"
  """What the sections are of."""


def said(fitted: "Fitted", answers: np.ndarray, files: Sequence[str], top: int, threshold: float) -> Said:
  """The table and the sections of `sslx.predict`'s answers [N,...]; of masks the names of their files come later.

  top: how many classes of each example; threshold: the score that a box needs.
  """
  match fitted.task.name:
    case "classification":
      return _classes(fitted.task.names, answers, files, top)
    case "multilabel":
      return _several(fitted.task.names, answers, files)
    case "regression":
      return _numbers(fitted.task.names, answers, files)
    case "segmentation":
      return _masks(fitted.task.names, answers, files)
    case _:
      return _boxes(fitted, answers, files, threshold)


def text_of(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
  """A CSV file, its first line the headers, if there are some. Names of files that are no UTF-8 keep their bytes."""
  file = io.StringIO(newline="")
  csv.writer(file, lineterminator="\n").writerows([*([headers] if headers else []), *rows])
  return file.getvalue().encode("utf-8", "surrogateescape")


def _classes(names: Sequence[str], p: np.ndarray, files: Sequence[str], top: int) -> Said:
  order = np.argsort(-p, axis=1, kind="stable")
  told = order[:, :top]
  more = [f"{word}{end}" for word in ORDINALS[: told.shape[1] - 1] for end in ("", "_confidence")]
  rows = [
    [file, *(cell for k in best for cell in (names[k], f"{p[i, k]:.4f}"))]
    for i, (file, best) in enumerate(zip(files, told, strict=True))
  ]
  classes = order[:, 0]
  groups = _by_class(names, p, np.eye(p.shape[1])[classes] > 0)
  return Said(["path", "class", "confidence", *more], rows, groups, classes)


def _several(names: Sequence[str], p: np.ndarray, files: Sequence[str]) -> Said:
  rows = [[file, *(f"{value:.4f}" for value in each)] for file, each in zip(files, p, strict=True)]
  return Said(["path", *names], rows, _by_class(names, p, p > 0.5))


def _numbers(names: Sequence[str], values: np.ndarray, files: Sequence[str]) -> Said:
  from sslx.report.contact import Group

  rows = [[file, *(f"{value:.6g}" for value in each)] for file, each in zip(files, values, strict=True)]
  groups = []
  for k, name in enumerate(names):
    order = np.argsort(-values[:, k], kind="stable")
    mean, ends = f"{values[:, k].mean():.4g}", f"from {values[:, k].min():.4g} to {values[:, k].max():.4g}"
    captions = [f"{values[i, k]:.4g}" for i in order]
    groups.append(Group(name, order, captions, mean, f"On average {mean}, {ends}.", ("largest", "smallest")))
  return Said(["path", *names], rows, groups, what="number")


def _masks(names: Sequence[str], masks: np.ndarray, files: Sequence[str]) -> Said:
  share = np.stack([(masks == k).mean((1, 2)) for k in range(len(names))], 1)
  rows = [[file, *(f"{value:.4f}" for value in each)] for file, each in zip(files, share, strict=True)]
  groups = _by_class(names[1:], share[:, 1:], share[:, 1:] > 0, "of its pixels", ("largest", "smallest"))
  return Said(["path", *(f"{name}_share" for name in names)], rows, groups)


def _boxes(fitted: "Fitted", boxes: np.ndarray, files: Sequence[str], threshold: float) -> Said:
  """Boxes in the pixels of the files. A file without any has a row with its path alone."""
  names, rows, sure = fitted.task.names, [], np.zeros((len(files), len(fitted.task.names)))
  for i, file in enumerate(files):
    there = boxes[i][(boxes[i, :, 0] >= 0) & (boxes[i, :, 5] >= threshold)]
    placed = in_file(there[:, 1:5], file, fitted.x_shape) if len(there) else []
    for row, place in zip(there, placed, strict=True):
      rows.append([file, names[int(row[0])], f"{row[5]:.4f}", *(f"{edge:.1f}" for edge in place)])
      sure[i, int(row[0])] = max(sure[i, int(row[0])], row[5])
    rows += [] if len(there) else [[file, *[""] * (2 + len(BOX))]]
  return Said(["path", "class", "score", *BOX], rows, _by_class(names, sure, sure > 0))


def _by_class(
  names: Sequence[str],
  sure: np.ndarray,
  member: np.ndarray,
  of: str = "sure",
  ends: tuple[str, str] = ("surest", "least sure"),
) -> "list[Group]":
  """A section for each class that some examples are of, these by how sure it is; then those that are of none.

  sure: [N,K] in [0, 1]; member: bool [N,K].
  """
  from sslx.report.contact import Group

  groups = []
  for k, name in enumerate(names):
    rows = np.flatnonzero(member[:, k])
    if not len(rows):
      continue
    rows = rows[np.argsort(-sure[rows, k], kind="stable")]
    mean = f"{sure[rows, k].mean():.0%} {of}"
    note = f"{len(rows):,} {'file' if len(rows) == 1 else 'files'}, on average {mean}."
    groups.append(Group(name, rows, [f"{sure[i, k]:.0%}" for i in rows], mean, note, ends))
  none = np.flatnonzero(~member.any(1))
  if len(none):
    groups.append(Group("none of them", none, [""] * len(none), "", f"{len(none):,} files.", ("first", "last")))
  return groups


# ---- places in the files ---------------------------------------------------------------------------------------------


class Frame(NamedTuple):
  """Which part of a picture a model sees: it is scaled to (wide, high), and what begins at (left, top) is cut out."""

  height: int
  width: int
  high: int
  wide: int
  top: int
  left: int


def frame_of(file: str, x_shape: Sequence[int]) -> Frame:
  """As `sslx.data.reading` reads it."""
  from sslx.data.images import header

  found = header(file)
  height, width = x_shape[:2]
  scale = max(height / found.height, width / found.width)
  high, wide = max(height, round(found.height * scale)), max(width, round(found.width * scale))
  return Frame(found.height, found.width, high, wide, (high - height) // 2, (wide - width) // 2)


def in_file(boxes: np.ndarray, file: str, x_shape: Sequence[int]) -> np.ndarray:
  """Edges [n,4] (top, left, bottom, right) in the pixels of the picture in a file."""
  frame = frame_of(file, x_shape)
  start, scale = (frame.top, frame.left), (frame.height / frame.high, frame.width / frame.wide)
  placed = (boxes + np.tile(start, 2)) * np.tile(scale, 2)
  return np.clip(placed, 0, np.tile((frame.height, frame.width), 2))


def mask_in_file(mask: np.ndarray, file: str) -> np.ndarray:
  """A mask u8 [H,W] as large as the picture in a file; what the model does not see is IGNORED."""
  from PIL import Image

  from sslx.tasks.segmentation import IGNORED

  frame = frame_of(file, mask.shape)
  whole = np.full((frame.high, frame.wide), IGNORED, np.uint8)
  whole[frame.top : frame.top + mask.shape[0], frame.left : frame.left + mask.shape[1]] = mask
  return np.asarray(Image.fromarray(whole).resize((frame.width, frame.height), Image.Resampling.NEAREST))


def write_masks(folder: Path, masks: np.ndarray, files: Sequence[str]) -> list[str]:
  """PNG files, whose pixels are numbers of classes and whose palette shows them; their paths."""
  from PIL import Image

  from sslx.report import records

  colours = np.random.default_rng(1).integers(60, 256, (256, 3))
  colours[0], colours[255] = 0, 128
  paths = []
  for name, mask, file in zip(names_in(files, ".png"), masks, files, strict=True):
    picture = Image.fromarray(mask_in_file(mask, file))
    picture.putpalette(colours.astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    records.write_bytes(folder / name, buffer.getvalue())
    paths.append(str(folder / name))
  return paths


def names_in(files: Sequence[str], ending: str | None = None) -> list[str]:
  """Their names in one folder, all different: a.jpg, a-2.jpg of another folder's, ...; with another ending."""
  names: list[str] = []
  taken: set[str] = set()
  for file in map(Path, files):
    end = file.suffix if ending is None else ending
    name, number = f"{file.stem}{end}", 2
    while name.lower() in taken:  # some file systems know no capitals
      name, number = f"{file.stem}-{number}{end}", number + 1
    taken.add(name.lower())
    names.append(name)
  return names


def sort_files(target: Path, files: Sequence[str], classes: Sequence[str], link: bool) -> None:
  """Copies of the files, or links to them, in a folder for each class; the whole of it appears at once.

  target: a folder that is not there yet, or empty.
  """
  from sslx.report import records

  new = target.with_name(f".{target.name}.{os.getpid()}.tmp")
  records.sweep(target.parent)
  try:
    for name in dict.fromkeys(classes):
      folder = new / folder_of(name)
      folder.mkdir(parents=True)
      there = [file for file, other in zip(files, classes, strict=True) if other == name]
      for file, called in zip(there, names_in(there), strict=True):
        (folder / called).symlink_to(Path(file).absolute()) if link else shutil.copy2(file, folder / called)
    if target.is_dir():
      target.rmdir()
    new.rename(target)
  finally:
    shutil.rmtree(new, ignore_errors=True)


def folder_of(name: str) -> str:
  """A class's name as that of a folder."""
  return name.replace("/", "_").replace("\\", "_").lstrip(".") or "_"
