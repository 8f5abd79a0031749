"""experiments.one_percent and rotnet_mnist: protocols, pairing, resumption, dots, and what they are built on."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from helpers import directory, rows_of

from experiments import one_percent, readme_table, rotnet_mnist
from experiments.rotnet_mnist import notebook as rotnet_notebook
from experiments.shared import cli as common
from sslx import interpret, nn, report
from sslx.data import Dataset, Split
from sslx.data.batches import step_indices
from sslx.evaluation import compare, finetune
from sslx.pretext.autoencode import autoencode
from sslx.pretext.rotation import rotation
from sslx.report import readings
from sslx.training import optim
from sslx.training import run as pretraining
from sslx.types import UserError

MAINS = {"one_percent": one_percent.main, "rotnet_mnist": rotnet_mnist.main}
TINY = {
  "one_percent": ["--encoder=mlp:widths=12-6,code=4", "--labels=12", "--seeds=2", "--modes=frozen", "--watch=0",
                  "--finetune_learning_rates=1e-3,1e-2"],
  "rotnet_mnist": ["--finetune_learning_rates=1e-3", "--modes=frozen", "--sections=letter,tuned", "--seeds=2"],
}  # fmt: skip
FLAG_FILES = sorted((Path(common.__file__).parent / "flags").glob("*.flags"))


def call(name: str, *arguments: str) -> int:
  return common.run(MAINS[name], f"experiments.{name}", [name, *arguments])


# ---- what they are built on ------------------------------------------------------------------------------------------


def test_file_order_and_a_constant_rate_leave_other_configurations_alone(toy):
  for first in (0, 5):  # a resumed run sees what the uninterrupted one saw
    steps = step_indices(0, 10, 3, first, 7, shuffle=False)
    assert [list(i) for i in steps] == [[3 * (k % 3) + j for j in range(3)] for k in range(first, 7)]
  usual = pretraining.configuration("rotation", toy, {})
  assert not {"schedule", "shuffle"} & usual.keys()
  changed = pretraining.configuration("rotation", toy, {}, schedule="constant", shuffle=False)
  assert changed == {**usual, "schedule": "constant", "shuffle": False}
  rate = optim.schedule("constant", 0.1, 50, 2)
  np.testing.assert_allclose([rate(i) for i in (0, 1, 2, 49)], [0, 0.05, 0.1, 0.1], rtol=1e-6)
  assert optim.schedule("constant", 0.1, 50)(0) == pytest.approx(0.1)


def test_training_ends_when_the_accuracy_of_so_many_epochs_is_not_above_the_best(toy, monkeypatch):
  given = iter([0.5, 0.7, 0.7, 0.6, 0.8, 0.8, 0.8, 0.8, 0.9])
  ends = []

  def fit(ts, step, data, *, steps, log, log_every, shuffle, **how):
    assert (log_every, shuffle) == (7, False)
    ends.append(steps)
    log({"step": steps, "accuracy": next(given)})
    return ts._replace(step=jnp.asarray(steps))

  monkeypatch.setattr(finetune.train, "fit", fit)
  encoder = nn.build("conv:widths=4")
  encode = finetune.encode_fn(encoder, "flatten")
  tree = finetune.make_init_encoder(encoder, toy.image_shape)(0)
  recipe = finetune.Recipe(steps=1, epochs=20, batch_size=8, optimizer="sgd", schedule="constant", shuffle=False)
  for patience, last in ((3, 8), (4, 9)):  # the best, 0.8, is that of epoch 5
    given = iter([0.5, 0.7, 0.7, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8, 0.9])
    ends.clear()
    tune = finetune.make_finetune(encoder, "flatten", 3, (), recipe._replace(patience=patience), encode)
    found = tune(tree, toy.train.images[:60], toy.train.labels[:60], 0)
    assert ends == [7 * (i + 1) for i in range(last)]
    assert found.head.chosen == {"learning_rate": 2e-3, "steps": 7 * last}


def test_a_head_by_gradient_moves_as_sgd_does_and_leaves_the_encoder(toy):
  encoder = nn.build("conv:widths=4")
  encode = finetune.encode_fn(encoder, "flatten")
  tree = finetune.make_init_encoder(encoder, toy.image_shape)(0)
  rows = np.arange(6)
  recipe = finetune.Recipe(
    steps=2,
    batch_size=6,
    learning_rates=(0.1,),
    weight_decay=0.0,
    optimizer="sgd",
    schedule="constant",
    head="gradient",
  )
  labelled = compare.Labelled({0: {6: rows}}, None)
  trained = compare.train_classifiers(
    [compare.Task("frozen", 6, 0), compare.Task("random", 6, 0)], toy, labelled, encoder, "flatten", encode, tree,
    recipe, 0, lambda line: None,
  )  # fmt: skip
  x, targets = (
    np.asarray(encode(tree["params"], tree["stats"], toy.train.images[rows])),
    np.eye(3)[toy.train.labels[rows]],
  )
  weight, velocity = np.zeros((x.shape[1], 3)), 0
  for _ in range(2):  # the batch is all of the labels, so the order does not matter; biases are part of the logits
    bias = np.zeros(3) if not np.any(velocity) else bias  # noqa: F821
    p = np.exp(x @ weight + bias)
    error = (p / p.sum(1, keepdims=True) - targets) / 6
    velocity = 0.9 * velocity + np.concatenate([x.T @ error, error.sum(0, keepdims=True)])
    weight, bias = weight - 0.1 * velocity[:-1], bias - 0.1 * velocity[-1]
  head = trained[compare.Task("frozen", 6, 0)].classifier.head
  np.testing.assert_allclose(head.weight, weight, atol=1e-5)
  np.testing.assert_allclose(head.bias, bias, atol=1e-5)
  for classifier, _ in trained.values():
    assert classifier.trainable == head.weight.size + 3
    jax.tree.map(np.testing.assert_array_equal, classifier.encoder["params"], tree["params"])  # seed 0 is its own


def test_binomial_interval_and_gain():
  low, high = report.binomial_interval(243, 300)  # Wilson's formula, z = 1.96
  z, p, n = 1.959964, 0.81, 300
  middle, half = (
    (p + z * z / 2 / n) / (1 + z * z / n),
    z * np.sqrt(p * (1 - p) / n + z * z / 4 / n / n) / (1 + z * z / n),
  )
  np.testing.assert_allclose([low, high], [middle - half, middle + half], atol=1e-6)
  text, low, high = report.gain([0.01, 0.03])  # t(1) = 12.706, standard error 0.01
  assert (low, high) == pytest.approx((0.02 - 0.12706, 0.02 + 0.12706), abs=1e-5)
  assert text == "+2.0 points [-10.7, +14.7]"


def row(mode: str, subset: int, accuracy: float, **more) -> dict:
  return {"method": "m", "dataset": "d", "encoder": "e", "mode": mode, "labels": 600, "subset_seed": subset,
          "test_accuracy": accuracy, **more}  # fmt: skip


def test_the_caveat_tells_whether_pretraining_was_repeated():
  for own, text in ((True, "a pretraining run of its own"), (False, "share one pretraining run")):
    rows = [row(m, s, 0.5 + 0.1 * s, seed=s if own else 0) for m in ("scratch", "frozen") for s in range(3)]
    assert text in report.verdict(report.summarise(rows))[-1]


# ---- black dots ------------------------------------------------------------------------------------------------------


def test_black_dots_dead_pixels_and_dead_units():
  images = np.full((3, 5, 5, 1), 0.9, np.float32)
  made = images.copy()
  made[0, 2, 2] = made[0, 0, 2] = 0.0  # a dot, and one at the edge: none
  made[1, 2, 2], images[1, 2, 2] = 0.0, 0.0  # the image itself is dark there
  made[2, 2, 2] = made[2, 2, 3] = 0.0  # two pixels are no dot
  assert [tuple(map(int, i)) for i in np.argwhere(interpret.black_dots(images, made))] == [(0, 2, 2, 0)]
  made[2, 3, 1] = 0.05  # dark enough
  assert interpret.black_dots(images, made).sum() == 2
  images[:, 4, 4] = 0.0  # never needed
  made[:, 4, 4] = made[:, 1, 1] = 0.0
  dead, lit = interpret.dead_pixels(images, made)
  assert [tuple(map(int, i)) for i in np.argwhere(dead)] == [(1, 1, 0), (2, 2, 0)]
  assert lit.sum() == 24
  activity = np.array([[0, 1.0, 0.5, 3], [0, 2.0, 0.5, 3.005], [0, 0.0, 0.5, 3]])  # 1% of the liveliest: 0.02
  assert interpret.dead_units(activity) == 3


def test_answer_names_the_method_or_the_hyper_parameters():
  def tables(fixed: float, tuned: float, spread: float = 0.001) -> list:
    made = []
    for gain, sign in ((fixed, 1), (tuned, -1)):
      noise = [sign * spread * (s - 1.5) for s in range(4)]
      rows = [row("scratch", s, 0.8) for s in range(4)]
      made.append(rows + [row("frozen", s, 0.8 + gain + noise[s]) for s in range(4)])
    return made

  for fixed, tuned, spread, said in (
    (0.057, 0.0, 0.001, "no measurable gain is left: it was the hyper-parameters'"),
    (0.057, 0.02, 0.001, "the gain is the method's, but hyper-parameters made it larger"),
    (0.057, 0.057, 0.001, "the gain is the method's"),
    (0.02, 0.057, 0.001, "and tuning makes it larger"),
    (0.0, 0.02, 0.001, "fixed settings hid it"),
    (0.057, -0.02, 0.001, "worse than its tuned baseline: what it gained was the hyper-parameters'"),
    (0.0, 0.0, 0.001, "no measurable gain to explain"),
    (0.05, 0.03, 0.02, "not decided by these seeds"),
  ):
    (sentence,) = readings.method_or_tuning(*tables(fixed, tuned, spread))
    assert said in sentence, (fixed, tuned, sentence)
  (sentence,) = readings.method_or_tuning(*tables(0.057, 0.0))
  assert sentence.startswith("frozen over scratch at 600 labels: +5.7 points [+5.5, +5.9] with one fixed setting")
  assert "tuning moves it by -5.7 points [-6.1, -5.3]" in sentence
  from sslx.evaluation import probe

  assert len(one_percent.RATES) == len(probe.L2_GRID) * len(probe.SCALINGS)
  assert "the budgets are equal" in one_percent.budgets(len(one_percent.RATES))
  assert "NOT equal" in one_percent.budgets(3)


def test_what_is_trained_on_is_exactly_the_fraction(toy):
  for arguments, trained, watched, batch in (
    (["--train_fraction=0.8"], 192, 21, None),
    (["--train_fraction=0.5", "--watch=7", "--batch_fraction=0.1"], 120, 7, 12),
    (["--train_fraction=1"], 240, 0, None),
  ):
    found = []
    name = "experiments.one_percent"
    assert common.run(lambda found=found: found.append(one_percent.shortened(toy)), name, ["x", *arguments]) == 0
    part, training = found[0]
    assert training == {"watch": watched} | ({"batch_size": batch} if batch else {})
    config = pretraining.configuration("autoencode", part, {}, "mlp:widths=4,code=2", **training)
    pretext = autoencode(nn.build("mlp:widths=4,code=2"))
    plan = pretraining.plan(pretext, config, "flatten", part)
    assert (len(plan.data["image"]), len(part.train) - trained) == (trained, watched)


# ---- the notebook ----------------------------------------------------------------------------------------------------


def test_parameter_tables_are_the_published_ones():
  assert rotnet_notebook.parameters((28, 28, 1), 10) == rotnet_notebook.PARAMETERS
  assert rotnet_notebook.PARAMETERS["encoder and head for rotations"] == 19_104 + 4_884


def test_the_notebooks_images():
  n = 12_000
  images = np.arange(n, dtype=np.int64).view(np.uint8).reshape(n, 2, 4, 1)  # each carries its number
  labels = (np.arange(n) % 10).astype(np.int32)
  data = Dataset("d", tuple("0123456789"), Split(images, labels), Split(images[:700], labels[:700]))
  found = rotnet_notebook.portions(data)
  np.testing.assert_array_equal(found.unlabelled.train.images, images[:10_000])
  np.testing.assert_array_equal(found.rest.train.images[: found.labelled], images[10_000:11_000])
  np.testing.assert_array_equal(found.rest.train.labels, labels[10_000:])
  assert (found.labelled, found.tested) == (1000, 300)
  assert len(found.rest.test) == 700
  small = Dataset("d", data.class_names, Split(images[:150], labels[:150]), data.test)
  with pytest.raises(UserError, match="150 training images are too few"):
    rotnet_notebook.portions(small)


def test_late_labels_are_those_of_the_row_before():
  plain = rotation(nn.build("rotnet"))
  image = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1)).astype(np.uint8)
  key = jax.random.key(0)
  view, late = (p.transform(key, {"image": image}) for p in (plain, rotnet_notebook.late(plain)))
  np.testing.assert_array_equal(view["image"], late["image"])
  by_image = np.asarray(view["label"]).reshape(4, 3).T.ravel()  # the notebook's order: an image's turns are neighbours
  np.testing.assert_array_equal(np.asarray(late["label"]).reshape(4, 3).T.ravel(), np.roll(by_image, 1))
  np.testing.assert_array_equal(late["label"], (np.asarray(view["label"]) - 1) % 4)  # so a renaming of the classes
  np.testing.assert_array_equal(np.roll(by_image, 4), by_image)  # and a whole image apart is nothing


def test_pixels_that_are_not_scaled():
  image = np.random.default_rng(0).random((2, 8, 8, 1)).astype(np.float32)
  plain, raw = nn.build("rotnet"), nn.build(rotnet_notebook.RAW_PIXELS)
  params, stats = nn.init(plain, jax.random.key(0), image)
  wanted, made = nn.apply(plain, params, stats, 255 * image)[0], nn.apply(raw, params, stats, image)[0]
  for name in plain.block_names:
    np.testing.assert_allclose(made[name], wanted[name], rtol=1e-5)
  with pytest.raises(UserError, match="scale must be positive"):
    nn.build("rotnet:scale=0")


def test_letter_sentences():
  published, again, ours = rotnet_mnist.letter_sentences(
    [row("frozen", s, 0.9 + 0.001 * s) for s in range(3)] + [row("scratch", s, 0.8) for s in range(3)], 500
  )
  assert "frozen 81.0 [76.2, 85.0], scratch 78.7 [73.7, 82.9]: so few images cannot tell them apart" in published
  mean = np.mean([85.4 - 88.0, 91.3 - 87.7, 87.8 - 88.0])
  assert f"over 3 seeds: frozen over scratch {mean:+.1f} points" in again
  assert again.endswith("within the noise.")
  assert ours.startswith("Ours, on all 500 test images, over 3 seeds: frozen over scratch +10.1 points")
  assert ours.endswith("better.")


# ---- the experiments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FLAG_FILES, ids=lambda path: path.stem)
def test_flag_files_parse_and_hold_no_default(path):
  __import__(f"experiments.{path.stem}")
  lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
  seen = []
  assert common.run(lambda: seen.append(True), f"experiments.{path.stem}", [path.stem, f"--flagfile={path}"]) == 0
  assert seen
  for line in lines:
    flag = flags.FLAGS[re.fullmatch(r"--(?:no)?(\w+?)(?:=.*)?", line)[1]]
    assert flag.present, line
    assert flag.value != flag.default, line


def test_both_have_flag_files():
  assert {"one_percent", "rotnet_mnist"} <= {path.stem for path in FLAG_FILES}


@pytest.fixture(scope="module")
def finished(toy_npz, tmp_path_factory):
  """Both experiments, once: (--out, their arguments)."""
  out = tmp_path_factory.mktemp("runs")
  arguments = {name: [f"--dataset={toy_npz}", f"--out={out}", "--smoke", *own] for name, own in TINY.items()}
  for name, own in arguments.items():
    assert call(name, *own) == 0
  return out, arguments


def test_one_percent_pairs_pretraining_seeds_with_subsets(finished):
  rows = rows_of(directory(finished[0], "one_percent"))
  modes = ("raw", "random", "frozen", "scratch")
  assert [(r["mode"], r["subset_seed"]) for r in rows] == 2 * [(m, s) for s in (0, 1) for m in modes]
  for one in rows:
    assert one["seed"] == one["subset_seed"] == one["pretraining"]["seed"]
    assert one["pretraining"]["images"] - one["pretraining"]["watched"] == 192
  fixed, tuned = rows[:8], rows[8:]
  assert {(tuple(r["settings"]["learning_rates"]), r["settings"]["head"]) for r in fixed} == {((1e-3,), "gradient")}
  assert {(tuple(r["settings"]["learning_rates"]), r["settings"]["head"]) for r in tuned} == {
    ((1e-3, 1e-2), "logistic")
  }
  assert {r["mode"] for r in fixed if "learning_rate" in r["chosen"]} == {"random", "scratch", "frozen"}
  assert {r["mode"] for r in tuned if "learning_rate" in r["chosen"]} == {"scratch"}
  assert len({r["parameters_total"] for r in rows if r["mode"] != "raw"}) == 1
  trainable = {r["parameters_trainable"] for r in rows if r["mode"] == "frozen"}
  assert trainable == {4 * 3 + 3}  # one new layer


def test_one_percent_reports(finished):
  run = directory(finished[0], "one_percent")
  page, tables = (run / "report.html").read_text(), (run / "tables.md").read_text()
  for text in ("As published", "Both tuned", "Black dots", "linear + mse, relu instead", "sigmoid + bce, sigmoid units",
               "dead units, by layer", "Published, one run: scratch 81.45%, frozen 87.15%", "NOT equal"):  # fmt: skip
    assert text in page, text
    assert text in tables, text
  assert "+5.70 points." in tables
  assert "a pretraining run of its own" in page
  assert {p.stem for p in (run / "figures").iterdir()} == {
    "accuracy", "black_dots", "predictions_scratch", "predictions_frozen", "confusion_scratch", "confusion_frozen",
  }  # fmt: skip
  assert page.count("data:image/png") == 8  # and the loss and pictures of pretraining
  of = re.search(r"A relu output: (\d+) of the (\d+) pixels", tables)
  assert of
  assert 0 < int(of[1]) < int(of[2]) <= 144


def test_rotnet_rows_are_the_notebooks(finished):
  rows = rows_of(directory(finished[0], "rotnet_mnist"))
  letter = [r for r in rows if "test_sets" in r]
  assert [(r["mode"], r["seed"], r["labels"]) for r in letter] == [
    (mode, seed, 21) for mode in rotnet_notebook.LETTER_MODES for seed in (0, 1)
  ]  # 240 images: 210 and 21
  for one in letter:
    assert one["encoder"] == "rotnet:scale=255"
    made = one["pretraining"]
    assert (made["labels"], made["shuffle"], made["schedule"], made["images"]) == (
      "one row late",
      False,
      "constant",
      210,
    )
    assert (made["batch_size"], made["epochs"], made["weight_decay"], made["watched"]) == (48, 50, 0, 0)
    assert one["settings"]["optimizer"] == "sgd"
    assert one["test_sets"]["of"] == 45
    right = one["test_sets"]["first"] + one["test_sets"]["second"]
    assert right == round(90 * one["test_accuracy"])  # the two sets are all of the test images here
  tuned = [r for r in rows if "test_sets" not in r]
  assert {(r["mode"], r["features"]) for r in tuned} == {
    *((mode, "block2:flatten") for mode in ("raw", "random", "frozen", "scratch")),
    *((mode, "block1:flatten") for mode in ("random", "frozen")),
  }
  assert {r["encoder"] for r in tuned} == {"rotnet"}
  assert all(r["seed"] == r["subset_seed"] for r in rows)


def test_rotnet_reports(finished):
  run = directory(finished[0], "rotnet_mnist")
  page = (run / "report.html").read_text()
  for text in ("23,988", "21,994", "2,890", "19,104", "To the letter", "frozen, first 45", "Both sides tuned alike",
               "tuned, block1", "cannot tell them apart", "The notebook run again"):  # fmt: skip
    assert text in page, text
  first = next(r for r in rows_of(run) if "test_sets" in r and (r["mode"], r["seed"]) == ("frozen", 0))
  low, high = report.binomial_interval(first["test_sets"]["first"], 45)
  cell = f"{100 * first['test_sets']['first'] / 45:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
  tables = (run / "tables.md").read_text()
  assert cell in tables
  assert re.search(r"- Both sides tuned alike, [\d,]+ labels: \S+ is the best, ", tables)


def test_one_error_at_a_time(toy_npz, tmp_path, monkeypatch):
  """What is pretrained and trained under each condition, without doing it: nothing but the one error differs."""
  asked = []

  def run_pairs(subject, modes, labelled, timings, recipe=None, more=None):
    rows = []
    for seed in labelled.subsets:
      made = subject(seed)
      config, late = made.names["pretraining"], "shifted" in str(made.pretrained)
      asked.append(
        (made.names["encoder"], config.get("labels"), config.get("shuffle", True), recipe.shuffle, late, *modes)
      )
      shared = {"dataset": "d", "labels": 21, "settings": {}, "parameters_total": 1, "device": "", "seed": seed}
      offset = 0.1 * (modes[0] == "frozen" and late) + 0.01 * seed
      rows += [{**made.names, **shared, "mode": m, "subset_seed": seed, "test_accuracy": 0.5 + offset} for m in modes]
    return rows, {}

  def pretrain(run):
    view = run.pretext.transform(jax.random.key(0), {"image": np.zeros((1, 4, 4, 1), np.uint8)})
    return {"labels": "in step" if list(view["label"]) == [0, 1, 2, 3] else "shifted"}, 0.0

  monkeypatch.setattr(rotnet_mnist.comparison, "run_pairs", run_pairs)
  monkeypatch.setattr(common, "pretrain", pretrain)
  assert (
    call("rotnet_mnist", f"--dataset={toy_npz}", f"--out={tmp_path}", "--smoke", "--sections=errors", "--seeds=2") == 0
  )
  modes = rotnet_notebook.LETTER_MODES
  assert list(dict.fromkeys(asked)) == [
    *(("rotnet", None, True, True, False, mode) for mode in modes),
    ("rotnet", "one row late", True, True, True, "frozen"),
    *(("rotnet", None, False, False, False, mode) for mode in modes),
    *(("rotnet:scale=255", None, True, True, False, mode) for mode in modes),
    *(("rotnet:scale=255", "one row late", False, False, True, mode) for mode in modes),
  ]
  tables = (directory(tmp_path, "rotnet_mnist") / "tables.md").read_text()
  lines = [
    [cell.strip() for cell in line.split("|")] for line in tables.splitlines() if line[:1] == "|" and "±" in line
  ]
  found = {(line[1], line[3]): line[5] for line in lines}
  assert found["frozen", "labels late"] == found["frozen", "as published"] == "+10.0 [+10.0, +10.0]"
  assert (
    found["scratch", "labels late"] == found["frozen", "in order"] == found["frozen", "0..255"] == "+0.0 [+0.0, +0.0]"
  )
  assert found["frozen", "without errors"] == ""
  assert "all errors together, frozen: +10.0 points [+10.0, +10.0]: a change." in tables
  assert "scratch, labels late" not in tables


@pytest.mark.parametrize("name", list(MAINS))
def test_the_same_command_again_trains_nothing_and_a_lost_row_only_itself(finished, name, capfd):
  out, arguments = finished
  path = directory(out, name) / "results.jsonl"
  before = path.read_text()
  capfd.readouterr()
  assert call(name, *arguments[name]) == 0
  assert path.read_text() == before
  assert not re.search("subset|0 s left", capfd.readouterr().err)
  if name == "one_percent":
    lines = before.splitlines()
    path.write_text("\n".join(lines[:-1]) + '\n{"a broken li')
    assert call(name, *arguments[name], "--noblack_dots") == 0
    after = [json.loads(line) for line in path.read_text().splitlines()]
    own = ("seconds", "command")
    for one, other in zip(after, map(json.loads, lines), strict=True):
      assert {n: v for n, v in one.items() if n not in own} == {n: v for n, v in other.items() if n not in own}


def test_a_checkpoint_in_place_of_pretraining(finished, toy_npz, tmp_path, capfd):
  out = finished[0]
  made = next(
    run for run in out.iterdir()
    if run.name.startswith("autoencode-") and json.loads((run / "config.json").read_text())["seed"] == 1
  )  # fmt: skip
  given = [f"--checkpoint={made}", f"--out={tmp_path}", "--seeds=2", "--labels=12", "--modes=frozen", "--smoke"]
  assert call("one_percent", *given, "--finetune_learning_rates=1e-3") == 0
  assert "pretraining autoencode" not in capfd.readouterr().err
  rows = rows_of(directory(tmp_path, "one_percent"))
  assert {(r["seed"], r["encoder"], r["pretraining"]["seed"]) for r in rows} == {(1, "mlp:widths=12-6,code=4", 1)}
  tables = (directory(tmp_path, "one_percent") / "tables.md").read_text()
  assert "| autoencode " in tables
  mine = [r["test_accuracy"] for r in rows if (r["mode"], r["subset_seed"]) == ("frozen", 1)]
  theirs = [r["test_accuracy"] for r in rows_of(directory(out, "one_percent"))
            if (r["mode"], r["subset_seed"]) == ("frozen", 1)]  # fmt: skip
  assert mine == theirs


BAD = [
  ("one_percent", ["--train_fraction=1.5"], r"--train_fraction=1.5: must be above 0 and at most 1"),
  ("one_percent", ["--batch_fraction=0"], r"--batch_fraction=0: must be above 0"),
  ("one_percent", ["--batch_fraction=0.1", "--batch_size=5"], r"--batch_size: give either"),
  ("one_percent", ["--fixed_learning_rate=0"], r"--fixed_learning_rate=0.0: must be positive"),
  ("one_percent", ["--checkpoint=/nowhere"], r"--checkpoint=/nowhere: no such folder"),
  ("rotnet_mnist", ["--sections=leter"], r"--sections=leter: choose among letter, errors, tuned"),
  ("rotnet_mnist", ["--method=denoise"], r"--method=denoise: this protocol is that of rotation"),
  ("rotnet_mnist", ["--encoder=conv"], r"--encoder=conv: this protocol is that of rotnet"),
  ("rotnet_mnist", ["--labels=100"], r"--labels: .*only"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), BAD, ids=[" ".join([n, *a]) for n, a, _ in BAD])
def test_bad_input_is_one_line(name, arguments, message, toy_npz, tmp_path, capsys):
  assert call(name, f"--dataset={toy_npz}", f"--out={tmp_path}", "--smoke", *arguments) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert re.search(message, line), line
  assert not list(tmp_path.glob("*/checkpoints"))


@pytest.mark.parametrize("name", list(MAINS))
def test_help(name, capsys):
  assert call(name, "--help") == 0
  text = capsys.readouterr().out
  for part in (f"python -m experiments.{name}", "Published", "--flagfile", "--labels"):
    assert part in text


def test_the_overview_has_published_figures_beside_what_the_rows_say(finished, tmp_path, monkeypatch):
  runs = [directory(finished[0], name) for name in TINY]
  lines = [[c.strip() for c in line.split("|")[1:-1]] for line in readme_table.overview(runs).splitlines()]
  table = {tuple(line[:3]): line[3:] for line in lines}
  labels = labels_of(runs[0])
  assert table["one_percent", "published, one run", labels] == ["81.45", "87.15", "+5.70", ""]
  assert table["rotnet_mnist", "published, one run", labels_of(runs[1])][:3] == ["78.67", "81.00", "+2.33"]
  fixed = [r for r in rows_of(runs[0]) if r["settings"]["head"] == "gradient"]
  for mode, cell in zip(("scratch", "frozen"), table["one_percent", one_percent.FIXED, labels][:2], strict=True):
    accuracies = [100 * r["test_accuracy"] for r in fixed if r["mode"] == mode]
    assert len(accuracies) == 2
    assert cell == f"{np.mean(accuracies):.1f} ± {np.std(accuracies, ddof=1):.1f}"
  assert ("rotnet_mnist", "labels late", labels_of(runs[1])) not in table
  monkeypatch.setattr(common, "__file__", str(tmp_path / "experiments/shared/cli.py"))
  (tmp_path / "page.md").write_text("# A\n<!-- overview -->\nold\n<!-- /overview -->\n<!-- results -->kept\n")
  readme_table.main(runs, "page.md", "overview")
  text = (tmp_path / "page.md").read_text()
  assert "old" not in text
  assert text.count("published, one run") == 2
  assert text.endswith("<!-- /overview -->\n<!-- results -->kept\n")
  with pytest.raises(UserError, match=r"no results\.jsonl and summary\.jsonl"):
    readme_table.overview([tmp_path])


def labels_of(run: Path) -> str:
  return f"{rows_of(run)[0]['labels']:,}"
