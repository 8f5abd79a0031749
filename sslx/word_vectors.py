"""Vectors of words as a value: of a run that learnt some, or of a file in word2vec's text format, which others read."""

import difflib
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslx.calls import public
from sslx.evaluation.words import nearest
from sslx.ops.text import FIRST
from sslx.report import records
from sslx.tasks.linear import unit
from sslx.training.run import Meta, Run
from sslx.types import ENCODER, UserError, cut, folded

BLOCKS = ("vectors", "tokens")
"""Of encoders that hold a vector for each word: `words`, `transformer`."""


@dataclass(frozen=True, eq=False)
class WordVectors:
  """A vector for each of some words, by falling frequency of these where that is known: what `sslx.words` gives.

  `vectors["row"]` is a word's vector, `"row" in vectors` says whether it has one, and `len(vectors)` is how many have.
  """

  words: tuple[str, ...]
  vectors: np.ndarray
  """f32 [n,d], a row for each word; it cannot be written to."""

  def __post_init__(self) -> None:
    vectors = np.array(self.vectors, np.float32)
    vectors.flags.writeable = False
    object.__setattr__(self, "vectors", vectors)

  def __repr__(self) -> str:
    n, width = self.vectors.shape
    return folded(
      f"WordVectors({n:,} words, {width} numbers each: {', '.join(cut(w, 30) for w in self.words[:5])}, ...)"
    )

  def __len__(self) -> int:
    return len(self.words)

  def __iter__(self) -> Iterator[str]:
    return iter(self.words)

  def __contains__(self, word: object) -> bool:
    return word in self._places

  def __getitem__(self, word: str) -> np.ndarray:
    return self.vectors[self._place(word)]

  def similarity(self, first: str, second: str) -> float:
    """The cosine of two words' vectors: 1 of the same direction, 0 of nothing in common."""
    return float(self._units[self._place(first)] @ self._units[self._place(second)])

  def most_similar(
    self, words: str | Sequence[str], topn: int = 10, negative: str | Sequence[str] = ()
  ) -> list[tuple[str, float]]:
    """The words whose vectors are nearest, by the cosine, to the mean of those of `words`, those of `negative` taken
    off, each at length 1; none of the words that are given.

    Raises:
      UserError: a word that is not there, none at all, or a topn that is no whole number above 0.
    """
    groups = [[given] if isinstance(given, str) else list(given) for given in (words, negative)]
    if isinstance(topn, bool) or not isinstance(topn, int | np.integer) or topn < 1:
      raise UserError(f"topn={topn!r}: expected a whole number above 0.")
    if not any(groups):
      raise UserError("most_similar: name at least one word, such as most_similar('row').")
    plus, minus = ([self._place(word) for word in group] for group in groups)
    query = self._units[plus].sum(0) - self._units[minus].sum(0)
    places, cosines = nearest(self._units, query[None], np.array([plus + minus]), int(topn))
    return [(self.words[i], float(cosine)) for i, cosine in zip(places[0], cosines[0], strict=True)]

  def analogy(self, a: str, b: str, c: str, topn: int = 10) -> list[tuple[str, float]]:
    """What c is to, as a is to b: the words nearest to b - a + c (3CosAdd)."""
    return self.most_similar([b, c], topn, [a])

  def save(self, path: str | os.PathLike[str]) -> Path:
    """Writes word2vec's text format, whole or not at all: a line of two numbers, how many words and how many numbers
    each, then a line for each word. gensim's KeyedVectors.load_word2vec_format reads it, and so does `sslx.words`.

    Raises:
      UserError: the file cannot be written.
    """
    numbers = " ".join(["%.9g"] * self.vectors.shape[1])  # nine digits: all that an f32 has
    lines = (f"{word} {numbers % tuple(row)}" for word, row in zip(self.words, self.vectors.tolist(), strict=True))
    text = "\n".join([f"{len(self)} {self.vectors.shape[1]}", *lines, ""])
    try:
      records.write_text(path, text)
    except OSError as error:
      raise UserError(f"{path}: cannot be written ({error.strerror or error}); what was there is kept.") from error
    return Path(path)

  @functools.cached_property
  def _places(self) -> dict[str, int]:
    return {word: place for place, word in enumerate(self.words)}

  @functools.cached_property
  def _units(self) -> np.ndarray:
    return unit(self.vectors)

  def _place(self, word: str) -> int:
    if not isinstance(word, str):
      raise UserError(f"{cut(repr(word), 60)}: expected a word, as a text.")
    if word not in self._places:
      near = difflib.get_close_matches(word, self.words, 3) if len(word) < 100 else []
      hint = f"; near it are {', '.join(map(repr, near))}" if near else ""
      raise UserError(f"{cut(repr(word), 60)}: is not among these {len(self):,} words{hint}.")
    return self._places[word]


@public
def words(source: Run | str | os.PathLike[str]) -> WordVectors:
  """The vectors of words that a run has learnt, or that a file holds, with their neighbours and analogies.

  Example:
    >>> vectors = sslx.words("vectors.txt")
    >>> vectors.most_similar("row")

  Args:
    source: a Run of text, such as one of the method skipgram, the directory of one, or a file of word2vec's text
      format.

  Returns:
    WordVectors, with .most_similar(word), .analogy(a, b, c), .similarity(a, b), .words, .vectors f32 [n,d], and
    .save(path), which writes word2vec's text format.

  Raises:
    UserError: no such file or directory, a run that has no vectors of words, or a file of another format.
  """
  if isinstance(source, Run):
    return _of(source.meta, source.params[ENCODER], "this run")
  path = Path(source)
  if path.is_dir():
    from sslx.training import checkpoint

    tree, saved = checkpoint.restore_encoder(path)
    return _of(Meta.read(saved), tree["params"], str(path))
  if not path.exists():
    raise UserError(f"{path}: there is no such file, nor directory of a run.")
  return read(path)


def table(params: dict) -> np.ndarray | None:
  """The vectors f32 [V,d] of an encoder's params, a row for each id of its vocabulary; None where it has none."""
  return next((np.asarray(params[block]["table"]) for block in BLOCKS if "table" in params.get(block, {})), None)


def _of(meta: Meta, params: dict, name: str) -> WordVectors:
  vectors = table(params)
  if meta.vocabulary is None or vectors is None:
    raise UserError(
      f"{name}: was made by {meta.config.method} on {meta.config.encoder}, which has no vectors of words; give one of "
      "skipgram or cbow, or of the encoder words."
    )
  return WordVectors(meta.vocabulary.words, vectors[FIRST:])


def read(path: Path) -> WordVectors:
  """The vectors in a file of word2vec's text format.

  Raises:
    UserError: it is none; the line that is wrong is told.
  """
  try:
    with path.open(encoding="utf-8", newline="\n") as file:
      return _read(path, file)
  except OSError as error:
    raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from error
  except UnicodeDecodeError:
    raise UserError(f"{path}: is no text in UTF-8; of word2vec's formats it has to be the text one.") from None


def _read(path: Path, lines: Iterator[str]) -> WordVectors:
  header = next(lines, "").split()
  if len(header) != 2 or not all(part.isdecimal() and len(part) < 12 for part in header):
    raise UserError(
      f"{path}: line 1 is no head of word2vec's text format; it has to be two numbers, how many words and how many "
      "numbers each."
    )
  count, width = map(int, header)
  known: dict[str, np.ndarray] = {}
  for number, line in enumerate(lines, 2):
    word, *values = line.rstrip("\n").rstrip(" ").split(" ")
    try:
      vector = np.array(values, np.float32)
    except ValueError:
      raise UserError(f"{path}: line {number} has something else than numbers behind its word.") from None
    if not word or vector.shape != (width,) or not np.isfinite(vector).all():
      raise UserError(f"{path}: line {number} is not a word and {width} finite numbers, as line 1 says.")
    if word in known:
      raise UserError(f"{path}: line {number} has the word {cut(repr(word), 60)} a second time.")
    known[word] = vector
  if len(known) != count or not known or not width:
    raise UserError(
      f"{path}: has {len(known):,} words, and line 1 says {count:,}, of {width} numbers; give the whole file."
    )
  return WordVectors(tuple(known), np.stack([*known.values()]))
