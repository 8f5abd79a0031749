"""Text to words, words to a vocabulary, and words to rows of ids.

The rules of a word:
 * Text is composed (NFC, so that an accent is part of its letter) and lower-cased.
 * A word is a run of letters, of any script: what `str.isalpha` calls so.
 * An apostrophe between two letters is part of the word (don't, o'clock); one at an end is not. The typographic
   apostrophe is the plain one.
 * All else separates words and is left out: digits, hyphens, underscores, points, signs. So "float32" is float,
   "array_like" is array like, and "well-known" is well known.

Two things follow: where a script writes no spaces (Chinese), a whole run of signs is one word, and where it writes
vowels as marks (Devanagari, Thai), words end at these.
"""

import functools
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sslx.data.lazy import Rows
from sslx.ops.text import PAD, UNKNOWN, Vocabulary

BLOCK = 256
"""Ids in a row of a corpus."""
MIN_COUNT = 5
"""How often a word has to stand in the text to be in the vocabulary, unless --min_count says otherwise."""
_PIECE = 1 << 20  # words that are turned into ids at a time
APOSTROPHE = "\u2019"  # the typographic one
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


class Line(NamedTuple):
  """Words that stand one after another."""

  words: Sequence[str]
  ends: bool = True
  """Whether the line ends here; a long one comes in several pieces."""


class Counts(NamedTuple):
  """Words of a text, counted."""

  words: Counter[str]
  """How often each stands there."""
  lines: Counter[str]
  """In how many lines each stands."""
  total: int
  """Lines with a word in them."""


def words_of(text: str) -> list[str]:
  """The words of a text, in their order: see the rules above."""
  if not text.isascii():
    text = _numerals().sub(" ", unicodedata.normalize("NFC", text)).replace(APOSTROPHE, "'")
  return WORD.findall(text.lower())


@functools.cache
def _numerals() -> re.Pattern[str]:
  """Signs such as ² and Ⅷ: to a regular expression they are part of words and no digits, but they are no letters."""
  signs = (sign for sign in map(chr, range(sys.maxunicode + 1)) if sign.isalnum() and not sign.isalpha())
  return re.compile(f"[{''.join(sign for sign in signs if not sign.isdecimal())}]")


def counted(lines: Iterable[Line]) -> Counts:
  """Counts the words of lines; what is held in memory are the different words alone."""
  words: Counter[str] = Counter()
  holders: Counter[str] = Counter()
  line: set[str] = set()
  total = 0
  for piece in lines:
    words.update(piece.words)
    line.update(piece.words)
    if piece.ends and line:
      holders.update(line)
      total += 1
      line = set()
  return Counts(words, holders, total)


def vocabulary_of(counts: Counts, min_count: int = MIN_COUNT, max_words: int | None = None) -> Vocabulary:
  """The words that stand there `min_count` times or more, and of these the `max_words` most frequent (None: all).

  They are in the order of falling frequency, and of the alphabet where two are equally frequent.
  """
  frequent = [(word, count) for word, count in counts.words.items() if count >= min_count]
  frequent.sort(key=lambda each: (-each[1], each[0]))
  words = tuple(word for word, _ in frequent[:max_words])
  often, holders = (np.array([of[word] for word in words], np.int64) for of in (counts.words, counts.lines))
  return Vocabulary(words, often, holders, counts.total)


def stream(lines: Iterable[Line], vocabulary: Vocabulary) -> Iterator[np.ndarray]:
  """Pieces i32 of one stream of ids: line after line, one PAD between two, UNKNOWN for what the vocabulary lacks."""
  ids = {"\n": PAD, **vocabulary.ids}
  waiting: list[str] = []
  started = inside = False  # whether there was a word before, and in this line
  for piece in lines:
    if piece.words:
      waiting += piece.words if inside or not started else ["\n", *piece.words]
      started = inside = True
    if piece.ends:
      inside = False
    if len(waiting) >= _PIECE:
      yield np.array([ids.get(word, UNKNOWN) for word in waiting], np.int32)
      waiting = []
  if waiting:
    yield np.array([ids.get(word, UNKNOWN) for word in waiting], np.int32)


def blocks(pieces: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
  """Rows i32 [n,length] of a stream: cut where they are full, and the last filled up with PAD."""
  rest = np.zeros(0, np.int32)
  for piece in pieces:
    rest = np.concatenate([rest, piece])
    full = len(rest) // length * length
    if full:
      yield rest[:full].reshape(-1, length)
      rest = rest[full:]
  if len(rest):
    yield np.pad(rest, (0, length - len(rest)), constant_values=PAD)[None]


def end_to_end(x: Rows) -> Rows:
  """Texts i32 [N,T] one after another, one PAD between two, in rows of BLOCK. What is lazy stays as it is."""
  if not isinstance(x, np.ndarray):
    return x
  ends = _ends(x)
  joined = np.concatenate([x, np.zeros((len(x), 1), x.dtype)], 1)
  ids = joined[(np.arange(joined.shape[1]) <= ends[:, None]) & (ends > 0)[:, None]]
  return np.concatenate(list(blocks([ids], BLOCK)) or [np.zeros((0, BLOCK), x.dtype)])


def count_end_to_end(x: Rows) -> int:
  """How many rows `end_to_end` makes, without making them."""
  if not isinstance(x, np.ndarray):
    return len(x)
  ends = _ends(x)
  return -(-int((ends + 1)[ends > 0].sum()) // BLOCK)


def _ends(x: np.ndarray) -> np.ndarray:
  """The place behind the last word of each text [N,T]."""
  return np.where(x != PAD, np.arange(1, x.shape[1] + 1), 0).max(1)


def padded(ids: np.ndarray, length: int) -> np.ndarray:
  """Ids [n] to i32 [length]: cut at the end, or PAD behind it."""
  return np.pad(ids[:length], (0, max(0, length - len(ids))), constant_values=PAD).astype(np.int32)
