"""Imports point one way (design: types <- nn, ops, losses <- pretext <- train, probe <- experiments), read from the AST."""

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


LOWER = {"nn", "ops", "losses", "masks", "optim", "options", "records", "report", "figures", "progress", "types"}


@pytest.mark.parametrize(
  ("part", "allowed"),
  [
    ("ops", {"types", "ops"}),
    ("nn", {"types", "nn", "ops", "options"}),
    ("losses", {"types", "ops"}),
    ("propagation", {"types", "compile"}),
    ("options", {"types"}),
    ("masks", {"types"}),
    ("optim", {"types"}),
    ("progress", {"types"}),
    ("compile", {"types"}),
    ("figures", {"types"}),
    ("records", {"types"}),
    ("report", {"types", "records"}),
    ("labels_saved", {"report"}),
    ("readings", {"report"}),
    ("pages", {"types", "records", "report"}),
    ("leaderboard", {"pages", "report"}),
    ("interpret", {"types"}),
    ("figures_code", {"types", "figures", "interpret"}),
    ("decoder_page", {"types", "interpret", "pages"}),
    ("checkpoint", {"types", "masks"}),
    ("data", {"types", "data"}),
    ("pretext", {"types", "nn", "ops", "losses", "options", "pretext", "views", "memory"}),
    ("memory", {"types"}),
    ("views", {"types", "ops", "options"}),
    ("pretraining", {"types", "compile", "nn", "optim", "options", "data", "pretext", "probe", "train", "checkpoint"}),
  ],
)
def test_imports_point_one_way(part, allowed):
  assert {name for path in in_part(part) for name in siblings(path)} <= allowed


def test_train_does_not_know_the_methods():
  assert not {n for p in in_part("train", "probe") for n in siblings(p)} & {"pretext", "compare", "finetune"}


def test_nobody_in_the_library_imports_experiments():
  assert not having("experiments") & inside("sslx")


def test_only_experiments_reads_flags():
  assert having("absl.flags", "absl.app") <= inside("experiments")
  assert having("absl.flags")


@pytest.mark.parametrize("library", ["tensorflow_datasets", "grain", "array_record"])
def test_only_data_imports(library):
  assert having(library) <= inside("sslx.data")


def test_only_checkpoint_imports_orbax():
  assert having("orbax") == {"sslx.checkpoint"}


def test_tensorflow_is_imported_only_where_the_catalogue_prepares_a_set():
  """Inside a function: nothing loads it unless a catalogue's builder has to run."""
  assert having("tensorflow") <= {"sslx.data.catalogue"}
  assert not having("tensorflow", top_level_only=True)


@pytest.mark.parametrize("library", ["torch", "keras", "flax.training", "jax.pmap"])
def test_nobody_imports(library):
  assert not having(library)


def test_scikit_learn_is_imported_only_for_maps():
  """Inside a function: it is an extra."""
  assert having("sklearn") == {"sslx.interpret"}
  assert not having("sklearn", top_level_only=True)


def test_every_sslx_import_exists():
  for path in FILES:
    for name in imports(path):
      if name.startswith(("sslx.", "experiments.")):
        assert name in MODULES or name.rpartition(".")[0] in MODULES, f"{path}: {name}"


@pytest.mark.parametrize(
  "package", ["sslx", "experiments.common", "experiments.interpret", "experiments.low_label", "experiments.pretrain"]
)
def test_import_is_light(package):
  """--help and a mistyped flag answer at once."""
  heavy = ["jax", "flax", "tensorflow", "tensorflow_datasets", "grain", "orbax", "matplotlib", "scipy", "rich"]
  if package.startswith("experiments"):
    heavy.remove("jax")  # the names in sslx.types
  code = f"import sys, {package}; print(*[m for m in {heavy!r} if m in sys.modules])"
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.split() == []
