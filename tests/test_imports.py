"""Imports point one way (types <- ops, nn, losses <- modalities, tasks <- pretext, data <- training <- evaluation <-
api, experiments), read from the AST."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(p for package in ("sslx", "experiments") for p in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
  parts = path.relative_to(ROOT).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(p) for p in FILES}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
  """Full names of what a file imports: `from sslx import nn` is sslx.nn, `from absl import flags` is absl.flags."""
  tree = ast.parse(path.read_text())
  if top_level_only:
    nodes = [n for n in ast.walk(ast.Module([s for s in tree.body if not isinstance(s, ast.FunctionDef)], []))]
  else:
    nodes = list(ast.walk(tree))
  found = set()
  for node in nodes:
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
  return found


def siblings(path: Path) -> set[str]:
  """The parts of sslx that a file imports: nn, ops, data, train ..."""
  return {name.split(".")[1] for name in imports(path) if name.startswith("sslx.")}


def in_part(*parts: str) -> list[Path]:
  found = [p for p in FILES if (module_name(p) + ".").startswith(tuple(f"sslx.{part}." for part in parts))]
  assert found
  return found


def having(*names: str, top_level_only: bool = False) -> set[str]:
  """The modules that import one of the names or something below it."""
  return {
    module_name(p)
    for p in FILES
    if any((i + ".").startswith(tuple(n + "." for n in names)) for i in imports(p, top_level_only))
  }


def inside(*packages: str) -> set[str]:
  return {m for m in MODULES if (m + ".").startswith(tuple(p + "." for p in packages))}


def test_types_imports_no_sibling():
  assert siblings(ROOT / "sslx/types.py") == set()


@pytest.mark.parametrize(
  ("part", "allowed"),
  [
    ("options", {"types"}),
    ("compile", {"types"}),
    ("disk", set()),
    ("ops", {"types", "ops"}),
    ("losses", {"types", "ops"}),
    ("nn", {"types", "options", "compile", "ops", "nn"}),
    ("modalities", {"types", "options", "ops", "modalities"}),
    ("tasks", {"types", "losses", "nn", "tasks"}),
    ("data", {"types", "options", "ops", "modalities", "tasks", "data"}),
    ("pretext", {"types", "options", "ops", "losses", "nn", "modalities", "pretext"}),
    ("training", {"types", "disk", "options", "compile", "nn", "ops", "modalities", "tasks", "data", "pretext",
                  "training"}),
    ("evaluation", {"types", "options", "compile", "losses", "nn", "ops", "modalities", "tasks", "data", "pretext",
                    "training", "evaluation"}),
    ("report", {"types", "disk", "report"}),
    ("interpret", {"types", "compile", "nn", "report", "interpret"}),
    ("calls", {"types", "options", "pretext", "training", "evaluation"}),
    ("checks", {"types", "data", "training"}),
    ("fitted", {"types", "data", "evaluation", "report", "calls", "checks"}),
    ("fitting", {"types", "data", "training", "evaluation", "report", "calls", "checks", "fitted"}),
    ("models", {"types", "disk", "nn", "ops", "modalities", "tasks", "evaluation", "report", "fitted"}),
    ("predicting", {"data", "calls", "fitted", "models"}),
    ("exported", {"types", "ops", "evaluation", "report", "calls", "fitted", "models"}),
    ("saved", {"types", "disk", "nn", "data", "training", "report", "calls", "fitted", "models"}),
    ("word_vectors", {"types", "ops", "training", "evaluation", "report", "calls", "tasks"}),
    ("api", {"types", "options", "ops", "nn", "data", "pretext", "training", "evaluation", "report", "calls", "checks",
             "exported", "fitted", "fitting", "predicting", "saved", "word_vectors"}),
  ],
)  # fmt: skip
def test_imports_point_one_way(part, allowed):
  assert {name for path in in_part(part) for name in siblings(path)} <= allowed


@pytest.mark.parametrize("part", ["training.config", "evaluation.recipe"])
def test_what_flags_are_made_of_is_light(part):
  """The flags of --help are made of these modules: what is slow to import, they import inside functions."""
  (path,) = in_part(part)
  statements = [s for s in ast.parse(path.read_text()).body if isinstance(s, ast.ImportFrom)]
  assert {s.module for s in statements if str(s.module).startswith("sslx")} <= {"sslx", "sslx.options", "sslx.types"}
  assert [alias.name for s in statements if s.module == "sslx" for alias in s.names] == ["options"]


def test_families_hold_no_method():
  """A method is one file of pretext/; what several share is below families/, which imports no method."""
  methods = {m for m in inside("sslx.pretext") if m.count(".") == 2 and m != "sslx.pretext.families"}
  for path in in_part("pretext.families"):
    assert not {m for name in imports(path) for m in methods if (name + ".").startswith(m + ".")}, path


def test_nobody_in_the_library_imports_experiments():
  assert not having("experiments") & inside("sslx")


def test_only_experiments_reads_flags():
  by_grain = {"sslx.data.workers"}  # grain's processes look at its own flags, which nobody has parsed in a notebook
  assert having("absl.flags", "absl.app") <= inside("experiments") | by_grain
  assert having("absl.flags") - by_grain


@pytest.mark.parametrize("library", ["tensorflow_datasets", "grain", "array_record", "pyarrow", "datasets", "fsspec"])
def test_only_data_imports(library):
  assert having(library) <= inside("sslx.data")


def test_only_checkpoint_imports_orbax():
  assert having("orbax") == {"sslx.training.checkpoint"}


def test_tensorflow_is_imported_only_where_the_catalogue_prepares_a_set():
  """Inside a function: nothing loads it unless a catalogue's builder has to run."""
  assert having("tensorflow") <= {"sslx.data.catalogue"}
  assert not having("tensorflow", top_level_only=True)


@pytest.mark.parametrize("library", ["torch", "keras", "flax.training", "jax.pmap"])
def test_nobody_imports(library):
  assert not having(library)


def test_scikit_learn_is_imported_only_for_maps():
  """Inside a function: it is an extra."""
  assert having("sklearn") == {"sslx.interpret.maps"}
  assert not having("sklearn", top_level_only=True)


def test_every_sslx_import_exists():
  for path in FILES:
    for name in imports(path):
      if name.startswith(("sslx.", "experiments.")):
        assert name in MODULES or name.rpartition(".")[0] in MODULES, f"{path}: {name}"


@pytest.mark.parametrize(
  "package",
  [
    "sslx",
    "sslx.types",
    "experiments.shared.cli",
    "experiments.interpret",
    "experiments.low_label",
    "experiments.rotnet_mnist.__main__",
  ],
)
def test_import_is_light(package):
  """--help and a mistyped flag answer at once."""
  heavy = ["jax", "flax", "tensorflow", "tensorflow_datasets", "grain", "orbax", "matplotlib", "scipy", "rich"]
  code = f"import sys, {package}; print(*[m for m in {heavy!r} if m in sys.modules])"
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.split() == []
