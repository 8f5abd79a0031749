"""folder:URL: the same as the folder of this machine, through fsspec."""

import fsspec
import numpy as np
import pytest
from shard_files import png

from sslx import data
from sslx.data.fingerprint import fingerprint
from sslx.types import UserError

CLASSES = ("d", "d-1", "d1", "é 2")  # the paths of d-1/ come before those of d/, and the class does not


@pytest.fixture(scope="module")
def mnist():
  return data.load("mnist")


@pytest.fixture
def there(tmp_path, mnist):
  """(a folder, the same one behind a URL)."""
  for part, x, y in (("train", mnist.train.x, mnist.train.y), ("test", mnist.test.x, mnist.test.y)):
    for i in range(40):
      path = tmp_path / "set" / part / CLASSES[y[i] % 4] / "deep" / f"{i:03d}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(png(x[i]))
  (tmp_path / "set" / "unlabeled").mkdir()
  (tmp_path / "set" / "unlabeled" / "u.png").write_bytes(png(mnist.train.x[50]))
  (tmp_path / "set" / "unlabeled" / "notes.txt").write_text("no image")
  memory = fsspec.filesystem("memory")
  memory.put(str(tmp_path / "set"), "/a-folder", recursive=True)
  yield tmp_path / "set", "memory://a-folder"
  memory.rm("/a-folder", recursive=True)


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_url_is_as_its_folder(there, limit):
  folder, url = there
  local, remote = (data.load(f"folder:{root}", in_memory_limit=limit) for root in (folder, url + "/"))
  for part in ("train", "test", "unlabeled"):
    np.testing.assert_array_equal(np.asarray(getattr(local, part).x), np.asarray(getattr(remote, part).x))
  np.testing.assert_array_equal(local.train.y, remote.train.y)
  np.testing.assert_array_equal(local.test.y, remote.test.y)
  assert local.task.names == remote.task.names
  assert remote.train.x[np.array([5, 2, 5])].shape == (3, 28, 28, 1)


def test_the_fingerprint_is_of_the_listing(there):
  _, url = there
  first = fingerprint(data.load(f"folder:{url}", in_memory_limit=0))
  assert first == fingerprint(data.load(f"folder:{url}", in_memory_limit=0))
  memory = fsspec.filesystem("memory")
  memory.pipe_file("/a-folder/unlabeled/v.png", memory.cat_file("/a-folder/unlabeled/u.png"))
  assert first != fingerprint(data.load(f"folder:{url}", in_memory_limit=0))


def test_what_is_missing_is_said(there, tmp_path):
  _, url = there
  with pytest.raises(UserError, match="memory://nowhere"):
    data.load("folder:memory://nowhere")
  with pytest.raises(UserError, match="holds no images in memory://a-folder/train/train/CLASS/"):
    data.load(f"folder:{url}/train")
  with pytest.raises(UserError, match=r"--labels_file=x.csv: is for a folder of this machine"):
    data.load(f"folder:{url}", labels_file="x.csv")
  with pytest.raises(UserError, match="nonsense"):
    data.load("folder:nonsense://a-folder")
  memory = fsspec.filesystem("memory")
  x = data.load(f"folder:{url}", in_memory_limit=0).unlabeled.x
  memory.rm("/a-folder/unlabeled/u.png")
  with pytest.raises(UserError, match=r"memory://a-folder/unlabeled/u.png|a-folder"):
    x[0]
  memory.pipe_file("/a-folder/test/d9/a.png", b"")
  with pytest.raises(UserError, match="memory://a-folder/test/d9: class 'd9' is unknown to memory://a-folder/train"):
    data.load(f"folder:{url}")
