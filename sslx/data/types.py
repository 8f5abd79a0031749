"""What every source of data becomes: splits of u8 images [N,H,W,C] and i32 labels [N]."""

import dataclasses
import os
from collections.abc import Callable
from concurrent import futures

import numpy as np

_CHUNK = 1024  # images decoded by one thread at a time when a lazy split is brought into memory


@dataclasses.dataclass(frozen=True, eq=False)
class LazyImages:
  """Images that stay on disk: `images[i32[B]]` reads and decodes just those, as u8[B,H,W,C]. Thread-safe.

  An int gives u8[H,W,C], a slice u8[B,H,W,C]; `np.asarray(images)` reads everything. Raises IndexError beyond the ends
  and UserError, naming the file, where one cannot be decoded.
  """

  shape: tuple[int, int, int, int]
  fetch: Callable[[np.ndarray], np.ndarray]  # i64[B] in [0, N) -> u8[B,H,W,C]

  @property
  def dtype(self) -> np.dtype:
    """Always uint8."""
    return np.dtype(np.uint8)

  @property
  def ndim(self) -> int:
    """Always 4."""
    return 4

  @property
  def nbytes(self) -> int:
    """Bytes of the decoded images."""
    return int(np.prod(self.shape, dtype=np.int64))

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, index) -> np.ndarray:
    n = len(self)
    rows = np.arange(*index.indices(n)) if isinstance(index, slice) else np.asarray(index)
    if rows.size and (rows.dtype.kind not in "iu" or rows.ndim > 1):
      raise IndexError(f"lazy images take an integer, a slice or a vector of integers, not {rows.dtype}{rows.shape}")
    if rows.size and not -n <= rows.min() <= rows.max() < n:
      raise IndexError(f"index out of range for {n} images")
    rows = np.where(rows < 0, rows + n, rows).astype(np.int64)
    if rows.ndim == 0:
      return self.fetch(rows[None])[0]
    return self.fetch(rows) if rows.size else np.empty((0, *self.shape[1:]), np.uint8)

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    images = in_memory(self)
    return images if dtype is None else images.astype(dtype)


def take(images: np.ndarray | LazyImages, rows: np.ndarray) -> np.ndarray | LazyImages:
  """images[rows], lazy where `images` are: nothing is read."""
  if isinstance(images, np.ndarray):
    return images[rows]
  return LazyImages((len(rows), *images.shape[1:]), lambda i: images.fetch(rows[i]))


def in_memory(images: LazyImages) -> np.ndarray:
  """Reads all of `images`, in threads (decoding releases the GIL) and in pieces (so the peak is little above the result)."""
  out = np.empty(images.shape, np.uint8)

  def fill(start):
    stop = min(start + _CHUNK, len(out))
    out[start:stop] = images.fetch(np.arange(start, stop))

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    jobs = [pool.submit(fill, start) for start in range(0, len(out), _CHUNK)]
    try:
      for job in jobs:
        job.result()
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise
  return out


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
  """Images u8[N,H,W,C] (an array or LazyImages: `.shape`, `len`, `[i32[B]]`) and labels i32[N], or None."""

  images: np.ndarray | LazyImages
  labels: np.ndarray | None

  def __len__(self) -> int:
    return len(self.images)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """A labelled training and test split, and whatever further images come without labels."""

  name: str
  class_names: tuple[str, ...]
  train: Split
  test: Split
  unlabeled: Split | None = None

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C)."""
    _, height, width, channels = self.train.images.shape
    return height, width, channels

  @property
  def num_classes(self) -> int:
    """Number of classes; labels are 0 .. num_classes - 1."""
    return len(self.class_names)

  @property
  def pretraining_images(self) -> np.ndarray | LazyImages:
    """Every image that pretraining may see, u8[N,H,W,C]: the training split, then `unlabeled`."""
    if self.unlabeled is None:
      return self.train.images
    parts = [self.train.images, self.unlabeled.images]
    if all(isinstance(p, np.ndarray) for p in parts):
      return np.concatenate(parts)
    n = len(parts[0])

    def fetch(rows: np.ndarray) -> np.ndarray:
      out = np.empty((len(rows), *self.image_shape), np.uint8)
      out[rows < n], out[rows >= n] = parts[0][rows[rows < n]], parts[1][rows[rows >= n] - n]
      return out

    return LazyImages((n + len(parts[1]), *self.image_shape), fetch)

  @property
  def split_sizes(self) -> dict[str, int]:
    """Images per split, by name; `unlabeled` only where there is one."""
    sizes = {"train": len(self.train), "test": len(self.test)}
    return sizes if self.unlabeled is None else sizes | {"unlabeled": len(self.unlabeled)}


@dataclasses.dataclass(frozen=True)
class Request:
  """What a loader is asked for: `spec` is `name` or `scheme:argument`."""

  spec: str
  argument: str
  data_dir: str  # absolute; where prepared sets live
  image_size: int | None
  in_memory_limit: int  # bytes of decoded images above which a split stays lazy
