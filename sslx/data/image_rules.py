"""The rules that every data set of images keeps: `sslx.data.check` has the others."""

from collections.abc import Mapping

import numpy as np

from sslx.data.lazy import Rows
from sslx.data.types import Dataset, Split
from sslx.data.warn import warn
from sslx.types import UserError

_DARK = 64  # images of 4 or 5 bits, or in 0..16, are below; photographs by night are not


def images(dataset: Dataset, splits: Mapping[str, Split], image_size: int | None) -> None:
  """Raises UserError for images that are not u8 [N,H,W,C] with C of 1 or 3, whose values are 0 and 1 where white is
  255, or whose shapes differ between splits."""
  name = dataset.name
  for part, split in splits.items():
    shape = split.x.shape
    if len(shape) == 3:
      raise UserError(f"{name}: {part} images have shape {list(shape)}; add the axis of the channels, x[..., None]")
    if len(shape) != 4 or 0 in shape[1:]:
      raise UserError(f"{name}: {part} images have shape {list(shape)}; they must be [N,H,W,C]")
    if shape[3] not in (1, 3):
      first = shape[1] in (1, 3)
      cure = f"; {list(shape)} looks like [N,C,H,W]: move the channels last, np.moveaxis(x, 1, -1)" if first else ""
      raise UserError(
        f"{name}: {part} images have {shape[3]} channels; the last axis must be 1 (grey) or 3 (RGB){cure}"
      )
    if not len(split) and part != "test":
      raise UserError(f"{name}: the {part} split is empty; it needs at least one image")
    check_bytes(f"{name}: {part} images", split.x)
    same = shape[1:] == dataset.x_shape if image_size is None else shape[3] == dataset.x_shape[2]
    if not same:
      raise UserError(
        f"{name}: train images are {_size(dataset.x_shape)} but {part} images are {_size(shape[1:])}; "
        "make them one size, with --image_size, and one number of channels"
      )


def check_bytes(what: str, x: Rows) -> None:
  """Raises UserError for pixels that are not u8, or are u8 and certainly on another scale than 0..255."""
  if x.dtype != np.uint8:
    values = f" in [{x.min():g}, {x.max():g}]" if isinstance(x, np.ndarray) and x.size and x.dtype.kind in "iuf" else ""
    if x.dtype.kind == "b":
      cure = "x * np.uint8(255)"
    elif x.dtype.kind == "f" and not (isinstance(x, np.ndarray) and x.max(initial=0) > 1):
      cure = "np.rint(x * 255).astype(np.uint8) of values in [0, 1]"
    else:
      cure = "x.astype(np.uint8) of values in 0..255"
    raise UserError(f"{what} are {x.dtype}{values}; they must be uint8, where 255 is white: {cure}")
  if isinstance(x, np.ndarray) and x.max(initial=0) == 1:  # a lazy array is too large to be read here
    raise UserError(f"{what} hold no value above 1, where 255 is white: all is nearly black; multiply them by 255")


def tell_dark(dataset: Dataset) -> None:
  """Tells on stderr which splits in memory hold images that are black, or nearly."""
  for part, split in (("train", dataset.train), ("test", dataset.test), ("unlabeled", dataset.unlabeled)):
    if dataset.modality.name != "image" or not split or not isinstance(split.x, np.ndarray):
      continue
    top = int(split.x.max())
    if top == 0:
      warn(dataset.name, f"every {part} image is black: all values are 0")
    elif top < _DARK:
      warn(
        dataset.name,
        f"no value of the {part} images is above {top}, where 255 is white: all is nearly black; multiply them by "
        f"{255 // top} if {top} is to be white",
      )


def _size(shape: tuple[int, ...]) -> str:
  return "x".join(map(str, shape))
