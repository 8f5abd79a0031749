"""`folder:DIR` of masks: DIR/train/images/*, DIR/train/masks/*.png, [the same below DIR/test], [DIR/unlabeled/].

A mask is an index PNG (mode P, L or 1) with the name of its image: the value of a pixel is its class, 0 is the
background, and 255 is ignored. DIR/classes.txt names the classes, one on a line.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from sslx.data.files import common_shape, headers_of, images_of
from sslx.data.geometry import check_memory, square_mask
from sslx.data.images import EXTENSIONS, Header, opened
from sslx.data.tree import walk
from sslx.data.types import Dataset, Request, Split, no_examples
from sslx.data.warn import warn
from sslx.modalities import MODALITIES
from sslx.tasks import TASKS
from sslx.tasks.segmentation import IGNORED
from sslx.types import UserError

FOLDERS = ("images", "masks")
MOST = 255  # classes: values of a byte, without the one that is ignored

Values = Callable[[Image.Image, str], np.ndarray]
"""(an opened mask, its path) -> its classes u8 [H,W]."""


class Masks(NamedTuple):
  """The masks of a split."""

  y: np.ndarray
  """u8 [N,H,W], of the images' final size."""
  largest: int
  """The largest value of the files, IGNORED left out; 0 where there is no other."""


def load_masks(request: Request) -> Dataset:
  """Classes are those of DIR/classes.txt, else as many as the masks of DIR/train have values.

  Raises:
    UserError: naming the file: an image without a mask or a mask without an image, a mask of another size or of
      colours, a value that is no class, or what `load_folder` raises of images.
  """
  root = Path(request.argument).expanduser()
  if request.labels_file is not None:
    raise UserError(f"--labels_file={request.labels_file}: is for classes, and {request.spec} has masks; leave it out")
  parts = [part for part in ("train", "test") if (root / part).is_dir()]
  tops = {part: [root / part / name for name in FOLDERS] for part in parts}
  for folder in (folder for folders in tops.values() for folder in folders):
    if not folder.is_dir():
      raise UserError(f"{folder}: missing; a data set with masks needs images/ and masks/ in {folder.parent}")
  further = [root / "unlabeled"] if (root / "unlabeled").is_dir() else []
  found = walk(root, [*(top for each in tops.values() for top in each), *further], request.spec, "images/ and masks/")
  pairs = {part: _pairs(folders[0], folders[1], found) for part, folders in tops.items()}
  files = {part: list(each) for part, each in pairs.items()} | {folder.name: found[folder] for folder in further}
  for part, paths in files.items():
    if not paths:
      folder = root / part if part == "unlabeled" else root / part / "images"
      raise UserError(f"{folder}: holds no images ({', '.join(EXTENSIONS)})")
  names = _names(root / "classes.txt")
  headers = headers_of(files, request)
  train = read_masks(pairs["train"], headers, names, indices, request)
  known = names or tuple(map(str, range(train.largest + 1)))
  test = read_masks(pairs["test"], headers, known, indices, request) if "test" in pairs else None
  if not names:
    names = ("background", *map(str, range(1, train.largest + 1)))
    _tell_unused(request.spec, names, train.y)
  return pixel_classes(request, names, files, headers, train, test)


def pixel_classes(
  request: Request,
  names: Sequence[str],
  files: Mapping[str, Sequence[str]],
  headers: Mapping[str, Header],
  train: Masks,
  test: Masks | None,
) -> Dataset:
  """The data set of these images and masks. names: of the classes, the background first. test: may be missing."""
  if len(names) < 2:
    raise UserError(
      f"{request.spec}: the masks of train hold no class beside the background (0), and {IGNORED} is ignored; "
      "save 1, 2, ... where something is"
    )
  images = images_of(files, headers, request)
  targets = {"train": train.y} | ({} if test is None else {"test": test.y})
  splits = {part: Split(x, targets.get(part), files[part]) for part, x in images.items()}
  task, modality = TASKS["segmentation"](names), MODALITIES["image"]
  last = splits["test"] if "test" in splits else no_examples(splits["train"])
  return Dataset(request.spec, modality, task, splits["train"], last, splits.get("unlabeled"))


def read_masks(
  pairs: Mapping[str, str],
  headers: Mapping[str, Header],
  names: Sequence[str] | None,
  values: Values,
  request: Request,
) -> Masks:
  """The masks of images, as large as these become.

  Args:
    pairs: image -> mask.
    headers: of all images.
    names: of the classes; None while they are not known.
    values: how a mask is read.
    request: image_size, in_memory_limit.

  Raises:
    UserError: naming the mask: unreadable, of another size than its image, or with a value that is no class; masks that
      take more memory than is allowed; images that differ in size.
  """
  height, width, _ = common_shape(headers, request.image_size)
  check_memory(request.spec, (len(pairs), height, width), request.in_memory_limit)
  y = np.empty((len(pairs), height, width), np.uint8)

  def fill(row: int, image: str, path: str) -> int:
    refuse_turned(image, headers[image], "mask")
    mask = read_mask(path, image, headers[image], values, request)
    largest = int(mask.max(initial=0, where=mask != IGNORED))
    if names is not None and largest >= len(names):
      raise UserError(
        f"{path}: holds the value {largest}, which is none of the {len(names)} classes, 0..{len(names) - 1}; "
        f"mend it, or name all classes in classes.txt ({IGNORED} is for pixels that are to be ignored)"
      )
    y[row] = mask if request.image_size is None else square_mask(mask, request.image_size)
    return largest

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    return Masks(y, max(pool.map(fill, range(len(pairs)), pairs.keys(), pairs.values()), default=0))


def refuse_turned(image: str, header: Header, what: str) -> None:
  """Raises UserError for an image that EXIF data turn: nobody knows whether its mask or boxes are turned already."""
  if header.turned:
    raise UserError(
      f"{image}: its EXIF data turn or mirror it, and whether its {what} is of the turned picture is not known; save "
      "it upright, without EXIF orientation"
    )


def indices(image: Image.Image, path: str) -> np.ndarray:
  """The values of an index PNG, u8 [H,W]. Raises UserError for colours and for more than 8 bits."""
  if image.mode not in ("P", "L", "1"):
    raise UserError(
      f"{path}: its mode is {image.mode}, which is of colours or of more than 8 bits; save index PNG, whose values are "
      "classes: 0, 1, 2"
    )
  return np.asarray(image).astype(np.uint8)


def read_mask(path: str, image: str, header: Header, values: Values, request: Request) -> np.ndarray:
  """The values u8 [H,W] of a mask. Raises UserError where it is no PNG, or of another size than its image."""
  with opened(path, path, request.image_size, request.in_memory_limit) as mask:
    if mask.format != "PNG":
      raise UserError(f"{path}: a mask must be PNG, not {mask.format}, which may change values; save index PNG")
    if mask.size != (header.width, header.height):
      width, height = mask.size
      raise UserError(
        f"{path}: is {height}x{width}, but its image {image} is {header.height}x{header.width} (height x width)"
      )
    return values(mask, path)


def _pairs(images: Path, masks: Path, found: Mapping[Path, list[str]]) -> dict[str, str]:
  """image -> mask, by their names below their folders, without endings."""
  by_stem = [_by_stem(folder, found[folder]) for folder in (images, masks)]
  lonely = [stem for stem in by_stem[0] if stem not in by_stem[1]]
  if lonely:
    count = f" ({len(lonely)} of {len(by_stem[0])} images have none)" if len(lonely) > 1 else ""
    raise UserError(f"{by_stem[0][lonely[0]]}: has no mask {masks / lonely[0]}.png{count}")
  for stem, mask in by_stem[1].items():
    if stem not in by_stem[0]:
      raise UserError(f"{mask}: has no image of this name in {images}; delete the mask, or put its image there")
  return {image: by_stem[1][stem] for stem, image in by_stem[0].items()}


def _by_stem(folder: Path, paths: Sequence[str]) -> dict[str, str]:
  stems: dict[str, str] = {}
  for path in paths:
    stem = os.path.splitext(os.path.relpath(path, folder))[0]
    if stem in stems:
      raise UserError(f"{path}: has the same name as {stems[stem]}; delete or rename one, with its mask")
    stems[stem] = path
  return stems


def _names(path: Path) -> tuple[str, ...] | None:
  """The classes that a file names, or None where there is none."""
  if not path.exists():
    return None
  try:
    names = tuple(map(str.strip, path.read_text("utf-8-sig").rstrip().splitlines()))
  except UnicodeDecodeError as error:
    raise UserError(f"{path}: is no text in UTF-8; save it as such") from error
  for i, name in enumerate(names, 1):
    if not name or name in names[: i - 1]:
      what = f"{name!r} again" if name else "empty"
      raise UserError(f"{path}, line {i}: {what}; write one class on a line, the background first")
  if not 2 <= len(names) <= MOST:
    raise UserError(f"{path}: names {len(names)} classes; write 2 to {MOST}, one on a line, the background first")
  return names


def _tell_unused(spec: str, names: Sequence[str], y: np.ndarray) -> None:
  counts = sum(np.bincount(mask.ravel(), minlength=IGNORED + 1) for mask in y)
  unused = [name for name, count in zip(names, np.atleast_1d(counts), strict=False) if not count]
  if unused:
    shown = ", ".join(unused[:5]) + (", ..." if len(unused) > 5 else "")
    warn(
      spec,
      f"the masks of train have values up to {len(names) - 1}, and so {len(names)} classes, but {len(unused)} of them "
      f"never occur: {shown}; number them 0, 1, 2, ...",
    )
