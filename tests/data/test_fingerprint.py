"""The fingerprint of data: whatever a result depends on changes it, and nothing else does."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from sslx import data
from sslx.data.fingerprint import described, fingerprint, fingerprint_of
from sslx.data.images import resized, with_channels
from sslx.data.lazy import LazyArray, take
from sslx.data.types import Split, image_classes
from sslx.types import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 1)).astype(np.uint8)
LABELS = (np.arange(40) % 2).astype(np.int32)


def made(x=IMAGES, y=LABELS, test_x=IMAGES[:9], test_y=LABELS[:9], names=("a", "b"), unlabeled=None, name="toy"):
  more = None if unlabeled is None else Split(unlabeled, None)
  return image_classes(name, names, Split(x, y), Split(test_x, test_y), more)


def changed(array, place, value):
  other = array.copy()
  other[place] = value
  return other


OTHERS = {
  "a pixel of a test image": made(test_x=changed(IMAGES[:9], (8, 5, 4, 0), IMAGES[8, 5, 4, 0] ^ 1)),
  "a pixel of a training image": made(x=changed(IMAGES, (39, 0, 0, 0), IMAGES[39, 0, 0, 0] ^ 1)),
  "a label": made(y=changed(LABELS, 3, 0)),
  "a test label": made(test_y=changed(LABELS[:9], 3, 0)),
  "two images swapped": made(x=IMAGES[[1, 0, *range(2, 40)]]),
  "a class name": made(names=("a", "c")),
  "names that read alike": made(names=('a", "b',)),
  "shape": made(x=IMAGES.reshape(40, 5, 6, 1)),
  "dtype": made(y=LABELS.astype(np.uint32)),
  "an unlabeled split": made(unlabeled=IMAGES),
  "another unlabeled split": made(unlabeled=IMAGES[1:]),
  "the task": dataclasses.replace(made(), task=made().task._replace(name="other")),
  "the modality": dataclasses.replace(made(), modality=made().modality._replace(name="other")),
}  # fmt: skip


def test_everything_that_a_result_depends_on_is_in_it():
  prints = [fingerprint(dataset) for dataset in (made(), *OTHERS.values())]
  assert len(set(prints)) == len(prints)
  assert all(len(one) == 32 and int(one, 16) for one in prints)


def test_the_same_data_has_the_same_fingerprint():
  assert fingerprint(made(IMAGES.copy(), LABELS.copy(), name="npz:elsewhere")) == fingerprint(made())
  assert fingerprint(made(np.asfortranarray(IMAGES))) == fingerprint(made())  # the order in memory is no matter
  assert described(made()) is None


def test_every_piece_of_an_array_counts(monkeypatch):
  monkeypatch.setattr("sslx.data.fingerprint._PIECE", 70)  # two images, and 30 bytes that are not a third
  prints = {fingerprint_of(changed(IMAGES, (i, -1, -1), IMAGES[i, -1, -1] ^ 1)) for i in range(40)}
  assert len(prints | {fingerprint_of(IMAGES)}) == 41
  assert fingerprint_of(IMAGES[:0]) != fingerprint_of(IMAGES[:0, :5])


@pytest.fixture
def folder(tmp_path):
  for i, (image, label) in enumerate(zip(IMAGES[:8], LABELS[:8], strict=True)):
    for part in ("train", "test"):
      path = tmp_path / "set" / part / "ab"[label] / f"{i}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(image[..., 0]).save(path)
  return tmp_path / "set"


def loaded(folder):
  return data.load(f"folder:{folder}", in_memory_limit=0)


def test_a_lazy_folder_is_told_by_its_files(folder, tmp_path):
  before = fingerprint(loaded(folder))
  assert fingerprint(loaded(folder)) == before
  shutil.copytree(folder, tmp_path / "elsewhere" / "copy")  # with its times, as `cp -a` and `mv` keep them
  assert fingerprint(loaded(tmp_path / "elsewhere" / "copy")) == before
  memory = data.load(f"folder:{folder}")
  assert described(memory) is None
  file = folder / "test" / "b" / "7.png"
  facts = file.stat()
  Image.fromarray(changed(IMAGES[7], (0, 0), 9)[..., 0]).save(file)
  os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
  assert fingerprint(loaded(folder)) != before
  assert fingerprint(data.load(f"folder:{folder}")) != fingerprint(memory)
  os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
  renamed = loaded(folder)
  file.rename(file.with_name("8.png"))
  with pytest.raises(UserError, match=r"7\.png: cannot be read \(No such file"):
    fingerprint(renamed)
  assert fingerprint(loaded(folder)) != before


def test_what_was_not_read_is_told(folder):
  files = "the names, sizes and times of its files"
  told = "is too large to be read in full, so its data is told from other data so"
  assert described(loaded(folder)) == f"folder:{folder} {told}: train and test by {files}."
  bare = LazyArray(IMAGES.shape, lambda rows: IMAGES[rows])
  both = dataclasses.replace(loaded(folder), train=Split(bare, LABELS))
  assert described(both).endswith(f"so: train by about 5,000 of its rows; test by {files}.")
  assert described(made(IMAGES, unlabeled=bare)).endswith("so: unlabeled by about 5,000 of its rows.")


def test_lazy_arrays_without_files_are_told_by_evenly_spread_rows():
  read = []

  def lazy(array):
    def fetch(rows):
      read.append(rows)
      return array[rows]

    return LazyArray(array.shape, fetch, array.dtype)

  many = np.arange(12_000, dtype=np.int32)
  one = fingerprint_of(lazy(many))
  assert np.concatenate(read).tolist() == list(range(0, 12_000, 3))
  assert one == fingerprint_of(lazy(many.copy()))
  assert one != fingerprint_of(lazy(changed(many, 3, 0)))
  assert one != fingerprint_of(lazy(many[:11_999]))
  assert fingerprint_of(lazy(many[:0])) == fingerprint_of(lazy(many[:0]))


def test_what_is_made_of_lazy_arrays_keeps_their_files(folder):
  dataset = loaded(folder)
  x, rows = dataset.train.x, np.array([5, 1, 2])
  prints = {fingerprint_of(array) for array in (x, take(x, rows), take(x, rows[::-1]), take(x, rows[:2]))}
  assert len(prints) == 4
  assert fingerprint_of(take(x, rows)) == fingerprint_of(take(loaded(folder).train.x, rows))
  more = dataclasses.replace(dataset, unlabeled=Split(IMAGES, None)).pretraining_x
  other = dataclasses.replace(dataset, unlabeled=Split(255 - IMAGES, None)).pretraining_x
  assert fingerprint_of(more) != fingerprint_of(other)
  file = folder / "train" / "b" / "7.png"
  before = [fingerprint_of(array) for array in (take(x, rows), more)]
  os.utime(file, ns=(0, 0))
  assert not {fingerprint_of(array) for array in (take(x, rows), more)} & set(before)


def test_how_files_are_decoded_is_in_it(folder):
  changes = ({}, {"background": "black"}, {"bits": 12})
  assert len({fingerprint(data.load(f"folder:{folder}", in_memory_limit=0, **change)) for change in changes}) == 3


def test_what_is_lazily_made_of_an_array_in_memory_is_read_in_full():
  for function, value in ((resized, 9), (with_channels, 3)):
    one, same, other = (
      function(Split(x, None), value, 0).x for x in (IMAGES, IMAGES.copy(), changed(IMAGES, (7, 0, 0), 9))
    )
    assert isinstance(one, LazyArray)
    assert fingerprint_of(one) == fingerprint_of(same) != fingerprint_of(other)
    assert described(made(one)) is None


def test_lazy_records_are_told_by_their_files(mnist_dir):
  lazy = data.load("mnist", mnist_dir, in_memory_limit=0)
  assert [os.path.basename(path) for path in lazy.test.x.files] == ["sslx_mnist-test.array_record-00000-of-00001"]
  assert all(os.path.isfile(path) for path in (*lazy.train.x.files, *lazy.test.x.files))
  assert fingerprint(lazy) == fingerprint(data.load("mnist", mnist_dir, in_memory_limit=0))
