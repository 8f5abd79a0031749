import pytest


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory):
  """A --data_dir in which MNIST has been prepared, once for the whole session."""
  from sslx import data

  path = tmp_path_factory.mktemp("tfds")
  data.load("mnist", str(path))
  return str(path)
