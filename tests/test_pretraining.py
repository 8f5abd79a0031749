"""What is held out of pretraining to watch it: never trained on, always the same, and watching changes nothing."""

import dataclasses

import jax
import numpy as np
import pytest

from sslx import nn
from sslx.data import Dataset, LazyImages, Split
from sslx.pretext import build
from sslx.training import checkpoint
from sslx.training import loop as train
from sslx.training import run as pretraining
from sslx.types import UserError

SPEC = "conv:widths=4-6,norm=batch"
X = np.zeros((2, 12, 12, 1), np.float32)


def numbered(n: int, first: int = 0) -> np.ndarray:
  """Images that say which one they are."""
  return np.broadcast_to(np.arange(first, first + n, dtype=np.uint8)[:, None, None, None], (n, 4, 4, 1)).copy()


def plan_of(dataset: Dataset, method: str = "denoise", watch: int = 1000, **given):
  config = pretraining.configuration(method, dataset, {}, SPEC, epochs=2, batch_size=16, watch=watch, **given)
  pretext = build(method, nn.build(SPEC), "flatten", dataset.num_classes, {})
  return pretraining.plan(pretext, config, "flatten", dataset)


def ids(images) -> list[int]:
  return np.asarray(images)[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_watched_is_not_trained_on(lazy):
  images = numbered(120)
  shown = LazyImages(images.shape, lambda rows: images[rows]) if lazy else images
  split = Split(shown, np.arange(120, dtype=np.int32) % 2)
  dataset = Dataset("numbered", ("a", "b"), split, split)
  plan = plan_of(dataset)
  held = ids(plan.watched["image"])
  assert len(held) == 12  # at most a tenth
  assert isinstance(plan.data["image"], LazyImages) == lazy
  assert sorted(ids(plan.data["image"]) + held) == list(range(120))
  assert held != list(range(12))  # files are often sorted by class
  assert ids(plan_of(dataset, "autoencode", seed=3).watched["image"]) == held
  assert len(plan_of(dataset, watch=5).watched["image"]) == 5
  nothing = plan_of(dataset, watch=0)
  assert nothing.watched == {}
  assert nothing.data["image"] is shown
  labelled = plan_of(dataset, "supervised")  # labels go with their images
  for part in (labelled.data, labelled.watched):
    assert [i % 2 for i in ids(part["image"])] == part["label"].tolist()
  more = dataclasses.replace(dataset, unlabeled=Split(numbered(40, 120), None))
  plan = plan_of(more)  # images without labels are all trained on
  assert ids(plan.watched["image"]) == held
  assert sorted(ids(plan.data["image"]) + held) == list(range(160))


def test_watching_is_the_training_loss_on_held_out_images(toy):
  plan = plan_of(toy)
  ts = pretraining.start(plan)
  watch = train.make_watch(plan.pretext, plan.watched, 10)
  assert len(plan.watched["image"]) == 24
  expected = []
  for i, key in enumerate(jax.random.split(jax.random.key(0), 2)):  # the last 4 are left out
    one, two = jax.random.split(key)
    view = plan.pretext.transform(one, {"image": plan.watched["image"][10 * i : 10 * i + 10]})
    expected.append(float(plan.pretext.loss(ts.params, ts.state, two, view)[0]))
  found = watch(ts)
  assert float(found["loss"]) == pytest.approx(np.mean(expected), rel=1e-4)
  assert float(found["loss"]) == float(watch(ts)["loss"])  # the same noise again
  assert train.make_watch(plan.pretext, plan.watched, 100)(ts)["loss"] > 0  # fewer images than a batch


def test_watching_changes_no_bit_and_says_what_it_saw(toy):
  plan, rows, plain = plan_of(toy, "rotation"), [], []
  watched = pretraining.run(plan, pretraining.start(plan), log=rows.append, log_every=2)
  alone = pretraining.run(plan._replace(watched={}), pretraining.start(plan), log=plain.append, log_every=2)
  for a, b in zip(jax.tree.leaves(watched.params), jax.tree.leaves(alone.params), strict=True):
    np.testing.assert_array_equal(a, b)
  assert plan.steps == 2 * (216 // 16)
  assert [row["step"] for row in rows] == list(range(2, 27, 2))
  assert all(0 <= row["heldout_rotation_accuracy"] <= 1 for row in rows)
  assert all("heldout_loss" not in row for row in plain)
  assert [row["loss"] for row in rows] == [row["loss"] for row in plain]


def test_watching_about_so_often(toy):
  plan, rows = plan_of(toy), []
  pretraining.run(plan, pretraining.start(plan), log=rows.append, log_every=2, watches=3)
  assert [row["step"] for row in rows if "heldout_loss" in row] == [8, 16, 24, 26]


def test_pictures_come_in_the_methods_order(toy):
  plan = plan_of(toy)
  ts = pretraining.start(plan)
  pictures = pretraining.pictures(plan.pretext, ts.params, ts.state, jax.random.key(0), {"image": toy.train.images[:2]})
  assert list(pictures) == ["clean", "noisy", "restored"]
  np.testing.assert_allclose(pictures["clean"], toy.train.images[:2] / 255, atol=1e-6)


def test_a_collapse_is_said_once(toy, capsys):
  plan, rows = plan_of(toy, "simclr"), []

  def point(params, state, key, view):
    value, (state, metrics) = plan.pretext.loss(params, state, key, view)
    return value, (state, {**metrics, "embedding_std": metrics["embedding_std"] * 0 + 0.02})

  pretraining.run(plan, pretraining.start(plan), log=rows.append, log_every=5)
  assert "collapsed" not in capsys.readouterr().err
  collapsed = plan._replace(pretext=plan.pretext._replace(loss=point))
  pretraining.run(collapsed, pretraining.start(plan), log=rows.append, log_every=5)
  assert capsys.readouterr().err.count("at step 5 all images have nearly the same embedding (spread 0.020") == 1
  assert len(rows) > 4  # all of them reach the log


# optimisers and large batches

HOW = {"optimizer": "lars", "weight_decay": 1e-6, "warmup_epochs": 1.0, "accumulate": 2, "precision": "bfloat16"}


def test_the_configuration_says_how_a_run_is_trained(toy):
  config = pretraining.configuration("simclr", toy, {}, SPEC, batch_size=64, **HOW)
  assert HOW.items() <= config.items()
  assert config["learning_rate"] == pytest.approx(0.3 * 64 / 256)  # simclr's own is that of adamw
  assert pretraining.configuration("simclr", toy, {}, SPEC, learning_rate=2.0, **HOW)["learning_rate"] == 2.0
  default = pretraining.configuration("simclr", toy, {}, SPEC)
  assert pretraining.BEFORE.items() <= default.items()
  assert default["learning_rate"] == 2e-3


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({"optimizer": "adam"}, "--optimizer=adam: unknown. Did you mean 'adamw'"),
    ({"precision": "float16"}, "--precision=float16: unknown."),
    ({"weight_decay": -1.0}, "--pretraining_weight_decay=-1: must be at least 0"),
    ({"warmup_epochs": 2.0}, "--warmup_epochs=2: must be at least 0 and below the 2 of --epochs"),
    ({"warmup_epochs": -1.0}, "--warmup_epochs=-1"),
    ({"accumulate": 0}, "--accumulate=0: must be at least 1"),
    ({"accumulate": 3}, "--accumulate=3: a batch of 16 images"),
  ],
)
def test_how_a_run_cannot_be_trained(given, message, toy):
  with pytest.raises(UserError, match=message):
    plan_of(toy, **given)


def test_the_batch_that_splits_is_the_one_that_fits_the_data(toy):
  config = pretraining.configuration("denoise", toy, {}, SPEC, batch_size=500, accumulate=27)
  pretext = build("denoise", nn.build(SPEC), "flatten", 3, {})
  assert pretraining.plan(pretext, config, "flatten", toy).batch_size == 216  # 27 * 8
  with pytest.raises(UserError, match="--accumulate=25: a batch of 216 images"):
    pretraining.plan(pretext, {**config, "accumulate": 25}, "flatten", toy)


@pytest.mark.parametrize(("given", "rise"), [({}, 2), ({"warmup_epochs": 0.0}, 0), ({"warmup_epochs": 0.5}, 6)])
def test_warm_up_in_epochs(given, rise, toy, monkeypatch):
  """26 steps, 13 an epoch; a tenth of them where nothing is said, at most 100."""
  asked = []
  monkeypatch.setattr(pretraining.optim, "cosine", lambda *a: asked.append(a) or 1e-3)
  plan = plan_of(toy, learning_rate=0.5, **given)
  assert asked == [(0.5, 26, rise)]
  pretraining.optimizer(plan.pretext, plan.meta["config"], 5000, 13)
  assert asked[1] == (0.5, 5000, 100 if not given else rise)


def test_the_optimiser_is_the_configurations(toy, monkeypatch):
  made = []
  monkeypatch.setattr(pretraining.optim, "optimizer", lambda schedule, *a: made.append(a))
  plan_of(toy, **HOW)
  plan_of(toy)
  assert made == [("lars", 1e-6), ("adamw", 1e-4)]


def test_a_run_is_watched_in_parts(toy):
  """As training computes the loss: of contrastive methods it grows with the batch."""
  rows = []
  plan = plan_of(toy, "simclr", accumulate=4, learning_rate=1e-9)
  pretraining.run(plan, pretraining.start(plan), log=rows.append)
  assert rows[-1]["heldout_loss"] < np.log(2 * 4 - 1) + 0.5 < np.log(2 * 16 - 1) - 0.5


@pytest.mark.parametrize("kind", ["adamw", "sgd", "lars"])
def test_runs_are_restored_with_their_optimiser(kind, toy, tmp_path):
  plan = plan_of(toy, **{**HOW, "optimizer": kind})
  ts = pretraining.start(plan)
  folder = tmp_path / "checkpoints"
  checkpoint.save(folder, ts, plan.meta)
  pretext, back, _ = pretraining.restore(tmp_path)
  for a, b in zip(*(jax.tree.leaves(t._replace(key=jax.random.key_data(t.key))) for t in (ts, back)), strict=True):
    np.testing.assert_array_equal(a, b)
  assert "bf16" in str(jax.make_jaxpr(pretext.loss)(ts.params, ts.state, ts.key, {"image": X, "target": X}))


def test_a_run_that_does_not_say_how_it_was_trained_is_restored(toy, tmp_path):
  plan = plan_of(toy)
  config = {name: value for name, value in plan.meta["config"].items() if name not in pretraining.BEFORE}
  assert len(config) == len(plan.meta["config"]) - 5
  old = pretraining.plan(plan.pretext, config, "flatten", toy)
  ts = pretraining.start(old)
  checkpoint.save(tmp_path / "checkpoints", ts, old.meta)
  pretext, back, _ = pretraining.restore(tmp_path)
  assert jax.tree.structure(back) == jax.tree.structure(ts)
  assert "bf16" not in str(jax.make_jaxpr(pretext.loss)(ts.params, ts.state, ts.key, {"image": X, "target": X}))


def test_bfloat16_learns_about_the_same(toy):
  losses = {}
  for precision in ("float32", "bfloat16"):
    config = pretraining.configuration(
      "autoencode", toy, {}, SPEC, epochs=4, batch_size=16, learning_rate=1e-2, precision=precision
    )
    pretext = build("autoencode", nn.build(SPEC, precision), "flatten", 3, {})
    plan, rows = pretraining.plan(pretext, config, "flatten", toy), []
    ts = pretraining.run(plan, pretraining.start(plan), log=rows.append)
    assert {leaf.dtype for leaf in jax.tree.leaves((ts.params, ts.state))} == {np.dtype("float32")}
    losses[precision] = rows[-1]["heldout_loss"]
  assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
  assert losses["bfloat16"] != losses["float32"]
