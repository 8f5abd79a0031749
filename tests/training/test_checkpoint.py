"""Checkpoints: everything comes back bit-identical, damage is noticed, the encoder restores alone."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import sslx
from sslx import nn
from sslx.modalities import MODALITIES
from sslx.pretext import build
from sslx.tasks import TASKS
from sslx.training import checkpoint, optim
from sslx.training.config import Config
from sslx.training.run import Meta
from sslx.training.step import make_init
from sslx.types import UserError

ENCODER = "conv:widths=4-6,norm=batch"
CONFIG = Config(method="denoise", encoder=ENCODER, x_shape=(12, 12, 1))
META = Meta(CONFIG, "flatten", "image", "classification", ("a", "b", "c")).to_json()
PREPARE = MODALITIES["image"].prepare


def make(encoder=ENCODER, seed=0):
  pretext = build("denoise", nn.build(encoder), {}, TASKS["classification"]("abc"))
  tx = optim.optimizer(optim.cosine(1e-3, 10))
  return make_init(pretext, tx, PREPARE)(jax.random.key(seed), {"x": np.zeros((1, 12, 12, 1), np.uint8)})


@pytest.fixture(scope="module")
def fresh():
  return make()


def at(ts, step):
  return ts._replace(step=jax.numpy.int32(step))


def leaves(ts):
  return [np.asarray(x) for x in jax.tree.leaves(ts._replace(key=jax.random.key_data(ts.key)))]


def damage(directory: Path, how: str, item: str) -> None:
  """Flips one byte in, or cuts, each file that holds numbers of an item (small arrays lie in the index nodes)."""
  files = [path for path in (directory / item).rglob("*") if path.is_file() and path.parent.name == "d"]
  assert files
  for path in files:
    data = bytearray(path.read_bytes())
    if how == "flip":
      data[len(data) // 2] ^= 0x10
    path.write_bytes(data if how == "flip" else data[: len(data) // 2])


def test_round_trip_is_exact(tmp_path, fresh):
  checkpoint.save(tmp_path, at(fresh, 3), META)
  back = checkpoint.restore(tmp_path, make(seed=1))
  assert back is not None
  assert jax.tree.structure(back) == jax.tree.structure(fresh)
  for a, b in zip(leaves(at(fresh, 3)), leaves(back), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def test_nothing_there_is_none(tmp_path, fresh):
  assert checkpoint.restore(tmp_path / "absent", fresh) is None
  with pytest.raises(UserError, match="no such folder"):
    checkpoint.restore_encoder(tmp_path / "absent")
  with pytest.raises(UserError, match="no checkpoint"):
    checkpoint.restore_encoder(tmp_path)


def test_only_the_newest_are_kept(tmp_path, fresh):
  for step in (1, 2, 3, 4):
    checkpoint.save(tmp_path, at(fresh, step), META)
  assert checkpoint.steps(tmp_path) == [3, 4]


def test_an_older_step_is_refused(tmp_path, fresh):
  checkpoint.save(tmp_path, at(fresh, 4), META)
  with pytest.raises(UserError, match="already holds step"):
    checkpoint.save(tmp_path, at(fresh, 4), META)


@pytest.mark.parametrize("how", ["flip", "cut"])
@pytest.mark.parametrize("item", ["state", "encoder"])
def test_damage_falls_back_to_the_one_before(tmp_path, fresh, how, item, caplog):
  for step in (1, 2):
    checkpoint.save(tmp_path, at(fresh, step), META)
  damage(tmp_path / "2", how, item)
  if item == "state":
    back = checkpoint.restore(tmp_path, fresh)
    assert back is not None
    assert int(back.step) == 1
  else:
    assert checkpoint.restore_encoder(tmp_path)[1]["step"] == 1
  assert "damaged" in caplog.text
  damage(tmp_path / "1", how, item)
  with pytest.raises(UserError, match="damaged"):
    checkpoint.restore(tmp_path, fresh) if item == "state" else checkpoint.restore_encoder(tmp_path)


def flip(path: Path, place: int | None = None, bit: int = 4) -> None:
  data = bytearray(path.read_bytes())
  data[len(data) // 2 if place is None else place] ^= 1 << bit
  path.write_bytes(data)


def largest(folder: Path) -> Path:
  return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def emptied(folder: Path) -> None:
  shutil.rmtree(folder)
  folder.mkdir()


HARM = {
  "a bit of the state": lambda folder: flip(largest(folder / "state/ocdbt.process_0")),
  "a bit of the encoder": lambda folder: flip(largest(folder / "encoder/d")),
  "a bit of the meta": lambda folder: flip(folder / "meta/metadata", bit=0),
  "a file cut": lambda folder: os.truncate(largest(folder / "state/ocdbt.process_0"), 100),
  "a file gone": lambda folder: (folder / "meta/metadata").unlink(),
  "an index gone": lambda folder: (folder / "state/manifest.ocdbt").unlink(),
  "all gone": emptied,
}


@pytest.fixture(scope="module")
def two(fresh, tmp_path_factory):
  """A folder with steps 1 and 2."""
  folder = tmp_path_factory.mktemp("two")
  for step in (1, 2):
    checkpoint.save(folder, at(fresh, step), META)
  return folder


@pytest.fixture
def both(two, tmp_path):
  """A copy of it."""
  return shutil.copytree(two, tmp_path / "both")


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_checkpoint_is_set_aside_where_a_run_goes_on(both, fresh, harm, caplog):
  HARM[harm](both / "2")
  before = contents(both)
  assert int(checkpoint.restore(both, fresh).step) == (2 if "encoder" in harm else 1)
  assert contents(both) == before  # who only reads, changes nothing
  caplog.clear()
  assert int(checkpoint.restore(both, fresh, set_aside=True).step) == 1
  assert [record.getMessage() for record in caplog.records][1:] == [f"{both / '2'} is set aside as 2.damaged"]
  assert {name.replace("2.damaged/", "2/"): data for name, data in contents(both).items()} == before
  for step in (2, 3):
    checkpoint.save(both, at(fresh, step), META)
  assert sorted(path.name for path in both.iterdir()) == ["2", "2.damaged", "3"]


def test_where_none_is_intact_nothing_is_touched(both, fresh):
  for step in ("1", "2"):
    flip(both / step / "meta/metadata")
  before = contents(both)
  with pytest.raises(UserError, match=r"2 is damaged.*--fresh"):
    checkpoint.restore(both, fresh, set_aside=True)
  assert contents(both) == before


def test_an_older_one_that_is_damaged_stays(both, fresh):
  emptied(both / "1")
  assert int(checkpoint.restore(both, fresh, set_aside=True).step) == 2
  assert checkpoint.steps(both) == [1, 2]


def contents(folder: Path) -> dict[str, bytes]:
  return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_damaged_checkpoint_of_a_step_gets_another_name(both, fresh):
  for _ in range(3):
    emptied(both / "2") if (both / "2").exists() else (both / "2").mkdir()
    assert int(checkpoint.restore(both, fresh, set_aside=True).step) == 1
  assert {path.name for path in both.iterdir()} == {"1", "2.damaged", "2.damaged.2", "2.damaged.3"}


def test_one_of_another_architecture_is_never_set_aside(both):
  with pytest.raises(UserError, match="another architecture"):
    checkpoint.restore(both, make("conv:widths=4-7,norm=batch"), set_aside=True)
  assert checkpoint.steps(both) == [1, 2]


@pytest.mark.parametrize("name", ["meta/metadata", "_CHECKPOINT_METADATA"])
def test_a_flip_in_meta_is_told_or_harmless(two, tmp_path, name):
  shutil.copytree(two / "1", tmp_path / "1")
  _, expected = checkpoint.restore_encoder(tmp_path)
  path, rng, told = tmp_path / "1" / name, np.random.default_rng(0), 0
  data = path.read_bytes()
  for place in rng.choice(len(data), 25, replace=False):
    flip(path, place, int(rng.integers(8)))
    try:
      assert checkpoint.restore_encoder(tmp_path)[1] == expected
    except UserError:
      told += 1
    path.write_bytes(data)
  assert told == 25 or name != "meta/metadata"


def test_meta_of_older_checkpoints_has_no_digest(two, tmp_path):
  shutil.copytree(two / "1", tmp_path / "1")
  path = tmp_path / "1/meta/metadata"
  meta = json.loads(path.read_text())
  del meta["digests"]["meta"]
  path.write_text(json.dumps(meta))
  assert checkpoint.restore_encoder(tmp_path)[1] == meta
  meta["digests"]["mesa"] = "0"  # a bit of its name
  path.write_text(json.dumps(meta))
  with pytest.raises(UserError, match="damaged"):
    checkpoint.restore_encoder(tmp_path)


def test_a_changed_number_is_noticed_by_the_digest(tmp_path, fresh, monkeypatch):
  # A flip that the file format does not notice: the digest must.
  real = checkpoint.digest
  checkpoint.save(tmp_path, at(fresh, 1), META)
  monkeypatch.setattr(checkpoint, "digest", lambda tree: real(jax.tree.map(lambda x: x + 1, tree)))
  with pytest.raises(UserError, match="digest"):
    checkpoint.restore(tmp_path, fresh)


def test_digest_sees_names_shapes_types_and_values():
  base = {"a": np.zeros(4, np.float32)}
  others = [
    {"b": base["a"]},
    {"a": base["a"].reshape(2, 2)},
    {"a": base["a"].astype(np.int32)},
    {"a": base["a"] + 1e-30},
  ]
  digests = {checkpoint.digest(tree) for tree in [base, *others]}
  assert len(digests) == 5


def test_another_architecture_is_refused(tmp_path, fresh):
  checkpoint.save(tmp_path, at(fresh, 1), META)
  with pytest.raises(UserError, match="another architecture"):
    checkpoint.restore(tmp_path, make("conv:widths=4-6-8,norm=batch"))
  with pytest.raises(UserError, match="another architecture"):
    checkpoint.restore(tmp_path, make("conv:widths=4-7,norm=batch"))


def test_the_encoder_restores_alone(tmp_path, fresh):
  checkpoint.save(tmp_path / "checkpoints", at(fresh, 1), META)
  images = np.random.default_rng(0).integers(0, 255, (5, 12, 12, 1), np.uint8)
  params, stats = fresh.params["encoder"], fresh.state["encoder"]
  expected = nn.Representation(nn.build(ENCODER), "flatten", params, stats, PREPARE)(images)
  for place in (tmp_path, tmp_path / "checkpoints", tmp_path / "checkpoints" / "1"):
    encode, meta = sslx.load_encoder(place)
    np.testing.assert_allclose(encode(images), expected, rtol=1e-5, atol=1e-6)
    assert meta["step"] == 1


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, fresh, monkeypatch):
  checkpoint.save(tmp_path, at(fresh, 1), META)

  def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "save", full)
  with pytest.raises(UserError, match=r"--out: cannot save.*No space left"):
    checkpoint.save(tmp_path, at(fresh, 2), META)
  monkeypatch.undo()
  back = checkpoint.restore(tmp_path, fresh)
  assert back is not None
  assert int(back.step) == 1


FULL = """
import resource, sys
from pathlib import Path
import jax, numpy as np
from sslx.training import checkpoint
from sslx.types import TrainState, UserError

folder, params = Path(sys.argv[1]), {str(i): np.arange(1000.0) for i in range(20)}
ts = TrainState(jax.numpy.int32(1), jax.random.key(0), {"encoder": params}, {"encoder": {}}, ())
checkpoint.save(folder, ts, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, -1))
try:
  checkpoint.save(folder, ts._replace(step=jax.numpy.int32(2)), {})
except UserError as error:
  print(error, file=sys.stderr)
"""


def test_a_full_disk_is_one_line(tmp_path):
  """orbax, tensorstore and asyncio had two hundred to say, some at the end of the process."""
  command = [sys.executable, "-c", FULL, str(tmp_path)]
  done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
  (line,) = done.stderr.splitlines()
  assert re.match(r"--out: cannot save a checkpoint in .*: File too large; earlier checkpoints are kept", line)
  assert checkpoint.steps(tmp_path) == [1]


def test_a_checkpoint_is_on_disk_before_save_returns(tmp_path, fresh, monkeypatch):
  synced, fsync = set(), os.fsync
  monkeypatch.setattr(os, "fsync", lambda number: synced.add(os.readlink(f"/proc/self/fd/{number}")) or fsync(number))
  checkpoint.save(tmp_path, at(fresh, 1), META)
  assert {str(tmp_path), *map(str, (tmp_path / "1").rglob("*"))} <= synced
