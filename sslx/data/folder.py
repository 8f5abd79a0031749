"""`folder:DIR`: DIR/train/CLASS/*.png, DIR/test/CLASS/*.png, and DIR/unlabeled/ for images without labels."""

import os
from concurrent import futures
from pathlib import Path

import numpy as np

from sslx.data.images import decode, header, within
from sslx.data.types import Dataset, LazyArray, Request, Split, image_classes
from sslx.types import UserError

_EXTENSIONS = (".png", ".jpg", ".jpeg")


def load_folder(request: Request) -> Dataset:
  """Classes are the sub-folders of DIR/train, in the order of their names; other files than images are passed over.

  Images may lie deeper than their class folder. They keep one channel if every one of them is grey, else they are RGB.

  Raises:
    UserError: naming the folder or file: missing, without images, unreadable, a test class unknown to train, or
      images of two sizes while --image_size is not given.
  """
  root = Path(request.argument).expanduser()
  if not root.is_dir():
    raise UserError(f"{root}: no such folder")
  class_names = tuple(_classes(root / "train"))
  if len(class_names) < 2:
    raise UserError(f"{root / 'train'}: holds {len(class_names)} class folders; at least two are needed")
  unknown = sorted(set(_classes(root / "test")) - set(class_names))
  if unknown:
    raise UserError(f"{root / 'test' / unknown[0]}: class {unknown[0]!r} is unknown to {root / 'train'}")

  files, labels = {}, {}
  for part in ("train", "test"):
    by_class = [_images(root / part / name) for name in class_names]
    empty = [name for name, paths in zip(class_names, by_class, strict=True) if not paths]
    if part == "train" and empty:
      raise UserError(f"{root / part / empty[0]}: holds no images ({', '.join(_EXTENSIONS)})")
    files[part] = [path for paths in by_class for path in paths]
    labels[part] = np.repeat(np.arange(len(class_names), dtype=np.int32), [len(paths) for paths in by_class])
    if not files[part]:
      raise UserError(f"{root / part}: holds no images ({', '.join(_EXTENSIONS)})")
  if (root / "unlabeled").is_dir():
    files["unlabeled"], labels["unlabeled"] = _images(root / "unlabeled"), None
    if not files["unlabeled"]:
      raise UserError(f"{root / 'unlabeled'}: holds no images ({', '.join(_EXTENSIONS)}); delete it or fill it")

  shape = _common_shape([path for paths in files.values() for path in paths], request.image_size)
  splits = {
    part: Split(within(_lazy(paths, shape, request.image_size), request.in_memory_limit), labels[part])
    for part, paths in files.items()
  }
  return image_classes(request.spec, class_names, splits["train"], splits["test"], splits.get("unlabeled"))


def _classes(folder: Path) -> list[str]:
  if not folder.is_dir():
    raise UserError(f"{folder}: missing; folder:DIR needs DIR/train/CLASS/ and DIR/test/CLASS/ with images")
  return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path) -> list[str]:
  paths = []
  for where, folders, names in os.walk(folder, followlinks=True):
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    paths += [
      os.path.join(where, name) for name in names if name.lower().endswith(_EXTENSIONS) and not name.startswith(".")
    ]
  return sorted(paths)


def _common_shape(paths: list[str], image_size: int | None) -> tuple[int, int, int]:
  """(H, W, C) that all files share, from their headers alone."""
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    headers = list(pool.map(header, paths, chunksize=64))
  channels = 1 if all(grey for _, _, grey in headers) else 3
  if image_size is not None:
    return image_size, image_size, channels
  first = headers[0][:2]
  for path, (height, width, _) in zip(paths, headers, strict=True):
    if (height, width) != first:
      raise UserError(
        f"{paths[0]} is {first[0]}x{first[1]} but {path} is {height}x{width} (height x width): "
        "give --image_size to resize them all"
      )
  return *first, channels


def _lazy(paths: list[str], shape: tuple[int, int, int], image_size: int | None) -> LazyArray:
  def fetch(rows):
    out = np.empty((len(rows), *shape), np.uint8)
    for i, row in enumerate(rows):
      out[i] = decode(paths[row], shape[2], image_size)
    return out

  return LazyArray((len(paths), *shape), fetch, files=tuple(map(os.path.abspath, paths)))
