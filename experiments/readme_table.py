"""Writes the results tables of README.md and of pages of docs/ from the results.jsonl of real runs.

    python -m experiments.readme_table --ranking runs/compare-mnist-conv-1a2b3c4d runs/compare-fashion_mnist-conv-5e6f7a8b
    python -m experiments.readme_table runs/denoise-mnist-conv-1a2b3c4d runs/simclr-mnist-conv-5e6f7a8b
    python -m experiments.readme_table --into=docs/autoencoders.md runs/autoencoders-mnist-conv-9a8b7c6d
    python -m experiments.readme_table --overview runs/one_percent-mnist-mlp-1a2b3c4d runs/freezing-mnist-conv-5e6f7a8b

Replaces what stands between two lines of a page: <!-- results --> and <!-- /results -->, a section for each run;
with --ranking, between those of that name, one table of comparisons, the best frozen encoder first; with --overview
one table of the published comparisons. The page is docs/results.md, or README.md for --ranking, or that of --into.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

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


def text_of(marker: str, runs: Sequence[Path]) -> str:
  """Markdown of runs, as it stands between the lines of this marker."""
  if marker == "ranking":
    return pages_of_docs.ranking(runs)
  if marker == "overview":
    return pages_of_docs.overview(runs, published())
  return "\n".join(pages_of_docs.section(run) for run in runs)


def main(runs: Sequence[Path], into: str, marker: str = "results") -> None:
  """Rewrites the page `into`, a path from the folder of README.md."""
  pages_of_docs.put(ROOT / into, marker, text_of(marker, runs))


if __name__ == "__main__":
  page, marker, arguments = "", "results", sys.argv[1:]
  while arguments and arguments[0].startswith("--"):
    name, _, value = arguments.pop(0).partition("=")
    if name == "--into" and value:
      page = value
    elif name in ("--overview", "--ranking") and not value:
      marker = name.removeprefix("--")
    else:
      raise SystemExit(__doc__)
  if not arguments:
    raise SystemExit(__doc__)
  page = page or ("README.md" if marker == "ranking" else "docs/results.md")
  try:
    main([Path(argument) for argument in arguments], page, marker)
  except UserError as error:
    raise SystemExit(f"error: {error}") from None
