"""The end of every comparison: what it found goes into files first, and only then to the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.shared import cli
from experiments.shared.terminal import clear_line

if TYPE_CHECKING:
  from sslx import report
  from sslx.report.pages import Figure


def publish(
  directory: Path,
  title: str,
  command: str,
  config: Mapping[str, Any],
  rows: Sequence[Mapping[str, Any]],
  summary: "Sequence[report.Entry]",
  figures: "Sequence[Figure]",
  timings: Mapping[str, float],
  tables: "Sequence[report.Table]",
  sentences: Sequence[str],
  first: "Sequence[report.Table]" = (),
  lead: Sequence[str] = (),
  markdown: str | None = None,
  opening: Sequence[str] = (),
) -> None:
  """Writes summary.jsonl, tables.md (of `markdown`, where there is some) and report.html, then prints what they say.

  opening, tables, sentences: for the terminal, in this order, first the answer, then the details; `lead` stands between
  the first two. The others: see `sslx.report.pages.write_html`. A terminal that is gone, or that cannot show a letter,
  then costs no result.
  """
  from sslx import report
  from sslx.report import pages, records, terminal

  records.write_rows(directory / "summary.jsonl", map(report.to_json, summary))
  if markdown is not None:
    records.write_text(directory / "tables.md", markdown)
  page = pages.write_html(directory, title, command, config, rows, summary, figures, timings, first=first, lead=lead)
  clear_line()
  spent = "Time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in timings.items()) + "."
  terminal.show(opening, style="bold")
  terminal.show([*lead, ""])
  terminal.show(tables, elsewhere=page.name if markdown is None else "tables.md")
  terminal.show([*sentences, spent])
  cli.tell(f"Report: {page}")  # never folded: it is copied
