"""Self-contained HTML pages: the report of a run, a gallery of figures, and whatever else has a template here."""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sslx import report
from sslx.report import records
from sslx.types import UserError


def write_html(
  run_dir: str | os.PathLike[str],
  title: str,
  command: str,
  config: Mapping[str, Any],
  rows: Sequence[Mapping[str, Any]],
  summary: Sequence[report.Row],
  figures: Sequence[tuple[str, str, str | os.PathLike[str]]],
  timings: Mapping[str, float],
  tables: Sequence[tuple[str, report.Cells, str]] = (),
  lead: Sequence[str] = (),
) -> Path:
  """Writes `run_dir`/report.html, one self-contained page, atomically, and returns its path.

  Pictures travel inside the page and nothing is fetched: it can be mailed, archived and read offline.

  Args:
    run_dir: the run's directory; made if missing.
    title: the page's heading.
    command: the command line that made the run.
    config: setting -> value.
    rows: what `read_rows` returned.
    summary: what `summarise` made of them.
    figures: (title, caption, PNG path); a path is taken as given, or else relative to `run_dir`.
    timings: phase -> seconds.
    tables: further tables, shown first: (title, (headers, rows of text), note).
    lead: sentences that stand before everything where there are `tables`.

  Raises:
    UserError: a figure that is missing or no PNG.
  """
  run_dir = Path(run_dir)
  values = {
    "title": title,
    "subtitle": _subtitle(rows),
    "command": command,
    "comparisons": [sentence.rpartition(": ") for sentence in report.comparisons(summary)],
    "doubts": report.doubts(summary),
    "caveats": report.caveats(summary),
    "tables": tables,
    "best": [sentence.rpartition(": ") for sentence in [*lead, *report.best(summary)]] if tables else [],
    "results": report.results_cells(summary),
    "results_note": report.RESULTS_NOTE,
    "parameters": report.parameters_cells(summary),
    "parameters_note": report.PARAMETERS_NOTE,
    "timings": _timing_cells(timings),
    "figures": [(name, caption, *_data_uri(run_dir, path)) for name, caption, path in figures],
    "config": [(name, _text(value)) for name, value in config.items()],
    "provenance": _provenance_cells(rows),
    "rows": _row_cells(rows),
  }
  return write_page(run_dir / "report.html", "report.html.jinja", values)


def write_gallery(
  path: Path,
  title: str,
  subtitle: str,
  command: str,
  facts: Mapping[str, Any],
  links: Sequence[tuple[str, str, str]],
  figures: Sequence[tuple[str, str, str | os.PathLike[str]]],
  left_out: Sequence[str],
) -> Path:
  """Writes a self-contained page of figures, atomically, and returns its path.

  Args:
    path: of the page.
    title: its heading.
    subtitle: below it.
    command: the command line that made it.
    facts: name -> value, a table at the top.
    links: (file beside the page, its name, what it is).
    figures: (title, caption, path of a PNG or GIF).
    left_out: sentences that say what could not be drawn, and why.

  Raises:
    UserError: a figure that is missing, or neither PNG nor GIF.
  """
  values = {
    "title": title,
    "subtitle": subtitle,
    "command": command,
    "facts": [(name, _text(value)) for name, value in facts.items()],
    "links": links,
    "figures": [(name, caption, *_data_uri(path.parent, figure)) for name, caption, figure in figures],
    "left_out": left_out,
  }
  return write_page(path, "gallery.html.jinja", values)


def write_page(path: Path, template: str, values: Mapping[str, Any]) -> Path:
  """Writes one of this folder's templates filled with `values`, atomically; makes the folder. Returns the path."""
  import jinja2

  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters["numeric"] = report.numeric
  page = environment.get_template(template).render(values)
  records.write_text(path, page)
  return path


def _subtitle(rows: Sequence[Mapping[str, Any]]) -> str:
  names = ("method", "dataset", "encoder", "device")
  return " · ".join(", ".join(values) for name in names if (values := _distinct(rows, name)))


def _provenance_cells(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
  """All that the rows say, so a page over rows of two commits or two machines names both."""
  versions = list(dict.fromkeys((name, str(v)) for row in rows for name, v in (row.get("versions") or {}).items()))
  single = [(name, ", ".join(_distinct(rows, name))) for name in ("experiment", "git", "seed", "device")]
  merged = [
    (name, ", ".join(v for other, v in versions if other == name)) for name in dict.fromkeys(n for n, _ in versions)
  ]
  return [(name, value) for name, value in single + merged if value]


def _distinct(rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
  return list(dict.fromkeys(str(row[name]) for row in rows if row.get(name) not in (None, "", "none")))


def _timing_cells(timings: Mapping[str, float]) -> list[tuple[str, str, float]]:
  """(phase, duration, percent of the sum)."""
  total = sum(timings.values())
  parts = [(name, _duration(s), 100 * s / total if total else 0.0) for name, s in timings.items()]
  return [*parts, ("total", _duration(total), 100.0)] if len(parts) > 1 else parts


def _duration(seconds: float) -> str:
  if seconds < 60:
    return f"{seconds:.1f} s"
  minutes, rest = divmod(round(seconds), 60)
  return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _data_uri(run_dir: Path, path: str | os.PathLike[str]) -> tuple[str, int, int]:
  """(data URI, width, height) of a PNG or GIF; the sizes, in pixels, keep the page from jumping while it loads."""
  given = Path(path)
  found = given if given.exists() else run_dir / given
  if not found.exists():
    raise UserError(f"{given}: no such figure; draw it before writing the page")
  data = found.read_bytes()
  if data[:6] == b"GIF89a":
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return "data:image/gif;base64," + base64.b64encode(data).decode(), width, height
  if not data.startswith(b"\x89PNG\r\n\x1a\n"):
    raise UserError(f"{found}: not a PNG file")
  width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
  return "data:image/png;base64," + base64.b64encode(data).decode(), width, height


def _row_cells(rows: Sequence[Mapping[str, Any]]) -> report.Cells:
  """Every classifier, one line each."""
  varying = [key for key in report.KEYS[:3] if len({str(row.get(key, "")) for row in rows}) > 1]
  headers = [*varying, "labels", "mode", "subset seed", "accuracy %", "seconds", "chosen"]
  cells = []
  for row in rows:
    names = [str(row.get(key, "")) for key in varying]
    seconds = "" if row.get("seconds") is None else f"{row['seconds']:.1f}"
    chosen = ", ".join(f"{name}={_text(value)}" for name, value in (row.get("chosen") or {}).items())
    accuracy = f"{100 * row['test_accuracy']:.2f}"
    cells.append([*names, f"{row['labels']:,}", row["mode"], str(row["subset_seed"]), accuracy, seconds, chosen])
  return headers, cells


def _text(value: Any) -> str:
  if isinstance(value, float):
    return f"{value:.4g}"
  return value if isinstance(value, str) else json.dumps(records.plain(value), ensure_ascii=False)
