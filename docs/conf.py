"""Sphinx's settings. ./launch.sh docs runs pages.py, which writes the source, and then Sphinx."""

import os
import re
import tomllib
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # autodoc imports sslx; no accelerator is needed, or looked for

_project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

project, release = _project["name"], _project["version"]
author = copyright = "The sslx authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme, html_title = "furo", f"sslx {release}"
nb_execution_mode = "off"  # pages.py has run them
exclude_patterns = ["files"]  # what pages link to, as it is
html_show_sourcelink = html_copy_source = False
highlight_language = "none"  # of indented blocks: commands and equations
myst_heading_anchors = 3  # as GitHub's
smartquotes = False  # --flags keep their hyphens
suppress_warnings = [
  "myst.header",  # a page may go from # to ###
  "ref.python",  # napoleon takes what stands before a field's first colon for a type, and looks for params and state
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False


def _docstring(app: object, what: str, name: str, thing: object, settings: object, lines: list[str]) -> None:
  """Our docstrings are plain text: no sign is markup but `code`, and indentation is what it looks like."""
  paragraphs = re.split(r"\n[ \t]*\n", "\n".join(lines))
  lines[:] = [*"\n\n".join(_paragraph(paragraph) for paragraph in paragraphs).split("\n"), ""]


def _paragraph(text: str) -> str:
  """reStructuredText: lines of `name: what it is` as a list, other indented ones line
  by line, napoleon's as they are."""
  parts = re.split(r"(`[^`]*`)", text)
  text = "".join(f"`{part}`" if part.startswith("`") else re.sub(r"([*|\\]|_\b)", r"\\\1", part) for part in parts)
  lines = text.split("\n")
  if re.match(r"\w+:$| ", lines[0]):
    return text
  if all(re.match(r"\w+(, \w+)*: \S|  ", line) for line in lines):
    return "\n".join(f"  {line}" if line.startswith(" ") else f"- {line}" for line in lines)
  return "\n".join(f"| {line}" for line in lines) if any(line.startswith(" ") for line in lines) else text


def setup(app):
  """Before napoleon, which reads the sections."""
  app.connect("autodoc-process-docstring", _docstring, priority=100)
