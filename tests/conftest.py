"""Fixtures, quick compilation, and groups: the tests compile hundreds of tiny functions and run each a few times."""

import getpass
import hashlib
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path


def compiled_programs() -> str:
  """A folder of compiled programs for this user, jaxlib and processor: no other may read them."""
  info = Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.exists() else []
  features = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
  key = repr((platform.machine(), platform.processor(), version("jaxlib"), features))
  name = f"sslx-tests-{getpass.getuser()}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
  return str(Path(tempfile.gettempdir()) / name)


# Before jax is imported. Convolutions and matrix products are library calls and stay what they are.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
# Processes of one run share what they compile, and so do runs: set JAX_COMPILATION_CACHE_DIR to choose another folder.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", compiled_programs())
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import numpy as np
import pytest

from sslx.data import Dataset, Split
from sslx.data.types import image_classes


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory):
  """A --data_dir in which MNIST has been prepared, once for the whole session."""
  from sslx import data

  path = tmp_path_factory.mktemp("tfds")
  data.load("mnist", str(path))
  return str(path)


@pytest.fixture(scope="session")
def toy() -> Dataset:
  """Three classes of noisy 12x12 stripes: 240 training and 90 test images, learnable in a few steps."""
  rng = np.random.default_rng(0)

  def split(n: int) -> Split:
    labels = np.arange(n, dtype=np.int32) % 3
    images = rng.integers(0, 80, (n, 12, 12, 1))
    for i, label in enumerate(labels):
      where = rng.integers(2, 10)
      if label != 1:
        images[i, where, :, 0] += 170
      if label != 0:
        images[i, :, where, 0] += 170
    return Split(images.clip(0, 255).astype(np.uint8), labels)

  return image_classes("toy", ("row", "column", "cross"), split(240), split(90))


@pytest.fixture(scope="session")
def toy_npz(toy: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
  """The toy set as --dataset=npz:FILE."""
  path = tmp_path_factory.mktemp("toy") / "toy.npz"
  np.savez(
    path,
    train_images=toy.train.x,
    train_labels=toy.train.y,
    test_images=toy.test.x,
    test_labels=toy.test.y,
  )
  return f"npz:{path}"


def group(item: pytest.Item) -> str:
  """What shares compiled functions: a method's contract, else a file."""
  method = getattr(item, "callspec", None) and item.callspec.params.get("method")
  return f"{item.path.name}-{method}" if item.path.name == "test_contract.py" and method else item.path.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """With several processes (-n), a group runs in one of them."""
  for item in items:
    item.add_marker(pytest.mark.xdist_group(group(item)))


def pytest_runtest_teardown(item, nextitem):
  """Lets compiled functions go with their group: thousands of them use up the memory maps that a process may have
  (Linux: 65,530), and the compiler then crashes.
  """
  if nextitem is None or group(item) != group(nextitem):
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > 15_000:
      jax.clear_caches()
