"""Which results of many runs may stand in one leaderboard: the runs below a folder are read, split and put together.

A line is a method in one mode of one run: the mean and standard deviation over label subsets, and the difference to
that run's own baseline. Rows that were tested on other examples, drew or validated on other labels, or are of another
score, never share a table.
"""

import json
import os
import time
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sslx.report import checks, leaderboard, records, statistics
from sslx.report.intervals import RIGHT_ANSWERS
from sslx.report.leaderboard import Board, Ranked
from sslx.report.records import Row
from sslx.types import Score, UserError

NEEDED = (*checks.NEEDED, "settings", "flags")


class Place(NamedTuple):
  """What must agree for lines to be compared: the board that they stand on."""

  dataset: str
  labels: int
  crc: int | None
  """Checksum of the training and test labels."""
  validation: str
  score: Score
  subset: str = "balanced"
  """How the labels were drawn."""
  data: str | None = None
  """Fingerprint of the data set; None in rows from before sslx 0.2."""


class Gathered(NamedTuple):
  """The runs below a folder."""

  runs: dict[Path, list[Row]]
  """Run directory -> its rows."""
  left_out: list[str]
  """Sentences on runs and rows that are damaged, and on runs that are empty."""


def gather(folder: Path) -> Gathered:
  """Reads every results.jsonl below `folder`."""
  runs, left_out = {}, []
  for path in sorted(folder.rglob("results.jsonl")):
    name = _name(path.parent, folder)
    try:
      numbered = records.numbered_rows(path)
    except UserError as error:
      left_out.append(f"Left out {name}: {str(error).removeprefix(f'{path}: ')}.")
      continue
    faults: dict[str, list[int]] = {}
    for number, row in numbered:
      if entry := checks.result_fault(row, NEEDED):
        faults.setdefault(entry, []).append(number)
    wrong = {number for numbers in faults.values() for number in numbers}
    rows = [row for number, row in numbered if number not in wrong]
    if rows:
      runs[path.parent] = rows
    elif not faults:
      left_out.append(f"Left out {name}: its results.jsonl holds no row.")
    for entry, numbers in faults.items():
      which = f"row {numbers[0]}" if len(numbers) == 1 else f"rows {', '.join(map(str, numbers))}"
      has = "has" if len(numbers) == 1 else "have"
      left_out.append(f"Left out {'of ' * bool(rows)}{name}: {which} of its results.jsonl {has} no sound {entry}.")
  return Gathered(runs, left_out)


def _name(run: Path, folder: Path) -> str:
  """Of a run directory, as a page can hold it: a name on disk need not be text."""
  return run.relative_to(folder).as_posix().encode(errors="backslashreplace").decode()


def without_smoke(runs: Mapping[Path, list[Row]]) -> dict[Path, list[Row]]:
  """The rows that are not of --smoke runs, whose numbers mean nothing; an empty list for a run that has no other."""
  return {run: [row for row in rows if not row["flags"].get("smoke")] for run, rows in runs.items()}


def settings_of(row: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
  """What a row's predictor was trained and tested with; a row that is older than a setting has its default."""
  return {"subset": "balanced", **json.loads(json.dumps(dict(defaults))), **row.get("settings", {})}


def families(rows: Sequence[Row], defaults: Mapping[str, Any]) -> list[list[Row]]:
  """The rows split into sets that were made alike: same experiment, settings and score, one pretraining of each method,
  or one for each labelled subset.

  Rows without pretraining, the references of a comparison of methods, are in every family of their settings.
  """
  groups: dict[str, dict[str, list[Row]]] = {}
  for row in rows:
    made = [row.get("experiment"), settings_of(row, defaults), statistics.score_of(row)]
    pretraining = {name: value for name, value in (row.get("pretraining") or {}).items() if name != "seed"}
    pretrained = json.dumps([row["method"], row["dataset"], pretraining], sort_keys=True)
    group = groups.setdefault(json.dumps(made, sort_keys=True), {})
    group.setdefault(pretrained if row.get("pretraining") else "", []).append(row)
  sets = []
  for group in groups.values():
    shared = group.pop("", [])
    sets += [part + shared for same in group.values() for part in _by_pretraining(same)] or [shared]
  return sets


def _by_pretraining(rows: Sequence[Row]) -> list[list[Row]]:
  """The rows split by the seed of their pretraining; together where each seed has one labelled subset, its own."""
  seeds: dict[Any, list[Row]] = {}
  for row in rows:
    seeds.setdefault(row["pretraining"].get("seed"), []).append(row)
  paired = all({row["subset_seed"] for row in same} == {seed} for seed, same in seeds.items())
  return [list(rows)] if paired else list(seeds.values())


def lines(folder: Path, run: Path, rows: Sequence[Row], defaults: Mapping[str, Any]) -> list[tuple[Place, Ranked]]:
  """The lines of a run's rows, each with its place.

  folder: that the index stands in; defaults: see `settings_of`.
  """
  name, page = _name(run, folder), run / "report.html"
  link = urllib.parse.quote(os.fsencode(page.relative_to(folder).as_posix())) if page.exists() else None
  date = time.strftime("%Y-%m-%d", time.localtime((run / "results.jsonl").stat().st_mtime))
  made = []
  for family in families(rows, defaults):
    for entry in statistics.summarise(family):
      key = dict(zip(statistics.KEYS, statistics.key_of(entry), strict=True))
      same = [row for row in family if all(row.get(name) == value for name, value in key.items())]
      last, settings = same[-1], settings_of(same[-1], defaults)
      crc, validation = settings.get("labels_crc32"), settings.get("validation", "cv")
      method, features = method_name(last), str(last.get("features", ""))
      if leaderboard.mark(entry):  # whichever method's run it is from
        method = ""
      if entry.reads == "raw" and not entry.trains_encoder:
        entry, features = entry._replace(encoder=""), "" if entry.mode == "majority" else "pixels"
      commits = ", ".join(dict.fromkeys(str(row["git"]) for row in same if row.get("git")))
      place = Place(
        entry.dataset, entry.labels, crc, validation, entry.score, settings["subset"], settings.get("data") or None
      )
      smoke = records.any_smoke(same)
      command = str(last.get("command", ""))
      made.append((place, Ranked(entry, method, features, name, link, command, commits, date, smoke=smoke)))
  return made


def method_name(row: Mapping[str, Any]) -> str:
  """What the row calls its method, with what it leaves unsaid: `level 0.5 (denoise)`, `simclr, from mnist`."""
  name, pretraining = row["method"], row.get("pretraining") or {}
  method, source = pretraining.get("method", name), pretraining.get("dataset", row["dataset"])
  name += "" if method in name else f" ({method})"
  return name if source == row["dataset"] else f"{name}, from {source}"


def boards(placed: Iterable[tuple[Place, Ranked]]) -> list[Board]:
  """One for each data set and number of labels, and for each split, validation and score where they differ.

  A reference or baseline that several runs agree on to the last digit is one line, that of the first. Rows that do not
  tell of which data they are stand with those that do, where all of these are of the same.
  """
  placed = list(placed)
  tables: dict[Place, dict[tuple, Ranked]] = {}
  known: dict[Place, set[str]] = {}
  for place, _ in placed:
    if place.data is not None:
      known.setdefault(place._replace(data=None), set()).add(place.data)
  for place, line in placed:
    same_but_data = known.get(place, set())  # empty for a place that tells
    place = place._replace(data=next(iter(same_but_data))) if len(same_but_data) == 1 else place
    table, entry = tables.setdefault(place, {}), line.entry
    same = (entry.mode, entry.encoder, line.features, *entry.seeds, *entry.values)
    key = same if leaderboard.mark(entry) else (len(table), line.run)
    first = table.get(key)
    table[key] = first._replace(more=first.more + (line.run != first.run)) if first else line
  order = sorted(
    tables, key=lambda p: (p.dataset, p.labels, p.subset, p.validation, str(p.crc), p.score.name, str(p.data))
  )
  return [Board(*_titled(place, tables), list(tables[place].values())) for place in order]


def _titled(place: Place, places: Iterable[Place]) -> tuple[str, str]:
  """(title, note) of a board among the others."""
  alike = [other for other in places if (other[:2], other.score) == (place[:2], place.score)]
  title = f"{place.dataset}, {statistics.labels_text(place.labels)}"
  title += "" if place.subset == "balanced" else f", --subset={place.subset}"
  title += "" if place.validation == "cv" else f", --validation={place.validation}"
  scores = {other.score for other in places if other[:2] == place[:2]}
  title += f", {place.score.name}" if len(scores) > 1 or place.score != RIGHT_ANSWERS else ""
  split = "unknown" if place.crc is None else f"{place.crc:08x}"
  title += f", split {split}" if len({other.crc for other in alike}) > 1 else ""
  data = "unknown" if place.data is None else place.data[:8]
  title += f", data {data}" if len({other.data for other in alike if other.crc == place.crc}) > 1 else ""
  if len(alike) == 1:
    return title, ""
  drawn = f"--subset={place.subset}, --validation={place.validation}"
  return title, (
    f"Checksum of the training and test labels: {split}; fingerprint of the data: {data}; {drawn}. Rows of "
    f"{place.dataset} with as many labels but other splits, other data, another draw of the labels or another "
    "validation are in a table of their own: not comparable."
  )
