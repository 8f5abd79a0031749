"""What vectors of words are worth: analogies, likeness as people see it, nearest neighbours, and pairs in the plane.

All of it reads vectors f32 [V,d], a row for each id of a vocabulary, and compares words by the cosine of theirs. The
answer to an analogy, a is to b as c is to d, is the word x of the vocabulary, other than a, b and c, with the largest

    3CosAdd = cos(x, b) - cos(x, a) + cos(x, c),    3CosMul = cos'(x, b) cos'(x, c) / (cos'(x, a) + .001),

where cos' = (cos + 1) / 2 is not negative. Mikolov, Yih, Zweig: Linguistic Regularities in Continuous Space Word
Representations, NAACL 2013; Levy, Goldberg: Linguistic Regularities in Sparse and Explicit Word Representations, CoNLL
2014. A question with a word that the vocabulary lacks is left out, and counted.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslx.data.word_tests import SYNTACTIC, Question
from sslx.ops.text import FIRST, Vocabulary
from sslx.tasks.linear import unit

EPSILON = 1e-3
SCORES_AT_ONCE = 1 << 22  # numbers of a block of questions times words: what is compared at a time


class Section(NamedTuple):
  """How many analogies of a kind are right."""

  name: str
  group: str
  """semantic or syntactic."""
  questions: int
  inside: int
  """Those whose four words the vocabulary holds, which are asked."""
  add: int
  """Of these, right by 3CosAdd."""
  mul: int
  """And by 3CosMul."""


class Likeness(NamedTuple):
  """How vectors agree with people on how alike two words are."""

  pairs: int
  inside: int
  """Those whose two words the vocabulary holds, which are asked."""
  spearman: float | None
  """Spearman's rank correlation; None of fewer than three pairs, or where all are alike."""
  low: float | None = None
  """Its 95% interval; None of fewer than four pairs."""
  high: float | None = None


def nearest(units: np.ndarray, queries: np.ndarray, excluded: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
  """(places i64 [Q,k], cosines f32 [Q,k]) of the k <= count vectors nearest to each query, the nearest first, and of
  equally near ones the first.

  units: f32 [n,d] of length 1; queries: f32 [Q,d], of any length; excluded: i32 [Q,m], places that are no answer.
  """
  cosines = unit(queries) @ units.T
  np.put_along_axis(cosines, excluded, -np.inf, 1)
  most = max(0, len(units) - max((len(set(row)) for row in excluded.tolist()), default=0))
  places = np.argsort(-cosines, axis=1, kind="stable")[:, : min(count, most)]
  return places, np.take_along_axis(cosines, places, 1)


def neighbours(
  vectors: np.ndarray, vocabulary: Vocabulary, words: Sequence[str], count: int = 5
) -> dict[str, list[tuple[str, float]]]:
  """The nearest words of each of `words` that the vocabulary holds, with their cosines."""
  known = [word for word in words if word in vocabulary.ids]
  units = unit(vectors)[FIRST:]
  places = vocabulary.encode(known) - FIRST
  found, cosines = nearest(units, units[places], places[:, None], count)
  return {
    word: [(vocabulary.words[i], float(cosine)) for i, cosine in zip(*row, strict=True)]
    for word, *row in zip(known, found, cosines, strict=True)
  }


# ---- analogies -------------------------------------------------------------------------------------------------------


def group(section: str) -> str:
  """What a section asks for, by its name: syntactic (plural, past and so on) or semantic."""
  return "syntactic" if section.startswith(SYNTACTIC) else "semantic"


def analogies(
  vectors: np.ndarray, vocabulary: Vocabulary, questions: Mapping[str, Sequence[Question]]
) -> list[Section]:
  """How many questions of each section are right; see the module."""
  units, sections = unit(vectors)[FIRST:], []
  for name, asked in questions.items():
    ids = vocabulary.encode([word for question in asked for word in question]).reshape(-1, 4)
    inside = ids[(ids >= FIRST).all(1)] - FIRST
    add, mul = solved(units, inside[:, :3])
    right = [int((answer == inside[:, 3]).sum()) for answer in (add, mul)]
    sections.append(Section(name, group(name), len(asked), len(inside), *right))
  return sections


def totals(sections: Sequence[Section]) -> list[Section]:
  """The sums of each group that there is, and of all."""
  groups = [name for name in ("semantic", "syntactic") if any(section.group == name for section in sections)]
  parts = [(name, [section for section in sections if section.group == name]) for name in groups]
  return [
    Section(name, name, *(sum(counts) for counts in zip(*(section[2:] for section in part), strict=True)))
    for name, part in [*parts, ("all", sections)]
    if part
  ]


def solved(units: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(by 3CosAdd, by 3CosMul), i64 [Q]: which of the vectors f32 [n,d], of length 1, answers each question i32 [Q,3], a
  is to b as c is to what. Of equally good ones it is the first.
  """
  add, mul = np.zeros(len(asked), np.int64), np.zeros(len(asked), np.int64)
  block = max(1, SCORES_AT_ONCE // len(units))
  for start in range(0, len(asked), block):
    part = slice(start, start + block)
    words, places = np.unique(asked[part], return_inverse=True)  # few: questions of a section share their words
    cosines = units[words] @ units.T
    a, b, c = places.reshape(-1, 3).T
    scores = cosines[b] - cosines[a] + cosines[c]
    np.put_along_axis(scores, asked[part], -np.inf, 1)
    add[part] = scores.argmax(1)
    cosines = np.maximum((cosines + 1) / 2, 0)  # below 0 by rounding
    scores = cosines[b] * cosines[c] / (cosines[a] + EPSILON)
    np.put_along_axis(scores, asked[part], -np.inf, 1)
    mul[part] = scores.argmax(1)
  return add, mul


# ---- likeness and pairs ----------------------------------------------------------------------------------------------


def likeness(vectors: np.ndarray, vocabulary: Vocabulary, pairs: Sequence[tuple[str, str, float]]) -> Likeness:
  """Spearman's correlation of the cosines of pairs of words with what people said of them, over the pairs inside the
  vocabulary. Its interval is Fisher's, whose standard error is that of ranks: sqrt((1 + r^2 / 2) / (n - 3)).

  Bonett, Wright: Sample size requirements for estimating Pearson, Kendall and Spearman correlations, 2000.
  """
  from scipy.stats import spearmanr

  ids = vocabulary.encode([word for first, second, _ in pairs for word in (first, second)]).reshape(-1, 2)
  known = (ids >= FIRST).all(1)
  told = np.array([value for *_, value in pairs], np.float64)[known]
  units, (first, second) = unit(vectors), ids[known].T
  cosines = (units[first] * units[second]).sum(1)
  n = len(told)
  if n < 3 or np.ptp(told) == 0 or np.ptp(cosines) == 0:
    return Likeness(len(pairs), n, None)
  r = float(spearmanr(cosines, told)[0])  # type: ignore[arg-type]
  if n < 4:
    return Likeness(len(pairs), n, r)
  middle, half = np.arctanh(np.clip(r, -1 + 1e-9, 1 - 1e-9)), 1.96 * np.sqrt((1 + r**2 / 2) / (n - 3))
  return Likeness(len(pairs), n, r, float(np.tanh(middle - half)), float(np.tanh(middle + half)))


def plane(vectors: np.ndarray, vocabulary: Vocabulary, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
  """f64 [n,2,2]: the two words of each pair, which the vocabulary holds, on the two principal axes of all their unit
  vectors.
  """
  ids = vocabulary.encode([word for pair in pairs for word in pair])
  points = unit(vectors)[ids].astype(np.float64)
  points -= points.mean(0)
  _, _, axes = np.linalg.svd(points, full_matrices=False)
  points = points @ axes[:2].T
  return np.pad(points, ((0, 0), (0, 2 - points.shape[1]))).reshape(-1, 2, 2)
