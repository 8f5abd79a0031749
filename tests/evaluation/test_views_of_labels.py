"""Views of labelled examples: heads get them beside the examples, and are chosen by examples that they never saw."""

import jax
import numpy as np
import pytest

from sslx import nn
from sslx.data import load
from sslx.data.types import Split, image_classes, sound_classes
from sslx.evaluation import evaluate, features
from sslx.evaluation.bench import Bench, Case, draw
from sslx.evaluation.modes import check_modes
from sslx.evaluation.recipe import Recipe
from sslx.ops.sound import RAW_PAD
from sslx.tasks import TASKS
from sslx.tasks.linear import choice_parts, every_version
from sslx.tasks.subsets import group_folds
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


def test_folds_of_groups_keep_them_apart():
  groups = np.array([3, 3, 5, 5, 5, 9, 9, 3])
  folds = group_folds(groups, 5, 0)
  assert len(folds) == 3
  for train, valid in folds:
    assert not set(groups[train]) & set(groups[valid])
    assert len(train) + len(valid) == 8
  np.testing.assert_array_equal(np.sort(np.concatenate([valid for _, valid in folds])), np.arange(8))
  assert len(group_folds(np.arange(20), 4, 0)) == 4
  assert group_folds(np.zeros(6, int), 4, 0) == []


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_what_only_holds_inside_groups_is_not_chosen(kind):
  """Features that tell the classes of known groups, each in its own way, and one that tells them everywhere, weakly:
  folds of groups want a stronger penalty.
  """
  rng = np.random.default_rng(0)
  groups, y = np.repeat(np.arange(4), 40), np.tile(np.arange(2), 80).astype(np.int32)
  own = rng.normal(size=(4, 2, 30))[groups, y] * 3 + rng.normal(size=(160, 30))
  shared = (2 * y - 1)[:, None] * 0.5 + rng.normal(size=(160, 1))
  x = np.concatenate([own, shared], 1).astype(np.float32)
  task = TASKS["classification"](NAMES)
  how = {"kind": kind, "seed": 0}
  apart = task.fit_head(x, y, x, **how, groups=groups).chosen["l2"]
  mixed = task.fit_head(x, y, x, **how).chosen["l2"]
  assert np.mean(apart) > np.mean(mixed)


def test_a_ridge_head_is_least_squares_to_one_and_zero():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(200, 3)).astype(np.float32)
  y = (x[:, 0] > 0.2).astype(np.int32)
  head = TASKS["classification"](NAMES).fit_head(x, y, x, "ridge", seed=0)
  design = np.concatenate([x, np.ones((200, 1))], 1)
  solution = np.linalg.lstsq(design, np.eye(2)[y], rcond=None)[0]
  np.testing.assert_allclose(head.outputs(x), design @ solution, atol=0.02)
  case = Case("frozen", 20, 0)
  trained = evaluate.train(bench(head="ridge"), [case])
  assert evaluate.test(trained, DATA.test, DATA.task)[case].scores["accuracy"] > 0.8


def test_only_a_speaker_held_out_makes_groups():
  held = load("spoken_digits:speaker=theo")
  assert set(held.train.groups) == {0, 1, 2, 3, 5}
  assert set(held.test.groups) == {4}
  np.testing.assert_array_equal(held.train.part(np.array([0, 2400])).groups, held.train.groups[[0, 2400]])
  assert load("spoken_digits").train.groups is None
