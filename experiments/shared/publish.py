"""The end of every comparison: what it found goes into files first, and only then to the terminal."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.shared import cli, keeping
from experiments.shared.terminal import clear_line

if TYPE_CHECKING:
  from sslx import report
  from sslx.report.pages import Figure

SMOKE = "Smoke run: tiny data and few steps. The numbers mean nothing."


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
  answer: "Figure | None" = None,
  folded: "Sequence[report.Table]" = (),
  told: "Sequence[report.Entry] | None" = None,
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
  kept = keeping.shown(directory)
  page = pages.write_html(
    directory, title, command, config, rows, summary, figures, timings, first, lead,
    modes_in_words(entry.mode for entry in summary), answer, folded, told, kept,
  )  # fmt: skip
  clear_line()
  spent = "Time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in timings.items()) + "."
  if records.any_smoke(rows):
    terminal.show([SMOKE])
  terminal.show(opening, style="bold")
  terminal.show([*lead, ""])
  terminal.show(tables, elsewhere=page.name if markdown is None else "tables.md")
  terminal.show([*sentences, spent])
  if kept is not None:
    cli.tell(f"Model: {directory / keeping.BEST}")
    cli.tell(f"To use it: {kept.command}")
  cli.tell(f"Report: {page}")  # never folded: it is copied


def modes_in_words(names: Iterable[str]) -> dict[str, str]:
  """What each mode does, `last:2` with its 2 in the words; of a mode that is gone, nothing."""
  from sslx.evaluation.modes import MODES

  words = {}
  for text in dict.fromkeys(names):
    name, _, argument = text.partition(":")
    if name in MODES:
      told = re.sub(r"\bK\b", argument, MODES[name].help) if argument else MODES[name].help
      words[text] = told.replace("the last 1 blocks", "the last block").replace(
        "1 nearest neighbours", "nearest neighbour"
      )
  return words
