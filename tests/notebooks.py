"""What the tests of the notebooks share."""

import ast
import json
from pathlib import Path
from typing import Any


def code_cells(path: Path) -> list[dict[str, Any]]:
  """A notebook's cells of code. The notebook is checked to be stored without outputs."""
  notebook = json.loads(path.read_text())
  assert notebook["nbformat"] == 4
  for cell in notebook["cells"]:
    assert {"id", "cell_type", "metadata", "source"} <= cell.keys()
    if cell["cell_type"] == "code":
      assert (cell["outputs"], cell["execution_count"]) == ([], None)
  assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
  return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def sources(path: Path, parameters: str) -> list[str]:
  """The code of a notebook, cell by cell, with `parameters` in place of its cell of that tag."""
  cells = code_cells(path)
  (place,) = [i for i, cell in enumerate(cells) if cell["metadata"].get("tags") == ["parameters"]]
  code = ["".join(cell["source"]) for cell in cells]
  assert ast.parse(code[place])
  return [*code[:place], parameters, *code[place + 1 :]]


def run_cells(sources: list[str]) -> tuple[dict, list]:
  """(names, the value of each cell's last expression)."""
  names, values = {"__name__": "__main__"}, []
  for source in sources:
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    values.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None)
  return names, values
