"""Runs a notebook for the site. What it printed and drew is kept in docs/_build, not in the repository."""

import hashlib
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs/_build/notebooks"


def inputs(text: str) -> str:
  """A digest of all that a notebook's outputs depend on: `text`, its JSON; sslx; the installed packages."""
  digest = hashlib.sha256(text.encode())
  for path in sorted(path for path in (ROOT / "sslx").rglob("*") if path.is_file() and path.suffix != ".pyc"):
    digest.update(f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
  digest.update("\n".join(sorted(f"{dist.name} {dist.version}" for dist in metadata.distributions())).encode())
  return digest.hexdigest()[:16]


def run(name: str, text: str) -> str:
  """JSON of a notebook with its outputs. It is run only where its `inputs` have changed since it was run last.

  Raises:
    SystemExit: a cell has failed.
  """
  import nbformat
  from nbclient import NotebookClient
  from nbclient.exceptions import CellExecutionError, CellTimeoutError

  kept = KEPT / f"{name}-{inputs(text)}.ipynb"
  if kept.exists():
    return kept.read_text(encoding="utf-8")
  print(f"docs: running {name}.ipynb, a minute or so", file=sys.stderr)
  notebook = nbformat.reads(text, as_version=4)
  client = NotebookClient(
    notebook,
    timeout=900,  # seconds, of a cell
    coalesce_streams=True,  # of a progress bar only its last state is left
    extra_arguments=["--log-level=ERROR"],  # the kernel warns of its own local connection
  )
  with tempfile.TemporaryDirectory() as folder:  # for the notebook's runs/
    client.resources = {"metadata": {"path": folder}}
    try:
      client.execute(env={**os.environ, "JAX_PLATFORMS": "cpu"})
    except (CellExecutionError, CellTimeoutError) as error:
      raise SystemExit(f"error: docs/{name}.ipynb: a cell has failed.\n{error}") from None
  for old in KEPT.glob(f"{name}-*.ipynb"):
    old.unlink()
  KEPT.mkdir(parents=True, exist_ok=True)
  kept.write_text(nbformat.writes(notebook), encoding="utf-8")
  return kept.read_text(encoding="utf-8")
