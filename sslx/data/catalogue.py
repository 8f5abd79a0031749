"""`tfds:NAME`: sets of the TFDS catalogue for classification of images or sound. Import it inside functions only.

Sets of images that are prepared as array_record are read without TensorFlow. To prepare one, TFDS needs TensorFlow and
the network; to read one of sound, it needs TensorFlow.
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
from sslx.data.sound_records import read_sounds
from sslx.data.types import Dataset, Request, Split, image_classes, sound_classes
from sslx.types import UserError

_HOST = ("storage.googleapis.com", 443)
_PROBE_SECONDS = 3.0
_AUDIO = "audio_feature.Audio"  # in a features.json


def load_catalogue(request: Request) -> Dataset:
  """Reads NAME, NAME/CONFIG or NAME:VERSION, preparing it first if need be.

  The test split is `test`, else `validation`.

  Raises:
    UserError: an unknown name (with the nearest ones), no TensorFlow or no network when it must be prepared, prepared
      in another file format, no test split, no set of images or sound with classes, or a flag of the other kind.
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
  is_sound, rate = isinstance(builder.info.features[keys[0]], tfds.features.Audio), 0
  _check_flags(request, is_sound)
  if is_sound:
    rate, (train, held_out) = read_sounds(builder, ("train", test), keys, request)
  else:
    train, held_out = (read_split(builder, split, keys, request) for split in ("train", test))
  if class_names == tuple(map(str, range(len(class_names)))):  # no names of its own: some may never occur
    class_names, *labels = places(request.spec, train.targets(), held_out.targets())
    train, held_out = (Split(split.x, y) for split, y in zip((train, held_out), labels, strict=True))
  if is_sound:
    return sound_classes(request.spec, rate, class_names, train, held_out)
  return image_classes(request.spec, class_names, train, held_out)


def _check_flags(request: Request, is_sound: bool) -> None:
  """Raises UserError for a flag of images where it is sound, and the other way round."""
  flags = ("image_size",) if is_sound else ("sample_rate", "seconds")
  for flag in flags:
    if (value := getattr(request, flag)) is not None:
      kinds = ("images", "sound") if is_sound else ("sound", "images")
      raise UserError(f"--{flag}={value:g}: is for {kinds[0]}, and {request.spec} is {kinds[1]}")


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
  if _AUDIO in (folder / "features.json").read_text("utf-8", "replace") and not importlib.util.find_spec("tensorflow"):
    raise UserError(
      f"--dataset={request.spec}: to read sound from {folder}, TFDS needs TensorFlow: "
      'pip install "sslx[tfds]" or ./launch.sh --extras=tfds ...'
    )
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
  """Names of the image or audio feature, and of the label feature."""
  features = builder.info.features
  pair = builder.info.supervised_keys
  if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(key, str) for key in pair)):
    pair = tuple(
      next((key for key, feature in features.items() if isinstance(feature, kind)), "")
      for kind in ((tfds.features.Image, tfds.features.Audio), tfds.features.ClassLabel)
    )
  x, label = pair
  is_known = x in features and (
    isinstance(features[x], tfds.features.Image | tfds.features.Audio)
    or builder.name in ("sslx_mnist", "sslx_fashion_mnist")
  )
  if not is_known or label not in features or not isinstance(features[label], tfds.features.ClassLabel):
    raise UserError(
      f"{request.spec}: not a classification set of images or sound (one of these and one class label per example)"
    )
  return x, label
