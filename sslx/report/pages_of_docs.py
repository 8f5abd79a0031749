"""The tables of README.md and of pages of docs/, written from the rows of real runs between two markers of the page."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sslx.report import checks, records, sentences, statistics, tables, terminal
from sslx.report.records import Row
from sslx.report.statistics import Entry
from sslx.types import UserError

# whose name says what they ask
NAMED = ("freezing", "assignment", "data_efficiency", "one_percent", "rotnet_mnist", "worth")


def markers(name: str) -> tuple[str, str]:
  """The lines of a page between which a table stands."""
  return f"<!-- {name} -->", f"<!-- /{name} -->"


BEGIN, END = markers("results")
# What a ranking shows beside pretrained encoders, by the names of its lines.
UNPRETRAINED = {
  "raw": "*raw pixels*",
  "lsa": "*latent semantic analysis*",
  "random": "*untrained encoder*",
  "scratch": "*training from scratch*",
  "raw+propagate": "*label propagation, pixels*",
  "raw+self_train": "*self-training*",
}
NEEDED = (*checks.NEEDED, "experiment")
UNLABELLED = {"words": "words.jsonl", "track": "tracks.jsonl", "active": "active.jsonl"}  # with rows of their own


class Published(NamedTuple):
  """What `overview` shows of an experiment beside its own numbers."""

  scores: Mapping[str, float]
  """Mode -> the score that was published."""
  methods: Sequence[str] = ()
  """Of its methods; none: all."""


def put(path: Path, marker: str, text: str) -> None:
  """Writes `text` between the markers of a page, in place of what stands there.

  Raises:
    UserError: there is no such page, or it has no such markers.
  """
  if not path.is_file():
    raise UserError(f"{path}: no such page.")
  (begin, end), page = markers(marker), path.read_text(encoding="utf-8")
  if begin not in page or end not in page:
    raise UserError(f"{path}: no lines {begin} and {end} in it.")
  before, _, rest = page.partition(begin)
  records.write_text(path, f"{before}{begin}\n{text}{end}{rest.partition(end)[2]}")


def section(run: Path, baseline: str = "scratch") -> str:
  """Markdown of one run directory: command, table, what the numbers say, machine and versions.

  baseline: the mode that others are held against; a comparison of several methods has its own.
  """
  for experiment, name in UNLABELLED.items():
    if (run / name).exists():
      rows, made = records.read_rows(run / name), (run / "tables.md").read_text(encoding="utf-8")
      return f"### {experiment}: {rows[-1]['dataset']}\n\n{made}\n{made_by(rows)}"
  rows = checks.read_results(run / "results.jsonl", NEEDED)
  if rows and (run / "tables.md").exists():  # of experiments.compare and its kin
    return f"### {_title(run, rows)}\n\n{(run / 'tables.md').read_text(encoding='utf-8')}\n{made_by(rows)}"
  rows = [row for row in rows if row["experiment"] in ("low_label", "probe")]
  if not rows:
    raise UserError(
      f"{run}: no rows in its results.jsonl; name a directory of experiments.low_label, probe, compare or its kin."
    )
  settings = [{"subset": "balanced", **(row.get("settings") or {})} for row in rows]  # which an older row does not say
  by_features = {
    row.get("features"): made for row, made in zip(rows, settings, strict=True)
  }  # the last run's, if changed
  tables_of = ([row for row, made in zip(rows, settings, strict=True) if made == last] for last in by_features.values())
  try:
    return "\n".join(_table(rows, baseline) for rows in tables_of)
  except UserError as error:
    raise UserError(f"{run / 'results.jsonl'}: {error}") from error


def _title(run: Path, rows: Sequence[Row]) -> str:
  last = rows[-1]
  title = f"{last['dataset']}, --encoder={last['encoder']}"
  if last["experiment"] == "blocks":
    return f"blocks of {(last.get('pretraining') or {}).get('method', '')}, {title}"
  if last["experiment"] == "transfer":
    made = _source(run / "config.json")
    targets = ", ".join(dict.fromkeys(row["dataset"] for row in rows))
    return f"from {made['dataset']} to {targets}, --encoder={made['encoder']}"
  if last["experiment"] == "downstream":
    return f"{last['task']} on {title}"
  if last["experiment"] == "new_speakers":  # each of whom is a data set of its rows
    return f"new speakers of {last['dataset'].partition(':')[0]}, --encoder={last['encoder']}"
  return f"{last['experiment']}: {title}" if last["experiment"] in NAMED else title


def _source(path: Path) -> Mapping[str, str]:
  """What a transfer was pretrained on."""
  try:
    made = json.loads(path.read_text(encoding="utf-8"))
    return {name: str(made[name]) for name in ("dataset", "encoder")}
  except (OSError, ValueError, TypeError, KeyError) as error:
    raise UserError(f"{path}: is not the configuration of a transfer; name another directory.") from error


def _table(rows: Sequence[Row], baseline: str) -> str:
  """Markdown of rows with the same settings."""
  summary, last = statistics.summarise(rows, baseline), rows[-1]
  reading = "" if last.get("features") in ("flatten", None) else f", --features={last['features']}"
  verdict = "\n".join(f"- {sentence}" for sentence in sentences.verdict(summary))
  table = tables.markdown(tables.results_cells(summary))
  network = "" if last["encoder"] == "conv" else f", --encoder={last['encoder']}"
  targets = (last.get("flags") or {}).get("target") or ()
  network += f", --target={','.join(targets)}" if targets else ""
  return f"### {last['method']} on {last['dataset']}{network}{reading}\n\n{table}\n\n{verdict}\n\n{made_by(rows)}"


def example(run: Path) -> str:
  """Markdown: what a run of low_label prints on a terminal, without notes and what narrow ones leave out."""
  from io import StringIO

  from rich.console import Console

  summary = rows_of(run)[1]
  table = tables.results_table(summary)
  kept = [i for i, header in enumerate(table.cells.headers) if header not in table.spare]
  headers, *lines = ([row[i] for i in kept] for row in (table.cells.headers, *table.cells.rows))
  console = Console(file=StringIO(), width=80 - 4, color_system=None)
  for answer in sentences.answer(summary):
    console.print(terminal.paragraph(answer.text, console.width))
  console.print(terminal.fitted_table(tables.Table("", tables.Cells(headers, lines)), console.width))
  assert isinstance(console.file, StringIO)
  text = [line.rstrip() for line in console.file.getvalue().strip().splitlines()]
  return "\n" + "\n".join(f"    {line}".rstrip() for line in text) + "\n\n"


def made_by(rows: Sequence[Row]) -> str:
  """Command, machine and versions of the last row, and the commits of all."""
  row = rows[-1]
  commits = ", ".join(dict.fromkeys(str(r.get("git")) for r in rows))
  versions = ", ".join(f"{name} {version}" for name, version in (row.get("versions") or {}).items())
  # Folders of the machine it ran on; an argument with a space is in quotes.
  command = re.sub(r" (--(out|data_dir)=\S+|'--(out|data_dir)=[^']*')", "", row.get("command") or "")
  command = re.sub(r"(?<= --checkpoint=)\S+|(?<= '--checkpoint=)[^']+", _in_runs, command)
  return f"`{command}`; commit {commits}; {row.get('device')}; {versions}.\n"


def _in_runs(given: re.Match[str]) -> str:
  """Run directories with commas between them, as if all of them lay below runs/."""
  return ",".join(re.sub(r"^.*/", "runs/", folder) for folder in given[0].split(","))


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
  """(results.jsonl, summary.jsonl) of a run directory.

  Raises:
    UserError: one of them is missing, or holds a row that is damaged: the file and the number of the line.
  """
  rows = checks.read_results(run / "results.jsonl", NEEDED)
  summary, file = [], run / "summary.jsonl"
  for number, row in records.numbered_rows(file):
    name = checks.summary_fault(row)
    if name is not None:
      raise UserError(f"{file}: line {number} has no sound {name}; run the command of the comparison again.")
    summary.append(statistics.from_json(row))
  if not rows or not summary:
    raise UserError(f"{run}: no results.jsonl and summary.jsonl; name a directory of a comparison that has finished.")
  return rows, summary


def ranking(runs: Sequence[Path], best: int | None = None) -> str:
  """Markdown: the frozen encoders of comparisons with their fewest labels, best first, among what needs no pretraining.

  runs: one on each data set, a column each; the first one's scores order the lines. best: only methods that are among
  so many best ones on any data set have a line of their own, in place of all; from where to where the others are is
  said in the last line.

  Raises:
    UserError: two runs on one data set, or one with other numbers of labels than the first.
  """
  columns: dict[str, dict[str, Entry]] = {}
  fewest = None
  for run in runs:
    entries = rows_of(run)[1]
    fewest = fewest or min(entry.labels for entry in entries)
    kept = [e for e in entries if e.labels == fewest and (e.mode == "frozen" or e.mode in UNPRETRAINED)]
    name = entries[0].dataset
    if name in columns or not kept:
      raise UserError(f"{run}: expected a comparison with {fewest} labels on a data set of its own.")
    columns[name] = {UNPRETRAINED.get(entry.mode, f"`{entry.method}`"): entry for entry in kept}
  first = next(iter(columns.values()))
  names = sorted(first, key=lambda line: -statistics.goodness(first[line].score, first[line].mean))
  others = [name for name in names if name not in UNPRETRAINED.values()]
  for column in columns.values():
    known = [name for name in column if name not in UNPRETRAINED.values()]
    known.sort(key=lambda name: -statistics.goodness(column[name].score, column[name].mean))
    others = [name for name in others if best is not None and name not in known[:best]]
  lines = [
    [name, *(tables.marked(column[name]) if name in column else "" for column in columns.values())]
    for name in names
    if name not in others
  ]
  if others:
    lines.append([f"{len(others)} other methods", *(_range(column, others) for column in columns.values())])
  return tables.markdown(tables.Cells([f"{fewest} labels", *columns], lines))


def _range(entries: Mapping[str, Entry], names: Iterable[str]) -> str:
  """`72.6 to 87.1`: the least and the largest mean of these."""
  means = sorted(entries[name].mean for name in names if name in entries)
  score = statistics.shared_score(list(entries.values()))
  return " to ".join(dict.fromkeys(statistics.number(score, mean) for mean in (means[0], means[-1]))) if means else ""
