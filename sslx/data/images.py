"""Pictures to arrays with Pillow: one set of rules for folders, the TFDS catalogue and --image_size."""

import io
import os
from typing import BinaryIO

import numpy as np
from PIL import Image

from sslx.data.types import LazyArray, Split, in_memory
from sslx.types import UserError

_GREY = ("1", "L", "LA", "I;16", "I;16L", "I;16B")  # Pillow modes without colour


def header(path: str) -> tuple[int, int, bool]:
  """(height, width, is grey) of an image file, without decoding it. Raises UserError, naming it, if it is no image."""
  if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe would wait for ever
    raise UserError(f"{path}: is no ordinary file but a folder, device or pipe; remove or rename it")
  try:
    with Image.open(path) as image:
      if image.mode in ("I", "F"):
        raise UserError(f"{path}: {image.mode!r} pixels (32 bits) are not supported; save it with 8 or 16 bits")
      return image.height, image.width, image.mode in _GREY
  except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
    raise _unreadable(path, error) from error


def decode(file: str | bytes, channels: int, image_size: int | None = None, name: str | None = None) -> np.ndarray:
  """An image file, or its bytes, as u8[H,W,channels]; u8[image_size,image_size,channels] if that is given.

  Transparency is dropped, sixteen bits become the upper eight.

  Raises:
    UserError: naming the file (`name`, for bytes), if it is missing, empty, truncated or no image.
  """
  try:
    with Image.open(_open(file)) as image:
      return to_array(image, channels, image_size)
  except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
    raise _unreadable(name or str(file), error) from error


def to_array(image: Image.Image, channels: int, image_size: int | None = None) -> np.ndarray:
  """A Pillow image as u8[H,W,channels], channels 1 or 3."""
  if image.mode.startswith("I;16"):  # Pillow's own conversion clips at 255 instead of scaling
    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
  image = image.convert("L" if channels == 1 else "RGB")
  if image_size is not None:
    image = square(image, image_size)
  array = np.asarray(image)
  return array[:, :, None] if channels == 1 else array


def square(image: Image.Image, size: int) -> Image.Image:
  """Scales the shorter side to `size` (bilinear, antialiased) and cuts the centre out: `size` x `size`."""
  width, height = image.size
  if (width, height) == (size, size):
    return image
  scale = size / min(width, height)
  width, height = max(size, round(width * scale)), max(size, round(height * scale))
  image = image.resize((width, height), Image.Resampling.BILINEAR)
  left, top = (width - size) // 2, (height - size) // 2
  return image.crop((left, top, left + size, top + size))


def resized(split: Split, size: int | None, in_memory_limit: int) -> Split:
  """`split` with its images u8[N,size,size,C]; the same object if they already are or `size` is None."""
  images = split.x
  if size is None or tuple(images.shape[1:3]) == (size, size):
    return split
  channels = images.shape[3]

  def fetch(rows):
    pictures = [picture[..., 0] if channels == 1 else picture for picture in images[rows]]
    return np.stack([to_array(Image.fromarray(picture), channels, size) for picture in pictures])

  sized = LazyArray((len(images), size, size, channels), fetch, parents=(images,))
  return Split(within(sized, in_memory_limit), split.y)


def with_channels(split: Split, channels: int, in_memory_limit: int) -> Split:
  """`split` with its images u8[N,H,W,channels], 1 or 3: grey repeated, or the luma of colour as Pillow rounds it."""
  images = split.x
  n, height, width, given = images.shape
  if given == channels:
    return split

  def fetch(rows):
    if channels == 3:
      return np.repeat(images[rows], 3, axis=3)
    weighted = images[rows].astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)  # ITU-R BT.601 in 16 bits
    return ((weighted + 0x8000) >> 16).astype(np.uint8)[..., None]

  changed = LazyArray((n, height, width, channels), fetch, parents=(images,))
  return Split(within(changed, in_memory_limit), split.y)


def within(images: LazyArray, in_memory_limit: int) -> np.ndarray | LazyArray:
  """The images themselves where their bytes stay within the limit, else the lazy ones."""
  return images if images.nbytes > in_memory_limit else in_memory(images)


def _open(file: str | bytes) -> str | BinaryIO:
  return io.BytesIO(file) if isinstance(file, bytes) else file


def _unreadable(path: str, error: Exception) -> UserError:
  if os.path.isfile(path) and not os.path.getsize(path):
    return UserError(f"{path}: empty file; delete it or put an image there")
  reason = str(error).splitlines()[0] if str(error) else type(error).__name__
  return UserError(f"{path}: not a readable image ({reason}); repair or delete it")
