"""What tests of skip-gram and CBOW share: a view made by hand, its windows by a loop, a method's loss and slopes."""

import jax
import numpy as np
from pretexts import WORDS

from sslx.ops.text import FIRST, PAD
from sslx.types import gathered

M, S, D = 32, 6, 8


def made_view(seed: int = 0) -> dict[str, np.ndarray]:
  """Two rows of few words, which stand there several times, in lines; the second one ends early."""
  rng = np.random.default_rng(seed)
  words = rng.choice(np.arange(FIRST, FIRST + 9, dtype=np.int32), (2, M), p=[0.4, *[0.075] * 8])
  line = np.sort(rng.integers(0, 5, (2, M)), 1).astype(np.int32)
  words[1, 20:], line[1, 20:] = PAD, -1
  negatives = rng.integers(FIRST, FIRST + 9, (2, S), dtype=np.int32)
  return {"words": words, "line": line, "window": rng.integers(1, 6, (2, M), dtype=np.int32), "negatives": negatives}


def tables(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
  """Input and output vectors of WORDS."""
  v, c = np.random.default_rng(seed).normal(size=(2, WORDS.size, D)).astype(np.float32)
  return v, c


def context_of(view: dict[str, np.ndarray], row: int, i: int) -> list[int]:
  """The places in a row that belong to the window of place i."""
  line, reach = view["line"][row], view["window"][row, i]
  return [j for j in range(M) if j != i and abs(j - i) <= reach and line[j] == line[i] >= 0]


def weight_of(view: dict[str, np.ndarray], often: int, *words: int) -> float:
  """What a pair of words counts: less where one of them stands more than `often` times in the view."""
  return min(1.0, *(often / np.count_nonzero(view["words"] == word) for word in words))


def sigmoid(z: float) -> float:
  return 1 / (1 + np.exp(-z))


def both(pretext, view, v, c):
  """(loss, metrics, gradient of the input vectors, gradient of the output vectors) by the method."""
  params = {"encoder": {"vectors": {"table": v}}, "context": {"table": c}}

  def loss(params):
    return pretext.loss(gathered(pretext, params, view), {"encoder": {}}, jax.random.key(0), view)

  (value, (_, metrics)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
  return value, metrics, grads["encoder"]["vectors"]["table"], grads["context"]["table"]
