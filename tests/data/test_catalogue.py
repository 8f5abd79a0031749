"""sslx's TFDS builders when things go wrong, and the TFDS catalogue without TensorFlow or network."""

import errno
import gzip
import importlib.util
import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from sslx import data
from sslx.data import builders, catalogue, idx_sets
from sslx.data.lazy import LazyArray
from sslx.types import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 28, 28)).astype(np.uint8)
LABELS = (np.arange(40) % 10).astype(np.uint8)


def write_idx(folder, images=IMAGES, labels=LABELS):
  folder.mkdir(parents=True, exist_ok=True)
  for part in ("train", "t10k"):
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
      header = struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape)
      (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
  return folder


@pytest.fixture
def fashion(tmp_path, monkeypatch):
  """A data_dir with a small Fashion-MNIST as IDX files, and no copy of Debian's in sight."""
  monkeypatch.setattr(idx_sets, "_DEBIAN_FASHION_MNIST", tmp_path / "debian")
  return write_idx(tmp_path / "data")


def load(folder, **kwargs):
  return data.load("fashion_mnist", str(folder), **kwargs)


def check(dataset):
  np.testing.assert_array_equal(dataset.train.x, IMAGES[..., None])
  np.testing.assert_array_equal(dataset.test.y, LABELS)
  assert dataset.task.names[9] == "Ankle boot"


# ---- sslx's own builders


@pytest.mark.parametrize("place", ["data", "data/fashion_mnist", "data/fashion-mnist", "debian"])
def test_fashion_mnist_is_found_and_prepared_once(tmp_path, monkeypatch, place):
  monkeypatch.setattr(idx_sets, "_DEBIAN_FASHION_MNIST", tmp_path / "debian")
  write_idx(tmp_path / place)
  check(load(tmp_path / "data"))
  for file in (tmp_path / place).glob("*.gz"):
    file.unlink()
  check(load(tmp_path / "data"))  # from what was prepared
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
  check(data.load("fashion_mnist"))


def test_prepared_records_are_array_record_with_our_features(fashion):
  load(fashion)
  builder = tfds.builder_from_directory(fashion / "sslx_fashion_mnist" / "1.0.0")
  assert builder.info.file_format.value == "array_record"
  assert builder.info.features["image"].shape == (28, 28, 1)
  assert builder.info.features["label"].names[0] == "T-shirt/top"
  example = builder.as_data_source("train")[3]  # TFDS's own decoding agrees with ours
  np.testing.assert_array_equal(example["image"][..., 0], IMAGES[3])
  assert example["label"] == 3


def test_labels_of_a_lazy_set_survive_a_bad_cache(fashion):
  assert isinstance(load(fashion, in_memory_limit=0).train.x, LazyArray)
  cache = fashion / "sslx_fashion_mnist" / "1.0.0" / "sslx-labels-train.npy"
  np.testing.assert_array_equal(np.load(cache), LABELS)
  other = io.BytesIO()
  np.save(other, LABELS[:-1].astype(np.int32))
  for content in (b"", b"not labels", cache.read_bytes()[:-3], other.getvalue()):
    cache.write_bytes(content)
    check(load(fashion, in_memory_limit=0))
    np.testing.assert_array_equal(np.load(cache), LABELS)


@pytest.mark.parametrize("place", [0, 8, 60, 128, 132, -33, -1], ids=str)
def test_a_flipped_byte_of_the_labels_cache_is_no_label(fashion, place):
  load(fashion, in_memory_limit=0)
  cache = fashion / "sslx_fashion_mnist" / "1.0.0" / "sslx-labels-train.npy"
  whole = cache.read_bytes()
  flipped = bytearray(whole)
  flipped[place] ^= 1
  cache.write_bytes(flipped)
  check_train(load(fashion, in_memory_limit=0))
  assert cache.read_bytes() == whole  # written anew


def test_a_labels_cache_of_other_records_is_not_believed(fashion, tmp_path):
  load(fashion, in_memory_limit=0)
  name = "sslx_fashion_mnist/1.0.0/sslx-labels-train.npy"
  old = tmp_path / "labels.npy"  # of sslx 0.1, without a digest: right or not, it says not what it belongs to
  np.save(old, np.zeros(40, np.int32))
  shutil.copy(old, fashion / name)
  check_train(load(fashion, in_memory_limit=0))
  other = write_idx(tmp_path / "other", labels=LABELS[::-1])
  load(other, in_memory_limit=0)
  shutil.copy(other / name, fashion / name)
  check_train(load(fashion, in_memory_limit=0))


def check_train(dataset):
  np.testing.assert_array_equal(dataset.train.y, LABELS)
  check(dataset)


def test_labels_are_kept_where_the_cache_cannot_be_written(fashion, monkeypatch):
  load(fashion)

  def refuse(self, content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
  check_train(load(fashion, in_memory_limit=0))
  assert not list(fashion.glob("sslx_fashion_mnist/1.0.0/sslx-labels*"))


def test_mnist_in_the_place_of_fashion_mnist_is_refused(fashion):
  shutil.copy(idx_sets._MNIST / "t10k-labels-idx1-ubyte.gz", fashion)
  with pytest.raises(UserError, match="these IDX files are MNIST's"):
    load(fashion)


def test_bad_idx_files_stop_the_prepare(fashion):
  (fashion / "train-images-idx3-ubyte.gz").write_bytes(b"")
  with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz: empty file"):
    load(fashion)
  write_idx(fashion, IMAGES[:, :20])
  with pytest.raises(UserError, match=r"\(20, 28, 1\).*this is not fashion_mnist"):
    load(fashion)
  write_idx(fashion, labels=LABELS + 1)
  with pytest.raises(UserError, match=r"train label 10 is outside 0\.\.9"):
    load(fashion)
  check(load(write_idx(fashion)))


@pytest.mark.parametrize("kind", ["a file", "below a file", "no permission", "disk full", "disk full later"])
def test_an_unwritable_data_dir_names_the_flag(tmp_path, fashion, monkeypatch, kind):
  target = tmp_path / "file" / "below" if kind == "below a file" else tmp_path / "file"
  monkeypatch.setattr(idx_sets, "_DEBIAN_FASHION_MNIST", fashion)
  if kind in ("no permission", "disk full", "disk full later"):  # the tests may run as root, whom no permission stops
    code = errno.EACCES if kind == "no permission" else errno.ENOSPC

    def refuse(self):
      if kind == "disk full later":  # as array_record says it
        raise RuntimeError(f"write() failed: {os.strerror(code)}; writing a.array_record; at byte 2097152")
      raise OSError(code, os.strerror(code))

    monkeypatch.setattr(builders.SslxFashionMnist, "download_and_prepare", refuse)
  else:
    (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match=r"cannot write .*--data_dir") as error:
    load(target)
  assert str(target) in str(error.value)


@pytest.mark.parametrize("kind", ["below a file", "disk full"])
def test_a_home_that_cannot_be_written_is_no_matter_to_packaged_sets(tmp_path, monkeypatch, capsys, kind):
  monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.setattr(idx_sets, "_MNIST", write_idx(tmp_path / "packaged"))
  if kind == "below a file":
    (tmp_path / "home").write_text("")
  else:

    def refuse(self):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(builders.SslxMnist, "download_and_prepare", refuse)
  dataset = data.load("mnist")
  np.testing.assert_array_equal(dataset.train.x, IMAGES[..., None])
  np.testing.assert_array_equal(dataset.test.y, LABELS)
  assert dataset.task.names == tuple("0123456789")
  (line,) = [line for line in capsys.readouterr().err.splitlines() if "cannot write" in line]
  home = tmp_path / "home" / "tensorflow_datasets"
  assert line.startswith(f"warning: mnist: cannot write {home} (")
  assert line.endswith(f"); read from {tmp_path / 'packaged'} into memory instead")
  for given in ({"data_dir": str(home)}, {}):  # a folder that the user names is another matter
    monkeypatch.setenv("TFDS_DATA_DIR", str(home))
    with pytest.raises(UserError, match=r"^cannot write .*; name a writable folder with --data_dir$"):
      data.load("mnist", **given)


def _truncate(folder):
  file = next(folder.glob("*train.array_record*"))
  os.truncate(file, file.stat().st_size // 2)


def _flip(folder):
  file = next(folder.glob("*train.array_record*"))
  content = bytearray(file.read_bytes())
  content[content.index(IMAGES[5].tobytes()[:64]) if IMAGES[5].tobytes()[:64] in content else 5000] ^= 1
  file.write_bytes(content)


@pytest.mark.parametrize(
  "harm",
  [
    _truncate,
    _flip,
    lambda folder: next(folder.glob("*train.array_record*")).unlink(),
    lambda folder: (folder / "dataset_info.json").unlink(),
    lambda folder: (folder / "dataset_info.json").write_text("{"),
  ],
  ids=["truncated", "flipped", "missing", "no info", "bad info"],
)
@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["lazy", "memory"])
def test_damaged_records_are_told_not_trained_on(fashion, harm, limit):
  load(fashion)
  harm(fashion / "sslx_fashion_mnist" / "1.0.0")
  with pytest.raises(UserError, match=r"sslx_fashion_mnist.*: damaged .*delete it"):
    load(fashion, in_memory_limit=limit)


# Two processes meet in the middle of a prepare (`--wait`), or one never ends (`--hang`).
SCRIPT = """
import os, sys, time
from pathlib import Path
from sslx import data
from sslx.data import builders
folder, mode = Path(sys.argv[1]), sys.argv[2]
generate = builders._Idx._generate_examples
def slow(self, split):
  for i, example in enumerate(generate(self, split)):
    if i == 20:
      (folder / f"ready-{os.getpid()}").touch()
      while mode == "hang" or len(list(folder.glob("ready-*"))) < 2:
        time.sleep(0.01)
    yield example
builders._Idx._generate_examples = slow
print(data.load("fashion_mnist", str(folder)).split_sizes)
"""


def start(folder, mode):
  command = [sys.executable, "-W", "error", "-c", textwrap.dedent(SCRIPT), str(folder), mode]
  return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_prepare_is_recovered_by_the_next(fashion):
  process = start(fashion, "hang")
  deadline = time.monotonic() + 60
  while not list(fashion.glob("ready-*")):
    assert process.poll() is None, process.communicate()[1]
    assert time.monotonic() < deadline
    time.sleep(0.02)
  process.kill()
  process.communicate()
  assert list((fashion / "sslx_fashion_mnist").glob("incomplete.*"))  # it did die in the middle
  check(load(fashion))


def test_two_concurrent_prepares_both_succeed(fashion):
  processes = [start(fashion, "wait") for _ in range(2)]
  for process in processes:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "'train': 40" in out
  assert len(list(fashion.glob("ready-*"))) == 2  # both did prepare
  check(load(fashion))


# ---- the catalogue


def picture(size, value):
  file = io.BytesIO()
  Image.fromarray(np.full((*size, 3), value, np.uint8)).save(file, "PNG")
  return file.getvalue()


class Pets(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """What a set of the catalogue looks like once prepared: PNG images, named classes."""

  VERSION = tfds.core.Version("3.0.1")
  image = tfds.features.Image(shape=(6, 6, 3))
  label = tfds.features.ClassLabel(names=["cat", "dog"])
  splits = ("train", "test")
  sizes = ((6, 6), (6, 6))
  keys = ("image", "label")

  def _info(self):
    features = tfds.features.FeaturesDict({"image": self.image, "id": np.int64, "label": self.label})
    return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=self.keys, disable_shuffling=True)

  def _split_generators(self, dl_manager):
    return {name: self._generate_examples() for name in self.splits}

  def _generate_examples(self):
    for i in range(10):
      yield i, {"image": io.BytesIO(picture(self.sizes[i % 2], 20 * i)), "id": i, "label": i % 2}


def prepare(folder, **attributes):
  cls = type("Pets", (Pets,), attributes, skip_registration=True)
  cls(data_dir=folder, file_format="array_record").download_and_prepare()


@pytest.mark.parametrize("limit", [0, 1 << 30])
@pytest.mark.parametrize("attributes", [{}, {"keys": None}, {"splits": ("train", "validation")}], ids=str)
def test_prepared_sets_are_read_without_tensorflow(tmp_path, attributes, limit):
  prepare(tmp_path, **attributes)
  dataset = data.load("tfds:pets", str(tmp_path), in_memory_limit=limit)
  assert dataset.task.names == ("cat", "dog")
  assert dataset.x_shape == (6, 6, 3)
  assert dataset.train.y.tolist() == [0, 1] * 5
  assert dataset.test.x[np.array([3, 1])][:, 0, 0].tolist() == [[60] * 3, [20] * 3]
  assert isinstance(dataset.train.x, LazyArray) == (limit == 0)
  assert data.load("tfds:pets:3.0.1", str(tmp_path), image_size=3).x_shape == (3, 3, 3)
  assert "tensorflow" not in sys.modules or importlib.util.find_spec("tensorflow")


def test_a_class_without_a_name_that_never_occurs_is_none(tmp_path):
  prepare(tmp_path, label=tfds.features.ClassLabel(num_classes=3))
  dataset = data.load("tfds:pets", str(tmp_path))
  assert dataset.task.names == ("0", "1")
  assert dataset.test.y.tolist() == [0, 1] * 5
  (tmp_path / "pets" / "3.0.1" / "label.labels.txt").write_text("cat\ndog\neel\n")
  assert data.load("tfds:pets", str(tmp_path)).task.names == ("cat", "dog", "eel")


def test_prepared_sets_that_do_not_fit(tmp_path):
  prepare(tmp_path / "a", splits=("train",))
  with pytest.raises(UserError, match=r"tfds:pets: has the splits train; train and test"):
    data.load("tfds:pets", str(tmp_path / "a"))
  prepare(tmp_path / "b", image=tfds.features.Image(shape=(None, None, 3)), sizes=((6, 6), (6, 9)))
  with pytest.raises(UserError, match="vary in size; give --image_size"):
    data.load("tfds:pets", str(tmp_path / "b"))
  assert data.load("tfds:pets", str(tmp_path / "b"), image_size=5).train.x[1, 0, 0].tolist() == [20] * 3
  prepare(tmp_path / "c", label=tfds.features.Scalar(np.int64), keys=None)
  with pytest.raises(UserError, match="not a classification set of images or sound"):
    data.load("tfds:pets", str(tmp_path / "c"))
  info = tmp_path / "b" / "pets" / "3.0.1" / "dataset_info.json"
  info.write_text(info.read_text().replace("array_record", "tfrecord"))
  with pytest.raises(UserError, match="prepared as tfrecord, not array_record"):
    data.load("tfds:pets", str(tmp_path / "b"))


def test_flags_of_sound_are_not_for_images(tmp_path):
  prepare(tmp_path)
  with pytest.raises(UserError, match="--seconds=2: is for sound, and tfds:pets is images"):
    data.load("tfds:pets", str(tmp_path), seconds=2)


def test_the_newest_version_and_the_configuration_are_found(tmp_path):
  prepare(tmp_path, VERSION=tfds.core.Version("2.0.0"), splits=("train",))
  prepare(tmp_path, VERSION=tfds.core.Version("10.0.0"))
  assert len(data.load("tfds:pets", str(tmp_path)).test) == 10
  with pytest.raises(UserError, match="has the splits train"):
    data.load("tfds:pets:2.0.0", str(tmp_path))
  for name in ("large", "small"):
    shutil.copytree(tmp_path / "pets" / "10.0.0", tmp_path / "other" / "pets" / name / "10.0.0")
  assert len(data.load("tfds:pets/small", str(tmp_path / "other")).test) == 10
  with pytest.raises(UserError, match="several configurations; name one: tfds:pets/large"):
    data.load("tfds:pets", str(tmp_path / "other"))


def test_names_of_the_catalogue(tmp_path, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"no 'cifar11'; did you mean .*tfds:cifar10"):
    data.load("tfds:cifar11", str(tmp_path))
  with pytest.raises(UserError, match=r"needs TensorFlow: pip install \"sslx\[tfds\]\" or ./launch.sh --extras=tfds"):
    data.load("tfds:cifar10", str(tmp_path))
  with pytest.raises(UserError, match="write tfds:NAME"):
    data.load("tfds:../x", str(tmp_path))
  monkeypatch.setattr(idx_sets, "_DEBIAN_FASHION_MNIST", tmp_path)
  with pytest.raises(UserError, match=r"needs TensorFlow.*four IDX .gz files.*--data_dir.*dataset-fashion-mnist"):
    data.load("fashion_mnist", str(tmp_path))


@pytest.mark.parametrize("kind", ["refused", "name look-up hangs", "proxy refused"])
def test_offline_fails_at_once(tmp_path, monkeypatch, kind):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
  monkeypatch.setattr(catalogue, "_hide_accelerators", lambda: None)
  monkeypatch.setattr(catalogue, "_PROBE_SECONDS", 0.1)
  monkeypatch.delenv("https_proxy", raising=False)
  monkeypatch.delenv("HTTPS_PROXY", raising=False)
  if kind == "refused":
    monkeypatch.setattr(catalogue, "_HOST", ("127.0.0.1", 1))
  elif kind == "proxy refused":
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
  else:
    over = threading.Event()

    def hang(*args, **kwargs):
      over.wait(5)
      raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
  began = time.monotonic()
  with pytest.raises(UserError, match=r"cannot be reached to download it.*--data_dir"):
    data.load("tfds:cifar10", str(tmp_path))
  assert time.monotonic() - began < 2.5
  if kind == "name look-up hangs":
    over.set()


def test_online_is_seen(monkeypatch):
  with socket.create_server(("127.0.0.1", 0)) as server:
    monkeypatch.setattr(catalogue, "_HOST", server.getsockname())
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    assert catalogue._online()
