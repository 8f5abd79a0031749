"""sslx's own TFDS builders: IDX files to array_record, once per data_dir, without TensorFlow.

Import it inside functions only: it imports tensorflow_datasets. The sets are called sslx_*, so that they never meet
the catalogue's of the same name in one data_dir.
"""

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from sslx.data.idx import LIMIT, read_idx_folder
from sslx.data.records import read_split
from sslx.data.types import Dataset, Request, Split, image_classes
from sslx.data.warn import warn
from sslx.types import UserError

_KEYS = ("image", "label")


class _Idx(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """u8 images [28,28,1] as raw bytes (PNG would need decoding, TFDS's default encoding needs TensorFlow) and labels."""

  VERSION = tfds.core.Version("1.0.0")
  CLASS_NAMES: tuple[str, ...]

  def __init__(self, splits: dict[str, Split] | None = None, **kwargs):
    self._splits = splits or {}
    super().__init__(file_format="array_record", **kwargs)

  def _info(self):
    features = {
      "image": tfds.features.Tensor(shape=(28, 28, 1), dtype=np.uint8, encoding="bytes"),
      "label": tfds.features.ClassLabel(names=list(self.CLASS_NAMES)),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.__doc__,
      features=tfds.features.FeaturesDict(features),
      supervised_keys=_KEYS,
      disable_shuffling=True,  # rows stay in the order of the files
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing to download
    return {name: self._generate_examples(split) for name, split in self._splits.items()}

  def _generate_examples(self, split):
    for i, (image, label) in enumerate(zip(split.x, split.y, strict=True)):
      yield i, {"image": image, "label": int(label)}


class SslxMnist(_Idx):
  """MNIST: handwritten digits, LeCun, Cortes and Burges 1998. CC BY-SA 3.0."""

  CLASS_NAMES = tuple("0123456789")


class SslxFashionMnist(_Idx):
  """Fashion-MNIST: articles of clothing, Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747. MIT."""

  CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
  )  # fmt: skip


BUILDERS = {"mnist": SslxMnist, "fashion_mnist": SslxFashionMnist}


def load_idx_builder(name: str, request: Request, find: Callable[[], Path | None]) -> Dataset | None:
  """The set `name` of BUILDERS, prepared in `request.data_dir` if it is not there yet.

  Args:
    name: a key of BUILDERS.
    request: data_dir, in_memory_limit.
    find: called only if the set must be prepared: the folder of the four IDX files, or None.

  Returns:
    The dataset, or None if it is neither prepared nor found.

  Raises:
    UserError: the IDX files are wrong, a data_dir that the user named cannot be written, or what was prepared is
      damaged.
  """
  cls = BUILDERS[name]
  builder = _open(cls, request)
  if not os.path.isdir(builder.data_dir):
    folder = find()
    if folder is None:
      return None
    limit = max(request.in_memory_limit, LIMIT)  # that of what stays in memory; these are only passing through
    splits = read_idx_folder(folder, limit)  # before TFDS sees anything, so that a bad file is told in our own words
    refused = _prepare(cls, folder, splits, request)
    if refused and request.data_dir_is_given:
      raise UserError(f"{refused}; name a writable folder with --data_dir")
    if refused:  # a home that cannot be written, as in a container, is no reason to fail
      warn(request.spec, f"{refused}; read from {folder} into memory instead")
      return image_classes(request.spec, cls.CLASS_NAMES, splits["train"], splits["test"])
    builder = _open(cls, request)
  train, test = (read_split(builder, split, _KEYS, request) for split in ("train", "test"))
  return image_classes(request.spec, cls.CLASS_NAMES, train, test)


def _open(cls: type[_Idx], request: Request) -> _Idx:
  try:
    return cls(data_dir=request.data_dir)
  except (AttributeError, ImportError, TypeError):
    raise  # versions of libraries that do not go together are not the data's fault
  except Exception as error:
    folder = Path(request.data_dir) / cls.name
    raise UserError(f"{folder}: damaged ({type(error).__name__}); delete it, or name another --data_dir") from error


def _prepare(cls: type[_Idx], folder: Path, splits: dict[str, Split], request: Request) -> str:
  """Writes the records of `splits`; what came in the way of writing, or nothing."""
  for part, split in splits.items():
    if split.x.shape[1:] != (28, 28, 1):
      raise UserError(f"{folder}: {part} images are {split.x.shape[1:]}, not (28, 28, 1): this is not {cls.name[5:]}")
    assert split.y is not None
    if split.y.max() >= len(cls.CLASS_NAMES):
      raise UserError(f"{folder}: {part} label {split.y.max()} is outside 0..{len(cls.CLASS_NAMES) - 1}")
  target = ""
  try:
    os.makedirs(request.data_dir, exist_ok=True)
    builder = cls(splits=splits, data_dir=request.data_dir)
    target = builder.data_dir
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces an "unknown size" download that never happens
      builder.download_and_prepare()
  except OSError as error:
    # TFDS writes to a folder of its own and renames it at the end, so another process that was faster is no error.
    if not (target and os.path.isdir(target)):
      return f"cannot write {request.data_dir} ({error.strerror or error})"
  finally:
    tfds.enable_progress_bar()
  return ""
