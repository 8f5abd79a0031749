"""The shape of the code: entry points of one screen or two, files that are read from top
to bottom, types that are meant."""

import importlib
from pathlib import Path

import pytest

from experiments.shared import cli

ROOT = Path(cli.__file__).parents[2]
SOURCES = sorted(path for folder in ("sslx", "experiments") for path in (ROOT / folder).rglob("*.py"))
ENTRY_POINTS = sorted(
  path for path in (ROOT / "experiments").rglob("*.py") if 'if __name__ == "__main__":' in path.read_text()
)


def name(path: Path) -> str:
  return str(path.relative_to(ROOT))


def test_an_entry_point_has_at_most_100_lines():
  assert len(ENTRY_POINTS) >= 16
  lengths = {name(path): len(path.read_text().splitlines()) for path in ENTRY_POINTS}
  assert {path: lines for path, lines in lengths.items() if lines > 100} == {}


def test_a_file_has_at_most_350_lines_of_120_columns():
  lines = {name(path): path.read_text().splitlines() for path in SOURCES}
  assert {path: len(each) for path, each in lines.items() if len(each) > 350} == {}
  wide = [f"{path}:{i}" for path, each in lines.items() for i, line in enumerate(each, 1) if len(line) > 120]
  assert wide == []


def test_no_type_is_told_in_a_comment():
  assert [name(path) for path in SOURCES if "Any  # sslx" in path.read_text()] == []


@pytest.mark.parametrize("path", ENTRY_POINTS, ids=name)
def test_an_entry_point_says_how_it_is_called(path):
  """In its docstring, which --help shows; and it has a `main` for tests and notebooks."""
  parts = path.relative_to(ROOT).with_suffix("").parts
  module = importlib.import_module(".".join(parts))
  assert f"python -m {'.'.join(part for part in parts if part != '__main__')}" in (module.__doc__ or "")
  assert callable(module.main)
