"""`folder:DIR`: DIR/train/CLASS/*.png, DIR/test/CLASS/*.png, and DIR/unlabeled/ for images without labels.

Where DIR/train holds just images/ and masks/, these are no classes: see `sslx.data.masks`.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sslx.data.files import headers_of, images_of
from sslx.data.images import EXTENSIONS
from sslx.data.masks import FOLDERS, load_masks
from sslx.data.tree import listed, walk
from sslx.data.types import Dataset, Request, Split, image_classes
from sslx.types import UserError


def load_folder(request: Request) -> Dataset:
  """Classes are the sub-folders of DIR/train, in the order of their names; other files than images are passed over.

  Images may lie deeper than their class folder, and behind links: each real folder is read once (`sslx.data.tree`).
  They keep one channel if every one of them is grey, else they are RGB. What is passed over is told on stderr.

  Raises:
    UserError: naming the folder or file: missing, without images, unreadable, too large, a test class unknown to train,
      or images of two sizes while --image_size is not given.
  """
  root = Path(request.argument).expanduser()
  if not root.is_dir():
    raise UserError(f"{root}: no such folder")
  class_folders = _classes(root / "train")
  if class_folders == sorted(FOLDERS):
    return load_masks(request)
  if len(class_folders) < 2:
    raise UserError(f"{root / 'train'}: holds {len(class_folders)} class folders; at least two are needed")
  unknown = sorted(set(_classes(root / "test")) - set(class_folders))
  if unknown:
    raise UserError(f"{root / 'test' / unknown[0]}: class {unknown[0]!r} is unknown to {root / 'train'}")

  parts = {part: [root / part / name for name in class_folders] for part in ("train", "test")}
  if (root / "unlabeled").is_dir():
    parts["unlabeled"] = [root / "unlabeled"]
  found = walk(root, [folder for folders in parts.values() for folder in folders], request.spec, "the class folders")
  files: dict[str, list[str]] = {}
  labels: dict[str, np.ndarray | None] = {"unlabeled": None}
  for part, folders in parts.items():
    by_folder = [found[folder] for folder in folders]
    empty = [folder for folder, paths in zip(folders, by_folder, strict=True) if not paths]
    if part == "train" and empty:
      raise UserError(f"{empty[0]}: holds no images ({', '.join(EXTENSIONS)})")
    files[part] = [path for paths in by_folder for path in paths]
    if part != "unlabeled":
      labels[part] = np.repeat(np.arange(len(class_folders), dtype=np.int32), [len(paths) for paths in by_folder])
    if not files[part]:
      cure = "; delete it or fill it" if part == "unlabeled" else ""
      raise UserError(f"{root / part}: holds no images ({', '.join(EXTENSIONS)}){cure}")

  images = images_of(files, headers_of(files, request), request)
  splits = {part: Split(images[part], labels[part], paths) for part, paths in files.items()}
  names = readable(class_folders)
  return image_classes(request.spec, names, splits["train"], splits["test"], splits.get("unlabeled"))


def readable(names: Sequence[str]) -> tuple[str, ...]:
  """Names of files as text, all different: a byte that is not UTF-8 becomes U+FFFD."""
  texts: list[str] = []
  for name in names:
    text = os.fsencode(name).decode("utf-8", "replace")
    while text in texts or (text != name and text in names):
      text += "\ufffd"
    texts.append(text)
  return tuple(texts)


def _classes(folder: Path) -> list[str]:
  if not folder.is_dir():
    raise UserError(f"{folder}: missing; folder:DIR needs DIR/train/CLASS/ and DIR/test/CLASS/ with images")
  return sorted(name for name in listed(folder) if (folder / name).is_dir())
