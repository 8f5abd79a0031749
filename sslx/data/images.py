"""Pictures to arrays with Pillow: one set of rules for folders, the TFDS catalogue and --image_size."""

import contextlib
import dataclasses
import io
import os
import stat
import struct
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageColor, UnidentifiedImageError

from sslx.data.lazy import LazyArray, in_memory
from sslx.data.types import Split
from sslx.types import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # no other is opened: Pillow has EPS drawn by another program
EXTENSIONS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif")
WHITE = (255, 255, 255)
PICTURE_BYTES = 3 * 89_478_485  # the largest picture that Pillow takes without a warning: allowed below any limit

_GREY = ("1", "L", "LA", "I;16", "I;16L", "I;16B")  # Pillow modes without colour
_TURNS = {  # EXIF orientation -> what sets the picture upright
  2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_DAMAGE = (  # what Pillow raises of damaged files
  OSError, SyntaxError, ValueError, IndexError, struct.error,
  Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


class Header(NamedTuple):
  """What an image file says of itself, without being decoded."""

  height: int
  """Of the upright picture."""
  width: int
  grey: bool
  """Whether it is without colour, over the background that shows through it."""
  sixteen_bits: bool
  """Grey of sixteen bits."""
  moving: bool
  """Whether it has further frames or pages than the first."""
  turned: bool = False
  """Whether its EXIF data turn or mirror it: its pixels are stored another way than they are read."""


def colour(name: str) -> tuple[int, int, int]:
  """The red, green and blue of --background. Raises UserError for what Pillow's ImageColor does not know as opaque."""
  try:
    red, green, blue = ImageColor.getrgb(name)  # pyright: ignore[reportAssignmentType]  # alpha is a ValueError here
  except ValueError:
    raise UserError(
      f"--background={name}: no such opaque colour; give a name such as white, or red, green and blue as #ff0080"
    ) from None
  return red, green, blue


def header(
  file: str | bytes,
  background: tuple[int, int, int] = WHITE,
  image_size: int | None = None,
  in_memory_limit: int = 2 << 30,
  name: str | None = None,
) -> Header:
  """Reads the header of an image file, or of its bytes.

  Raises:
    UserError: naming the file (`name`, for bytes), if it is no image, or too large to be decoded and resized to
      `image_size`.
  """
  with opened(file, name or str(file), image_size, in_memory_limit) as image:
    size = image.size[::-1] if _orientation(image) >= 5 else image.size
    grey = image.mode in _GREY and not (image.has_transparency_data and len(set(background)) > 1)
    moving = getattr(image, "is_animated", False) and image.format != "MPO"  # a phone's JPEG with a preview behind it
    return Header(size[1], size[0], grey, image.mode.startswith("I;16"), moving, _stored_orientation(image) != 1)


def brightest(file: str | bytes, name: str | None = None) -> int:
  """The largest value of a grey image file of sixteen bits, or of its bytes, which `name` names."""
  with opened(file, name or str(file)) as image:
    return int(np.max(np.asarray(image)))


def decode(
  file: str | bytes,
  channels: int,
  image_size: int | None = None,
  name: str | None = None,
  *,
  background: tuple[int, int, int] = WHITE,
  bits: int = 16,
  in_memory_limit: int = 2 << 30,
) -> np.ndarray:
  """An image file, or its bytes, as u8[H,W,channels]; u8[image_size,image_size,channels] if that is given.

  It is set upright as its EXIF data say; of several frames it is the first; see `to_array`.

  Raises:
    UserError: naming the file (`name`, for bytes), if it is missing, empty, truncated, no image, too large, or has
      values beyond `bits`.
  """
  called = name or str(file)
  with opened(file, called, image_size, in_memory_limit) as image:
    turn = _TURNS.get(_orientation(image))
    _mend_transparency(image)
    return to_array(
      image.transpose(turn) if turn is not None else image, channels, image_size, background, bits, called
    )


def to_array(
  image: Image.Image,
  channels: int,
  image_size: int | None = None,
  background: tuple[int, int, int] = WHITE,
  bits: int = 16,
  name: str = "an image",
) -> np.ndarray:
  """A Pillow image as u8[H,W,channels], channels 1 or 3.

  What is transparent shows `background`. Of sixteen bits, the upper eight of the lower `bits` are kept.

  Raises:
    UserError: naming `name`, if its values have more than `bits` bits.
  """
  if image.mode.startswith("I;16"):  # Pillow's own conversion clips at 255 instead of scaling
    image = _eight_bits(image, bits, name)
  if image.has_transparency_data:
    image = image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
  image = image.convert("L" if channels == 1 else "RGB")
  if image_size is not None:
    image = square(image, image_size)
  array = np.asarray(image)
  return array[:, :, None] if channels == 1 else array


def square(image: Image.Image, size: int, resampling: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
  """Scales the shorter side to `size` (bilinear, antialiased) and cuts the centre out: `size` x `size`."""
  return covering(image, size, size, resampling)


def covering(
  image: Image.Image, height: int, width: int, resampling: Image.Resampling = Image.Resampling.BILINEAR
) -> Image.Image:
  """Scales to the least size that covers `height` x `width` (bilinear, antialiased) and cuts the centre out of it."""
  if image.size == (width, height):
    return image
  wide, high = scaled(*image.size, height, width)
  left, top = (wide - width) // 2, (high - height) // 2
  return image.resize((wide, high), resampling).crop((left, top, left + width, top + height))


def framed(width: int, height: int, size: int) -> tuple[int, int, int, int]:
  """(width, height, left, top): what `square` scales a picture to, and where in it the square begins."""
  width, height = scaled(width, height, size, size)
  return width, height, (width - size) // 2, (height - size) // 2


def resized(split: Split, size: int | None, in_memory_limit: int) -> Split:
  """`split` with its images u8[N,size,size,C]; the same object if they already are or `size` is None."""
  images = split.x
  if size is None or tuple(images.shape[1:3]) == (size, size):
    return split
  channels, blocks = images.shape[3], getattr(images, "blocks", ())

  def fetch(rows):
    pictures = [picture[..., 0] if channels == 1 else picture for picture in images[rows]]
    return np.stack([to_array(Image.fromarray(picture), channels, size) for picture in pictures])

  sized = LazyArray((len(images), size, size, channels), fetch, parents=(images,), blocks=blocks)
  return dataclasses.replace(split, x=within(sized, in_memory_limit), files=None)


def with_channels(split: Split, channels: int, in_memory_limit: int) -> Split:
  """`split` with its images u8[N,H,W,channels], 1 or 3: grey repeated, or the luma of colour as Pillow rounds it."""
  images = split.x
  (n, height, width, given), blocks = images.shape, getattr(images, "blocks", ())
  if given == channels:
    return split

  def fetch(rows):
    if channels == 3:
      return np.repeat(images[rows], 3, axis=3)
    weighted = images[rows].astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)  # ITU-R BT.601 in 16 bits
    return ((weighted + 0x8000) >> 16).astype(np.uint8)[..., None]

  changed = LazyArray((n, height, width, channels), fetch, parents=(images,), blocks=blocks)
  return dataclasses.replace(split, x=within(changed, in_memory_limit), files=None)


def within(images: LazyArray, in_memory_limit: int) -> np.ndarray | LazyArray:
  """The images themselves where their bytes stay within the limit, else the lazy ones."""
  return images if images.nbytes > in_memory_limit else in_memory(images)


def streamed(images: LazyArray, in_memory_limit: int, name: str) -> LazyArray:
  """`images`, but where more rows are asked for at once than memory is meant for, that is a UserError naming `name`."""
  # The program may hold three splits of the limit and the union of two beside it; as much is allowed to rows at once.
  limit, size = 4 * max(in_memory_limit, PICTURE_BYTES), images.nbytes // max(1, len(images))
  (height, width), read = images.shape[1:3], images.fetch

  def fetch(rows):
    if len(rows) * size > limit:
      raise UserError(
        f"{name}: {len(rows)} images of its size, {height}x{width} (height x width), are {len(rows) * size:,} bytes, "
        f"too many for --in_memory_limit={in_memory_limit}; give --image_size, or raise the limit"
      )
    return read(rows)

  return dataclasses.replace(images, fetch=fetch)


@contextlib.contextmanager
def without_size_warnings() -> Iterator[None]:
  """Of a picture that is too large, Pillow's warning is left out: the UserError says it. Not for use in threads."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    yield


@contextlib.contextmanager
def opened(
  file: str | bytes, name: str, image_size: int | None = None, in_memory_limit: int = 2 << 30
) -> Iterator[Image.Image]:
  """An image that is not decoded yet; what goes wrong inside is a UserError that names it."""
  try:
    if isinstance(file, str) and not stat.S_ISREG(os.stat(file).st_mode):
      raise UserError(f"{name}: not a file, but a folder, pipe or device; delete it")
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS) as image:
      if image.mode in ("I", "F"):
        raise UserError(f"{name}: {image.mode!r} pixels (32 bits) are not supported; save it with 8 or 16 bits")
      _check_size(image, name, image_size, in_memory_limit)
      yield image
  except _DAMAGE as error:
    raise _unreadable(name, error) from error


def _check_size(image: Image.Image, name: str, image_size: int | None, in_memory_limit: int) -> None:
  """Before anything of it is decoded: a file of a few bytes may claim any size."""
  width, height = image.size
  size = f"{height}x{width} (height x width)"
  if not width * height:
    raise UserError(f"{name}: {size} holds no pixel; delete it")
  most = Image.MAX_IMAGE_PIXELS
  if most is not None and width * height > most:
    raise UserError(f"{name}: {size} is too large, above {most:,} pixels; scale it down, or delete it")
  least = image_size or 1
  largest = max([image.size, scaled(width, height, least, least)], key=lambda size: size[0] * size[1])
  needed = 3 * largest[0] * largest[1]
  if needed > max(in_memory_limit, PICTURE_BYTES):
    how = f" to be scaled to --image_size={image_size}" if largest != image.size else ""
    raise UserError(
      f"{name}: {size} needs {needed:,} bytes{how}, above --in_memory_limit={in_memory_limit}; crop it, or delete it"
    )


def scaled(width: int, height: int, least_height: int, least_width: int) -> tuple[int, int]:
  """(width, height) scaled until both are at least so large."""
  scale = max(least_width / width, least_height / height)
  return max(least_width, round(width * scale)), max(least_height, round(height * scale))


def _orientation(image: Image.Image) -> int:
  """EXIF's, 1 to 8, of an image that is not decoded yet."""
  return 1 if image.format == "TIFF" else _stored_orientation(image)  # Pillow turns these itself


def _stored_orientation(image: Image.Image) -> int:
  try:
    found = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # that of a PNG would decode it
  except Exception:  # damaged EXIF data raise anything, and are no part of the picture
    return 1
  return found if found in _TURNS else 1


def _eight_bits(image: Image.Image, bits: int, name: str) -> Image.Image:
  values, clear = np.asarray(image), image.info.get("transparency")
  largest = int(values.max())
  if largest >> bits:
    needed = largest.bit_length()
    raise UserError(
      f"{name}: its largest value is {largest}, above the {(1 << bits) - 1} of --bits={bits}; give --bits={needed}"
    )
  image = Image.fromarray((values >> (bits - 8)).astype(np.uint8))
  if isinstance(clear, int):
    image.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
  return image


def _mend_transparency(image: Image.Image) -> None:
  """Pillow keeps the transparent value of a PNG in the bits of the file, when the pixels get eight."""
  clear, tiles = image.info.get("transparency"), getattr(image, "tile", None)
  raw = tiles[0][3] if tiles else None
  if isinstance(clear, int) and raw in ("L;2", "L;4"):
    image.info["transparency"] = clear * {"L;2": 85, "L;4": 17}[raw]
  elif isinstance(clear, tuple) and raw == "RGB;16B":
    image.info["transparency"] = tuple(value >> 8 for value in clear)


def _unreadable(path: str, error: Exception) -> UserError:
  if os.path.isfile(path) and not os.path.getsize(path):
    return UserError(f"{path}: empty file; delete it or put an image there")
  if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
    return UserError(f"{path}: too large ({error}); scale it down, or delete it")
  if isinstance(error, UnidentifiedImageError):
    reason = f"cannot identify it as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
  else:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
  return UserError(f"{path}: not a readable image ({reason}); repair or delete it")
