"""Views of labelled examples: heads get them beside the examples, and are chosen by examples that they never saw."""

import jax
import numpy as np
import pytest

from sslx import nn
from sslx.data.types import Split, image_classes, sound_classes
from sslx.evaluation import evaluate, features
from sslx.evaluation.bench import Bench, Case, draw
from sslx.evaluation.modes import check_modes
from sslx.evaluation.recipe import Recipe
from sslx.ops.sound import RAW_PAD
from sslx.tasks import TASKS
from sslx.tasks.linear import choice_parts, every_version
from sslx.types import UserError

NAMES = ("low", "high")


def tones(n, seed):
  """Two classes of tones of any length, i16 [n,1600]."""
  rng = np.random.default_rng(seed)
  y = np.arange(n, dtype=np.int32) % 2
  x = np.full((n, 1600), RAW_PAD, np.int16)
  for row, label in zip(x, y, strict=True):
    length = rng.integers(800, 1600)
    hertz = rng.uniform(300, 500) if label == 0 else rng.uniform(1500, 2500)
    row[:length] = 9000 * np.sin(2 * np.pi * hertz * np.arange(length) / 8000) + rng.normal(0, 300, length)
  return x, y


DATA = sound_classes("tones", 8000, NAMES, Split(*tones(40, 0)), Split(*tones(30, 1)))
SPEC = "mel:bands=8+conv1d:widths=8-8"


def bench(reading="time2", **settings):
  encoder = nn.build(SPEC)
  like = nn.Representation(encoder, reading, {}, {}, DATA.modality.prepare)
  represent = features.random(like, DATA)(0)
  return Bench(DATA, draw(DATA, [20], 1, 0), represent, Recipe(steps=20, **settings), 0)


def test_views_come_behind_the_examples_one_version_after_the_other():
  made, rows = bench(augment="sound", augment_copies=3), np.array([0, 1, 4])
  made.memory["rows"] = np.arange(6)
  x, y = made.views_of("pretrained", rows)
  assert x.shape == (9, 16)
  np.testing.assert_array_equal(y, np.tile(DATA.train.y[rows], 3))
  assert not np.allclose(x[:3], x[3:6])
  plain, _ = made.features_of("pretrained", rows)
  assert not np.allclose(x[:3], plain)
  quiet = bench(
    augment="sound:"
    + ",".join(f"{k}=0" for k in ["speed", "shift", "gain", "noise", "warp", "tempo", "equaliser", "frames", "bands"])
    + ",crop=1"
  )
  quiet.memory["rows"] = np.arange(6)
  np.testing.assert_allclose(quiet.views_of("pretrained", rows)[0], np.tile(plain, (2, 1)), atol=1e-4)


def test_views_are_read_as_examples_are_though_a_front_comes_before():
  made = bench("all:time2", augment="sound", augment_copies=1)
  made.memory["rows"] = np.arange(20)
  assert made.views_of("pretrained", np.arange(3))[0].shape == made.features_of("pretrained", np.arange(3))[0].shape
  case = Case("full", 20, 0)
  assert evaluate.test(evaluate.train(made, [case]), DATA.test, DATA.task)[case].scores["accuracy"] > 0.8


def test_all_versions_of_an_example_are_in_one_fold():
  np.testing.assert_array_equal(every_version(np.array([0, 2]), 5, 3), [0, 2, 5, 7, 10, 12])
  features_, y = (
    np.tile(np.arange(10.0)[:, None], (3, 1)) + np.repeat([0, 100, 200], 10)[:, None],
    np.tile(np.arange(10), 3),
  )
  for fit, _, valid, _ in choice_parts(features_, y, 5, 0, None, 3):
    assert len(fit) == 3 * 8
    assert len(valid) == 2
    assert valid.max() < 10  # judged by the examples themselves
    assert not set(fit[:, 0] % 100) & set(valid[:, 0])


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_copies_of_examples_change_no_head(task):
  """What stands three times over weighs the same: same choice, same solution."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(40, 5)).astype(np.float32)
  y = {
    "classification": (x[:, 0] > 0).astype(np.int32),
    "multilabel": (x[:, :2] > 0).astype(np.uint8),
    "regression": (x[:, :2] * 3 + rng.normal(size=(40, 2)) * 0.1).astype(np.float32),
  }[task]
  made = TASKS[task](NAMES)
  once = made.fit_head(x, y, x, seed=0)
  thrice = made.fit_head(np.tile(x, (3, 1)), np.concatenate([y] * 3), x, seed=0, versions=3)
  np.testing.assert_allclose(thrice.outputs(x), once.outputs(x), atol=0.05)


@pytest.mark.parametrize("mode", ["raw", "raw:time1", "random", "frozen", "scratch", "last:1", "full"])
def test_every_mode_learns_with_views(mode):
  trained = evaluate.train(bench(augment="auto"), [Case(mode, 20, 0)])
  scored = evaluate.test(trained, DATA.test, DATA.task)
  assert scored[Case(mode, 20, 0)].scores["accuracy"] > 0.8


def test_the_signal_is_read_as_raw_says():
  made = bench()
  assert made.source("raw").reading == "time20"
  assert made.source("raw:time1")(DATA.train.x[:2]).shape == (2, 40)
  assert check_modes(["raw", "raw:time3", "raw:flatten"], ("block1",)) == ("raw", "raw:time3", "raw:flatten")
  with pytest.raises(UserError, match="'timex' is neither"):
    check_modes(["raw:timex"], ("block1",))


def test_views_of_images_serve_labels_too():
  rng = np.random.default_rng(0)
  x, y = rng.integers(0, 256, (12, 8, 8, 1), dtype=np.uint8), np.arange(12, dtype=np.int32) % 2
  data = image_classes("toy", NAMES, Split(x, y), Split(x, y))
  like = nn.Representation(nn.build("conv:widths=4"), "flatten", {}, {}, data.modality.prepare)
  represent = features.random(like, data)(0)
  views = features.of_views(represent, "digits", x, 2, 0)
  assert views.shape == (2, 12, 64)
  assert not np.allclose(views[0], views[1])
  np.testing.assert_array_equal(views, features.of_views(represent, "digits", x, 2, 0))
  still = features.of_views(represent, "digits:degrees=0,scale=0,shift=0,shear=0,elastic=0,contrast=0", x, 1, 0)
  np.testing.assert_allclose(still[0], represent(jax.numpy.asarray(x)), atol=1e-4)


def test_tasks_of_places_refuse_views():
  from sslx.pretext.supervised import supervised

  with pytest.raises(UserError, match="--augment=digits: views move what lies in the picture"):
    supervised(nn.build("conv"), TASKS["segmentation"](("background", "a")), "maps4", views="digits")
