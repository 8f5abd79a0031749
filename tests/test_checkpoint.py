"""Checkpoints: everything comes back bit-identical, damage is noticed, the encoder restores alone."""

import errno
from pathlib import Path

import jax
import numpy as np
import pytest

import sslx
from sslx import nn
from sslx.pretext import build
from sslx.training import checkpoint, optim
from sslx.training import loop as train
from sslx.types import UserError

META = {"encoder": "conv:widths=4-6,norm=batch", "features": "flatten", "image_shape": [12, 12, 1]}


def make(encoder=META["encoder"], seed=0):
  pretext = build("denoise", nn.build(encoder), "flatten", 3, {})
  tx = optim.optimizer(optim.cosine(1e-3, 10))
  return train.make_init(pretext, tx)(jax.random.key(seed), {"image": np.zeros((1, 12, 12, 1), np.uint8)})


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
  encoder = nn.build(META["encoder"])
  expected = nn.encode(
    encoder, "flatten", fresh.params["encoder"], fresh.state["encoder"], images.astype(np.float32) / 255
  )
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
