"""Every run below a folder on one page: a leaderboard for each data set and number of labels.

    python -m experiments.all_reports
    python -m experiments.all_reports --runs=runs/mnist

Reads every results.jsonl below --runs (default runs) and writes index.html there: offline, with links to the runs' own
reports, columns that sort and lines that can be filtered. It trains nothing and takes seconds.

A line is a method in one mode of one run: the mean and standard deviation over label subsets, and the difference to that
run's own scratch with its 95% interval. Raw pixels, random encoders and scratch, which many runs repeat, are marked, and
shown once where they agree to the last digit. Rows that were tested on other images, or drew or validated on other labels,
never share a table. Rows of --smoke runs are left out.
"""

import json
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from experiments.shared import cli as common
from experiments.shared import table as comparison
from sslx.types import UserError

FLAGS = flags.FLAGS

flags.DEFINE_string("runs", "runs", "Folder that holds run directories, at any depth.")
flags.DEFINE_bool("smoke_runs", False, "Keep the rows of --smoke runs: their numbers mean nothing.")

Row = dict[str, Any]
KINDS = {  # of what a row must have
  "method": str, "dataset": str, "encoder": str, "mode": str, "labels": int, "subset_seed": int,
  "test_accuracy": (int, float), "settings": dict, "flags": dict,
}  # fmt: skip


def gather(folder: Path) -> tuple[dict[Path, list[Row]], list[str]]:
  """({run directory: rows} below `folder`, sentences on those that are damaged or empty)."""
  from sslx.report import records

  runs, left_out = {}, []
  for path in sorted(folder.rglob("results.jsonl")):
    name = path.parent.relative_to(folder).as_posix()
    try:
      rows = records.read_rows(path)
      _check(rows)
    except (UserError, OSError) as error:
      left_out.append(f"Left out {name}: {str(error).removeprefix(f'{path}: ')}.")
      continue
    if rows:
      runs[path.parent] = rows
    else:
      left_out.append(f"Left out {name}: its results.jsonl holds no row.")
  return runs, left_out


def _check(rows: Sequence[Row]) -> None:
  """Raises UserError for a row that is not one of ours."""
  for number, row in enumerate(rows, 1):
    for name, kind in KINDS.items():
      if not isinstance(row.get(name), kind):
        raise UserError(f"row {number} of its results.jsonl has no sound {name}")


def families(rows: Sequence[Row]) -> list[list[Row]]:
  """The rows split into sets that were made alike: same experiment and settings, one pretraining of each method, or
  one for each labelled subset.

  Rows without pretraining, the references of a comparison of methods, are in every family of their settings.
  """
  groups: dict[str, dict[str, list[Row]]] = {}
  for row in rows:
    alike = json.dumps([row.get("experiment"), comparison.settings_of(row)], sort_keys=True)
    pretraining = {name: value for name, value in (row.get("pretraining") or {}).items() if name != "seed"}
    own = json.dumps([row["method"], row["dataset"], pretraining], sort_keys=True)
    groups.setdefault(alike, {}).setdefault(own if row.get("pretraining") else "", []).append(row)
  found = []
  for group in groups.values():
    shared = group.pop("", [])
    found += [part + shared for own in group.values() for part in _by_pretraining(own)] or [shared]
  return found


def _by_pretraining(rows: Sequence[Row]) -> list[list[Row]]:
  """The rows split by the seed of their pretraining; together where each seed has one labelled subset, its own."""
  seeds: dict[Any, list[Row]] = {}
  for row in rows:
    seeds.setdefault(row["pretraining"].get("seed"), []).append(row)
  paired = all({row["subset_seed"] for row in own} == {seed} for seed, own in seeds.items())
  return [list(rows)] if paired else list(seeds.values())


def lines(folder: Path, run: Path, rows: Sequence[Row]) -> list[tuple[tuple, Any]]:
  """(board, sslx.leaderboard.Ranked) of a run's rows; board: what must agree for lines to be compared."""
  from sslx import report
  from sslx.report import leaderboard

  name = run.relative_to(folder).as_posix()
  page = run / "report.html"
  link = urllib.parse.quote(page.relative_to(folder).as_posix()) if page.exists() else None
  date = time.strftime("%Y-%m-%d", time.localtime((run / "results.jsonl").stat().st_mtime))
  found = []
  for family in families(rows):
    for entry in report.summarise(family):
      own = [row for row in family if all(row.get(key) == entry[key] for key in report.KEYS)]
      last, settings = own[-1], comparison.settings_of(own[-1])
      board = (entry["dataset"], entry["labels"], settings.get("labels_crc32"), settings.get("validation", "cv"))
      method, features = method_name(last), str(last.get("features", ""))
      if leaderboard.mark(entry):  # whichever method's run it is from
        method = ""
      if entry["mode"] == "raw" or entry["mode"].startswith("raw+propagate"):
        entry, features = {**entry, "encoder": ""}, "pixels"
      commits = ", ".join(dict.fromkeys(str(row["git"]) for row in own if row.get("git")))
      command = str(last.get("command", ""))
      found.append((board, leaderboard.Ranked(entry, method, features, name, link, command, commits, date)))
  return found


def method_name(row: Mapping[str, Any]) -> str:
  """What the row calls its method, with what it leaves unsaid: `level 0.5 (denoise)`, `simclr, from mnist`."""
  name, pretraining = row["method"], row.get("pretraining") or {}
  method, source = pretraining.get("method", name), pretraining.get("dataset", row["dataset"])
  name += "" if method in name else f" ({method})"
  return name if source == row["dataset"] else f"{name}, from {source}"


def boards(found: Sequence[tuple[tuple, Any]]) -> list[Any]:
  """sslx.leaderboard.Board for each data set and number of labels, and for each split and validation where they differ.

  A reference or baseline that several runs agree on to the last digit is one line, that of the first.
  """
  from sslx.report import leaderboard

  tables: dict[tuple, dict[tuple, Any]] = {}
  for board, line in found:
    table, entry = tables.setdefault(board, {}), line.entry
    same = (entry["mode"], entry["encoder"], line.features, *entry["seeds"], *entry["accuracies"])
    key = same if leaderboard.mark(entry) else (len(table), line.run)
    seen = table.get(key)
    table[key] = seen._replace(more=seen.more + (line.run != seen.run)) if seen else line
  made = []
  for dataset, labels, crc, validation in sorted(tables, key=lambda b: (b[0], b[1], b[3], str(b[2]))):
    alike = [b for b in tables if b[:2] == (dataset, labels)]
    title = f"{dataset}, {labels:,} label" + ("" if labels == 1 else "s")
    title += "" if validation == "cv" else f", --validation={validation}"
    note = ""
    if len(alike) > 1:
      split = "unknown" if crc is None else f"{crc:08x}"
      if len({b[2] for b in alike}) > 1:
        title += f", split {split}"
      note = (
        f"Checksum of the training and test labels: {split}; --validation={validation}. Rows of {dataset} with as many "
        "labels but other splits or another validation are in a table of their own: not comparable."
      )
    made.append(leaderboard.Board(title, note, list(tables[dataset, labels, crc, validation].values())))
  return made


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.report import leaderboard

  folder = Path(FLAGS.runs)
  if not folder.is_dir():
    raise UserError(f"--runs={folder}: no such folder; name the --out of your experiments.")
  runs, left_out = gather(folder)
  for sentence in left_out:
    print(sentence)
  kept = {run: [r for r in rows if FLAGS.smoke_runs or not r["flags"].get("smoke")] for run, rows in runs.items()}
  smoke = sum(not rows for rows in kept.values())
  if smoke:
    left_out.append(f"Left out {smoke} --smoke run{'' if smoke == 1 else 's'}; --smoke_runs keeps them.")
    print(left_out[-1])
  if not any(kept.values()):
    cure = (
      "--smoke_runs keeps those of --smoke runs" if smoke else "run an experiment first, such as experiments.low_label"
    )
    raise UserError(f"--runs={folder}: no results below it; {cure}.")
  found = boards([line for run, rows in kept.items() if rows for line in lines(folder, run, rows)])
  for board in found:
    print(leaderboard.ranked_sentence(board))
  title = f"{len(kept) - smoke} run{'' if len(kept) - smoke == 1 else 's'}"
  page = leaderboard.write_index(folder / "index.html", title, common.command("all_reports"), found, left_out)
  print(f"Index: {page}")


if __name__ == "__main__":
  raise SystemExit(common.run(main, __name__))
