"""sslx.words: of a run, a directory and a file; neighbours, analogies; word2vec's text format, written and read."""

import re

import numpy as np
import pytest

import sslx
from sslx.data.types import text_corpus
from sslx.ops.text import FIRST, Vocabulary
from sslx.types import UserError
from sslx.word_vectors import WordVectors

WORDS = ("row", "column", "rows", "columns", "array", "naïve", "o'clock")


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
  table = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
  table[2] = table[0] + [3, 0, 0, 0, 0]
  table[3] = table[1] + [3, 0, 0, 0, 0]
  return WordVectors(WORDS, table)


@pytest.fixture(scope="module")
def run():
  """Of a method that has a vector for each word."""
  words = tuple("abcdefgh")
  counts = np.arange(80, 0, -10)
  x = np.random.default_rng(0).integers(FIRST, FIRST + 8, (20, 12)).astype(np.int32)
  data = text_corpus("text", Vocabulary(words, counts, counts, 80), x)
  return sslx.pretrain(
    "masked_words", data, encoder="transformer:width=8,depth=1,heads=2", steps=2, batch_size=4, progress=False
  )


def naive(path) -> dict[str, np.ndarray]:
  """As any reader of the format does it."""
  head, *lines = path.read_text("utf-8").split("\n")
  count, width = map(int, head.split(" "))
  assert lines.pop() == ""
  table = {line.split(" ")[0]: np.array([float(n) for n in line.split(" ")[1:]], np.float32) for line in lines}
  assert (len(table), {len(row) for row in table.values()}) == (count, {width})
  return table


def test_the_text_format_is_read_back_to_the_last_bit(vectors, tmp_path):
  path = vectors.save(tmp_path / "deep" / "vectors.txt")
  table = naive(path)
  assert tuple(table) == WORDS
  np.testing.assert_array_equal(np.stack([*table.values()]), vectors.vectors)
  again = sslx.words(path)
  assert again.words == WORDS
  np.testing.assert_array_equal(again.vectors, vectors.vectors)
  assert [each.name for each in path.parent.iterdir()] == ["vectors.txt"]  # nothing else is left


def test_numbers_of_any_size_are_written_as_they_are(tmp_path):
  table = np.array([[1e-38, -3.4e38], [0.1, 16777217]], np.float32)
  again = sslx.words(WordVectors(("a", "b"), table).save(tmp_path / "v.txt"))
  np.testing.assert_array_equal(again.vectors, table)


def test_gensim_reads_it_and_finds_the_same_neighbours(vectors, tmp_path):
  models = pytest.importorskip("gensim.models")
  theirs = models.KeyedVectors.load_word2vec_format(str(vectors.save(tmp_path / "vectors.txt")))
  assert tuple(theirs.index_to_key) == WORDS
  np.testing.assert_array_equal(theirs.vectors, vectors.vectors)
  for positive, negative in ([["row"], []], [["rows", "column"], ["row"]]):
    expected = theirs.most_similar(positive, negative, 3)
    made = vectors.most_similar(positive, 3, negative)
    assert [word for word, _ in made] == [word for word, _ in expected]
    assert [value for _, value in made] == pytest.approx([value for _, value in expected], abs=1e-6)
  theirs.save_word2vec_format(str(tmp_path / "theirs.txt"))
  np.testing.assert_array_equal(sslx.words(tmp_path / "theirs.txt").vectors, vectors.vectors)


def test_neighbours_are_those_of_the_cosine(vectors):
  unit = vectors.vectors / np.linalg.norm(vectors.vectors, axis=1, keepdims=True)
  cosines = unit @ unit[0]
  expected = [WORDS[i] for i in np.argsort(-cosines) if i != 0]
  made = vectors.most_similar("row")
  assert [word for word, _ in made] == expected
  assert [value for _, value in made] == pytest.approx(sorted(cosines[1:], reverse=True), abs=1e-6)
  assert vectors.most_similar("row", 2) == made[:2]
  assert vectors.similarity("row", "array") == pytest.approx(cosines[4], abs=1e-6)
  query = unit[0] + unit[1] - unit[4]
  scores = unit @ query / np.linalg.norm(query)
  made = vectors.most_similar(["row", "column"], 4, negative="array")
  assert [word for word, _ in made] == [WORDS[i] for i in np.argsort(-scores) if i not in (0, 1, 4)]
  assert [value for _, value in made] == pytest.approx(sorted(scores[[2, 3, 5, 6]], reverse=True), abs=1e-6)


def test_an_analogy_is_3_cos_add(vectors):
  assert vectors.analogy("row", "rows", "column")[0][0] == "columns"
  assert vectors.analogy("row", "rows", "column", 2) == vectors.most_similar(["rows", "column"], 2, ["row"])


def test_it_is_a_value(vectors):
  assert repr(vectors) == "WordVectors(7 words, 5 numbers each: row, column, rows, columns, array, ...)"
  assert (len(vectors), list(vectors), "row" in vectors, "Row" in vectors, 3 in vectors) == (
    7, list(WORDS), True, False, False,
  )  # fmt: skip
  np.testing.assert_array_equal(vectors["rows"], vectors.vectors[2])
  with pytest.raises(ValueError, match="read-only"):
    vectors["rows"][0] = 1
  with pytest.raises(AttributeError):
    vectors.words = ()
  table = np.ones((1, 2), np.float32)
  made = WordVectors(("a",), table)
  table[0, 0] = 5  # what others do with theirs changes nothing
  assert made["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
  ("wrong", "says"),
  [
    (lambda v: v["colums"], r"^'colums': is not among these 7 words; near it are 'columns', 'column'.*\.$"),
    (lambda v: v.most_similar(["row", "qqq"]), r"^'qqq': is not among these 7 words\.$"),
    (lambda v: v.similarity("row", "arrai"), "'arrai'.*near it are 'array'"),
    (lambda v: v.analogy("row", "rows", "colum"), "'colum'"),
    (lambda v: v["x" * 10_000], r"^'x{50,56}\.\.\.: is not among"),
    (lambda v: v[3], "^3: expected a word"),
    (lambda v: v.most_similar("row", 0), "topn=0: expected a whole number above 0"),
    (lambda v: v.most_similar("row", "column"), "topn='column'"),
    (lambda v: v.most_similar([]), "name at least one word"),
  ],
)
def test_what_is_not_there_is_told_in_a_line(wrong, says, vectors):
  with pytest.raises(UserError, match=says) as error:
    wrong(vectors)
  assert "\n" not in str(error.value)


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_and_its_directory_have_the_vectors_of_its_words_alone(run, tmp_path):
  made = sslx.words(run)
  assert made.words == tuple("abcdefgh")
  table = np.asarray(run.params["encoder"]["tokens"]["table"])
  assert len(table) == FIRST + 8
  np.testing.assert_array_equal(made.vectors, table[FIRST:])
  folder = sslx.save(run, tmp_path / "run")
  for place in (folder, str(folder), folder / "checkpoints"):
    again = sslx.words(place)
    assert again.words == made.words
    np.testing.assert_array_equal(again.vectors, made.vectors)


def test_a_run_without_words_is_refused(toy):
  run = sslx.pretrain("denoise", toy, encoder="conv:widths=4", steps=1, progress=False)
  with pytest.raises(UserError, match=r"this run: was made by denoise on conv:widths=4, which has no vectors of words"):
    sslx.words(run)


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ("content", "says"),
  [
    (b"", "line 1 is no head"),
    (b"row 1 2\ncolumn 3 4\n", "line 1 is no head"),
    (b"2 2\nrow 1 2\ncolumn 3 x\n", "line 3 has something else than numbers"),
    (b"2 2\nrow 1 2\ncolumn 3\n", "line 3 is not a word and 2 finite numbers"),
    (b"2 2\nrow 1 2\ncolumn 3 nan\n", "line 3 is not a word and 2 finite numbers"),
    (b"2 2\nrow 1 2\nrow 3 4\n", "line 3 has the word 'row' a second time"),
    (b"3 2\nrow 1 2\ncolumn 3 4\n", "has 2 words, and line 1 says 3"),
    (b"0 2\n", "has 0 words"),
    (b"1 2\nrow \xff\xfe\x80\n", "is no text in UTF-8"),
    (b"99999999999999999999 2\n", "line 1 is no head"),
  ],
)
def test_a_file_of_another_format_is_told_with_its_line(content, says, tmp_path):
  path = tmp_path / "vectors.txt"
  path.write_bytes(content)
  with pytest.raises(UserError, match=f"^{re.escape(str(path))}: {says}"):
    sslx.words(path)


def test_spaces_at_the_ends_of_lines_as_word2vec_writes_them_are_no_numbers(tmp_path):
  path = tmp_path / "vectors.txt"
  path.write_bytes(b"2 2\nrow 1 2 \ncolumn 3 4 \n")
  assert sslx.words(path)["column"].tolist() == [3, 4]


def test_a_path_that_is_not_there_and_one_that_cannot_be_written(vectors, tmp_path):
  with pytest.raises(UserError, match="there is no such file, nor directory of a run"):
    sslx.words(tmp_path / "nothing")
  with pytest.raises(UserError, match="source=3: expected a Run, the directory of one, or a file of word vectors"):
    sslx.words(3)
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot be written"):
    vectors.save(tmp_path / "file" / "vectors.txt")
