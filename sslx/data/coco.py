"""`coco:DIR`: boxes, and masks where all of them have polygons, in the format of COCO.

Two layouts are read: DIR/train/*.jpg with DIR/annotations/instances_train.json or DIR/train.json, and COCO's own
DIR/train2017/*.jpg with DIR/annotations/instances_train2017.json. Test is called test or val (Lin et al., Microsoft
COCO: Common Objects in Context, 2014, arXiv 1405.0312). DIR/unlabeled or DIR/unlabeled2017 may hold further images.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sslx.data.coco_json import Annotation, Annotations, Picture, read
from sslx.data.files import common_shape, headers_of, images_of
from sslx.data.geometry import check_memory, moved, padded, square_boxes
from sslx.data.images import Header
from sslx.data.masks import MOST, refuse_turned
from sslx.data.polygons import fill
from sslx.data.tree import is_image, listed
from sslx.data.types import Dataset, Request, Split
from sslx.data.warn import warn
from sslx.modalities import MODALITIES
from sslx.tasks import TASKS
from sslx.types import UserError

FOLDERS = {"train": ("train", "train2017"), "test": ("test", "val", "test2017", "val2017")}
UNLABELED = ("unlabeled", "unlabeled2017")
TOLERANCE = 1.0  # pixels by which a box may leave its image: rounded numbers


def load_coco(request: Request) -> Dataset:
  """Classes are the categories in the order of their ids. Images without annotations have no boxes.

  Annotations of crowds, and boxes without area, are left out, which is told on stderr. It is for detection, and for
  segmentation too where every annotation has polygons: smaller things lie over larger ones.

  Raises:
    UserError: naming the file: a folder that is missing, a box outside its image, or what `coco_json.read`,
      `headers_of` and `images_of` raise.
  """
  root = Path(request.argument).expanduser()
  if not root.is_dir():
    raise UserError(f"{root}: no such folder")
  parts = {part: read(*_place(root, part, request.spec)) for part in FOLDERS}
  train, test = parts["train"], parts["test"]
  if train.categories != test.categories:
    raise UserError(f"{test.file}: its categories are not those of {train.file}; export both with the same")
  files = {part: [picture.path for picture in found.pictures] for part, found in parts.items()}
  files |= {"unlabeled": further} if (further := _unlabeled(root)) else {}
  headers = headers_of(files, request)
  parts = {part: _checked(found, headers, part, request.spec) for part, found in parts.items()}

  boxes = {part: [_boxes(picture, headers, request) for picture in found.pictures] for part, found in parts.items()}
  most = max(len(rows) for part in boxes.values() for rows in part)
  masks = _masks(parts, headers, request)
  names = tuple(train.categories.values())
  splits: dict[str, Split] = {}
  for part, x in images_of(files, headers, request).items():
    other = {"segmentation": masks[part]} if part in masks else {}
    splits[part] = Split(x, padded(boxes[part], most) if part in boxes else None, files[part], other)
  task, modality = TASKS["detection"](names), MODALITIES["image"]
  others = {"segmentation": TASKS["segmentation"](("background", *names))} if masks else {}
  return Dataset(request.spec, modality, task, splits["train"], splits["test"], splits.get("unlabeled"), others)


def _place(root: Path, part: str, spec: str) -> tuple[Path, Path]:
  """(JSON, folder of images) of a split."""
  folders = [root / name for name in FOLDERS[part] if (root / name).is_dir()]
  if not folders:
    raise UserError(f"{root}: has no folder {' or '.join(FOLDERS[part])} with the images of {part}")
  wanted = [
    (root / "annotations" / f"instances_{folder.name}.json", root / f"{folder.name}.json") for folder in folders
  ]
  there = [
    (file, folder) for files, folder in zip(wanted, folders, strict=True) for file in files if file.is_file()
  ]  # fmt: skip
  if not there:
    raise UserError(f"{wanted[0][0]}: no such file, nor {wanted[0][1]}; one of them must hold the annotations")
  if len(there) > 1:
    warn(spec, f"{part} is {there[0][0]}; passed over {', '.join(str(file) for file, _ in there[1:])}")
  return there[0]


def _unlabeled(root: Path) -> list[str]:
  folder = next((root / name for name in UNLABELED if (root / name).is_dir()), None)
  return [] if folder is None else _images_in(folder)


def _images_in(folder: Path) -> list[str]:
  return [str(folder / name) for name in listed(folder) if is_image(name)]


def _checked(found: Annotations, headers: Mapping[str, Header], part: str, spec: str) -> Annotations:
  """The annotations that can be learnt from: those left out are told on stderr, and impossible ones are an error."""
  pictures, flat = [], 0
  for picture in found.pictures:
    header = headers[picture.path]
    if picture.things:
      refuse_turned(picture.path, header, "annotation")
      if picture.size not in (None, (header.height, header.width)):
        raise UserError(
          f"{picture.path}: is {header.height}x{header.width}, but {found.file} says {picture.size[0]}x"
          f"{picture.size[1]} (height x width)"
        )
    for thing in picture.things:
      _check_inside(found.file, picture.path, header, thing)
    things = [thing for thing in picture.things if _area(thing, header) > 0]
    flat += len(picture.things) - len(things)
    pictures.append(picture._replace(things=things))
  for count, what in ((found.crowds, "annotations of crowds"), (flat, "boxes without area")):
    if count:
      warn(spec, f"left out {count} {what} of {part}, in {found.file}")
  known = {picture.path for picture in found.pictures}
  strange = [path for path in _images_in(found.folder) if path not in known]
  if strange:
    warn(spec, f"passed over {len(strange)} images of {part} that {found.file} does not name, such as {strange[0]}")
  return found._replace(pictures=pictures)


def _check_inside(file: Path, path: str, header: Header, thing: Annotation) -> None:
  left, top, width, height = thing.box
  beyond = max(-left, -top, left + width - header.width, top + height - header.height)
  if beyond > TOLERANCE:
    raise UserError(
      f"{file}: annotation {thing.id!r}: its box [{left:g}, {top:g}, {width:g}, {height:g}] (left, top, width, height) "
      f"is not inside its image {path}, {header.height}x{header.width} (height x width); mend it"
    )


def _corners(thing: Annotation, header: Header) -> np.ndarray:
  """Top, left, bottom and right, within the image, f32."""
  left, top, width, height = thing.box
  high = [header.height, header.width] * 2
  return np.array([top, left, top + height, left + width], np.float32).clip(0, high)


def _area(thing: Annotation, header: Header) -> float:
  top, left, bottom, right = _corners(thing, header).tolist()
  return max(bottom - top, 0.0) * max(right - left, 0.0)


def _boxes(picture: Picture, headers: Mapping[str, Header], request: Request) -> np.ndarray:
  """f32 [M,5] in the picture's final size."""
  header = headers[picture.path]
  rows = [(thing.label, *_corners(thing, header)) for thing in picture.things]
  boxes = np.array(rows, np.float32).reshape(-1, 5)
  return square_boxes(boxes, header.height, header.width, request.image_size)


def _masks(parts: Mapping[str, Annotations], headers: Mapping[str, Header], request: Request) -> dict[str, np.ndarray]:
  """Split -> masks u8 [N,H,W]; none, which is told, where not all annotations have polygons or masks are too large."""
  things = [thing for found in parts.values() for picture in found.pictures for thing in picture.things]
  bare = sum(thing.polygons is None for thing in things)
  if bare == len(things):
    return {}
  height, width, _ = common_shape(headers, request.image_size)
  reason, classes = "", len(parts["train"].categories) + 1
  if bare:
    reason = f"{bare} of {len(things)} annotations have no polygons (run lengths are not read)"
  elif classes > MOST:
    reason = f"a mask has room for {MOST - 1} categories, not for {classes - 1}"
  for found in parts.values():
    try:
      check_memory(request.spec, (len(found.pictures), height, width), request.in_memory_limit)
    except UserError as error:
      reason = reason or str(error)
  if reason:
    warn(request.spec, f"no masks are made of its polygons, so that it is for detection only: {reason}")
    return {}
  return {
    part: np.stack([_mask(picture, headers[picture.path], (height, width), request) for picture in found.pictures])
    for part, found in parts.items()
  }


def _mask(picture: Picture, header: Header, shape: Sequence[int], request: Request) -> np.ndarray:
  mask = np.zeros(shape, np.uint8)
  scale, offset = moved(header.height, header.width, request.image_size)
  for thing in sorted(picture.things, key=lambda thing: -_area(thing, header)):
    fill(mask, [points * scale + offset for points in thing.polygons or ()], thing.label + 1)
  return mask
