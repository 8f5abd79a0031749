"""MNIST's own file format, IDX: two zero bytes, a type byte, the rank, big-endian i32 sizes, then the raw bytes."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from sslx.data.types import Split
from sslx.types import UserError

_SUFFIXES = ("-{}-idx{}-ubyte.gz", "-{}-idx{}-ubyte", "-{}.idx{}-ubyte.gz", "-{}.idx{}-ubyte")


def read_idx(path: str | Path, rank: int) -> np.ndarray:
  """Reads an IDX file, gzipped or not, of unsigned bytes, as u8 with `rank` axes.

  Raises:
    UserError: naming the file, if it is missing, empty, truncated, corrupt, too long, or not such an IDX file.
  """
  try:
    data = Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b" or (data and str(path).endswith(".gz")):
      data = gzip.decompress(data)
  except (gzip.BadGzipFile, zlib.error) as error:
    raise UserError(f"{path}: corrupt gzip file ({error}); fetch it again") from error
  except EOFError as error:
    raise UserError(f"{path}: truncated gzip file; fetch it again") from error
  except OSError as error:
    raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
  if not data:
    raise UserError(f"{path}: empty file; fetch it again")
  if len(data) < 4 or data[:2] != b"\0\0" or data[2] != 8:
    raise UserError(f"{path}: bad magic number {data[:4].hex()}; an IDX file of unsigned bytes starts with 0000 08")
  if data[3] != rank:
    raise UserError(f"{path}: {data[3]} dimensions where {rank} are needed; are images and labels swapped?")
  start = 4 + 4 * rank
  if len(data) < start:
    raise UserError(f"{path}: truncated in its header; fetch it again")
  shape = struct.unpack(f">{rank}I", data[4:start])
  size = int(np.prod([int(n) for n in shape], dtype=object))
  if len(data) - start != size:
    what = "truncated" if len(data) - start < size else "too long"
    raise UserError(
      f"{path}: {what}: {len(data) - start} bytes of data where its header {list(shape)} says {size}; fetch it again"
    )
  return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def find_idx(folder: str | Path, part: str, what: str) -> tuple[Path, int] | None:
  """The IDX file of `part` (train, t10k) in `folder` and its rank, or None. `what` is
  images (rank 3 or 4) or labels."""
  for rank in (3, 4) if what == "images" else (1,):
    for suffix in _SUFFIXES:
      path = Path(folder) / (part + suffix.format(what, rank))
      if path.is_file():
        return path, rank
  return None


def has_idx(folder: str | Path) -> bool:
  """Whether any of the four files is there."""
  return any(find_idx(folder, part, what) for part in ("train", "t10k") for what in ("images", "labels"))


def read_idx_folder(folder: str | Path) -> dict[str, Split]:
  """{"train": Split, "test": Split} from the four files train|t10k-images|labels; grey images gain a channel.

  Raises:
    UserError: naming the file that is missing or wrong, or counts that differ.
  """
  splits = {}
  for part, name in (("train", "train"), ("t10k", "test")):
    arrays, paths = [], []
    for what in ("images", "labels"):
      place = find_idx(folder, part, what)
      if place is None:
        expected = f"{part}-{what}-idx{3 if what == 'images' else 1}-ubyte.gz"
        raise UserError(
          f"{Path(folder) / expected}: missing; the folder must hold the four IDX files of MNIST's naming"
        )
      paths.append(place[0])
      arrays.append(read_idx(*place))
    images, labels = arrays
    if len(images) != len(labels):
      raise UserError(f"{paths[0]}: {len(images)} images, but {paths[1].name} holds {len(labels)} labels")
    if not len(images):
      raise UserError(f"{paths[0]}: holds no images")
    splits[name] = Split(images[..., None] if images.ndim == 3 else images, labels.astype(np.int32))
  return splits
