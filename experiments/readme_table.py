"""Writes the results tables of README.md from the results.jsonl of real runs.

    python -m experiments.readme_table runs/denoise-mnist-conv-1a2b3c4d runs/simclr-mnist-conv-5e6f7a8b

Replaces what stands between the lines `<!-- results -->` and `<!-- /results -->`.
"""

import sys
from pathlib import Path

from experiments import common
from sslx import report
from sslx.types import UserError

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def section(run: Path) -> str:
  """Markdown of one run directory: command, table, what the numbers say, machine and versions."""
  rows = [r for r in report.read_rows(run / "results.jsonl") if r["experiment"] == "low_label"]
  if not rows:
    raise UserError(f"{run}: no low_label rows in its results.jsonl; name run directories of experiments.low_label.")
  rows = [r for r in rows if r["settings"] == rows[-1]["settings"]]  # those of the last run, if settings were changed
  summary = report.summarise(rows)
  last = rows[-1]
  versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
  said = "\n".join(f"- {line}" for line in report.verdict(summary))
  return (
    f"### {last['method']} on {last['dataset']}\n\n{report.markdown(report.results_table(summary))}\n\n{said}\n\n"
    f"`{last['command']}`; commit {last['git']}; {last['device']}; {versions}.\n"
  )


def main(runs: list[Path]) -> None:
  """Rewrites README.md beside this package."""
  path = Path(common.__file__).parents[1] / "README.md"
  text = path.read_text()
  if BEGIN not in text or END not in text:
    raise UserError(f"{path}: no lines {BEGIN} and {END} in it.")
  before, _, rest = text.partition(BEGIN)
  body = "\n".join(section(run) for run in runs)
  common.write_text(path, f"{before}{BEGIN}\n{body}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
  if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
    raise SystemExit(__doc__)
  try:
    main([Path(a) for a in sys.argv[1:]])
  except UserError as error:
    raise SystemExit(f"error: {error}") from None
