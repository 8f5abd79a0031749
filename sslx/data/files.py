"""Files of pictures to the images of splits: what the loaders share whose examples are files."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures

import numpy as np

from sslx.data.images import Header, brightest, decode, header, streamed, within
from sslx.data.lazy import LazyArray, Rows
from sslx.data.types import Request
from sslx.data.warn import warn
from sslx.types import UserError

_LOOKED_AT = 64  # images of sixteen bits whose largest value is looked for
_NOWHERE: Mapping[str, str] = {}


def headers_of(
  files: Mapping[str, Sequence[str]], request: Request, places: Mapping[str, str] = _NOWHERE
) -> dict[str, Header]:
  """The headers of all files of all splits, by path; nothing is decoded. What is lost of them is told on stderr.

  places: where a file is named, such as a line of a table; an error of this file begins with it.

  Raises:
    UserError: naming a file that is no image, or too large.
  """

  def read(path: str) -> Header:
    try:
      return header(path, request.background, request.image_size, request.in_memory_limit)
    except UserError as error:
      if path in places:
        raise UserError(f"{places[path]}: {error}") from error
      raise

  paths = list(dict.fromkeys(path for part in files.values() for path in part))
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    headers = dict(zip(paths, pool.map(read, paths, chunksize=64), strict=True))
  tell(files, headers, request)
  return headers


def images_of(files: Mapping[str, Sequence[str]], headers: Mapping[str, Header], request: Request) -> dict[str, Rows]:
  """Split -> images u8 [N,H,W,C] of its files, in memory or lazy. C is 1 if every one of all splits is grey, else 3.

  Raises:
    UserError: images of two sizes while --image_size is not given, or a file that cannot be decoded.
  """
  shape = common_shape(headers, request.image_size)
  return {part: within(_lazy(list(paths), shape, request), request.in_memory_limit) for part, paths in files.items()}


def common_shape(headers: Mapping[str, Header], image_size: int | None) -> tuple[int, int, int]:
  """(H, W, C) that all files share, once they are resized.

  Raises:
    UserError: two files that differ in size while no `image_size` is given.
  """
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


def tell(
  files: Mapping[str, Sequence[str]],
  headers: Mapping[str, Header],
  request: Request,
  largest_of: Callable[[str], int] = brightest,
) -> None:
  """What is lost of these images, on stderr.

  files: the names of the images of each split. largest_of: name -> the largest value of an image of sixteen bits.
  """
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
    largest = max(map(largest_of, seen))
    if 0 < largest < 1 << 12:  # of what is darker than a sixteenth, 16 levels are left at most
      warn(
        request.spec,
        f"the {part} images of 16 bits have no value above {largest} ({len(seen)} of {len(deep)} looked at): "
        f"{(largest >> 8) + 1} of 256 levels are left of them; --bits={max(8, largest.bit_length())} keeps all",
      )


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
