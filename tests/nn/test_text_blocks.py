"""Blocks that read text, against loops over its words; what padding must not change."""

import jax
import numpy as np
import pytest

from sslx import nn
from sslx.modalities import MODALITIES
from sslx.ops.text import FIRST, MASK, PAD, UNKNOWN, Vocabulary
from sslx.types import UserError

VOCABULARY = Vocabulary(tuple("abcdefgh"), np.arange(80, 0, -10), np.array([30, 30, 20, 9, 8, 7, 2, 1]), 40)
KEY = jax.random.key(0)
TEXTS = np.array([[3, 4, 3, 9, UNKNOWN, PAD], [10, 5, PAD, PAD, PAD, PAD], [PAD] * 6, [5, 5, 5, 5, 5, 5]], np.int32)


def outputs(spec, x):
  encoder = nn.build(spec, vocabulary=VOCABULARY)
  params, stats = nn.init(encoder, KEY, x)
  return encoder, params, nn.apply(encoder, params, stats, x)[0]


@pytest.mark.parametrize("weight", ["idf", "none"])
def test_a_bag_is_tf_idf_of_unit_length(weight):
  idf = VOCABULARY.idf if weight == "idf" else np.ones(VOCABULARY.size)
  for words in (8, 5):
    spec = f"bag:words={words},weight={weight}+mlp"
    bag = np.asarray(nn.build(spec, vocabulary=VOCABULARY).spectrogram(TEXTS))
    assert bag.shape == (4, words)
    for row, ids in zip(bag, TEXTS, strict=True):
      expected = np.zeros(words)
      for i in ids:
        if FIRST <= i < FIRST + words:
          expected[i - FIRST] += idf[i]
      np.testing.assert_allclose(row, expected / max(np.linalg.norm(expected), 1e-6), rtol=1e-5)


def test_raw_text_is_a_bag():
  represent = nn.Representation(nn.weighed(VOCABULARY), "flatten", {}, {}, MODALITIES["text"].prepare)
  np.testing.assert_allclose(represent(TEXTS), nn.build("bag+mlp", vocabulary=VOCABULARY).spectrogram(TEXTS), rtol=1e-6)


def test_pooled_word_vectors_are_the_tf_idf_weighted_mean():
  encoder, params, made = outputs("words:width=5", TEXTS)
  table = np.asarray(params["vectors"]["table"])
  assert not table[:FIRST].any()
  read = np.asarray(encoder.read(made, "pool", TEXTS))
  for row, ids in zip(read, TEXTS, strict=True):
    length = max((i + 1 for i, word in enumerate(ids) if word != PAD), default=0)
    expected = sum((VOCABULARY.idf[i] * table[i] for i in ids), np.zeros(5)) / max(length, 1)
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("spec", ["words:width=8", "transformer:width=8,depth=2,heads=2"])
def test_more_padding_changes_nothing(spec):
  encoder, params, made = outputs(spec, TEXTS)
  longer = np.pad(TEXTS, ((0, 0), (0, 5)))
  again = nn.apply(encoder, params, {}, longer)[0]
  for name in encoder.block_names:
    np.testing.assert_allclose(again[name][:, :6], made[name], rtol=2e-5, atol=1e-6)
    assert not np.asarray(made[name])[1, 2:].any()
  np.testing.assert_allclose(
    encoder.read(again, "pool", longer), encoder.read(made, "pool", TEXTS), rtol=2e-5, atol=1e-6
  )


def test_a_transformer_sees_hidden_words_and_their_order():
  encoder, params, _ = outputs("transformer:width=8,depth=1,heads=2", TEXTS)

  def read(*ids):
    x = np.array([ids], np.int32)
    return np.asarray(encoder.read(nn.apply(encoder, params, {}, x)[0], "pool", x))

  assert np.abs(read(3, 4, 5) - read(5, 4, 3)).max() > 1e-3
  assert np.abs(read(3, MASK, 5) - read(3, 4, 5)).max() > 1e-3


@pytest.mark.parametrize(
  ("spec", "says"),
  [
    ("bag+conv", "reads images, and a bag of words is none"),
    ("bag+words", "reads ids of words itself"),
    ("mel+transformer", "reads ids of words itself"),
    ("transformer:width=10,heads=3", "multiple of 4 and of the heads"),
    ("bag:words=0+mlp", "words must be positive"),
  ],
)
def test_encoders_that_make_no_sense(spec, says):
  with pytest.raises(UserError, match=says):
    nn.build(spec, vocabulary=VOCABULARY)


def test_an_encoder_gets_the_front_that_text_needs():
  assert nn.suited("mlp:code=5", "text") == "bag+mlp:code=5"
  assert nn.suited("words", "text") == "words"
  assert nn.suited("bag:words=9+mlp", "text") == "bag:words=9+mlp"
  assert nn.build("words", vocabulary=VOCABULARY) is nn.build("words", vocabulary=Vocabulary.read(VOCABULARY.to_json()))
