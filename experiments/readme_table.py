"""Writes the results tables of README.md and docs/.

Replaces what stands between two marks of a page by tables that are made of the runs' results.jsonl.

    python -m experiments.readme_table DIR DIR2
    python -m experiments.readme_table --into=docs/autoencoders.md DIR
    python -m experiments.readme_table --ranking=10 DIR DIR2

The marks are the lines `<!-- results -->` and `<!-- /results -->`: a section for each run. --ranking: one table of
comparisons, one on each data set, the best frozen encoder first, between the marks of that name, and =10: only so many
methods; --overview: likewise one table of the published comparisons; --example: what a run of low_label prints. The
page is docs/results.md, or README.md for --example and --ranking=10. --baseline=raw: differences are to this mode, in
place of scratch; of low_label and probe.
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


def text_of(marker: str, runs: Sequence[Path], best: int | None, baseline: str = "scratch") -> str:
  """Markdown of runs, as it stands between the lines of this marker; best: see `pages_of_docs.ranking`, baseline:
  `pages_of_docs.section`.
  """
  if marker == "ranking":
    return pages_of_docs.ranking(runs, best)
  if marker == "example":
    return "\n".join(map(pages_of_docs.example, runs))
  if marker == "overview":
    return pages_of_docs.overview(runs, published())
  return "\n".join(pages_of_docs.section(run, baseline) for run in runs)


def main(
  runs: Sequence[Path], into: str, marker: str = "results", best: int | None = None, baseline: str = "scratch"
) -> None:
  """Rewrites the page `into`, a path from the folder of README.md."""
  pages_of_docs.put(ROOT / into, marker, text_of(marker, runs, best, baseline))


if __name__ == "__main__":
  page, marker, best, baseline, arguments = "", "results", None, "scratch", manual.spelled(sys.argv[1:])
  if any(argument.startswith("--help=") for argument in arguments):
    print(columns.document(__doc__ or "", manual.COLUMNS))
    raise SystemExit(0)
  while arguments and arguments[0].startswith("--"):
    name, _, value = arguments.pop(0).partition("=")
    if name == "--into" and value:
      page = value
    elif name == "--baseline" and value:
      baseline = value
    elif name == "--ranking" and (not value or value.isdecimal()):
      marker, best = "ranking", int(value) if value else None
    elif name in ("--overview", "--example") and not value:
      marker = name.removeprefix("--")
    else:
      raise SystemExit(__doc__)
  if not arguments:
    raise SystemExit(__doc__)
  page = page or ("README.md" if best is not None or marker == "example" else "docs/results.md")
  try:
    main([Path(argument) for argument in arguments], page, marker, best, baseline)
  except UserError as error:
    raise SystemExit(f"error: {error}") from None
