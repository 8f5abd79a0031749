"""Fixtures, quick compilation, and groups: the tests compile hundreds of tiny functions and run each a few times."""

import hashlib
import importlib.util
import mmap
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

# They make compilation quick and programs slow; convolutions and matrix products are library calls and stay what they
# are. The second and third flag took the compilation of SimCLR's gradient from 0.78 to 0.12 s.
QUICK = (
  "xla_backend_optimization_level=0",
  "xla_cpu_use_fusion_emitters=false",
  "xla_cpu_parallel_codegen_split_count=1",
)


def known_flags() -> list[str]:
  """Those of QUICK that the installed XLA has: it ends the process at one that it does not know."""
  spec = importlib.util.find_spec("jaxlib")
  assert spec
  assert spec.submodule_search_locations
  libraries = [*Path(spec.submodule_search_locations[0]).glob("libjax_common*")]
  if not libraries:
    return [*QUICK[:1]]
  with libraries[0].open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
    return [flag for flag in QUICK if content.find(flag.partition("=")[0].encode()) >= 0]


def compiled_programs() -> str:
  """A folder of compiled programs for this user, jaxlib and processor, which no other user may write to."""
  info = Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.exists() else []
  processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
  key = repr((platform.machine(), platform.processor(), version("jaxlib"), processor))
  user = os.getuid() if hasattr(os, "getuid") else 0
  path = Path(tempfile.gettempdir()) / f"sslx-tests-{user}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
  path.mkdir(mode=0o700, exist_ok=True)
  return str(path) if path.stat().st_uid in (user, 0) else tempfile.mkdtemp()


# All of it before jax is imported.
DEVICES = "xla_force_host_platform_device_count=4"  # of the CPU; what is not told of them runs on the first
os.environ["XLA_FLAGS"] = " ".join(
  [os.environ.get("XLA_FLAGS", ""), *(f"--{flag}" for flag in (*known_flags(), DEVICES))]
)
# Processes of one run share what they compile, and so do runs; JAX_COMPILATION_CACHE_DIR chooses another folder.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", compiled_programs())
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from sslx.data import Dataset, Split  # noqa: E402
from sslx.data.types import image_classes  # noqa: E402


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


@pytest.fixture(autouse=True)
def no_notebook(monkeypatch):
  """A test that runs a notebook imports ipykernel, by which the progress of the next tests would take itself for one in
  a notebook; and lines are as wide as a test says, not as the terminal that it was started in.
  """
  monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
  monkeypatch.delenv("COLUMNS", raising=False)
