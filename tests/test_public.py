"""What Python shows of sslx: the functions that a tab lists, their help, and the values that they take and give."""

import copy
import dataclasses
import doctest
import inspect
import pickle
import pydoc
import re
import rlcompleter
import subprocess
import sys
from importlib import metadata

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import sslx
from sslx import nn
from sslx.data import DATASETS, Dataset, LazyArray, Split
from sslx.data.types import image_classes
from sslx.evaluation import bench, evaluate
from sslx.evaluation.modes import MODES
from sslx.evaluation.recipe import Recipe
from sslx.modalities import MODALITIES
from sslx.pretext import METHODS, build
from sslx.training import run as runs
from sslx.training.config import Config
from sslx.types import brief

TINY = {"encoder": "conv:widths=4-6,norm=batch", "epochs": 1, "progress": False}


# ---- names and help --------------------------------------------------------------------------------------------------


def test_a_tab_shows_the_functions_and_imports_nothing():
  code = "import sys, sslx; print(*dir(sslx), sslx.__version__); assert not {'jax', 'numpy'} & sys.modules.keys()"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  *shown, version = done.stdout.split()
  assert version == metadata.version("sslx")
  assert {name for name in shown if not name.startswith("_")} == set(sslx.__all__)
  assert "__version__" in shown


def test_a_tab_of_python_completes_them():
  matches = rlcompleter.Completer({"sslx": sslx}).attr_matches("sslx.plot_")
  assert {match.partition("(")[0] for match in matches} == {f"sslx.{n}" for n in sslx.__all__ if n.startswith("plot_")}


def test_a_misspelt_function_is_told():
  with pytest.raises(AttributeError, match="has no attribute 'load_dat'; did you mean 'load_data'"):
    sslx.load_dat  # noqa: B018
  with pytest.raises(AttributeError, match=r"has no attribute 'qqq'$"):
    sslx.qqq  # noqa: B018
  done = subprocess.run([sys.executable, "-c", "import sslx; sslx.load_dat"], capture_output=True, text=True)
  assert done.stderr.lower().count("did you mean") == 1  # Python has a hint of its own


def functions() -> dict:
  return {name: getattr(sslx, name) for name in sslx.__all__}


def test_help_lists_the_functions_with_a_line_each():
  lines = re.findall(r"^(\w+) +(\S.*)$", (sslx.__doc__ or "").partition("tell more of:")[2], re.MULTILINE)
  assert sorted(lines) == sorted((n, (inspect.getdoc(f) or "").partition("\n")[0]) for n, f in functions().items())
  page = pydoc.render_doc(sslx, renderer=pydoc.plaintext)
  assert all(f"    {name}(" in page for name in sslx.__all__)


@pytest.mark.parametrize("name", sslx.__all__)
def test_a_docstring_tells_arguments_results_and_errors_and_has_an_example(name):
  text, signature = inspect.getdoc(functions()[name]) or "", inspect.signature(functions()[name])
  sections = re.findall(r"^(\w+):$", text, re.MULTILINE)
  assert sections == ["Example", "Args", "Returns", "Raises"]
  arguments = text.partition("Args:")[2].partition("Returns:")[0]
  for argument in set(signature.parameters) - {"hp"}:
    assert re.search(rf"^ +{argument}: \S", arguments, re.MULTILINE), argument
  assert "UserError: " in text.partition("Raises:")[2]
  assert "--" not in text.replace("experiments' --checkpoint", "").replace("experiments.pretrain --help", "")


def test_the_examples_run_one_after_the_other(toy_npz, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "vectors.txt").write_text("2 2\nrow 1 2\ncolumn 3 4\n")
  names, values = {"sslx": sslx}, {}
  order = re.findall(r"^(\w+)  ", (sslx.__doc__ or "").partition("tell more of:")[2], re.MULTILINE)
  assert set(order) | {"plot_predictions"} == set(sslx.__all__)
  for name in [*order, "plot_predictions"]:
    for example in doctest.DocTestParser().get_examples(inspect.getdoc(functions()[name]) or ""):
      source = example.source.strip().replace('"mnist"', repr(toy_npz)).replace("epochs=2", "epochs=1")
      target, sign, expression = source.partition(" = ")
      values[name] = eval(expression if sign else source, names)
      if sign:
        parts = target.split(", ")
        names.update(zip(parts, values[name] if len(parts) > 1 else [values[name]], strict=True))
  assert values.keys() == set(sslx.__all__)
  assert all(isinstance(value, Figure) for name, value in values.items() if name.startswith("plot_"))
  assert (tmp_path / "runs/mine/checkpoints").is_dir()


# ---- values ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(toy):
  return sslx.pretrain("denoise", toy, **TINY)


@pytest.fixture(scope="module")
def values(toy, run, tmp_path_factory) -> list:
  """All that the functions take and give, and what lies behind them."""
  folder = sslx.save(run, tmp_path_factory.mktemp("run"))
  modes = ["raw", "frozen", "last:1", "knn:3", "propagate", "self_train"]
  recipe = Recipe(steps=2, learning_rates=(1e-3, 2e-3))
  plan = runs.plan(Config(method="supervised", smoke=True, encoder="mlp:widths=8,code=3"), toy, "flatten")
  labelled = bench.draw(toy, [12], 1, 30)
  table = bench.Bench(toy, labelled, run.representation(), Recipe(), 0)
  case = bench.Case("majority", 12, 0)
  plain = build("autoencode", nn.build("conv:widths=4"), {}, toy.task)
  return [
    toy, run, sslx.load(folder), *sslx.load_encoder(folder), recipe, Recipe(), Config(), plan, table, plain, case,
    *(sslx.fit(run, toy, 30, mode, recipe=recipe) for mode in modes), *evaluate.evaluate(table, [case]),
    evaluate.train(table, [case])[case], *METHODS.values(), *MODES.values(), *MODALITIES.values(), *DATASETS.values(),
    *(nn.build(spec) for spec in (*nn.ENCODERS, "vit:depth=200")), nn.RAW,
  ]  # fmt: skip


def walk(value, seen: dict[int, object]) -> None:
  """Adds all values of our types that hang on one."""
  if id(value) in seen:
    return
  seen[id(value)] = value
  parts = []
  if isinstance(value, dict):
    parts = list(value.values())
  elif isinstance(value, tuple | list):
    parts = list(value)
  elif dataclasses.is_dataclass(value) and type(value).__module__.startswith("sslx.") and not isinstance(value, type):
    parts = [getattr(value, field.name) for field in dataclasses.fields(value) if field.name not in ("parent", "name")]
  for part in parts:
    walk(part, seen)


def assert_short(value) -> None:
  text = repr(value)
  assert text.startswith(type(value).__name__)
  lines = text.split("\n")
  assert len(lines) <= 3, text
  assert max(map(len, lines)) <= 120, text
  assert " at 0x" not in text, text
  assert text.isprintable() or "\n" in text


def test_everything_is_shown_in_three_lines(values):
  seen: dict[int, object] = {}
  walk(values, seen)
  ours = [value for value in seen.values() if type(value).__module__.startswith("sslx.") and not callable(value)]
  ours += [value for value in seen.values() if isinstance(value, nn.Representation | nn.Encoder)]
  kinds = {type(value).__name__ for value in ours}
  assert kinds >= {
    "Bench", "Case", "Config", "Constant", "Dataset", "Encoder", "Fitted", "Graph", "Knn", "Labelled", "Linear",
    "Meta", "Method", "Modality", "Mode", "Plan", "Predictor", "Pretext", "Propagated", "Recipe", "Representation",
    "Run", "Score", "Scored", "Source", "Split", "Task", "TrainState", "Trained",
  }  # fmt: skip
  for value in ours:
    assert_short(value)


def test_a_data_set_says_what_it_is(toy):
  big = image_classes("big", [f"class {i}" for i in range(1000)], toy.train, toy.test, Split(toy.test.x, None))
  text = " ".join(repr(big).split())
  assert text.startswith("Dataset(name='big', modality=Modality(name='image'), task=Task(name='classification', ")
  assert "outputs=1000, names=('class 0', 'class 1'" in text
  assert "train=Split(x=uint8[240,12,12,1], y=int32[240]), test=Split(x=uint8[90,12,12,1], y=int32[90])" in text
  assert text.endswith("unlabeled=Split(x=uint8[90,12,12,1], y=None))")
  assert_short(big)


def test_names_of_others_do_not_reach_the_terminal_as_they_are(toy, run):
  evil = "x\x1b[2J\n\u202e" + "long" * 100
  for value in (
    dataclasses.replace(toy, name=evil),
    image_classes("x", [evil] * 3, toy.train, toy.test),
    run._replace(meta=run.meta._replace(config=dataclasses.replace(run.meta.config, dataset=evil, hp={evil: 1}))),
  ):
    assert_short(value)
    assert "\x1b" not in repr(value)
    assert "\u202e" not in repr(value)


class Unread:
  """An array that must not be looked into."""

  shape, dtype = (5, 4), np.dtype(np.uint8)

  def __repr__(self) -> str:
    pytest.fail("it was read")

  __array__ = __len__ = __iter__ = __getitem__ = __str__ = __repr__  # type: ignore[assignment]


def test_nothing_is_read_to_be_shown(toy, run):
  lazy = LazyArray((5, 12, 12, 1), lambda rows: pytest.fail("it was read"))
  assert repr(lazy).startswith("LazyArray(uint8[5,12,12,1]")
  assert "x=uint8[5,12,12,1], y=None" in repr(Split(lazy, None))
  assert "unlabeled=Split(x=uint8[5,12,12,1]" in " ".join(
    repr(dataclasses.replace(toy, unlabeled=Split(lazy, None))).split()
  )
  state = run.train_state._replace(params={"encoder": {"w": Unread()}}, opt_state=(Unread(), [Unread()] * 9))
  assert "params={encoder}, state={encoder}, opt_state=(uint8[5,4], (uint8[5,4], " in " ".join(repr(state).split())
  assert "params={w}" in repr(run.representation()._replace(params={"w": Unread()}))


def test_a_repr_never_fails(toy):
  """It stands in error lines, also of what was made wrongly."""
  for value in (
    Dataset("x", "image", None, toy.train.x, None),  # type: ignore[arg-type]
    Split([1, 2], "y"),  # type: ignore[arg-type]
    dataclasses.replace(toy, unlabeled=toy.train.x),
  ):
    assert_short(value)


def test_values_are_copied_compared_and_traced_as_before(run):
  config, recipe = run.meta.config, Recipe(steps=3)
  for value in (config, recipe, run.meta, run.meta._replace(step=3)):
    assert pickle.loads(pickle.dumps(value)) == value == copy.deepcopy(value)
  assert dataclasses.replace(config, seed=4).seed == 4
  assert eval(repr(recipe), {"Recipe": Recipe}) == recipe  # what is not shown is at its default
  assert eval(repr(Config(seed=3)), {"Config": Config}) == Config(seed=3)
  shown = []
  jax.jit(lambda ts: shown.append(repr(ts)) or ts.step)(run.train_state)
  assert shown[0].startswith("TrainState(step=int32[]")
  assert hash(nn.build("conv")) == hash(nn.build("conv"))
  assert type(run.meta).__repr__ is brief


def test_what_is_long_is_cut():
  files = tuple(f"{i}.png" for i in range(100_000))
  assert "files=('0.png', '1.png', '2.png', '3.png', ... 100000 in all)" in repr(Split(np.zeros(3), None, files))
  assert_short(Config(hp={f"option{i}": "x" * 50 for i in range(50)}, encoder="conv:" + "widths=1-" * 50))
  assert_short(Recipe(learning_rates=(1e-3,) * 1000))
