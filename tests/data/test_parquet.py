"""parquet:GLOB: which columns are read, and each row group once."""

import json
from concurrent import futures

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shard_files import png, write_parquet, write_tables

from sslx import data
from sslx.data import batches, parquet
from sslx.data.columns import columns_of
from sslx.types import UserError

N = 200


@pytest.fixture(scope="module")
def digits():
  mnist = data.load("mnist")
  return mnist.train.x[:N], mnist.train.y[:N], [png(image) for image in mnist.train.x[:N]]


@pytest.fixture
def groups_read(monkeypatch):
  """(file, number) of every row group that is read."""
  seen, original = [], pq.ParquetFile.read_row_group

  def counted(self, number, columns=None, **how):
    assert columns == ["image"]
    seen.append((id(self.metadata), number))
    return original(self, number, columns, **how)

  monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
  return seen


def test_blocks_are_the_row_groups(digits, tmp_path):
  write_parquet(tmp_path, "train", digits[2], digits[1], shards=3, group=32)
  x = data.load(f"parquet:{tmp_path}", in_memory_limit=0).train.x
  assert x.blocks == (32, 32, 3, 32, 32, 3, 32, 32, 2)


def test_an_order_that_keeps_to_few_row_groups_reads_each_once(digits, tmp_path, groups_read, monkeypatch):
  monkeypatch.setattr(parquet, "blocks_kept", lambda sizes: batches.blocks_kept(sizes, 20))
  write_parquet(tmp_path, "train", digits[2], digits[1], shards=1, group=4)
  x = data.load(f"parquet:{tmp_path}", in_memory_limit=0).train.x
  assert (len(x.blocks), parquet.blocks_kept(x.blocks)) == (50, 10)
  groups_read.clear()
  parquet._memory.cache_clear()
  rng, blocks = np.random.default_rng(0), np.random.default_rng(1).permutation(50)
  for some in np.array_split(blocks, 10):  # five at a time, in batches that threads ask for at once
    rows = rng.permutation(np.concatenate([np.arange(4 * block, 4 * block + 4) for block in some]))
    with futures.ThreadPoolExecutor(8) as pool:
      for batch, images in zip(rows.reshape(5, 4), pool.map(x.__getitem__, rows.reshape(5, 4)), strict=True):
        np.testing.assert_array_equal(images, digits[0][batch])
  assert sorted(number for _, number in groups_read) == list(range(50))
  x[np.arange(4 * blocks[-10], 4 * blocks[-10] + 4)]  # the tenth from the end is still there, and no older one
  assert len(groups_read) == 50
  x[np.arange(4 * blocks[0], 4 * blocks[0] + 4)]
  assert len(groups_read) == 51


def test_a_file_that_is_written_anew_is_read_anew(digits, tmp_path):
  for start in (0, 100):
    write_parquet(tmp_path, "train", digits[2][start : start + 100], digits[1][start : start + 100], shards=1)
    x = data.load(f"parquet:{tmp_path}", in_memory_limit=0).train.x
    np.testing.assert_array_equal(np.asarray(x), digits[0][start : start + 100])


def test_plain_bytes_and_text(digits, tmp_path):
  names = [f"class {label}" for label in digits[1]]
  columns = {"id": range(N), "png": digits[2], "kind": names, "caption": ["a digit"] * N}
  write_tables(tmp_path, "train", columns, shards=2)
  dataset = data.load(f"parquet:{tmp_path}")
  assert dataset.task.names == tuple(f"class {i}" for i in range(10))
  np.testing.assert_array_equal(dataset.train.x, digits[0])
  np.testing.assert_array_equal(dataset.train.y, digits[1])
  encoded = pa.array(names).dictionary_encode()
  write_tables(tmp_path / "coded", "train", {"png": digits[2], "kind": encoded})
  coded = data.load(f"parquet:{tmp_path / 'coded'}/*.parquet")
  np.testing.assert_array_equal(coded.train.y, dataset.train.y)


def test_the_column_of_target_is_read(digits, tmp_path, capsys):
  y = digits[1].astype(int)
  write_tables(tmp_path, "train", {"image": digits[2], "odd": y % 2, "large": 10 + (y > 4), "weight": y / 2})
  write_tables(tmp_path, "unlabeled", {"image": digits[2][:30]})
  spec = f"parquet:{tmp_path}"
  with pytest.raises(UserError, match=r"which column is the label. Give --target=NAME: odd, large"):
    data.load(spec)
  np.testing.assert_array_equal(data.load(spec, targets=["odd"]).train.y, y % 2)
  large = data.load(spec, targets=["large"])
  assert large.task.names == ("10", "11")
  np.testing.assert_array_equal(large.train.y, y > 4)
  assert len(large.unlabeled) == 30
  with pytest.raises(
    UserError, match=r"--target=weight: is no column of whole numbers or text of .*; it has odd, large"
  ):
    data.load(spec, targets=["weight"])
  with pytest.raises(UserError, match="--target=odd,large: names 2 columns"):
    data.load(spec, targets=["odd", "large"])


def test_an_empty_file_and_truth_values(digits, tmp_path):
  odd = (digits[1] % 2).astype(bool)
  write_tables(tmp_path, "train", {"image": digits[2], "odd": odd})
  table = pa.table({"image": digits[2][:0], "odd": odd[:0]}, schema=pq.read_schema(next(tmp_path.iterdir())))
  pq.write_table(table, tmp_path / "train-00000.parquet")  # comes first
  pq.write_table(table, tmp_path / "test-00000.parquet")
  dataset = data.load(f"parquet:{tmp_path}", in_memory_limit=0)
  np.testing.assert_array_equal(dataset.train.y, odd)
  np.testing.assert_array_equal(dataset.train.x[np.array([199, 0])], digits[0][[199, 0]])
  assert len(dataset.test) == 0


def test_rows_without_a_label_or_an_image(digits, tmp_path):
  labels = [None if i % 4 == 0 else int(label) for i, label in enumerate(digits[1])]
  write_tables(tmp_path, "train", {"image": [*digits[2][:-1], None], "label": labels})
  with pytest.raises(UserError, match=r"train-00000-of-00001.parquet, row 199: holds no image; delete this row"):
    data.load(f"parquet:{tmp_path}")
  write_tables(tmp_path, "train", {"image": digits[2], "label": labels})
  dataset = data.load(f"parquet:{tmp_path}", in_memory_limit=0)
  np.testing.assert_array_equal(np.asarray(dataset.unlabeled.x), digits[0][::4])
  np.testing.assert_array_equal(dataset.train.y, np.delete(digits[1], np.s_[::4]))


def test_a_picture_that_is_damaged_is_named(digits, tmp_path):
  images = list(digits[2])
  images[70] = images[70][:100]
  write_parquet(tmp_path, "train", images, digits[1], shards=2, group=8)
  with pytest.raises(UserError, match=r"train-00000-of-00002.parquet, row 70: not a readable image"):
    np.asarray(data.load(f"parquet:{tmp_path}", in_memory_limit=0).train.x)


def schema(**columns) -> pa.Schema:
  """Of Arrow's types, or of those of the datasets library, which writes into the schema what they are."""
  plain = all(isinstance(kind, pa.DataType) for kind in columns.values())
  return pa.schema(columns) if plain else datasets.Features(columns).arrow_schema


STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
CLASS = datasets.ClassLabel(names=["a", "b"])


@pytest.mark.parametrize(
  ("table", "expected"),
  [
    (schema(image=STRUCT, label=pa.int64()), ("image", "label", None)),
    (schema(img=pa.large_binary(), path=pa.string(), fine=pa.string()), ("img", "fine", None)),
    (schema(x=pa.binary(), image=pa.binary(), y=pa.int8(), z=pa.int8()), ("image", "y", None)),
    (schema(picture=STRUCT, id=pa.int64(), caption=pa.string()), ("picture", None, None)),
    (schema(image=datasets.Image(), fine_label=CLASS, coarse_label=CLASS), ("image", "fine_label", ("a", "b"))),
    (schema(image=datasets.Image(), number=datasets.Value("float32"), kind=CLASS), ("image", "kind", ("a", "b"))),
    (schema(image=datasets.Image(), thumb=datasets.Image(), cls=datasets.Value("int64")), ("image", "cls", None)),
    (schema(photo=datasets.Image(), raw=datasets.Value("binary")), ("photo", None, None)),
  ],
)
def test_columns(table, expected):
  assert columns_of(table, (), "a file") == expected


@pytest.mark.parametrize(
  ("table", "message"),
  [
    (schema(text=pa.string(), label=pa.int64()), r"a file: has no column of image files.*text \(string\), label"),
    (schema(audio=datasets.Audio(), label=CLASS), "a file: has no column of image files"),
    (schema(left=STRUCT, right=STRUCT), "a file: which column is the image. left, right could be; call one of them"),
    (schema(image=STRUCT, a=pa.int64(), b=pa.string()), "a file: which column is the label. Give --target=NAME: a, b"),
  ],
)
def test_columns_that_cannot_be_told(table, message):
  with pytest.raises(UserError, match=message):
    columns_of(table, (), "a file")


def test_files_that_do_not_go_together(digits, tmp_path):
  write_parquet(tmp_path, "train", digits[2][:50], digits[1][:50])
  write_tables(tmp_path, "test", {"image": digits[2][:20], "label": ["one"] * 20})
  with pytest.raises(UserError, match=r"parquet:.*: labels are numbers in some files and text in others"):
    data.load(f"parquet:{tmp_path}")
  features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abcdefghij"))})
  metadata = {"huggingface": json.dumps({"info": {"features": features.to_dict()}})}
  rows = {"image": [{"bytes": b, "path": None} for b in digits[2][:20]], "label": digits[1][:20]}
  write_tables(tmp_path, "test", rows, metadata)
  with pytest.raises(UserError, match=r"(train|test)-0.*: its class names are others than those of .*; write both in"):
    data.load(f"parquet:{tmp_path}")


def test_large_row_groups_are_told(digits, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(parquet, "LARGE", 1000)
  write_parquet(tmp_path, "train", digits[2], digits[1])
  data.load(f"parquet:{tmp_path}", in_memory_limit=0)
  assert "write such files with row groups of some hundred images" in capsys.readouterr().err
  data.load(f"parquet:{tmp_path}")  # will be in memory anyway
  assert "row groups" not in capsys.readouterr().err
