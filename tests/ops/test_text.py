"""What ids of words mean, and the vocabulary that tells it."""

import jax.numpy as jnp
import numpy as np
import pytest

from sslx.ops import text
from sslx.ops.text import FIRST, MASK, PAD, UNKNOWN, Vocabulary

WORDS = Vocabulary(("the", "of", "naïve", "don't"), np.array([9, 7, 5, 4]), np.array([5, 4, 3, 1]), 5)


def test_words_and_ids_are_each_others():
  ids = WORDS.encode(["of", "nothing", "the"])
  np.testing.assert_array_equal(ids, [FIRST + 1, UNKNOWN, FIRST])
  assert ids.dtype == np.int32
  assert WORDS.decode([*ids, MASK, PAD]) == ["of", "?", "the", "_"]
  assert [WORDS.ids[word] for word in WORDS.words] == list(range(FIRST, WORDS.size))


def test_a_vocabulary_survives_json_and_is_what_it_holds():
  again = Vocabulary.read(WORDS.to_json())
  assert (again, hash(again)) == (WORDS, hash(WORDS))
  assert again != Vocabulary(WORDS.words, WORDS.counts, WORDS.texts, 6)
  assert again != Vocabulary(WORDS.words, WORDS.counts + 1, WORDS.texts, 5)
  assert Vocabulary.read(text.NO_WORDS.to_json()) == text.NO_WORDS


def test_idf_is_of_texts_and_zero_of_what_is_no_word():
  np.testing.assert_allclose(WORDS.idf[:FIRST], 0)
  np.testing.assert_allclose(WORDS.idf[FIRST:], [np.log(6 / (1 + n)) + 1 for n in (5, 4, 3, 1)], rtol=1e-6)


@pytest.mark.parametrize(("row", "expected"), [([3, 4, 0, 0], 0.5), ([0, 0, 0, 0], 0.25), ([3, 0, 1, 0], 0.75)])
def test_share_ends_at_the_last_word(row, expected):
  """A line's end inside a text is part of it."""
  assert float(text.share(jnp.asarray([row]))[0]) == expected
