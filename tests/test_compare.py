"""The protocol: same parameters, nested subsets, no label beyond the subset, the test split after everything else."""

import dataclasses

import jax
import numpy as np
import pytest

from sslx import nn
from sslx.data import Split
from sslx.evaluation import compare, finetune, probe, propagation
from sslx.types import UserError

ENCODER, MODES = (
  "conv:widths=4-6",
  (
    "raw",
    "random",
    "scratch",
    "frozen",
    "last:1",
    "full",
    "knn:3",
    "propagate",
    "raw+propagate:cmn",
    "self_train",
    "raw+self_train",
  ),
)
ENCODE = finetune.encode_fn(nn.build(ENCODER), "flatten")
RECIPE = finetune.Recipe(steps=4, batch_size=8, learning_rates=(1e-3, 1e-2), folds=2, self_train_epochs=0.5)


def run(dataset, sizes=(12, 30), seeds=2, heldout=0, modes=MODES):
  encoder = nn.build(ENCODER)
  labelled = compare.draw(dataset.train.labels, sizes, seeds, heldout)
  tasks = [compare.Task(m, n, s) for m in modes for n in sizes for s in range(seeds)]
  pretrained = finetune.make_init_encoder(encoder, dataset.image_shape)(7)
  trained = compare.train_classifiers(
    tasks, dataset, labelled, encoder, "flatten", ENCODE, pretrained, RECIPE, 0, lambda line: None
  )
  return encoder, labelled, trained


@pytest.fixture(scope="module")
def result(toy):
  return run(toy)


def test_every_mode_has_the_same_parameters(result, toy):
  _, _, trained = result
  assert len(trained) == len(MODES) * 4
  total = {t.mode: c.classifier.total for t, c in trained.items()}
  trainable = {t.mode: c.classifier.trainable for t, c in trained.items()}
  assert len({total[m] for m in ("random", "scratch", "frozen", "last:1", "full", "self_train")}) == 1
  head = 3 * 3 * 6 * 3 + 3
  assert (
    trainable["scratch"] == trainable["full"] == trainable["self_train"] == total["full"] == total["raw+self_train"]
  )
  assert trainable["frozen"] == trainable["random"] == head
  assert trainable["raw"] == total["raw"] == 12 * 12 * 3 + 3
  assert head < trainable["last:1"] < total["full"]
  assert trainable["knn:3"] == trainable["propagate"] == trainable["raw+propagate:cmn"] == 0
  assert total["propagate"] == total["knn:3"] > total["raw+propagate:cmn"] == 0


@pytest.mark.parametrize("heldout", [0, 30])
def test_no_other_label_is_read(toy, heldout):
  sizes = (12,)
  _, labelled, clean = run(toy, sizes, 1, heldout)
  allowed = np.union1d(labelled.subsets[0][12], [] if labelled.heldout is None else labelled.heldout).astype(int)
  poisoned = np.full_like(toy.train.labels, -(10**6))
  poisoned[allowed] = toy.train.labels[allowed]
  encoder = nn.build(ENCODER)
  pretrained = finetune.make_init_encoder(encoder, toy.image_shape)(7)
  other = dataclasses.replace(toy, train=Split(toy.train.images, poisoned))
  trained = compare.train_classifiers(
    list(clean), other, labelled, encoder, "flatten", ENCODE, pretrained, RECIPE, 0, lambda line: None
  )
  before = compare.logits(clean, ENCODE, toy.test)
  after = compare.logits(trained, ENCODE, toy.test)
  for task in clean:
    np.testing.assert_array_equal(before[task], after[task], err_msg=str(task))


def test_training_never_touches_the_test_split(toy, result):
  class Forbidden:
    shape = toy.test.images.shape

    def __len__(self):
      return self.shape[0]

    def __getitem__(self, index):
      raise AssertionError("the test split was read")

  _, _, trained = result
  _, _, again = run(dataclasses.replace(toy, test=Split(Forbidden(), Forbidden())))
  for task in trained:
    a, b = trained[task].classifier.head, again[task].classifier.head
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
      np.testing.assert_array_equal(x, y)


def test_predictions_are_those_of_the_classifier(toy, result):
  encoder, _, trained = result
  logits = compare.logits(trained, ENCODE, toy.test)
  images = toy.test.images[:5].astype(np.float32) / 255
  for task, (classifier, _) in trained.items():
    tree = classifier.encoder
    features = images.reshape(5, -1)
    if tree is not None:
      features = np.asarray(nn.encode(encoder, "flatten", tree["params"], tree["stats"], images))
    np.testing.assert_allclose(logits[task][:5], classifier.head.logits(features), rtol=2e-4, atol=2e-4)


def test_scratch_starts_anew_for_each_subset_and_full_from_the_pretrained(toy):
  encoder = nn.build(ENCODER)
  labelled = compare.draw(toy.train.labels, (12,), 2, 0)
  pretrained = finetune.make_init_encoder(encoder, toy.image_shape)(7)
  tasks = [compare.Task(m, 12, s) for m in ("scratch", "full") for s in (0, 1)]
  recipe = finetune.Recipe(steps=1, batch_size=8, learning_rates=(1e-30,), weight_decay=0.0)
  trained = compare.train_classifiers(
    tasks, toy, labelled, encoder, "flatten", ENCODE, pretrained, recipe, 0, lambda line: None
  )
  kernel = lambda t: np.asarray(trained[t].classifier.encoder["params"]["block1"]["Conv_0"]["kernel"])  # noqa: E731
  np.testing.assert_array_equal(kernel(tasks[2]), pretrained["params"]["block1"]["Conv_0"]["kernel"])
  np.testing.assert_array_equal(kernel(tasks[2]), kernel(tasks[3]))
  assert not np.array_equal(kernel(tasks[0]), kernel(tasks[1]))
  assert not np.array_equal(kernel(tasks[0]), kernel(tasks[2]))


def test_held_out_rows_are_in_no_subset(toy):
  labelled = compare.draw(toy.train.labels, (12, 150), 3, 60)
  assert len(labelled.heldout) == 60
  for by_size in labelled.subsets.values():
    assert not np.intersect1d(by_size[150], labelled.heldout).size
    assert np.isin(by_size[12], by_size[150]).all()
  with pytest.raises(UserError, match="heldout:240"):
    compare.draw(toy.train.labels, (12,), 1, 240)


def test_modes_are_checked():
  blocks = ("a", "b")
  assert compare.check_modes(["full", "frozen", "full", " last:2"], blocks) == ("full", "frozen", "last:2")
  assert compare.controls(("frozen", "propagate:cmn")) == ("raw", "random", "raw+propagate:cmn")
  for bad, message in [
    ("frozn", "frozen"),
    ("last:3", "2 blocks"),
    ("knn:0", "no such mode"),
    ("propagte", "'propagate'"),
    ("", "at least one"),
  ]:
    with pytest.raises(UserError, match=message):
      compare.check_modes([bad], blocks)


def test_each_round_of_self_training_spreads_the_labels_over_what_the_last_one_learnt(toy):
  encoder, calls = nn.build(ENCODER), []
  trees = [finetune.make_init_encoder(encoder, toy.image_shape)(seed) for seed in range(4)]
  rows = np.arange(9)

  def graph_of(tree):
    return propagation.graph(probe.extract(finetune.features_of(tree, ENCODE), toy.train.images))

  def tune(tree, images, rows, labels, spread, seed, title):
    calls.append((tree, spread.belief, seed, title))
    np.testing.assert_array_equal(labels, toy.train.labels[rows])
    head = probe.Linear(np.zeros((54, 3)), np.zeros(3), probe.identity(54), {"teacher_sure": 0.5})
    return finetune.Classifier(trees[len(calls)], head, 1, 2)

  fit = compare._self_trainer(tune, lambda task: trees[0], lambda which: graph_of(trees[0]), ENCODE, toy, 3)
  classifier = fit(compare.Task("self_train", 9, 4), rows)
  beliefs = [propagation.propagate(graph_of(tree), rows, toy.train.labels[rows], 3).belief for tree in trees]
  assert [tree is trees[0] for tree, *_ in calls] == [True] * 3
  for (_, given, seed, title), belief in zip(calls, beliefs, strict=False):
    np.testing.assert_array_equal(given, belief)
    assert seed == 4
    assert "subset 5, round" in title
  np.testing.assert_array_equal(classifier.head.belief, beliefs[3])  # the answer is the last graph's
  assert classifier.encoder is trees[3]
  assert (classifier.trainable, classifier.total) == (1, 2)
  assert (classifier.head.chosen["teacher_sure"], classifier.head.chosen["rounds"]) == (0.5, 3)
