"""Writes the results tables of README.md from runs.

Replaces what stands between two marks of the page by tables that are made of the runs' results.jsonl.

    python -m experiments.readme_table DIR DIR2
    python -m experiments.readme_table --into=docs/autoencoders.md DIR
    python -m experiments.readme_table --overview DIR DIR2

The marks are the lines `<!-- results -->` and `<!-- /results -->`. --overview: one table of runs of the published
comparisons, a line a method and number of labels, in place of what stands between `<!-- overview -->` and
`<!-- /overview -->`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.shared import columns
from experiments.shared import help as manual
from sslx.report import pages_of_docs
from sslx.report.pages_of_docs import Published
from sslx.types import UserError

ROOT = Path(__file__).resolve().parents[1]


def published() -> dict[str, Published]:
  """What the experiments repeat: experiment -> the published scores, and which of its conditions the overview shows."""
  from experiments.one_percent import PUBLISHED as one_percent
  from experiments.rotnet_mnist import PUBLISHED as rotnet_mnist

  conditions = ("as published", "without errors", "tuned")
  return {"one_percent": Published(one_percent), "rotnet_mnist": Published(rotnet_mnist, conditions)}


def main(runs: Sequence[Path], into: str, marker: str = "results") -> None:
  """Rewrites the page `into`, a path from the folder of README.md."""
  if marker == "overview":
    text = pages_of_docs.overview(runs, published())
  else:
    text = "\n".join(pages_of_docs.section(run) for run in runs)
  pages_of_docs.put(ROOT / into, marker, text)


if __name__ == "__main__":
  page, marker, arguments = "README.md", "results", manual.spelled(sys.argv[1:])
  if any(argument.startswith("--help=") for argument in arguments):
    print(columns.document(__doc__ or "", manual.COLUMNS))
    raise SystemExit(0)
  while arguments and arguments[0].startswith("--"):
    name, _, value = arguments.pop(0).partition("=")
    if name == "--into" and value:
      page = value
    elif name == "--overview" and not value:
      marker = "overview"
    else:
      raise SystemExit(__doc__)
  if not arguments:
    raise SystemExit(__doc__)
  try:
    main([Path(argument) for argument in arguments], page, marker)
  except UserError as error:
    raise SystemExit(f"error: {error}") from None
