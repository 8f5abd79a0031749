"""The protocol: same parameters, nested subsets, no label beyond the subset, the test split after everything else."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from pretexts import WORDS, texts

from sslx import nn
from sslx.data import Dataset, Split
from sslx.data.types import text_classes
from sslx.evaluation import evaluate, features, finetune, propagation, self_train
from sslx.evaluation.bench import Bench, Case, Predictor, draw
from sslx.evaluation.modes import MODES, check_amounts, check_modes, controls, doable, mode
from sslx.evaluation.recipe import Recipe
from sslx.tasks import TASKS
from sslx.tasks.linear import Linear, identity
from sslx.training import parallel
from sslx.types import UserError

ENCODER = "conv:widths=4-6"
ASKED = (
  "raw", "random", "scratch", "frozen", "last:1", "full", "knn:3", "propagate", "raw+propagate:cmn", "self_train",
  "raw+self_train",
)  # fmt: skip
RECIPE = Recipe(steps=4, batch_size=8, learning_rates=(1e-3, 1e-2), folds=2, self_train_epochs=0.5)


def pretrained(dataset: Dataset, seed: int = 7) -> nn.Representation:
  encoder = nn.build("bag+mlp:widths=4", vocabulary=WORDS) if dataset.vocabulary else nn.build(ENCODER)
  like = nn.Representation(encoder, "flatten", {}, {}, dataset.modality.prepare)
  return features.random(like, dataset)(seed)


def text_toy() -> Dataset:
  x, y = texts(range(5, 35), 34), np.arange(30, dtype=np.int32) % 3
  return text_classes("words", WORDS, ("a", "b", "c"), Split(x, y), Split(x[:6], y[:6]))


def bench_of(dataset, sizes=(12, 30), seeds=2, heldout=0, recipe=RECIPE) -> Bench:
  return Bench(dataset, draw(dataset, sizes, seeds, heldout), pretrained(dataset), recipe, 0)


def cases_of(bench: Bench, modes=ASKED) -> list[Case]:
  return [Case(m, n, s) for m in modes for s, sizes in bench.labelled.subsets.items() for n in sizes]


@pytest.fixture(scope="module")
def trained(toy):
  bench = bench_of(toy)
  return evaluate.train(bench, cases_of(bench))


def test_every_mode_has_the_same_parameters(trained):
  assert len(trained) == len(ASKED) * 4
  total = {case.mode: t.predictor.total for case, t in trained.items()}
  trainable = {case.mode: t.predictor.trainable for case, t in trained.items()}
  whole = [name for name in ASKED if mode(name).whole]
  assert {"random", "scratch", "frozen", "last:1", "full", "self_train", "raw+self_train"} == set(whole)
  assert len({total[m] for m in whole}) == 1
  head = 3 * 3 * 6 * 3 + 3
  assert trainable["scratch"] == trainable["full"] == trainable["self_train"] == total["full"]
  assert trainable["frozen"] == trainable["random"] == head
  assert trainable["raw"] == total["raw"] == 12 * 12 * 3 + 3
  assert head < trainable["last:1"] < total["full"]
  assert trainable["knn:3"] == trainable["propagate"] == trainable["raw+propagate:cmn"] == 0
  assert total["propagate"] == total["knn:3"] > total["raw+propagate:cmn"] == 0


@pytest.mark.parametrize("heldout", [0, 30])
def test_no_other_label_is_read(toy, heldout):
  bench = bench_of(toy, (12,), 1, heldout)
  labelled = bench.labelled
  cases = cases_of(bench)
  allowed = np.union1d(labelled.subsets[0][12], [] if labelled.heldout is None else labelled.heldout).astype(int)
  poisoned = np.full_like(toy.train.y, -(10**6))
  poisoned[allowed] = toy.train.y[allowed]
  other = dataclasses.replace(bench, dataset=dataclasses.replace(toy, train=Split(toy.train.x, poisoned)), memory={})
  before, after = (evaluate.test(evaluate.train(b, cases), toy.test, toy.task) for b in (bench, other))
  for case in cases:
    np.testing.assert_array_equal(before[case].outputs, after[case].outputs, err_msg=str(case))


class Forbidden:
  """A test split that must not be read."""

  shape = (90, 12, 12, 1)

  def __len__(self):
    return self.shape[0]

  def __getitem__(self, index):
    raise AssertionError("the test split was read")


def test_training_never_touches_the_test_split(toy, trained):
  bench = bench_of(dataclasses.replace(toy, test=Split(Forbidden(), Forbidden())))
  again = evaluate.train(bench, cases_of(bench))
  for case in trained:
    a, b = trained[case].predictor.head, again[case].predictor.head
    a, b = (h.belief if isinstance(h, propagation.Propagated) else h for h in (a, b))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
      np.testing.assert_array_equal(x, y)


def test_outputs_and_scores_are_those_of_the_predictor(toy, trained):
  scored = evaluate.test(trained, toy.test, toy.task)
  x = toy.test.x[:5]
  for case, (predictor, _) in trained.items():
    represent = predictor.represent
    prepared = x.astype(np.float32) / 255
    expected = prepared.reshape(5, -1)
    if represent.params:
      blocks, _ = nn.apply(represent.encoder, represent.params, represent.stats, prepared)
      expected = np.asarray(blocks["block2"]).reshape(5, -1)
    np.testing.assert_allclose(represent(x), expected, rtol=1e-5, atol=1e-5)
    outputs = predictor.head.outputs(expected)
    np.testing.assert_allclose(scored[case].outputs[:5], outputs, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(predictor.outputs(x), outputs, rtol=2e-4, atol=2e-4)
    right = (scored[case].outputs.argmax(1) == toy.test.y).mean()
    assert scored[case].scores == {"accuracy": right}


def test_each_case_is_given_before_the_next_is_trained(toy, monkeypatch):
  """And the test split goes once through an encoder that no mode trains, once more for each that is trained."""
  log, extract = [], evaluate.extract
  monkeypatch.setattr(evaluate, "extract", lambda *arguments: log.append("read") or extract(*arguments))
  bench = bench_of(toy, (12,), 2)
  bench = dataclasses.replace(
    bench, say=lambda line: log.append(line.partition(",")[0]) if line.endswith(" s") else None
  )
  cases = [Case(m, 12, s) for m in ("raw", "scratch", "frozen") for s in (0, 1)]
  for case, scored in evaluate.evaluate(bench, cases):
    assert scored.outputs.shape == (90, 3)
    log.append(case)
  expected = []
  for number, case in enumerate(cases, 1):
    first = case.mode == "scratch" or case.subset_seed == 0
    expected += [f"{number} of 6: {case.mode}", *(["read"] if first else []), case]
  assert log == expected


def test_what_is_said_is_numbered_over_all_cases_and_names_what_begins(toy):
  """scratch and full train the same step, which is compiled for each number of labels; two cases were there before."""
  said: list[str] = []
  recipe = dataclasses.replace(RECIPE, steps=5)  # a step of its own, whatever other tests have compiled
  bench = dataclasses.replace(bench_of(toy, seeds=1, recipe=recipe), say=said.append, done=2)
  evaluate.train(bench, [Case("scratch", 12, 0), Case("full", 12, 0), Case("full", 30, 0), Case("frozen", 12, 0)])
  assert [re.sub(r"\d+\.\d s", "time", line) for line in said] == [
    "3 of 6: scratch, 12 labels, subset 1: compiling and training ...",
    "3 of 6: scratch, 12 labels, subset 1: time",
    "4 of 6: full, 12 labels, subset 1: training ...",
    "4 of 6: full, 12 labels, subset 1: time",
    "5 of 6: full, 30 labels, subset 1: compiling and training ...",
    "5 of 6: full, 30 labels, subset 1: time",
    "6 of 6: frozen, 12 labels, subset 1: time",
  ]


def test_the_score_is_the_tasks_and_so_is_its_direction(toy):
  """With a task whose first score is an error, the learning rate with the lowest is
  chosen, and the rows tell the error."""
  error = toy.task._replace(
    score=toy.task.score._replace(name="error", higher_is_better=False),
    scores=lambda logits, y: {"error": (logits.argmax(-1) != y).mean()},
  )
  recipe = Recipe(steps=30, batch_size=8, learning_rates=(1e-9, 1e-2), folds=2)
  for task in (toy.task, error):
    bench = bench_of(dataclasses.replace(toy, task=task), (60,), 1, recipe=recipe)
    scored = dict(evaluate.evaluate(bench, cases_of(bench, ("scratch", "frozen"))))
    for case, each in scored.items():
      assert list(each.scores) == [task.score.name]
      if case.mode == "scratch":
        assert each.predictor.head.chosen["learning_rate"] == 1e-2  # the other one learns nothing
        assert f"validation_{task.score.name}" in each.predictor.head.chosen


def test_scratch_starts_anew_for_each_subset_and_full_from_the_pretrained(toy):
  recipe = Recipe(steps=1, batch_size=8, learning_rates=(1e-30,), weight_decay=0.0)
  bench = bench_of(toy, (12,), 2, recipe=recipe)
  cases = [Case(m, 12, s) for m in ("scratch", "full") for s in (0, 1)]
  trained = evaluate.train(bench, cases)
  kernel = lambda p: np.asarray(nn.only_layer(p.represent.params["block1"])["kernel"])  # noqa: E731
  scratch, other, full, again = (kernel(trained[case].predictor) for case in cases)
  np.testing.assert_array_equal(full, nn.only_layer(bench.pretrained.params["block1"])["kernel"])
  np.testing.assert_array_equal(full, again)
  assert not np.array_equal(scratch, other)
  assert not np.array_equal(scratch, full)


def test_held_out_rows_are_in_no_subset(toy):
  labelled = draw(toy, (12, 150), 3, 60)
  assert labelled.heldout is not None
  assert len(labelled.heldout) == 60
  for by_size in labelled.subsets.values():
    assert not np.intersect1d(by_size[150], labelled.heldout).size
    assert np.isin(by_size[12], by_size[150]).all()
  with pytest.raises(UserError, match="heldout:240"):
    draw(toy, (12,), 1, 240)


def test_subsets_and_what_is_held_out_are_drawn_alike(toy):
  y = np.repeat([0, 1, 2], (200, 30, 10)).astype(np.int32)
  uneven = dataclasses.replace(toy, train=Split(toy.train.x, y))
  counts = {
    how: [np.bincount(y[rows]).tolist() for rows in (labelled.heldout, labelled.subsets[0][24])]
    for how in ("balanced", "stratified")
    for labelled in [draw(uneven, (24,), 1, 48, how)]
    if labelled.how == how
  }
  assert counts["stratified"] == [[40, 6, 2], [20, 3, 1]]
  assert counts["balanced"][0] == [19, 19, 10]  # all of the rarest class


def test_what_is_computed_once_is_no_cases_own_time(toy):
  bench = bench_of(toy)
  made = []

  def slow():
    made.append(bench.shared_seconds)
    return bench.once("inner", lambda: 1)

  assert [bench.once("outer", slow) for _ in range(3)] == [1, 1, 1]
  assert len(made) == 1
  assert bench.shared_seconds > 0
  rows = bench.labelled.of([Case("frozen", 12, 1)])
  assert {seed: list(sizes) for seed, sizes in rows.subsets.items()} == {1: [12]}
  np.testing.assert_array_equal(rows.rows(), np.sort(bench.labelled.subsets[1][12]))


# ---- the table of modes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODES)
def test_every_mode_keeps_its_contract(name, toy):
  """Names of tasks that exist; a control that reads raw signals; a fit that gives outputs for every class."""
  entry = MODES[name]
  assert entry.tasks
  assert set(entry.tasks) <= TASKS.keys()
  assert entry.help
  assert entry.reads == "raw" or not name.startswith("raw")
  if entry.control:
    assert MODES[entry.control].reads == "raw"
  argument = {"K": "2", "": ""}.get(entry.argument, "")
  if entry.modalities == ("text",):
    toy = text_toy()
  bench = bench_of(toy, (12,), 1, recipe=Recipe(steps=1, self_train_epochs=0.1, self_train_rounds=1))
  before = [np.array(leaf) for leaf in jax.tree.leaves(bench.pretrained.params)]
  predictor = entry.fit(bench, Case(f"{name}{':' if argument else ''}{argument}", 12, 0))
  assert isinstance(predictor, Predictor)
  outputs = predictor.outputs(toy.test.x[:4])
  assert outputs.shape == (4, 3)
  assert np.isfinite(outputs).all()
  assert 0 <= predictor.trainable <= predictor.total
  assert predictor.head.chosen is not None
  if not entry.trains_encoder:
    assert predictor.represent is bench.source(
      name if entry.reads == "raw" and entry.argument == "[K]" else entry.reads
    )
  for a, b in zip(before, jax.tree.leaves(bench.pretrained.params), strict=True):
    np.testing.assert_array_equal(a, b)  # the next case starts from the same weights


def test_a_new_mode_is_one_line(toy, monkeypatch):
  def fit(bench, case):
    outputs = np.arange(bench.task.outputs, dtype=np.float32)
    represent = bench.source("raw")
    d = int(np.prod(bench.dataset.x_shape))
    head = Linear(np.zeros((d, 3), np.float32), outputs, identity(d), {"always": case.argument})
    return Predictor(represent, head, 0, 0)

  constant = MODES["raw"]._replace(fit=fit, argument="[text]", whole=False)
  monkeypatch.setitem(MODES, "constant", constant)
  assert check_modes(["constant:x"], ("a",)) == ("constant:x",)
  bench = bench_of(toy, (12,), 1)
  ((_, scored),) = evaluate.evaluate(bench, [Case("constant:x", 12, 0)])
  assert scored.scores["accuracy"] == pytest.approx(1 / 3)
  assert scored.predictor.head.chosen == {"always": "x"}


def test_features_that_are_the_same_for_all_examples_are_counted(toy):
  varied = np.random.default_rng(0).normal(size=(9, 2, 2)).astype(np.float32)
  assert evaluate.constant_share(varied) == 0
  varied[:, 0] = 7.0, 0.0
  assert evaluate.constant_share(varied) == 0.5
  varied[:, 1, 0] = 1e4 + np.arange(9) * 1e-3  # no more than rounding
  assert evaluate.constant_share(varied) == 0.75
  varied[:, 1, 0] = 1e-4 * np.arange(9)
  assert evaluate.constant_share(varied) == 0.5
  assert evaluate.constant_share(varied[:1]) is None
  bench = bench_of(toy, (12,), 1)
  dead = jax.tree.map(lambda leaf: 0 * leaf, bench.pretrained.params)
  bench = dataclasses.replace(bench, pretrained=bench.pretrained._replace(params=dead))
  modes = ("raw", "random", "scratch", "frozen", "raw+propagate:cmn", "raw+self_train")
  shares = {case.mode: scored.constant_features for case, scored in evaluate.evaluate(bench, cases_of(bench, modes))}
  assert shares["frozen"] == 1
  assert shares["raw"] is shares["raw+propagate:cmn"] is None
  assert all(0 <= shares[name] < 1 for name in ("random", "scratch", "raw+self_train"))


def test_default_modes_are_those_that_can_do_the_task(toy):
  sound = dataclasses.replace(toy, modality=toy.modality._replace(name="sound"))
  assert doable(["frozen", "self_train", "knn:20"], toy) == ["frozen", "self_train", "knn:20"]
  assert doable(["frozen", "self_train", "knn:20"], sound) == ["frozen", "knn:20"]
  other = dataclasses.replace(toy, task=toy.task._replace(name="ranking"))  # that no mode has heard of
  assert doable(["frozen", "knn:20"], other) == []


def test_what_lacks_labels_or_examples_is_told_before_any_training():
  check_amounts(["frozen", "knn:20", "propagate", "self_train"], 20, 11)
  for text, reason in (("knn:21", "number of labels \\(20\\)"), ("knn:200", "number of labels")):
    with pytest.raises(UserError, match=f"--modes={text}: .*{reason}"):
      check_amounts(["frozen", text], 20, 1000)
  for text in ("propagate", "propagate:cmn", "raw+propagate", "self_train", "raw+self_train"):
    with pytest.raises(UserError, match=r"its graph needs more than 10 training images, and these are 10"):
      check_amounts([text], 10, 10)


def test_controls(toy):
  assert controls(("frozen", "propagate:cmn"), toy) == ("raw", "random", "raw+propagate:cmn")
  assert controls(("self_train", "propagate", "self_train"), toy) == (
    "raw", "random", "raw+self_train", "raw+propagate"
  )  # fmt: skip
  sound = dataclasses.replace(toy, modality=toy.modality._replace(name="sound"))
  assert controls(("self_train",), sound) == ("raw", "random")  # as far as they can read the data


def with_counts(dataset: Dataset, *counts: int) -> Dataset:
  """A test split with so many of each class."""
  y = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
  return dataclasses.replace(dataset, test=Split(dataset.test.x[: len(y)], y))


def test_the_most_frequent_class_stands_beside_where_classes_are_uneven(toy):
  """From one and a half times its even share on: of three classes, a half of the test split."""
  for counts, uneven in (((30, 30, 30), False), ((44, 40, 5), False), ((45, 40, 5), True), ((5, 5, 80), True)):
    assert ("majority" in controls(("frozen",), with_counts(toy, *counts))) == uneven
  other = dataclasses.replace(toy, task=toy.task._replace(name="regression"))
  assert "majority" not in controls(("frozen",), with_counts(other, 5, 5, 80))


def test_majority_answers_the_most_frequent_class_of_all_training_images(toy):
  """A balanced subset would not tell it; no feature is read, and nothing is trained."""
  y = np.repeat([0, 1, 2], (60, 140, 40)).astype(np.int32)
  bench = bench_of(dataclasses.replace(with_counts(toy, 20, 60, 10), train=Split(toy.train.x, y)), (30,), 1)
  ((_, scored),) = evaluate.evaluate(bench, [Case("majority", 30, 0)])
  assert scored.scores == {"accuracy": 60 / 90}
  assert (scored.predictor.total, scored.predictor.trainable, scored.predictor.head.size) == (0, 0, 0)
  assert scored.predictor.head.chosen == {"class": 1}
  np.testing.assert_array_equal(scored.outputs, np.tile([0, 1, 0], (90, 1)))


def test_modes_are_checked():
  blocks = ("a", "b")
  assert check_modes(["full", "frozen", "full", " last:2"], blocks) == ("full", "frozen", "last:2")
  for bad, message in [
    ("frozn", "frozen"),
    ("last:3", "2 blocks"),
    ("last:0", "2 blocks"),
    ("last:x", "last:x: write last:K; head and the last K blocks"),
    ("last", "last: write last:K"),
    ("knn:0", "knn:0: write knn:K; K nearest"),
    ("frozen:2", "frozen:2: nothing stands after frozen"),
    ("propagate:x", r"propagate:x: write propagate:\[cmn\]"),
    ("propagate:", r"write propagate:\[cmn\]"),
    ("propagte", "'propagate'"),
    ("", "at least one"),
  ]:
    with pytest.raises(UserError, match=message):
      check_modes([bad], blocks)
  with pytest.raises(UserError, match="knn:3: does not do detection; it does classification"):
    check_modes(["frozen", "knn:3"], blocks, "detection")
  with pytest.raises(UserError, match="self_train: does not read sound data; it reads image"):
    check_modes(["frozen", "self_train"], blocks, "classification", "sound")


def test_each_round_of_self_training_spreads_the_labels_over_what_the_last_one_learnt(toy, monkeypatch):
  starts, calls = [pretrained(toy, seed) for seed in range(4)], []
  recipe = Recipe(self_train_rounds=3)
  bench = Bench(toy, draw(toy, (9,), 5, 0), starts[0], recipe, 0)
  case = Case("self_train", 9, 4)
  rows = bench.labelled.subsets[4][9]

  def graph_of(represent):
    return propagation.graph(features.extract(represent, toy.train.x))

  def train(start, x, rows, y, labels, seed, title):
    calls.append((start, labels.belief, seed, title))
    np.testing.assert_array_equal(y, toy.train.y[rows])
    head = Linear(np.zeros((54, 3)), np.zeros(3), identity(54), {"teacher_sure": 0.5})
    return Predictor(starts[len(calls)], head, 1, 2)

  monkeypatch.setattr(self_train, "make_self_train", lambda *a: train)
  predictor = MODES["self_train"].fit(bench, case)
  beliefs = [propagation.propagate(graph_of(s), rows, toy.train.y[rows], 3).belief for s in starts]
  assert [start is starts[0] for start, *_ in calls] == [True] * 3
  for (_, given, seed, title), belief in zip(calls, beliefs, strict=False):
    np.testing.assert_array_equal(given, belief)
    assert seed == 4
    assert "subset 5, round" in title
  np.testing.assert_array_equal(predictor.head.belief, beliefs[3])  # the answer is the last graph's
  assert predictor.represent is starts[3]
  assert (predictor.trainable, predictor.total) == (1, 2)
  assert (predictor.head.chosen["teacher_sure"], predictor.head.chosen["rounds"]) == (0.5, 3)


def test_last_blocks():
  blocks = ("a", "b", "c")
  assert finetune.last_blocks("2", blocks) == ("b", "c")
  for bad in ("0", "4"):
    with pytest.raises(UserError, match="--modes=last"):
      finetune.last_blocks(bad, blocks)


def test_modes_on_a_mesh_are_those_of_one_device(toy):
  """Features, heads, fine-tuning, the graph and self-training: batches of 8 are shared out over four, of 10 are not."""
  mesh = parallel.mesh_over(jax.devices()[:4])
  recipe = dataclasses.replace(RECIPE, learning_rates=(1e-3,), optimizer="sgd")
  answers = []
  for where in (None, mesh):
    start = pretrained(toy)
    start = start.holding(*parallel.replicate((start.params, start.stats), where))
    bench = Bench(toy, draw(toy, (10, 32), 1, 0), start, recipe, 0)
    trained = evaluate.train(bench, cases_of(bench))
    for each in trained.values():
      params = each.predictor.represent.params
      assert parallel.mesh_of(params) == (where if params else None)
    answers.append({case: each.predictor.outputs(toy.test.x) for case, each in trained.items()})
  for case, outputs in answers[0].items():
    np.testing.assert_allclose(answers[1][case], outputs, rtol=1e-3, atol=1e-3, err_msg=str(case))
