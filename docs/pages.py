"""Makes the source of the site: Markdown pages and notebooks of this repository as they are, a page per method, an API.

    python docs/pages.py            # into docs/_build/source; ./launch.sh docs then builds docs/_build/html

The pages stay plain Markdown whose links work where they lie; here links between them become links of the site. A
method's page is made of what is there already: the docstrings of its module and factory, METHODS, its line in
methods.md, what the other pages say of it, and its rows in the tables between their results markers. No text is kept
twice.
"""

import inspect
import json
import posixpath
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import sslx
from sslx import options
from sslx.pretext import METHODS
from sslx.report.pages_of_docs import BEGIN, END

ROOT = Path(__file__).resolve().parents[1]
REFERENCES = ("raw pixels", "no pretraining")  # the lines of a table that go along with a method's own
SITE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# Which notebooks are pages, in the menu's order, and what stands below their titles. Those with OUTPUTS are run.
DOWNLOAD = "{{download}}`Download the notebook <{file}>`"
OUTPUTS = f"The outputs below are from a run of this code on a CPU, made for this page. {DOWNLOAD}, which has none."
NO_OUTPUTS = f"Shown without outputs, since it installs sslx on a machine of its own. {DOWNLOAD}."
NOTEBOOKS = {"quickstart": OUTPUTS, "colab": NO_OUTPUTS}
# Of the API: modules and whole packages, then the packages whose modules have pages of their own.
MODULES = ("types", "options", "losses", "pretext", "nn", "modalities", "tasks")
PACKAGES = ("data", "modalities", "tasks", "training", "evaluation", "report", "interpret")
NO_RESULTS = "No table of this project has a row of `{name}` yet. This makes one:"

Cells = list[str]


class Table(NamedTuple):
  """A results table of a page, and what stands around it."""

  page: str  # path from the root of the repository
  section: str  # its heading
  title: str  # the line above it
  rows: list[Cells]  # the first one is the header
  notes: list[str]  # what the page says below the section's tables
  command: str


# ---- reading the pages -----------------------------------------------------------------------------------------------


def site() -> dict[str, str]:
  """{Markdown file or notebook of the repository: page of the site}; a method's module stands for its page."""
  pages = {f"docs/{path.name}": path.name for path in sorted((ROOT / "docs").glob("*.md"))}
  notebooks = {f"docs/{name}.ipynb": f"{name}.ipynb" for name in NOTEBOOKS}
  methods = {f"sslx/pretext/{name}.py": f"methods/{name}.md" for name in METHODS}
  return {**SITE, "benchmarks/README.md": "benchmarks.md", **pages, **notebooks, **methods}


def read(page: str) -> str:
  """A page's text. page: path from the root of the repository."""
  return (ROOT / page).read_text(encoding="utf-8")


def relink(text: str, page: str, pages: Mapping[str, str], carry: Callable[[str], str]) -> str:
  """`text` of `page` with its relative links leading to pages of the site.

  carry: takes a file of the repository that is no page, returns where the site has it.

  Raises:
    ValueError: a link to nothing.
  """
  here = posixpath.dirname(pages[page])

  def moved(match: re.Match) -> str:
    if match[2] is None:  # code
      return match[0]
    target, mark, anchor = match[2].partition("#")
    if not target or re.match(r"[a-z]+:", target):
      return match[0]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    if not (ROOT / file).is_file():
      raise ValueError(f"{page}: a link to {match[2]}, where there is no file")
    return f"{match[1]}({posixpath.relpath(pages.get(file) or carry(file), here or '.')}{mark}{anchor})"

  return re.sub(r"(?ms)^```.*?^```|^ {4}[^\n]*$|(?<!\\)(\])\(([^()\s]+)\)", moved, text)


def cells(line: str) -> Cells:
  """The cells of a line of a Markdown table."""
  return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:].removesuffix("|"))]


def tables(page: str, text: str) -> list[Table]:
  """The tables between the results markers of a page's text."""
  text = text.partition(BEGIN)[2].partition(END)[0]
  made = []
  for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
    heading, _, body = section.partition("\n")
    blocks = [block.splitlines() for block in re.split(r"\n\s*\n", body.strip()) if block]
    plain = [" ".join(block) for block in blocks if block[0][0] not in "|-"]
    command = next((text for text in plain if text.startswith("`python ")), "")
    notes = [block[0] for block in blocks if block[0].startswith("Test ")]
    for before, block in zip([[], *blocks], blocks, strict=False):
      if block[0].startswith("|"):
        title = before[0] if len(before) == 1 and before[0][0] not in "|-`" else ""
        rows = [cells(line) for line in block]
        made.append(Table(page, heading.strip(), title, [rows[0], *rows[2:]], notes, command))
  return made


def all_tables(pages: Iterable[str]) -> list[Table]:
  """The results tables of all pages; those of benchmarks/, between the same markers, are of speed."""
  return [table for page in pages if not page.startswith("benchmarks/") for table in tables(page, read(page))]


def rows_of(name: str, table: Table) -> list[Cells]:
  """Header and rows of a method in a table, with the reference rows and without empty columns; [] if it has none."""
  header, *rows = table.rows
  if not re.match(rf"(blocks of )?{name}( on |, )", table.section):
    if not any(row[0] == name for row in rows):
      return []
    rows = [row for row in rows if row[0] == name or row[0] in REFERENCES]
  kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
  return [[row[i] for i in kept] for row in (header, *rows)]


def mentions(name: str, text: str) -> list[str]:
  """What a page's text says of `name` before its results: list items, paragraphs, and lines of tables as sentences."""
  sentences, header = [], []
  for block in re.split(r"\n\s*\n", text.partition(BEGIN)[0]):
    lines = block.splitlines()
    if not lines or lines[0].startswith(("#", "    ", "```")):
      continue
    if lines[0].startswith("|"):
      header = cells(lines[0])
      rows = [cells(line) for line in lines[2:]]
      matching = [row for row in rows if re.search(rf"`{name}`", row[0])]
      sentences += ["; ".join(f"{h}: {c}" for h, c in zip(header[1:], row[1:], strict=True) if c) for row in matching]
      continue
    items = re.split(r"\n(?=- )", block) if lines[0].startswith("- ") else [block]
    sentences += [re.sub(r"\s*\n\s*", " ", item.removeprefix("- ")) for item in items if f"`{name}`" in item]
  return sentences


def helps(name: str) -> str:
  """The method's line in methods.md. Raises LookupError where it has none."""
  rows = [cells(line) for line in read("docs/methods.md").splitlines() if line.startswith("| [`")]
  lines = {re.sub(r"\[`(\w+)`\].*", r"\1", row[0]): row[1] for row in rows}
  if name not in lines:
    raise LookupError(
      f"docs/methods.md: no row of {name}; add | [`{name}`](../sslx/pretext/{name}.py) | when it helps |"
    )
  return lines[name]


# ---- a method's page -------------------------------------------------------------------------------------------------


def escaped(text: str) -> str:
  """Docstring text as Markdown: what is not between backticks, or indented as a block, is meant as it stands."""

  def plain(line: str) -> str:
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<\[\]|\\])", r"\\\1", part) for part in parts)

  blocks = re.split(r"(\n\s*?\n)", text)
  return "".join(block if block.startswith("    ") else plain(block) for block in blocks)


def listed(text: str) -> str:
  """Docstring text whose paragraphs of `name: what it is` are lists."""
  blocks = text.split("\n\n")
  for i, block in enumerate(blocks):
    lines = block.split("\n")
    if all(re.match(r"\w+(, \w+)*: \S|  ", line) for line in lines):
      blocks[i] = "\n".join(f"  {line.strip()}" if line.startswith(" ") else f"- {line}" for line in lines)
  return "\n\n".join(blocks)


def table_lines(rows: Sequence[Cells]) -> Iterator[str]:
  """A Markdown table; the first row is the header."""
  yield "| " + " | ".join(rows[0]) + " |"
  yield "|" + " --- |" * len(rows[0])
  for row in rows[1:]:
    yield "| " + " | ".join(row) + " |"


def title_of(page: str) -> str:
  """The heading of a page; the README's is that of the project."""
  if page == "README.md":
    return "README"
  match = re.search(r"^# (.+)$", read(page), re.MULTILINE)
  return match[1] if match else page


def docstring(name: str) -> tuple[str, str]:
  """(first line, the rest) of the docstring of a method's module."""
  first, _, rest = inspect.cleandoc(sys.modules[METHODS[name].factory.__module__].__doc__ or "").partition("\n")
  return first, rest.strip("\n")


def results(name: str, tables: Sequence[Table]) -> list[str]:
  """The lines of the section on our numbers."""
  lines, sections, notes = [], {}, {}
  for table in tables:
    rows = rows_of(name, table)
    if rows:
      sections.setdefault((table.page, table.section, table.command), []).append((table, rows))
  for (page, section, command), members in sections.items():
    lines += [f"### {section}", "", f"From [{title_of(page)}]({page})."]
    for table, rows in members:
      lines += ["", *([table.title, ""] if table.title else []), *table_lines(rows)]
      notes |= dict.fromkeys(table.notes if re.search("[↑↓]", str(rows)) else [])
    lines += ["", command, ""]
  if not sections:
    return [NO_RESULTS.format(name=name), "", f"    ./launch.sh experiments.low_label --method={name}"]
  return [*lines, *(line for note in notes for line in (note, ""))]


def method_page(name: str, tables: Sequence[Table], pages: Mapping[str, str]) -> str:
  """Markdown of a method's page, whose links are paths from the root of the repository.

  tables: all that hold results. pages: those of the site.
  """
  method = METHODS[name]
  first, rest = docstring(name)
  hyper = options.parameters(method.factory)
  described = dict(re.findall(r"^  (\w+)=(.*)$", options.describe(method.factory), re.MULTILINE))
  quoted = []
  for page in pages:
    if page.startswith("docs/") and page != "docs/methods.md":
      quoted += [f"- {text} ([{title_of(page)}]({page}))" for text in mentions(name, read(page))]
  picture = f"docs/pictures/{name}.png"
  seen = "Training images of MNIST: what the method sees, and what it makes of them after pretraining."
  options_lines = [f"    --hp={key}={described[key]}" for key in hyper]
  parts = [
    [f"# {name}", "", escaped(first), "", escaped(rest)],
    ["## When it helps", "", f"{helps(name)} ([all methods](docs/methods.md))", "", *quoted],
    [f"![{seen}]({picture})", "", seen] if (ROOT / picture).exists() else [],
    [
      "## Use", "", f"    ./launch.sh experiments.low_label --method={name}", "",
      *table_lines([
        ["encoder", "steps", "batch", "learning rate", "optimizer"],
        [f"`{method.encoder}`", f"{method.steps:,}", str(method.batch_size), f"{method.learning_rate:g}",
         method.optimizer],
      ]), "", "Defaults, which the flags of these names override. Hyper-parameters:", "", *options_lines, "",
      escaped(listed(inspect.getdoc(method.factory) or "")),
    ],
    ["## Our numbers", "", *results(name, tables)],
  ]  # fmt: skip
  return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


# ---- notebooks -------------------------------------------------------------------------------------------------------


def notebook_page(name: str, text: str, pages: Mapping[str, str], carry: Callable[[str], str]) -> str:
  """JSON of a notebook, `text`, with links to pages of the site, and with its line of NOTEBOOKS below the title.

  pages, carry: as for `relink`.
  """
  page, notebook = f"docs/{name}.ipynb", json.loads(text)
  for cell in notebook["cells"]:
    if cell["cell_type"] == "markdown":
      cell["source"] = relink("".join(cell["source"]), page, pages, carry)
  line = NOTEBOOKS[name].format(file=carry(page))
  notebook["cells"].insert(1, {"cell_type": "markdown", "id": "outputs", "metadata": {}, "source": line})
  return json.dumps(notebook)


# ---- the site --------------------------------------------------------------------------------------------------------


def toctree(caption: str, entries: Sequence[str]) -> str:
  """A part of the site's navigation."""
  return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""])


def modules_of_api() -> list[str]:
  """What a method, a data set or an evaluation is made of, as names below sslx."""
  files = [path for package in PACKAGES for path in sorted((ROOT / "sslx" / package).glob("*.py"))]
  inner = [f"{path.parent.name}.{path.stem}" for path in files if path.stem != "__init__"]
  return [*MODULES, *inner]


def api_page() -> str:
  """The functions of `sslx`, then the modules that a method is made of, by autodoc."""
  functions = [f".. autofunction:: sslx.{name}" for name in sslx.__all__]
  modules = [f"## sslx.{name}\n\n{rst(f'.. automodule:: sslx.{name}', '   :members:')}" for name in modules_of_api()]
  return "\n\n".join(["# API", "## In Python", rst(*functions), *modules]) + "\n"


def rst(*lines: str) -> str:
  """A block of reStructuredText, which autodoc's directives are."""
  return "\n".join(["```{eval-rst}", *lines, "```"])


def write(target: Path, run: Callable[[str, str], str] = lambda name, text: text) -> None:
  """Writes the site's source into the folder `target`, which is made anew.

  run: takes a notebook's name and its JSON, returns its JSON with outputs.
  """
  shutil.rmtree(target, ignore_errors=True)
  pages = site()

  def carry(file: str) -> str:
    copy = target / "files" / file
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / file, copy)
    return f"files/{file}"

  def put(page: str, text: str, more: str = "") -> None:
    path = target / pages[page]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(relink(text, page, pages, carry) + more, encoding="utf-8")

  files = [page for page in pages if page.endswith(".md")]
  guides = [pages[page].removesuffix(".md") for page in files if page.startswith("docs/")]
  others = ["api", *(pages[page].removesuffix(".md") for page in files if not page.startswith("docs/"))]
  navigation = "\n".join([
    toctree("Notebooks", [*NOTEBOOKS]),
    toctree("Guides", guides),
    toctree("Project", [name for name in others if name != "index"]),
  ])  # fmt: skip
  more = {"README.md": navigation, "docs/methods.md": toctree("Methods", [f"methods/{name}" for name in METHODS])}
  everything = all_tables(files)
  for page in files:
    put(page, read(page), f"\n{more[page]}" if page in more else "")
  for name, line in NOTEBOOKS.items():
    text = read(f"docs/{name}.ipynb")
    text = run(name, text) if line is OUTPUTS else text
    (target / f"{name}.ipynb").write_text(notebook_page(name, text, pages, carry), encoding="utf-8")
  for name in METHODS:
    page = f"sslx/pretext/{name}.py"
    up = posixpath.relpath(".", posixpath.dirname(page))
    text = re.sub(r"\]\((?=docs/|README|benchmarks/)", f"]({up}/", method_page(name, everything, pages))
    put(page, text)
  (target / "api.md").write_text(api_page(), encoding="utf-8")


if __name__ == "__main__":
  from run_notebooks import run

  write(ROOT / "docs/_build/source", run)
