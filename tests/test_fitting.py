"""Numbers, pixels, boxes and labels from Python, on pictures of one rectangle, whose answers are all known."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from notebooks import run_cells

import sslx
from sslx import data as sources
from sslx.data.types import Dataset, Split
from sslx.evaluation.recipe import Recipe
from sslx.modalities import MODALITIES
from sslx.tasks import TASKS
from sslx.types import UserError

ROOT = Path(__file__).resolve().parent.parent
SIZE, TRAIN, TEST = 30, 160, 60  # pixels, which are no multiple of the maps' four; examples
NAMES = {
  "multilabel": ("high", "left"),
  "regression": ("row", "column"),
  "segmentation": ("background", "grey", "white"),
  "detection": ("grey", "white"),
}
OTHER = ["regression", "segmentation", "detection"]  # tasks that are not of classes
ENCODER = "conv:widths=8-16,norm=none"
RECIPE = Recipe(steps=60, learning_rates=(5e-3,))


def split(n: int, seed: int) -> Split:
  rng = np.random.default_rng(seed)
  x, masks = rng.integers(0, 40, (n, SIZE, SIZE, 1)), np.zeros((n, SIZE, SIZE), np.uint8)
  kind, low = rng.integers(0, 2, n), rng.integers(1, SIZE - 14, (n, 2))
  high = low + rng.integers(8, 14, (n, 2))
  for i in range(n):
    place = np.s_[i, low[i, 0] : high[i, 0], low[i, 1] : high[i, 1]]
    x[place] += (90, 200)[kind[i]]
    masks[place] = 1 + kind[i]
  centre = ((low + high) / 2).astype(np.float32)
  others = {
    "multilabel": (centre < SIZE / 2).astype(np.uint8),
    "regression": centre,
    "segmentation": masks,
    "detection": np.concatenate([kind[:, None], low, high], 1).astype(np.float32)[:, None],
  }
  return Split(x.astype(np.uint8), kind.astype(np.int32), others=others)


@pytest.fixture(scope="module")
def rectangles() -> Dataset:
  others = {name: TASKS[name](names) for name, names in NAMES.items()}
  task = TASKS["classification"](("grey", "white"))
  return Dataset("rectangles", MODALITIES["image"], task, split(TRAIN, 0), split(TEST, 1), others=others)


@pytest.fixture(scope="module")
def run(rectangles):
  """Of classes, and used for every task."""
  how = {"encoder": ENCODER, "steps": 40, "batch_size": 32, "progress": False}
  return sslx.pretrain("denoise", rectangles, **how)


@pytest.fixture(scope="module")
def fitted(rectangles, run):
  """(task, mode) -> what is fitted on half of the labels, once."""
  made = {}

  def make(task: str, mode: str = "frozen"):
    if (task, mode) not in made:
      made[task, mode] = sslx.fit(run, rectangles.doing(task), 0.5, mode, recipe=RECIPE)
    return made[task, mode]

  return make


# ---- what is fitted, and how well ------------------------------------------------------------------------------------

GOOD = {"classification": 0.8, "multilabel": 0.9, "regression": 0.8, "segmentation": 0.5, "detection": 0.3}


@pytest.mark.parametrize("mode", ["frozen", "scratch"])
@pytest.mark.parametrize("task", GOOD)
def test_every_task_is_learnt(task, mode, rectangles, fitted):
  made, test = fitted(task, mode), rectangles.doing(task).test
  assert (made.task.name, made.mode, len(set(made.rows.tolist()))) == (task, mode, TRAIN // 2)
  scores = sslx.scores(made, test)
  assert sslx.accuracy(made, test) == next(iter(scores.values())) > GOOD[task]
  assert all(type(score) is float for score in scores.values())
  np.testing.assert_array_equal(made.rows, fitted(task, "frozen").rows)  # the same labels in each mode


def test_scores_are_those_of_the_task(rectangles, fitted):
  keys = {task: list(sslx.scores(fitted(task), rectangles.doing(task).test)) for task in GOOD}
  assert keys == {
    "classification": ["accuracy"],
    "multilabel": ["mAP", "accuracy"],
    "regression": ["R2", "R2_row", "R2_column", "MAE_row", "MAE_column"],
    "segmentation": ["mIoU", "foreground_IoU", "pixel_accuracy"],
    "detection": ["AP50", "AP"],
  }


def test_it_says_what_it_is(fitted):
  assert repr(fitted("regression")) == "Fitted(regression, frozen, 80 labels, 146 of 1,394 parameters trained)"
  whole = r"Fitted\(detection, scratch, 80 labels, ([\d,]+) of \1 parameters trained\)"
  assert re.fullmatch(whole, repr(fitted("detection", "scratch")))


def test_classify_is_fit_for_classes(run, rectangles):
  for task in ("classification", "multilabel"):
    data = rectangles.doing(task)
    one, other = sslx.classify(run, data, 40), sslx.fit(run, data, 40)
    np.testing.assert_array_equal(sslx.predict(one, data.test.x), sslx.predict(other, data.test.x))


@pytest.mark.parametrize("task", OTHER)
def test_classify_refuses_other_tasks(task, run, rectangles):
  with pytest.raises(UserError, match=rf"^data=rectangles: its task is {task}, .*; use sslx.fit\.$"):
    sslx.classify(run, rectangles.doing(task), 40)


def test_all_labels_are_a_fraction_of_one(run, rectangles):
  data = rectangles.doing("regression")
  for labels, n in ((1.0, TRAIN), (1, 1), (TRAIN, TRAIN), (0.25, TRAIN // 4)):
    assert len(set(sslx.fit(run, data, labels).rows.tolist())) == n
  with pytest.raises(UserError, match=f"^labels={TRAIN + 1}: .* there are {TRAIN} labelled"):
    sslx.fit(run, data, TRAIN + 1)


# ---- predictions -----------------------------------------------------------------------------------------------------


def test_probabilities_of_classes_sum_to_one(rectangles, fitted):
  test = rectangles.test
  told = sslx.predict(fitted("classification"), test.x)
  assert (told.dtype, told.shape) == (np.float32, (TEST, 2))
  np.testing.assert_allclose(told.sum(1), 1, rtol=1e-5)
  assert (told.argmax(1) == test.y).mean() == sslx.accuracy(fitted("classification"), test)


def test_each_label_has_a_probability_of_its_own(rectangles, fitted):
  test = rectangles.doing("multilabel").test
  told = sslx.predict(fitted("multilabel"), test.x)
  assert (told.dtype, told.shape) == (np.float32, (TEST, 2))
  assert 0 <= told.min() <= told.max() <= 1
  assert np.ptp(told.sum(1)) > 0.5  # they do not share one
  scores = sslx.scores(fitted("multilabel"), test)
  assert ((told > 0.5) == test.y).mean() == pytest.approx(scores["accuracy"])


def test_numbers_are_in_their_own_units(rectangles, fitted):
  test = rectangles.doing("regression").test
  for mode in ("frozen", "scratch"):
    told = sslx.predict(fitted("regression", mode), test.x)
    assert (told.dtype, told.shape) == (np.float32, (TEST, 2))
    missed = np.abs(told - test.targets()).mean(0)
    scores = sslx.scores(fitted("regression", mode), test)
    assert missed.tolist() == pytest.approx([scores["MAE_row"], scores["MAE_column"]])
    assert missed.max() < 2.5  # pixels


def test_masks_are_cut_to_the_size_of_the_images(rectangles, fitted):
  test, made = rectangles.doing("segmentation").test, fitted("segmentation")
  told, outputs = sslx.predict(made, test.x), made.predictor.outputs(test.x)
  assert outputs.shape == (TEST, 32, 32)
  assert (told.dtype, told.shape) == (np.uint8, (TEST, SIZE, SIZE))
  np.testing.assert_array_equal(told, outputs[:, :SIZE, :SIZE])
  assert (told == test.y).mean() == pytest.approx(sslx.scores(made, test)["pixel_accuracy"])


def test_boxes_lie_where_the_rectangles_are(rectangles, fitted):
  test = rectangles.doing("detection").test
  told = sslx.predict(fitted("detection"), test.x)
  assert told.dtype == np.float32
  assert told.ndim == 3
  assert told.shape[::2] == (TEST, 6)
  there, score = told[..., 0] >= 0, told[..., 5]
  assert 0 <= score.min() <= score.max() <= 1
  assert (np.diff(score) <= 0).all()  # the best first
  assert (told[..., 0][~there] == -1).all()
  best, truth = told[:, 0, 1:5], test.targets()[:, 0, 1:5]
  sides = np.minimum(best[:, 2:], truth[:, 2:]) - np.maximum(best[:, :2], truth[:, :2])
  shared = np.prod(np.maximum(sides, 0), 1)
  area = sum(np.prod(box[:, 2:] - box[:, :2], 1) for box in (best, truth))
  assert (shared / (area - shared) > 0.5).mean() > 0.6


@pytest.mark.parametrize("task", GOOD)
def test_of_no_images_there_are_no_predictions(task, rectangles, fitted):
  some = sslx.predict(fitted(task), rectangles.test.x[:3])
  for x in (rectangles.test.x[:0], np.zeros((0, SIZE, SIZE, 1))):
    none = sslx.predict(fitted(task), x)
    assert (none.shape, none.dtype) == ((0, *some.shape[1:]), some.dtype)


# ---- how the encoder is read, and the head trained -------------------------------------------------------------------


def test_an_encoder_is_read_as_the_task_does(run, rectangles, fitted):
  readings = {task: fitted(task).predictor.represent.reading for task in GOOD}
  assert readings == {
    "classification": "flatten", "multilabel": "flatten", "regression": "all:moments", "segmentation": "maps4",
    "detection": "maps4",
  }  # fmt: skip


def test_a_run_of_the_same_task_says_how_it_is_read(run, rectangles):
  numbers = rectangles.doing("regression")
  pooled = run._replace(meta=run.meta._replace(task="regression", features="pool"))
  assert sslx.fit(pooled, numbers, 20).predictor.represent.reading == "pool"
  assert sslx.fit(pooled, numbers, 20, features="block1:pool").predictor.represent.reading == "block1:pool"
  assert sslx.fit(pooled, rectangles, 20).predictor.represent.reading == "flatten"


@pytest.mark.parametrize(
  ("task", "features", "what"),
  [
    ("detection", "pool", "reads maps4"),
    ("detection", "maps2", "reads maps4"),  # its boxes would be twice as large as meant
    ("segmentation", "maps8", "reads maps4"),
    ("regression", "maps4", "reads no maps"),
    ("multilabel", "maps4", "reads no maps"),
  ],
)
def test_a_reading_that_is_not_for_the_task_is_refused(task, features, what, run, rectangles):
  with pytest.raises(UserError, match=f"^features={features}: {task} {what}; leave features out.$"):
    sslx.fit(run, rectangles.doing(task), 20, features=features)
  with pytest.raises(UserError, match=f"^features={features}: {task} {what}; leave features out.$"):
    sslx.pretrain("denoise", rectangles.doing(task), features=features, progress=False)


def test_an_encoder_without_maps_is_refused(rectangles):
  flat = sslx.pretrain("autoencode", rectangles, encoder="mlp:widths=8,code=3", steps=1, progress=False)
  with pytest.raises(UserError, match=r"^encoder: its blocks have no maps, which this task reads"):
    sslx.fit(flat, rectangles.doing("detection"), 20)


def test_data_without_labels_are_refused(run, rectangles):
  train = dataclasses.replace(rectangles.train, y=None, others={})
  data = dataclasses.replace(rectangles, task=TASKS["none"](()), train=train, others={})
  with pytest.raises(UserError, match="its training split has no labels; load_data gives files some by labels_file"):
    sslx.fit(run, data, 10)


def test_a_mode_that_cannot_do_the_task_is_refused(run, rectangles):
  for task, mode in (("detection", "raw"), ("regression", "knn:3"), ("segmentation", "propagate")):
    with pytest.raises(UserError, match=f"^mode={mode}: does not do {task}"):
      sslx.fit(run, rectangles.doing(task), 20, mode)


def test_the_recipe_is_the_task_s_own_unless_given(run, rectangles):
  numbers = rectangles.doing("regression")
  own = numbers.task._replace(recipe=(("steps", 1), ("learning_rates", (0.123,))))
  data = dataclasses.replace(numbers, task=own)
  for recipe, rate in ((None, 0.123), (Recipe(steps=1, learning_rates=(0.5,)), 0.5)):
    made = sslx.fit(run, data, 20, "scratch", recipe=recipe)
    assert made.predictor.head.chosen["learning_rate"] == rate


def test_a_library_that_scores_need_is_told_before_anything_is_trained(run, rectangles, monkeypatch):
  find = importlib.util.find_spec
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "faster_coco_eval" else find(name))
  with pytest.raises(UserError, match=r"^detection: .* faster-coco-eval; pip install 'sslx\[detection\]'"):
    sslx.fit(run, rectangles.doing("detection"), 20)
  assert len(sslx.fit(run, rectangles.doing("regression"), 20).rows) == 20


def test_data_are_loaded_for_a_task(monkeypatch, rectangles):
  asked = []
  monkeypatch.setattr(sources, "load", lambda *given, **how: asked.append((how["task"], how["targets"])) or rectangles)
  sslx.load_data("scenes")
  sslx.load_data("scenes", task="regression", targets="row")
  sslx.load_data("scenes", targets=["row", "column"])
  assert asked == [(None, ()), ("regression", ("row",)), (None, ("row", "column"))]


# ---- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", GOOD)
def test_predictions_are_drawn(task, rectangles, fitted):
  figure = sslx.plot_predictions(fitted(task), rectangles.doing(task).test)
  assert isinstance(figure, Figure)
  assert figure.axes


@pytest.mark.parametrize("task", ["multilabel", *OTHER])
def test_what_is_drawn_belongs_together(task, rectangles, fitted, monkeypatch):
  """Each image with its own target and its own prediction, in an order of the seed's."""
  drawn = []
  monkeypatch.setattr("sslx.fitted.figures.answers", lambda *given: drawn.append(given) or {"x": Figure()})
  made, test = fitted(task), rectangles.doing(task).test
  for seed in (0, 0, 1):
    sslx.plot_predictions(made, test, seed)
  rows = []
  for told, images, y, outputs in drawn:
    assert told.name == task
    n = TEST if task == "regression" else 40
    assert (len(images), len(y), len(outputs)) == (40, n, n)
    found = [int(np.abs(test.x / 255 - image).max((1, 2, 3)).argmin()) for image in images]
    np.testing.assert_array_equal(y[:40], test.targets()[found])
    np.testing.assert_allclose(outputs[:40], made.predictor.outputs(test.x)[found], rtol=1e-4, atol=1e-4)
    rows.append(found)
  assert rows[0] == rows[1] != rows[2]


def test_confusion_is_of_classes(rectangles, fitted):
  assert isinstance(sslx.plot_confusion(fitted("classification"), rectangles.test), Figure)
  for task in ("multilabel", *OTHER):
    with pytest.raises(UserError, match=f"^fitted: its task is {task}, .* see sslx.plot_predictions"):
      sslx.plot_confusion(fitted(task), rectangles.doing(task).test)


def test_the_example_of_the_guide_runs(rectangles, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guide.md").read_text(), re.DOTALL)
  assert len(block.splitlines()) <= 10
  small = {
    '"denoise", scenes': f'"denoise", scenes, encoder="{ENCODER}", steps=3, progress=False',
    'labels=500, mode="full"': "labels=50",
    "labels=500": "labels=50",
  }
  for text, value in small.items():
    assert text in block
    block = block.replace(text, value, 1)
  tasks = {name: task._replace(recipe=(("steps", 2),)) for name, task in rectangles.others.items()}
  quick = dataclasses.replace(rectangles, others=tasks)
  monkeypatch.setattr(sources, "load", lambda *given, **how: quick.doing(how["task"]))
  names, _ = run_cells([block])
  assert names["boxes"].shape[::2] == (9, 6)
  assert names["fitted"].task.name == "segmentation"
  assert (tmp_path / "boxes.png").stat().st_size > 1000
