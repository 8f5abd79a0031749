"""What is said of a run's length, and of a history that has not come to rest."""

import numpy as np
import pytest

from sslx.pretext import METHODS, build
from sslx.training import length

STEPS = 200
PLACES = np.arange(20, STEPS + 1, 20)


def history(**series) -> list[dict]:
  """Rows in which every other is watched."""
  rows = []
  for i, step in enumerate(PLACES):
    rows += [{"step": int(step) - 10, "loss": 1.0}]
    rows += [{"step": int(step), "heldout_loss": 1.0, **{f"heldout_{n}": float(v[i]) for n, v in series.items()}}]
  return rows


def test_steps_are_told_as_epochs():
  assert length.told(1842, 64, 59_000) == "1,842 steps of 64, 2 epochs of 59,000 examples"
  assert length.told(1842, 64, 6300) == "1,842 steps of 64, 18.8 epochs of 6,300 examples"
  assert length.told(6, 40, 40) == "6 steps of 40, 6 epochs of 40 examples"
  assert length.told(1380, 256, 900) == "1,380 steps of 256, 460 epochs of 900 examples"


@pytest.mark.parametrize(("name", "unit"), [("knn_accuracy", 1.0), ("rotation_accuracy", 1.0), ("psnr", 10.0)])
def test_a_metric_that_still_rises_is_told(name, unit):
  """A straight line brings half of its rise in the second half of the run; one that saturates next to nothing."""
  straight, saturated = 0.3 + 0.5 * PLACES / STEPS, 0.8 - 0.5 * np.exp(-PLACES / 25)
  (sentence,) = length.doubts(history(**{name: unit * straight}), STEPS, {})
  assert f"{name.replace('_', ' ')} still rises steeply, from {unit * 0.55:.3g} halfway to {unit * 0.8:.3g}" in sentence
  assert "more --steps than 200" in sentence
  assert length.doubts(history(**{name: unit * saturated}), STEPS, {}) == []


def test_what_is_no_rise_is_not_told():
  noise = 0.8 + 0.01 * np.random.default_rng(0).standard_normal(len(PLACES))
  falling = 0.9 - 0.4 * PLACES / STEPS
  late = np.where(
    PLACES > 150, 0.815, 0.8
  )  # all of its rise comes late, but it is within the noise of a thousand images
  straight = 0.3 + 0.5 * PLACES / STEPS
  for series in ({"knn_accuracy": noise}, {"knn_accuracy": falling}, {"knn_accuracy": late},
                 {"discriminator_accuracy": straight}, {"feature_rank": 100 * straight}):  # fmt: skip
    assert length.doubts(history(**series), STEPS, {}) == []
  assert length.doubts(history(knn_accuracy=straight)[-10:], STEPS, {}) == []  # five points are no curve
  assert length.doubts(history(knn_accuracy=straight), STEPS + 1, {}) == []  # nor is an unfinished run
  assert length.doubts([{"step": STEPS, "loss": 1.0}], STEPS, {}) == []  # nor one that nothing watched


def test_a_task_that_is_hardly_learnt_is_told():
  """A tenth of the way from guessing to perfection is the limit, here 0.325."""
  for last, said in ((0.32, True), (0.33, False)):
    flat = np.full(len(PLACES), last)
    sentences = length.doubts(history(rotation_accuracy=flat), STEPS, {"rotation_accuracy": 0.25})
    assert bool(sentences) == said
  assert (
    "rotation accuracy ends at 0.32, and guessing gives 0.25"
    in length.doubts(history(rotation_accuracy=np.full(len(PLACES), 0.32)), STEPS, {"rotation_accuracy": 0.25})[0]
  )


@pytest.mark.parametrize(
  ("method", "hp", "chance"),
  [
    ("rotation", {}, {"rotation_accuracy": 0.25}),
    ("jigsaw", {"permutations": 20}, {"jigsaw_accuracy": 0.05}),
    ("context_prediction", {}, {"position_accuracy": 0.125}),
  ],
)
def test_methods_know_what_guesses_reach(method, hp, chance):
  from sslx import nn
  from sslx.tasks import TASKS

  made = build(method, nn.build(METHODS[method].encoder), hp, TASKS["classification"]("ab"))
  assert made.chance == chance
