"""`tfds:NAME`: image classification sets of the TFDS catalogue. Import it inside functions only.

Sets prepared as array_record are read without TensorFlow; to prepare one, TFDS needs TensorFlow and the network.
"""

import difflib
import importlib.util
import re
import socket
import threading
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from sslx.data.labels import places
from sslx.data.records import read_split
from sslx.data.types import Dataset, Request, Split, image_classes
from sslx.types import UserError

_HOST = ("storage.googleapis.com", 443)
_PROBE_SECONDS = 3.0


def load_catalogue(request: Request) -> Dataset:
  """Reads NAME, NAME/CONFIG or NAME:VERSION, preparing it first if need be.

  The test split is `test`, else `validation`.

  Raises:
    UserError: an unknown name (with the nearest ones), no TensorFlow or no network when it must be prepared, prepared
      in another file format, no test split, or not an image classification set.
  """
  builder = _prepared(request) or _prepare(request)
  keys = _keys(builder, request)
  splits = set(builder.info.splits)
  test = next((name for name in ("test", "validation") if name in splits), None)
  if "train" not in splits or test is None:
    raise UserError(
      f"{request.spec}: has the splits {', '.join(sorted(splits))}; train and test (or validation) are needed"
    )
  label = builder.info.features[keys[1]]
  if label.num_classes is None:
    raise UserError(f"{builder.data_dir}: damaged (no number of classes); delete it and run again")
  class_names = tuple(label.names)
  train, held_out = (read_split(builder, split, keys, request) for split in ("train", test))
  if class_names == tuple(map(str, range(len(class_names)))):  # no names of its own: some may never occur
    class_names, *labels = places(request.spec, train.targets(), held_out.targets())
    train, held_out = (Split(split.x, y) for split, y in zip((train, held_out), labels, strict=True))
  return image_classes(request.spec, class_names, train, held_out)


def nearest(name: str, count: int = 3) -> list[str]:
  """Names in the catalogue that resemble `name`."""
  return difflib.get_close_matches(name, _names(), n=count)


def _names() -> list[str]:
  from tensorflow_datasets.core import registered  # tfds.list_builders needs TensorFlow, this does not

  return registered.list_imported_builders()


def _prepared(request: Request) -> Any:  # a TFDS builder, or None
  name, config, version = _parse(request)
  root = Path(request.data_dir) / name
  prepared = sorted(_versions(root / config) if config else _versions(root))
  if not prepared and not config:
    configs = sorted(entry.name for entry in root.iterdir() if _versions(entry)) if root.is_dir() else []
    if len(configs) > 1:
      raise UserError(f"{request.spec}: {root} holds several configurations; name one: tfds:{name}/{configs[0]}")
    prepared = sorted(_versions(root / configs[0])) if configs else []
  if version:
    prepared = [(key, path) for key, path in prepared if path.name == version]
  if not prepared:
    return None
  folder = prepared[-1][1]
  try:
    builder: Any = tfds.builder_from_directory(folder)
  except (AttributeError, ImportError, TypeError):
    raise  # versions of libraries that do not go together are not the data's fault
  except Exception as error:
    raise UserError(f"{folder}: damaged ({type(error).__name__}); delete it and run again") from error
  file_format = builder.info.file_format.value
  if file_format != "array_record":
    raise UserError(f"{folder}: prepared as {file_format}, not array_record; delete it or name another --data_dir")
  return builder


def _parse(request: Request) -> tuple[str, str, str]:
  match = re.fullmatch(r"(\w+)(?:/([\w.-]+))?(?::([\d.]+))?", request.argument)
  if not match:
    raise UserError(f"--dataset={request.spec}: write tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:VERSION")
  return match[1], match[2] or "", match[3] or ""


def _versions(folder: Path) -> list[tuple[tuple[int, ...], Path]]:
  if not folder.is_dir():
    return []
  return [
    (tuple(map(int, entry.name.split("."))), entry)
    for entry in folder.iterdir()
    if re.fullmatch(r"\d+\.\d+\.\d+", entry.name) and (entry / "features.json").is_file()
  ]


def _prepare(request: Request) -> Any:  # a TFDS builder
  name, *_ = _parse(request)
  if name not in _names():
    close = nearest(name)
    raise UserError(
      f"--dataset={request.spec}: the TFDS catalogue has no {name!r}"
      + (f"; did you mean {' or '.join('tfds:' + other for other in close)}?" if close else "")
    )
  if importlib.util.find_spec("tensorflow") is None:
    raise UserError(
      f"--dataset={request.spec}: not prepared in {request.data_dir}, and preparing it needs TensorFlow: "
      'pip install "sslx[tfds]" or ./launch.sh --extras=tfds ...'
    )
  try:
    _hide_accelerators()
    builder = tfds.builder(request.argument, data_dir=request.data_dir, file_format="array_record")
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
      manual = Path(request.data_dir) / "downloads" / "manual"
      if not manual.is_dir() or not any(manual.iterdir()):
        raise UserError(
          f"--dataset={request.spec}: its files must be fetched by hand into {manual}: "
          f"see https://www.tensorflow.org/datasets/catalog/{name}"
        )
    elif not _online():
      raise UserError(
        f"--dataset={request.spec}: not prepared in {request.data_dir}, and {_HOST[0]} cannot be reached to download "
        "it; connect, or copy a prepared set there (--data_dir)"
      )
    builder.download_and_prepare()
  except UserError:
    raise
  except Exception as error:  # TFDS, TensorFlow and the network have no common base class
    first = (str(error).strip().splitlines() or [""])[0][:300]
    raise UserError(
      f"--dataset={request.spec}: could not be prepared in {request.data_dir}: {type(error).__name__}: {first}"
    ) from error
  return builder


def _hide_accelerators() -> None:
  """TensorFlow would reserve all memory of a GPU, and leave none to jax."""
  import tensorflow as tf  # pyright: ignore[reportMissingModuleSource, reportMissingImports]

  tf.config.set_visible_devices([], "GPU")


def _online() -> bool:
  """Whether the download host, or the proxy before it, takes a connection. TFDS itself retries for minutes."""
  proxy = urllib.request.getproxies().get("https")
  if proxy:
    parts = urllib.parse.urlsplit(proxy if "//" in proxy else "//" + proxy)
    address = (parts.hostname or "", parts.port or 8080)
  else:
    address = _HOST
  reached = []

  def connect():
    try:
      socket.create_connection(address, timeout=_PROBE_SECONDS).close()
      reached.append(True)
    except OSError:
      pass

  thread = threading.Thread(target=connect, daemon=True)  # a name look-up heeds no timeout, so wait from outside
  thread.start()
  thread.join(_PROBE_SECONDS + 1)
  return bool(reached)


def _keys(builder: Any, request: Request) -> tuple[str, str]:
  """Names of the image and the label feature."""
  features = builder.info.features
  pair = builder.info.supervised_keys
  if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(key, str) for key in pair)):
    pair = tuple(
      next((key for key, feature in features.items() if isinstance(feature, kind)), "")
      for kind in (tfds.features.Image, tfds.features.ClassLabel)
    )
  image, label = pair
  is_image = image in features and (
    isinstance(features[image], tfds.features.Image) or builder.name in ("sslx_mnist", "sslx_fashion_mnist")
  )
  if not is_image or label not in features or not isinstance(features[label], tfds.features.ClassLabel):
    raise UserError(f"{request.spec}: not an image classification set (one image and one class label per example)")
  return image, label
