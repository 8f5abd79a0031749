"""MNIST's own file format, IDX: two zero bytes, a type byte, the rank, big-endian i32 sizes, then the raw bytes."""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from sslx.data.types import Split
from sslx.types import UserError

_SUFFIXES = ("-{}-idx{}-ubyte.gz", "-{}-idx{}-ubyte", "-{}.idx{}-ubyte.gz", "-{}.idx{}-ubyte")
_PIECE = 1 << 20  # bytes read at a time
LIMIT = 2 << 30  # bytes of the largest file that is read where nobody names another number


def read_idx(path: str | Path, rank: int, limit: int = LIMIT) -> np.ndarray:
  """Reads an IDX file, gzipped or not, of unsigned bytes, as u8 with `rank` axes.

  No more is read, and no more memory taken, than the file's header says, which is `limit` bytes at most.

  Raises:
    UserError: naming the file, if it is missing, empty, truncated, corrupt, too long, beyond `limit`, or not such an
      IDX file.
  """
  try:
    with open(path, "rb") as file:
      start = file.peek(2)[:2]
      zipped = start == b"\x1f\x8b" or (start and str(path).endswith(".gz"))
      with gzip.GzipFile(fileobj=file) if zipped else file as stream:
        return _read(path, stream, rank, limit)
  except (gzip.BadGzipFile, zlib.error) as error:
    raise UserError(f"{path}: corrupt gzip file ({error}); fetch it again") from error
  except EOFError as error:
    raise UserError(f"{path}: truncated gzip file; fetch it again") from error
  except OSError as error:
    raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read(path: str | Path, stream: io.BufferedIOBase, rank: int, limit: int) -> np.ndarray:
  magic = stream.read(4)
  if not magic:
    raise UserError(f"{path}: empty file; fetch it again")
  if len(magic) < 4 or magic[:3] != b"\0\0\x08":
    raise UserError(f"{path}: bad magic number {magic.hex()}; an IDX file of unsigned bytes starts with 0000 08")
  if magic[3] != rank:
    raise UserError(f"{path}: {magic[3]} dimensions where {rank} are needed; are images and labels swapped?")
  sizes = stream.read(4 * rank)
  if len(sizes) < 4 * rank:
    raise UserError(f"{path}: truncated in its header; fetch it again")
  shape = struct.unpack(f">{rank}I", sizes)
  size = math.prod(shape)
  says = f"its header {list(shape)} says {size}"
  if size > limit:
    raise UserError(
      f"{path}: {says} bytes, more than --in_memory_limit={limit}; IDX files are held in memory: raise the limit, or "
      "fetch the file again if this is not its size"
    )
  try:
    images = np.empty(shape, np.uint8)
  except (MemoryError, ValueError) as error:  # a limit beyond all memory, or zero times more than an array can hold
    raise UserError(f"{path}: {says} bytes, too much for this machine; fetch it again") from error
  data, done = images.reshape(-1), 0
  while done < size and (count := stream.readinto(data[done : done + _PIECE].data)):
    done += count
  if done < size:
    raise UserError(f"{path}: truncated: {done} bytes of data where {says}; fetch it again")
  if stream.read(1):  # reading up to the end is also what makes gzip compare its checksum
    raise UserError(f"{path}: too long: {size + 1} bytes of data or more where {says}; fetch it again")
  return images


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


def read_idx_folder(folder: str | Path, limit: int = LIMIT) -> dict[str, Split]:
  """{"train": Split, "test": Split} from the four files train|t10k-images|labels; grey images gain a channel.

  Raises:
    UserError: naming the file that is missing, wrong or larger than `limit` bytes, or counts that differ.
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
      arrays.append(read_idx(*place, limit))
    images, labels = arrays
    if len(images) != len(labels):
      raise UserError(f"{paths[0]}: {len(images)} images, but {paths[1].name} holds {len(labels)} labels")
    if not len(images):
      raise UserError(f"{paths[0]}: holds no images")
    splits[name] = Split(images[..., None] if images.ndim == 3 else images, labels.astype(np.int32))
  return splits
