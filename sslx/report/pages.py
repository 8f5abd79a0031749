"""Self-contained HTML pages: the report of a run, a gallery of figures, and whatever else has a template here."""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sslx.report import first_screen, limits, records, sentences, sounds, statistics, tables
from sslx.report.statistics import Entry
from sslx.report.tables import Cells, Table
from sslx.types import UserError

Kind = Literal["picture", "plot"]
NAMED = 6  # methods, or others, that the line below the heading names


class Figure(NamedTuple):
  """A picture of a page."""

  title: str
  caption: str
  path: str | os.PathLike[str]
  """Of a PNG or GIF. What `sounds.write` wrote beside it, under the same name, is played below it."""
  kind: Kind = "picture"
  """A plot takes the colours of a dark page; a picture stays as it is."""


class Link(NamedTuple):
  """A link of a page."""

  file: str
  """Beside the page."""
  name: str
  what: str
  """What it leads to, in words."""


class Kept(NamedTuple):
  """The model that a run keeps."""

  sentences: Sequence[str]
  command: str
  """That uses it."""
  figure: Figure | None = None
  """How well its confidences agree with what is right."""


class Section(NamedTuple):
  """A part of a page of several tasks."""

  title: str
  sentences: Sequence[str]
  tables: Sequence[Table]
  figures: "Sequence[Figure]"
  link: Link
  """To its own report."""


class Timing(NamedTuple):
  """How long a phase took."""

  phase: str
  duration: str
  percent: float
  """Of the sum."""


class Picture(NamedTuple):
  """A figure as a page holds it."""

  title: str
  caption: str
  data: str
  """A data URI."""
  width: int
  """In CSS pixels, so that the page does not jump while it loads."""
  height: int
  kind: Kind
  heard: sounds.Heard | None


def write_html(
  run_dir: str | os.PathLike[str],
  title: str,
  command: str,
  config: Mapping[str, Any],
  rows: Sequence[Mapping[str, Any]],
  summary: Sequence[Entry],
  figures: Sequence[Figure],
  timings: Mapping[str, float],
  first: Sequence[Table] = (),
  lead: Sequence[str] = (),
  modes: Mapping[str, str] | None = None,
  answer: Figure | None = None,
  folded: Sequence[Table] = (),
  told: Sequence[Entry] | None = None,
  kept: Kept | None = None,
) -> Path:
  """Writes `run_dir`/report.html, one self-contained page, atomically, and returns its path.

  Its first screen is the answer: scores, what they allow to say, and every score as a dot on one axis. Tables, what
  the method sees and makes, and curves follow; all else is folded. Pictures travel inside the page and nothing is
  fetched: it can be mailed, archived and read offline.

  Args:
    run_dir: the run's directory; made if missing.
    title: the page's heading.
    command: the command line that made the run.
    config: setting -> value.
    rows: what `read_rows` returned.
    summary: what `summarise` made of them.
    figures: a path is taken as given, or else relative to `run_dir`.
    timings: phase -> seconds.
    first: tables in place of the one of all results, which is then folded.
    lead: sentences of the answer, below its numbers.
    modes: what each mode does, in words.
    answer: stands beside the numbers in place of the dots.
    folded: further tables, among what is folded.
    told: those of the summary that the large numbers are of; None: all.
    kept: the model of the run, if it has one.

  Raises:
    UserError: a figure that is missing or no picture.
  """
  run_dir, modes = Path(run_dir), modes or {}
  headlines = first_screen.headlines(summary if told is None else told, modes)
  plots, results = first_screen.plots(summary, modes, headlines), _results(summary)
  in_lines = {mark.what for plot in plots[:1] for mark in plot.marks} if not answer else set()
  values = {
    "title": title,
    "subtitle": _subtitle(rows),
    "smoke": records.any_smoke(rows),
    "command": command,
    "kept": kept,
    "reliability": _picture(run_dir, kept.figure) if kept and kept.figure else None,
    "headlines": headlines,
    "plots": plots,
    "score": statistics.heading(statistics.shared_score(summary)),
    "hero": _picture(run_dir, answer) if answer else None,
    "comparisons": [sentence.rpartition(": ") for sentence in sentences.comparisons(summary)],
    "doubts": sentences.doubts(summary),
    "caveats": limits.caveats(summary),
    "folded": tables.folded(summary) is not None,
    "first": first or results[:1],
    "lead": list(lead),
    "defined": {mode: words for mode, words in modes.items() if words not in in_lines},
    "results": [*(results if first else results[1:]), *folded],
    "timings": _timings(timings),
    "figures": [_picture(run_dir, figure) for figure in figures],
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
  links: Sequence[Link],
  figures: Sequence[Figure],
  left_out: Sequence[str],
  smoke: bool = False,
  first: Sequence[Table] = (),
) -> Path:
  """Writes a self-contained page of figures, atomically, and returns its path.

  Args:
    path: of the page.
    title: its heading.
    subtitle: below it.
    command: the command line that made it.
    facts: name -> value, a table at the top.
    links: to files beside the page.
    figures: in the order of the page.
    left_out: sentences that say what could not be drawn, and why.
    smoke: whether it is of a --smoke run, which the page says then.
    first: tables above the figures.

  Raises:
    UserError: a figure that is missing, or neither PNG nor GIF.
  """
  values = {
    "title": title,
    "subtitle": subtitle,
    "command": command,
    "first": first,
    "facts": [(name, _text(value)) for name, value in facts.items()],
    "links": links,
    "figures": [_picture(path.parent, figure) for figure in figures],
    "left_out": left_out,
    "smoke": smoke,
  }
  return write_page(path, "gallery.html.jinja", values)


def write_tasks(
  path: Path, title: str, subtitle: str, command: str, sections: Sequence[Section], smoke: bool = False
) -> Path:
  """Writes a self-contained page of several tasks, a section for each, atomically, and returns its path.

  Raises:
    UserError: a figure that is missing, or neither PNG nor GIF.
  """
  drawn = [s._asdict() | {"figures": [_picture(path.parent, each) for each in s.figures]} for s in sections]
  values = {"title": title, "subtitle": subtitle, "command": command, "sections": drawn, "smoke": smoke}
  return write_page(path, "tasks.html.jinja", values)


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
  environment.filters["numeric"] = tables.numeric
  page = environment.get_template(template).render(values)
  records.write_text(path, page)
  return path


def _results(summary: Sequence[Entry]) -> list[Table]:
  if not summary:
    return []
  note = tables.results_note(statistics.shared_score(summary), tables.folded(summary))
  return [
    Table("Results", tables.results_cells(summary), note),
    Table("Parameters", tables.parameters_cells(summary), tables.PARAMETERS_NOTE),
  ]


def _subtitle(rows: Sequence[Mapping[str, Any]]) -> str:
  """What the rows are of; many names are counted."""
  parts = {name: _distinct(rows, name) for name in ("method", "dataset", "encoder", "device")}
  texts = {name: f"{len(names)} {name}s" if len(names) > NAMED else ", ".join(names) for name, names in parts.items()}
  return " · ".join(filter(None, texts.values()))


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


def _timings(timings: Mapping[str, float]) -> list[Timing]:
  """Each phase, and below several of them their sum."""
  total = sum(timings.values())
  parts = [Timing(name, _duration(s), 100 * s / total if total else 0.0) for name, s in timings.items()]
  return [*parts, Timing("total", _duration(total), 100.0)] if len(parts) > 1 else parts


def _duration(seconds: float) -> str:
  if seconds < 60:
    return f"{seconds:.1f} s"
  minutes, rest = divmod(round(seconds), 60)
  return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _picture(folder: Path, figure: Figure) -> Picture:
  path = Path(figure.path)
  path = path if path.exists() else folder / path
  if not path.exists():
    raise UserError(f"{figure.path}: no such figure; draw it before writing the page")
  data = path.read_bytes()
  if data[:6] == b"GIF89a":
    kind, width, height = "gif", int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
  elif data.startswith(b"\x89PNG\r\n\x1a\n"):
    scale = _css_pixels(data)
    kind, width, height = "png", *(round(scale * int.from_bytes(data[k : k + 4], "big")) for k in (16, 20))
  else:
    raise UserError(f"{path}: not a PNG file, nor a GIF")
  text = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
  return Picture(figure.title, figure.caption, text, width, height, figure.kind, sounds.read(path))


def _css_pixels(png: bytes) -> float:
  """How many CSS pixels, of which an inch has 96, a pixel of a PNG is; by its chunk pHYs, 1 without one."""
  place = png.find(b"pHYs", 0, 1000)
  per_metre = int.from_bytes(png[place + 4 : place + 8], "big") if place > 0 else 0
  return 96 / (0.0254 * per_metre) if per_metre else 1.0


def _row_cells(rows: Sequence[Mapping[str, Any]]) -> Cells:
  """Every predictor, one line each."""
  score = statistics.score_of(rows[0]) if rows else statistics.shared_score([])
  varying = [key for key in statistics.KEYS[:3] if len({str(row.get(key, "")) for row in rows}) > 1]
  headers = [*varying, "labels", "mode", "subset seed", statistics.heading(score), "seconds", "chosen"]
  lines = []
  for row in rows:
    names = [str(row.get(key, "")) for key in varying]
    seconds = "" if row.get("seconds") is None else f"{row['seconds']:.1f}"
    chosen = ", ".join(f"{name}={_text(value)}" for name, value in (row.get("chosen") or {}).items())
    value = f"{score.factor * statistics.value_of(row):.{statistics.decimals(score) + 1}f}"  # one more than a mean has
    lines.append([*names, f"{row['labels']:,}", row["mode"], str(row["subset_seed"]), value, seconds, chosen])
  return Cells(headers, lines)


def _text(value: Any) -> str:
  if isinstance(value, float):
    return f"{value:.4g}"
  return value if isinstance(value, str) else json.dumps(records.plain(value), ensure_ascii=False)
