"""Files read for a model, as those that it was trained on were: what predictions are made of.

`files_of` finds them, `read` makes one array of them, whatever sizes and formats they have.
"""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sslx.data import recordings
from sslx.data.images import PICTURE_BYTES, WHITE, covering, decode, scaled, without_size_warnings
from sslx.data.lazy import LazyArray, Rows
from sslx.data.recordings import RECORDINGS
from sslx.data.text_files import TEXTS, document_of
from sslx.data.tree import IMAGES, Kind, is_kind
from sslx.data.words import padded
from sslx.types import UserError, brief

KINDS = {"image": IMAGES, "sound": RECORDINGS, "text": TEXTS}
"""Which files are examples of a modality."""
_CHUNK = 256  # files at most that are decoded before their rows are handed on
_HELD = 64 << 20  # bytes of such rows, about

Place = str | os.PathLike[str]
Decoder = Callable[[str], np.ndarray]


class Files(NamedTuple):
  """Files that were read."""

  x: Rows
  """[N,...], as the model takes them: in memory, or lazy where they are more bytes than the limit."""
  kept: list[str]
  """The file of each row of x."""
  broken: list[tuple[str, str]]
  """(file, what is wrong with it) of those that were passed over."""

  __repr__ = brief


def files_of(places: Sequence[Place], modality: str) -> list[str]:
  """The files of images, recordings or texts at some places, each real file once, in the order of the places.

  Args:
    places: files, which may be called as they like; folders, whose files of this modality are taken with those of all
      folders below, sorted by their paths, and hidden ones are not; patterns such as `photos/2024*/*.jpg`, where `**`
      stands for any folders.
    modality: image, sound or text.

  Raises:
    UserError: no place, one that is not there or holds no such file, or a modality without files of examples.
  """
  kind = _kind(modality)
  if not places:
    raise UserError(f"no files: name {kind.name}s, or folders with them")
  files: dict[str, str] = {}  # where it really is -> as it was named
  for place in places:
    found = _found(os.path.expanduser(os.fspath(place)), kind)
    if not found:
      raise UserError(f"{place}: holds no {kind.name}s ({', '.join(kind.extensions)})")
    for path in found:
      files.setdefault(os.path.realpath(path), path)
  return list(files.values())


def read(
  files: Sequence[Place],
  modality: str,
  x_shape: tuple[int, ...],
  meaning: Any = 0,
  *,
  background: tuple[int, int, int] = WHITE,
  bits: int = 16,
  skip_broken: bool = False,
  in_memory_limit: int = 2 << 30,
  progress: Callable[[int], object] | None = None,
) -> Files:
  """The files as one array, for a model of these `x_shape` and `meaning`: see `Fitted`.

  Images get the size and the channels of x_shape as `folder:DIR` gives them with --image_size: the shorter side is
  scaled, and the centre is cut out. An image of just that size stays as it is; where x_shape is no square, an image is
  scaled until it covers it. Recordings are mixed down, resampled, and cut at their end or padded, and texts are cut or
  padded, as `audio:DIR` and `text:DIR` do.

  Every file is decoded once, in threads. Where all of them are more bytes than the limit, no more than some hundred are
  in memory at a time: x is lazy then, and decodes them again when it is read.

  Args:
    files: of `files_of`.
    modality: image, sound or text.
    x_shape: of one example: (H, W, C), or (T,).
    meaning: as `Dataset.meaning`: samples a second of sound, the vocabulary of text.
    background: of images: red, green and blue behind what is transparent.
    bits: of images: how many of their 16 bits they use.
    skip_broken: a file that cannot be read is passed over, and is in `broken`.
    in_memory_limit: bytes.
    progress: called with the number of files that are done, again and again, up to their number.

  Raises:
    UserError: naming the first file that cannot be read, and why; with `skip_broken` only where none can.
  """
  paths, name = [os.fspath(file) for file in files], _kind(modality).name
  decoder, dtype = _decoder(modality, tuple(x_shape), meaning, background, bits, in_memory_limit)
  row_bytes = int(np.prod(x_shape, dtype=np.int64)) * dtype.itemsize
  out = np.empty((len(paths), *x_shape), dtype) if len(paths) * row_bytes <= in_memory_limit else None
  kept: list[str] = []
  broken: list[tuple[str, str]] = []
  with without_size_warnings():
    for done, (path, row) in enumerate(_decoded(paths, decoder, row_bytes), 1):
      if isinstance(row, UserError):
        if not skip_broken:
          raise UserError(f"{row}; --skip_broken passes over {name}s that cannot be read") from row
        broken.append((path, str(row).removeprefix(f"{path}: ")))
      else:
        if out is not None:
          out[len(kept)] = row
        kept.append(path)
      if progress is not None:
        progress(done)
  if broken and not kept:
    path, why = broken[0]
    raise UserError(f"{path}: {why}; none of {len(paths):,} {name}s can be read")
  return Files(_lazy(kept, decoder, tuple(x_shape), dtype) if out is None else out[: len(kept)], kept, broken)


def _kind(modality: str) -> Kind:
  if modality not in KINDS:
    raise UserError(f"{modality}: files are read of {', '.join(KINDS)}; of others give arrays")
  return KINDS[modality]


def _found(place: str, kind: Kind) -> list[str]:
  if os.path.isdir(place):
    return sorted(_walked(place, kind))
  if os.path.exists(place):  # also where its name is a pattern
    return [place]
  if not glob.has_magic(place):
    raise UserError(f"{place}: no such file or folder")
  found: list[str] = []
  for path in glob.glob(place, recursive=True):
    found += _walked(path, kind) if os.path.isdir(path) else [path] if is_kind(Path(path).name, kind) else []
  named: dict[str, str] = {}  # through links that lead back, a pattern reaches a file by many names
  for path in sorted(found, key=lambda path: (path.count(os.sep), path)):
    named.setdefault(os.path.realpath(path), path)
  return sorted(named.values())


def _walked(folder: str, kind: Kind) -> Iterator[str]:
  """The files of a kind in it and below, also behind links, but each real folder once."""
  seen: set[tuple[int, int]] = set()
  for where, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
    facts = os.stat(where)
    if (facts.st_dev, facts.st_ino) in seen:
      folders.clear()
      continue
    seen.add((facts.st_dev, facts.st_ino))
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    yield from (os.path.join(where, name) for name in files if is_kind(name, kind))


def _refuse(error: OSError) -> None:
  raise UserError(f"{error.filename}: cannot be read ({error.strerror or error})") from error


def _decoded(paths: Sequence[str], decoder: Decoder, row_bytes: int) -> Iterator[tuple[str, np.ndarray | UserError]]:
  """Each file with its row, or with what is wrong with it."""
  chunk = min(_CHUNK, max(os.cpu_count() or 1, _HELD // row_bytes))

  def one(path: str) -> np.ndarray | UserError:
    try:
      return decoder(path)
    except UserError as error:
      return error
    except OSError as error:
      return UserError(f"{path}: cannot be read ({error.strerror or error})")

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for start in range(0, len(paths), chunk):
      part = paths[start : start + chunk]
      yield from zip(part, pool.map(one, part), strict=True)


def _decoder(
  modality: str,
  shape: tuple[int, ...],
  meaning: Any,
  background: tuple[int, int, int],
  bits: int,
  in_memory_limit: int,
) -> tuple[Decoder, np.dtype]:
  """(a function of a path to the row of its file, the row's dtype)."""
  if modality == "sound":
    (length,) = shape

    def recording(path: str) -> np.ndarray:
      header = recordings.header_of(path)
      most = recordings.needed(header.rate, meaning, length)
      return recordings.row_of(recordings.read(path, header, most), header.rate, meaning, length)

    return recording, np.dtype(np.int16)
  if modality == "text":
    (length,) = shape
    return lambda path: padded(meaning.encode(document_of(path)[:length]), length), np.dtype(np.int32)
  height, width, channels = shape
  side = height if height == width else None  # of a square, `decode` looks at what scaling takes before it decodes

  def image(path: str) -> np.ndarray:
    how: dict[str, Any] = {"background": background, "bits": bits, "in_memory_limit": in_memory_limit}
    pixels = decode(path, channels, side, **how)
    if pixels.shape[:2] == (height, width):
      return pixels
    wide, high = scaled(pixels.shape[1], pixels.shape[0], height, width)
    if channels * wide * high > max(in_memory_limit, PICTURE_BYTES):  # a long strip that is a few pixels high
      size = f"{pixels.shape[0]}x{pixels.shape[1]}"
      raise UserError(f"{path}: {size} (height x width) is too long to be scaled to {height}x{width}; crop it")
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    return np.asarray(covering(picture, height, width)).reshape(shape)

  return image, np.dtype(np.uint8)


def _lazy(paths: list[str], decoder: Decoder, shape: tuple[int, ...], dtype: np.dtype) -> LazyArray:
  def fetch(rows: np.ndarray) -> np.ndarray:
    return np.stack([decoder(paths[int(row)]) for row in rows])

  return LazyArray((len(paths), *shape), fetch, dtype, files=tuple(map(os.path.abspath, paths)))
