"""The tables of README.md and of other pages, written from the rows of real runs between two markers of the page."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sslx.report import records, sentences, statistics, tables
from sslx.report.records import Row
from sslx.report.statistics import Entry
from sslx.types import UserError

NAMED = ("freezing", "assignment", "data_efficiency", "one_percent", "rotnet_mnist")  # whose name says what they ask


def markers(name: str) -> tuple[str, str]:
  """The lines of a page between which a table stands."""
  return f"<!-- {name} -->", f"<!-- /{name} -->"


BEGIN, END = markers("results")


class Published(NamedTuple):
  """What `overview` shows of an experiment beside its own numbers."""

  scores: Mapping[str, float]
  """Mode -> the score that was published."""
  methods: Sequence[str] = ()
  """Of its methods; none: all."""


def put(path: Path, marker: str, text: str) -> None:
  """Writes `text` between the markers of a page, in place of what stands there.

  Raises:
    UserError: the page has no such markers.
  """
  (begin, end), page = markers(marker), path.read_text(encoding="utf-8")
  if begin not in page or end not in page:
    raise UserError(f"{path}: no lines {begin} and {end} in it.")
  before, _, rest = page.partition(begin)
  records.write_text(path, f"{before}{begin}\n{text}{end}{rest.partition(end)[2]}")


def section(run: Path) -> str:
  """Markdown of one run directory: command, table, what the numbers say, machine and versions."""
  rows = records.read_rows(run / "results.jsonl")
  if rows and (run / "tables.md").exists():  # of experiments.compare and its kin
    return f"### {_title(run, rows)}\n\n{(run / 'tables.md').read_text(encoding='utf-8')}\n{made_by(rows)}"
  rows = [row for row in rows if row["experiment"] in ("low_label", "probe")]
  if not rows:
    raise UserError(
      f"{run}: no rows in its results.jsonl; name a directory of experiments.low_label, probe, compare or its kin."
    )
  by_features = {row["features"]: row["settings"] for row in rows}  # those of the last run, if settings were changed
  return "\n".join(_table([row for row in rows if row["settings"] == settings]) for settings in by_features.values())


def _title(run: Path, rows: Sequence[Row]) -> str:
  last = rows[-1]
  title = f"{last['dataset']}, --encoder={last['encoder']}"
  if last["experiment"] == "blocks":
    return f"blocks of {last['pretraining']['method']}, {title}"
  if last["experiment"] == "transfer":
    made = json.loads((run / "config.json").read_text(encoding="utf-8"))
    targets = ", ".join(dict.fromkeys(row["dataset"] for row in rows))
    return f"from {made['dataset']} to {targets}, --encoder={made['encoder']}"
  return f"{last['experiment']}: {title}" if last["experiment"] in NAMED else title


def _table(rows: Sequence[Row]) -> str:
  """Markdown of rows with the same settings."""
  summary, last = statistics.summarise(rows), rows[-1]
  reading = "" if last["features"] == "flatten" else f", --features={last['features']}"
  verdict = "\n".join(f"- {sentence}" for sentence in sentences.verdict(summary))
  table = tables.markdown(tables.results_cells(summary))
  return f"### {last['method']} on {last['dataset']}{reading}\n\n{table}\n\n{verdict}\n\n{made_by(rows)}"


def made_by(rows: Sequence[Row]) -> str:
  """Command, machine and versions of the last row, and the commits of all."""
  row = rows[-1]
  commits = ", ".join(dict.fromkeys(str(r["git"]) for r in rows))
  versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
  # Folders of the machine it ran on; an argument with a space is in quotes.
  command = re.sub(r" (--(out|data_dir)=\S+|'--(out|data_dir)=[^']*')", "", row["command"])
  command = re.sub(r" --checkpoint=\S*/", " --checkpoint=runs/", command)
  command = re.sub(r" '--checkpoint=[^']*/", " '--checkpoint=runs/", command)
  return f"`{command}`; commit {commits}; {row['device']}; {versions}.\n"


def overview(runs: Iterable[Path], published: Mapping[str, Published]) -> str:
  """Markdown: scratch, frozen and full of each run, with the fewest and the most labels, beside the published figures.

  published: experiment -> what it repeats.
  """
  headers = ["comparison", "what", "labels", "scratch", "frozen", "frozen - scratch [95% CI]", "full"]
  lines = [line for run in runs for line in _overview_lines(run, published)]
  return tables.markdown(tables.Cells(headers, lines))


def _overview_lines(run: Path, published: Mapping[str, Published]) -> list[list[str]]:
  rows, summary = rows_of(run)
  name, score = rows[-1]["experiment"], statistics.shared_score(summary)
  entries = {(entry.method, entry.labels, entry.mode): entry for entry in summary}
  counts, lines = sorted({entry.labels for entry in summary}), []
  if name in published:
    scratch, frozen = (score.factor * published[name].scores[mode] for mode in ("scratch", "frozen"))
    gain = f"{frozen - scratch:+.2f}"
    lines.append([name, "published, one run", f"{counts[0]:,}", f"{scratch:.2f}", f"{frozen:.2f}", gain, ""])
  methods = dict.fromkeys(entry.method for entry in summary if entry.method != "none")
  for method in (published[name].methods if name in published else ()) or methods:
    for labels in dict.fromkeys((counts[0], counts[-1])):
      scratch, frozen, full = (entries.get((method, labels, mode)) for mode in ("scratch", "frozen", "full"))
      scratch = scratch or entries.get(("none", labels, "scratch"))
      cells = ["" if entry is None else tables.score_text(entry) for entry in (scratch, frozen, full)]
      cells.insert(2, "" if frozen is None else tables.difference_text(frozen))
      lines.append([name, method, f"{labels:,}", *cells])
  return lines


def rows_of(run: Path) -> tuple[list[Row], list[Entry]]:
  """(results.jsonl, summary.jsonl) of a run directory."""
  rows, summary = (records.read_rows(run / f"{name}.jsonl") for name in ("results", "summary"))
  if not rows or not summary:
    raise UserError(f"{run}: no results.jsonl and summary.jsonl; name a directory of a comparison that has finished.")
  return rows, [statistics.from_json(row) for row in summary]
