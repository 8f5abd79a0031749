"""webdataset:GLOB: what is a sample, the index that is kept, tars that break off; array_record: and hf: likewise."""

import io
import json
import os
import sys
import tarfile

import datasets
import numpy as np
import pytest
from shard_files import png, write_array_record, write_hf, write_webdataset

from sslx import data
from sslx.data import shards, webdataset
from sslx.types import UserError

N = 60


@pytest.fixture(scope="module")
def digits():
  mnist = data.load("mnist")
  return mnist.train.x[:N], mnist.train.y[:N], [png(image) for image in mnist.train.x[:N]]


def load(spec, folder, **how):
  return data.load(spec, str(folder / "data_dir"), **how)


def write(path, files):
  with tarfile.open(path, "w") as tar:
    for name, content in files:
      info = tarfile.TarInfo(name)
      info.size = len(content)
      tar.addfile(info, io.BytesIO(content))
  return f"webdataset:{path}"


def test_what_is_a_sample(digits, tmp_path, capsys):
  x, _, images = digits
  one = [
    ("0.cls", b"7\n"), ("0.png", images[0]), ("0.seg.png", b"a mask"),  # the extension is seg.png
    ("b/0.PNG", images[1]), ("b/0.json", b'{"label": 3, "id": 1}'),  # another folder, another sample
    ("1.2.cls", b"0"), ("1.png", images[2]), ("1.cls", b"7"),  # 1.2.cls is of 1, with the extension 2.cls
    ("2.cls", b"7"), ("3.txt", b"no image"), ("hidden/.png", b""),
    ("4.png", images[3]), ("4.webp", b"the first one counts"), ("4.cls", b" 3 "),
    ("a very long name/" * 20 + "5.png", images[4]), ("a very long name/" * 20 + "5.cls", b"3"),
  ]  # fmt: skip
  dataset = load(write(tmp_path / "x.tar", one), tmp_path)
  assert "passed over 2 of 7 samples, which have no image" in capsys.readouterr().err
  np.testing.assert_array_equal(dataset.train.x, x[:5])
  assert [dataset.task.names[label] for label in dataset.train.y] == ["7", "3", "7", "3", "3"]


def test_tars_are_looked_through_once_and_anew_where_one_changes(digits, tmp_path, monkeypatch):
  write_webdataset(tmp_path, "train", digits[2], digits[1])
  spec = f"webdataset:{tmp_path}/train-{{0000..0001}}.tar"
  looked, original = [], webdataset._look_through

  def counted(file, spec):
    looked.append(file.path)
    return original(file, spec)

  monkeypatch.setattr(webdataset, "_look_through", counted)
  for limit in (0, 1 << 30):
    np.testing.assert_array_equal(np.asarray(load(spec, tmp_path, in_memory_limit=limit).train.x), digits[0])
  assert len(looked) == 2
  write_webdataset(tmp_path, "train", digits[2][::-1], digits[1][::-1])
  np.testing.assert_array_equal(load(spec, tmp_path).train.x, digits[0][::-1])
  assert len(looked) == 4


@pytest.mark.parametrize("cut", ["a member", "a header", "between two", "half of the end"])
def test_a_tar_that_breaks_off(digits, tmp_path, cut):
  write_webdataset(tmp_path, "train", digits[2], digits[1], shards=1)
  path = tmp_path / "train-0000.tar"
  with tarfile.open(path) as tar:
    member = tar.getmembers()[40]
    end = tar.getmembers()[-1]
  content = path.read_bytes()
  last = end.offset_data + -(-end.size // 512) * 512
  places = {"a member": member.offset_data + 1, "a header": member.offset + 100, "between two": member.offset}
  path.write_bytes(content[: {**places, "half of the end": last + 512}[cut]])
  if cut == "half of the end":  # one block of zeros is enough
    assert len(load(f"webdataset:{path}", tmp_path).train) == N
    return
  with pytest.raises(UserError, match=f"{path}: no whole tar file .*; copy it anew") as error:
    load(f"webdataset:{path}", tmp_path)
  assert "\n" not in str(error.value)


def test_a_tar_with_damage_in_its_middle(digits, tmp_path):
  write_webdataset(tmp_path, "train", digits[2], digits[1], shards=1)
  path = tmp_path / "train-0000.tar"
  content = bytearray(path.read_bytes())
  with tarfile.open(path) as tar:
    start = tar.getmembers()[30].offset
  content[start : start + 512] = b"x" * 512
  path.write_bytes(content)
  with pytest.raises(UserError, match=f"{path}: no whole tar file .*breaks off at byte {start:,}"):
    load(f"webdataset:{path}", tmp_path)


def test_tars_that_are_compressed_or_none_or_hold_no_image(digits, tmp_path):
  with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
    tar.add(__file__, "x.png")
  (tmp_path / "b.tar").write_bytes(b"no tar at all")
  (tmp_path / "c.tar").write_bytes(b"")
  write(tmp_path / "d.tar", [("1.wav", b"sound"), ("1.cls", b"1")])
  for name, message in (("a.tar.gz", "unpack it"), ("b.tar", "anew"), ("c.tar", "anew"), ("d.tar", "holds no image")):
    with pytest.raises(UserError, match=f"{tmp_path / name}: .*{message}"):
      load(f"webdataset:{tmp_path / name}", tmp_path)


@pytest.mark.parametrize(
  ("files", "message"),
  [
    ([("1.json", b"{")], "a label in it cannot be read"),
    ([("1.cls", b"\xff\xfe")], "a label in it cannot be read"),
    ([("1.json", json.dumps({"label": [1, 2]}).encode())], r"a label in its json files is \[1, 2\]"),
  ],
)
def test_labels_that_are_none(digits, tmp_path, files, message):
  with pytest.raises(UserError, match=f"{tmp_path / 'x.tar'}: {message}"):
    load(write(tmp_path / "x.tar", [("1.png", digits[2][0]), *files]), tmp_path)


def test_a_file_is_open_for_as_long_as_it_is_read(digits, tmp_path, monkeypatch):
  write_webdataset(tmp_path, "train", digits[2], digits[1], shards=6)
  x = load(f"webdataset:{tmp_path}", tmp_path, in_memory_limit=0).train.x
  monkeypatch.setattr(shards, "_opened", lambda file: shards._Descriptor(file.path))  # nothing is kept
  numbers = set(os.listdir("/dev/fd"))
  rows = np.random.default_rng(0).permutation(N)
  np.testing.assert_array_equal(x[rows], digits[0][rows])
  assert set(os.listdir("/dev/fd")) == numbers


# ---- array_record


def test_records_of_imagenet_s_keys(digits, tmp_path):
  y = digits[1].astype(int) + 1
  write_array_record(tmp_path, "train", digits[2], y, keys=("image/encoded", "image/class/label"))
  dataset = load(f"array_record:{tmp_path}/*.array_record-*", tmp_path)
  assert dataset.task.names == tuple(str(i) for i in range(1, 11))
  np.testing.assert_array_equal(dataset.train.y, digits[1])
  np.testing.assert_array_equal(dataset.train.x, digits[0])


def test_records_of_text_and_of_other_things(digits, tmp_path):
  write_array_record(tmp_path, "train", digits[2], [f"a {label}" for label in digits[1]])
  assert load(f"array_record:{tmp_path}", tmp_path).task.names == tuple(f"a {i}" for i in range(10))
  write_array_record(tmp_path, "train", digits[2], digits[1], keys=("jpeg", "label"))
  with pytest.raises(UserError, match=r"-00000-of-00002: a record holds no image file .* it holds jpeg, label"):
    load(f"array_record:{tmp_path}", tmp_path)


# ---- the datasets library


def test_a_folder_that_the_library_reads_by_itself(digits, tmp_path, monkeypatch):
  monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
  for i, (image, label) in enumerate(zip(digits[2], digits[1], strict=True)):
    folder = tmp_path / "set" / ("train" if i < 40 else "test") / f"d{label}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{i:03d}.png").write_bytes(image)
  dataset = load(f"hf:{tmp_path / 'set'}", tmp_path, in_memory_limit=0)
  assert dataset.split_sizes == {"train": 40, "test": 20}
  assert dataset.task.names == tuple(f"d{i}" for i in range(10))
  x, y = np.asarray(dataset.train.x), dataset.train.y
  assert sorted((int(label), image.tobytes()) for label, image in zip(y, x, strict=True)) == sorted(
    (int(label), image.tobytes()) for label, image in zip(digits[1][:40], digits[0][:40], strict=True)
  )


def test_one_split_alone_and_rows_that_were_chosen(digits, tmp_path):
  write_hf(tmp_path, "train", digits[2], digits[1])
  assert len(load(f"hf:{tmp_path / 'train'}", tmp_path).train) == N
  chosen = datasets.load_from_disk(str(tmp_path / "train")).select(range(N - 1, -1, -2))
  chosen.save_to_disk(str(tmp_path / "chosen"))
  dataset = load(f"hf:{tmp_path / 'chosen'}", tmp_path, in_memory_limit=0)
  np.testing.assert_array_equal(np.asarray(dataset.train.x), digits[0][::-2])
  np.testing.assert_array_equal(dataset.train.y, digits[1][::-2])


def test_without_a_network(tmp_path, monkeypatch):
  import huggingface_hub.constants

  monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
  monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
  monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
  with pytest.raises(UserError, match=r"--dataset=hf:someone/photos: cannot be loaded .*give hf:DIR") as error:
    load("hf:someone/photos", tmp_path)
  assert "\n" not in str(error.value)
  with pytest.raises(UserError, match="/no/such/folder: no such folder"):
    load("hf:/no/such/folder", tmp_path)


@pytest.mark.parametrize(
  ("spec", "package", "extra"),
  [("parquet:x", "pyarrow.parquet", "parquet"), ("hf:x", "datasets", "hf"), ("folder:gs://x", "fsspec.core", "remote")],
)
def test_an_extra_that_is_missing(tmp_path, monkeypatch, spec, package, extra):
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(UserError, match=rf"pip install \"sslx\[{extra}\]\" or ./launch.sh --extras={extra} \.\.\."):
    load(spec, tmp_path)
