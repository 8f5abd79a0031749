"""Runs that the tests of several experiments look at, made once for all of them."""

from pathlib import Path

import numpy as np
import pytest
from helpers import call, directory

from sslx.data import Dataset

TINY = ("--encoder=conv:widths=4-6,norm=none", "--seeds=2", "--smoke")


@pytest.fixture(scope="session")
def low_label_run(toy_npz: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
  """A finished run of low_label with 12 and 24 labels: (--out folder, run directory)."""
  out = tmp_path_factory.mktemp("runs")
  assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, "--labels=12,24") == 0
  return out, directory(out)


@pytest.fixture(scope="session")
def other_npz(toy: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
  """A data set with the toy set's labels and its images' negatives."""
  path = tmp_path_factory.mktemp("other") / "other.npz"
  splits = {"train": toy.train, "test": toy.test}
  arrays = {f"{name}_images": 255 - np.asarray(split.x) for name, split in splits.items()}
  np.savez(path, **arrays, **{f"{name}_labels": split.targets() for name, split in splits.items()})
  return f"npz:{path}"
