"""What every modality of MODALITIES promises. A new one adds a line of raw examples to RAW."""

import jax
import numpy as np
import pytest

from sslx.data.lazy import LazyArray
from sslx.modalities import MODALITIES
from sslx.ops.text import Vocabulary

RNG = np.random.default_rng(0)
RAW = {  # modality -> raw x
  "image": RNG.integers(0, 256, (5, 8, 6, 3), dtype=np.uint8),
  "sound": RNG.integers(-32767, 32768, (5, 900), dtype=np.int16),
  "text": RNG.integers(0, 7, (5, 40), dtype=np.int32),
  "video": RNG.integers(0, 256, (5, 9, 8, 6, 3), dtype=np.uint8),
}
WORDS = Vocabulary(("the", "of", "naive", "row"), np.array([9, 7, 5, 5]), np.array([5, 4, 3, 2]), 5)
MEANING = {"sound": 8000, "text": WORDS}


@pytest.mark.parametrize("name", MODALITIES)
def test_a_modality_prepares_and_draws(name):
  """Floats or ids, the same under jit and in any batch, once and no more; pictures that a report can show."""
  modality, x = MODALITIES[name], RAW[name]
  assert modality.name == name
  prepared = np.asarray(modality.prepare(jax.numpy.asarray(x)))
  assert prepared.dtype in (np.float32, np.int32)
  assert len(prepared) == len(x)
  np.testing.assert_array_equal(jax.jit(modality.prepare)(x), prepared)
  np.testing.assert_array_equal(modality.prepare(jax.numpy.asarray(x[2:3]))[0], prepared[2])
  np.testing.assert_array_equal(modality.prepare(jax.numpy.asarray(prepared)), prepared)
  lazy = LazyArray(x.shape, lambda rows: x[rows], x.dtype)
  for raw in (x, lazy[np.arange(5)]):
    pictures = modality.draw(raw, MEANING.get(name, 0))
    assert pictures.ndim == 4
    assert len(pictures) == len(x)
    assert pictures.shape[-1] in (1, 3)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
