"""The site's source (Sphinx itself is run by ./launch.sh docs), and the notebook for Colab."""

import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from sslx.pretext import METHODS

ROOT = Path(__file__).resolve().parents[1]
COLAB = json.loads((ROOT / "docs/colab.ipynb").read_text())
sys.path.insert(0, str(ROOT / "docs"))  # a script beside the pages, not a module of the package

import pages  # noqa: E402


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
  target = tmp_path_factory.mktemp("site") / "source"
  pages.write(target)
  return target


def test_every_method_has_a_page(source):
  assert {path.stem for path in (source / "methods").glob("*.md")} == set(METHODS)
  for name, method in METHODS.items():
    text = (source / f"methods/{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    for part in ("## When it helps", "## Use", f"--method={name}", f"| {method.epochs:g} |", "## Our numbers"):
      assert part in text, (name, part)
    equation = re.search(r"^    L.* = .*$", sys.modules[method.factory.__module__].__doc__ or "", re.MULTILINE)
    assert equation is None or equation[0] in text


def test_numbers_are_those_of_the_tables(source):
  row = next(
    line for line in (ROOT / "docs/autoencoders.md").read_text().partition(pages.BEGIN)[2].splitlines()
    if line.startswith("| wta ")
  )  # fmt: skip
  numbers = [cell for cell in pages.cells(row) if re.match(r"\d", cell)]
  page = (source / "methods/wta.md").read_text()
  assert numbers
  assert all(number in page for number in numbers)


def test_a_method_without_results_says_so():
  assert "No table of this project has a row of `rotation` yet." in "\n".join(pages.results("rotation", []))


def test_rows_of_a_method_and_its_references():
  table = pages.Table("docs/x.md", "mnist, --encoder=conv", "", [
    ["method", "frozen", "full", "knn:20"], ["raw pixels", "1", "", ""], ["no pretraining", "2", "3", ""],
    ["simclr", "4", "5", ""], ["simclr v2", "6", "7", "8"],
  ], [], "")  # fmt: skip
  assert pages.rows_of("simclr", table) == [
    ["method", "frozen", "full"], ["raw pixels", "1", ""], ["no pretraining", "2", "3"], ["simclr", "4", "5"],
  ]  # fmt: skip
  assert pages.rows_of("byol", table) == []


def test_links_lead_to_pages_of_the_site(source):
  for path in source.rglob("*.md"):
    if "files" in path.relative_to(source).parts:
      continue
    text = re.sub(r"(?ms)^```.*?^```|^ {4}[^\n]*$|`[^`\n]*`", "", path.read_text())
    for target in re.findall(r"(?<!\\)\]\(([^()\s]+)\)", text):
      file = target.partition("#")[0]
      assert re.match(r"[a-z]+:", target) or not file or (path.parent / file).exists(), (path.name, target)
  with pytest.raises(ValueError, match=r"README.md: a link to gone.md, where there is no file"):
    pages.relink("[x](gone.md)", "README.md", pages.site(), lambda file: file)


def test_the_colab_notebook_is_stored_without_outputs():
  assert COLAB["nbformat"] == 4
  assert len({cell["id"] for cell in COLAB["cells"]}) == len(COLAB["cells"])
  assert all((c["outputs"], c["execution_count"]) == ([], None) for c in COLAB["cells"] if c["cell_type"] == "code")


def test_the_colab_notebook_installs_beside_the_runtimes_jax_and_runs(mnist_dir, tmp_path, monkeypatch):
  """All cells in order; git and pip are only asked for."""
  (tmp_path / "runs").mkdir()
  monkeypatch.chdir(tmp_path)
  asked, shown = [], []
  really = subprocess.run

  def run(command, **how):  # rows of results ask git for the commit
    return asked.append(command) if {"clone", "pip"} & set(command) else really(command, **how)

  monkeypatch.setattr(subprocess, "run", run)
  ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
  ipython.version_info, ipython.get_ipython = (9, 0), lambda: None  # what matplotlib asks it
  display.Image, display.display = (lambda path: path), shown.append
  monkeypatch.setitem(sys.modules, "IPython", ipython)
  monkeypatch.setitem(sys.modules, "IPython.display", display)
  names: dict = {"__name__": "__main__"}
  for cell in COLAB["cells"]:
    if cell["cell_type"] != "code":
      continue
    text = "".join(cell["source"])
    if cell["metadata"].get("tags") == ["parameters"]:
      text += f"\nrepository = 'https://x/y.git'; flags += ' --smoke --seeds=2 --data_dir={mnist_dir} --encoder=conv:widths=4-6'"
    exec(compile(text, "cell", "exec"), names)
  git, pip = asked
  assert git == ["git", "clone", "--depth=1", "https://x/y.git", "sslx-clone"]
  assert pip[pip.index("--constraint") + 1] == "held.txt"
  assert pip[-1] == "./sslx-clone"
  held = dict(line.split("==") for line in Path("held.txt").read_text().split())
  import jax
  import jaxlib
  import numpy

  assert (held["jax"], held["jaxlib"], held["numpy"]) == (jax.__version__, jaxlib.__version__, numpy.__version__)
  assert not {"flax", "sslx"} & set(held)
  assert names["status"] == 0
  assert [path.stem for path in shown] == ["accuracy", "loss", "pretext"]
