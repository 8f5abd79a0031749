"""CBOW against a loop over its places."""

import numpy as np
import pytest
from pretexts import build
from word_loops import D, S, both, context_of, made_view, sigmoid, tables, weight_of


@pytest.mark.parametrize(("window", "negatives"), [(5, 5), (2, 3)])
def test_loss_and_gradients_are_those_of_a_loop_over_places(window, negatives):
  pretext = build("cbow", f"words:width={D}", {"window": window, "negatives": negatives, "shared": S})
  view, (v, c) = made_view(), tables()
  view["line"][0, 7] = 99  # alone in its line: no context, and nothing to tell
  view["window"] = np.minimum(view["window"], window)
  total, places, dv, dc = 0.0, 0, np.zeros(v.shape), np.zeros(c.shape)
  for row, words in enumerate(view["words"]):
    for i, word in enumerate(words):
      around = [words[j] for j in context_of(view, row, i)]
      if not around:
        continue
      counts = np.mean([weight_of(view, 8, word, other) for other in around])
      places += counts
      h = np.mean([v[w].astype(float) for w in around], 0)
      for other, told, weight in [(word, 1, 1.0), *((n, 0, negatives / S) for n in view["negatives"][row])]:
        z = float(h @ c[other])
        weight *= counts
        total -= weight * np.log(sigmoid(z) if told else sigmoid(-z))
        slope = weight * (sigmoid(z) - told)
        dc[other] += slope * h
        for w in around:
          dv[w] += slope * c[other] / len(around)
  assert places < 52
  value, metrics, got_v, got_c = both(pretext, view, v, c)
  np.testing.assert_allclose(value, total, rtol=1e-5)
  np.testing.assert_allclose(metrics["nats"], total / places, rtol=1e-5)
  np.testing.assert_allclose(got_v, dv, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(got_c, dc, rtol=1e-4, atol=1e-4)
