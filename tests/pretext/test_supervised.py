"""Supervised training: its start, the features and blocks that it trains, and labels that it needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, build, features, jitted, pixels, prepared

from sslx import losses, nn
from sslx.pretext.supervised import supervised
from sslx.tasks import TASKS
from sslx.types import UserError

TINY = "mlp:widths=6,code=4"


def make_batch():
  y = np.random.default_rng(1).integers(0, 3, 6, dtype=np.int32)
  return {"x": prepared(pixels(6, 6, 6, 1)), "y": y}


@pytest.fixture(scope="module")
def batch():
  return make_batch()


@pytest.mark.parametrize("classes", [3, 10])
def test_supervised_starts_with_every_class_equally_likely(batch, classes):
  pretext = jitted(build("supervised", TINY, classes=classes))
  params, state = pretext.init(KEY, batch)
  value, (_, metrics) = pretext.loss(params, state, KEY, pretext.transform(KEY, batch))
  assert value == pytest.approx(np.log(classes), rel=1e-6)
  assert metrics["accuracy"] == np.mean(batch["y"] == 0)


def test_supervised_trains_on_the_asked_features():
  spec, batch = "conv:widths=4-4,norm=batch", make_batch()
  task = TASKS["classification"](("a", "b", "c"))
  pretext = jitted(supervised(nn.build(spec), task, "block1:pool", ("block2",)))
  params, state = pretext.init(KEY, batch)
  assert params["head"]["Dense_0"]["kernel"].shape == (4, 3)
  params["head"]["Dense_0"]["kernel"] = params["head"]["Dense_0"]["kernel"] + np.eye(4, 3, dtype=np.float32)
  view = pretext.transform(KEY, batch)
  value, (after, _) = pretext.loss(params, state, KEY, view)
  # block1 is frozen: its features are those of evaluation
  logits = features(spec, params, state, batch["x"], "block1:pool") @ np.eye(4, 3, dtype=np.float32)
  np.testing.assert_allclose(value, losses.cross_entropy(logits, batch["y"]), rtol=1e-5)
  moved = {
    b: not all(jax.tree.leaves(jax.tree.map(jnp.array_equal, state["encoder"][b], after["encoder"][b])))
    for b in after["encoder"]
  }
  assert moved == {"block1": False, "block2": True}


def test_supervised_needs_labels(batch):
  with pytest.raises(UserError, match="needs labels"):
    build("supervised", TINY).init(KEY, {"x": batch["x"]})
