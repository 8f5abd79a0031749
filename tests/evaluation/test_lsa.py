"""Latent semantic analysis against the dense decomposition, and as a mode."""

import numpy as np
import pytest
from pretexts import WORDS, texts

from sslx import nn
from sslx.data.types import Split, text_classes
from sslx.evaluation.lsa import bags, check, lsa
from sslx.evaluation.modes import check_modes, controls
from sslx.types import UserError

X = texts([12, 3, 0, 20, 9, 14, 30, 17, 8, 11], 30)
EXTRA = texts([5, 6, 7], 30, seed=1)


def dataset():
  y = np.arange(10, dtype=np.int32) % 2
  return text_classes("toy", WORDS, ("a", "b"), Split(X, y), Split(X[:4], y[:4]), Split(EXTRA, None))


def test_bags_are_what_raw_reads():
  dense = np.asarray(nn.weighed(WORDS).spectrogram(X))
  np.testing.assert_allclose(bags(X, WORDS, nn.WORDS).toarray(), dense, rtol=1e-5, atol=1e-7)
  np.testing.assert_allclose(bags(X, WORDS, 7).toarray(), nn.build("bag:words=7+mlp", vocabulary=WORDS).spectrogram(X),
                             rtol=1e-5, atol=1e-7)  # fmt: skip


def test_directions_are_those_of_the_svd_largest_first():
  """Of all texts that training may see; features of the test split are its bags along them."""
  read, everything = lsa(dataset(), 4), np.concatenate([X, EXTRA])
  dense = np.asarray(nn.weighed(WORDS).spectrogram(everything))
  _, _, directions = np.linalg.svd(dense)
  expected = dense @ directions[:4].T
  made = np.asarray(read(everything))
  np.testing.assert_allclose(np.abs(made), np.abs(expected), rtol=1e-3, atol=1e-5)


def test_a_small_set_has_fewer_directions():
  assert lsa(dataset())(X).shape == (10, 12)
  with pytest.raises(UserError, match="--modes=lsa:13: 13 texts of 60 words have 12 directions at most"):
    lsa(dataset(), 13)


def test_it_stands_in_tables_of_text():
  assert controls(["frozen"], dataset()) == ("raw", "lsa", "random")
  assert check_modes(["lsa:3"], ("vectors",), modality="text") == ("lsa:3",)
  for wrong in ("lsa:0", "lsa:x"):
    with pytest.raises(UserError, match="write lsa"):
      check_modes([wrong], ("vectors",), modality="text")
  with pytest.raises(UserError, match="does not read image data"):
    check_modes(["lsa"], ("vectors",))
  check("", ())
