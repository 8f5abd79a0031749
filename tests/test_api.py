"""The Python functions are the experiments' own runs; the notebook and the README's lines do what they say."""

import contextlib
import dataclasses
import functools
import inspect
import io
import json
import os
import re
import signal
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from notebooks import run_cells, sources
from PIL import Image

import sslx
from experiments import low_label, probe
from experiments.shared import cli
from sslx import options
from sslx.data import Split
from sslx.data.types import image_classes
from sslx.evaluation.recipe import Recipe
from sslx.pretext import METHODS
from sslx.report import figures
from sslx.training import checkpoint, progress
from sslx.training import run as runs
from sslx.training.run import Run
from sslx.types import UserError

ROOT = Path(__file__).resolve().parent.parent
ENCODER = "conv:widths=4-6,norm=batch"


def call(main, *arguments: str) -> None:
  assert cli.run(main, f"experiments.{main.__module__}", ["x", *arguments]) == 0


def leaves(model: Run) -> list[np.ndarray]:
  ts = model.train_state
  return [np.asarray(leaf) for leaf in jax.tree.leaves(ts._replace(key=jax.random.key_data(ts.key)))]


def assert_same(a: Run, b: Run) -> None:
  for x, y in zip(leaves(a), leaves(b), strict=True):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def model(toy):
  return sslx.pretrain("denoise", toy, encoder=ENCODER, epochs=2, seed=3, progress=False, level=0.25)


@pytest.fixture(scope="module")
def run(toy_npz, tmp_path_factory):
  """What the command line makes of the same settings: (run directory, rows of the comparison)."""
  out = tmp_path_factory.mktemp("runs")
  flags = ["--method=denoise", f"--encoder={ENCODER}", "--epochs=2", "--seed=3", "--hp=level=0.25"]
  compared = ["--labels=24", "--seeds=2", "--modes=scratch,frozen,last:1,knn:3", "--finetune_steps=8"]
  call(low_label.main, f"--dataset={toy_npz}", f"--out={out}", *flags, *compared)
  (directory,) = out.iterdir()
  return directory, [json.loads(line) for line in (directory / "results.jsonl").read_text().splitlines()]


def test_workers_reach_the_loop(toy, monkeypatch):
  def fit(ts, step, data, how, hooks=()):
    raise UserError(f"{how.workers} workers")

  monkeypatch.setattr("sslx.training.loop.fit", fit)
  for workers in (0, 3):
    with pytest.raises(UserError, match=f"{workers} workers"):
      sslx.pretrain("denoise", toy, encoder="conv:widths=4", workers=workers, progress=False)


def test_pretrain_is_the_run_of_the_command_line(model, run):
  theirs = sslx.load(run[0])
  assert_same(model, theirs)
  mine, its = (m.meta.to_json() for m in (model, theirs))
  assert its["config"].pop("dataset").startswith("npz:")
  assert mine["config"].pop("dataset") == "toy"
  for meta in (mine, its):  # the file has no names for the classes
    del meta["names"]
  assert mine == its


def test_classify_is_the_comparison_of_the_command_line(model, toy, run):
  compared = {(row["mode"], row["subset_seed"]): row for row in run[1]}
  for mode in ("raw", "random", "scratch", "frozen", "last:1", "knn:3"):
    classifier = sslx.classify(model, toy, 0.1, mode, seed=1, recipe=Recipe(steps=8))
    row = compared[mode, 1]
    assert sslx.accuracy(classifier, toy.test) == row["test_accuracy"], mode
    assert (classifier.predictor.trainable, classifier.predictor.total) == (
      row["parameters_trainable"],
      row["parameters_total"],
    )
    assert len(classifier.rows) == 24


def test_a_saved_model_comes_back_and_others_read_it(model, toy, toy_npz, tmp_path):
  where = sslx.save(model, tmp_path / "deep" / "mine")
  back = sslx.load(where)
  assert_same(model, back)
  assert back.history == model.history
  assert back.history[-1]["step"] == int(model.train_state.step)
  assert back.meta._replace(step=None) == model.meta
  assert repr(back) == repr(model)
  encode, meta = sslx.load_encoder(where)
  images = toy.test.x[:7]
  np.testing.assert_array_equal(encode(images), model.representation()(images))
  assert meta["method"] == "denoise"
  flags = [f"--dataset={toy_npz}", f"--out={tmp_path / 'out'}", "--labels=12", "--seeds=1", "--modes=frozen", "--smoke"]
  call(probe.main, f"--checkpoint={where}", *flags)
  for other in (where / "checkpoints", where / "checkpoints" / str(int(model.train_state.step))):
    assert_same(model, sslx.load(other))

  with pytest.raises(UserError, match="overwrite=True"):
    sslx.save(back, where)
  shorter = back._replace(train_state=back.train_state._replace(step=back.train_state.step - 1))
  sslx.save(shorter, where, overwrite=True)
  assert_same(shorter, sslx.load(where))
  assert checkpoint.steps(where / "checkpoints") == [int(shorter.train_state.step)]


def test_a_failed_save_keeps_what_was_there(model, tmp_path, monkeypatch):
  sslx.save(model, tmp_path)

  def full(*args, **kwargs):
    raise OSError("No space left on device")

  monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "save", full)
  with pytest.raises(UserError, match="No space left"):
    sslx.save(model, tmp_path, overwrite=True)
  monkeypatch.undo()
  assert_same(model, sslx.load(tmp_path))


class Killed(BaseException):
  """Stands for the end of the process: nothing that it would still do is done."""


def dying(monkeypatch, after: int) -> list[str]:
  """Ends the process, as it were, after so many calls that change a folder; the calls so far."""
  calls: list[str] = []

  def limited(name, real):
    def call(*args, **kwargs):
      if len(calls) >= after:
        raise Killed
      calls.append(name)
      return real(*args, **kwargs)

    return call

  for name in ("rename", "replace", "rmdir", "unlink", "mkdir"):
    monkeypatch.setattr(os, name, limited(name, getattr(os, name)))
  return calls


def test_a_save_that_is_killed_leaves_the_old_model_or_the_new(model, tmp_path, monkeypatch):
  shorter = model._replace(train_state=model.train_state._replace(step=model.train_state.step - 1), history=[])
  old, new = (int(each.train_state.step) for each in (model, shorter))

  def written(folder, ts, meta):
    """Saving itself is slow, and tested elsewhere."""
    (folder / str(int(ts.step))).mkdir(parents=True)
    (folder / str(int(ts.step)) / "numbers").write_text(f"{int(ts.step)}")

  def found(directory):
    """The step that `load` finds, once all that belongs to it is what it should be."""
    folder, only = checkpoint.locate(directory)
    (step,) = checkpoint.steps(folder)
    assert only is None
    assert (folder / str(step) / "numbers").read_text() == f"{step}"
    assert sslx.load(directory) == {old: model.history, new: []}[step]
    return step

  monkeypatch.setattr(checkpoint, "save", written)
  monkeypatch.setattr(runs, "restore", lambda directory, history: history)
  seen, after = [], 0
  while True:
    where = sslx.save(model, tmp_path / str(after))
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
      calls = dying(patch, after)
      sslx.save(shorter, where, overwrite=True)
    seen.append(found(where))
    with pytest.raises(UserError, match="overwrite=True"):
      sslx.save(shorter, where)
    if len(calls) < after:
      break
    sslx.save(model, where, overwrite=True)
    assert found(where) == old
    assert sorted(path.name for path in where.iterdir()) == ["checkpoints", "config.json", "metrics.jsonl"]
    after += 1
  assert seen == sorted(seen, reverse=True)
  assert set(seen) == {old, new}
  assert calls.count("rename") == 2


def test_a_model_that_a_kill_left_aside_is_read(model, toy, tmp_path):
  where = sslx.save(model, tmp_path)
  (where / "checkpoints").rename(where / checkpoint.ASIDE)
  assert_same(model, sslx.load(where))
  encode, _ = sslx.load_encoder(where)
  np.testing.assert_array_equal(encode(toy.test.x[:3]), model.representation()(toy.test.x[:3]))
  assert sslx.load(where).history == model.history


def test_a_model_of_another_version_is_refused(model, tmp_path):
  config = dataclasses.replace(model.meta.config, hp={**model.meta.config.hp, "gone": 1})
  sslx.save(model._replace(meta=model.meta._replace(config=config)), tmp_path)
  with pytest.raises(UserError, match=r"^gone=1: denoise has no option"):
    sslx.load(tmp_path)


def test_what_is_given_stays_as_it_is(model, toy):
  before = [leaf.copy() for leaf in leaves(model)]
  sslx.classify(model, toy, 12, "full", recipe=Recipe(steps=2))
  for a, b in zip(before, leaves(model), strict=True):
    np.testing.assert_array_equal(a, b)


def interrupted_by(number, monkeypatch) -> list:
  """Makes the third step of a run its last; the calls of steps so far."""
  make, calls = runs.make_train_step, []

  def interrupting(*arguments):
    step = make(*arguments)

    def third_is_the_last(*args):
      calls.append(args)
      if len(calls) == 3:
        signal.raise_signal(number)
      return step(*args)

    return third_is_the_last

  monkeypatch.setattr(runs, "make_train_step", interrupting)
  return calls


SHORT = {"encoder": "mlp:widths=8,code=3", "epochs": 50, "batch_size": 40, "progress": False}


def test_stopping_keeps_the_model_so_far(toy, monkeypatch, capsys, tmp_path):
  calls = interrupted_by(signal.SIGINT, monkeypatch)
  model = sslx.pretrain("autoencode", toy, **SHORT)
  assert int(model.train_state.step) == len(calls) == 3
  assert model.history[-1]["step"] == 3
  assert "stopped at step 3 of 250" in capsys.readouterr().err
  for each in (model, sslx.load(sslx.save(model, tmp_path))):
    assert "stopped at step 3 of 250, loss" in repr(each)
    assert 0 <= sslx.accuracy(sslx.classify(each, toy, 30), toy.test) <= 1
    assert capsys.readouterr().err.startswith("warning: the run was stopped at step 3 of 250")


def test_sigterm_ends_the_process(toy, monkeypatch, capsys):
  """A loop over seeds went on with a run of three steps, and its exit status was 0."""
  calls = interrupted_by(signal.SIGTERM, monkeypatch)
  assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
  with pytest.raises(SystemExit) as end:
    sslx.pretrain("autoencode", toy, **SHORT)
  assert (end.value.code, len(calls)) == (143, 3)
  assert capsys.readouterr().err == "stopped at step 3 of 250 by SIGTERM; this run is not kept.\n"


def test_sigterm_is_left_to_the_handler_that_there_is(toy, monkeypatch):
  calls, seen = interrupted_by(signal.SIGTERM, monkeypatch), []
  old = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
  try:
    assert int(sslx.pretrain("autoencode", toy, **SHORT).train_state.step) == len(calls) == 3
  finally:
    signal.signal(signal.SIGTERM, old)
  assert seen == [signal.SIGTERM]


def test_a_finished_run_is_not_said_to_be_stopped(model, toy, capsys):
  assert re.fullmatch(r"Run\(denoise on toy, encoder .*, 6 steps, loss .*\)", repr(model))
  sslx.classify(model, toy, 12, "knn:1")
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mode", ["frozen", "knn:5", "raw"])
def test_predictions_are_probabilities(model, toy, mode):
  classifier = sslx.classify(model, toy, 60, mode)
  probability = sslx.predict(classifier, toy.test.x)
  assert probability.shape == (90, 3)
  assert probability.min() >= 0
  np.testing.assert_allclose(probability.sum(1), 1, rtol=1e-5)
  np.testing.assert_array_equal(probability.argmax(1), classifier.predictor.outputs(toy.test.x).argmax(1))
  right = (probability.argmax(1) == toy.test.y).mean()
  assert sslx.accuracy(classifier, toy.test) == right > 0.5


def test_labels_are_a_number_or_a_fraction(model, toy):
  for labels, n in ((30, 30), (0.1, 24), (1.0, 240), (np.int64(9), 9), (np.float32(0.5), 120)):
    classifier = sslx.classify(model, toy, labels, "knn:1")
    assert len(set(classifier.rows.tolist())) == n
    counts = np.bincount(toy.train.y[classifier.rows])
    assert counts.max() - counts.min() <= 1


def test_labels_are_balanced_or_stratified(model, toy):
  y = np.repeat([0, 1, 2], (160, 60, 20)).astype(np.int32)
  uneven = dataclasses.replace(toy, train=Split(toy.train.x, y))
  for subset, counts in (("balanced", [8, 8, 8]), ("stratified", [16, 6, 2])):
    classifier = sslx.classify(model, uneven, 24, "knn:1", subset=subset)
    assert np.bincount(y[classifier.rows]).tolist() == counts


BAD = {
  "no such method": (lambda m, d: sslx.pretrain("denois", d), "Did you mean 'denoise'"),
  "no such option": (lambda m, d: sslx.pretrain("denoise", d, levl=1), "levl: .* mean 'level' .an option of denoise"),
  "no such argument": (lambda m, d: sslx.pretrain("denoise", d, epoch=1), "epoch: .* mean 'epochs' .a setting of pre"),
  "an option's type": (lambda m, d: sslx.pretrain("denoise", d, decoder_widths=["a"]), "expected integers"),
  "an option's range": (lambda m, d: sslx.pretrain("denoise", d, level=-1.0), "^level=-1"),
  "no such encoder": (lambda m, d: sslx.pretrain("denoise", d, encoder="cnv"), "Did you mean 'conv'"),
  "no such block": (lambda m, d: sslx.pretrain("denoise", d, features="blok1"), "^features=blok1"),
  "no epochs": (lambda m, d: sslx.pretrain("denoise", d, epochs=0), "^epochs=0: must be positive"),
  "no seed": (lambda m, d: sslx.pretrain("denoise", d, seed=-1), "^seed=-1: must be at least 0"),
  "a seed of jax's": (lambda m, d: sslx.pretrain("denoise", d, seed=2**32), "^seed=4294967296: must be at most 42949"),
  "no number": (lambda m, d: sslx.pretrain("denoise", d, epochs="2"), "^epochs='2': expected a number"),
  "half a batch": (lambda m, d: sslx.pretrain("denoise", d, batch_size=0.5), "^batch_size=0.5: expected an integer"),
  "no subset": (lambda m, d: sslx.classify(m, d, 12, seed=-1), "seed=-1: expected an integer from 0"),
  "no pictures": (lambda m, d: sslx.plot_pictures(m, d, seed=10**23), "seed=1.*: expected an integer from 0"),
  "negative batch": (lambda m, d: sslx.pretrain("denoise", d, batch_size=-1), "batch_size=-1: must be positive"),
  "rate": (lambda m, d: sslx.pretrain("denoise", d, learning_rate=float("nan")), "learning_rate=nan: must be positive"),
  "no such colour": (lambda m, d: sslx.load_data("mnist", background="whit"), "^background=whit"),
  "no such data": (lambda m, d: sslx.load_data("mnst"), "^name=mnst: .*mnist"),
  "no such folder": (lambda m, d: sslx.load("/nowhere"), "^directory=/nowhere: no such folder"),
  "labels of no class": (lambda m, d: sslx.classify(m, d, 2), "labels=2: .*3 classes"),
  "a small fraction": (lambda m, d: sslx.classify(m, d, 0.001), "labels=0.001"),
  "too many labels": (lambda m, d: sslx.classify(m, d, 241), "labels=241: .*240"),
  "no labels": (lambda m, d: sslx.classify(m, d, 0), "labels=0: expected a number"),
  "labels in words": (lambda m, d: sslx.classify(m, d, "all"), "^labels='all': expected a number"),
  "no such subset": (lambda m, d: sslx.classify(m, d, 12, subset="even"), "subset=even: expected balanced or strat"),
  "no such mode": (lambda m, d: sslx.classify(m, d, 12, "frozn"), "Did you mean 'frozen'"),
  "too deep": (lambda m, d: sslx.classify(m, d, 12, "last:3"), "^mode=last:3: this encoder has 2 blocks"),
  "no such feature": (lambda m, d: sslx.classify(m, d, 12, features="grid"), "^features=grid"),
  "a dataset for a split": (lambda m, d: sslx.accuracy(sslx.classify(m, d, 12), d), "data.test"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, model, toy):
  function, message = BAD[name]
  with pytest.raises(UserError, match=message) as error:
    function(model, toy)
  assert "\n" not in str(error.value)


def test_images_of_another_shape_and_missing_labels_are_refused(model, toy):
  small = Split(np.zeros((30, 8, 8, 1), np.uint8), np.arange(30, dtype=np.int32) % 3)
  other = image_classes("small", toy.task.names, small, small)
  classifier = sslx.classify(model, toy, 12)
  for function in (
    lambda: sslx.classify(model, other, 12),
    lambda: sslx.plot_pictures(model, other),
    lambda: sslx.accuracy(classifier, other.test),
    lambda: sslx.plot_predictions(classifier, other.test),
  ):
    with pytest.raises(UserError, match=r"\(8, 8, 1\).*\(12, 12, 1\)"):
      function()
  with pytest.raises(UserError, match="denoise has no pictures"):
    sslx.plot_pictures(model._replace(pretext=model.pretext._replace(show=None)), toy)
  with pytest.raises(UserError, match="no labels"):
    sslx.accuracy(classifier, Split(toy.test.x, None))
  with pytest.raises(UserError, match="no labels"):
    sslx.classify(model, dataclasses.replace(toy, train=Split(toy.train.x, None)), 12)


def as_type(dtype: str, split: Split) -> Split:
  return Split((split.x / 255).astype(dtype) if "float" in dtype else split.x.astype(dtype), split.y)


def test_images_are_taken_as_they_are_meant(model, toy, tmp_path):
  """The same images score the same in each dtype; those that cannot be meant are refused wherever they enter."""
  classifier = sslx.classify(model, toy, 60)
  encode, _ = sslx.load_encoder(sslx.save(model, tmp_path))
  score, features = sslx.accuracy(classifier, toy.test), np.asarray(encode(toy.test.x))
  for dtype in ("uint8", "int64", "uint16", "float32", "float64"):
    split = as_type(dtype, toy.test)
    assert sslx.accuracy(classifier, split) == score, dtype
    np.testing.assert_allclose(encode(split.x), features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sslx.predict(classifier, split.x), sslx.predict(classifier, toy.test.x), atol=1e-5)
  for x, message in (
    (toy.test.x.astype(np.float32), "divide by 255"),
    (toy.test.x / 127.5 - 1, r"\(x \+ 1\) / 2"),
    (toy.test.x > 127, "multiply by 255"),
    (toy.test.x.astype(np.uint16) * 257, "divide by 257"),
  ):
    split = Split(x, toy.test.y)
    for function in (
      lambda x=x: encode(x),
      lambda x=x: sslx.predict(classifier, x),
      lambda split=split: sslx.accuracy(classifier, split),
      lambda split=split: sslx.plot_predictions(classifier, split),
      lambda split=split: sslx.plot_confusion(classifier, split),
    ):
      with pytest.raises(UserError, match=message):
        function()
  for x, message in (
    (toy.test.x[0], r"give x\[None\]"),
    (toy.test.x[..., 0], r"give x\[..., None\]"),
    (np.moveaxis(toy.test.x, -1, 1), "numpy.moveaxis"),
    (toy.test.x.repeat(2, 1).repeat(2, 2), "of another size"),
  ):
    for function in (encode, functools.partial(sslx.predict, classifier)):
      with pytest.raises(UserError, match=message):
        function(x)


def test_an_encoder_is_looked_through_by_jit_and_vmap(model, toy, tmp_path):
  encode, _ = sslx.load_encoder(sslx.save(model, tmp_path))
  features, x = encode(toy.test.x[:6]), jax.numpy.asarray(toy.test.x[:6])
  np.testing.assert_allclose(jax.jit(lambda x: encode(x))(x), features, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(jax.vmap(lambda one: encode(one[None])[0])(x), features, rtol=1e-5, atol=1e-6)
  assert encode.size == model.representation().size  # it is a Representation
  np.testing.assert_array_equal(encode.holding(encode.params, encode.stats)(x), features)


@pytest.mark.parametrize("mode", ["frozen", "raw", "knn:5", "full"])
def test_of_no_images_there_are_no_answers(mode, model, toy, tmp_path):
  classifier = sslx.classify(model, toy, 30, mode, recipe=Recipe(steps=2))
  for x in (toy.test.x[:0], np.zeros((0, 12, 12, 1))):
    assert sslx.predict(classifier, x).shape == (0, 3)
  with pytest.raises(UserError, match=r"0 examples and 0 labels; .* at least one"):
    sslx.accuracy(classifier, Split(toy.test.x[:0], toy.test.y[:0]))
  with pytest.raises(UserError, match="90 examples and 89 labels"):
    sslx.accuracy(classifier, Split(toy.test.x, toy.test.y[:89]))


def test_no_images_have_no_features(model, toy, tmp_path):
  encode, _ = sslx.load_encoder(sslx.save(model, tmp_path))
  assert encode(toy.test.x[:0]).shape == (0, *encode(toy.test.x[:2]).shape[1:])


def test_data_made_by_hand_keep_the_rules_of_those_by_name(model, toy):
  bad = {
    "6 train images but 5": image_classes("bad", "abc", Split(toy.train.x[:6], toy.train.y[:5]), toy.test),
    "outside 0..1": image_classes("bad", "ab", toy.train, toy.test),
    "must be uint8": image_classes("bad", "abc", Split(toy.train.x[:6] / 255, toy.train.y[:6]), toy.test),
    "one class only": image_classes("bad", "abc", Split(toy.train.x[::3], toy.train.y[::3]), toy.test),
  }
  for message, data in bad.items():
    for function in (lambda data: sslx.pretrain("denoise", data), lambda data: sslx.classify(model, data, 3)):
      with pytest.raises(UserError, match=message):
        function(data)
  with pytest.raises(UserError, match="data: expected a Dataset"):
    sslx.pretrain("denoise", toy.train)


def test_a_method_that_reads_no_labels_needs_none(toy):
  bare = dataclasses.replace(toy, train=Split(toy.train.x, None), test=Split(toy.test.x, None))
  tiny = {"encoder": "conv:widths=4", "epochs": 0.5, "progress": False}
  assert int(sslx.pretrain("autoencode", bare, **tiny).train_state.step) > 0
  with pytest.raises(UserError, match="240 train images but 0 train labels"):
    sslx.pretrain("supervised", bare, **tiny)
  shapes = image_classes("bad", "abc", Split(toy.train.x[..., 0], None), Split(toy.test.x, None))
  with pytest.raises(UserError, match="train images have shape"):
    sslx.pretrain("autoencode", shapes, **tiny)


def test_a_model_that_is_too_large_is_refused_before_it_is_made(toy):
  for settings, message in (
    (
      {"encoder": "mlp:widths=1000000-1000000"},
      r"^encoder=mlp:widths=1000000-1000000: has 1e\+12 parameters; .* by max_",
    ),
    ({"encoder": "conv:widths=1000000,kernel=1"}, r"makes 36,000,000 numbers of one example of \(12, 12, 1\)"),
    ({"max_parameters": 1000}, r"^encoder=conv: has [0-9,]+ parameters; .*\(now 1,000\)"),
    ({"encoder": "conv:widths=4", "decoder_widths": (10**6, 10**6)}, "^method=denoise: its decoder has 1e.12 param"),
  ):
    with pytest.raises(UserError, match=message):
      sslx.pretrain("denoise", toy, progress=False, **{"max_parameters": 30_000_000, **settings})


def test_no_hyper_parameter_has_the_name_of_an_argument():
  """It could not be given."""
  taken = set(inspect.signature(sslx.pretrain).parameters) - {"hp"}
  for name, method in METHODS.items():
    assert not taken & options.parameters(method.factory).keys(), name


def test_python_values_of_options_are_checked_as_texts_are():
  def factory(*, a: float = 1.0, b: tuple[int, ...] | None = (), c: bool = False, d: int | None = None):
    raise NotImplementedError

  values = {"a": 0.1 + 0.2, "b": [3, 4], "c": True, "d": None}
  assert options.check(factory, values, "--hp") == {**values, "b": (3, 4)}
  assert options.check(factory, {"b": None, "a": 1}, "--hp") == {"b": None, "a": 1.0}
  for bad in ({"a": "x"}, {"d": 1.5}, {"c": 2}, {"e": 1}):
    with pytest.raises(UserError, match="--hp="):
      options.check(factory, bad, "--hp")


def test_everything_exported_is_there():
  assert all(callable(getattr(sslx, name)) for name in sslx.__all__)
  with pytest.raises(AttributeError, match="no_such_name"):
    sslx.no_such_name  # noqa: B018


def test_notebooks_can_draw_the_figures():
  """IPython draws by itself what pyplot made; to others it asks for _repr_png_."""
  figure = figures.loss_curve([{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}])
  assert isinstance(figure, Figure)
  drawn = np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("L"))
  assert min(drawn.shape) > 100
  assert drawn.std() > 5  # not blank


def test_a_notebook_gets_a_bar_on_one_line(monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
  with progress.progress("pretraining", 40) as bar:
    for done in (10, 40):
      bar.update(done, {"loss": 1 / done}, 1234.0)
  out = capsys.readouterr().err
  assert out.count("\n") == 1
  lines = out.rstrip("\n").split("\r")[1:]
  assert [line.count("█") for line in lines] == [0, 7, 30]
  assert len({len(line) for line in lines}) == 1  # the longer one does not shine through
  assert "0/40  compiling" in lines[0]
  assert re.search(r"10/40  loss 0.1  1,234 images/s", lines[1])


def test_the_notebook_runs(toy_npz, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  cells = sources(ROOT / "docs/quickstart.ipynb", f"dataset, epochs, labels = {toy_npz!r}, 10, 0.25")
  names, values = run_cells(cells)
  drawn = [value for value in values if isinstance(value, Figure)]
  assert len(drawn) == sum("sslx.plot_" in cell for cell in cells) == 4
  accuracies = values[-1]
  assert set(accuracies) == {"raw", "random", "scratch", "frozen", "last:1", "full"}
  assert accuracies["full"] == sslx.accuracy(names["classifier"], names["data"].test)
  assert names["model"].history[-1]["loss"] < names["model"].history[0]["loss"]
  assert (tmp_path / "runs/quickstart/checkpoints").is_dir()


def test_the_readme_runs(toy_npz, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
  small = {
    '"mnist"': repr(toy_npz),
    "labels=100": "labels=0.25",
    'pretrain("denoise", data': 'pretrain("denoise", data, epochs=1',
  }
  for text, value in small.items():
    assert block.count(text) == 1
    block = block.replace(text, value)
  names, _ = run_cells([block])
  assert names["features"].shape == (90, 256)
