"""The site's source: a page for every method, made of its docstring, its row in METHODS and its rows in the tables."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from notebooks import code_cells, run_cells, sources
from PIL import Image

from sslx.pretext import METHODS

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> types.ModuleType:
  """A module of docs/, which is no package."""
  spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / f"docs/{name}.py")
  assert spec
  assert spec.loader
  module = importlib.util.module_from_spec(spec)
  sys.modules[spec.name] = module
  spec.loader.exec_module(module)
  return module


pages, make_pictures = load("pages"), load("make_pictures")

PAGE = """# Some methods

- `rotation`: turned
  by quarters. `jigsaw`: puzzles.
- `mae`: hidden.

| `--method=` | what | source |
| --- | --- | --- |
| `rotation` | turns | a paper |

<!-- results -->
### mnist, --encoder=conv

Methods, 100 labels

| method         |     frozen |         full |
|----------------|------------|--------------|
| raw pixels     | 76.4 ± 2.5 |              |
| no pretraining | 82.2 ± 1.7 |   83.1 ± 1.3 |
| rotation       | 80.5 ± 1.0 |              |
| jigsaw         | 88.3 ± 0.6 | 90.3 ± 0.8 ↑ |

Methods: pretraining

| method   |  loss | psnr |
|----------|-------|------|
| rotation | 0.018 |      |
| jigsaw   | 0.895 | 12.0 |

- Frozen against random: rotation (-1.7).

Test accuracy in percent. ↑ (↓): above (below).
loss: mean.

`python -m experiments.compare --x`; commit abc.

### rotation on digits, --features=pool

| labels | mode   | accuracy % |
|--------|--------|------------|
|    100 | frozen | 70.0 ± 1.0 |

- frozen: not compared.

`python -m experiments.low_label --method=rotation`; commit abc.

### blocks of rotation, mnist, --encoder=conv

Blocks, 100 labels

| method | random |
|--------|--------|
| block1 |   79.8 |
<!-- /results -->

Afterwards `jigsaw`.
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  target = tmp_path_factory.mktemp("site") / "source"
  pages.write(target)
  return target


def test_every_method_has_a_page(built):
  assert {path.stem for path in (built / "methods").iterdir()} == set(METHODS)
  menu = re.findall(r"^methods/(\w+)$", (built / "methods.md").read_text(), re.MULTILINE)
  assert sorted(menu) == sorted(METHODS)
  for name, method in METHODS.items():
    text = (built / f"methods/{name}.md").read_text()
    assert text.startswith(f"# {name}\n\n")
    assert text.count("\n# ") == 0
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections == ["When it helps", "Use", "Our numbers"]
    first, _, rest = text.partition("## When it helps")
    assert re.search(r"^    \S.* = .*$", first, re.MULTILINE), name  # the equation, as a block of code
    assert f"| `{method.encoder}` | {method.steps:,} | {method.batch_size} |" in rest
    assert f"--method={name}" in rest
    for option in pages.options.parameters(method.factory):
      assert f"    --hp={option}=" in rest


def test_methods_md_names_every_method_once():
  named = re.findall(
    r"^\| \[`(\w+)`\]\(\.\./sslx/pretext/(\w+)\.py\) \| .+ \|$", pages.read("docs/methods.md"), re.MULTILINE
  )
  assert sorted(named) == sorted((name, name) for name in METHODS)


def test_every_page_is_in_the_menu(built):
  menu = set(re.findall(r"^([\w/]+)$", (built / "index.md").read_text(), re.MULTILINE))
  assert {path.stem for path in built.glob("*.md")} - {"index"} <= menu
  assert {path.stem for path in (ROOT / "docs").glob("*.ipynb")} == set(pages.NOTEBOOKS) <= menu


def test_modules_of_the_api_exist():
  names = pages.modules_of_api()
  assert {"types", "nn", "training.step", "report.statistics"} <= set(names)
  assert len(set(names)) == len(names)
  for name in names:
    assert importlib.util.find_spec(f"sslx.{name}"), name


def test_links_of_the_site_lead_to_files(built):
  count = 0
  for path in built.rglob("*.md"):
    text = re.sub(r"(?ms)^```.*?^```|^ {4}[^\n]*$", "", path.read_text())
    for target in re.findall(r"(?<!\\)\]\(([^()\s]+)\)", text):
      if not target.startswith("http"):
        assert (path.parent / target.partition("#")[0]).is_file(), f"{path}: {target}"
        count += 1
  assert count > 50


def test_links_are_moved_and_code_is_left_alone():
  site, carried = pages.site(), []

  def carry(file):
    carried.append(file)
    return f"files/{file}"

  text = "[a](autoencoders.md#x) [b](../README.md) [c](../CONTRIBUTING.md) [d](../sslx/pretext/vae.py)"
  text += " [e](../LICENSE) [f](https://a.b/c.md) [g](#here)\n    [h](no.md)\n\n```python\n[i](no.md)\n```\n"
  assert pages.relink(text, "docs/predictive.md", site, carry) == (
    "[a](autoencoders.md#x) [b](index.md) [c](contributing.md) [d](methods/vae.md) [e](files/LICENSE)"
    " [f](https://a.b/c.md) [g](#here)\n    [h](no.md)\n\n```python\n[i](no.md)\n```\n"
  )
  assert carried == ["LICENSE"]
  up = "[a](../../docs/vae.md)".replace("vae", "autoencoders")
  assert pages.relink(up, "sslx/pretext/vae.py", site, carry) == "[a](../autoencoders.md)"
  with pytest.raises(ValueError, match=r"README\.md: a link to docs/gone\.md"):
    pages.relink("[a](docs/gone.md)", "README.md", site, carry)


def test_rows_of_a_method():
  tables = pages.tables("docs/predictive.md", PAGE)
  assert [(t.section, t.title) for t in tables] == [
    ("mnist, --encoder=conv", "Methods, 100 labels"),
    ("mnist, --encoder=conv", "Methods: pretraining"),
    ("rotation on digits, --features=pool", ""),
    ("blocks of rotation, mnist, --encoder=conv", "Blocks, 100 labels"),
  ]
  assert [t.command.partition(";")[0] for t in tables[:3:2]] == [
    "`python -m experiments.compare --x`", "`python -m experiments.low_label --method=rotation`"
  ]  # fmt: skip
  assert [pages.rows_of("rotation", t) for t in tables] == [
    [
      ["method", "frozen", "full"],
      ["raw pixels", "76.4 ± 2.5", ""],
      ["no pretraining", "82.2 ± 1.7", "83.1 ± 1.3"],
      ["rotation", "80.5 ± 1.0", ""],
    ],
    [["method", "loss"], ["rotation", "0.018"]],  # without the column that it leaves empty
    [["labels", "mode", "accuracy %"], ["100", "frozen", "70.0 ± 1.0"]],
    [["method", "random"], ["block1", "79.8"]],
  ]
  assert [bool(pages.rows_of("jigsaw", t)) for t in tables] == [True, True, False, False]
  assert not any(pages.rows_of("mae", t) for t in tables)
  note = "Test accuracy in percent. ↑ (↓): above (below)."
  assert note in pages.results("jigsaw", tables)
  assert note not in pages.results("rotation", tables)  # it has no arrow


def test_a_method_without_results_says_so():
  lines = pages.results("mae", pages.tables("docs/predictive.md", PAGE))
  assert lines[0] == "No table of this project has a row of `mae` yet. This makes one:"
  assert lines[-1] == "    ./launch.sh experiments.low_label --method=mae"
  assert not [line for line in lines if line.startswith("|")]


def test_what_the_pages_say_of_a_method():
  assert pages.mentions("rotation", PAGE) == [
    "`rotation`: turned by quarters. `jigsaw`: puzzles.", "what: turns; source: a paper"
  ]  # fmt: skip
  assert pages.mentions("jigsaw", PAGE) == ["`rotation`: turned by quarters. `jigsaw`: puzzles."]


def test_known_numbers_stand_on_the_pages(built):
  """Of pages whose tables are written by experiments.readme_table: the very rows."""
  text = (built / "methods/inpaint.md").read_text()
  rows = {}
  for table in pages.all_tables(page for page in pages.site() if page.endswith(".md")):
    rows.setdefault(table.page, []).extend(pages.rows_of("inpaint", table)[1:])
  assert rows["docs/predictive.md"]
  assert len([page for page in rows if rows[page]]) >= 2
  for row in (row for page in rows for row in rows[page]):
    assert "| " + " | ".join(row) + " |" in text


def test_tables_are_found_on_whatever_page_they_stand(tmp_path, monkeypatch):
  monkeypatch.setattr(pages, "ROOT", tmp_path)
  for path, text in {"README.md": "No tables.", "docs/results.md": PAGE, "benchmarks/README.md": PAGE}.items():
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(text)
  site = pages.site()
  assert site["docs/results.md"] == "results.md"
  tables = pages.all_tables(page for page in site if (tmp_path / page).exists())
  assert [table.page for table in tables] == ["docs/results.md"] * 4  # those of benchmarks/ are of speed
  assert "From [Some methods](docs/results.md)." in pages.results("rotation", tables)


def test_docstrings_are_shown_as_they_are():
  assert pages.escaped("a_b <c> L* [d] `e_f*`\n\n    g_h * i\n\nj|k") == (
    "a\\_b \\<c> L\\* \\[d\\] `e_f*`\n\n    g_h * i\n\nj\\|k"
  )
  assert pages.listed("What.\n\nrate: of all.\nother, more: two\n  lines.\n\nA sentence: no item\nhere.") == (
    "What.\n\n- rate: of all.\n- other, more: two\n  lines.\n\nA sentence: no item\nhere."
  )


# ---- pictures --------------------------------------------------------------------------------------------------------


def make_run(folder, noisy=False, figure="pretext", **config):
  (folder / "figures").mkdir(parents=True)
  (folder / "config.json").write_text(json.dumps({"dataset": "mnist", "smoke": False, "epochs": 2.0, **config}))
  shape = (200, 1000, 4)
  pixels = np.random.default_rng(0).integers(0, 256, shape) if noisy else np.full(shape, 255)
  Image.fromarray(pixels.astype(np.uint8)).save(folder / f"figures/{figure}.png")


def test_pictures_are_copied_small(tmp_path, monkeypatch):
  make_run(tmp_path / "runs/a", method="denoise", noisy=True)
  make_run(tmp_path / "runs/deep/b", method="vae", epochs=1.0)
  make_run(tmp_path / "runs/deep/c", method="vae", epochs=4.0)
  make_run(tmp_path / "runs/d", method="simclr", smoke=True)
  make_run(tmp_path / "runs/e", method="moco", dataset="fashion_mnist")
  make_run(tmp_path / "runs/f", experiment="freezing", figure="blocks")
  make_run(tmp_path / "runs/g", experiment="compare", figure="labels")  # not the one that is shown
  assert {name: path.parents[1].name for name, path in make_pictures.newest(tmp_path / "runs").items()} == {
    "denoise": "a", "freezing": "f", "vae": "c"
  }  # fmt: skip
  monkeypatch.setattr(make_pictures, "FOLDER", tmp_path / "pictures")
  make_pictures.main(tmp_path / "runs")
  made = sorted((tmp_path / "pictures").iterdir())
  assert [path.name for path in made] == ["denoise.png", "freezing.png", "vae.png"]
  for path in made:
    assert path.stat().st_size < 60_000
    with Image.open(path) as image:
      assert image.width <= 900
      assert image.width / image.height == pytest.approx(1000 / 200, rel=0.02)
  with pytest.raises(SystemExit, match="no run on mnist"):
    make_pictures.main(tmp_path / "pictures")


def test_a_methods_picture_is_on_its_page(tmp_path, monkeypatch):
  (tmp_path / "docs/pictures").mkdir(parents=True)
  (tmp_path / "docs/methods.md").write_text(pages.read("docs/methods.md"))
  monkeypatch.setattr(pages, "ROOT", tmp_path)
  assert "![" not in pages.method_page("vae", [], {})
  (tmp_path / "docs/pictures/vae.png").write_bytes(b"")
  assert "](docs/pictures/vae.png)" in pages.method_page("vae", [], {})


# ---- notebooks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
  assert code_cells(path)


def notebook(*cells):
  """JSON of a notebook of (type, text)."""
  made = []
  for i, (kind, text) in enumerate(cells):
    code = {"outputs": [], "execution_count": None} if kind == "code" else {}
    made.append({"id": f"cell-{i}", "cell_type": kind, "metadata": {}, "source": text, **code})
  kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
  return json.dumps({"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


def test_a_notebook_becomes_a_page(tmp_path):
  """Only those that promise outputs are run; links lead to pages, in text alone."""
  ran = []

  def run(name, text):
    ran.append(name)
    return notebook(("markdown", "# T\n[a](methods.md)"), ("code", "f[i](methods.md)"), ("markdown", "[b](../LICENSE)"))

  pages.write(tmp_path, run)
  assert ran == [name for name, line in pages.NOTEBOOKS.items() if line is pages.OUTPUTS] == ["quickstart"]
  cells = json.loads((tmp_path / "quickstart.ipynb").read_text())["cells"]
  assert [cell["source"] for cell in cells] == [
    "# T\n[a](methods.md)", pages.OUTPUTS.format(file="files/docs/quickstart.ipynb"), "f[i](methods.md)",
    "[b](files/LICENSE)",
  ]  # fmt: skip
  assert (tmp_path / "files/docs/quickstart.ipynb").read_text() == pages.read("docs/quickstart.ipynb")
  shown = json.loads((tmp_path / "colab.ipynb").read_text())["cells"]
  assert [cell for cell in shown if cell["cell_type"] == "code"] == code_cells(ROOT / "docs/colab.ipynb")
  assert "without outputs" in shown[1]["source"]


@pytest.fixture
def run_notebooks(tmp_path, monkeypatch):
  """The module, which keeps its outputs in a folder of this test. Needs the extra `docs`."""
  pytest.importorskip("nbclient")
  pytest.importorskip("ipykernel")
  module = load("run_notebooks")
  monkeypatch.setattr(module, "KEPT", tmp_path / "kept")
  return module


BAR = """
import sys, time
for i in range(4):
  print(f"\\rstep {i}", end="", file=sys.stderr, flush=True)
  time.sleep(0.3)  # each its own message
print(file=sys.stderr)
open("runs", "a").write("x")
"""


def test_a_notebook_is_run_once_and_a_bar_is_one_line(run_notebooks, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  text = notebook(("markdown", "# A title"), ("code", BAR))
  made = run_notebooks.run("a", text)
  (stderr, value) = json.loads(made)["cells"][1]["outputs"]
  assert "".join(stderr["text"]) == "step 3\n"
  assert value["data"]["text/plain"] == ["1"]
  assert not (tmp_path / "runs").exists()
  (kept,) = (tmp_path / "kept").iterdir()
  kept.write_text("as it was kept")
  assert run_notebooks.run("a", text) == "as it was kept"


def test_outputs_of_other_code_are_not_kept(run_notebooks, tmp_path, monkeypatch):
  (tmp_path / "sslx/data").mkdir(parents=True)
  monkeypatch.setattr(run_notebooks, "ROOT", tmp_path)
  versions = [types.SimpleNamespace(name="jax", version="1")]
  monkeypatch.setattr(run_notebooks.metadata, "distributions", lambda: versions)
  seen = [run_notebooks.inputs("a"), run_notebooks.inputs("b")]
  (tmp_path / "sslx/a.py").write_text("x")
  seen.append(run_notebooks.inputs("a"))
  (tmp_path / "sslx/a.py").rename(tmp_path / "sslx/data/a.py")
  seen.append(run_notebooks.inputs("a"))
  versions[0].version = "2"
  seen.append(run_notebooks.inputs("a"))
  assert len(set(seen)) == 5
  (tmp_path / "sslx/a.pyc").write_text("compiled")
  assert run_notebooks.inputs("a") == seen[-1]


def test_a_cell_that_fails_ends_the_build(run_notebooks, tmp_path):
  with pytest.raises(SystemExit, match=r"(?s)docs/a\.ipynb: a cell has failed.*the cause"):
    run_notebooks.run("a", notebook(("code", "raise ValueError('the cause')")))
  assert not (tmp_path / "kept").exists()


# ---- the notebook for Colab ------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
  """Commands that subprocess.run got in place of being run."""
  commands = []
  monkeypatch.setattr(subprocess, "run", lambda command, **how: commands.append(command))
  return commands


def colab(**parameters):
  given = {"repository": "", "method": "denoise", "dataset": "mnist", "labels": "100", "seeds": 5, "flags": []}
  values = {**given, **parameters}
  return sources(ROOT / "docs/colab.ipynb", "\n".join(f"{name} = {value!r}" for name, value in values.items()))


def test_the_colab_notebook_runs_in_a_clone(calls, toy_npz, tmp_path, monkeypatch):
  """All of it but the installation; that keeps the versions of everything of jax."""
  shown, display = [], types.ModuleType("IPython.display")
  monkeypatch.setattr(display, "Image", lambda filename, retina: filename, raising=False)
  monkeypatch.setattr(display, "display", shown.append, raising=False)
  monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
  monkeypatch.setitem(sys.modules, "IPython.display", display)
  monkeypatch.chdir(ROOT / "docs")  # where Jupyter opens it
  flags = ["--smoke", "--encoder=conv:widths=4,norm=none", f"--out={tmp_path / 'runs'}", "--modes=scratch,frozen"]
  names, values = run_cells(colab(dataset=toy_npz, labels="12", seeds=1, flags=flags))
  assert names["clone"] == ROOT
  (pip,) = calls
  assert pip[1:5] == ["-m", "pip", "install", "--quiet"]
  constraints = Path(pip[pip.index("-c") + 1]).read_text().split()
  assert {f"{name}=={metadata.version(name)}" for name in ("jax", "jaxlib")} <= set(constraints)
  assert not [line for line in constraints if not line.startswith(("jax", "libtpu"))]
  assert names["report"].parent.parent == tmp_path / "runs"
  assert [Path(name).stem for name in shown] == ["accuracy", "pretext", "loss"]
  assert {row["mode"] for row in names["rows"]} == {"raw", "random", "scratch", "frozen"}
  assert values[-1]["report"] == str(names["report"])


def test_the_colab_notebook_clones(calls, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "sslx-clone").mkdir()
  names, _ = run_cells(colab(repository="https://example.org/sslx.git")[:3])
  assert [call[:2] + call[-2:] for call in calls[:1]] == [
    ["git", "clone", "https://example.org/sslx.git", str(tmp_path / "sslx-clone")]
  ]
  assert Path.cwd() == names["clone"] == tmp_path / "sslx-clone"
  assert calls[1][-2:] == ["--editable", "."]


def test_the_colab_notebook_takes_a_wheel_where_it_has_no_address(calls, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(SystemExit, match="repository"):
    run_cells(colab()[:2])
  for i, name in enumerate(("sslx-0.10.0-py3-none-any.whl", "sslx-0.9.0-py3-none-any.whl")):
    (tmp_path / name).write_bytes(b"")
    os.utime(tmp_path / name, (i, i))
  run_cells(colab()[:3])
  (pip,) = calls
  assert pip[-1] == str(tmp_path / "sslx-0.9.0-py3-none-any.whl")  # the one that was uploaded last
  assert "-c" in pip


def test_a_failed_job_is_told(calls, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  with pytest.raises(SystemExit, match="last line says why"):
    run_cells(colab(flags=["--no_such_flag"])[:4])
  assert "--no_such_flag: no such flag" in capsys.readouterr().out
