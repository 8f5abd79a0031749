"""What is held out of pretraining to watch it: never trained on, always the same, and watching changes nothing. How a
run is trained, and restored.
"""

import dataclasses

import jax
import numpy as np
import pytest

from sslx.data import Dataset, LazyArray, Split
from sslx.data.types import image_classes
from sslx.training import checkpoint, hooks, run
from sslx.training.config import Config
from sslx.training.watch import make_watch
from sslx.types import UserError

SPEC = "conv:widths=4-6,norm=batch"
X = np.zeros((2, 12, 12, 1), np.float32)


def numbered(n: int, first: int = 0) -> np.ndarray:
  """Images that say which one they are."""
  return np.broadcast_to(np.arange(first, first + n, dtype=np.uint8)[:, None, None, None], (n, 4, 4, 1)).copy()


def plan_of(dataset: Dataset, method: str = "denoise", watch: int = 1000, **given):
  config = Config(method=method, encoder=SPEC, epochs=2, batch_size=16, watch=watch, **given)
  return run.plan(config, dataset, "flatten")


def fit(plan, ts, log=None, log_every=50, **how):
  """`run.run` with a hook that logs."""
  return run.run(plan, ts, [hooks.log_to(log)] if log else [], log_every=log_every, **how)


def ids(images) -> list[int]:
  return np.asarray(images)[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_watched_is_not_trained_on(lazy):
  images = numbered(120)
  shown = LazyArray(images.shape, lambda rows: images[rows]) if lazy else images
  split = Split(shown, np.arange(120, dtype=np.int32) % 2)
  dataset = image_classes("numbered", ("a", "b"), split, split)
  plan = plan_of(dataset)
  held = ids(plan.watched["x"])
  assert len(held) == 12  # at most a tenth
  assert isinstance(plan.data["x"], LazyArray) == lazy
  assert sorted(ids(plan.data["x"]) + held) == list(range(120))
  assert held != list(range(12))  # files are often sorted by class
  assert ids(plan_of(dataset, "autoencode", seed=3).watched["x"]) == held
  assert len(plan_of(dataset, watch=5).watched["x"]) == 5
  nothing = plan_of(dataset, watch=0)
  assert nothing.watched == {}
  assert nothing.data["x"] is shown
  labelled = plan_of(dataset, "supervised")  # labels go with their images
  for part in (labelled.data, labelled.watched):
    assert [i % 2 for i in ids(part["x"])] == part["y"].tolist()
  more = dataclasses.replace(dataset, unlabeled=Split(numbered(40, 120), None))
  plan = plan_of(more)  # images without labels are all trained on
  assert ids(plan.watched["x"]) == held
  assert sorted(ids(plan.data["x"]) + held) == list(range(160))


def test_watching_is_the_training_loss_on_held_out_images(toy):
  plan = plan_of(toy)
  ts = run.start(plan)
  watch = make_watch(plan.pretext, plan.modality.prepare, plan.watched, 10)
  assert len(plan.watched["x"]) == 24
  expected = []
  for i, key in enumerate(jax.random.split(jax.random.key(0), 2)):  # the last 4 are left out
    one, two = jax.random.split(key)
    view = plan.pretext.transform(one, {"x": plan.modality.prepare(plan.watched["x"][10 * i : 10 * i + 10])})
    expected.append(float(plan.pretext.loss(ts.params, ts.state, two, view)[0]))
  found = watch(ts)
  assert float(found["loss"]) == pytest.approx(np.mean(expected), rel=1e-4)
  assert float(found["loss"]) == float(watch(ts)["loss"])  # the same noise again
  assert make_watch(plan.pretext, plan.modality.prepare, plan.watched, 100)(ts)["loss"] > 0  # fewer images than a batch


def test_watching_changes_no_bit_and_says_what_it_saw(toy):
  plan, rows, plain = plan_of(toy, "rotation"), [], []
  watched = fit(plan, run.start(plan), log=rows.append, log_every=2)
  alone = fit(plan._replace(watched={}), run.start(plan), log=plain.append, log_every=2)
  for a, b in zip(jax.tree.leaves(watched.params), jax.tree.leaves(alone.params), strict=True):
    np.testing.assert_array_equal(a, b)
  assert plan.steps == 2 * (216 // 16)
  assert [row["step"] for row in rows] == list(range(2, 27, 2))
  assert all(0 <= row["heldout_rotation_accuracy"] <= 1 for row in rows)
  assert all("heldout_loss" not in row for row in plain)
  assert [row["loss"] for row in rows] == [row["loss"] for row in plain]


def test_what_a_method_shows_comes_in_its_order(toy):
  plan = plan_of(toy)
  ts = run.start(plan)
  rows = run.shown(plan.pretext, plan.modality, ts.params, ts.state, jax.random.key(0), {"x": toy.train.x[:2]})
  assert list(rows) == ["clean", "noisy", "restored"]
  np.testing.assert_allclose(rows["clean"], toy.train.x[:2] / 255, atol=1e-6)


def test_a_collapse_is_said_once(toy, capsys):
  plan, rows = plan_of(toy, "simclr"), []

  def point(params, state, key, view):
    value, (state, metrics) = plan.pretext.loss(params, state, key, view)
    return value, (state, {**metrics, "embedding_std": metrics["embedding_std"] * 0 + 0.02})

  fit(plan, run.start(plan), log=rows.append, log_every=5)
  assert "collapsed" not in capsys.readouterr().err
  collapsed = plan._replace(pretext=plan.pretext._replace(loss=point))
  fit(collapsed, run.start(plan), log=rows.append, log_every=5)
  assert capsys.readouterr().err.count("at step 5 all images have nearly the same embedding (spread 0.020") == 1
  assert len(rows) > 4  # all of them reach the log


# optimisers and large batches

HOW = {"optimizer": "lars", "weight_decay": 1e-6, "warmup_epochs": 1.0, "accumulate": 2, "precision": "bfloat16"}


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({"optimizer": "adam"}, "--optimizer=adam: unknown. Did you mean 'adamw'"),
    ({"precision": "float16"}, "--precision=float16: unknown."),
    ({"weight_decay": -1.0}, "--pretraining_weight_decay=-1: must be at least 0"),
    ({"warmup_epochs": 2.0}, "--warmup_epochs=2: must be at least 0 and below the 2 epochs of the run"),
    ({"warmup_epochs": -1.0}, "--warmup_epochs=-1"),
    ({"accumulate": 0}, "--accumulate=0: must be at least 1"),
    ({"accumulate": 3}, "--accumulate=3: a batch of 16 images"),
  ],
)
def test_how_a_run_cannot_be_trained(given, message, toy):
  with pytest.raises(UserError, match=message):
    plan_of(toy, **given)


def test_the_batch_that_splits_is_the_one_that_fits_the_data(toy):
  config = Config(method="denoise", encoder=SPEC, batch_size=500, accumulate=27)
  assert run.plan(config, toy, "flatten").batch_size == 216  # 27 * 8
  with pytest.raises(UserError, match="--accumulate=25: a batch of 216 images"):
    run.plan(dataclasses.replace(config, accumulate=25), toy, "flatten")


@pytest.mark.parametrize(("given", "rise"), [({}, 2), ({"warmup_epochs": 0.0}, 0), ({"warmup_epochs": 0.5}, 6)])
def test_warm_up_in_epochs(given, rise, toy, monkeypatch):
  """26 steps, 13 an epoch; a tenth of them where nothing is said, at most 100."""
  asked = []
  monkeypatch.setattr(run.optim, "cosine", lambda *a: asked.append(a) or 1e-3)
  plan = plan_of(toy, learning_rate=0.5, **given)
  assert asked == [(0.5, 26, rise)]
  run.optimizer(plan.pretext, plan.config, 5000, 13)
  assert asked[1] == (0.5, 5000, 100 if not given else rise)


def test_the_optimiser_is_the_configurations(toy, monkeypatch):
  made = []
  monkeypatch.setattr(run.optim, "optimizer", lambda schedule, *a: made.append(a))
  plan_of(toy, **HOW)
  plan_of(toy)
  assert made == [("lars", 1e-6), ("adamw", 1e-4)]


def test_a_run_is_watched_in_parts(toy):
  """As training computes the loss: of contrastive methods it grows with the batch."""
  rows = []
  plan = plan_of(toy, "simclr", accumulate=4, learning_rate=1e-9)
  fit(plan, run.start(plan), log=rows.append)
  assert rows[-1]["heldout_loss"] < np.log(2 * 4 - 1) + 0.5 < np.log(2 * 16 - 1) - 0.5


@pytest.mark.parametrize("kind", ["adamw", "sgd", "lars"])
def test_runs_are_restored_with_their_optimiser(kind, toy, tmp_path):
  plan = plan_of(toy, **{**HOW, "optimizer": kind})
  ts = run.start(plan)
  folder = tmp_path / "checkpoints"
  checkpoint.save(folder, ts, plan.meta.to_json())
  restored = run.restore(tmp_path)
  pretext, back = restored.pretext, restored.train_state
  for a, b in zip(*(jax.tree.leaves(t._replace(key=jax.random.key_data(t.key))) for t in (ts, back)), strict=True):
    np.testing.assert_array_equal(a, b)
  assert "bf16" in str(jax.make_jaxpr(pretext.loss)(ts.params, ts.state, ts.key, {"x": X, "target": X}))


def test_a_run_of_sslx_01_is_restored(toy, tmp_path):
  """Its checkpoint said nothing of modality and task, and of the configuration less than today's does."""
  plan = plan_of(toy)
  ts, config = run.start(plan), plan.config.to_json()
  names = {"x_shape": "image_shape", "examples": "images", "watch": "watched"}
  gone = ("version", "x_dtype", "optimizer", "weight_decay", "warmup_epochs", "accumulate", "precision", "schedule",
          "shuffle", "variant")  # fmt: skip
  old = {names.get(name, name): value for name, value in config.items() if name not in gone}
  meta = {
    "encoder": SPEC, "features": "flatten", "image_shape": [12, 12, 1], "method": "denoise", "config": old,
    "class_names": list(toy.task.names),
  }  # fmt: skip
  checkpoint.save(tmp_path / "checkpoints", ts, meta)
  restored = run.restore(tmp_path)
  assert jax.tree.structure(restored.train_state) == jax.tree.structure(ts)
  assert restored.meta.config == plan.config
  assert restored.meta._replace(step=None) == plan.meta._replace(steps=None)
  loss = restored.pretext.loss
  assert "bf16" not in str(jax.make_jaxpr(loss)(ts.params, ts.state, ts.key, {"x": X, "target": X}))


def test_bfloat16_learns_about_the_same(toy):
  losses = {}
  for precision in ("float32", "bfloat16"):
    settings = {"epochs": 4, "batch_size": 16, "learning_rate": 1e-2, "precision": precision}
    plan, rows = run.plan(Config(method="autoencode", encoder=SPEC, **settings), toy, "flatten"), []
    ts = fit(plan, run.start(plan), log=rows.append)
    assert {leaf.dtype for leaf in jax.tree.leaves((ts.params, ts.state))} == {np.dtype("float32")}
    losses[precision] = rows[-1]["heldout_loss"]
  assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
  assert losses["bfloat16"] != losses["float32"]


@pytest.mark.parametrize(
  ("method", "given", "reason"),
  [
    ("simclr", {"batch_size": 1}, "--batch_size=1: leaves one example, and --method=simclr holds the examples"),
    ("wta", {"batch_size": 1}, "--method=wta holds the examples of a batch against each other"),
    ("vicreg", {"batch_size": 4, "accumulate": 4}, "--batch_size=4 and --accumulate=4: leaves one example"),
    ("denoise", {"batch_size": 1}, "--method=denoise is batch-normalised"),  # SPEC is
  ],
)
def test_a_batch_of_one_that_teaches_nothing_is_refused(method, given, reason, toy):
  with pytest.raises(UserError, match=reason):
    run.plan(Config(method=method, encoder=SPEC, **given), toy, "flatten")
  assert run.plan(Config(method="denoise", encoder="conv:widths=4", batch_size=1), toy, "flatten").batch_size == 1
