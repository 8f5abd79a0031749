"""`folder:URL`: the class folders of `folder:DIR` behind gs://, s3://, https:// ..., by fsspec.

The folder is listed once, and a file is read whenever its image is asked for. What reads every image many times is
better served by shards (`webdataset:URL`, `parquet:URL`), of which one request reads many.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sslx.data.samples import NO_LABEL, Samples, dataset_of
from sslx.data.shards import File, read_pieces
from sslx.data.tree import is_image
from sslx.data.types import Dataset, Request
from sslx.data.urls import reaching, stamp_of, system_of
from sslx.types import UserError

_PARTS = ("train", "test", "unlabeled")


def load_remote_folder(request: Request) -> Dataset:
  """URL/train/CLASS/*, [URL/test/CLASS/*], [URL/unlabeled/*]; what is no image, or lies elsewhere, is passed over.

  Raises:
    UserError: a URL that cannot be read, no image, a test class unknown to train, --labels_file; and what
      `samples.dataset_of` refuses.
  """
  if request.labels_file is not None:
    raise UserError(f"--labels_file={request.labels_file}: is for a folder of this machine; copy {request.argument}")
  url = request.argument.rstrip("/")
  system, root = system_of(url)
  with reaching(url):
    listing: Mapping[str, Any] = system.find(root, detail=True)
  files: dict[str, list[tuple[File, str]]] = {}
  for path in sorted(listing):
    part, *folders = path[len(root) :].strip("/").split("/")
    is_there = part in _PARTS and len(folders) > (part != "unlabeled") and is_image(folders[-1])
    if is_there:
      name = "" if part == "unlabeled" else folders[0]
      files.setdefault(part, []).append((File(system.unstrip_protocol(path), stamp_of(listing[path])), name))
  if not {"train", "unlabeled"} & set(files):
    raise UserError(f"{url}: holds no images in {url}/train/CLASS/ or {url}/unlabeled/; folder:URL needs them there")
  names = sorted({name for _, name in files.get("train", ())})
  unknown = next((name for _, name in files.get("test", ()) if name not in names), None)
  if unknown is not None:
    raise UserError(f"{url}/test/{unknown}: class {unknown!r} is unknown to {url}/train")
  return dataset_of(request, {part: _samples(each, names) for part, each in files.items()}, names)


def _samples(files: Sequence[tuple[File, str]], names: Sequence[str]) -> Samples:
  """The images of a split, in the order of their classes."""
  places = {name: i for i, name in enumerate(names)} | {"": NO_LABEL}
  ordered = sorted(files, key=lambda each: places[each[1]])
  paths = tuple(file for file, _ in ordered)
  labels = np.array([places[name] for _, name in ordered], np.int64)
  return Samples(
    len(paths), functools.partial(_read, paths), functools.partial(_called, paths), labels, (), stamps=paths
  )


def _read(files: Sequence[File], rows: np.ndarray) -> list[bytes]:
  return read_pieces([files[row] for row in rows.tolist()], [0] * len(rows), [-1] * len(rows))


def _called(files: Sequence[File], row: int) -> str:
  return files[row].path
