"""Text to words, words to a vocabulary, and lines to rows of ids."""

import collections
import random
import sys
import unicodedata

import numpy as np
import pytest

from sslx.data import words
from sslx.data.lazy import LazyArray
from sslx.data.words import Line, blocks, counted, padded, stream, vocabulary_of, words_of
from sslx.ops.text import FIRST, PAD, UNKNOWN

WORDS = [
  ("Don't shout, o'clock!", "don't shout o'clock"),
  ("don\u2019t", "don't"),
  ("the dogs' 'quoted' rock'n'roll", "the dogs quoted rock'n'roll"),
  ("it''s a''", "it s a"),
  ("float32 x1y2 3rd 2x", "float x y rd x"),
  ("array_like __init__ np.array(a)", "array like init np array a"),
  ("well-known e.g. a/b", "well known e g a b"),
  ("\u00dcber STRASSE \u00c9t\u00e9", "\u00fcber strasse \u00e9t\u00e9"),
  ("cafe\u0301", "caf\u00e9"),  # a letter and an accent, composed
  ("\u041c\u0418\u0420 \u03a9\u03bc\u03ad\u03b3\u03b1", "\u043c\u0438\u0440 \u03c9\u03bc\u03ad\u03b3\u03b1"),
  ("x\u00b2 \u00bd \u2167 \u2460 \u0663", "x"),  # numerals that are no letters
  ("a\tb\nc\u00a0d\u2028e", "a b c d e"),
  ("\u4e2d\u6587 \u5b57", "\u4e2d\u6587 \u5b57"),
  ("", ""),
  ("12 +- -- ''", ""),
]


@pytest.mark.parametrize(("text", "words"), WORDS)
def test_rules_of_words(text, words):
  assert words_of(text) == words.split()


def test_letters_are_what_isalpha_calls_so():
  """All signs of Unicode, but for those that are another sign when they are composed."""
  every = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]  # but for surrogates
  every = [sign for sign in every if unicodedata.normalize("NFC", sign) == sign]
  letters = ["".join(filter(str.isalpha, sign.lower())) for sign in every]
  assert words_of(" ".join(every)) == [each for each in letters if each]
  assert len(words_of(" ".join(every))) > 100_000


def naive(lines):
  words = [line.lower().split() for line in lines]
  often = collections.Counter(word for line in words for word in line)
  holders = collections.Counter(word for line in words for word in set(line))
  return often, holders, sum(bool(line) for line in words)


@pytest.fixture(scope="module")
def lines():
  draw = random.Random(0)
  pool = ["".join(draw.choices("abcdefgh", k=draw.randint(1, 3))) for _ in range(200)]
  return [" ".join(draw.choices(pool, k=draw.choice([0, 1, 5, 40]))) for _ in range(300)]


def in_pieces(lines, seed):
  """The same lines, each cut into pieces, of which some are empty."""
  draw = random.Random(seed)
  for line in lines:
    words = words_of(line)
    cuts = sorted(draw.choices(range(len(words) + 1), k=draw.randint(0, 3)))
    ends = [*cuts, len(words)]
    for start, end in zip([0, *cuts], ends, strict=True):
      yield Line(words[start:end], ends=False)
    yield Line([])


def test_counts_equal_naive_ones(lines):
  often, holders, total = naive(lines)
  assert counted(Line(words_of(line)) for line in lines) == (often, holders, total)
  assert counted(in_pieces(lines, 1)) == (often, holders, total)


def test_a_vocabulary_is_sorted_cut_and_the_same_in_any_order(lines):
  often, holders, total = naive(lines)
  counts = counted(Line(words_of(line)) for line in lines)
  all_words = vocabulary_of(counts, 1)
  assert list(all_words.words) == sorted(often, key=lambda word: (-often[word], word))
  assert all_words.counts.tolist() == [often[word] for word in all_words.words]
  assert all_words.texts.tolist() == [holders[word] for word in all_words.words]
  assert all_words.total == total
  some = vocabulary_of(counts, 20)
  assert set(some.words) == {word for word, count in often.items() if count >= 20}
  assert 0 < len(some) < len(all_words)
  assert vocabulary_of(counts, 20, 7).words == some.words[:7]
  backwards = counted(Line(words_of(line)) for line in lines[::-1])
  assert vocabulary_of(backwards, 1) == all_words


@pytest.mark.parametrize("length", [1, 7, 64, 100_000])
@pytest.mark.parametrize("whole", [True, False])
def test_rows_hold_the_words_of_the_lines(lines, length, whole):
  pieces = [Line(words_of(line)) for line in lines] if whole else list(in_pieces(lines, 2))
  vocabulary = vocabulary_of(counted(pieces), 10)
  rows = np.concatenate(list(blocks(stream(pieces, vocabulary), length)))
  assert (rows.dtype, rows.shape[1]) == (np.int32, length)
  expected = []
  for line in filter(None, map(str.split, lines)):
    expected += [PAD, *(vocabulary.ids.get(word, UNKNOWN) for word in line)]
  expected = expected[1:]  # no PAD before the first line, and one between two
  flat = rows.ravel().tolist()
  assert flat[: len(expected)] == expected
  assert flat[len(expected) :] == [PAD] * (-len(expected) % length)
  assert vocabulary.decode(flat) == [w if w in vocabulary.ids else "?" for line in lines for w in line.split()]


def test_long_streams_come_in_pieces(monkeypatch, lines):
  pieces = [Line(words_of(line)) for line in lines]
  vocabulary = vocabulary_of(counted(pieces), 1)
  whole = np.concatenate(list(stream(pieces, vocabulary)))
  monkeypatch.setattr("sslx.data.words._PIECE", 10)
  parts = list(stream(pieces, vocabulary))
  assert len(parts) > 100
  assert np.array_equal(np.concatenate(parts), whole)
  assert [block.shape[1] for block in blocks(parts, 9)] == [9] * len(list(blocks(parts, 9)))


def test_padded_cuts_at_the_end_or_pads():
  ids = np.array([FIRST, FIRST + 1, FIRST + 2], np.int32)
  assert padded(ids, 2).tolist() == [FIRST, FIRST + 1]
  assert padded(ids, 5).tolist() == [FIRST, FIRST + 1, FIRST + 2, PAD, PAD]
  assert padded(ids, 5).dtype == np.int32


def test_texts_are_laid_end_to_end():
  """One PAD between two, none for an empty text, what is lost or added of no word; a lazy array stays as it is."""
  x = np.array([[3, 4, 0, 0], [0, 0, 0, 0], [5, 0, 6, 0], [7, 8, 9, 10]], np.int32)
  rows = words.end_to_end(x)
  assert rows.shape == (1, words.BLOCK)
  np.testing.assert_array_equal(rows[0, :12], [3, 4, 0, 5, 0, 6, 0, 7, 8, 9, 10, 0])
  many = np.random.default_rng(0).integers(1, 9, (300, 7)).astype(np.int32)
  rows = words.end_to_end(many)
  stream = np.concatenate([np.append(row, 0) for row in many])
  np.testing.assert_array_equal(rows.ravel()[: len(stream)], stream)
  assert not rows.ravel()[len(stream) :].any()
  assert rows.shape == (-(-len(stream) // words.BLOCK), words.BLOCK)
  assert words.count_end_to_end(many) == len(rows)
  lazy = LazyArray(x.shape, lambda i: x[i], x.dtype)
  assert words.end_to_end(lazy) is lazy
  assert (words.count_end_to_end(lazy), words.count_end_to_end(x), words.count_end_to_end(x[1:2])) == (4, 1, 0)
  assert words.end_to_end(x[1:2]).shape == (0, words.BLOCK)
