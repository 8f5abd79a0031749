"""What vectors of words are asked, against loops over words: analogies, likeness, neighbours, pairs in the plane."""

import numpy as np
import pytest
from scipy import stats

from sslx.evaluation import words
from sslx.ops.text import FIRST, Vocabulary

N, D = 40, 6


def vocabulary(names) -> Vocabulary:
  counts = np.arange(len(names), 0, -1)
  return Vocabulary(tuple(names), counts, counts, len(names))


def letters(n: int) -> list[str]:
  return [f"{'abcdefghij'[i // 10]}{'abcdefghij'[i % 10]}" for i in range(n)]


@pytest.fixture(scope="module")
def known() -> Vocabulary:
  return vocabulary(letters(N))


@pytest.fixture(scope="module")
def vectors(known) -> np.ndarray:
  return np.random.default_rng(0).normal(size=(known.size, D)).astype(np.float32)


def cosine(x, y) -> float:
  return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def by_loop(vectors, known, question, formula) -> str:
  """The answer to one question, a word at a time."""
  of = {word: vectors[i] for word, i in known.ids.items()}
  a, b, c, _ = question
  scores = {x: formula(cosine(of[x], of[a]), cosine(of[x], of[b]), cosine(of[x], of[c])) for x in known.words}
  return max((x for x in known.words if x not in question[:3]), key=lambda x: scores[x])


def add(a, b, c):
  return b - a + c


def mul(a, b, c):
  return ((b + 1) / 2) * ((c + 1) / 2) / ((a + 1) / 2 + 0.001)


def test_answers_are_those_of_the_formulas(known, vectors, monkeypatch):
  rng = np.random.default_rng(1)
  questions = [tuple(rng.choice(known.words, 4, replace=False)) for _ in range(60)]
  expected = {how.__name__: [by_loop(vectors, known, question, how) for question in questions] for how in (add, mul)}
  assert expected["add"] != expected["mul"]
  for block in (1 << 22, 7 * N, 1):  # all at once, in uneven blocks, one by one
    monkeypatch.setattr(words, "SCORES_AT_ONCE", block)
    asked = known.encode([word for question in questions for word in question[:3]]).reshape(-1, 3) - FIRST
    made = words.solved(words.unit(vectors)[FIRST:], asked)
    for answers, name in zip(made, ("add", "mul"), strict=True):
      assert [known.words[i] for i in answers] == expected[name]
  right = {name: sum(a == q[3] for a, q in zip(answers, questions, strict=True)) for name, answers in expected.items()}
  (section,) = words.analogies(vectors, known, {"some": questions})
  assert section == ("some", "semantic", 60, 60, right["add"], right["mul"])


def test_the_words_that_are_given_are_no_answers():
  """b is nearest to b - a + c nearly always: here it would be the answer to each question."""
  known = vocabulary(["a", "b", "c", "d"])
  vectors = np.zeros((known.size, 3), np.float32)
  vectors[FIRST:] = [[1, 0.1, 0], [1, 0, 0.1], [1, 0.1, 0.1], [0.2, -1, 0.3]]
  (section,) = words.analogies(
    vectors, known, {"x": [("a", "b", "c", "d"), ("a", "b", "c", "c"), ("a", "b", "c", "b")]}
  )
  assert (section.inside, section.add, section.mul) == (3, 1, 1)


def test_of_equal_answers_the_more_frequent_word_counts():
  known = vocabulary(["a", "b", "c", "d", "e"])
  vectors = np.zeros((known.size, 2), np.float32)
  vectors[FIRST:] = [[1, 0], [0, 1], [1, 0], [0, 2], [0, 3]]
  made = words.analogies(vectors, known, {"x": [("a", "b", "c", "d")], "y": [("a", "b", "c", "e")]})
  assert [(each.add, each.mul) for each in made] == [(1, 1), (0, 0)]


def test_planted_relations_are_all_found_and_random_ones_are_not():
  rng = np.random.default_rng(2)
  stems, relation = rng.normal(size=(12, 90)), 1.5 * rng.normal(size=90)
  names = [f"{stem}{ending}" for stem in letters(12) for ending in ("", "s")]
  known = vocabulary(names)
  vectors = np.zeros((known.size, 90), np.float32)
  vectors[FIRST::2], vectors[FIRST + 1 :: 2] = stems, stems + relation
  pairs = [(stem, f"{stem}s") for stem in letters(12)]
  questions = {"gram-s": [(a, b, c, d) for a, b in pairs for c, d in pairs if a != c]}
  (section,) = words.analogies(vectors, known, questions)
  assert section == ("gram-s", "syntactic", 132, 132, 132, 132)
  (section,) = words.analogies(rng.normal(size=vectors.shape), known, questions)
  assert max(section.add, section.mul) < 30


def test_questions_outside_of_the_vocabulary_are_counted_and_not_asked(known, vectors):
  asked = {
    "family": [("aa", "ab", "ac", "ad"), ("aa", "zz", "ac", "ad")],
    "gram1": [("zz", "zz", "zz", "zz")],
    "gram2": [("aa", "ab", "ba", "bb")],
  }
  sections = words.analogies(vectors, known, asked)
  assert [each[:4] for each in sections] == [
    ("family", "semantic", 2, 1), ("gram1", "syntactic", 1, 0), ("gram2", "syntactic", 1, 1),
  ]  # fmt: skip
  totals = words.totals(sections)
  assert [each[:4] for each in totals] == [
    ("semantic", "semantic", 2, 1), ("syntactic", "syntactic", 2, 1), ("all", "all", 4, 2),
  ]  # fmt: skip
  assert totals[-1].add == sum(section.add for section in sections)
  assert [each.name for each in words.totals(sections[:1])] == ["semantic", "all"]
  assert words.totals([]) == []


def test_rows_of_what_is_no_word_change_nothing(known, vectors):
  questions = {"x": [tuple(known.words[i : i + 4]) for i in range(0, 36)]}
  others = vectors.copy()
  others[:FIRST] = vectors[FIRST : 2 * FIRST]
  assert words.analogies(others, known, questions) == words.analogies(vectors, known, questions)


# ---- likeness --------------------------------------------------------------------------------------------------------


def circle(*degrees) -> np.ndarray:
  angles = np.deg2rad(degrees)
  return np.concatenate([np.ones((FIRST, 2)), np.stack([np.cos(angles), np.sin(angles)], 1)]).astype(np.float32)


def test_spearman_is_one_where_people_order_pairs_alike_and_minus_one_the_other_way_round():
  known, vectors = vocabulary(["a", "b", "c", "d", "e"]), circle(0, 10, 30, 60, 100)
  pairs = [("a", "b", 9.0), ("a", "c", 8.5), ("a", "d", 1.0), ("a", "e", 0.5)]
  made = words.likeness(vectors, known, pairs)
  assert (made.pairs, made.inside) == (4, 4)
  assert made.spearman == pytest.approx(1)
  assert words.likeness(vectors, known, [(a, b, -y) for a, b, y in pairs]).spearman == pytest.approx(-1)


def test_spearman_is_scipys_over_the_pairs_inside_and_its_interval_covers_it(known, vectors):
  rng = np.random.default_rng(3)
  pairs = [(*rng.choice(known.words, 2, replace=False), round(float(rng.uniform(0, 10)))) for _ in range(50)]
  outside = [("zz", "aa", 5.0), ("aa", "yy", 1.0)]
  made = words.likeness(vectors, known, [outside[0], *pairs, outside[1]])
  assert (made.pairs, made.inside) == (52, 50)
  cosines = [round(cosine(vectors[known.ids[a]], vectors[known.ids[b]]), 5) for a, b, _ in pairs]  # of a, b and b, a
  expected = stats.spearmanr(cosines, [y for *_, y in pairs]).statistic
  assert made.spearman == pytest.approx(expected, abs=1e-6)
  half = 1.96 * np.sqrt((1 + expected**2 / 2) / 47)
  middle = np.arctanh(expected)
  assert (made.low, made.high) == pytest.approx((np.tanh(middle - half), np.tanh(middle + half)), abs=1e-6)


@pytest.mark.parametrize(
  ("pairs", "inside"),
  [
    ([], 0), ([("zz", "yy", 1.0)], 0), ([("aa", "ab", 1.0), ("aa", "ac", 2.0)], 2),
    ([("aa", "ab", 1.0), ("aa", "ac", 1.0), ("ab", "ac", 1.0)], 3),
  ],
)  # fmt: skip
def test_what_has_no_order_has_no_correlation(pairs, inside, known, vectors):
  assert words.likeness(vectors, known, pairs) == (len(pairs), inside, None, None, None)


# ---- neighbours, pairs in the plane ----------------------------------------------------------------------------------


def test_neighbours_are_the_largest_cosines_without_the_word_itself(known, vectors):
  made = words.neighbours(vectors, known, ["ab", "zz", "ba"], 4)
  assert [*made] == ["ab", "ba"]
  for word, near in made.items():
    others = [other for other in known.words if other != word]
    others.sort(key=lambda other: -cosine(vectors[known.ids[word]], vectors[known.ids[other]]))
    assert [other for other, _ in near] == others[:4]
    for other, value in near:
      assert value == pytest.approx(cosine(vectors[known.ids[word]], vectors[known.ids[other]]), abs=1e-5)
  assert len(words.neighbours(vectors, known, ["ab"], 1000)["ab"]) == N - 1


def test_pairs_lie_on_their_principal_axes(known, vectors):
  pairs = [("aa", "ab"), ("ac", "ad"), ("ba", "bb"), ("bc", "bd")]
  made = words.plane(vectors, known, pairs)
  assert made.shape == (4, 2, 2)
  points = np.stack([vectors[known.ids[word]] for pair in pairs for word in pair]).astype(np.float64)
  points /= np.linalg.norm(points, axis=1, keepdims=True)
  values, axes = np.linalg.eigh(np.cov(points.T))
  flat = made.reshape(-1, 2)
  np.testing.assert_allclose(flat.var(0, ddof=1), values[::-1][:2], rtol=1e-5)
  expected = (points - points.mean(0)) @ axes[:, ::-1][:, :2]
  np.testing.assert_allclose(np.abs(flat), np.abs(expected), atol=1e-5)


def test_pairs_of_vectors_of_one_dimension_lie_on_a_line(known):
  made = words.plane(np.arange(1, known.size + 1, dtype=np.float32)[:, None], known, [("aa", "ab"), ("ac", "ad")])
  assert made.shape == (2, 2, 2)
  assert not made[..., 1].any()
