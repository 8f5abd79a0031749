"""A model in a folder: the same to the last bit in a new process, whole or not at all, and no damage goes unnoticed."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sslx
from sslx import models, nn
from sslx.data.types import Dataset, Split, sound_classes, text_classes
from sslx.evaluation import bench, evaluate
from sslx.evaluation.recipe import Recipe
from sslx.fitted import Fitted
from sslx.modalities import MODALITIES
from sslx.ops.text import FIRST, Vocabulary
from sslx.tasks import TASKS
from sslx.types import UserError

RECIPE = Recipe(steps=2, self_train_epochs=1.0, self_train_rounds=1)
RNG = np.random.default_rng(0)
WORDS = Vocabulary(("a", "naïve", "b", "c", "d", "e"), np.arange(9, 3, -1), np.arange(6, 0, -1), 40)
CLASSES = (
  "majority", "raw", "random", "scratch", "frozen", "last:1", "full", "knn:5", "propagate:cmn", "raw+propagate",
  "self_train",
)  # fmt: skip


def images(task: str) -> Dataset:
  names = {"classification": ("x", "y", "z"), "segmentation": ("background", "x", "y")}.get(task, ("x", "y"))
  x = RNG.integers(0, 256, (60, 12, 12, 3)).astype(np.uint8)
  y = {
    "classification": np.arange(60, dtype=np.int32) % 3,
    "multilabel": RNG.integers(0, 2, (60, 2)).astype(np.uint8),
    "regression": RNG.normal(100, 20, (60, 2)).astype(np.float32),
    "segmentation": RNG.integers(0, 3, (60, 12, 12)).astype(np.uint8),
    "detection": np.tile(np.array([[[1, 2, 3, 8, 9]]], np.float32), (60, 1, 1)),
  }[task]
  return Dataset(task, MODALITIES["image"], TASKS[task](names), Split(x, y), Split(x[:7], y[:7]))


def sound() -> Dataset:
  x, y = RNG.integers(-9000, 9000, (30, 2000)).astype(np.int16), np.arange(30, dtype=np.int32) % 3
  return sound_classes("sound", 8000, ("x", "y", "z"), Split(x, y), Split(x[:7], y[:7]))


def text() -> Dataset:
  x, y = RNG.integers(FIRST, WORDS.size, (30, 8)).astype(np.int32), np.arange(30, dtype=np.int32) % 3
  return text_classes("text", WORDS, ("x", "y", "z"), Split(x, y), Split(x[:7], y[:7]))


def trained(data: Dataset, mode: str, spec: str) -> Fitted:
  """On features of random weights, which stand for pretrained ones."""
  encoder = nn.build(spec, vocabulary=data.vocabulary)
  weights = nn.init(encoder, jax.random.key(1), data.modality.prepare(jnp.asarray(data.train.x[:2])))
  represent = nn.Representation(encoder, data.task.reading, *weights, data.modality.prepare)
  labelled = bench.draw(data, [15], 1, 0)
  case = bench.Case(mode, 15, 0)
  predictor = evaluate.train(bench.Bench(data, labelled, represent, RECIPE, 0), [case])[case].predictor
  about = {"dataset": data.name, "score": 0.5}
  return Fitted(
    mode, labelled.rows(), data.task, data.modality, data.x_shape, predictor, data.meaning, 1.25, about
  )  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> dict[str, tuple[Fitted, np.ndarray]]:
  """Name of a folder -> a model of each kind, and what it is asked."""
  made = {}
  data = images("classification")
  for mode in CLASSES:
    made[f"image-{mode}"] = trained(data, mode, "conv:widths=4-6,norm=batch"), data.test.x
  for task in ("multilabel", "regression", "segmentation", "detection"):
    data = images(task)
    for mode in ("raw", "frozen", "scratch"):
      if (task, mode) != ("detection", "raw"):
        made[f"{task}-{mode}"] = trained(data, mode, "conv:widths=4-6"), data.test.x
  for data, modes, spec in (
    (sound(), ("raw", "frozen", "full"), "mel:rate=8000+conv:widths=4-6"),
    (text(), ("raw", "lsa:3", "frozen"), "bag+mlp:widths=6,code=3"),
    (text(), ("frozen", "scratch"), "transformer:width=8,depth=1,heads=2"),
  ):
    for mode in modes:
      made[f"{spec.partition(':')[0]}-{mode}"] = trained(data, mode, spec), data.test.x
  return made


@pytest.fixture(scope="module")
def folder(fitted, tmp_path_factory):
  out = tmp_path_factory.mktemp("models")
  for name, (model, x) in fitted.items():
    models.write(model, out / name)
    np.save(out / f"{name}.x.npy", x)
  return out


READER = """
import sys, pathlib, numpy as np
from sslx import models
for x in pathlib.Path(sys.argv[1]).glob("*.x.npy"):
  name = x.name.removesuffix(".x.npy")
  np.save(x.with_name(f"{name}.out.npy"), models.read(x.with_name(name)).predictor.outputs(np.load(x)))
"""


def test_a_new_process_gives_the_same_outputs_to_the_last_bit(fitted, folder):
  subprocess.run([sys.executable, "-c", READER, folder], check=True)
  for name, (model, x) in fitted.items():
    expected, given = model.predictor.outputs(x), np.load(folder / f"{name}.out.npy")
    assert expected.dtype == given.dtype, name
    assert np.array_equal(expected, given), name
    assert np.ptp(expected) > 0, name


def test_all_that_is_told_of_a_model_comes_back(fitted, folder):
  for name, (model, _) in fitted.items():
    back = models.read(folder / name)
    assert (back.mode, back.temperature, back.about) == (model.mode, 1.25, model.about), name
    assert (back.x_shape, back.meaning, back.modality) == (model.x_shape, model.meaning, model.modality)
    assert (back.task.name, back.task.names, back.task.reading) == (
      model.task.name,
      model.task.names,
      model.task.reading,
    )
    assert back.rows.tolist() == model.rows.tolist()
    assert repr(back) == repr(model)
    assert type(back.predictor.head) is type(model.predictor.head)
    assert back.predictor.represent.encoder.spec == model.predictor.represent.encoder.spec
    assert back.predictor.head.size == model.predictor.head.size


def test_a_model_is_two_files_that_anyone_can_read(folder):
  directory = folder / "image-frozen"
  assert sorted(os.listdir(directory)) == ["model.json", "model.npz"]
  text = json.loads((directory / "model.json").read_text())
  assert text["encoder"]["spec"] == "conv:widths=4-6,norm=batch"
  assert (text["head"]["kind"], text["task"]["names"], text["format"]) == ("linear", ["x", "y", "z"], 1)
  arrays = np.load(directory / "model.npz", allow_pickle=False)
  assert {"head/weight", "head/bias", "rows"} < set(arrays.files)
  assert all(arrays[name].dtype != object for name in arrays.files)


def test_bfloat16_survives(fitted, tmp_path):
  model, x = fitted["image-scratch"]
  represent = model.predictor.represent
  half = represent.holding(jax.tree.map(lambda p: p.astype(jnp.bfloat16), represent.params), represent.stats)
  half = model._replace(predictor=model.predictor._replace(represent=half))
  back = models.read(models.write(half, tmp_path / "half"))
  assert {leaf.dtype for leaf in jax.tree.leaves(back.predictor.represent.params)} == {jnp.bfloat16.dtype}
  np.testing.assert_array_equal(back.predictor.outputs(x), half.predictor.outputs(x))


@pytest.mark.parametrize("name", ["model.json", "model.npz"])
def test_damage_is_one_clear_error(name, fitted, tmp_path):
  directory = models.write(fitted["image-frozen"][0], tmp_path / "model")
  whole = (directory / name).read_bytes()
  rng = np.random.default_rng(0)
  for place in [0, len(whole) - 1, *rng.integers(0, len(whole), 30)]:
    flipped = bytearray(whole)
    flipped[place] ^= 1
    (directory / name).write_bytes(flipped)
    if name == "model.json" and chr(whole[place]).isspace():
      continue  # between two values, where it says nothing, or no JSON
    with pytest.raises(UserError, match=r"damaged|newer"):
      models.read(directory)
  for damaged in (whole[: len(whole) // 2], b""):
    (directory / name).write_bytes(damaged)
    with pytest.raises(UserError, match="damaged"):
      models.read(directory)
  (directory / name).unlink()
  with pytest.raises(UserError, match=r"damaged|no model there"):
    models.read(directory)


def test_a_newer_format_says_so(fitted, tmp_path, monkeypatch):
  monkeypatch.setattr(models, "FORMAT", 7)
  directory = models.write(fitted["image-frozen"][0], tmp_path)
  monkeypatch.undo()
  with pytest.raises(UserError, match="format 7, which a newer sslx wrote; update sslx"):
    models.read(directory)


class Killed(BaseException):
  """Stands for the end of the process."""


def test_whenever_it_is_killed_the_old_model_or_the_new_is_there(fitted, tmp_path, monkeypatch):
  (old, x), (new, _) = fitted["image-frozen"], fitted["image-random"]
  outputs = {"frozen": old.predictor.outputs(x), "random": new.predictor.outputs(x)}
  seen, real = [], os.replace
  for after in range(4):
    directory = models.write(old, tmp_path / str(after))
    (directory / "notes.txt").write_text("mine")
    calls = []

    def replace(*paths, calls=calls, after=after):
      if len(calls) == after:
        raise Killed
      calls.append(paths)
      real(*paths)

    monkeypatch.setattr(os, "replace", replace)
    try:
      models.write(new, directory)
    except Killed:
      assert after < 3
    monkeypatch.undo()
    back = models.read(directory)
    np.testing.assert_array_equal(back.predictor.outputs(x), outputs[back.mode])
    seen.append(back.mode)
    models.write(old, directory)
    assert sorted(os.listdir(directory)) == ["model.json", "model.npz", "notes.txt"]
  assert seen == ["frozen", "frozen", "random", "random"]


def test_an_encoder_without_a_text_is_refused(fitted, tmp_path):
  model, _ = fitted["image-frozen"]
  represent = model.predictor.represent
  unknown = represent._replace(encoder=represent.encoder.clone(spec=""))
  with pytest.raises(UserError, match=r"not made by nn\.build"):
    models.write(model._replace(predictor=model.predictor._replace(represent=unknown)), tmp_path / "model")
  assert not (tmp_path / "model").exists()


def test_find_tells_what_is_there(fitted, tmp_path):
  model, _ = fitted["image-frozen"]
  run = tmp_path / "run"
  with pytest.raises(UserError, match="no such folder"):
    models.find(run)
  run.mkdir()
  with pytest.raises(UserError, match=r"no model there; make one: .* --save=best"):
    models.find(run)
  other = models.write(model, run / "models" / "denoise-frozen")
  with pytest.raises(UserError, match="denoise-frozen"):
    models.find(run)
  best = models.write(model, run / "models" / "best")
  assert models.find(run) == models.find(run / "models") == models.find(best) == best
  assert models.find(other) == other


# ---- sslx.save and sslx.load -----------------------------------------------------------------------------------------


def test_what_is_fitted_is_saved_and_loaded_beside_its_run(toy, tmp_path):
  run = sslx.pretrain("denoise", toy, encoder="conv:widths=4-6", epochs=1, progress=False)
  fitted = sslx.fit(run, toy, 12)
  where = sslx.save(run, tmp_path / "run")
  model = sslx.save(fitted, where / "models" / "best")
  back = sslx.load(model)
  assert isinstance(back, Fitted)
  np.testing.assert_array_equal(sslx.predict(back, toy.test.x), sslx.predict(fitted, toy.test.x))
  assert sslx.accuracy(back, toy.test) == sslx.accuracy(fitted, toy.test)
  assert sslx.load(where).meta.config.method == "denoise"
  about = back.about
  assert (about["dataset"], about["method"], about["mode"], about["labels"]) == ("toy", "denoise", "frozen", 12)
  assert about["config"]["encoder"] == "conv:widths=4-6"
  assert about["versions"]["sslx"]

  with pytest.raises(UserError, match="overwrite=True"):
    sslx.save(fitted, model)
  sslx.save(fitted, model, overwrite=True)
  with pytest.raises(UserError, match="holds a run; name another folder"):
    sslx.save(fitted, where, overwrite=True)
  with pytest.raises(UserError, match="holds what was fitted"):
    sslx.save(run, model, overwrite=True)
