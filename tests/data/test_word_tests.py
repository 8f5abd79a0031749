"""Questions for word vectors: our own pairs, and the files of others."""

import gzip

import pytest

from sslx.data.word_tests import SYNTACTIC, Rated, own_pairs, questions_of, read_questions, read_similarity
from sslx.data.words import words_of
from sslx.types import UserError


def test_our_pairs_are_words_and_differ():
  pairs = own_pairs()
  assert {"opposites", "gram-plural", "gram-comparative", "gram-past", "gram-participle"} <= set(pairs)
  assert sum(map(len, pairs.values())) > 250
  for section, each in pairs.items():
    assert section == "opposites" or section.startswith(SYNTACTIC)
    assert len(each) >= 9
    assert len(set(each)) == len(each)
    for first, second in each:
      assert first != second
      assert words_of(f"{first} {second}") == [first, second]


def test_questions_are_pairs_of_pairs():
  pairs = {"a": [("row", "rows"), ("key", "keys"), ("row", "line")], "b": [("x", "y")]}
  assert questions_of(pairs) == {
    "a": [
      ("row", "rows", "key", "keys"), ("key", "keys", "row", "rows"), ("key", "keys", "row", "line"),
      ("row", "line", "key", "keys"),
    ],
    "b": [],
  }  # fmt: skip


def write(tmp_path, content):
  path = tmp_path / "file.txt"
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return str(path)


def test_googles_format(tmp_path):
  path = write(
    tmp_path, ": capitals\nAthens Greece Oslo Norway\n\n: gram1-plural\ncat cats dog dogs\ncat cats cow cows\n"
  )
  assert read_questions(path) == {
    "capitals": [("athens", "greece", "oslo", "norway")],
    "gram1-plural": [("cat", "cats", "dog", "dogs"), ("cat", "cats", "cow", "cows")],
  }
  assert read_questions(write(tmp_path, "a b c d")) == {"questions": [("a", "b", "c", "d")]}


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (": a\na b c d\na b c\n", "line 3 is 'a b c', not four words; give a file in the format of Google's"),
    ("Call me Ishmael. Some years ago, never mind how long", r"line 1 is 'Call me Ishmael.*\.\.\.', not four words"),
    ("", "empty file"),
    (": a\n\n: b\n", "holds no question"),
    (b"PK\x03\x04", "no text, as its byte 2 is 0x03"),
    (gzip.compress(b"x", mtime=0)[:9], "damaged"),
  ],
)
def test_what_is_no_file_of_questions(tmp_path, content, message):
  path = write(tmp_path, content)
  with pytest.raises(UserError, match=f"^--questions={path}: {message}") as error:
    read_questions(path)
  assert "\n" not in str(error.value)
  with pytest.raises(UserError, match=r"^--questions=.*none: cannot be read"):
    read_questions(str(tmp_path / "none"))


WORDSIM = [Rated("tiger", "cat", 7.35), Rated("stock", "cd", 1.31), Rated("tiger", "tiger", 10.0)]


@pytest.mark.parametrize(
  "content",
  [
    "# WordSim\n# Word 1\tWord 2\tHuman\ntiger\tcat\t7.35\nstock\tCD\t1.31\ntiger\ttiger\t10.00\n",
    "Word 1,Word 2,Human (mean)\ntiger,cat,7.35\nstock,CD,1.31\ntiger,tiger,10\n",
    "Word 1\tWord 2\tHuman (mean)\t1\r\ntiger\tcat\t7.35\t9\r\nstock\tCD\t1.31\t1\r\ntiger\ttiger\t10\t10\r\n",
    "tiger cat 7.35\nstock CD 1.31\ntiger tiger 10\n",
  ],
)
def test_wordsim_in_all_its_forms(tmp_path, content):
  assert read_similarity(write(tmp_path, content)) == WORDSIM


def test_simlex_has_its_score_in_its_fourth_column(tmp_path):
  content = "word1\tword2\tPOS\tSimLex999\tconc(w1)\nold\tnew\tA\t1.58\t2.72\nsmart\tintelligent\tA\t9.2\t1.75\n"
  assert read_similarity(write(tmp_path, content)) == [Rated("old", "new", 1.58), Rated("smart", "intelligent", 9.2)]
  headless = content.partition("\n")[2]
  assert read_similarity(write(tmp_path, headless)) == [Rated("old", "new", 1.58), Rated("smart", "intelligent", 9.2)]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("a,b,1\na,b\n", "line 2 is 'a,b', not two words and a score; give a table such as WordSim-353"),
    ("a,b,1\na,b,high\n", "line 2 is 'a,b,high'"),
    ("a,b,1\n,b,2\n", "line 2 is ',b,2'"),
    (": section\na b c d\n", "line 1 is ': section'"),
    ("Call me Ishmael.\nSome years ago\n", "line 2 is"),
    ("a,b,1\n", "holds 1 pairs"),
    (b"\x00\x01\x02", "no text"),
  ],
)
def test_what_is_no_table_of_similarities(tmp_path, content, message):
  path = write(tmp_path, content)
  with pytest.raises(UserError, match=f"^--similarity={path}: {message}") as error:
    read_similarity(path)
  assert "\n" not in str(error.value)
