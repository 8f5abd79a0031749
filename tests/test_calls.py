"""A wrong call is one clear line in Python's words, whatever is wrong with it."""

import inspect
import re
import traceback

import numpy as np
import pytest

import sslx
from sslx import calls
from sslx.types import Refusal, UserError

CALLS = {
  # a name that is near one of the function, of the settings, or of the method's options
  "pretrain(*p, epoch=3)": "epoch: no such argument; did you mean 'epochs' (a setting of pretraining)?",
  "pretrain(*p, levle=.3)": "levle: no such argument; did you mean 'level' (an option of denoise)?",
  "pretrain(*p, progres=False)": "progres: no such argument; did you mean 'progress' (an argument of sslx.pretrain)?",
  "classify(run, data, lables=100)": "lables: no such argument; did you mean 'labels' (an argument of sslx.classify)?",
  "load_data('mnist', img_size=32)": "img_size: .* mean 'image_size' (an argument of sslx.load_data)?",
  "pretrain(*p, xyz=1)": "xyz: no such argument. Known: method, data, .* epochs, .* level,",
  # a name that is at home elsewhere
  "pretrain(*p, mode='frozen')": "mode: no such argument; it is an argument of sslx.classify, sslx.fit.",
  "pretrain('simclr', data, level=.3)": "level: no such argument; it is an option of denoise,",
  "pretrain(*p, hp={'level': .3})": "hp: no such argument; it is written out: .* level=0.3.",
  "classify(run, data, 9, steps=3)": "steps: no such argument; it is written recipe=Recipe(steps=...)",
  "fit(run, data, 9, steps=3)": "steps: no such argument; it is written recipe=Recipe(steps=...)",
  "classify(run, data, 9, level=3)": "level: no such argument; it is an option of denoise,",
  "load_data('mnist', epochs=3)": "epochs: no such argument; it is an argument of sslx.pretrain.",
  # too few, too many, in another order
  "pretrain('denoise')": "sslx.pretrain: .*'data'; write sslx.pretrain(method, data, ...).",
  "pretrain(*p, 3)": "sslx.pretrain: too many .*; write sslx.pretrain(method, data, ...).",
  "pretrain(*p, method='simclr')": "sslx.pretrain: multiple values for argument 'method'; write",
  "pretrain(data, 'simclr')": "sslx.pretrain: method and data are in each other's place; write",
  "classify(data, run)": "sslx.classify: run and data .* sslx.classify(run, data, labels=0.01, mode='frozen', ...)",
  "classify(run, data, 'frozen', 9)": "sslx.classify: labels and mode are in each other's place",
  "accuracy(data.test, fitted)": "sslx.accuracy: fitted and split .* write sslx.accuracy(fitted, split)",
  "predict(data.test.x, fitted)": "sslx.predict: fitted and x are in each other's place",
  "save('here', run)": "sslx.save: run and directory are in each other's place",
  # of another type
  "accuracy(fitted, data)": "split: expected a split of the data, such as data.test, not a value of type Dataset.",
  "accuracy(fitted, None)": "split=None: expected a split of the data, such as data.test.",
  "accuracy(run, data.test)": "fitted: expected a Fitted, as sslx.fit gives it, not a value of type Run.",
  "predict(fitted, data.test)": "x: expected an array, not a Split; give the x of a split, such as data.test.x.",
  "predict(fitted, data)": "x: expected an array, not a Dataset",
  "pretrain('denoise', data.train.x)": "data: expected a Dataset, .* type ndarray; .*image_classes.*npz:FILE",
  "pretrain('denoise', 'mnist')": "data='mnist': expected a Dataset, such as that of sslx.load_data.",
  "pretrain(data.test, data)": "method: expected the name of a method, such as 'denoise', not a value of type Split.",
  "pretrain(*p, encoder=3)": "encoder=3: expected a text.",
  "pretrain(*p, optimizer=3)": "optimizer=3: expected adamw or sgd or lars or descent.",
  "pretrain(*p, shuffle='no')": "shuffle='no': expected True or False.",
  "pretrain(*p, seed=True)": "seed=True: expected an integer.",
  "classify(run, data, 'ten')": "labels='ten': expected a number of labels, such as 600, or a fraction, such as 0.01.",
  "classify(run, data, 9, recipe={})": "recipe: expected a Recipe of sslx.evaluation.recipe, not a value of type dict.",
  "classify('runs/mine', data)": "run='runs/mine': expected a Run, as sslx.pretrain and sslx.load give it.",
  "load_data(3)": "name=3: expected the name of a data set, such as 'mnist' or 'folder:DIR'.",
  "load_data('mnist', image_size='9')": "image_size='9': expected an integer.",
  "load_data('mnist', targets=3)": "targets=3: expected a name of a column or number, or several.",
  "load_data('mnist', targets={'x': 1})": "targets: expected a name of a column or number, or several, not a value of",
  "load(None)": "directory=None: expected the path of a folder.",
  "save(run, 3)": "directory=3: expected the path of a folder.",
  "plot_losses(fitted)": "run: expected a Run, .* not a value of type Fitted.",
  # flags that the command line has
  "load_data('mnst')": "name=mnst: unknown; did you mean mnist?",
  "load_data('mnist', task='detection')": "task=detection: mnist has no targets for it; it is for classification",
  "load_data('mnist', targets='x')": "targets=x: mnist has nothing to choose among; leave targets out",
  "load_data('mnist', targets=['x', 'y'])": "targets=x,y: mnist has nothing to choose among",
  "fit(run, data, 9, features='maps4')": "features=maps4: classification reads no maps; leave features out.",
  "load('/nowhere')": "directory=/nowhere: no such folder.",
  "pretrain(*p, weight_decay=-1)": "weight_decay=-1: must be at least 0.",
  "pretrain(*p, level=2)": "level=2: must be in [0, 1]",
  "pretrain(*p, steps=3, epochs=9)": "steps=3: contradicts epochs=9; give one of the two.",
  "classify(run, data, 9, 'knn')": "mode=knn: write knn:K",
}


@pytest.fixture(scope="module")
def names(toy):
  run = sslx.pretrain("denoise", toy, encoder="conv:widths=4", steps=1, progress=False)
  return {"data": toy, "p": ("denoise", toy), "run": run, "fitted": sslx.fit(run, toy, 12)}


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_call_is_one_line(call, names):
  with pytest.raises(UserError) as caught:
    eval(f"sslx.{call}", {"sslx": sslx, **names})
  text, error = str(caught.value), caught.value
  assert re.match(".*".join(map(re.escape, CALLS[call].split(".*"))), text), text
  assert "--" not in text
  assert "\n" not in text
  frames = traceback.extract_tb(error.__traceback__)
  assert [frame.name for frame in frames[-2:]] == ["<module>", "call"]  # where it is called, and the boundary
  assert error.__suppress_context__


def test_what_was_refused_inside_can_be_looked_at(names):
  with pytest.raises(Refusal) as caught:  # a comparison leaves such a method out: its kind is kept
    sslx.pretrain("split_brain", names["data"])
  inner = caught.value.__context__
  assert isinstance(inner, Refusal)
  assert str(inner).startswith("--encoder=split: needs images in colour")
  assert str(caught.value).startswith("encoder=split: needs images in colour")
  assert len(traceback.extract_tb(inner.__traceback__)) > 2


def test_other_errors_are_left_alone(names, monkeypatch):
  def broken(history):
    raise KeyError("loss")

  monkeypatch.setattr("sslx.api.figures.loss_curve", broken)
  with pytest.raises(KeyError) as caught:
    sslx.plot_losses(names["run"])
  assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
  ("value", "annotation", "fits"),
  [
    (3, int, True), (np.int64(3), int, True), (3.0, int, False), (True, int, False), (None, int, False),
    (None, int | None, True), (3, float, True), (np.float32(3), float, True), ("3", float, False), (1, bool, True),
    (np.True_, bool, True), (2, bool, False), ("no", bool, False), ("x", str, True), (np.str_("x"), str, True),
  ],
)  # fmt: skip
def test_numbers_of_numpy_are_numbers(value, annotation, fits):
  assert calls._fits(value, annotation) == fits


@pytest.mark.parametrize(
  ("text", "told"),
  [
    ("--hp=level=2: must; use --hp=views=auto", "level=2: must; use views=auto"),
    ("an easier task (--hp)", "an easier task (hp)"),
    ("--pretraining_weight_decay=-1: no", "weight_decay=-1: no"),
    ("--method=a needs --encoder=mlp:code=1, or `--steps`", "method=a needs encoder=mlp:code=1, or `steps`"),
    ("--modes=last:9: x", "mode=last:9: x"),
    ("/tmp/--epochs: no such file", "/tmp/--epochs: no such file"),
    ("a--epochs", "a--epochs"),
    ("use --fresh to start over", "use --fresh to start over"),  # of the command line alone
  ],
)
def test_flags_become_arguments(text, told):
  assert calls.in_python(text, "pretrain") == told


def test_flags_lead_to_arguments_that_there_are():
  arguments = {name for each in sslx.__all__ for name in inspect.signature(getattr(sslx, each)).parameters}
  assert set(calls.FLAGS.values()) - {"dataset"} <= arguments
  assert set(calls.ARGUMENTS) <= arguments
  assert calls.in_python("--dataset=x", "load_data") == "name=x"
  assert calls.in_python("--dataset=x", "pretrain") == "data=x"
