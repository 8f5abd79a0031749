"""What is installed: all packages and their data files. One version everywhere."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_pyproject_names_every_package():
  folders = {path.parent for name in ("sslx", "experiments") for path in (ROOT / name).rglob("*.py")}
  packages = SETTINGS["tool"]["setuptools"]["packages"]
  assert sorted(packages) == sorted(".".join(folder.relative_to(ROOT).parts) for folder in folders)
  assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_pyproject_names_every_data_file():
  """Files that are no modules: MNIST, the pages' templates, the flags of comparisons."""
  patterns = SETTINGS["tool"]["setuptools"]["package-data"]
  named = {path for package, globs in patterns.items() for each in globs for path in _folder(package).glob(each)}
  files = {path for name in ("sslx", "experiments") for path in (ROOT / name).rglob("*") if path.is_file()}
  assert named == {path for path in files if path.suffix not in (".py", ".pyc")} != set()
  assert all(list(_folder(package).glob(each)) for package, globs in patterns.items() for each in globs)


def _folder(package: str) -> Path:
  return ROOT.joinpath(*package.split("."))


def test_all_files_say_the_same_version():
  version = SETTINGS["project"]["version"]
  citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
  changes = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
  assert citation
  assert changes
  assert (citation[1], changes[1]) == (version, version)
  assert not re.search(r"\d+\.\d+\.\d+", (ROOT / "docs/conf.py").read_text())  # which reads pyproject.toml
