"""Writes the results tables of README.md, or of another page, from the results.jsonl of real runs.

    python -m experiments.readme_table runs/denoise-mnist-conv-1a2b3c4d runs/simclr-mnist-conv-5e6f7a8b
    python -m experiments.readme_table --into=docs/autoencoders.md runs/autoencoders-mnist-conv-9a8b7c6d

Replaces what stands between the lines `<!-- results -->` and `<!-- /results -->`.
"""

import json
import re
import sys
from pathlib import Path

from experiments import common
from sslx import records, report
from sslx.types import UserError

NAMED = ("freezing", "assignment", "data_efficiency", "one_percent", "rotnet_mnist")  # whose name says what they ask
BEGIN, END = "<!-- results -->", "<!-- /results -->"


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


def main(runs: list[Path], into: str) -> None:
  """Rewrites the page `into`, a path from the folder of README.md."""
  path = Path(common.__file__).parents[1] / into
  text = path.read_text()
  if BEGIN not in text or END not in text:
    raise UserError(f"{path}: no lines {BEGIN} and {END} in it.")
  before, _, rest = text.partition(BEGIN)
  body = "\n".join(section(run) for run in runs)
  common.write_text(path, f"{before}{BEGIN}\n{body}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
  page, arguments = "README.md", sys.argv[1:]
  if arguments and arguments[0].startswith("--into="):
    page = arguments.pop(0).removeprefix("--into=")
  if not arguments or arguments[0].startswith("-"):
    raise SystemExit(__doc__)
  try:
    main([Path(a) for a in arguments], page)
  except UserError as error:
    raise SystemExit(f"error: {error}") from None
