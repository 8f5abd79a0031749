"""text:FILE|DIR: corpora and documents, what is kept of them, and what is refused."""

import dataclasses
import gzip
import random
from pathlib import Path

import numpy as np
import pytest

from sslx import data
from sslx.data import text, text_files
from sslx.data.check import checked
from sslx.data.fingerprint import fingerprint
from sslx.data.lazy import LazyArray
from sslx.data.types import Split, text_classes, text_corpus
from sslx.data.words import words_of
from sslx.ops.text import FIRST, PAD, UNKNOWN, Vocabulary
from sslx.types import UserError

POOL = words_of("the of and row column matrix array value index shape axis dtype float int list tuple dict set")


def sentences(count, seed=0, words=POOL):
  draw = random.Random(seed)
  weights = [1 / (i + 1) for i in range(len(words))]
  return [" ".join(draw.choices(words, weights, k=draw.randint(1, 30))) for _ in range(count)]


def load(where, tmp_path, **how):
  return data.load(f"text:{where}", str(tmp_path / "data"), **how)


def refused(where, tmp_path, message, **how):
  with pytest.raises(UserError, match=message) as error:
    load(where, tmp_path, **how)
  assert "\n" not in str(error.value)


# ---- a corpus


@pytest.fixture
def corpus(tmp_path):
  path = tmp_path / "corpus.txt"
  path.write_text("\n\n".join([*sentences(200), "rare words stand here once"]), "utf-8")
  return path


def lines_of_rows(dataset):
  """The words of each line that a stream holds."""
  flat = np.asarray(dataset.train.x).ravel()
  ends = np.flatnonzero(flat == PAD)
  return [dataset.vocabulary.decode(part) for part in np.split(flat, ends) if (part != PAD).any()]


def test_a_corpus_is_a_stream_of_its_lines(corpus, tmp_path, capsys):
  dataset = load(corpus, tmp_path)
  assert (dataset.modality.name, dataset.task.name, dataset.train.y, len(dataset.test)) == ("text", "none", None, 0)
  assert (dataset.x_shape, dataset.train.x.dtype) == ((text.BLOCK,), np.int32)
  known = set(dataset.vocabulary.words)
  expected = [words_of(line) for line in corpus.read_text("utf-8").splitlines() if line]
  assert lines_of_rows(dataset) == [[word if word in known else "?" for word in line] for line in expected]
  assert known == set(POOL)
  ids = np.bincount(dataset.train.x.ravel(), minlength=dataset.vocabulary.size)
  assert ids[FIRST:].tolist() == dataset.vocabulary.counts.tolist()
  assert ids[UNKNOWN] == 5
  assert dataset.vocabulary.total == 201
  assert not (dataset.train.x[:-1, -1:] == PAD).all()
  assert capsys.readouterr().err == ""
  assert not (tmp_path / "data").exists()  # a small corpus is not kept


def same(a, b):
  assert np.array_equal(np.asarray(a.train.x), np.asarray(b.train.x))
  assert a.vocabulary == b.vocabulary


def test_compressed_and_split_files_give_the_same(corpus, tmp_path):
  first = load(corpus, tmp_path)
  compressed = tmp_path / "corpus.txt.gz"
  compressed.write_bytes(gzip.compress(corpus.read_bytes()))
  same(first, load(compressed, tmp_path))
  folder = tmp_path / "several"
  folder.mkdir()
  lines = corpus.read_text("utf-8").splitlines(keepends=True)
  (folder / "b.txt").write_text("".join(lines[151:]), "utf-8")
  (folder / "a.txt.gz").write_bytes(gzip.compress("".join(lines[:151]).encode()))
  (folder / "notes.md").write_text("no part of it")
  same(first, load(folder, tmp_path))


def test_a_large_corpus_is_kept_and_stays_lazy(corpus, tmp_path, monkeypatch, capsys):
  near = load(corpus, tmp_path)
  monkeypatch.setattr(text_files, "_BLOCK", 100)
  monkeypatch.setattr("sslx.data.words._PIECE", 50)
  far = load(corpus, tmp_path, in_memory_limit=1000)
  told = capsys.readouterr().err
  assert told.startswith(f"text:{corpus}: read once, and kept in {tmp_path}/data/sslx_text/")
  assert isinstance(far.train.x, LazyArray)
  same(near, far)
  monkeypatch.setattr(text, "lines_of", None)  # nothing is read again
  again = load(corpus, tmp_path, in_memory_limit=1000)
  same(near, again)
  assert fingerprint(again) == fingerprint(far)
  assert isinstance(load(corpus, tmp_path, in_memory_limit=1 << 20).train.x, np.ndarray)
  assert capsys.readouterr().err == ""


def test_what_is_kept_is_read_anew_where_file_or_flags_changed(corpus, tmp_path):
  load(corpus, tmp_path, in_memory_limit=1000)
  assert len(load(corpus, tmp_path, in_memory_limit=1000, max_words=4).vocabulary) == 4
  assert len(load(corpus, tmp_path, in_memory_limit=1000, min_count=1).vocabulary) == len(POOL) + 5
  corpus.write_text(corpus.read_text("utf-8") + "\nnew new new new new", "utf-8")
  same(load(corpus, tmp_path, in_memory_limit=1000), load(corpus, tmp_path))
  assert "new" in load(corpus, tmp_path, in_memory_limit=1000).vocabulary.ids


def test_what_is_kept_and_damaged_is_made_again(corpus, tmp_path):
  near = load(corpus, tmp_path)  # a map of what is damaged would end the process
  load(corpus, tmp_path, in_memory_limit=1000)
  (place,) = (tmp_path / "data" / "sslx_text").iterdir()
  for name, content in (("corpus_x.npy", b"no"), ("vocabulary_json.npy", b""), ("facts.json", b'{"layout": 3}')):
    (place / name).write_bytes(content)
    same(load(corpus, tmp_path, in_memory_limit=1000), near)


def test_ids_do_not_depend_on_anything_else(corpus, tmp_path):
  first = load(corpus, tmp_path)
  assert fingerprint(first) == fingerprint(load(corpus, tmp_path))
  assert fingerprint(first) != fingerprint(load(corpus, tmp_path, max_words=9))


# ---- documents


@pytest.fixture
def documents(tmp_path):
  """Two classes, of which each has words of its own; `tested` stands in the test split alone."""
  root = tmp_path / "docs"
  for i, part in enumerate(("train", "test")):
    for name in ("cats", "dogs"):
      (root / part / name).mkdir(parents=True)
      for k, line in enumerate(sentences(8, 10 * i + len(name), [name, *["tested"] * i, *POOL[:6]])):
        (root / part / name / f"{k}.txt").write_text(line.replace(" ", "\n", 1), "utf-8")
  return root


def test_documents_are_rows_with_classes(documents, tmp_path, capsys):
  (documents / "unlabeled" / "deep").mkdir(parents=True)
  (documents / "unlabeled" / "deep" / "u.txt.gz").write_bytes(gzip.compress(b"unseen " * 6))
  dataset = load(documents, tmp_path)
  assert (dataset.modality.name, dataset.task.name, dataset.task.names) == ("text", "classification", ("cats", "dogs"))
  assert dataset.split_sizes == {"train": 16, "test": 16, "unlabeled": 1}
  assert dataset.train.y.tolist() == [0] * 8 + [1] * 8
  assert {"unseen", "cats"} <= set(dataset.vocabulary.words)
  assert "tested" not in dataset.vocabulary.ids  # words of the test split are not learnt
  longest = 0
  for split in (dataset.train, dataset.test):
    for row, path in zip(split.x, split.files, strict=True):
      words = words_of(Path(path).read_text("utf-8"))
      longest = max(longest, len(words))
      assert row[: len(words)].tolist() == dataset.vocabulary.encode(words).tolist()
      assert (row[len(words) :] == PAD).all()
  assert dataset.x_shape == (longest,)
  counted = np.concatenate([dataset.train.x.ravel(), dataset.unlabeled.x.ravel()])
  ids = np.bincount(counted, minlength=dataset.vocabulary.size)
  assert ids[FIRST:].tolist() == dataset.vocabulary.counts.tolist()
  assert dataset.vocabulary.total == 17
  assert capsys.readouterr().err == ""


def test_documents_are_cut_where_they_are_long(documents, tmp_path, capsys):
  whole = load(documents, tmp_path)
  cut = load(documents, tmp_path, max_length=5)
  assert cut.x_shape == (5,)
  count = sum((x[:, 5:] != PAD).any(1).sum() for x in (whole.train.x, whole.test.x))
  assert f"{count} of 32 texts are cut at 5 words; the longest is of {whole.x_shape[0]}\n" in capsys.readouterr().err
  first = [whole.vocabulary.decode(row[:5]) for row in whole.train.x]
  told = [cut.vocabulary.decode(row) for row in cut.train.x]
  assert all(a in ("?", b) for one, two in zip(told, first, strict=True) for a, b in zip(one, two, strict=True))
  ids = np.bincount(cut.train.x.ravel(), minlength=cut.vocabulary.size)
  assert ids[FIRST:].tolist() == cut.vocabulary.counts.tolist()  # of what is left
  (documents / "train" / "cats" / "long.txt").write_text("cats " * 300)
  assert load(documents, tmp_path).x_shape == (256,)
  assert (
    "1 of 33 texts is cut at 256 words; the longest is of 300; --max_length=300 keeps all" in capsys.readouterr().err
  )
  assert load(documents, tmp_path, max_length=400).x_shape == (400,)


def test_lazy_documents_equal_those_in_memory(documents, tmp_path):
  near, far = (load(documents, tmp_path, in_memory_limit=limit) for limit in (1 << 30, 10))
  assert isinstance(far.train.x, LazyArray)
  same(near, far)
  assert np.array_equal(far.test.x[np.array([3, 0])], near.test.x[[3, 0]])
  other = load(documents, tmp_path, in_memory_limit=10, max_words=3, max_length=near.x_shape[0])
  assert fingerprint(other) != fingerprint(far)


# ---- what is refused


@pytest.mark.parametrize(
  ("content", "how", "message"),
  [
    (b"", {}, "corpus.txt: empty file"),
    (b"1 2 3\n\n", {}, "corpus.txt: holds no word; at least two different ones are needed"),
    (b"word word\nWord", {}, "corpus.txt: holds one word only, 'word'; at least two"),
    (b"a a a a a b b b c", {}, r"--min_count=5: one word only stands so often in .*; give --min_count=3$"),
    (b"a b c", {}, r"--min_count=5: no word stands so often in .*; give --min_count=1$"),
    (b"a b c", {"max_length": 9}, "--max_length=9: is for documents, and text:.* is a corpus, .*; leave it out"),
    (b"\x00\x01", {}, "corpus.txt: no text, .*binary"),
    ("a b".encode("utf-16"), {}, "corpus.txt: is UTF-16"),
    ("\u00e9t\u00e9 en France".encode("latin-1"), {}, "corpus.txt: not UTF-8, .*Latin-1"),
  ],
)
def test_a_corpus_that_is_refused(tmp_path, content, how, message):
  (tmp_path / "corpus.txt").write_bytes(content)
  refused(tmp_path / "corpus.txt", tmp_path, message, **how)


def test_folders_that_are_refused(documents, tmp_path):
  refused(tmp_path / "none", tmp_path, "none: no such file or folder")
  (tmp_path / "empty").mkdir()
  refused(tmp_path / "empty", tmp_path, r"empty: holds no texts \(.txt, .txt.gz\); text:DIR needs them, or DIR/train/")
  (documents / "train" / "mice").mkdir()
  refused(documents, tmp_path, "train/mice: holds no texts")
  (documents / "train" / "mice").rmdir()
  (documents / "test" / "mice").mkdir()
  refused(documents, tmp_path, "class 'mice' is unknown to")
  (documents / "test" / "mice").rmdir()
  (documents / "test" / "cats" / "9.txt").write_text("12")
  refused(documents, tmp_path, "test/cats/9.txt: holds no word; delete it")


@pytest.mark.parametrize(
  ("how", "message"),
  [
    ({"min_count": 0}, "--min_count=0: must be between 1 and"),
    ({"max_words": 1}, "--max_words=1: must be between 2 and"),
    ({"max_length": 1}, "--max_length=1: must be between 2 and"),
    ({"image_size": 8}, "--image_size=8: is for images, and text is text"),
    ({"seconds": 1.0}, "--seconds=1: is for sound, and text is text"),
  ],
)
def test_flags_out_of_range_or_of_others(corpus, tmp_path, how, message):
  refused(corpus, tmp_path, message, **how)


@pytest.mark.parametrize("how", [{"min_count": 2}, {"max_words": 100}, {"max_length": 9}])
def test_images_have_no_words(how):
  ((flag, value),) = how.items()
  with pytest.raises(UserError, match=rf"--{flag}={value}: is for text, and mnist is image"):
    data.load("mnist", **how)


def test_a_path_without_its_kind(corpus, documents):
  with pytest.raises(UserError, match=f"write text:{corpus}$"):
    data.load(str(corpus))
  with pytest.raises(UserError, match=rf"a folder needs its kind in front: .*text:{documents}, "):
    data.load(str(documents))


# ---- rules of every data set of text

WORDS = Vocabulary(("a", "b"), np.array([3, 2]), np.array([2, 1]), 2)
GOOD = np.array([[3, 4, 0], [1, 3, 4]], np.int32)
Y = np.array([0, 1], np.int32)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"x": GOOD.astype(np.int64)}, "train texts are int64; they must be int32"),
    ({"x": GOOD[..., None]}, r"train texts have shape \[2, 3, 1\]; they must be \[N,T\]"),
    ({"x": GOOD[:, :2]}, "train texts are of 2 words but test texts are of 3; make them one length"),
    ({"x": GOOD + 1}, r"train text 0 holds the id 5, outside 0..4 of its vocabulary"),
    ({"x": GOOD - 1}, r"train text 0 holds the id -1, outside 0..4"),
    ({"x": GOOD * np.array([[1], [0]], np.int32)}, "train text 1 is of padding alone"),
    ({"x": GOOD[:0]}, "the train split is empty"),
    ({"vocabulary": None}, "text without a vocabulary; say what its ids mean"),
    ({"vocabulary": Vocabulary(("a",), np.array([3]), np.array([2]), 2)}, "its vocabulary holds 1 words"),
  ],
)
def test_rules_of_text(change, message):
  good = text_classes("s", WORDS, "ab", Split(GOOD, Y), Split(GOOD + np.int32(0), Y))
  checked(good, tell=False)
  changed = Split(change.get("x", GOOD), Y)
  wrong = dataclasses.replace(good, train=changed, vocabulary=change.get("vocabulary", WORDS))
  with pytest.raises(UserError, match=f"s: {message}"):
    checked(wrong)


def test_a_corpus_keeps_the_rules_too():
  checked(text_corpus("s", WORDS, GOOD))
  with pytest.raises(UserError, match="s: train text 0 holds the id 5"):
    checked(text_corpus("s", WORDS, GOOD + 1))
