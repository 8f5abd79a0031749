"""Skip-gram against a loop over its pairs."""

import numpy as np
import pytest
from pretexts import build
from word_loops import D, S, both, context_of, made_view, sigmoid, tables, weight_of

from sslx.types import Refusal, UserError

ENCODER = f"words:width={D}"


@pytest.mark.parametrize(("window", "negatives"), [(5, 5), (2, 3)])
def test_loss_and_gradients_are_those_of_a_loop_over_pairs(window, negatives):
  pretext = build("skipgram", ENCODER, {"window": window, "negatives": negatives, "shared": S})
  view, (v, c) = made_view(), tables()
  view["window"] = np.minimum(view["window"], window)
  total, pairs, dv, dc = 0.0, 0, np.zeros(v.shape), np.zeros(c.shape)
  for row, words in enumerate(view["words"]):
    for i, word in enumerate(words):
      for j in context_of(view, row, i):
        counts = weight_of(view, 6, word, words[j])
        pairs += counts
        for other, told, weight in [(words[j], 1, 1.0), *((n, 0, negatives / S) for n in view["negatives"][row])]:
          z = float(v[word].astype(float) @ c[other])
          weight *= counts
          total -= weight * np.log(sigmoid(z) if told else sigmoid(-z))
          slope = weight * (sigmoid(z) - told)
          dv[word] += slope * c[other]
          dc[other] += slope * v[word]
  value, metrics, got_v, got_c = both(pretext, view, v, c)
  np.testing.assert_allclose(value, total, rtol=1e-5)
  np.testing.assert_allclose(metrics["nats"], total / pairs, rtol=1e-5)
  np.testing.assert_allclose(got_v, dv, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(got_c, dc, rtol=1e-4, atol=1e-4)


def test_text_without_a_pair_has_no_loss():
  pretext, view, (v, c) = build("skipgram", ENCODER, {"shared": S}), made_view(), tables()
  view["line"] = np.broadcast_to(np.arange(32, dtype=np.int32), (2, 32))  # every word in a line of its own
  value, metrics, dv, dc = both(pretext, view, v, c)
  assert value == metrics["nats"] == 0
  assert not np.any(dv)
  assert not np.any(dc)


@pytest.mark.parametrize(
  ("hp", "why"),
  [
    ({"window": 0}, "window=0"),
    ({"negatives": 0}, "negatives=0"),
    ({"shared": 0}, "shared=0"),
    ({"sample": -1.0}, "sample=-1"),
  ],
)
@pytest.mark.parametrize("method", ["skipgram", "cbow"])
def test_settings_out_of_range(method, hp, why):
  with pytest.raises(UserError, match=why):
    build(method, ENCODER, hp)


@pytest.mark.parametrize("method", ["skipgram", "cbow"])
def test_other_encoders_are_refused(method):
  with pytest.raises(Refusal, match=f"--method={method}: .*--encoder=words"):
    build(method, "transformer")
