"""`npz:FILE`: arrays by name in one NumPy archive."""

import math
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from sslx.data.labels import places
from sslx.data.types import Dataset, Request, Split, image_classes
from sslx.types import UserError

_LABELLED = ("train_images", "train_labels", "test_images", "test_labels")
_UNLABELED = "unlabeled_images"
_READ = (*_LABELLED, _UNLABELED, "class_names")
_END = 22 + (1 << 16)  # bytes from the last record of a zip file, with the longest comment
_MANY = 0xFFFF  # what stands in that record where the count does not
_PIECE = 1 << 20  # elements read at a time
# The largest value of images in [0, 1] that were divided by 255 once more, with the rounding of float16.
_TWICE = 1.001 / 255


class _Array(NamedTuple):
  """One array of the archive: its stream stands behind its header."""

  place: str  # for messages
  stream: IO[bytes]
  shape: tuple[int, ...]
  fortran: bool
  dtype: np.dtype
  size: int


def load_npz(request: Request) -> Dataset:
  """Reads train_images, train_labels; optionally test_images, test_labels, unlabeled_images and class_names; or
  unlabeled_images alone.

  Images are u8, or float in [0, 1] (rounded to u8), or bool (False becomes 0, True 255), [N,H,W] or [N,H,W,C]; labels
  are integers [N] or [N,1], and those that are not 0..K-1 are numbered anew (`labels.places`). Images are converted as
  they are read, and nothing is read before its header has been found to be within `request.in_memory_limit`.

  Raises:
    UserError: naming the file and the array that is missing, damaged, wrong or too large.
  """
  path = Path(request.argument).expanduser()
  if not path.is_file():
    raise UserError(f"{path}: no such file")
  if not path.stat().st_size:
    raise UserError(f"{path}: empty file")
  arrays = _read(path, request.in_memory_limit)
  names = arrays.get("class_names")
  class_names = None if names is None else [_text(name) for name in np.ravel(names).tolist()]
  unlabeled = Split(arrays[_UNLABELED], None) if _UNLABELED in arrays else None
  if unlabeled is not None and "train_images" not in arrays:
    return image_classes(request.spec, (), unlabeled)
  labels = {part: arrays[f"{part}_labels"].reshape(-1) for part in ("train", "test") if f"{part}_labels" in arrays}
  first, last = labels["train"], labels.get("test", labels["train"][:0])  # of [N,1] too
  class_names, first, last = places(str(path), first, last, class_names)
  test = Split(arrays["test_images"], last) if "test" in labels else None
  return image_classes(request.spec, class_names, Split(arrays["train_images"], first), test, unlabeled)


def _read(path: Path, limit: int) -> dict[str, np.ndarray]:
  name, arrays = "", {}
  try:
    archive = zipfile.ZipFile(path)
  except OSError as error:
    raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
  except Exception as error:  # a damaged directory makes zipfile raise whatever it stumbles over
    raise UserError(
      f"{path}: not an .npz archive (not a zip file, or a truncated one); write it with numpy.savez"
    ) from error
  with archive:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if _counted(path) not in (len(archive.infolist()), _MANY):
      raise UserError(f"{path}: its directory is damaged; write it again with numpy.savez")
    if missing := _missing(members):
      there = ", ".join(members).encode("unicode_escape").decode() or "none"  # damaged names may hold a line's end
      raise UserError(f"{path}: lacks the arrays {', '.join(missing)}; it holds {there}")
    try:
      for name, info in members.items():  # others may be large, or of any kind, but their names must be whole
        with archive.open(info) as stream:
          if name in _READ:
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
              raise ValueError("compressed as numpy.savez never does")  # and decompressed without bounds
            arrays[name] = _array(path, name, stream, info.file_size, limit)
    except UserError:
      raise
    except Exception as error:  # of zipfile, of its decompressors, of numpy.lib.format
      reason = (str(error).splitlines() or [type(error).__name__])[0]
      raise UserError(f"{path}: array {name!r} cannot be read ({reason}); write it again with numpy.savez") from error
  return arrays


def _missing(members: Collection[str]) -> list[str]:
  """What an archive of these arrays lacks. Without a test split it is whole, and with unlabelled images alone."""
  train, test = _LABELLED[:2], _LABELLED[2:]
  if _UNLABELED in members and not any(name in members for name in _LABELLED):
    return []
  needed = [*train, *(test if any(name in members for name in test) else ())]
  return [name for name in needed if name not in members]


def _counted(path: Path) -> int:
  """How many arrays the end of the archive counts: one wrong length in its directory hides others from zipfile."""
  with path.open("rb") as file:
    file.seek(max(0, path.stat().st_size - _END))
    tail = file.read()
  start = tail.rfind(b"PK\x05\x06") + 10
  return int.from_bytes(tail[start : start + 2], "little")


def _array(path: Path, name: str, stream: IO[bytes], file_size: int, limit: int) -> np.ndarray:
  version = npy.read_magic(stream)
  if version != (1, 0):  # others are for records, and their headers may claim gigabytes
    raise ValueError(f"version {version[0]}.{version[1]} of .npy, not 1.0")
  shape, fortran, dtype = npy.read_array_header_1_0(stream)
  if dtype.hasobject:
    raise ValueError("Python objects")
  size = math.prod(shape)
  array = _Array(f"{path}: {name}", stream, shape, fortran, dtype, size)
  check = {"images": _check_images, "labels": _check_labels}.get(name.partition("_")[2])
  if check is not None:
    check(array)
  held = size * (1 if check is _check_images else dtype.itemsize)
  if min(shape, default=0) < 0 or stream.tell() + size * dtype.itemsize != file_size:
    raise ValueError(f"its shape {list(shape)} and its length of {file_size} bytes do not agree")
  if held > limit:
    raise UserError(
      f"{array.place} of shape {list(shape)} takes {held} bytes, more than --in_memory_limit={limit}; an .npz is held "
      "in memory: raise the limit, or save the images as files and give folder:DIR"
    )
  values = _images(array) if check is _check_images else _values(array)
  if stream.read(1):
    raise ValueError("more data than its header says")
  return values


def _pieces(array: _Array) -> Iterator[np.ndarray]:
  """The elements as they stand in the file."""
  itemsize = array.dtype.itemsize
  for start in range(0, array.size, _PIECE):
    count = min(_PIECE, array.size - start)
    content = array.stream.read(count * itemsize)
    if len(content) < count * itemsize:
      raise ValueError("truncated")
    yield np.frombuffer(content, array.dtype, count)


def _shaped(array: _Array, flat: np.ndarray) -> np.ndarray:
  return flat.reshape(array.shape[::-1]).T if array.fortran else flat.reshape(array.shape)


def _values(array: _Array) -> np.ndarray:
  out = np.empty(array.size, array.dtype)
  for i, piece in enumerate(_pieces(array)):
    out[i * _PIECE : i * _PIECE + len(piece)] = piece
  return _shaped(array, out)


def _images(array: _Array) -> np.ndarray:
  """u8 [N,H,W,C], whatever they are in the file."""
  out = np.empty(array.size, np.uint8)
  low, high = math.inf, -math.inf
  for i, piece in enumerate(_pieces(array)):
    if array.dtype.kind == "f":
      if not np.isfinite(piece).all():
        raise UserError(f"{array.place} holds values that are not finite (NaN or infinity); remove those images")
      low, high = min(low, piece.min()), max(high, piece.max())
      if low < 0 or high > 1:
        continue  # to learn the whole range
      piece = np.rint(piece.astype(np.float32) * 255)
    elif array.dtype.kind == "b":
      piece = (piece.view(np.uint8) > 0) * np.uint8(255)
    out[i * _PIECE : i * _PIECE + len(piece)] = piece
  if low < 0 or high > 1:
    raise UserError(f"{array.place} is float in [{low:g}, {high:g}]; scale it to [0, 1] or store uint8")
  if 0 < high <= _TWICE:
    raise UserError(
      f"{array.place} is float in [{low:g}, {high:g}], and white is 1: this is nearly black, perhaps divided by 255 "
      "twice; multiply it by 255"
    )
  images = _shaped(array, out)
  return images[..., None] if images.ndim == 3 else images


def _check_images(array: _Array) -> None:
  if array.dtype != np.uint8 and array.dtype.kind not in "fb":
    raise UserError(f"{array.place} is {array.dtype}; images must be uint8, float in [0, 1], or bool")
  if len(array.shape) not in (3, 4):
    raise UserError(f"{array.place} has shape {list(array.shape)}; it must be [N,H,W] or [N,H,W,C]")


def _check_labels(array: _Array) -> None:
  if len(array.shape) != 1 and not (len(array.shape) == 2 and array.shape[1] == 1):
    raise UserError(f"{array.place} has shape {list(array.shape)}; labels must be [N], one class index per image")
  if array.dtype.kind == "f":
    for piece in _pieces(array):
      if not np.isfinite(piece).all():
        raise UserError(f"{array.place} holds values that are not finite; labels are class indices 0, 1, 2 ...")
  if array.dtype.kind not in "iu":
    raise UserError(f"{array.place} is {array.dtype}; labels must be integers, class indices 0, 1, 2 ...")


def _text(name: object) -> str:
  return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
