"""Digits of MNIST as shards of each format that `sslx.data` reads, for the tests of these loaders."""

import io
import json
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NAMES = [f"digit {i}" for i in range(10)]


def png(image: np.ndarray) -> bytes:
  file = io.BytesIO()
  Image.fromarray(image.squeeze()).save(file, "PNG")
  return file.getvalue()


def write_parquet(folder: Path, part: str, images, labels, shards: int = 2, group: int = 32) -> None:
  """As the `datasets` library writes them, with names of the classes in the schema."""
  features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
  metadata = {"huggingface": json.dumps({"info": {"features": features.to_dict()}})}
  write_tables(
    folder, part, {"image": [{"bytes": b, "path": None} for b in images], "label": labels}, metadata, shards, group
  )


def write_tables(folder: Path, part: str, columns: dict, metadata=None, shards: int = 1, group: int = 32) -> None:
  folder.mkdir(parents=True, exist_ok=True)
  table = pa.table(columns).replace_schema_metadata(metadata)
  for i, rows in enumerate(np.array_split(np.arange(len(table)), shards)):
    name = f"{part}-{i:05d}-of-{shards:05d}.parquet"
    pq.write_table(table.slice(rows[0], len(rows)), folder / name, row_group_size=group)


def write_hf(folder: Path, part: str, images, labels) -> None:
  """A DatasetDict of `save_to_disk`, split after split."""
  features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
  rows = {"image": [{"bytes": b, "path": None} for b in images], "label": list(map(int, labels))}
  made = datasets.Dataset.from_dict(rows, features=features)
  made.save_to_disk(folder / part)
  splits = [path.name for path in folder.iterdir() if path.is_dir()]
  (folder / "dataset_dict.json").write_text(json.dumps({"splits": splits}))


def write_webdataset(folder: Path, part: str, images, labels, shards: int = 2, form: str = "cls") -> None:
  """form: cls, json, or "" for no labels. A caption and a hidden file stand beside them."""
  folder.mkdir(parents=True, exist_ok=True)
  for i, rows in enumerate(np.array_split(np.arange(len(images)), shards)):
    with tarfile.open(folder / f"{part}-{i:04d}.tar", "w") as tar:
      for row in rows.tolist():
        label = labels[row] if isinstance(labels[row], str) else int(labels[row])
        files = {f"a/{row:06d}.png": images[row], f"a/{row:06d}.txt": b"a digit", f"a/._{row:06d}.png": b"of macOS"}
        files |= {f"a/{row:06d}.cls": str(label).encode()} if form == "cls" else {}
        files |= {f"a/{row:06d}.json": json.dumps({"label": label}).encode()} if form == "json" else {}
        for name, content in sorted(files.items()):  # the label comes before its image
          info = tarfile.TarInfo(name)
          info.size = len(content)
          tar.addfile(info, io.BytesIO(content))


def write_array_record(folder: Path, part: str, images, labels, shards: int = 2, keys=("image", "label")) -> None:
  from array_record.python.array_record_module import ArrayRecordWriter
  from tensorflow_datasets.proto import tf_example_pb2

  folder.mkdir(parents=True, exist_ok=True)
  for i, rows in enumerate(np.array_split(np.arange(len(images)), shards)):
    writer = ArrayRecordWriter(str(folder / f"{part}.array_record-{i:05d}-of-{shards:05d}"), "group_size:1")
    for row in rows.tolist():
      example = tf_example_pb2.Example()  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
      example.features.feature[keys[0]].bytes_list.value.append(images[row])
      if isinstance(labels[row], str):
        example.features.feature[keys[1]].bytes_list.value.append(labels[row].encode())
      else:
        example.features.feature[keys[1]].int64_list.value.append(int(labels[row]))
      writer.write(example.SerializeToString())
    writer.close()


WRITERS = {
  "parquet": write_parquet, "hf": write_hf, "webdataset": write_webdataset, "array_record": write_array_record,
}  # fmt: skip
