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
) -> None:
  """Writes summary.jsonl, tables.md (of `markdown`, where there is some) and report.html, then prints what they say.

  tables, sentences: for the terminal. The others: see `sslx.report.pages.write_html`. A terminal that is gone, or that
  cannot show a letter, then costs no result.
  """
  from rich.console import Console

  from sslx import report
  from sslx.report import pages, records

  records.write_rows(directory / "summary.jsonl", map(report.to_json, summary))
  if markdown is not None:
    records.write_text(directory / "tables.md", markdown)
  page = pages.write_html(directory, title, command, config, rows, summary, figures, timings, first=first, lead=lead)
  clear_line()
  console = Console(soft_wrap=True)
  for table in tables:
    console.print(report.rich_table(table))
  for sentence in sentences:
    cli.tell(sentence)
  cli.tell("Time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in timings.items()) + ".")
  cli.tell(f"Report: {page}")
