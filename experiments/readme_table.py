"""Writes the results tables of README.md, or of another page, from the results.jsonl of real runs.

    python -m experiments.readme_table runs/denoise-mnist-conv-1a2b3c4d runs/simclr-mnist-conv-5e6f7a8b
    python -m experiments.readme_table --into=docs/autoencoders.md runs/autoencoders-mnist-conv-9a8b7c6d
    python -m experiments.readme_table --overview runs/one_percent-mnist-mlp-code=10-1a2b3c4d runs/freezing-mnist-conv-5e6f7a8b

Replaces what stands between the lines `<!-- results -->` and `<!-- /results -->`. --overview: one table of runs of the
published comparisons, a line a method and number of labels, in place of what stands between `<!-- overview -->` and
`<!-- /overview -->`.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import one_percent
from experiments.rotnet_mnist import notebook as rotnet_notebook
from experiments.shared import cli as common
from sslx import report
from sslx.report import records
from sslx.types import UserError

NAMED = ("freezing", "assignment", "data_efficiency", "one_percent", "rotnet_mnist")  # whose name says what they ask
PUBLISHED = {"one_percent": one_percent.PUBLISHED, "rotnet_mnist": rotnet_notebook.PUBLISHED}
OF_INTEREST = {"rotnet_mnist": ("as published", "without errors", "tuned")}  # of its conditions, in --overview


def markers(name: str) -> tuple[str, str]:
  """The lines of a page between which a table stands."""
  return f"<!-- {name} -->", f"<!-- /{name} -->"


BEGIN, END = markers("results")


def section(run: Path) -> str:
  """Markdown of one run directory: command, table, what the numbers say, machine and versions."""
  rows = records.read_rows(run / "results.jsonl")
  if rows and (run / "tables.md").exists():  # of experiments.compare and its kin
    last = rows[-1]
    title = f"{last['dataset']}, --encoder={last['encoder']}"
    if last["experiment"] == "blocks":
      title = f"blocks of {last['pretraining']['method']}, {title}"
    elif last["experiment"] in NAMED:
      title = f"{last['experiment']}: {title}"
    if last["experiment"] == "transfer":
      made = json.loads((run / "config.json").read_text())
      targets = ", ".join(dict.fromkeys(row["dataset"] for row in rows))
      title = f"from {made['dataset']} to {targets}, --encoder={made['encoder']}"
    return f"### {title}\n\n{(run / 'tables.md').read_text()}\n{made_by(rows)}"
  rows = [r for r in rows if r["experiment"] in ("low_label", "probe")]
  if not rows:
    raise UserError(
      f"{run}: no rows in its results.jsonl; name a directory of experiments.low_label, probe, compare or its kin."
    )
  by_features = {r["features"]: r["settings"] for r in rows}  # those of the last run, if settings were changed
  return "\n".join(_table([r for r in rows if r["settings"] == settings]) for settings in by_features.values())


def _table(rows: list[dict]) -> str:
  """Markdown of rows with the same settings."""
  summary = report.summarise(rows)
  last = rows[-1]
  reading = "" if last["features"] == "flatten" else f", --features={last['features']}"
  said = "\n".join(f"- {line}" for line in report.verdict(summary))
  return (
    f"### {last['method']} on {last['dataset']}{reading}\n\n{report.markdown(report.results_table(summary))}\n\n{said}\n\n"
    f"{made_by(rows)}"
  )


def made_by(rows: list[dict]) -> str:
  """Command, machine and versions of the last row, and the commits of all."""
  row = rows[-1]
  commits = ", ".join(dict.fromkeys(str(r["git"]) for r in rows))
  versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
  command = re.sub(r" --(out|data_dir)=\S+", "", row["command"])  # folders of the machine it ran on
  command = re.sub(r" --checkpoint=\S*/", " --checkpoint=runs/", command)
  return f"`{command}`; commit {commits}; {row['device']}; {versions}.\n"


def overview(runs: Sequence[Path]) -> str:
  """Markdown: scratch, frozen and full of each run, with the fewest and the most labels, beside the published figures."""
  headers = ["comparison", "what", "labels", "scratch", "frozen", "frozen - scratch [95% CI]", "full"]
  lines = []
  for run in runs:
    rows, summary = report_rows(run)
    name = rows[-1]["experiment"]
    entries = {(entry["method"], entry["labels"], entry["mode"]): entry for entry in summary}
    counts = sorted({labels for _, labels, _ in entries})
    if name in PUBLISHED:
      scratch, frozen = (100 * PUBLISHED[name][mode] for mode in ("scratch", "frozen"))
      gain = f"{frozen - scratch:+.2f}"
      lines.append([name, "published, one run", f"{counts[0]:,}", f"{scratch:.2f}", f"{frozen:.2f}", gain, ""])
    titles = dict.fromkeys(method for method, *_ in entries if method != "none")
    for title in OF_INTEREST.get(name, titles):
      for labels in dict.fromkeys((counts[0], counts[-1])):
        found = {mode: entries.get((title, labels, mode)) for mode in ("scratch", "frozen", "full")}
        found["scratch"] = found["scratch"] or entries.get(("none", labels, "scratch"))
        scratch, frozen, full = ("" if e is None else report.accuracy_text(e) for e in found.values())
        gain = "" if found["frozen"] is None else report.difference_text(found["frozen"])
        lines.append([name, title, f"{labels:,}", scratch, frozen, gain, full])
  return report.markdown(report.table("", (headers, lines)))


def report_rows(run: Path) -> tuple[list[dict], list[dict]]:
  """(results.jsonl, summary.jsonl) of a run directory."""
  rows, summary = (records.read_rows(run / f"{name}.jsonl") for name in ("results", "summary"))
  if not rows or not summary:
    raise UserError(f"{run}: no results.jsonl and summary.jsonl; name a directory of a comparison that has finished.")
  return rows, summary


def main(runs: list[Path], into: str, marker: str = "results") -> None:
  """Rewrites the page `into`, a path from the folder of README.md."""
  path = Path(common.__file__).parents[1] / into
  (begin, end), text = markers(marker), path.read_text()
  if begin not in text or end not in text:
    raise UserError(f"{path}: no lines {begin} and {end} in it.")
  before, _, rest = text.partition(begin)
  body = overview(runs) if marker == "overview" else "\n".join(section(run) for run in runs)
  records.write_text(path, f"{before}{begin}\n{body}{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
  page, kind, arguments = "README.md", "results", sys.argv[1:]
  while arguments and arguments[0].startswith("--"):
    name, _, value = arguments.pop(0).partition("=")
    if name == "--into" and value:
      page = value
    elif name == "--overview" and not value:
      kind = "overview"
    else:
      raise SystemExit(__doc__)
  if not arguments:
    raise SystemExit(__doc__)
  try:
    main([Path(a) for a in arguments], page, kind)
  except UserError as error:
    raise SystemExit(f"error: {error}") from None
