"""`folder:DIR`: DIR/train/CLASS/*.png, DIR/test/CLASS/*.png, and DIR/unlabeled/ for images without labels."""

import functools
import os
from collections.abc import Mapping, Sequence
from concurrent import futures
from pathlib import Path

import numpy as np

from sslx.data.images import EXTENSIONS, Header, brightest, decode, header, streamed, within
from sslx.data.tree import listed, walk
from sslx.data.types import Dataset, LazyArray, Request, Split, image_classes
from sslx.data.warn import warn
from sslx.types import UserError

_LOOKED_AT = 64  # images of sixteen bits whose largest value is looked for


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
  if len(class_folders) < 2:
    raise UserError(f"{root / 'train'}: holds {len(class_folders)} class folders; at least two are needed")
  unknown = sorted(set(_classes(root / "test")) - set(class_folders))
  if unknown:
    raise UserError(f"{root / 'test' / unknown[0]}: class {unknown[0]!r} is unknown to {root / 'train'}")

  parts = {part: [root / part / name for name in class_folders] for part in ("train", "test")}
  if (root / "unlabeled").is_dir():
    parts["unlabeled"] = [root / "unlabeled"]
  found = walk(root, [folder for folders in parts.values() for folder in folders], request.spec)
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

  headers = _headers([path for paths in files.values() for path in paths], request)
  _tell(files, headers, request)
  shape = _common_shape(headers, request.image_size)
  splits = {
    part: Split(within(_lazy(paths, shape, request), request.in_memory_limit), labels[part], paths)
    for part, paths in files.items()
  }
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


def _headers(paths: list[str], request: Request) -> dict[str, Header]:
  """Of all files, without decoding them."""
  read = functools.partial(
    header,
    background=request.background,
    image_size=request.image_size,
    in_memory_limit=request.in_memory_limit,
  )
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    return dict(zip(paths, pool.map(read, paths, chunksize=64), strict=True))


def _tell(files: Mapping[str, Sequence[str]], headers: Mapping[str, Header], request: Request) -> None:
  """What is lost of these images, on stderr."""
  moving = [path for path, found in headers.items() if found.moving]
  if moving:
    warn(
      request.spec,
      f"only the first frame or page is read of {len(moving)} {'files' if len(moving) > 1 else 'file'}: {moving[0]}"
      + (" ..." if len(moving) > 1 else ""),
    )
  for part, paths in files.items():
    deep = [path for path in paths if headers[path].sixteen_bits]
    if not deep or request.bits < 16:
      continue
    seen = deep[:: -(-len(deep) // _LOOKED_AT)]
    largest = max(map(brightest, seen))
    if 0 < largest < 1 << 12:  # of what is darker than a sixteenth, 16 levels are left at most
      warn(
        request.spec,
        f"the {part} images of 16 bits have no value above {largest} ({len(seen)} of {len(deep)} looked at): "
        f"{(largest >> 8) + 1} of 256 levels are left of them; --bits={max(8, largest.bit_length())} keeps all",
      )


def _common_shape(headers: Mapping[str, Header], image_size: int | None) -> tuple[int, int, int]:
  """(H, W, C) that all files share."""
  channels = 1 if all(found.grey for found in headers.values()) else 3
  if image_size is not None:
    return image_size, image_size, channels
  start, first = next(iter(headers.items()))
  for path, (height, width, *_) in headers.items():
    if (height, width) != first[:2]:
      raise UserError(
        f"{start} is {first.height}x{first.width} but {path} is {height}x{width} (height x width): "
        "give --image_size to resize them all"
      )
  return first.height, first.width, channels


def _lazy(paths: list[str], shape: tuple[int, int, int], request: Request) -> LazyArray:
  read = functools.partial(
    decode, background=request.background, bits=request.bits, in_memory_limit=request.in_memory_limit
  )

  def fetch(rows):
    out = np.empty((len(rows), *shape), np.uint8)
    for i, row in enumerate(rows):
      out[i] = read(paths[row], shape[2], request.image_size)
    return out

  images = LazyArray((len(paths), *shape), fetch, files=tuple(map(os.path.abspath, paths)), how=request.decoding)
  return streamed(images, request.in_memory_limit, paths[0])
