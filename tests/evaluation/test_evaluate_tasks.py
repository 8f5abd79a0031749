"""The protocol for tasks beyond classes: numbers, labels, pixels and boxes of one bright rectangle on a dark image."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
import pytest

from sslx import nn
from sslx.data import Dataset, Split
from sslx.data.types import image_classes
from sslx.evaluation import bench as benches
from sslx.evaluation import evaluate, features, finetune, modes
from sslx.evaluation.bench import Bench, Case, Predictor, draw
from sslx.evaluation.evaluate import Scored
from sslx.evaluation.recipe import Recipe
from sslx.tasks import ASKED, TASKS
from sslx.types import Task, UserError

SIZE, LABELS = 16, 40
RECIPE = Recipe(steps=60, batch_size=20, learning_rates=(1e-2,))
OTHERS = {
  "regression": ("row", "column"),
  "multilabel": ("wide", "upper"),
  "segmentation": ("background", "tall", "wide"),
  "detection": ("tall", "wide"),
}
WHOLE = ("random", "frozen", "last:1", "scratch", "full")


def split(n: int, seed: int) -> Split:
  rng = np.random.default_rng(seed)
  wide = (np.arange(n) % 2).astype(np.int32)
  sides = np.where(wide[:, None], [4, 8], [8, 4])
  low = (rng.random((n, 2)) * (SIZE + 1 - sides)).astype(int)
  high = low + sides
  place = np.arange(SIZE)
  rows, columns = ((place >= low[:, [i]]) & (place < high[:, [i]]) for i in (0, 1))
  mask = rows[:, :, None] & columns[:, None]
  x = rng.integers(0, 40, (n, SIZE, SIZE)) + 180 * mask
  centre = (low + high) / 2
  others = {
    "regression": (centre * [1, 100] + [0, 5000]).astype(np.float32),  # each in a unit of its own
    "multilabel": np.stack([wide, centre[:, 0] < SIZE / 2], 1).astype(np.uint8),
    "segmentation": (mask * (1 + wide)[:, None, None]).astype(np.uint8),
    "detection": np.concatenate([wide[:, None], low, high], 1).astype(np.float32)[:, None],
  }
  return Split(x.astype(np.uint8)[..., None], wide, others=others)


@pytest.fixture(scope="module")
def rectangles() -> Dataset:
  made = image_classes("rectangles", ("tall", "wide"), split(64, 0), split(30, 1))
  return dataclasses.replace(made, others={name: TASKS[name](names) for name, names in OTHERS.items()})


def bench_of(dataset: Dataset, recipe: Recipe = RECIPE, heldout: int = 0, labels: int = LABELS) -> Bench:
  encoder, task = nn.build("conv:widths=8-12"), dataset.task
  like = nn.Representation(encoder, task.reading, {}, {}, dataset.modality.prepare)
  return Bench(dataset, draw(dataset, (labels,), 1, heldout), features.random(like, dataset)(7), recipe, 0)


class Done(NamedTuple):
  bench: Bench
  scored: dict[str, Scored]  # by mode


def run(bench: Bench, *names: str) -> dict[str, Scored]:
  cases = [Case(name, LABELS, 0) for name in names]
  return {case.mode: scored for case, scored in evaluate.evaluate(bench, cases)}


@pytest.fixture(scope="module", params=OTHERS)
def done(request, rectangles) -> Done:
  bench = bench_of(rectangles.doing(request.param))
  raw = ("raw",) if request.param in modes.SIGNAL else ()
  return Done(bench, run(bench, *WHOLE, *raw))


def head_params(predictor: Predictor) -> dict:
  assert isinstance(predictor.head, finetune.Placed)
  return predictor.head.params


def trees_equal(a, b) -> bool:
  return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_every_mode_has_the_same_parameters(done):
  bench, scored = done
  total = {name: scored[name].predictor.total for name in WHOLE}
  trainable = {name: scored[name].predictor.trainable for name in WHOLE}
  assert len(set(total.values())) == 1
  head = total["full"] - bench.pretrained.size
  for name in WHOLE:
    assert scored[name].predictor.head.size == head
  assert trainable["random"] == trainable["frozen"] == head
  assert head < trainable["last:1"] < trainable["full"] == trainable["scratch"] == total["full"]


def test_a_frozen_encoder_stays_bit_for_bit_and_others_move(done):
  bench, scored = done
  before = bench.pretrained.params
  assert trees_equal(scored["frozen"].predictor.represent.params, before)
  assert trees_equal(scored["random"].predictor.represent.params, bench.fresh(bench.seed).params)
  last = scored["last:1"].predictor.represent.params
  assert trees_equal(last["block1"], before["block1"])
  for after in (last, scored["full"].predictor.represent.params):
    assert not trees_equal(after["block2"], before["block2"])
  assert not trees_equal(scored["full"].predictor.represent.params["block1"], before["block1"])


def test_training_beats_a_head_that_was_not_trained(done):
  bench, scored = done
  task, test = bench.task, bench.dataset.test
  reads = features.extract(bench.pretrained, test.x)
  params = nn.init(task.head(), jax.random.key(0), reads[:1])[0]
  units = task.units(test.targets()) if task.units else ()
  untrained = finetune.head_maker(task)(params, {}, *units)
  start = float(task.scores(np.asarray(untrained.outputs(reads)), test.targets())[task.score.name])
  for name, each in scored.items():
    assert next(iter(each.scores)) == task.score.name
    assert each.scores[task.score.name] > start + 0.05, name
  assert scored["full"].scores[task.score.name] > 0.6
  assert scored["scratch"].scores[task.score.name] > 0.6


def test_answers_are_in_the_format_of_the_task(done):
  bench, scored = done
  n, shape = len(bench.dataset.test), bench.dataset.test.targets().shape
  for each in scored.values():
    outputs = each.outputs
    if bench.task.name == "segmentation":
      assert outputs.dtype == np.uint8
      assert outputs.shape == shape
      assert outputs.max() < 3
    elif bench.task.name == "detection":
      assert outputs.dtype == np.float32
      assert outputs.shape[::2] == (n, 6)
      used = outputs[outputs[..., 0] >= 0]
      assert (used[:, 3:5] > used[:, 1:3]).all()
      assert (used[:, 1:5] >= 0).all()
      assert (used[:, 1:5] <= SIZE).all()
      assert (np.diff(outputs[..., 5], axis=1) <= 0).all()
    else:
      assert outputs.dtype == np.float32
      assert outputs.shape == shape


def test_batched_answers_are_those_of_all_examples_at_once(done, monkeypatch):
  """Whole maps are not kept: batches of seven, of which the last is padded."""
  bench, scored = done
  x = bench.dataset.test.x
  monkeypatch.setattr(benches, "MAPS_AT_ONCE", 7)
  for name, each in scored.items():
    predictor = each.predictor
    if bench.task.is_dense:
      head = nn.PixelHead(bench.task.outputs) if name == "raw" else bench.task.head()
      maps = predictor.represent(x)
      apply = jax.jit(lambda params, maps: bench.task.answer(nn.apply(head, params, {}, maps)[0]))
      expected = np.asarray(apply(head_params(predictor), maps))
    else:
      expected = predictor.head.outputs(np.asarray(predictor.represent(x)))
    for outputs in (each.outputs, predictor.outputs(x)):
      assert outputs.dtype == expected.dtype
      if bench.task.name == "segmentation":  # where two logits are alike, rounding decides
        assert (outputs != expected).mean() < 1e-3
      elif bench.task.name == "detection":
        sure = expected[..., 5] > 0.2
        np.testing.assert_allclose(outputs[sure], expected[sure], rtol=1e-2, atol=1e-2)
      else:
        np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-3)


def test_no_other_target_is_read_and_the_same_seed_gives_the_same(done):
  bench, scored = done
  train = bench.dataset.train
  poisoned = np.full_like(train.targets(), 77)
  rows = bench.labelled.subsets[0][LABELS]
  poisoned[rows] = train.targets()[rows]
  other = dataclasses.replace(bench.dataset, train=dataclasses.replace(train, y=poisoned))
  for name, each in run(dataclasses.replace(bench, dataset=other), "frozen", "full").items():
    np.testing.assert_array_equal(each.outputs, scored[name].outputs, err_msg=name)
    assert each.scores == scored[name].scores


def test_features_that_do_not_vary_are_counted_of_maps_too(done):
  for name, each in done.scored.items():
    assert (each.constant_features is None) == (name == "raw")
    assert name == "raw" or 0 <= each.constant_features < 1


# ---- one task by itself ----------------------------------------------------------------------------------------------


def test_a_network_learns_numbers_in_standard_units_and_answers_in_their_own(rectangles):
  """As if numbers had been standardised by hand, and answers brought back."""
  bench = bench_of(rectangles.doing("regression"))
  rows, task = bench.labelled.subsets[0][LABELS], bench.task
  x, y = bench.read(rows)
  shift, scale = y.mean(0), y.std(0)

  def trained(task: Task, y: np.ndarray) -> np.ndarray:
    start = bench.pretrained
    make = finetune.make_finetune(start.encoder, start.reading, task, (), RECIPE, start.prepare)
    return make(start, x, y, 0).outputs(x)

  own, plain = trained(task, y), trained(task._replace(units=None), (y - shift) / scale)
  np.testing.assert_allclose(own, plain * scale + shift, rtol=1e-4)
  np.testing.assert_allclose(own.mean(0), y.mean(0), rtol=0.2)


@pytest.mark.parametrize(("name", "score", "heldout"), [("segmentation", "mIoU", 0), ("regression", "R2", 12)])
def test_of_several_learning_rates_the_tasks_score_chooses(rectangles, name, score, heldout):
  """Of two folds, or of what is held out; the other rate learns nothing."""
  recipe = Recipe(steps=30, batch_size=20, learning_rates=(1e-9, 1e-2), folds=2)
  bench = bench_of(rectangles.doing(name), recipe, heldout)
  chosen = run(bench, "full")["full"].predictor.head.chosen
  assert chosen["learning_rate"] == 1e-2
  assert 0.1 < chosen[f"validation_{score}"] <= 1


@pytest.mark.parametrize("name", ["multilabel", "detection"])
def test_patience_looks_at_the_loss_where_the_score_is_not_watched(rectangles, name):
  """At a rate at which nothing changes, batches in the same order have the same losses: no epoch is below the first."""
  recipe = Recipe(steps=40, batch_size=20, learning_rates=(1e-60,), weight_decay=0.0, patience=2, shuffle=False)
  bench = bench_of(rectangles.doing(name), recipe)
  assert finetune.tune(bench, Case("frozen", LABELS, 0), bench.pretrained, ()).head.chosen["steps"] == 2 * (1 + 2)


def test_the_signal_alone_is_asked_for_pixels_one_by_one(rectangles):
  """Of a pixel its value and its place: a rectangle can be told from the ground, but tall from wide hardly."""
  bench = bench_of(rectangles.doing("segmentation"))
  scored = run(bench, "raw")["raw"]
  represent = scored.predictor.represent
  assert (represent.encoder, represent.reading) == (nn.PLACES, "maps1")
  read = np.asarray(represent(bench.dataset.test.x[:2]))
  assert read.shape == (2, SIZE, SIZE, 1 + 4)
  np.testing.assert_allclose(read[..., :1], bench.dataset.test.x[:2] / 255, rtol=1e-6)
  assert scored.scores["foreground_IoU"] > 0.9
  assert scored.predictor.trainable == scored.predictor.total == scored.predictor.head.size


def test_encoders_without_maps_are_refused_by_tasks_of_places(rectangles):
  dataset = rectangles.doing("detection")
  like = nn.Representation(nn.build("mlp:widths=6,code=4"), dataset.task.reading, {}, {}, dataset.modality.prepare)
  bench = dataclasses.replace(bench_of(dataset), pretrained=features.random(like, dataset)(0))
  with pytest.raises(UserError, match="--encoder: its blocks have no maps"):
    run(bench, "frozen")


# ---- which modes, and which libraries --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ASKED)
def test_every_task_can_be_done_by_its_own_head(name):
  task = TASKS[name](("a", "b"))
  for mode in WHOLE:
    assert modes.check_modes([mode], ("block1",), name) == (mode,)
  assert set(modes.SIGNAL) <= set(ASKED) == set(modes.ALL)
  assert not task.requires or task.requires in modes.LIBRARIES
  modes.check_extra(task)  # what its scores need is here
  assert Recipe(**dict(task.recipe))


def test_modes_that_do_not_do_a_task_are_refused_and_left_out(rectangles):
  for name in ("detection", "segmentation", "regression", "multilabel"):
    for mode in ("knn:3", "propagate", "self_train", "majority", *(["raw"] if name == "detection" else [])):
      with pytest.raises(UserError, match=f"^--modes={mode}: does not do {name}; it does classification"):
        modes.check_modes([mode], ("block1",), name)
    dataset = rectangles.doing(name)
    raw = () if name == "detection" else ("raw",)
    assert modes.controls(("frozen", "full"), dataset) == (*raw, "random")
    assert modes.doable(["raw", "frozen", "knn:20", "self_train"], dataset) == [*raw, "frozen"]


def test_a_library_that_is_missing_is_named_before_anything_is_trained(monkeypatch):
  monkeypatch.setitem(modes.LIBRARIES, "detection", "no_such_library")
  message = r"^detection: its scores need no-such-library; pip install 'sslx\[detection\]'\.$"
  with pytest.raises(UserError, match=message):
    modes.check_extra(TASKS["detection"](("a",)))
  modes.check_extra(TASKS["segmentation"](("a", "b")))
