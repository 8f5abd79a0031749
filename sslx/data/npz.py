"""`npz:FILE`: arrays by name in one NumPy archive."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from sslx.data.types import Dataset, Request, Split, image_classes
from sslx.types import UserError

_NEEDED = ("train_images", "train_labels", "test_images", "test_labels")


def load_npz(request: Request) -> Dataset:
  """Reads train_images, train_labels, test_images, test_labels; optionally unlabeled_images and class_names.

  Images are u8 or float in [0,1] (rounded to u8), [N,H,W] or [N,H,W,C]; labels are integers [N] or [N,1].

  Raises:
    UserError: naming the file and the array that is missing or wrong.
  """
  path = Path(request.argument).expanduser()
  arrays = _read(path)
  train_labels = _labels(path, "train_labels", arrays)
  train = Split(_images(path, "train_images", arrays), train_labels)
  test = Split(_images(path, "test_images", arrays), _labels(path, "test_labels", arrays))
  unlabeled = None
  if "unlabeled_images" in arrays:
    unlabeled = Split(_images(path, "unlabeled_images", arrays), None)
  if "class_names" in arrays:
    class_names = tuple(str(name) for name in np.ravel(arrays["class_names"]))
  else:
    class_names = tuple(str(i) for i in range(int(train_labels.max(initial=0)) + 1))
  return image_classes(request.spec, class_names, train, test, unlabeled)


def _read(path: Path) -> dict[str, np.ndarray]:
  if not path.is_file():
    raise UserError(f"{path}: no such file")
  if not path.stat().st_size:
    raise UserError(f"{path}: empty file")
  if not zipfile.is_zipfile(path):
    raise UserError(f"{path}: not an .npz archive (not a zip file, or a truncated one); write it with numpy.savez")
  name = ""
  try:
    with np.load(path, allow_pickle=False) as archive:
      missing = [name for name in _NEEDED if name not in archive.files]
      if missing:
        raise UserError(f"{path}: lacks the arrays {', '.join(missing)}; it holds {', '.join(archive.files) or 'none'}")
      arrays = {}
      for name in archive.files:
        if name in (*_NEEDED, "unlabeled_images", "class_names"):  # others may be large, or of any kind
          arrays[name] = archive[name]
      return arrays
  except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
    reason = "Python objects" if "pickle" in str(error) else str(error).splitlines()[0]
    raise UserError(f"{path}: array {name!r} cannot be read ({reason}); write it again with numpy.savez") from error


def _images(path: Path, name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
  images = arrays[name]
  if images.dtype != np.uint8 and images.dtype.kind != "f":
    raise UserError(f"{path}: {name} is {images.dtype}; images must be uint8, or float in [0, 1]")
  if images.ndim not in (3, 4):
    raise UserError(f"{path}: {name} has shape {list(images.shape)}; it must be [N,H,W] or [N,H,W,C]")
  if images.dtype != np.uint8 and images.size:
    if not np.isfinite(images).all():
      raise UserError(f"{path}: {name} holds values that are not finite (NaN or infinity); remove those images")
    low, high = images.min(), images.max()
    if low < 0 or high > 1:
      raise UserError(f"{path}: {name} is float in [{low:g}, {high:g}]; scale it to [0, 1] or store uint8")
    images = np.rint(images.astype(np.float32) * 255)
  images = images.astype(np.uint8, copy=False)
  return images[..., None] if images.ndim == 3 else images


def _labels(path: Path, name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
  labels = arrays[name]
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.ndim != 1:
    raise UserError(f"{path}: {name} has shape {list(labels.shape)}; labels must be [N], one class index per image")
  if labels.dtype.kind == "f" and not np.isfinite(labels).all():
    raise UserError(f"{path}: {name} holds values that are not finite; labels are class indices 0, 1, 2 ...")
  if labels.dtype.kind not in "iu":
    raise UserError(f"{path}: {name} is {labels.dtype}; labels must be integers, class indices 0, 1, 2 ...")
  if labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.int32).max):
    raise UserError(f"{path}: {name} holds {labels.min()}..{labels.max()}; labels are class indices 0, 1, 2 ...")
  return labels.astype(np.int32)
