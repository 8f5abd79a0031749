"""A small batch, and an autoencoder's parameters for it."""

import pytest
from pretexts import KEY, TINY, make, make_batch


@pytest.fixture(scope="module")
def batch():
  return make_batch()


@pytest.fixture(scope="module")
def autoencoder(batch):
  return make("autoencode", TINY).init(KEY, batch)
