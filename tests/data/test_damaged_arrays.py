"""npz: and idx: files that are damaged, or claim more than there is: read exactly, or told in one line."""

import gzip
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

import sslx
from sslx import data
from sslx.data.idx import read_idx
from sslx.types import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 3, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 1, 0], np.uint8)
ARRAYS = {
  "train_images": IMAGES, "train_labels": LABELS, "test_images": 255 - IMAGES, "test_labels": LABELS,
  "unlabeled_images": IMAGES[:2], "class_names": np.array(["cat", "dog"]), "other": np.arange(3),
}  # fmt: skip


def npz_bytes(save):
  file = io.BytesIO()
  save(file, **ARRAYS)
  return file.getvalue()


def idx_bytes(array):
  return gzip.compress(struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape) + array.tobytes(), mtime=0)


def told(read, path, whole, damaged):
  """Whether `damaged` was refused in one line that names the file; if it was read, then as `whole` is."""
  path.write_bytes(damaged)
  try:
    result = read(path)
  except UserError as error:
    message = str(error)
  else:
    for one, other in zip(result, whole, strict=True):
      np.testing.assert_array_equal(one, other)
    return False
  assert message.startswith(str(path))
  assert "\n" not in message
  return True


def flipped(content, places):
  for place in places:
    damaged = bytearray(content)
    damaged[place] ^= int(RNG.integers(1, 256))
    yield bytes(damaged)


def read_npz(path):
  dataset = data.load(f"npz:{path}", in_memory_limit=1 << 20)
  assert dataset.unlabeled is not None
  splits = (dataset.train, dataset.test, dataset.unlabeled)
  return [dataset.task.names, *(split.x for split in splits), dataset.train.y, dataset.test.y]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_flipped_byte_of_an_npz_is_read_as_data(tmp_path, save, capsys):
  path, content = tmp_path / "x.npz", npz_bytes(save)
  path.write_bytes(content)
  whole = read_npz(path)
  np.testing.assert_array_equal(whole[1], IMAGES[..., None])
  directory = content.index(b"PK\x01\x02")
  places = [*RNG.choice(directory, 40, replace=False), *RNG.choice(range(directory, len(content)), 60, replace=False)]
  refused = [told(read_npz, path, whole, damaged) for damaged in flipped(content, places)]
  assert 0.5 < np.mean(refused) < 1
  assert capsys.readouterr().err == ""  # no line about labels or darkness of what is not data


def test_no_array_is_hidden_by_a_wrong_length_in_the_directory(tmp_path):
  path, content = tmp_path / "x.npz", bytearray(npz_bytes(np.savez))
  place = content.rindex(b"class_names.npy") - 46  # where its entry in the directory begins
  content[place + 32] = 46 + len("other.npy")  # a comment that is as long as the entry that follows
  path.write_bytes(content)
  with zipfile.ZipFile(path) as file:
    assert len(file.namelist()) == 6  # what Python's reader makes of it, without a word
  with pytest.raises(UserError, match="its directory is damaged; write it again"):
    read_npz(path)


def test_names_of_arrays_are_told_in_one_line(tmp_path):
  path = tmp_path / "x.npz"
  np.savez(path, **{"a\nb": IMAGES})
  with pytest.raises(UserError, match=r"lacks the arrays train_images, .*; it holds a\\nb$"):
    read_npz(path)


def test_no_part_of_an_npz_is_read_as_the_whole(tmp_path):
  path, content = tmp_path / "x.npz", npz_bytes(np.savez_compressed)
  path.write_bytes(content)
  whole = read_npz(path)
  for length in RNG.choice(len(content), 60, replace=False):
    assert told(read_npz, path, whole, content[:length])


def test_no_flipped_byte_or_part_of_an_idx_file_is_read_as_data(tmp_path):
  path, content = tmp_path / "images.gz", idx_bytes(IMAGES)

  def read(path):
    return [read_idx(path, 3)]

  refused = [told(read, path, [IMAGES], damaged) for damaged in flipped(content, range(len(content)))]
  assert 0.8 < np.mean(refused) < 1
  assert all(told(read, path, [IMAGES], content[:length]) for length in range(len(content)))
  assert told(read, path, [IMAGES], content + b"more")
  assert told(read, path, [IMAGES], content + content)


# ---- bombs


def peak(read):
  """Bytes that `read` held at most, and what it raised."""
  tracemalloc.start()
  try:
    with pytest.raises(UserError) as error:
      read()
    return tracemalloc.get_traced_memory()[1], str(error.value)
  finally:
    tracemalloc.stop()


def test_a_gzip_file_without_end_is_read_no_further_than_its_header_says(tmp_path):
  path = tmp_path / "labels.gz"
  path.write_bytes(gzip.compress(struct.pack(">2I", 0x801, 6) + bytes(48 << 20), 1))
  held, message = peak(lambda: read_idx(path, 1))
  assert held < 4 << 20
  assert message == f"{path}: too long: 7 bytes of data or more where its header [6] says 6; fetch it again"


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
  ("shape", "limit", "message"),
  [
    (
      (1 << 20, 1 << 10, 1 << 10),
      2 << 30,
      r"says 1099511627776 bytes, more than --in_memory_limit=2147483648; .*raise",
    ),
    ((9, 5, 5), 224, r"\[9, 5, 5\] says 225 bytes, more than --in_memory_limit=224"),
    ((9, 5, 5), 225, r"truncated: 10 bytes of data where its header \[9, 5, 5\] says 225"),
    ((0xFFFFFFFF,) * 3, 1 << 100, "too much for this machine"),
    ((0, 0xFFFFFFFF, 0xFFFFFFFF), 2 << 30, "says 0 bytes, too much for this machine|too long: 1 bytes"),
  ],
)
def test_headers_of_idx_files_that_claim_too_much(tmp_path, suffix, shape, limit, message):
  path = tmp_path / f"images{suffix}"
  content = struct.pack(">4I", 0x803, *shape) + bytes(10)
  path.write_bytes(gzip.compress(content) if suffix else content)
  with pytest.raises(UserError, match=message):
    read_idx(path, 3, limit)


def test_idx_sets_beyond_the_limit_name_the_flag(tmp_path):
  for part in ("train", "t10k"):
    (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(idx_bytes(IMAGES))
    (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx_bytes(LABELS))
  assert len(data.load(f"idx:{tmp_path}", in_memory_limit=36).train) == 4
  with pytest.raises(UserError, match=r"train-images.*says 36 bytes, more than --in_memory_limit=35"):
    data.load(f"idx:{tmp_path}", in_memory_limit=35)


def archive(path, header, body, compression=zipfile.ZIP_DEFLATED, **others):
  """An .npz whose train_images are what `header` (shape, descr) claims, and `body`."""
  text = f"{{'descr': {header[1]!r}, 'fortran_order': False, 'shape': {header[0]!r}, }}\n".encode()
  member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body
  with zipfile.ZipFile(path, "w", compression) as file:
    for name, array in ({**ARRAYS, "train_images": None} | others).items():
      content = io.BytesIO()
      if array is not None:
        np.save(content, array)
      file.writestr(f"{name}.npy", member if array is None else content.getvalue())


def test_headers_in_an_npz_that_claim_too_much(tmp_path):
  path = tmp_path / "x.npz"
  for shape, descr in (((10**12, 28, 28), "|u1"), ((1 << 62, 4), "<f8"), ((-4, 3, 3), "|u1"), ((4, 3, 4), "|u1")):
    archive(path, (shape, descr), bytes(36))
    held, message = peak(lambda: read_npz(path))
    assert held < 4 << 20
    assert message.startswith(f"{path}: ")
    assert "do not agree" in message or "must be [N,H,W]" in message


def test_gigabytes_of_zeros_in_an_npz_are_not_unpacked(tmp_path):
  path = tmp_path / "x.npz"
  archive(path, ((48, 1024, 1024), "|u1"), bytes(48 << 20))
  held, message = peak(lambda: read_npz(path))
  assert held < 4 << 20
  assert message == (
    f"{path}: train_images of shape [48, 1024, 1024] takes 50331648 bytes, more than --in_memory_limit=1048576; an "
    ".npz is held in memory: raise the limit, or save the images as files and give folder:DIR"
  )


def test_the_limit_is_an_argument_in_python(tmp_path):
  np.savez(tmp_path / "x.npz", **ARRAYS)
  spec = f"npz:{tmp_path / 'x.npz'}"
  assert len(sslx.load_data(spec, in_memory_limit=36).train) == 4
  with pytest.raises(UserError, match="takes 36 bytes, more than in_memory_limit=35"):
    sslx.load_data(spec, in_memory_limit=35)


def test_the_limit_is_on_decoded_images(tmp_path):
  path = tmp_path / "x.npz"
  np.savez(path, **{name: array / 255 if "images" in name else array for name, array in ARRAYS.items()})
  for limit in (35, 36):  # 4 images of 3 x 3, whose floats take 288 bytes
    if limit == 36:
      np.testing.assert_array_equal(data.load(f"npz:{path}", in_memory_limit=36).train.x[..., 0], IMAGES)
    else:
      with pytest.raises(UserError, match="takes 36 bytes, more than --in_memory_limit=35"):
        data.load(f"npz:{path}", in_memory_limit=limit)


def test_floats_are_converted_piece_by_piece(tmp_path, monkeypatch):
  monkeypatch.setattr("sslx.data.npz._PIECE", 7)
  path = tmp_path / "x.npz"
  unit = (IMAGES / 255).astype(">f4")
  np.savez(path, **ARRAYS | {"train_images": np.asfortranarray(unit), "test_images": np.asfortranarray(IMAGES)})
  dataset = data.load(f"npz:{path}")
  np.testing.assert_array_equal(dataset.train.x[..., 0], IMAGES)
  np.testing.assert_array_equal(dataset.test.x[..., 0], IMAGES)
  unit[0, 0, 0], unit[-1, -1, -1] = 3, -2
  np.savez(path, **ARRAYS | {"train_images": unit})
  with pytest.raises(UserError, match=r"train_images is float in \[-2, 3\]"):
    data.load(f"npz:{path}")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_bounds_are_refused(tmp_path, compression):
  path = tmp_path / "x.npz"
  archive(path, ((4, 3, 3), "|u1"), bytes(36), compression)
  with pytest.raises(UserError, match=r"cannot be read.*as numpy\.savez never does"):
    read_npz(path)


def test_headers_of_gigabytes_are_not_read(tmp_path):
  path = tmp_path / "x.npz"
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
    for name in ARRAYS:
      size = 48 << 20 if name == "train_images" else 0
      file.writestr(f"{name}.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", size) + bytes(size))
  held, message = peak(lambda: read_npz(path))
  assert held < 4 << 20
  assert "version 2.0 of .npy, not 1.0" in message
