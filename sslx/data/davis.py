"""`davis:DIR`: videos with a mask for each frame, in the layout of DAVIS 2016 and 2017.

DIR/JPEGImages/[480p/]VIDEO/*.jpg, DIR/Annotations/[480p/]VIDEO/*.png and DIR/ImageSets/[YEAR/]train.txt and test.txt or
val.txt, which list videos, or pairs of an image and its mask (Perazzi et al., A Benchmark Dataset and Evaluation
Methodology for Video Object Segmentation, CVPR 2016; Pont-Tuset et al., arXiv 1704.00675).
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from sslx.data.files import headers_of
from sslx.data.masks import pixel_classes, read_masks
from sslx.data.tree import is_image, listed
from sslx.data.types import Dataset, Request
from sslx.data.warn import warn
from sslx.types import UserError

NAMES = ("background", "object")
LISTS = {"train": ("train",), "test": ("test", "val")}  # split -> names of its list, the first of which is read
RESOLUTION = "480p"  # which is read where there are several: the benchmark's own


class _Frame(NamedTuple):
  image: str
  mask: str | None


def load_davis(request: Request) -> Dataset:
  """Every value of a mask but 0 is "object", whichever object of its video it is.

  Frames of train without a mask are unlabeled, those of test are left out, which is told on stderr.

  Raises:
    UserError: naming the file: a folder, list, video or frame that is missing, a video in both splits, or what
      `read_masks` raises.
  """
  root = Path(request.argument).expanduser()
  for folder in (root, root / "JPEGImages", root / "Annotations", root / "ImageSets"):
    if not folder.is_dir():
      raise UserError(f"{folder}: no such folder; davis:DIR needs DIR/JPEGImages, DIR/Annotations and DIR/ImageSets")
  resolution = resolution_of(root / "JPEGImages")
  lists = _lists(root / "ImageSets", resolution, request.spec)
  frames = {part: _frames(root, resolution, path) for part, path in lists.items()}
  shared = {Path(frame.image).parent for frame in frames["train"]} & {
    Path(frame.image).parent for frame in frames["test"]
  }
  if shared:
    raise UserError(f"{lists['test']}: the video {min(shared).name} is in {lists['train']} too; take it out of one")
  pairs = {part: {frame.image: frame.mask for frame in each if frame.mask} for part, each in frames.items()}
  files: dict[str, Sequence[str]] = {part: list(each) for part, each in pairs.items()}
  for part, each in files.items():
    if not each:
      raise UserError(f"{lists[part]}: no frame of its videos has a mask in {root / 'Annotations'}")
  bare = {part: [frame.image for frame in each if frame.mask is None] for part, each in frames.items()}
  if bare["train"]:
    files["unlabeled"] = bare["train"]
  if bare["test"]:
    warn(request.spec, f"left out {len(bare['test'])} frames of test without a mask, such as {bare['test'][0]}")
  headers = headers_of(files, request)
  train, test = (read_masks(pairs[part], headers, NAMES, objects, request) for part in ("train", "test"))
  return pixel_classes(request, NAMES, files, headers, train, test)


def objects(image: Image.Image, path: str) -> np.ndarray:
  """1 where a mask has any value but 0, u8 [H,W]. Some masks of 2016 are of colours, where black is no object."""
  del path
  plain = image if image.mode in ("P", "L", "1") else image.convert("RGB")
  values = np.asarray(plain)
  return np.asarray(values > 0 if values.ndim == 2 else values.any(-1), np.uint8)


def resolution_of(folder: Path) -> str:
  """The folder between JPEGImages and its videos; empty where there is none."""
  inner = [name for name in listed(folder) if (folder / name).is_dir()]
  if not inner:
    raise UserError(f"{folder}: holds no folders of videos")
  if any(is_image(name) for name in listed(folder / inner[0])):
    return ""
  if len(inner) > 1 and RESOLUTION not in inner:
    raise UserError(f"{folder}: holds {', '.join(inner[:5])}; name the one to be read {RESOLUTION}")
  return RESOLUTION if RESOLUTION in inner else inner[0]


def lists_of(folder: Path, resolution: str, spec: str) -> dict[str, Path]:
  """The lists of train and of test, where there are such: in the folder itself, or in that of a resolution or of the
  latest year. That others are passed over is told on stderr."""
  places = [folder, *([folder / resolution] if resolution else []), *(folder / name for name in listed(folder)[::-1])]
  found = [(place, {part: path for part in LISTS if (path := _list(place, part))}) for place in dict.fromkeys(places)]
  found = [each for each in found if each[1]]
  if not found:
    return {}
  place, lists = next((each for each in found if "train" in each[1]), found[0])
  others = sorted(str(other) for other, there in found if other != place and "train" in there)
  if others:
    warn(spec, f"videos are those of {place}; passed over {', '.join(others)}")
  return lists


def _list(place: Path, part: str) -> Path | None:
  return next((path for name in LISTS[part] if (path := place / f"{name}.txt").is_file()), None)


def _lists(folder: Path, resolution: str, spec: str) -> dict[str, Path]:
  """Both lists."""
  lists = lists_of(folder, resolution, spec)
  if "train" not in lists:
    raise UserError(f"{folder}: holds no train.txt, nor do its folders; write one video on a line")
  if "test" not in lists:
    place = lists["train"].parent
    raise UserError(f"{place}: holds neither test.txt nor val.txt beside train.txt; write one video on a line")
  return lists


def listed_videos(path: Path, known: Collection[str], folder: Path) -> tuple[str, ...]:
  """The names of the videos that a list names, or that the frames in it are of. known: those in `folder`.

  Raises:
    UserError: naming the list: no text, without videos, or with one that is not there.
  """
  names: dict[str, None] = {}
  for number, line in _lines(path):
    name = Path(line.split()[0]).parent.name if line.startswith("/") else Path(line).name
    if name not in known:
      raise UserError(f"{path}, line {number}: no such video, {folder / name}")
    names[name] = None
  if not names:
    raise UserError(f"{path}: names no video; write one on a line")
  return tuple(names)


def _lines(path: Path) -> list[tuple[int, str]]:
  """(number, text) of what a list says."""
  try:
    lines = path.read_text("utf-8-sig").splitlines()
  except UnicodeDecodeError as error:
    raise UserError(f"{path}: is no text in UTF-8; save it as such") from error
  return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def _frames(root: Path, resolution: str, path: Path) -> list[_Frame]:
  """Of the videos that a list names, or its pairs of image and mask."""
  frames: list[_Frame] = []
  masks: dict[Path, Mapping[str, str]] = {}
  for number, line in _lines(path):
    where, words = f"{path}, line {number}", line.split()
    if words[0].startswith("/"):
      image, *mask = (root / word.lstrip("/") for word in words)
      missing = next((file for file in (image, *mask) if not file.is_file()), None)
      if missing or len(mask) > 1:
        reason = f"{missing}: no such file" if missing else "write an image and its mask"
        raise UserError(f"{where}: {reason}")
      frames.append(_Frame(str(image), str(mask[0]) if mask else None))
      continue
    folder, answers = (root / kind / resolution / line for kind in ("JPEGImages", "Annotations"))
    if not folder.is_dir():
      raise UserError(f"{where}: no such video, {folder}")
    if folder in masks:
      raise UserError(f"{where}: {line} stands there twice")
    there = listed(answers) if answers.is_dir() else []
    masks[folder] = {Path(name).stem: str(answers / name) for name in there if name.endswith(".png")}
    images = [name for name in listed(folder) if is_image(name)]
    if not images:
      raise UserError(f"{folder}: holds no frames")
    stems = {Path(name).stem for name in images}
    lonely = next((mask for stem, mask in masks[folder].items() if stem not in stems), None)
    if lonely:
      raise UserError(f"{lonely}: has no frame of this name in {folder}; delete the mask, or put its frame there")
    frames += [_Frame(str(folder / name), masks[folder].get(Path(name).stem)) for name in images]
  if not frames:
    raise UserError(f"{path}: names no video; write one on a line")
  return frames
